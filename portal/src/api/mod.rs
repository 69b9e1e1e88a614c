//! `/api/v1`: what programs may ask, as OpenAPI 3.1 says at `/api/openapi.json` (docs/formats/api.md).
//!
//! Here: HTTP, and the document that describes it, made from the code that answers. Not here: any rule; those are in
//! `service` and `access`, which the pages use too.

mod ask;
mod bundles;
mod cases;
mod document;
mod items;
mod people;
mod problem;
mod restricted;
mod sessions;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request};
use axum::response::Response;
use axum::routing::{any, get};
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use ask::{IDEMPOTENCY_KEY, MAX_BODY_BYTES};
pub use bundles::file_reply;
pub use document::document;
use problem::Problem;

use crate::service::Service;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct Api {
    service: Service,
    /// Answers for receipts that are asked for with a device's token.
    devices: Router,
}

/// Every route below `/api`, but for those that devices alone use. `devices` answers the two routes of receipts for
/// whoever brings a device's token.
pub fn routes(service: Service, devices: Router) -> Router {
    let (router, document) = described().split_for_parts();
    let document = document::text(&document::complete(document));
    let described = move || async move { document::reply(document) };
    router
        .route("/api/openapi.json", get(described))
        .route("/api/{*rest}", any(|| async { Problem::not_found() }))
        .method_not_allowed_fallback(|| async { Problem::method() })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Api { service, devices })
}

fn described() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(document::frame())
        .routes(routes!(sessions::begin, sessions::look, sessions::end))
        .routes(routes!(sessions::overview))
        .routes(routes!(items::list))
        .routes(routes!(items::one))
        .routes(routes!(items::events))
        .routes(routes!(items::receipt))
        .routes(routes!(items::receipt_text))
        .routes(routes!(items::derivatives))
        .routes(routes!(items::derivative))
        .routes(routes!(items::small_copy))
        .routes(routes!(items::original, items::original_head))
        .routes(routes!(restricted::restrict, restricted::end_restriction))
        .routes(routes!(restricted::name_viewer))
        .routes(routes!(restricted::withdraw_viewer))
        .routes(routes!(cases::list, cases::open))
        .routes(routes!(cases::one))
        .routes(routes!(cases::events))
        .routes(routes!(cases::link))
        .routes(routes!(cases::unlink))
        .routes(routes!(cases::add_member))
        .routes(routes!(cases::remove_member))
        .routes(routes!(bundles::list, bundles::create))
        .routes(routes!(bundles::download))
        .routes(routes!(people::users, people::add_user))
        .routes(routes!(people::end_user))
        .routes(routes!(people::give_link))
        .routes(routes!(people::enrol_device))
        .routes(routes!(people::revoke_device))
        .routes(routes!(people::rotate_token))
}

impl Api {
    /// As it came in: what our own routing has noted in it would confuse the other door's.
    async fn to_device_door(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let peer = parts.extensions.remove::<ConnectInfo<SocketAddr>>();
        parts.extensions.clear();
        if let Some(peer) = peer {
            parts.extensions.insert(peer);
        }
        match self.devices.clone().oneshot(Request::from_parts(parts, body)).await {
            Ok(reply) => reply,
            Err(never) => match never {},
        }
    }
}

//! The OpenAPI document: what is said once for all routes; the rest comes from the routes themselves.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};
use utoipa::{OpenApi as _, ToSchema as _};

use super::problem::Body;

/// What every route may answer besides its own: refusals, as problem documents.
const REFUSALS: &[(&str, &str)] = &[
    ("400", "a field, header or parameter that is not what it should be"),
    ("401", "nobody is signed in with this token"),
    ("403", "not for this role, or not in this way"),
    ("404", "nothing is here, or nothing of theirs; an attempt at what is not theirs is recorded"),
    ("429", "more often than allowed; `Retry-After` says when"),
    (
        "503",
        "busy, or nothing can be recorded now and so nothing is shown; `Retry-After` says when",
    ),
];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Exhibit",
        description = "Digital evidence: items with their digests, derivatives and continuity, cases, bundles. \
            Everything that is shown was recorded in the ledger before its first byte. Refusals are RFC 9457 \
            problem documents; what is not yours answers 404, as if it were not there.",
        version = "1"
    ),
    tags(
        (name = "session", description = "Signing in with a one-time link"),
        (name = "items", description = "What is held"),
        (name = "cases", description = "Investigations, who works on them, what belongs to them"),
        (name = "bundles", description = "Hand-overs that anybody can check"),
        (name = "operators", description = "Accounts and devices")
    )
)]
struct Frame;

/// The whole document.
pub fn document() -> OpenApi {
    complete(super::described().split_for_parts().1)
}

/// What stands in it before the routes are added.
pub(super) fn frame() -> OpenApi {
    Frame::openapi()
}

/// Adds what is true of every route: how to be somebody, and how one is refused.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    let session = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("the token of a session, from POST /api/v1/session"));
    components.add_security_scheme("session", SecurityScheme::Http(session.build()));
    components.schemas.insert(Body::name().into_owned(), schema_of_problem());
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.delete, &mut item.head];
        for operation in operations.into_iter().filter_map(Option::as_mut) {
            for (status, words) in REFUSALS {
                let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
                let refusal = ResponseBuilder::new()
                    .description(*words)
                    .content("application/problem+json", body.build());
                let responses = &mut operation.responses.responses;
                responses.entry((*status).to_owned()).or_insert_with(|| refusal.build().into());
            }
        }
    }
    document
}

fn schema_of_problem() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
    <Body as utoipa::PartialSchema>::schema()
}

pub(super) fn text(document: &OpenApi) -> String {
    document.to_pretty_json().expect("a document is plain data")
}

pub(super) fn reply(text: String) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let cache = (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    ([kind, cache], text).into_response()
}

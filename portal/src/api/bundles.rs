//! Bundles over HTTP.

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chain_of_custody::ids::{CaseId, EventId, ItemId};
use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use super::Api;
use super::ask::{Caller, Json, Key, Named};
use super::problem::{Body, Problem};
use crate::bundle::{Authorisation, Purpose};
use crate::door;
use crate::service::{BundleOrder, BundleView, OrderedItem};

/// What a bundle is for.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum BundlePurpose {
    Charging,
    Cps,
    Court,
    DefenceServed,
    DefenceUnused,
    Internal,
}

/// One item of a bundle.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BundleItem {
    #[schema(value_type = String, format = Uuid)]
    item: ItemId,
    /// Exhibit reference, such as `JSM/1`; the case's when none is given.
    #[schema(max_length = 500)]
    reference: Option<String>,
    #[schema(max_length = 500)]
    description: Option<String>,
}

/// A named person who takes it on themselves that something leaves which otherwise would not. Recorded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Authorised {
    #[schema(min_length = 1, max_length = 500)]
    by: String,
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// A bundle to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBundle {
    /// The case of yours that it is for.
    #[schema(value_type = Option<String>, format = Uuid)]
    case: Option<CaseId>,
    /// Which items; with a case, none means all of it that you may see.
    #[serde(default)]
    #[schema(max_items = 250)]
    items: Vec<BundleItem>,
    purpose: BundlePurpose,
    /// To whom it goes.
    #[schema(min_length = 1, max_length = 500)]
    recipient: String,
    /// Needed for items that are restricted, sensitive or in quarantine, and for `completeness`.
    authorised: Option<Authorised>,
    /// Say how many entries each item has, so that a gap would show.
    #[serde(default)]
    completeness: bool,
    /// Put in the programs that made the derivatives, so that somebody can make them again.
    #[serde(default)]
    programs: bool,
}

/// What you made and can download still.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Bundles {
    bundles: Vec<BundleView>,
}

impl From<BundlePurpose> for Purpose {
    fn from(purpose: BundlePurpose) -> Self {
        match purpose {
            BundlePurpose::Charging => Self::Charging,
            BundlePurpose::Cps => Self::Cps,
            BundlePurpose::Court => Self::Court,
            BundlePurpose::DefenceServed => Self::DefenceServed,
            BundlePurpose::DefenceUnused => Self::DefenceUnused,
            BundlePurpose::Internal => Self::Internal,
        }
    }
}

impl From<CreateBundle> for BundleOrder {
    fn from(asked: CreateBundle) -> Self {
        let item = |item: BundleItem| OrderedItem {
            item: item.item,
            reference: item.reference,
            description: item.description,
        };
        Self {
            case: asked.case,
            items: asked.items.into_iter().map(item).collect(),
            purpose: asked.purpose.into(),
            recipient: asked.recipient,
            authorised: asked.authorised.map(|a| Authorisation { by: a.by, reason: a.reason }),
            completeness: asked.completeness,
            programs: asked.programs,
        }
    }
}

/// What you made and can download still, the newest first.
#[utoipa::path(get, path = "/api/v1/bundles", tag = "bundles", security(("session" = [])), responses(
    (status = 200, description = "your bundles", body = Bundles),
))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
) -> Result<axum::Json<Bundles>, Problem> {
    Ok(axum::Json(Bundles { bundles: api.service.bundles(caller.person()).await? }))
}

/// Makes a bundle. The hand-over is an event, `bundle.exported`, published before the first byte is written.
#[utoipa::path(post, path = "/api/v1/bundles", tag = "bundles", security(("session" = [])), request_body = CreateBundle, params(
    ("Idempotency-Key" = String, Header, description = "as for opening a case"),
), responses(
    (status = 201, description = "made; download it from `Location`", body = BundleView, headers(("Location" = String, description = "where it is"))),
    (status = 409, description = "a named person has to authorise it, or it was recorded with other files", body = Body, content_type = "application/problem+json"),
    (status = 413, description = "above the limit on bodies", body = Body, content_type = "application/problem+json"),
    (status = 415, description = "not JSON", body = Body, content_type = "application/problem+json"),
    (status = 507, description = "no room left to make it", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Key(key): Key,
    Json(asked): Json<CreateBundle>,
) -> Result<(StatusCode, [(HeaderName, String); 1], axum::Json<BundleView>), Problem> {
    let made = api.service.create_bundle(caller.person(), &asked.into(), &key).await?;
    let location = (header::LOCATION, format!("/api/v1/bundles/{}", made.bundle));
    Ok((StatusCode::CREATED, [location], axum::Json(made)))
}

/// The bundle's ZIP file, for whoever made it.
#[utoipa::path(get, path = "/api/v1/bundles/{bundle}", tag = "bundles", security(("session" = [])), params(("bundle" = String, Path, description = "the bundle's id")), responses(
    (status = 200, description = "the ZIP file", body = String, content_type = "application/zip"),
))]
pub(super) async fn download(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
) -> Result<Response, Problem> {
    let bundle: EventId = match name.0.parse() {
        Ok(bundle) => bundle,
        Err(_) => api.service.no_such_thing(caller.person()).await?,
    };
    let (made, file) = api.service.bundle_file(caller.person(), bundle).await?;
    Ok(file_reply(&made, file))
}

/// A bundle as a file to be saved: for the pages too.
pub fn file_reply(made: &BundleView, file: tokio::fs::File) -> Response {
    let mut reply = HttpBody::from_stream(ReaderStream::new(file)).into_response();
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(header::CONTENT_LENGTH, made.size_bytes.into());
    headers.insert(header::CACHE_CONTROL, door::NOT_STORED);
    let disposition = format!("attachment; filename=\"{}.zip\"", made.name);
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    reply
}

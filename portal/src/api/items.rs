//! Items over HTTP.

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use chain_of_custody::ids::{CaseId, DeviceId, ItemId, LeafIndex};
use chain_of_custody::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::ask::{Caller, Named, NamedTwice, Parameters};
use super::problem::{Body, Problem};
use crate::door;
use crate::service::{
    Derivative, EventsPage, Failure, Handling, ItemDetail, ItemsPage, ItemsQuery, SmallCopy,
    Statement,
};

/// Which items; all conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParameters {
    /// Part of the name, camera or recording, whatever its case.
    #[param(max_length = 200)]
    text: Option<String>,
    /// Only what this device sent.
    #[param(value_type = Option<String>, format = Uuid)]
    device: Option<DeviceId>,
    /// Only what is handled so: `usual` is neither of the other two.
    #[param(inline)]
    handling: Option<HandlingAsked>,
    /// Only what is linked to this case of yours.
    #[param(value_type = Option<String>, format = Uuid)]
    case: Option<CaseId>,
    /// Received at or after this: `2026-11-22T18:04:05.123Z`.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Received before this.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Items on the page; 50 otherwise.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Continue behind this: `next_after` of the page before.
    after: Option<u64>,
}

/// Why something ends.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Why {
    /// One line.
    #[param(min_length = 1, max_length = 500)]
    pub(super) reason: String,
}

/// How an item is handled.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum HandlingAsked {
    Usual,
    Quarantined,
    Restricted,
}

/// Where to go on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageParameters {
    /// Continue behind this: `next_after` of the page before.
    pub(super) after: Option<u64>,
}

/// What was made of an item, and what could not be made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Derivatives {
    derivatives: Vec<Derivative>,
    failures: Vec<Failure>,
}

/// A page of the items that you may see, newest first. Each page is an event: `list.viewed`.
#[utoipa::path(get, path = "/api/v1/items", tag = "items", security(("session" = [])), params(ListParameters), responses(
    (status = 200, description = "a page of items", body = ItemsPage),
))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(asked): Parameters<ListParameters>,
) -> Result<axum::Json<ItemsPage>, Problem> {
    let query = ItemsQuery {
        text: asked.text,
        device: asked.device,
        handling: asked.handling.map(Handling::from),
        case: asked.case,
        from: asked.from,
        to: asked.to,
        limit: asked.limit,
        after: asked.after.map(LeafIndex),
    };
    Ok(axum::Json(api.service.items(caller.person(), &query).await?))
}

impl From<HandlingAsked> for Handling {
    fn from(asked: HandlingAsked) -> Self {
        match asked {
            HandlingAsked::Usual => Self::Usual,
            HandlingAsked::Quarantined => Self::Quarantined,
            HandlingAsked::Restricted => Self::Restricted,
        }
    }
}

/// One item. Opens a viewing session: an `item.viewed` per person, item and 30 minutes.
#[utoipa::path(get, path = "/api/v1/items/{item}", tag = "items", security(("session" = [])), params(("item" = String, Path, description = "the item's id")), responses(
    (status = 200, description = "the item", body = ItemDetail),
))]
pub(super) async fn one(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
) -> Result<axum::Json<ItemDetail>, Problem> {
    let item = item_of(&api, &caller, &name.0).await?;
    Ok(axum::Json(api.service.item(caller.person(), item).await?))
}

/// The item's continuity: what happened to it, in the ledger's order.
#[utoipa::path(get, path = "/api/v1/items/{item}/events", tag = "items", security(("session" = [])), params(("item" = String, Path, description = "the item's id"), PageParameters), responses(
    (status = 200, description = "a page of events", body = EventsPage),
))]
pub(super) async fn events(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
    Parameters(page): Parameters<PageParameters>,
) -> Result<axum::Json<EventsPage>, Problem> {
    let item = item_of(&api, &caller, &name.0).await?;
    let after = page.after.map(LeafIndex);
    Ok(axum::Json(api.service.item_events(caller.person(), item, after).await?))
}

/// The receipt: a proof (`.tlog-proof`) that anybody can check offline. Also for the device that sent the bytes, with its
/// own token.
#[utoipa::path(get, path = "/api/v1/items/{item}/receipt", tag = "items", security(("session" = [])), params(("item" = String, Path, description = "the item's id")), responses(
    (status = 200, description = "the proof; for what is quarantined, the notice", body = String, content_type = "text/plain"),
))]
pub(super) async fn receipt(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    statement(api, request, Statement::Proof).await
}

/// The receipt as a signed text for people. Also for the device that sent the bytes.
#[utoipa::path(get, path = "/api/v1/items/{item}/receipt.txt", tag = "items", security(("session" = [])), params(("item" = String, Path, description = "the item's id")), responses(
    (status = 200, description = "the signed text; for what is quarantined, the notice", body = String, content_type = "text/plain"),
))]
pub(super) async fn receipt_text(
    State(api): State<Api>,
    request: Request,
) -> Result<Response, Problem> {
    statement(api, request, Statement::Text).await
}

/// One route, two kinds of bearer: who is not signed in may be a device.
async fn statement(api: Api, request: Request, statement: Statement) -> Result<Response, Problem> {
    let bearer = door::bearer_token(request.headers());
    let is_session = match bearer {
        Some(token) => api.service.access().session(token).await?.is_some(),
        None => door::cookie_token(request.headers()).is_some(),
    };
    if !is_session {
        return Ok(api.to_device_door(request).await);
    }
    let (mut parts, _) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &api).await?;
    let name = Named::from_request_parts(&mut parts, &api).await?;
    let item = item_of(&api, &caller, &name.0).await?;
    let text = api.service.receipt(caller.person(), item, statement).await?;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, door::NOT_STORED)];
    Ok((headers, text).into_response())
}

/// What was made of the item, and what could not be made.
#[utoipa::path(get, path = "/api/v1/items/{item}/derivatives", tag = "items", security(("session" = [])), params(("item" = String, Path, description = "the item's id")), responses(
    (status = 200, description = "what was made", body = Derivatives),
))]
pub(super) async fn derivatives(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
) -> Result<axum::Json<Derivatives>, Problem> {
    let item = item_of(&api, &caller, &name.0).await?;
    let (derivatives, failures) = api.service.derivatives(caller.person(), item).await?;
    Ok(axum::Json(Derivatives { derivatives, failures }))
}

/// How a smaller viewing copy stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Asked {
    small_copy: SmallCopy,
}

/// Asks for a smaller viewing copy, for poor lines. Asked for twice, it is made once: no `Idempotency-Key` is needed.
#[utoipa::path(post, path = "/api/v1/items/{item}/small-copy", tag = "items", security(("session" = [])), params(("item" = String, Path, description = "the item's id")), responses(
    (status = 200, description = "it is there, or on its way", body = Asked),
    (status = 409, description = "no smaller copy can be made of this", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn small_copy(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
) -> Result<axum::Json<Asked>, Problem> {
    let item = item_of(&api, &caller, &name.0).await?;
    let small_copy = api.service.ask_small_copy(caller.person(), item).await?;
    Ok(axum::Json(Asked { small_copy }))
}

/// A derivative's bytes, whole or by range.
#[utoipa::path(get, path = "/api/v1/items/{item}/derivatives/{recipe}", tag = "items", security(("session" = [])), params(
    ("item" = String, Path, description = "the item's id"),
    ("recipe" = String, Path, description = "its `recipe_id`"),
    ("Range" = Option<String>, Header, description = "one range, as RFC 9110 has it"),
), responses(
    (status = 200, description = "all of it", body = String, content_type = "application/octet-stream"),
    (status = 206, description = "the range", body = String, content_type = "application/octet-stream"),
    (status = 416, description = "nothing lies in that range"),
))]
pub(super) async fn derivative(
    State(api): State<Api>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
    NamedTwice(item, recipe): NamedTwice,
) -> Result<Response, Problem> {
    let item = item_of(&api, &caller, &item).await?;
    let media = api.service.derivative(caller.person(), item, &recipe).await?;
    Ok(door::bytes(&media, &method, &headers))
}

/// The original, exactly as received, whole or by range. Each download is an event: `item.downloaded`.
#[utoipa::path(get, path = "/api/v1/items/{item}/original", tag = "items", security(("session" = [])), params(
    ("item" = String, Path, description = "the item's id"),
    ("Range" = Option<String>, Header, description = "one range, as RFC 9110 has it"),
    ("If-Range" = Option<String>, Header, description = "the entity tag that the range is of"),
), responses(
    (status = 200, description = "all of it", body = String, content_type = "application/octet-stream"),
    (status = 206, description = "the range", body = String, content_type = "application/octet-stream"),
    (status = 416, description = "nothing lies in that range"),
    (status = 500, description = "what is stored is not what was received: never served", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn original(
    State(api): State<Api>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
    name: Named,
) -> Result<Response, Problem> {
    let item = item_of(&api, &caller, &name.0).await?;
    let fetch = door::fetch(&method, &headers);
    let media = api.service.original(caller.person(), item, fetch).await?;
    Ok(door::bytes(&media, &method, &headers))
}

/// How long the original is.
#[utoipa::path(head, path = "/api/v1/items/{item}/original", tag = "items", security(("session" = [])), params(("item" = String, Path, description = "the item's id")), responses(
    (status = 200, description = "its length and entity tag"),
))]
pub(super) async fn original_head(
    state: State<Api>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
    name: Named,
) -> Result<Response, Problem> {
    original(state, caller, method, headers, name).await
}

/// An id that is none is not told apart from one of nobody's.
pub(super) async fn item_of(api: &Api, caller: &Caller, text: &str) -> Result<ItemId, Problem> {
    match text.parse() {
        Ok(item) => Ok(item),
        Err(_) => Ok(api.service.no_such_thing(caller.person()).await?),
    }
}

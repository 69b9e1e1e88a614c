//! Restricting an item over HTTP, and who may see it then.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::ask::{Caller, Json, Key, Named, NamedTwice, Parameters};
use super::items::{Why, item_of};
use super::problem::{Body, Problem};
use crate::service::RequestKey;

/// Why an item is restricted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Restrict {
    /// One line.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// Somebody who may see a restricted item.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NameViewer {
    /// An investigator's number.
    #[schema(min_length = 1, max_length = 32)]
    number: String,
    /// One line.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// Restricts the item to named viewers; you are the first.
#[utoipa::path(post, path = "/api/v1/items/{item}/restriction", tag = "items", security(("session" = [])), request_body = Restrict, params(
    ("item" = String, Path, description = "the item's id"),
    ("Idempotency-Key" = String, Header, description = "as for opening a case"),
), responses(
    (status = 204, description = "it is restricted"),
    (status = 415, description = "not JSON", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn restrict(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
    Key(key): Key,
    Json(asked): Json<Restrict>,
) -> Result<StatusCode, Problem> {
    let item = item_of(&api, &caller, &name.0).await?;
    api.service.restrict(caller.person(), item, &asked.reason, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the restriction: whoever may see the item's cases may see it again.
#[utoipa::path(delete, path = "/api/v1/items/{item}/restriction", tag = "items", security(("session" = [])), params(
    ("item" = String, Path, description = "the item's id"),
    Why,
), responses(
    (status = 204, description = "it is not restricted (any more)"),
))]
pub(super) async fn end_restriction(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
    Parameters(why): Parameters<Why>,
) -> Result<StatusCode, Problem> {
    let item = item_of(&api, &caller, &name.0).await?;
    let key = RequestKey::fresh();
    api.service.end_restriction(caller.person(), item, &why.reason, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Names an investigator for a restricted item.
#[utoipa::path(post, path = "/api/v1/items/{item}/viewers", tag = "items", security(("session" = [])), request_body = NameViewer, params(
    ("item" = String, Path, description = "the item's id"),
    ("Idempotency-Key" = String, Header, description = "as for opening a case"),
), responses(
    (status = 204, description = "they are named"),
    (status = 409, description = "it is not restricted", body = Body, content_type = "application/problem+json"),
    (status = 415, description = "not JSON", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn name_viewer(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
    Key(key): Key,
    Json(asked): Json<NameViewer>,
) -> Result<StatusCode, Problem> {
    let item = item_of(&api, &caller, &name.0).await?;
    let NameViewer { number, reason } = &asked;
    api.service.name_viewer(caller.person(), item, number, reason, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends that somebody is named for a restricted item; the last one stays.
#[utoipa::path(delete, path = "/api/v1/items/{item}/viewers/{number}", tag = "items", security(("session" = [])), params(
    ("item" = String, Path, description = "the item's id"),
    ("number" = String, Path, description = "their number"),
    Why,
), responses(
    (status = 204, description = "they are not named (any more)"),
    (status = 409, description = "they are the last one, or it is not restricted", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn withdraw_viewer(
    State(api): State<Api>,
    caller: Caller,
    NamedTwice(item, number): NamedTwice,
    Parameters(why): Parameters<Why>,
) -> Result<StatusCode, Problem> {
    let item = item_of(&api, &caller, &item).await?;
    let key = RequestKey::fresh();
    api.service.withdraw_viewer(caller.person(), item, &number, &why.reason, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

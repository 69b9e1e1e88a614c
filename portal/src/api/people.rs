//! Accounts and devices over HTTP: for operators.

use axum::extract::State;
use axum::http::StatusCode;
use chain_of_custody::ids::{DeviceId, UserId};
use chain_of_custody::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::ask::{Caller, Json, Key, Named};
use super::problem::{Body, Problem};
use crate::service::{self, Enrolled, UserView};

/// Somebody who gets an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddUser {
    /// One line.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Collar or staff number: letters, digits, `.`, `-` and `_`.
    #[schema(min_length = 1, max_length = 32)]
    number: String,
    /// `operator` or `investigator`.
    #[schema(value_type = crate::access::Role)]
    role: String,
}

/// A device to be let in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrolDevice {
    /// One line.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

/// Everybody who has or had an account, in the order in which they were added.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Users {
    users: Vec<UserView>,
}

/// A one-time link, shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct GivenLink {
    #[schema(value_type = String, format = Uuid)]
    user: UserId,
    number: String,
    /// Its address on this server: `/sign-in/TOKEN`.
    link: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// A device's token, shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct GivenToken {
    #[schema(value_type = String, format = Uuid)]
    device: DeviceId,
    token: String,
}

/// Everybody who has or had an account.
#[utoipa::path(get, path = "/api/v1/users", tag = "operators", security(("session" = [])), responses(
    (status = 200, description = "everybody", body = Users),
))]
pub(super) async fn users(
    State(api): State<Api>,
    caller: Caller,
) -> Result<axum::Json<Users>, Problem> {
    Ok(axum::Json(Users { users: api.service.users(caller.person()).await? }))
}

/// Gives somebody an account and a one-time link.
#[utoipa::path(post, path = "/api/v1/users", tag = "operators", security(("session" = [])), request_body = AddUser, params(
    ("Idempotency-Key" = String, Header, description = "as for opening a case"),
), responses(
    (status = 201, description = "their link", body = GivenLink),
    (status = 409, description = "somebody has this number, or this was done and its link shown", body = Body, content_type = "application/problem+json"),
    (status = 415, description = "not JSON", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn add_user(
    State(api): State<Api>,
    caller: Caller,
    Key(key): Key,
    Json(asked): Json<AddUser>,
) -> Result<(StatusCode, axum::Json<GivenLink>), Problem> {
    let AddUser { name, number, role } = &asked;
    Ok(link(api.service.add_user(caller.person(), name, number, role, &key).await?))
}

/// Gives somebody another one-time link; an unused one stops working.
#[utoipa::path(post, path = "/api/v1/users/{number}/links", tag = "operators", security(("session" = [])), params(
    ("number" = String, Path, description = "their number"),
    ("Idempotency-Key" = String, Header, description = "as for opening a case"),
), responses(
    (status = 201, description = "their link", body = GivenLink),
    (status = 409, description = "this was done and its link shown", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn give_link(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
    Key(key): Key,
) -> Result<(StatusCode, axum::Json<GivenLink>), Problem> {
    Ok(link(api.service.give_link(caller.person(), &name.0, &key).await?))
}

/// Ends somebody's account at once. What they did stays.
#[utoipa::path(delete, path = "/api/v1/users/{number}", tag = "operators", security(("session" = [])), params(
    ("number" = String, Path, description = "their number"),
), responses(
    (status = 204, description = "they have none (any more)"),
    (status = 409, description = "it is your own", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn end_user(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
) -> Result<StatusCode, Problem> {
    api.service.end_user(caller.person(), &name.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a device in.
#[utoipa::path(post, path = "/api/v1/devices", tag = "operators", security(("session" = [])), request_body = EnrolDevice, params(
    ("Idempotency-Key" = String, Header, description = "as for opening a case"),
), responses(
    (status = 201, description = "its token", body = GivenToken),
    (status = 409, description = "this was done and its token shown", body = Body, content_type = "application/problem+json"),
    (status = 415, description = "not JSON", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn enrol_device(
    State(api): State<Api>,
    caller: Caller,
    Key(key): Key,
    Json(asked): Json<EnrolDevice>,
) -> Result<(StatusCode, axum::Json<GivenToken>), Problem> {
    Ok(token(api.service.enrol_device(caller.person(), &asked.name, &key).await?))
}

/// Gives a device another token; the old ones stop working.
#[utoipa::path(post, path = "/api/v1/devices/{device}/tokens", tag = "operators", security(("session" = [])), params(
    ("device" = String, Path, description = "the device's id"),
    ("Idempotency-Key" = String, Header, description = "as for opening a case"),
), responses(
    (status = 201, description = "its token", body = GivenToken),
    (status = 409, description = "this was done and its token shown", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn rotate_token(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
    Key(key): Key,
) -> Result<(StatusCode, axum::Json<GivenToken>), Problem> {
    let device = device_of(&api, &caller, &name.0).await?;
    Ok(token(api.service.rotate_token(caller.person(), device, &key).await?))
}

/// Shuts a device out. What it sent stays.
#[utoipa::path(delete, path = "/api/v1/devices/{device}", tag = "operators", security(("session" = [])), params(
    ("device" = String, Path, description = "the device's id"),
), responses(
    (status = 204, description = "it may send nothing (any more)"),
))]
pub(super) async fn revoke_device(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
) -> Result<StatusCode, Problem> {
    let device = device_of(&api, &caller, &name.0).await?;
    api.service.revoke_device(caller.person(), device).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn link(given: service::GivenLink) -> (StatusCode, axum::Json<GivenLink>) {
    let service::GivenLink { person, link } = given;
    let (user, number) = (person.user, person.number);
    let given = GivenLink { user, number, link: link.path(), expires_at: link.expires_at };
    (StatusCode::CREATED, axum::Json(given))
}

fn token(enrolled: Enrolled) -> (StatusCode, axum::Json<GivenToken>) {
    let given = GivenToken { device: enrolled.device, token: enrolled.token };
    (StatusCode::CREATED, axum::Json(given))
}

async fn device_of(api: &Api, caller: &Caller, text: &str) -> Result<DeviceId, Problem> {
    match text.parse() {
        Ok(device) => Ok(device),
        Err(_) => Ok(api.service.no_such_device(caller.person()).await?),
    }
}

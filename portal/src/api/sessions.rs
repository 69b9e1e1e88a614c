//! Signing in and out, and what an operator sees.

use axum::extract::State;
use axum::http::{Extensions, StatusCode};
use chain_of_custody::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::ask::{Caller, Json};
use super::problem::Problem;
use crate::access::{Person, Role, UserId};
use crate::door;
use crate::service::Overview;

/// A one-time link's token: what follows `/sign-in/` in it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// 64 lower-case hexadecimal digits.
    link: String,
}

/// Somebody who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Whoever {
    #[schema(value_type = String, format = Uuid)]
    user: UserId,
    name: String,
    /// Collar or staff number.
    number: String,
    role: Role,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// A session that has begun.
#[derive(Serialize, ToSchema)]
pub(super) struct Begun {
    /// Shown this once: send it as `Authorization: Bearer …`.
    token: String,
    #[serde(flatten)]
    whoever: Whoever,
}

impl Whoever {
    fn new(person: Person, expires_at: Timestamp) -> Self {
        let Person { user, name, number, role } = person;
        Self { user, name, number, role, expires_at }
    }
}

/// Signs in with a one-time link, which works no more.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = SignIn, responses(
    (status = 201, description = "signed in", body = Begun),
    (status = 403, description = "the link is unknown, used or expired", body = super::problem::Body, content_type = "application/problem+json"),
    (status = 415, description = "not JSON", body = super::problem::Body, content_type = "application/problem+json"),
))]
pub(super) async fn begin(
    State(api): State<Api>,
    extensions: Extensions,
    Json(asked): Json<SignIn>,
) -> Result<(StatusCode, axum::Json<Begun>), Problem> {
    let address = door::address(&extensions);
    let signed_in = api.service.access().redeem(&asked.link, &address).await?;
    let token = signed_in.reveal().to_owned();
    let whoever = Whoever::new(signed_in.person, signed_in.expires_at);
    Ok((StatusCode::CREATED, axum::Json(Begun { token, whoever })))
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", security(("session" = [])), responses(
    (status = 200, description = "whoever is signed in", body = Whoever),
))]
pub(super) async fn look(Caller(session): Caller) -> axum::Json<Whoever> {
    axum::Json(Whoever::new(session.person, session.expires_at))
}

/// Signs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", security(("session" = [])), responses(
    (status = 204, description = "signed out"),
))]
pub(super) async fn end(
    State(api): State<Api>,
    Caller(session): Caller,
) -> Result<StatusCode, Problem> {
    api.service.access().sign_out(&session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an operator sees: devices, states, counts. Never footage.
#[utoipa::path(get, path = "/api/v1/overview", tag = "session", security(("session" = [])), responses(
    (status = 200, description = "what is held, in numbers", body = Overview),
))]
pub(super) async fn overview(
    State(api): State<Api>,
    caller: Caller,
) -> Result<axum::Json<Overview>, Problem> {
    Ok(axum::Json(api.service.overview(caller.person()).await?))
}

//! What a device may ask besides sending: its receipts, the policy, and to register its agent's key.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use chain_of_custody::ids::{ItemId, LeafIndex};
use chain_of_custody::note::VerifierKey;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::auth::authenticate;
use crate::devices;
use crate::problem::Problem;
use crate::receive::{Receiver, Source, Statement};

/// The longest verifier key.
const MAX_KEY_BYTES: usize = 512;
const DOOR: &str = "api";

/// Routes below `/api/v1` that devices alone use.
pub fn router(receiver: Receiver) -> Router {
    Router::new()
        .route("/api/v1/device/key", put(register_key).layer(DefaultBodyLimit::max(MAX_KEY_BYTES)))
        .route("/api/v1/policy", get(policy))
        .with_state(receiver)
}

/// The receipts of a device.
pub fn receipts(receiver: Receiver) -> Router {
    Router::new()
        .route("/api/v1/items/{item}/receipt", get(proof))
        .route("/api/v1/items/{item}/receipt.txt", get(text))
        .with_state(receiver)
}

/// For a duplicate's own entry.
#[derive(Debug, Deserialize)]
struct WhichEntry {
    entry: Option<u64>,
}

async fn register_key(
    State(receiver): State<Receiver>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let (parts, body) = request.into_parts();
    let source = source_of(&receiver, &parts).await?;
    let device = source.device.ok_or_else(Problem::not_found)?;
    let body = axum::body::to_bytes(body, MAX_KEY_BYTES).await;
    let body = body.map_err(|_| Problem::too_large("verifier key", MAX_KEY_BYTES as u64))?;
    let key = parse_key(&body)?;
    devices::register_key(&receiver, device, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn parse_key(body: &Bytes) -> Result<VerifierKey, Problem> {
    let malformed = |why: &dyn std::fmt::Display| Problem::malformed("verifier key", why);
    let text = std::str::from_utf8(body).map_err(|e| malformed(&e))?;
    VerifierKey::parse(text.trim_end()).map_err(|e| malformed(&e))
}

async fn proof(
    state: State<Receiver>,
    item: Path<String>,
    entry: Query<WhichEntry>,
    parts: Parts,
) -> Result<Response, Problem> {
    statement(state, item, entry, parts, Statement::Proof).await
}

async fn text(
    state: State<Receiver>,
    item: Path<String>,
    entry: Query<WhichEntry>,
    parts: Parts,
) -> Result<Response, Problem> {
    statement(state, item, entry, parts, Statement::Text).await
}

async fn statement(
    State(receiver): State<Receiver>,
    Path(item): Path<String>,
    Query(which): Query<WhichEntry>,
    parts: Parts,
    statement: Statement,
) -> Result<Response, Problem> {
    let source = source_of(&receiver, &parts).await?;
    let item: ItemId = item.parse().map_err(|_| Problem::not_found())?;
    let entry = which.entry.map(LeafIndex);
    Ok(plain(receiver.statement(&source, item, entry, statement).await?))
}

/// The policy file is for everybody who knows the address; its fingerprint must come from elsewhere.
async fn policy(State(receiver): State<Receiver>) -> Response {
    let fingerprint = receiver.policy().fingerprint().to_string();
    let mut reply = plain(receiver.policy().as_bytes().to_vec());
    if let Ok(value) = HeaderValue::from_str(&fingerprint) {
        reply.headers_mut().insert(HeaderName::from_static("exhibit-fingerprint"), value);
    }
    reply
}

async fn source_of(receiver: &Receiver, parts: &Parts) -> Result<Source, Problem> {
    authenticate(receiver, &parts.headers, &parts.extensions, DOOR).await
}

pub(super) fn plain(text: impl Into<axum::body::Body>) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ([kind, store], text.into()).into_response()
}

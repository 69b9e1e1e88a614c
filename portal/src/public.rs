//! What anybody may ask for: whether the server is well, the published checkpoint, the tiles of hashes.
//!
//! Entries are private: their bundles go to an auditor's grant and into bundles, never through this door.

use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chain_of_custody::tile::{TileKind, TilePath};
use storage::ledger::{Ledger, LedgerError};
use storage::objects::StoreError;

/// Checkpoints change with each entry; what is seen must be the newest.
const NO_CACHE: &str = "no-cache";
/// A tile never changes (C2SP tlog-tiles).
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

const TEXT: &str = "text/plain; charset=utf-8";

/// What these routes need.
#[derive(Clone)]
pub struct Public {
    pub ledger: Ledger,
    /// Whether requests are welcome.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Public").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// `/healthz`, `/readyz`, `/ledger/checkpoint`, `/ledger/tile/…`, `/ledger/rotation/…`.
pub fn routes(public: Public) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/ledger/checkpoint", get(checkpoint))
        .route("/ledger/tile/{*path}", get(tile))
        .route("/ledger/rotation/{number}", get(rotation))
        .with_state(public)
}

async fn ready(State(public): State<Public>) -> (StatusCode, &'static str) {
    match (public.ready)() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

async fn checkpoint(State(public): State<Public>) -> Response {
    file(&public, "checkpoint", TEXT, NO_CACHE).await
}

async fn tile(State(public): State<Public>, Path(path): Path<String>) -> Response {
    let Ok(path) = TilePath::from_str(&format!("tile/{path}")) else {
        return (StatusCode::NOT_FOUND, "no such tile\n").into_response();
    };
    if path.kind() == TileKind::Entries {
        return (StatusCode::FORBIDDEN, "entries are private: they need an auditor's grant\n")
            .into_response();
    }
    file(&public, &path.to_string(), "application/octet-stream", IMMUTABLE).await
}

/// The notes about replaced keys of the log, numbered from 0.
async fn rotation(State(public): State<Public>, Path(number): Path<usize>) -> Response {
    match public.ledger.rotations().await {
        Ok(mut notes) if number < notes.len() => {
            let headers = [(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, NO_CACHE)];
            (headers, notes.swap_remove(number)).into_response()
        }
        Ok(_) => (StatusCode::NOT_FOUND, "no such note\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "reading the notes about replaced keys");
            (StatusCode::INTERNAL_SERVER_ERROR, "it cannot be read\n").into_response()
        }
    }
}

async fn file(public: &Public, name: &str, kind: &'static str, cache: &'static str) -> Response {
    match public.ledger.public_file(name).await {
        Ok(bytes) => {
            ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], bytes).into_response()
        }
        Err(LedgerError::Store(StoreError::NotFound { .. })) => {
            (StatusCode::NOT_FOUND, "not there\n").into_response()
        }
        Err(error) => {
            tracing::error!(%error, name, "reading a published file");
            (StatusCode::INTERNAL_SERVER_ERROR, "it cannot be read\n").into_response()
        }
    }
}

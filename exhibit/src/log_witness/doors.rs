//! The two routes of a log witness.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chain_of_custody::log_witness::{MAX_REQUEST_BYTES, Refused, SIZE_CONTENT_TYPE};
use tokio_util::sync::CancellationToken;

use super::{LogWitness, NotCosigned};

#[derive(Clone)]
struct Doors {
    witness: Arc<LogWitness>,
    broken: CancellationToken,
}

/// The routes, and what is cancelled when the store could not be written: then nothing may be cosigned any more.
pub(super) fn routes(witness: Arc<LogWitness>) -> (Router, CancellationToken) {
    let broken = CancellationToken::new();
    let doors = Doors { witness, broken: broken.clone() };
    let routes = Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(latest))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(doors);
    (routes, broken)
}

async fn add_checkpoint(State(doors): State<Doors>, body: Bytes) -> Response {
    let broken = || (StatusCode::SERVICE_UNAVAILABLE, "the log witness stops\n").into_response();
    if doors.broken.is_cancelled() {
        return broken();
    }
    let witness = Arc::clone(&doors.witness);
    let decided = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body)).await;
    match decided {
        Ok(Ok(line)) => format!("{line}\n").into_response(),
        Ok(Err(NotCosigned::Refused(refused))) => refusal(&refused),
        Ok(Err(error)) => {
            tracing::error!("{error}");
            doors.broken.cancel();
            broken()
        }
        Err(error) => {
            tracing::error!("a request ended early: {error}");
            doors.broken.cancel();
            broken()
        }
    }
}

fn refusal(refused: &Refused) -> Response {
    let status = StatusCode::from_u16(refused.status()).expect("the protocol's codes are valid");
    match refused {
        Refused::Conflict { held } => {
            (status, [(header::CONTENT_TYPE, SIZE_CONTENT_TYPE)], format!("{held}\n"))
                .into_response()
        }
        other => (status, format!("{other}\n")).into_response(),
    }
}

async fn latest(State(doors): State<Doors>, Path(origin): Path<String>) -> Response {
    match doors.witness.latest(&origin) {
        Some(checkpoint) => ([(header::CACHE_CONTROL, "no-cache")], checkpoint).into_response(),
        None => (StatusCode::NOT_FOUND, "nothing was cosigned\n").into_response(),
    }
}

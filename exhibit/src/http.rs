//! Serving: the address rule, connection limits, what every answer carries, and a stop that loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::{HeaderName, HeaderValue, Request};
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;

use crate::config::Server;
use crate::control::Failure;

/// A client has so long to finish its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// Room for one request's headers, and for what a connection reads ahead.
const CONNECTION_BUFFER_BYTES: usize = 256 * 1024;
/// Connections at once: each takes a file descriptor, which the ledger and the store need too. More wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// Header lines in one request.
const MAX_HEADERS: usize = 64;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Whether requests are welcome: true once recovery is done, false again before a stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::SeqCst);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Opens the configured address, or says why it may not be used.
pub(crate) async fn bind(config: &Server) -> Result<TcpListener, Failure> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&config.listen)
        .await
        .map_err(|e| cannot_listen(&config.listen, &e))?
        .collect();
    let outside = addresses.iter().find(|address| !address.ip().is_loopback());
    if let (Some(address), false) = (outside, config.behind_proxy) {
        let text = format!("{address} can be reached from other machines without TLS");
        return Err(Failure::new("listen-address", text)
            .advice("listen on 127.0.0.1, or put a proxy with TLS in front and set server.behind_proxy = true"));
    }
    TcpListener::bind(&addresses[..]).await.map_err(|e| cannot_listen(&config.listen, &e))
}

fn cannot_listen(listen: &str, why: &std::io::Error) -> Failure {
    Failure::new("listen-address", format!("cannot listen on {listen}: {why}"))
        .advice("choose another address with --listen or server.listen")
}

/// What every request passes: an id, a log line, and an answer even when our code panics.
pub(crate) fn with_common_layers(routes: Router) -> Router {
    let span = |request: &Request<_>| {
        let id = request.headers().get(&REQUEST_ID).and_then(|v| v.to_str().ok()).unwrap_or("-");
        tracing::info_span!("request", id, method = %request.method(), path = request.uri().path())
    };
    let nosniff = HeaderName::from_static("x-content-type-options");
    routes.layer(
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
            .layer(TraceLayer::new_for_http().make_span_with(span))
            .layer(PropagateRequestIdLayer::new(REQUEST_ID))
            .layer(SetResponseHeaderLayer::if_not_present(
                nosniff,
                HeaderValue::from_static("nosniff"),
            ))
            .layer(CatchPanicLayer::new()),
    )
}

/// Serves until `stop` resolves; then takes nothing new and waits at most `patience` for what is under way. An
/// upload that is cut off goes on at its last acknowledged offset.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    stop: impl Future<Output = ()>,
    patience: Duration,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(stop);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
            listener.accept().await.map(|(stream, peer)| (stream, peer, place))
        };
        tokio::select! {
            accepted = accepted => match accepted {
                Ok((stream, peer, place)) => {
                    let routes = routes.clone().layer(Extension(ConnectInfo(peer)));
                    connection(stream, routes, place, &graceful);
                }
                Err(error) => {
                    tracing::error!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            () = &mut stop => break,
        }
    }
    drop(listener);
    if tokio::time::timeout(patience, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            "stopped while requests were under way; they go on at their last acknowledged offset"
        );
    }
}

/// Resolves when SIGTERM or SIGINT comes.
pub(crate) async fn asked_to_stop() {
    let mut term = signal(SignalKind::terminate()).expect("SIGTERM can be watched");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be watched");
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn connection(
    stream: TcpStream,
    routes: Router,
    place: OwnedSemaphorePermit,
    graceful: &GracefulShutdown,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "nodelay");
    }
    let mut builder =
        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(CONNECTION_BUFFER_BYTES);
    let service = TowerToHyperService::new(routes);
    let served = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let watched = graceful.watch(served);
    tokio::spawn(async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "connection ended");
        }
        drop(place);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_others_reach_needs_a_proxy_with_tls() {
        let mut config = Server { listen: "0.0.0.0:0".into(), ..Server::default() };
        assert!(bind(&config).await.unwrap_err().message.contains("without TLS"));
        config.behind_proxy = true;
        assert!(bind(&config).await.is_ok());
        let config = Server { listen: "127.0.0.1:0".into(), ..Server::default() };
        assert!(bind(&config).await.is_ok());
    }
}

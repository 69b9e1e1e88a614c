//! `exhibit serve`: one process that owns the data folder, listens, and makes derivatives. `exhibit work`: one that makes
//! derivatives for servers elsewhere.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::app::App;
use crate::config::Config;
use crate::control::{ControlServer, DataLock, Failure};
use crate::{http, logging, terminal};

/// Where the address stands while the server is up, for scripts that listened on port 0.
const ADDRESS_FILE: &str = "listening";

/// Runs until SIGTERM or SIGINT, or until the ledger has to stop.
pub(super) async fn run(data: &Path, config: Config) -> Result<ExitCode, Failure> {
    logging::start(&config.log)?;
    let lock = take(data)?;
    let listener = http::bind(&config.server).await?;
    let address =
        listener.local_addr().map_err(|e| Failure::new("listen-address", e.to_string()))?;
    let app = App::open(data, &config, lock).await?;
    let _control = ControlServer::start(app.clone(), data)?;
    let jobs = match config.transcode.on_server {
        true => Some(app.start_derivatives().await?),
        false => None,
    };
    app.start_sweeping();
    app.start_locking();
    app.start_stamping();
    app.start_clearing_outbox();

    let readiness = http::Readiness::default();
    readiness.set(true);
    let routes = http::with_common_layers(app.routes(readiness.clone()));
    let url = format!("http://{address}");
    let address_file = data.join(ADDRESS_FILE);
    std::fs::write(&address_file, format!("{url}\n"))
        .map_err(|e| Failure::new("data-folder", format!("{}: {e}", address_file.display())))?;
    terminal::note(&format!("listening on {url}"));

    let drain = Duration::from_secs(config.server.drain_s);
    let stop = async {
        tokio::select! {
            () = http::asked_to_stop() => {
                tracing::info!("asked to stop");
                readiness.set(false);
                tokio::time::sleep(drain).await;
            }
            () = app.ledger_stopped() => {
                tracing::error!("the ledger has stopped");
                readiness.set(false);
            }
        }
    };
    http::serve(listener, routes, stop, Duration::from_secs(config.server.stop_timeout_s)).await;
    let _ = std::fs::remove_file(&address_file);
    if let Some(jobs) = jobs {
        jobs.stop().await;
    }
    end(app).await
}

/// Makes derivatives until SIGTERM or SIGINT, or until the ledger has to stop.
pub(super) async fn work(data: &Path, config: Config) -> Result<ExitCode, Failure> {
    logging::start(&config.log)?;
    if config.storage.database.is_empty() || !config.storage.is_s3() {
        let message = "workers share a database and a bucket with the servers they work for";
        return Err(Failure::new("configuration", message).advice(
            "set storage.database to a postgres:// URL and storage.kind to s3; on one machine exhibit serve makes the derivatives",
        ));
    }
    let app = App::open(data, &config, take(data)?).await?;
    let _control = ControlServer::start(app.clone(), data)?;
    let jobs = app.start_derivatives().await?;
    terminal::note("working");
    tokio::select! {
        () = http::asked_to_stop() => tracing::info!("asked to stop"),
        () = app.ledger_stopped() => tracing::error!("the ledger has stopped"),
    }
    jobs.stop().await;
    end(app).await
}

fn take(data: &Path) -> Result<DataLock, Failure> {
    DataLock::take(data)?.ok_or_else(|| {
        Failure::new("data-folder", format!("another process holds {}", data.display()))
            .advice("stop it first; commands with --data reach it while it runs")
    })
}

async fn end(app: App) -> Result<ExitCode, Failure> {
    let stopped_by_itself = app.ledger_stop_reason();
    app.close().await;
    if let Some(reason) = stopped_by_itself {
        return Err(Failure::new("ledger-stopped", reason)
            .advice("nothing acknowledged is lost; start again, recovery runs first"));
    }
    Ok(ExitCode::SUCCESS)
}

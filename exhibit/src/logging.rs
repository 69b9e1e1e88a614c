//! Logs go to standard error, with ids in every line and never a name, a token or footage.

use tracing_subscriber::EnvFilter;

use crate::config::Log;
use crate::control::Failure;

/// Starts logging as configured.
pub(crate) fn start(config: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|e| {
        Failure::new("configuration", format!("setting log.filter: {e}"))
            .advice("for example: info, or info,ingest=debug")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format.as_str() {
        "json" => builder.json().init(),
        _ => builder.with_target(true).init(),
    }
    Ok(())
}

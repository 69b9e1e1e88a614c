//! `exhibit migrate`: the schema of a database that several servers share, changed on purpose.

use std::process::ExitCode;

use serde_json::json;
use storage::records::Records;

use crate::app::open::{failed, origin};
use crate::config::Config;
use crate::control::Failure;
use crate::terminal::{self, line};

pub(super) async fn run(config: &Config, as_json: bool) -> Result<ExitCode, Failure> {
    let url = &config.storage.database;
    if url.is_empty() {
        return Err(Failure::new("configuration", "there is no storage.database")
            .advice("SQLite's schema follows by itself when a server starts"));
    }
    let origin = origin(&config.force.ledger)?;
    let migrated = Records::migrate(url, origin.as_str()).await;
    let (records, applied) = migrated.map_err(|e| failed("records", &e))?;
    records.close().await;
    if as_json {
        terminal::answer(&json!({"applied": applied}));
    } else if applied.is_empty() {
        line("the schema is that of this version already");
    } else {
        applied.iter().for_each(|name| line(&format!("applied {name}")));
    }
    Ok(ExitCode::SUCCESS)
}

//! `exhibit keys rotate`: a new key takes the place of one that signs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chain_of_custody::rotation::KeyRole;
use clap::Args;
use serde_json::json;

use crate::app::alone::refuse_other_servers_of;
use crate::app::escrow::EscrowFile;
use crate::app::{App, Rotate as Asked};
use crate::config::Config;
use crate::control::{Actor, DataLock, Failure};
use crate::terminal::{self, line};

/// What people type.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// log, receipt or bundle.
    #[arg(value_name = "ROLE")]
    pub(crate) role: String,
    /// Why; recorded.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// An age recipient (age1…) who can bring all keys back as they are afterwards; repeat for more.
    #[arg(long = "escrow", value_name = "RECIPIENT", requires = "output")]
    pub(crate) escrow: Vec<String>,
    /// The escrow file to write.
    #[arg(short, long, value_name = "FILE", requires = "escrow")]
    pub(crate) output: Option<PathBuf>,
}

/// The ledger says so, then the new key is in use: the server is stopped meanwhile.
pub(super) async fn run(
    args: &Rotate,
    data: &Path,
    config: &Config,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let role: KeyRole = args.role.parse().map_err(|e| {
        Failure::new("usage", format!("{}: {e}", args.role))
            .advice("the force's key, which signs nothing, is not exchanged by this (docs/keys.md)")
    })?;
    let output = args.output.as_deref().map(EscrowFile::new).transpose()?;
    let escrow = output.map(|file| (file, args.escrow.as_slice()));
    let lock_held = lock(data)?;
    refuse_other_servers_of(data, config).await?;
    let app = App::open(data, config, lock_held).await?;
    let before = app.log_key();
    let asked = Asked { role, reason: &args.reason, escrow };
    let rotated = app.rotate(asked, &Actor::at_this_console()).await;
    app.close().await;
    drop(app);
    rotated?;
    let app = App::open(data, config, lock(data)?).await?;
    let (after, policy) = (app.log_key(), app.published_policy());
    app.close().await;
    let fingerprint = policy["fingerprint"].as_str().unwrap_or_default();
    let has_escrow = !args.escrow.is_empty();
    if as_json {
        terminal::answer(&json!({
            "role": role.as_str(), "log_key": after, "fingerprint": fingerprint, "escrow": has_escrow,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    line(&format!("The {role} key was replaced; the one before it is gone from this folder."));
    if before != after {
        line(&format!("log key {after}"));
        line(&format!("fingerprint {fingerprint}"));
        line(
            "Publish both, keep the earlier fingerprint beside them with today's date, and tell the log witnesses (docs/keys.md).",
        );
    }
    if !has_escrow {
        line(
            "It is in no escrow: the escrow from before brings the other keys back, and not this one. Make one with --escrow next time, or copy the folder of keys to a safe.",
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder's lock; its keys are nobody else's meanwhile.
pub(super) fn lock(data: &Path) -> Result<DataLock, Failure> {
    DataLock::take(data)?.ok_or_else(|| {
        Failure::new("data-folder", "the server runs on this folder: its keys are in use")
            .advice("stop the server first; docks wait and go on afterwards")
    })
}

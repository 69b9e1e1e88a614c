//! `exhibit ledger recover`: a person confirms the ledger's head against what is known outside.

use std::path::Path;
use std::process::ExitCode;

use chain_of_custody::ids::TreeSize;

use crate::app::alone::refuse_other_servers_of;
use crate::app::{App, Recovery};
use crate::config::Config;
use crate::control::{Actor, DataLock, Failure};
use crate::keeping::restored::Restored;
use crate::terminal;

/// Opens the ledger although more of it is known outside, records who says so, and closes it.
pub(super) async fn run(
    data: &Path,
    config: &Config,
    size: u64,
    reason: &str,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let lock = DataLock::take(data)?.ok_or_else(|| {
        Failure::new("ledger", "the server runs on this folder: its ledger is open")
            .advice("a ledger that needs recovering does not open; stop the server if you are sure")
    })?;
    refuse_other_servers_of(data, config).await?;
    let restored = Restored::read(data)?.is_some();
    let recovery = Recovery { restored, known: TreeSize(size), reason: reason.to_owned() };
    let app = App::open_recovering(data, config, lock, Some(&recovery)).await?;
    let recorded = app.record_recovery(&recovery, &Actor::at_this_console()).await;
    app.close().await;
    let recorded = recorded?;
    Restored::confirm(data)?;
    if as_json {
        terminal::answer(&recorded);
    } else {
        terminal::line(&format!(
            "Recorded as entry {}: {} entries are known outside, the ledger goes on here from {}.",
            recorded["leaf_index"], recorded["known_size"], recorded["published_size"]
        ));
    }
    if !as_json && recorded["known_size"].as_u64() > recorded["published_size"].as_u64() {
        terminal::line(
            "Log witnesses that cosigned the longer history will not cosign this one. Tell their keepers, and whoever holds receipts from then.",
        );
    }
    Ok(ExitCode::SUCCESS)
}

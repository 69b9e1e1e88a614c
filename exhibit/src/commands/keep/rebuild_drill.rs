//! `exhibit restore-drill` without a backup: the records made again from the store alone, and compared with the live database.
//!
//! The force's key is opened to read, and no signing key. The live database and the store are only read, also while servers
//! write them.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use chain_of_custody::checkpoint::Origin;
use chain_of_custody::digest::Sha256;
use chain_of_custody::ids::TreeSize;
use chain_of_custody::note::VerifierKey;
use chain_of_custody::rotation::KeyRole;
use serde_json::{Value, json};
use storage::ledger::rebuild_beginning;
use storage::objects::ObjectStore;
use storage::records::{Records, RecordsError, Table};
use storage::scrub::absent;

use super::drill::Scratch;
use crate::app::keys::RoleKeys;
use crate::app::objects;
use crate::app::open::{failed, origin};
use crate::config::Config;
use crate::control::Failure;
use crate::terminal::{self, line};

/// What a running server has entered is published within moments.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Where the records are made.
pub(super) struct Target<'a> {
    /// The folder for a SQLite file.
    pub(super) into: Option<&'a Path>,
    /// An empty PostgreSQL database in its place.
    pub(super) database: Option<&'a str>,
}

pub(super) async fn run(
    data: &Path,
    config: &Config,
    target: &Target<'_>,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let origin = origin(&config.force.ledger)?;
    let kek = RoleKeys::force_key(&data.join("keys"), &config.keys)?;
    let store = objects::source(data, &config.storage, kek).await?;
    let live = live_database(data, config, &origin).await.map_err(|e| broken(&e))?;
    let log_keys = log_keys(&live).await?;
    let (entries, expected) = live.digests().await.map_err(|e| broken(&e))?;
    live.close().await;
    let scratch = Scratch::new(target.into)?;
    let made = match target.database {
        Some(url) => Records::connect(url, origin.as_str()).await,
        None => Records::sqlite(&scratch.0.join("rebuilt.sqlite"), origin.as_str()).await,
    };
    let made = made.map_err(|e| broken(&e))?;
    let rebuilt = rebuild(&made, &store, &origin, &log_keys, entries).await;
    let published = rebuilt.map_err(|failure| match target.database {
        Some(_) => failure.advice("name an empty database: --database URL"),
        None => failure,
    })?;
    let differing =
        if published >= entries { differing(&made, &expected).await? } else { Vec::new() };
    let findings = absent(&store, &made).await.map_err(|e| broken(&e))?;
    made.close().await;
    let compared = published >= entries;
    let good = compared && differing.is_empty() && findings.is_empty();
    let answer = json!({
        "good": good, "entries": entries, "published": published,
        "newer_entries": published.0.saturating_sub(entries.0),
        "unpublished_entries": entries.0.saturating_sub(published.0),
        "records_compared": compared, "tables": Table::RECORDS.len(),
        "differing_tables": differing, "findings": findings,
    });
    print(&answer, as_json);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn broken(error: &dyn std::error::Error) -> Failure {
    failed("restore-drill", error)
}

/// The database as it is: no schema is brought to this version.
async fn live_database(
    data: &Path,
    config: &Config,
    origin: &Origin,
) -> Result<Records, RecordsError> {
    match config.storage.database.as_str() {
        "" => Records::read_only(&data.join("records.sqlite"), origin.as_str()).await,
        url => Records::as_it_is(url, origin.as_str()).await,
    }
}

/// The ledger's log keys, as it has published them: that the store's checkpoint is signed by one is what it has to show.
async fn log_keys(live: &Records) -> Result<Vec<VerifierKey>, Failure> {
    let published = live.published_keys().await.map_err(|e| broken(&e))?;
    let log = published.iter().filter(|key| key.role == KeyRole::Log.as_str());
    log.map(|key| VerifierKey::parse(&key.vkey).map_err(|e| broken(&e))).collect()
}

/// Makes the records of the first `entries`; gives how many are published in the store. What is entered and not published
/// yet is waited for.
async fn rebuild(
    made: &Records,
    store: &ObjectStore,
    origin: &Origin,
    log_keys: &[VerifierKey],
    entries: TreeSize,
) -> Result<TreeSize, Failure> {
    let mut looks = 0;
    loop {
        let rebuilt = rebuild_beginning(made, store.clone(), origin, log_keys, entries).await;
        let published = rebuilt.map_err(|e| broken(&e))?;
        looks += 1;
        if published >= entries || looks == LOOKS {
            return Ok(published);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// The tables whose rows are others than those of the live database.
async fn differing(made: &Records, expected: &[Sha256]) -> Result<Vec<&'static str>, Failure> {
    let (_, digests) = made.digests().await.map_err(|e| broken(&e))?;
    let pairs = Table::RECORDS.iter().zip(digests.iter().zip(expected));
    Ok(pairs.filter(|(_, (made, live))| made != live).map(|(table, _)| table.name).collect())
}

fn print(answer: &Value, as_json: bool) {
    if as_json {
        return terminal::answer(answer);
    }
    super::backup::print_findings(answer["findings"].as_array().map_or(&[], Vec::as_slice));
    for table in answer["differing_tables"].as_array().into_iter().flatten() {
        let table = table.as_str().unwrap_or("-");
        line(&format!(
            "the table {table} of the live database is not what the ledger in the store gives"
        ));
    }
    if answer["records_compared"] == false {
        line(&format!(
            "{} entries of the database are not published in the store: start the server, which publishes them, and drill again",
            answer["unpublished_entries"]
        ));
    } else {
        line(&format!(
            "{} tables were made again from {} entries in the store and compared; {} entries are newer",
            answer["tables"], answer["entries"], answer["newer_entries"]
        ));
    }
    line(match answer["good"].as_bool() {
        Some(true) => "the store alone gives this database again",
        _ => "the store alone does not give this database again: see above",
    });
}

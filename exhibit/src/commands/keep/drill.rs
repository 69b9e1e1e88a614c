//! `exhibit restore-drill`: a backup restored aside, read whole, compared, and thrown away.
//!
//! The force's key is opened to read; no signing key of the force is. What is signed is signed with a key made for this
//! drill, under a name that can belong to no ledger.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use chain_of_custody::checkpoint::Origin;
use chain_of_custody::note::{SigningKey, VerifierKey};
use serde_json::{Value, json};
use storage::backup::{self, BackupFolder, Manifest};
use storage::clock::SystemClock;
use storage::ledger::{AuditResult, Ledger, LedgerOptions, rebuild_from_store};
use storage::objects::{Kek, ObjectStore};
use storage::records::{Records, Table};

use crate::app::keep::backup_failure;
use crate::app::keys::RoleKeys;
use crate::app::open::{failed, origin};
use crate::config::Config;
use crate::control::{self, Failure, Progress, Request};
use crate::terminal::{self, line, size};

/// The throw-away ledger's name: `.invalid` belongs to nobody (RFC 6761).
const DRILL_ORIGIN: &str = "restore-drill.invalid";

pub(super) async fn run(
    data: &Path,
    config: &Config,
    from: &Path,
    into: Option<&Path>,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let ledger = origin(&BackupFolder::origin_of(from).map_err(|e| backup_failure(&e))?)?;
    let kek = RoleKeys::force_key(&data.join("keys"), &config.keys)?;
    let opened = BackupFolder::for_reading(from, kek.clone(), &ledger).await;
    let folder = opened.map_err(|e| backup_failure(&e))?;
    let manifest = folder.manifest().expect("it was opened with one").clone();
    let bar = terminal::Bar::counting(as_json);
    let mut step = |what: &str, done_bytes, total_bytes| {
        bar.show(&Progress { what: what.into(), done_bytes, total_bytes });
    };
    let checked = backup::check(&folder, &mut step).await.map_err(|e| backup_failure(&e))?;
    let scratch = Scratch::new(into)?;
    let (objects, records) = (scratch.0.join("objects"), scratch.0.join("records.sqlite"));
    let restored = backup::restore(&folder, &objects, &records, &mut step).await;
    let restored = restored.map_err(|e| backup_failure(&e))?;
    let differing = compare_records(&scratch.0, &manifest, &ledger, &kek).await?;
    let signed = sign_apart(&scratch.0, &kek).await?;
    drop((bar, scratch));
    let good = checked.findings.is_empty()
        && restored.faults.is_empty()
        && signed
        && differing.as_ref().is_none_or(Vec::is_empty);
    if good {
        remember(data, config, from, checked.entries.0).await;
    }
    let answer = json!({
        "good": good, "folder": from.display().to_string(), "entries": restored.entries,
        "objects": restored.objects, "bytes": restored.bytes, "made_at_ms": manifest.made_at_ms,
        "findings": checked.findings, "records_compared": differing.is_some(),
        "differing_tables": differing, "signed_as": DRILL_ORIGIN,
    });
    print(&answer, as_json);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The restored database against one made from the restored store alone, table by table; none when entries were on
/// their way while the backup was made, which the store does not have yet.
async fn compare_records(
    scratch: &Path,
    manifest: &Manifest,
    ledger: &Origin,
    kek: &Kek,
) -> Result<Option<Vec<&'static str>>, Failure> {
    let checkpoint = manifest.checkpoint().map_err(|e| backup_failure(&e))?;
    if checkpoint.unverified().size.0 != manifest.entries {
        return Ok(None);
    }
    let broken = |e: &dyn std::error::Error| failed("restore-drill", e);
    let key: VerifierKey = manifest.log_key.parse().map_err(|e| broken(&e))?;
    let restored = Records::sqlite(&scratch.join("records.sqlite"), ledger.as_str()).await;
    let restored = restored.map_err(|e| broken(&e))?;
    let rebuilt = Records::sqlite(&scratch.join("rebuilt.sqlite"), ledger.as_str()).await;
    let rebuilt = rebuilt.map_err(|e| broken(&e))?;
    let store = ObjectStore::open(&scratch.join("objects"), kek.clone()).map_err(|e| broken(&e))?;
    rebuild_from_store(&rebuilt, store, ledger, &key).await.map_err(|e| broken(&e))?;
    let mut differing = Vec::new();
    for table in Table::RECORDS {
        let left = restored.digest(*table).await.map_err(|e| broken(&e))?;
        if left != rebuilt.digest(*table).await.map_err(|e| broken(&e))? {
            differing.push(table.name);
        }
    }
    restored.close().await;
    rebuilt.close().await;
    Ok(Some(differing))
}

/// A ledger of the drill's own beside the restored one: that this machine can sign and publish, for nobody.
async fn sign_apart(scratch: &Path, kek: &Kek) -> Result<bool, Failure> {
    let broken = |e: &dyn std::error::Error| failed("restore-drill", e);
    let key = SigningKey::from_seed(DRILL_ORIGIN, rand::random()).map_err(|e| broken(&e))?;
    let records = Records::sqlite(&scratch.join("drill.sqlite"), DRILL_ORIGIN).await;
    let records = records.map_err(|e| broken(&e))?;
    let store = ObjectStore::open(&scratch.join("objects"), kek.clone()).map_err(|e| broken(&e))?;
    let (signer, clock) = (Arc::new(key), Arc::new(SystemClock));
    let origin = origin(DRILL_ORIGIN)?;
    let options = LedgerOptions { origin, signer, rotations: Vec::new(), clock };
    let ledger = Ledger::open(records.clone(), store, options).await.map_err(|e| broken(&e))?;
    let audit = ledger.audit().await.map_err(|e| broken(&e))?;
    ledger.close().await;
    records.close().await;
    Ok(audit.result == AuditResult::Match)
}

/// So that status can tell. A drill on another machine has nobody to tell.
async fn remember(data: &Path, config: &Config, from: &Path, entries: u64) {
    if !data.join("objects").is_dir() {
        return;
    }
    let request = Request::BackupRead { folder: from.display().to_string(), entries, faults: 0 };
    if let Err(failure) = control::perform(data, config, request, &mut |_| ()).await {
        terminal::note(&format!("the drill could not be remembered for status: {failure}"));
    }
}

fn print(answer: &Value, as_json: bool) {
    if as_json {
        return terminal::answer(answer);
    }
    super::backup::print_findings(answer["findings"].as_array().map_or(&[], Vec::as_slice));
    for table in answer["differing_tables"].as_array().into_iter().flatten() {
        line(&format!("the restored table {table} is not what the ledger gives"));
    }
    line(&format!(
        "{} entries and {} objects ({}) were restored, read and thrown away",
        answer["entries"],
        answer["objects"],
        size(answer["bytes"].as_u64().unwrap_or(0))
    ));
    line(match answer["good"].as_bool() {
        Some(true) => "this backup can be restored",
        _ => "this backup cannot be relied on: see above",
    });
}

/// The drill's folder; gone when it ends, however it ends.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new(into: Option<&Path>) -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let above = into.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = above.join(format!("exhibit-restore-drill-{}", uuid::Uuid::now_v7()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|e| {
            Failure::new("restore-drill", format!("{}: {e}", path.display()))
                .advice("name a folder with room for the whole backup: --into DIR")
        })?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            terminal::note(&format!("{} stays, remove it: {error}", self.0.display()));
        }
    }
}

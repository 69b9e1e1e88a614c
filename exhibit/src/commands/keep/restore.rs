//! `exhibit restore`: a new data folder from a backup and the keys from the escrow.

use std::path::Path;
use std::process::ExitCode;

use chain_of_custody::note::VerifierKey;
use serde_json::json;
use storage::backup::{self, BackupFolder};

use crate::app::keep::backup_failure;
use crate::app::keys::RoleKeys;
use crate::app::open::{failed, origin};
use crate::app::rotation::was_replaced_by;
use crate::config::{self, Config};
use crate::control::{DataLock, Failure, Progress};
use crate::keeping::restored::Restored;
use crate::terminal::{self, line, size};

pub(super) async fn run(
    data: &Path,
    config: &Config,
    from: &Path,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let keys = data.join("keys");
    if !keys.is_dir() {
        let text = format!("{} is not there: a backup never holds the keys", keys.display());
        return Err(Failure::new("keys", text).advice(
            "bring them back from the escrow first: exhibit keys recover --data DIR --from FILE --identity FILE",
        ));
    }
    let _lock = DataLock::take(data)?
        .ok_or_else(|| Failure::new("data-folder", "another process holds this data folder"))?;
    let named = BackupFolder::origin_of(from).map_err(|e| backup_failure(&e))?;
    let ledger = origin(&named)?;
    let keys = RoleKeys::open(&keys, &config.keys, &ledger)?;
    let opened = BackupFolder::for_reading(from, keys.kek.clone(), &ledger).await;
    let folder = opened.map_err(|e| backup_failure(&e))?;
    let manifest = folder.manifest().expect("it was opened with one").clone();
    let signed_with = VerifierKey::parse(&manifest.log_key).map_err(|e| failed("backup", &e))?;
    let current = keys.log.vkey();
    if signed_with != current && !was_replaced_by(&data.join("keys"), &signed_with, &current)? {
        return Err(Failure::new("keys", "the log key in this folder is not the one the backup was signed with")
            .advice("bring back the newest keys from the escrow; after a rotation the older ones are not enough. For a backup from before it, keys/rotated must hold its note"));
    }
    let bar = terminal::Bar::counting(as_json);
    let mut step = |what: &str, done_bytes, total_bytes| {
        bar.show(&Progress { what: what.into(), done_bytes, total_bytes });
    };
    let (objects, records) = (data.join("objects"), data.join("records.sqlite"));
    backup::refuse_occupied(&objects, &records).map_err(|e| backup_failure(&e))?;
    // Before the database has its name: whatever happens then, nothing is signed unconfirmed.
    let checkpoint = manifest.checkpoint().map_err(|e| backup_failure(&e))?;
    let head = checkpoint.unverified();
    let marker = Restored {
        entries: head.size.0,
        root: head.root.to_base64(),
        made_at_ms: manifest.made_at_ms,
        from: from.to_owned(),
    };
    marker.leave(data)?;
    let restored = backup::restore(&folder, &objects, &records, &mut step).await;
    drop(bar);
    let restored = restored.map_err(|e| backup_failure(&e))?;
    let settings = data.join(config::FILE_NAME);
    if !settings.exists() && !manifest.settings.is_empty() {
        std::fs::write(&settings, &manifest.settings)
            .map_err(|e| Failure::new("data-folder", format!("{}: {e}", settings.display())))?;
    }
    let faults = serde_json::to_value(&restored.faults).expect("findings are plain data");
    if as_json {
        terminal::answer(&json!({
            "entries": restored.entries, "root": marker.root, "objects": restored.objects,
            "bytes": restored.bytes, "made_at_ms": restored.made_at_ms, "faults": faults,
        }));
    } else {
        super::backup::print_findings(faults.as_array().map_or(&[], Vec::as_slice));
        line(&format!(
            "restored: {} entries, {} objects, {}",
            restored.entries,
            restored.objects,
            size(restored.bytes)
        ));
        line("Nothing is signed yet. Compare with what others hold, then confirm:");
        line(&format!("  newest entry in the backup: {} of them", restored.entries));
        line(&format!(
            "  exhibit ledger recover --data {} --size {} --reason TEXT",
            data.display(),
            restored.entries
        ));
    }
    Ok(if restored.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

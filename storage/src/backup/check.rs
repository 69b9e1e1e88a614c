//! Whether a backup holds what its ledger names: looked for, or read.

use chain_of_custody::checkpoint::Origin;
use chain_of_custody::ids::TreeSize;
use chain_of_custody::note::VerifierKey;
use futures_util::{StreamExt as _, stream};

use super::folder::BackupFolder;
use super::{AT_ONCE, BackupError, Manifest, Progress};
use crate::ledger::LedgerError;
use crate::objects::{ObjectStore, StoreError};
use crate::scrub::{Finding, Held, Walk};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Checked {
    /// Entries under the backup's checkpoint.
    pub entries: TreeSize,
    pub objects: u64,
    /// What the ledger names and the backup does not hold as it was written. Empty is good.
    pub findings: Vec<Finding>,
}

/// Reads every byte of a backup: its ledger against the signed checkpoint, each object against its entry, the database
/// against the manifest.
///
/// # Errors
/// When it could not look; what is missing or damaged is in the findings.
pub async fn check(folder: &BackupFolder, progress: Progress<'_>) -> Result<Checked, BackupError> {
    let manifest = folder.manifest();
    let manifest = manifest.ok_or_else(|| BackupError::Nothing { path: folder.path.clone() })?;
    let looked = look(&folder.store, manifest, true, progress).await?;
    let mut findings = looked.unexpected;
    findings.extend(manifest.faults.iter().cloned());
    Ok(Checked { entries: looked.entries, objects: looked.objects, findings })
}

/// What looking found.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) entries: TreeSize,
    pub(super) objects: u64,
    /// Findings that the manifest does not speak of.
    pub(super) unexpected: Vec<Finding>,
}

/// Goes through the backup's ledger and looks at, or reads, each object.
pub(super) async fn look(
    store: &ObjectStore,
    manifest: &Manifest,
    read: bool,
    progress: Progress<'_>,
) -> Result<Looked, BackupError> {
    let mut walk = begin(store, manifest).await?;
    let (size, mut objects, mut unexpected) = (walk.size(), 0, Vec::new());
    let what = if read { "reading the backup" } else { "looking at the backup" };
    while let Some((at, held)) = walk.next().await? {
        objects += held.len() as u64;
        let found = if read { read_all(store, held).await? } else { glance(store, held).await? };
        let known = |f: &Finding| manifest.faults.iter().any(|k| k.name == f.name);
        unexpected.extend(found.into_iter().filter(|f| !known(f)));
        progress(what, at.0, size.0);
    }
    unexpected.extend(walk.finish().await?);
    let records = match store.glance(&manifest.records).await {
        Ok(()) if read => store.read_through(&manifest.records).await,
        other => other,
    };
    if let Err(error) = records {
        let what = format!("the copied database: {error}");
        return Err(BackupError::Altered { what });
    }
    Ok(Looked { entries: size, objects, unexpected })
}

/// A walk through the backup's ledger, whose checkpoint must be the manifest's or one that an unfinished backup after
/// it published.
pub(super) async fn begin(store: &ObjectStore, manifest: &Manifest) -> Result<Walk, BackupError> {
    let altered = |what: String| BackupError::Altered { what };
    let origin: Origin =
        manifest.origin.parse().map_err(|e| altered(format!("its manifest: {e}")))?;
    let key: VerifierKey =
        manifest.log_key.parse().map_err(|e| altered(format!("its manifest: {e}")))?;
    let walk = Walk::begin(store, &origin, &key).await.map_err(|error| match error {
        LedgerError::Store(StoreError::Device { .. }) => BackupError::from(error),
        other => altered(format!("its checkpoint: {other}")),
    })?;
    let (said, shown) = (manifest.checkpoint()?, walk.checkpoint().clone());
    let (said, shown) = (said.unverified(), shown.unverified());
    if shown.size > said.size || shown == said {
        return Ok(walk);
    }
    Err(altered(format!("its checkpoint is of {} entries, not of {}", shown.size, said.size)))
}

async fn glance(store: &ObjectStore, held: Vec<Held>) -> Result<Vec<Finding>, BackupError> {
    let objects = held.iter().map(|held| held.object.clone()).collect();
    let results = store.glance_at_all(objects).await?;
    let findings = held.iter().zip(results).filter_map(|(held, result)| {
        let error = result.err()?;
        Finding::about(held, &error)
    });
    Ok(findings.collect())
}

async fn read_all(store: &ObjectStore, held: Vec<Held>) -> Result<Vec<Finding>, BackupError> {
    let reads = held.into_iter().map(|held| async {
        let read = store.read_through(&held.object).await;
        (held, read)
    });
    let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
    let mut findings = Vec::new();
    while let Some((held, read)) = reads.next().await {
        if let Err(error) = read {
            findings.push(Finding::about(&held, &error).ok_or(error)?);
        }
    }
    Ok(findings)
}

//! The way back: a backup becomes a data folder's store and database again.
//!
//! Everything is compared on the way as when it was backed up. The database gets its name last, so that an interrupted
//! restore is no data folder that would start.

use std::fs;
use std::path::Path;

use chain_of_custody::ids::TreeSize;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::io::AsyncWriteExt as _;

use super::check::begin;
use super::folder::BackupFolder;
use super::{AT_ONCE, BackupError, Manifest, Progress};
use crate::ledger::copy_ledger;
use crate::objects::{Copied, ObjectStore};
use crate::records::Records;
use crate::scrub::{Finding, Held, held_by};

/// What was brought back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// Entries under the restored checkpoint.
    pub entries: TreeSize,
    pub objects: u64,
    pub bytes: u64,
    pub made_at_ms: i64,
    /// What the backup does not hold as it was written; the rest is restored.
    pub faults: Vec<Finding>,
}

/// Brings the backup back: objects and ledger into `objects_path`, which must not be there yet, and the database to
/// `records_path`.
///
/// # Errors
/// [`BackupError`]. What an interrupted restore leaves has no database and is to be removed.
pub async fn restore(
    folder: &BackupFolder,
    objects_path: &Path,
    records_path: &Path,
    progress: Progress<'_>,
) -> Result<Restored, BackupError> {
    let manifest = folder.manifest();
    let manifest = manifest.ok_or_else(|| BackupError::Nothing { path: folder.path.clone() })?;
    refuse_occupied(objects_path, records_path)?;
    let target = ObjectStore::open(objects_path, folder.store.kek())?;
    let named = |error: BackupError| error.named(objects_path);
    let mut restored = Restored {
        entries: TreeSize(0),
        objects: 0,
        bytes: 0,
        made_at_ms: manifest.made_at_ms,
        faults: Vec::new(),
    };
    let waiting = records_path.with_extension("restoring");
    bring_objects(folder, manifest, &target, &mut restored, progress).await.map_err(named)?;
    progress("restoring the database", 0, 1);
    bring_records(folder, manifest, &waiting).await?;
    bring_unpublished(folder, manifest, &waiting, &target, &mut restored).await.map_err(named)?;
    let checkpoint = manifest.checkpoint()?;
    restored.entries = checkpoint.unverified().size;
    let copied = copy_ledger(&folder.store, &target, TreeSize(0), &checkpoint).await;
    copied.map_err(|e| named(e.into()))?;
    fs::rename(&waiting, records_path).map_err(BackupError::io(records_path))?;
    let above = records_path.parent().unwrap_or(Path::new("."));
    let synced = fs::File::open(above).and_then(|folder| folder.sync_all());
    synced.map_err(BackupError::io(above))?;
    Ok(restored)
}

/// Whether a restore may go there: nothing is put over anything.
///
/// # Errors
/// [`BackupError::NotEmpty`].
pub fn refuse_occupied(objects_path: &Path, records_path: &Path) -> Result<(), BackupError> {
    let occupied = [objects_path, records_path].into_iter().find(|path| path.exists());
    occupied.map_or(Ok(()), |path| Err(BackupError::NotEmpty { path: path.to_owned() }))
}

async fn bring_objects(
    folder: &BackupFolder,
    manifest: &Manifest,
    target: &ObjectStore,
    restored: &mut Restored,
    progress: Progress<'_>,
) -> Result<(), BackupError> {
    let mut walk = begin(&folder.store, manifest).await?;
    let size = walk.size();
    while let Some((at, held)) = walk.next().await? {
        bring(folder, target, held, restored).await?;
        progress("restoring objects", at.0, size.0);
    }
    restored.faults.extend(walk.finish().await?);
    Ok(())
}

async fn bring(
    folder: &BackupFolder,
    target: &ObjectStore,
    held: Vec<Held>,
    restored: &mut Restored,
) -> Result<(), BackupError> {
    let copies = held.into_iter().map(|held| async {
        let copied = target.copy_object(&folder.store, &held.object).await;
        (held, copied)
    });
    let mut copies = stream::iter(copies).buffer_unordered(AT_ONCE);
    while let Some((held, copied)) = copies.next().await {
        match copied {
            Ok(copied) => {
                restored.objects += 1;
                if let Copied::Now { file_bytes } = copied {
                    restored.bytes += file_bytes;
                }
            }
            Err(error) => {
                let theirs = error.path().is_some_and(|path| folder.store.contains(path));
                let fault = Finding::about(&held, &error).filter(|_| theirs);
                restored.faults.push(fault.ok_or(error)?);
            }
        }
    }
    Ok(())
}

/// Objects of entries that were on their way when the backup was made: only the database names them.
async fn bring_unpublished(
    folder: &BackupFolder,
    manifest: &Manifest,
    records: &Path,
    target: &ObjectStore,
    restored: &mut Restored,
) -> Result<(), BackupError> {
    let from = manifest.checkpoint()?.unverified().size;
    if from.0 == manifest.entries {
        return Ok(());
    }
    let snapshot = Records::read_only(records, &manifest.origin).await?;
    let held = held_by(snapshot.entries(from, TreeSize(manifest.entries)).await?);
    snapshot.close().await;
    bring(folder, target, held, restored).await
}

async fn bring_records(
    folder: &BackupFolder,
    manifest: &Manifest,
    path: &Path,
) -> Result<(), BackupError> {
    let unreadable = |e| BackupError::Altered { what: format!("the copied database: {e}") };
    let object = folder.store.open_object(&manifest.records).await.map_err(unreadable)?;
    let mut pieces = Box::pin(object.stream(0..object.size_bytes())?);
    let mut options = tokio::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path).await;
    let mut file = file.map_err(BackupError::io(path))?;
    while let Some(piece) = pieces.try_next().await.map_err(unreadable)? {
        file.write_all(&piece).await.map_err(BackupError::io(path))?;
    }
    file.flush().await.map_err(BackupError::io(path))?;
    file.sync_all().await.map_err(BackupError::io(path))
}

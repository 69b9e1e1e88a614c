//! Taking a backup: what is new since the last one is copied, what was there is looked at.
//!
//! 1. What the backup holds already is looked at (or read): all that its ledger names is there.
//! 2. The database is copied in one moment of its own (VACUUM INTO).
//! 3. The objects that the new entries name are copied, compared while read, read back.
//! 4. The ledger's files, up to the newest checkpoint that is signed in the copied database.
//! 5. The copied database, encrypted, as an object.
//! 6. The manifest is replaced. The database copied before goes.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chain_of_custody::checkpoint::Origin;
use chain_of_custody::digest::ContentHasher;
use chain_of_custody::ids::{TreeSize, UploadId};
use chain_of_custody::note::VerifierKey;
use chain_of_custody::sequencer::CannotRecover;
use futures_util::{StreamExt as _, stream};
use tokio::io::AsyncReadExt as _;

use super::check::look;
use super::folder::{BackupFolder, RECORDS};
use super::{AT_ONCE, BackupError, Manifest, ManifestVersion, Progress};
use crate::failpoint;
use crate::ledger::{LedgerError, copy_ledger};
use crate::objects::{Copied, ObjectName, ObjectStore, StoreError, StoredObject};
use crate::records::{Dialect, Records};
use crate::scrub::{Finding, Held, held_by};

/// Entries whose objects are copied before the next are read.
const PAGE: u64 = 1024;
/// Of the database, read and encrypted at a time.
const PIECE_BYTES: usize = 1 << 20;

/// What is backed up.
#[derive(Debug)]
pub struct Source<'a> {
    pub records: &'a Records,
    pub objects: &'a ObjectStore,
    pub origin: Origin,
    pub log_key: VerifierKey,
    /// Where the database is copied to for a moment, in clear: a file in the data folder.
    pub scratch: PathBuf,
    /// `exhibit.toml` as it is, or empty.
    pub settings: String,
    pub program: String,
    pub now_ms: i64,
    /// How many entries were backed up to this folder before, as far as is remembered.
    pub before: Option<TreeSize>,
}

/// What a backup did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Taken {
    /// Entries of the ledger that are in the backup.
    pub entries: TreeSize,
    /// Nothing had happened since the last one.
    pub unchanged: bool,
    pub copied_objects: u64,
    pub copied_bytes: u64,
    /// Objects that were in the backup and were looked at or read again.
    pub checked_objects: u64,
    /// Every byte in the backup was read, not only looked for.
    pub read_again: bool,
    /// What is damaged where it was to be copied from; the rest is in the backup.
    pub faults: Vec<Finding>,
}

/// Brings the backup in `folder` up to this moment. With `read_again`, everything that is in it already is read.
///
/// # Errors
/// [`BackupError`]; the backup before is as it was.
pub async fn take(
    source: &Source<'_>,
    folder: &Path,
    read_again: bool,
    progress: Progress<'_>,
) -> Result<Taken, BackupError> {
    if source.records.dialect() != Dialect::Sqlite {
        return Err(BackupError::OtherDatabase);
    }
    let kek = source.objects.kek();
    let mut folder = BackupFolder::for_writing(folder, kek, &source.origin).await?;
    // What a backup that was killed left in clear goes first, whatever else there is to do.
    drop(Scratch::new(&source.scratch)?);
    let before = folder.manifest().cloned();
    if let (None, Some(entries)) = (&before, source.before) {
        return Err(BackupError::Emptied { path: folder.path.clone(), entries });
    }
    let looked = match &before {
        Some(before) => Some(look(&folder.store, before, read_again, progress).await?),
        None => None,
    };
    if let Some(fault) = looked.as_ref().and_then(|l| l.unexpected.first()) {
        let what = format!("{} is {}: {}", fault.name, fault.code.as_str(), fault.message);
        return Err(BackupError::Altered { what });
    }
    let entries = source.records.size().await?;
    let checked_objects = looked.as_ref().map_or(0, |l| l.objects);
    let mut taken = Taken {
        entries,
        unchanged: true,
        copied_objects: 0,
        copied_bytes: 0,
        checked_objects,
        read_again,
        faults: Vec::new(),
    };
    if let Some(before) = &before {
        let (backup, ledger) = (TreeSize(before.entries), entries);
        if backup > ledger {
            return Err(BackupError::Ahead { backup, ledger });
        }
        if backup == ledger
            && before.faults.is_empty()
            && before.log_key == source.log_key.to_string()
        {
            // One that was killed at its very end has left the database copied before it.
            let cleared = forget_other_records(&folder.store, &before.records).await;
            cleared.map_err(|error| error.named(&folder.path))?;
            return Ok(taken);
        }
    }
    taken.unchanged = false;
    let went = go_on(source, &mut folder, before.as_ref(), &mut taken, progress).await;
    went.map_err(|error| error.named(&folder.path))?;
    Ok(taken)
}

/// Steps 2 to 6.
async fn go_on(
    source: &Source<'_>,
    folder: &mut BackupFolder,
    before: Option<&Manifest>,
    taken: &mut Taken,
    progress: Progress<'_>,
) -> Result<(), BackupError> {
    progress("copying the database", 0, 1);
    let scratch = Scratch::new(&source.scratch)?;
    source.records.snapshot_to(&scratch.0).await?;
    failpoint::hit("backup.database-copied");
    let snapshot = Records::read_only(&scratch.0, source.records.force()).await?;
    let (entries, checkpoint) = (snapshot.size().await?, snapshot.newest_checkpoint().await?);
    let checkpoint = checkpoint.ok_or(BackupError::OtherHistory)?;
    let since = match before {
        Some(before) => before.checkpoint()?.unverified().size,
        None => TreeSize(0),
    };
    // What could not be copied then may be whole now: its entries are gone through again.
    let from = match before {
        Some(before) if before.faults.is_empty() => since,
        _ => TreeSize(0),
    };
    copy_objects(source, folder, &snapshot, from..entries, taken, progress).await?;
    snapshot.close().await;
    let copied = copy_ledger(source.objects, &folder.store, since, &checkpoint).await;
    copied.map_err(|error| match error {
        LedgerError::CannotRecover(CannotRecover::Damaged { .. }) => BackupError::OtherHistory,
        other => other.into(),
    })?;
    failpoint::hit("backup.ledger-copied");
    progress("keeping the database", 0, 1);
    let records = keep_records(&folder.store, &scratch.0).await?;
    failpoint::hit("backup.database-kept");
    taken.entries = entries;
    let manifest = Manifest {
        version: ManifestVersion::V1,
        origin: source.origin.to_string(),
        log_key: source.log_key.to_string(),
        program: source.program.clone(),
        made_at_ms: source.now_ms,
        checkpoint: checkpoint.to_string(),
        entries: entries.0,
        records: records.clone(),
        settings: source.settings.clone(),
        faults: taken.faults.clone(),
    };
    folder.replace_manifest(manifest).await?;
    failpoint::hit("backup.manifest-replaced");
    forget_other_records(&folder.store, &records).await
}

async fn copy_objects(
    source: &Source<'_>,
    folder: &BackupFolder,
    snapshot: &Records,
    entries: std::ops::Range<TreeSize>,
    taken: &mut Taken,
    progress: Progress<'_>,
) -> Result<(), BackupError> {
    let mut at = entries.start.0;
    while at < entries.end.0 {
        let next = (at + PAGE).min(entries.end.0);
        let held = held_by(snapshot.entries(TreeSize(at), TreeSize(next)).await?);
        let copies = held.into_iter().map(|held| async {
            let copied = folder.store.copy_object(source.objects, &held.object).await;
            (held, copied)
        });
        let mut copies = stream::iter(copies).buffer_unordered(AT_ONCE);
        while let Some((held, copied)) = copies.next().await {
            note(source.objects, &held, copied, taken)?;
            failpoint::hit("backup.object-copied");
            progress("copying objects", at, entries.end.0);
        }
        at = next;
    }
    Ok(())
}

/// What is damaged where it comes from is a finding, and the others go on; a failure of the backup's disk ends it.
fn note(
    from: &ObjectStore,
    held: &Held,
    copied: Result<Copied, StoreError>,
    taken: &mut Taken,
) -> Result<(), BackupError> {
    match copied {
        Ok(Copied::Before) => {}
        Ok(Copied::Now { file_bytes }) => {
            taken.copied_objects += 1;
            taken.copied_bytes += file_bytes;
        }
        Err(error) => {
            let theirs = error.path().is_some_and(|path| from.contains(path));
            let fault = Finding::about(held, &error).filter(|_| theirs);
            taken.faults.push(fault.ok_or(error)?);
        }
    }
    Ok(())
}

/// The copied database as an encrypted object of the backup.
async fn keep_records(store: &ObjectStore, path: &Path) -> Result<StoredObject, BackupError> {
    let upload = UploadId::from_uuid(uuid::Uuid::now_v7());
    let name: ObjectName = format!("{RECORDS}/{upload}").parse()?;
    let mut reading = tokio::fs::File::open(path).await.map_err(BackupError::io(path))?;
    let mut writer = store.begin(upload, name.clone()).await?;
    let mut hasher = ContentHasher::new();
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let read = (&mut reading).take(PIECE_BYTES as u64).read_to_end(&mut piece).await;
        if read.map_err(BackupError::io(path))? == 0 {
            break;
        }
        let groups = hasher.update(&piece);
        writer.write(Bytes::from(piece)).await?;
        writer.append_groups(&groups).await?;
    }
    let (digests, last) = hasher.finish();
    writer.append_groups(&[last]).await?;
    let sealed = writer.seal().await?;
    Ok(store.complete(sealed, name, digests.blake3).await?)
}

/// Databases copied before, and what an interrupted backup left of one.
async fn forget_other_records(store: &ObjectStore, kept: &StoredObject) -> Result<(), BackupError> {
    let ours = |name: &str| name.starts_with(kept.name.as_str());
    let others = store.scan(RECORDS).await?.into_iter().filter(|found| !ours(found.name.as_str()));
    for found in others {
        store.remove(found.name.as_str()).await?;
    }
    for upload in store.uploads().await? {
        store.discard(upload).await?;
    }
    Ok(())
}

/// The copy of the database in clear: gone when this is dropped, and before it is made.
struct Scratch(PathBuf);

impl Scratch {
    fn new(path: &Path) -> Result<Self, BackupError> {
        let scratch = Self(path.to_owned());
        scratch.remove().map_err(BackupError::io(path))?;
        Ok(scratch)
    }

    fn remove(&self) -> std::io::Result<()> {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let path = PathBuf::from(format!("{}{suffix}", self.0.display()));
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::error!(path = %self.0.display(), %error, "the copy of the database stays");
        }
    }
}

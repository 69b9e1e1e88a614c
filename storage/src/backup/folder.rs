//! The folder of a backup: whose it is, and one user at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chain_of_custody::checkpoint::Origin;

use super::{BackupError, Manifest};
use crate::objects::{Kek, ObjectStore, StoreError};

/// The manifest's name in the backup's store.
pub const MANIFEST: &str = "backup/manifest";
/// Where the copies of the database lie.
pub(super) const RECORDS: &str = "records";
const LOCK: &str = "backup.lock";
const READ_ME: &str = "READ-ME.txt";
/// What a file system puts into its own root.
const NOT_OURS: [&str; 1] = ["lost+found"];

/// An open backup folder.
#[derive(Debug)]
pub struct BackupFolder {
    pub(super) path: PathBuf,
    pub(super) store: ObjectStore,
    manifest: Option<Manifest>,
    _lock: Option<File>,
}

impl BackupFolder {
    /// Opens a folder to write to: one with a backup of the ledger `origin`, or an empty one.
    ///
    /// # Errors
    /// [`BackupError`] says whose it is.
    pub async fn for_writing(path: &Path, kek: Kek, origin: &Origin) -> Result<Self, BackupError> {
        if !is_there(path)? {
            return Err(BackupError::Gone { path: path.to_owned() });
        }
        let empty = is_empty(path)?;
        if !empty && !path.join("keys").is_dir() {
            return Err(BackupError::Occupied { path: path.to_owned() });
        }
        refuse_others(path, origin)?;
        let lock = lock(path)?;
        let store = ObjectStore::open(path, kek).map_err(|e| BackupError::from(e).named(path))?;
        if empty {
            let text = read_me(origin);
            fs::write(path.join(READ_ME), text).map_err(BackupError::io(path))?;
        }
        let manifest = read_manifest(&store, path, origin).await?;
        Ok(Self { path: path.to_owned(), store, manifest, _lock: Some(lock) })
    }

    /// Opens a folder to read from, whatever it lies on; it must hold a finished backup of `origin`.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn for_reading(path: &Path, kek: Kek, origin: &Origin) -> Result<Self, BackupError> {
        if !is_there(path)? {
            return Err(BackupError::Gone { path: path.to_owned() });
        }
        refuse_others(path, origin)?;
        let store = ObjectStore::read_only(path, kek);
        let manifest = read_manifest(&store, path, origin).await?;
        if manifest.is_none() {
            return Err(BackupError::Nothing { path: path.to_owned() });
        }
        // Media that cannot be written cannot be locked either, and nobody changes them.
        let lock = match lock(path) {
            Err(BackupError::Io { .. }) => None,
            other => Some(other?),
        };
        Ok(Self { path: path.to_owned(), store, manifest, _lock: lock })
    }

    /// Its objects.
    pub fn objects(&self) -> &ObjectStore {
        &self.store
    }

    /// What the newest finished backup says of itself, if there is one.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    pub(super) async fn replace_manifest(&mut self, manifest: Manifest) -> Result<(), BackupError> {
        let bytes = serde_json::to_vec(&manifest).expect("a manifest is plain data");
        let replaced = self.store.replace_sealed(MANIFEST, bytes).await;
        replaced.map_err(|e| BackupError::from(e).named(&self.path))?;
        self.manifest = Some(manifest);
        Ok(())
    }
}

/// The ledger that a backup folder names in the open, for those who do not know it: the folder's only one.
///
/// # Errors
/// [`BackupError::Gone`], [`BackupError::Nothing`].
pub(super) fn origin_of(path: &Path) -> Result<String, BackupError> {
    if !is_there(path)? {
        return Err(BackupError::Gone { path: path.to_owned() });
    }
    match &ledgers(path)?[..] {
        [one] => Ok(one.clone()),
        _ => Err(BackupError::Nothing { path: path.to_owned() }),
    }
}

impl BackupFolder {
    /// The ledger that the backup in `path` is of, as its folders say: to be checked, not to be believed.
    ///
    /// # Errors
    /// [`BackupError::Gone`], [`BackupError::Nothing`].
    pub fn origin_of(path: &Path) -> Result<String, BackupError> {
        origin_of(path)
    }
}

fn is_there(path: &Path) -> Result<bool, BackupError> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_dir()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(BackupError::io(path)(error)),
    }
}

fn is_empty(path: &Path) -> Result<bool, BackupError> {
    for entry in fs::read_dir(path).map_err(BackupError::io(path))? {
        let name = entry.map_err(BackupError::io(path))?.file_name();
        let ours = name.to_str().is_none_or(|n| !NOT_OURS.contains(&n) && n != LOCK);
        if ours {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The ledgers whose files lie in the folder.
fn ledgers(path: &Path) -> Result<Vec<String>, BackupError> {
    let folder = path.join("ledger");
    match fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(BackupError::io(&folder)(error)),
        Ok(entries) => entries
            .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_, _>>()
            .map_err(BackupError::io(&folder)),
    }
}

fn refuse_others(path: &Path, origin: &Origin) -> Result<(), BackupError> {
    let other = ledgers(path)?.into_iter().find(|found| found != origin.as_str());
    other.map_or(Ok(()), |found| {
        Err(BackupError::OtherLedger {
            path: path.to_owned(),
            found,
            ours: origin.as_str().to_owned(),
        })
    })
}

fn lock(path: &Path) -> Result<File, BackupError> {
    let lock = path.join(LOCK);
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(&lock);
    let file = file.map_err(BackupError::io(&lock))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(BackupError::io(&lock)(error)),
    }
}

async fn read_manifest(
    store: &ObjectStore,
    path: &Path,
    origin: &Origin,
) -> Result<Option<Manifest>, BackupError> {
    let bytes = match store.get_sealed(MANIFEST).await {
        Ok(bytes) => bytes,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(StoreError::WrongKey { .. }) => {
            return Err(BackupError::OtherKey { path: path.to_owned() });
        }
        Err(StoreError::KeyGone { .. } | StoreError::Damaged { .. }) => {
            let what = "its manifest does not open".to_owned();
            return Err(BackupError::Altered { what });
        }
        Err(other) => return Err(other.into()),
    };
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|e| BackupError::Altered { what: format!("its manifest is not readable: {e}") })?;
    if manifest.origin != origin.as_str() {
        let (found, ours) = (manifest.origin, origin.as_str().to_owned());
        return Err(BackupError::OtherLedger { path: path.to_owned(), found, ours });
    }
    Ok(Some(manifest))
}

fn read_me(origin: &Origin) -> String {
    format!(
        "This folder is a backup of the evidence store and ledger {origin}, written by Exhibit.\n\
         Leave every file as it is: a changed or missing file is noticed.\n\n\
         Is it good?          exhibit restore-drill --from THIS-FOLDER --data DATA\n\
         Bring it back:       exhibit restore --from THIS-FOLDER --data NEW-FOLDER\n\n\
         The keys are not in here. They come from the escrow: exhibit keys recover --help\n"
    )
}

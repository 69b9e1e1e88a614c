//! Small files of the folder, and files read at any place.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::FolderStore;
use super::disk::{rename_new, sync_folder, write_new};
use super::upload::load_key;
use crate::objects::error::{Damage, StoreError};
use crate::objects::kek::{ObjectKey, fill_random};
use crate::objects::medium::{Seen, StoredFile};
use crate::objects::name::ObjectName;
use crate::objects::store::SMALL_MAX_BYTES;

/// A file; it is opened when it is read.
#[derive(Debug)]
pub(crate) struct FileInFolder {
    path: PathBuf,
}

impl FileInFolder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl StoredFile for FileInFolder {
    fn path(&self) -> &Path {
        &self.path
    }

    fn check_length(&self, expected: u64) -> Result<(), StoreError> {
        length_is(&self.path, expected)
    }

    /// A file cut short since its length was looked at is damaged, not a failing device.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let read = File::open(&self.path).and_then(|file| file.read_exact_at(buffer, offset));
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => StoreError::damaged(&self.path, Damage::Form),
            _ => StoreError::io(&self.path, error),
        })
    }
}

pub(crate) fn length_is(path: &Path, expected: u64) -> Result<(), StoreError> {
    let found = fs::metadata(path).map_err(|e| StoreError::io(path, e))?.len();
    let wrong = || StoreError::damaged(path, Damage::Length { found, expected });
    (found == expected).then_some(()).ok_or_else(wrong)
}

/// A name for a file that is not there yet, in the uploads folder.
pub(crate) fn temporary(uploads: &Path) -> PathBuf {
    let mut random = [0; 12];
    fill_random(&mut random);
    uploads.join(format!("tmp-{}", hex::encode(random)))
}

/// Whoever writes here holds the folder's lock, so nobody comes between looking and replacing.
pub(crate) fn replace_seen(
    store: &FolderStore,
    path: &Path,
    bytes: &[u8],
    seen: Seen<'_>,
) -> Result<(), StoreError> {
    if let Seen::Exactly(seen) = seen {
        let there = match read_small(path) {
            Err(StoreError::NotFound { .. }) => None,
            other => Some(other?),
        };
        if there.as_deref() != seen {
            return Err(StoreError::AlreadyExists { path: path.to_owned() });
        }
    }
    replace(store, path, bytes)
}

fn replace(store: &FolderStore, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = store.make_folder_of(path)?;
    let waiting = temporary(&store.uploads_folder());
    let renamed = write_temporary(store, &waiting, bytes)
        .and_then(|()| fs::rename(&waiting, path).map_err(|e| StoreError::io(path, e)));
    if renamed.is_err() {
        forget(&waiting);
    }
    renamed?;
    sync(folder)
}

/// The key of `name`, made and durable if there was none.
pub(crate) fn key_for(store: &FolderStore, name: &ObjectName) -> Result<ObjectKey, StoreError> {
    let path = store.key_file(name.as_str());
    match load_key(&store.kek, &path) {
        Err(StoreError::KeyGone { .. }) => {}
        other => return other,
    }
    let key = ObjectKey::random();
    replace(store, &path, store.kek.wrap(&key).as_bytes())?;
    Ok(key)
}

pub(crate) fn read_small(path: &Path) -> Result<Vec<u8>, StoreError> {
    let found = fs::metadata(path).map_err(|e| StoreError::io(path, e))?.len();
    if found > SMALL_MAX_BYTES {
        return Err(StoreError::damaged(path, Damage::Length { found, expected: SMALL_MAX_BYTES }));
    }
    fs::read(path).map_err(|e| StoreError::io(path, e))
}

fn write_temporary(store: &FolderStore, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_new(store.disk.as_ref(), path, bytes).map_err(|e| StoreError::io(path, e))
}

/// Best effort: a temporary file that stays is cleared away at the next start.
fn forget(path: &Path) {
    let _gone_or_cleared_at_the_next_start = fs::remove_file(path);
}

pub(crate) fn forget_all_in(folder: &Path) -> Result<(), StoreError> {
    let fail = |e| StoreError::io(folder, e);
    let files = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(fail)?,
    };
    for file in files {
        fs::remove_file(file.map_err(fail)?.path()).map_err(fail)?;
    }
    Ok(())
}

pub(crate) fn set_aside(store: &FolderStore, name: &ObjectName) -> Result<(), StoreError> {
    let aside = format!("aside/{name}");
    let (from, to) = (store.file(name.as_str()), store.file(&aside));
    // A copy: what stays may have the same key.
    let (key, key_aside) = (store.key_file(name.as_str()), store.key_file(&aside));
    if key.exists() {
        replace(store, &key_aside, &read_small(&key)?)?;
    }
    if from.exists() {
        let folder = store.make_folder_of(&to)?;
        rename_new(&from, &to).map_err(|e| StoreError::io(&to, e))?;
        sync(folder)?;
        sync(from.parent().expect("it lies below the root"))?;
    }
    Ok(())
}

/// Nothing there is fine too.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path, error)),
        _ => Ok(()),
    }
}

pub(crate) fn remove_durably(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io(path, error)),
        Ok(()) => sync(path.parent().expect("it lies below the root")),
    }
}

fn sync(folder: &Path) -> Result<(), StoreError> {
    sync_folder(folder).map_err(|source| StoreError::Device { path: folder.to_owned(), source })
}

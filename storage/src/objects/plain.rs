//! Small things whole: ledger files as they are, openings encrypted. Each put is durable when it returns.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::blocking;
use super::disk::{rename_new, sync_folder, write_new};
use super::error::{Damage, StoreError};
use super::folder::load_key;
use super::kek::{ObjectKey, fill_random};
use super::name::ObjectName;
use super::store::{ObjectStore, Shared};
use super::tink::{self, Purpose};
use super::together::{self, NewFile};

/// The largest small thing.
pub(crate) const SMALL_MAX_BYTES: u64 = 64 << 20;

impl ObjectStore {
    /// Creates the file `name`. When it stands already with the same bytes, that is a success too.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when it stands with other bytes.
    pub async fn put_new(&self, name: &str, bytes: impl Into<Bytes>) -> Result<(), StoreError> {
        self.create(vec![NewFile { name: name.parse()?, bytes: bytes.into(), sealed: false }]).await
    }

    /// Creates several files as one put each would, in the time of about one.
    pub(crate) async fn create(&self, files: Vec<NewFile>) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || together::create(&shared, &files)).await
    }

    /// Puts the file `name` in place of whatever stands there, in one step: a reader sees the old or the new.
    ///
    /// # Errors
    /// Those of the device.
    pub async fn replace(&self, name: &str, bytes: impl Into<Bytes>) -> Result<(), StoreError> {
        let (shared, name, bytes) = (Arc::clone(&self.shared), name.parse()?, bytes.into());
        blocking::run(move || replace(&shared, &shared.file(ObjectName::as_str(&name)), &bytes))
            .await
    }

    /// The bytes of the file `name`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        let (shared, name) = (Arc::clone(&self.shared), name.parse::<ObjectName>()?);
        blocking::run(move || read_small(&shared.file(name.as_str())).map(Bytes::from)).await
    }

    /// Removes the file `name`, and its key if it has one (first). One that is not there is removed already.
    ///
    /// # Errors
    /// Those of the device.
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let (shared, name) = (Arc::clone(&self.shared), name.parse::<ObjectName>()?);
        blocking::run(move || shared.remove_file_and_key(&name, remove_durably)).await
    }

    /// Removes files that something newer has made superfluous, with keys that are theirs alone. Not durable by itself: after a crash
    /// some may be there again. What must be gone is for [`ObjectStore::remove`].
    ///
    /// # Errors
    /// Those of the device; the names before the one at fault are removed.
    pub async fn forget(&self, names: Vec<String>) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || {
            for name in names {
                shared.remove_file_and_key(&name.parse()?, |path| match fs::remove_file(path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        Err(StoreError::io(path, e))
                    }
                    _ => Ok(()),
                })?;
            }
            Ok(())
        })
        .await
    }

    /// Removes all files in these folders, as far as there are any; no key.
    ///
    /// # Errors
    /// As [`ObjectStore::forget`].
    pub(crate) async fn forget_in(&self, folders: Vec<String>) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || {
            for folder in folders {
                let folder: ObjectName = folder.parse()?;
                forget_all_in(&shared.file(folder.as_str()))?;
            }
            Ok(())
        })
        .await
    }

    /// Moves files to `aside/<name>`, with a copy of their keys: out of the way, and kept. Durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when another file of that name was moved there before.
    pub(crate) async fn set_aside(&self, names: Vec<ObjectName>) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || names.iter().try_for_each(|name| set_aside(&shared, name))).await
    }

    /// Creates `name` encrypted under a key of its own. When it stands already with the same bytes, that is a success.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when it stands with other bytes.
    pub async fn put_sealed(&self, name: &str, bytes: impl Into<Bytes>) -> Result<(), StoreError> {
        self.create(vec![NewFile { name: name.parse()?, bytes: bytes.into(), sealed: true }]).await
    }

    /// Puts `name` encrypted in place of whatever stands there, under the key it has or a new one.
    ///
    /// # Errors
    /// Those of the device.
    pub async fn replace_sealed(
        &self,
        name: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<(), StoreError> {
        let (shared, name, bytes) =
            (Arc::clone(&self.shared), name.parse::<ObjectName>()?, bytes.into());
        blocking::run(move || {
            let key = key_for(&shared, &name)?;
            let sealed = tink::seal_all(&key, Purpose::Small(&name), &bytes);
            replace(&shared, &shared.file(name.as_str()), &sealed)
        })
        .await
    }

    /// The plaintext of an encrypted small object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::KeyGone`], [`StoreError::WrongKey`], [`StoreError::Damaged`].
    pub async fn get_sealed(&self, name: &str) -> Result<Bytes, StoreError> {
        let (shared, name) = (Arc::clone(&self.shared), name.parse()?);
        blocking::run(move || get_sealed(&shared, &name).map(Bytes::from)).await
    }
}

/// A name for a file that is not there yet, in the uploads folder.
pub(crate) fn temporary(uploads: &Path) -> PathBuf {
    let mut random = [0; 12];
    fill_random(&mut random);
    uploads.join(format!("tmp-{}", hex::encode(random)))
}

fn replace(shared: &Shared, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = shared.make_folder_of(path)?;
    let waiting = temporary(&shared.uploads());
    let renamed = write_temporary(shared, &waiting, bytes)
        .and_then(|()| fs::rename(&waiting, path).map_err(|e| StoreError::io(path, e)));
    if renamed.is_err() {
        forget(&waiting);
    }
    renamed?;
    sync(folder)
}

pub(crate) fn get_sealed(shared: &Shared, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
    let path = shared.file(name.as_str());
    let sealed = read_small(&path)?;
    let key = load_key(&shared.kek, &shared.key_file(name.as_str()))?;
    let plain = tink::open_all(&key, Purpose::Small(name), &sealed);
    plain.map(|plain| plain.to_vec()).map_err(|what| StoreError::damaged(&path, what))
}

/// The key of `name`, made and durable if there was none.
fn key_for(shared: &Shared, name: &ObjectName) -> Result<ObjectKey, StoreError> {
    let path = shared.key_file(name.as_str());
    match load_key(&shared.kek, &path) {
        Err(StoreError::KeyGone { .. }) => {}
        other => return other,
    }
    let key = ObjectKey::random();
    replace(shared, &path, shared.kek.wrap(&key).as_bytes())?;
    Ok(key)
}

pub(crate) fn read_small(path: &Path) -> Result<Vec<u8>, StoreError> {
    let found = fs::metadata(path).map_err(|e| StoreError::io(path, e))?.len();
    if found > SMALL_MAX_BYTES {
        return Err(StoreError::damaged(path, Damage::Length { found, expected: SMALL_MAX_BYTES }));
    }
    fs::read(path).map_err(|e| StoreError::io(path, e))
}

fn write_temporary(shared: &Shared, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_new(shared.disk.as_ref(), path, bytes).map_err(|e| StoreError::io(path, e))
}

/// Best effort: a temporary file that stays is cleared away at the next start.
fn forget(path: &Path) {
    let _gone_or_cleared_at_the_next_start = fs::remove_file(path);
}

fn forget_all_in(folder: &Path) -> Result<(), StoreError> {
    let fail = |e| StoreError::io(folder, e);
    let files = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(fail)?,
    };
    for file in files {
        fs::remove_file(file.map_err(fail)?.path()).map_err(fail)?;
    }
    Ok(())
}

fn set_aside(shared: &Shared, name: &ObjectName) -> Result<(), StoreError> {
    let aside = format!("aside/{name}");
    let (from, to) = (shared.file(name.as_str()), shared.file(&aside));
    // A copy: what stays may have the same key.
    let (key, key_aside) = (shared.key_file(name.as_str()), shared.key_file(&aside));
    if key.exists() {
        replace(shared, &key_aside, &read_small(&key)?)?;
    }
    if from.exists() {
        let folder = shared.make_folder_of(&to)?;
        rename_new(&from, &to).map_err(|e| StoreError::io(&to, e))?;
        sync(folder)?;
        sync(from.parent().expect("it lies below the root"))?;
    }
    Ok(())
}

fn remove_durably(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io(path, error)),
        Ok(()) => sync(path.parent().expect("it lies below the root")),
    }
}

fn sync(folder: &Path) -> Result<(), StoreError> {
    sync_folder(folder).map_err(|source| StoreError::Device { path: folder.to_owned(), source })
}

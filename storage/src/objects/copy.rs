//! Whole objects between two stores under one force's key, and looking whether one is there: backup, restore, scrub.
//!
//! The one invariant to keep: a copied object has its name only when every byte of it was compared with what the ledger
//! recorded, on the device of the copy.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use chain_of_custody::digest::GROUP_BYTES;
use futures_util::TryStreamExt as _;

use crate::failpoint;

use super::blocking;
use super::complete::outboard_file;
use super::disk::{
    Crc64, DiskFile, ReadBack, RealDisk, RunningCrc, rename_new, sync_folder, write_new,
};
use super::error::{Damage, StoreError};
use super::kek::Kek;
use super::plain::{read_small, temporary};
use super::read::open;
use super::store::{ObjectStore, Shared};
use super::tink::Layout;
use super::upload::{StoredObject, StoredPart};

/// Bytes read and written at a time.
const PIECE_BYTES: usize = 1 << 20;

/// What copying an object did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// So many bytes of files were written.
    Now { file_bytes: u64 },
    /// All its files were there before.
    Before,
}

impl ObjectStore {
    /// The store in `root` for reading, as it lies on a medium that may not be writable. Nothing is made or cleared away.
    pub fn read_only(root: &Path, kek: Kek) -> Self {
        let disk = RealDisk::without_probe();
        Self::with_disk(root, kek, Arc::new(disk), ReadBack::DroppedCache)
    }

    /// Brings `object` over from another store under the same force's key: compared with the recorded checksums while it
    /// is read, synced, and read back from this store's device. Create-only; what an earlier call finished is left as it
    /// is, what it left unfinished is finished.
    ///
    /// # Errors
    /// Those of reading `from`, as [`Self::open_object`]; [`StoreError::Full`] and device failures of this store.
    pub async fn copy_object(
        &self,
        from: &Self,
        object: &StoredObject,
    ) -> Result<Copied, StoreError> {
        let (from, to) = (Arc::clone(&from.shared), Arc::clone(&self.shared));
        let object = object.clone();
        blocking::run(move || copy(&from, &to, &object)).await
    }

    /// Whether all files of `object` are there with the lengths they should have: a look, not a reading.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::KeyGone`], [`StoreError::Damaged`].
    pub async fn glance(&self, object: &StoredObject) -> Result<(), StoreError> {
        let (shared, object) = (Arc::clone(&self.shared), object.clone());
        blocking::run(move || glance(&shared, &object)).await
    }

    /// The same for many, one result each.
    ///
    /// # Errors
    /// When the runtime is going down.
    pub async fn glance_at_all(
        &self,
        objects: Vec<StoredObject>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || Ok(objects.iter().map(|object| glance(&shared, object)).collect()))
            .await
    }

    /// Every byte of `object`, through authentication and tree.
    ///
    /// # Errors
    /// As [`Self::open_object`] and [`super::VerifiedObject::read`].
    pub async fn read_through(&self, object: &StoredObject) -> Result<(), StoreError> {
        let opened = self.open_object(object).await?;
        opened.stream(0..opened.size_bytes())?.try_for_each(|_| async { Ok(()) }).await
    }
}

fn glance(shared: &Shared, object: &StoredObject) -> Result<(), StoreError> {
    for part in &object.parts {
        let name = part.file.as_str();
        let key = shared.key_file(name);
        match fs::symlink_metadata(&key) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::KeyGone { path: key });
            }
            Err(error) => return Err(StoreError::io(&key, error)),
            Ok(_) => {}
        }
        length_is(&shared.file(name), part.layout().ciphertext_bytes())?;
    }
    length_is(&outboard_file(shared, &object.name), outboard_bytes(object.size_bytes))
}

/// The length of an outboard's file: 32 bytes for each group, encrypted.
fn outboard_bytes(size_bytes: u64) -> u64 {
    let groups = size_bytes.div_ceil(GROUP_BYTES as u64).max(1);
    Layout { size_bytes: groups * 32 }.ciphertext_bytes()
}

fn length_is(path: &Path, expected: u64) -> Result<(), StoreError> {
    let found = fs::symlink_metadata(path).map_err(|e| StoreError::io(path, e))?.len();
    let wrong = || StoreError::damaged(path, Damage::Length { found, expected });
    (found == expected).then_some(()).ok_or_else(wrong)
}

/// In the order of completion: keys, outboard, parts with the one that has the object's name last.
fn copy(from: &Shared, to: &Shared, object: &StoredObject) -> Result<Copied, StoreError> {
    if glance(to, object).is_ok() {
        return Ok(Copied::Before);
    }
    // Keys unwrap, lengths are right, the outboard adds up to the recorded digest.
    open(from, object)?;
    let mut file_bytes = 0;
    for part in &object.parts {
        let name = part.file.as_str();
        file_bytes += copy_small(to, &from.key_file(name), &to.key_file(name))?;
    }
    let outboard = outboard_file(from, &object.name);
    file_bytes += copy_small(to, &outboard, &outboard_file(to, &object.name))?;
    for part in object.parts.iter().rev() {
        file_bytes += copy_part(from, to, part)?;
    }
    Ok(Copied::Now { file_bytes })
}

fn copy_small(to: &Shared, from: &Path, path: &Path) -> Result<u64, StoreError> {
    let bytes = read_small(from)?;
    if fs::read(path).is_ok_and(|held| held == bytes) {
        return Ok(0);
    }
    let waiting = temporary(&to.uploads());
    write_new(to.disk.as_ref(), &waiting, &bytes).map_err(|e| abandon(&waiting, &waiting, e))?;
    take_name(to, &waiting, path)?;
    Ok(bytes.len() as u64)
}

fn copy_part(from: &Shared, to: &Shared, part: &StoredPart) -> Result<u64, StoreError> {
    let (source, path) = (from.file(part.file.as_str()), to.file(part.file.as_str()));
    let length = part.layout().ciphertext_bytes();
    if length_is(&path, length).is_ok() {
        return Ok(0);
    }
    let waiting = temporary(&to.uploads());
    let (copy, read) = match stream(to, &source, &waiting) {
        Ok(read) => read,
        Err(error) => {
            let _gone_or_cleared_at_the_next_start = fs::remove_file(&waiting);
            return Err(error);
        }
    };
    let compared = if read == part.crc64nvme {
        let held = to.disk.read_back(&copy, 0..length, RunningCrc::after(Crc64::default()));
        held.map_err(|e| StoreError::io(&waiting, e)).and_then(|held| {
            let same = held.value() == part.crc64nvme;
            same.then_some(()).ok_or(StoreError::ReadBack { path: waiting.clone() })
        })
    } else {
        Err(StoreError::damaged(&source, Damage::Form))
    };
    if let Err(error) = compared {
        let _gone_or_cleared_at_the_next_start = fs::remove_file(&waiting);
        return Err(error);
    }
    failpoint::hit("backup.part-written");
    take_name(to, &waiting, &path)?;
    Ok(length)
}

/// Copies and syncs; the checksum is that of what was read.
fn stream(to: &Shared, source: &Path, waiting: &Path) -> Result<(DiskFile, Crc64), StoreError> {
    let mut reading = File::open(source).map_err(|e| StoreError::io(source, e))?;
    let written = |e| StoreError::io(waiting, e);
    write_new(to.disk.as_ref(), waiting, &[]).map_err(written)?;
    let copy = to.disk.open(waiting).map_err(written)?;
    let (mut piece, mut offset) = (vec![0; PIECE_BYTES], 0);
    let mut crc = RunningCrc::after(Crc64::default());
    loop {
        let got = reading.read(&mut piece).map_err(|e| StoreError::io(source, e))?;
        if got == 0 {
            break;
        }
        to.disk.write_at(&copy, &piece[..got], offset).map_err(written)?;
        crc.update(&piece[..got]);
        offset += got as u64;
    }
    to.disk.sync(&copy).map_err(written)?;
    Ok((copy, crc.value()))
}

/// The final name, durable. Somebody's other file under it is never replaced.
fn take_name(to: &Shared, waiting: &Path, path: &Path) -> Result<(), StoreError> {
    let folder = match to.make_folder_of(path) {
        Ok(folder) => folder,
        Err(error) => {
            let _gone_or_cleared_at_the_next_start = fs::remove_file(waiting);
            return Err(error);
        }
    };
    rename_new(waiting, path).map_err(|e| abandon(waiting, path, e))?;
    sync_folder(folder).map_err(|source| StoreError::Device { path: folder.to_owned(), source })
}

fn abandon(waiting: &Path, path: &Path, error: io::Error) -> StoreError {
    let _gone_or_cleared_at_the_next_start = fs::remove_file(waiting);
    StoreError::io(path, error)
}

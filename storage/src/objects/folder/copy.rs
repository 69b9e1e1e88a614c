//! Objects brought over from another place, and a look whether one is there.

use std::fs;
use std::io;
use std::path::Path;

use super::FolderStore;
use super::complete::outboard_file;
use super::disk::{DiskFile, rename_new, sync_folder, write_new};
use super::plain::{length_is, temporary};
use crate::failpoint;
use crate::objects::copy::Copied;
use crate::objects::crc::{Crc64, RunningCrc};
use crate::objects::error::{Damage, StoreError};
use crate::objects::medium::{Medium, StoredFile};
use crate::objects::read;
use crate::objects::tink::Layout;
use crate::objects::upload::{StoredObject, StoredPart};

/// Bytes read and written at a time.
const PIECE_BYTES: usize = 1 << 20;

pub(crate) fn glance(store: &FolderStore, object: &StoredObject) -> Result<(), StoreError> {
    for part in &object.parts {
        let name = part.file.as_str();
        let key = store.key_file(name);
        match fs::symlink_metadata(&key) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::KeyGone { path: key });
            }
            Err(error) => return Err(StoreError::io(&key, error)),
            Ok(_) => {}
        }
        length_is(&store.file(name), part.layout().ciphertext_bytes())?;
    }
    length_is(
        &outboard_file(store, &object.name),
        Layout::of_outboard(object.size_bytes).ciphertext_bytes(),
    )
}

/// In the order of completion: keys, outboard, parts with the one that has the object's name last.
pub(crate) fn bring_over(
    to: &FolderStore,
    from: &dyn Medium,
    object: &StoredObject,
) -> Result<Copied, StoreError> {
    if glance(to, object).is_ok() {
        return Ok(Copied::Before);
    }
    // Keys unwrap, lengths are right, the outboard adds up to the recorded digest.
    read::open(from, object)?;
    let mut file_bytes = 0;
    for part in &object.parts {
        let key = from.wrapped_key(&part.file)?;
        file_bytes += put_small(to, &key, &to.key_file(part.file.as_str()))?;
    }
    let outboard = from.get(&object.name.outboard()?)?;
    file_bytes += put_small(to, &outboard, &outboard_file(to, &object.name))?;
    for part in object.parts.iter().rev() {
        file_bytes += copy_part(from, to, part)?;
    }
    Ok(Copied::Now { file_bytes })
}

fn put_small(to: &FolderStore, bytes: &[u8], path: &Path) -> Result<u64, StoreError> {
    if fs::read(path).is_ok_and(|held| held == bytes) {
        return Ok(0);
    }
    let waiting = temporary(&to.uploads_folder());
    write_new(to.disk.as_ref(), &waiting, bytes).map_err(|e| abandon(&waiting, &waiting, e))?;
    take_name(to, &waiting, path)?;
    Ok(bytes.len() as u64)
}

fn copy_part(from: &dyn Medium, to: &FolderStore, part: &StoredPart) -> Result<u64, StoreError> {
    let (source, path) = (from.part(part), to.file(part.file.as_str()));
    let length = part.layout().ciphertext_bytes();
    if length_is(&path, length).is_ok() {
        return Ok(0);
    }
    let waiting = temporary(&to.uploads_folder());
    let (copy, read) = match stream(to, source.as_ref(), length, &waiting) {
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
        Err(StoreError::damaged(source.path(), Damage::Form))
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
fn stream(
    to: &FolderStore,
    source: &dyn StoredFile,
    length: u64,
    waiting: &Path,
) -> Result<(DiskFile, Crc64), StoreError> {
    let written = |e| StoreError::io(waiting, e);
    write_new(to.disk.as_ref(), waiting, &[]).map_err(written)?;
    let copy = to.disk.open(waiting).map_err(written)?;
    let (mut piece, mut offset) = (vec![0; PIECE_BYTES], 0);
    let mut crc = RunningCrc::after(Crc64::default());
    while offset < length {
        let piece = &mut piece[..(length - offset).min(PIECE_BYTES as u64) as usize];
        source.read_at(piece, offset)?;
        to.disk.write_at(&copy, piece, offset).map_err(written)?;
        crc.update(piece);
        offset += piece.len() as u64;
    }
    to.disk.sync(&copy).map_err(written)?;
    Ok((copy, crc.value()))
}

/// The final name, durable. Somebody's other file under it is never replaced.
fn take_name(to: &FolderStore, waiting: &Path, path: &Path) -> Result<(), StoreError> {
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

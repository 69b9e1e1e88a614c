//! A sealed upload becomes an object: create-only, by renaming.
//!
//! 1. The outboard is there, durably, under a name of its own: since sealing, or written now.
//! 2. Keys, outboard and parts take their final names, the part with the object's own name last.
//! 3. Both folders are synced, beside each other.
//!
//! A crash may keep any of these names and lose any other: repeating the call goes on from whatever it finds. Until it
//! has returned nobody knows of the object.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain_of_custody::digest::{Blake3, Outboard};

use super::blocking;
use super::compose::digest_parts;
use super::disk::{Disk, rename_new, sync_folder, write_new};
use super::error::{Damage, StoreError};
use super::folder::{UploadFolder, load_key};
use super::kek::ObjectKey;
use super::name::ObjectName;
use super::plain::temporary;
use super::read::Source;
use super::store::{ObjectStore, Shared};
use super::tink::{self, Layout, Purpose};
use super::together::beside_each_other;
use super::upload::{SealedPart, SealedUpload, StoredObject, StoredPart};

/// Where the outboard of an object lies.
pub(crate) fn outboard_file(shared: &Shared, name: &ObjectName) -> PathBuf {
    shared.file(&name.with_suffix(".obao"))
}

impl ObjectStore {
    /// Makes the object `name` of a sealed upload; `blake3` must be the digest of its bytes. Durable when this returns.
    /// Create-only. Repeated with the same arguments, also after a crash in the middle, it gives the same object.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the name is another object's, [`StoreError::DigestMismatch`], and those of the
    /// device.
    pub async fn complete(
        &self,
        sealed: SealedUpload,
        name: ObjectName,
        blake3: Blake3,
    ) -> Result<StoredObject, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || complete(&shared, sealed, name, blake3)).await
    }

    /// Disposal: the object's keys are destroyed, durably, then its files are removed. Repeating it is harmless.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn dispose(&self, object: &StoredObject) -> Result<(), StoreError> {
        let (shared, object) = (Arc::clone(&self.shared), object.clone());
        blocking::run(move || dispose(&shared, &object)).await
    }

    /// Undoes [`Self::complete`], wherever it was cut, also before it began: keys first, as with disposal. The upload's
    /// folder is for [`Self::discard`]. Only for an object that no entry names. Repeating it is harmless.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn undo_complete(
        &self,
        sealed: SealedUpload,
        name: ObjectName,
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || {
            let placements = place(&shared, sealed.parts, &name)?;
            let files: Vec<_> = placements.iter().map(|p| p.file.as_str()).collect();
            remove_object(&shared, &files, &name)
        })
        .await
    }
}

/// One part, where it is and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    pub(crate) part: SealedPart,
    file: ObjectName,
    from: PathBuf,
    key_from: PathBuf,
    to: PathBuf,
    key_to: PathBuf,
}

impl Placement {
    fn new(shared: &Shared, part: SealedPart, file: ObjectName) -> Self {
        let folder = UploadFolder::new(&shared.uploads(), part.upload);
        Self {
            from: folder.part(part.number),
            key_from: folder.key(part.number),
            to: shared.file(file.as_str()),
            key_to: shared.key_file(file.as_str()),
            part,
            file,
        }
    }

    /// For reading sealed parts: from the upload's folder, or from where an earlier completion brought them.
    pub(crate) fn source(
        shared: &Shared,
        parts: &[SealedPart],
        placed: Option<&[Self]>,
    ) -> Result<Source, StoreError> {
        let files = parts.iter().enumerate().map(|(at, part)| {
            let folder = UploadFolder::new(&shared.uploads(), part.upload);
            let (file, key) = (folder.part(part.number), folder.key(part.number));
            let later = placed.map(|placed| &placed[at]);
            let here = |now: PathBuf, then: Option<&PathBuf>| match then {
                Some(then) if !now.exists() => then.clone(),
                _ => now,
            };
            (here(file, later.map(|p| &p.to)), here(key, later.map(|p| &p.key_to)), part.size_bytes)
        });
        Source::new(shared, files.collect::<Vec<_>>())
    }

    fn key(&self) -> &Path {
        if self.key_from.exists() { &self.key_from } else { &self.key_to }
    }
}

fn complete(
    shared: &Shared,
    sealed: SealedUpload,
    name: ObjectName,
    blake3: Blake3,
) -> Result<StoredObject, StoreError> {
    let SealedUpload { parts, size_bytes, outboard } = sealed;
    let placements = place(shared, parts, &name)?;
    let outboard = match outboard.filter(|outboard| outboard.root() == blake3) {
        Some(outboard) => outboard,
        None => digest_parts(shared, &placements)?.1,
    };
    if outboard.root() != blake3 {
        return Err(StoreError::DigestMismatch);
    }
    let first =
        placements.first().ok_or_else(|| StoreError::NotFound { path: shared.uploads() })?;
    let key = load_key(&shared.kek, first.key())?;
    let waiting = waiting_outboard(shared, first, &key, &outboard)?;
    let folders = [shared.make_folder_of(&first.to)?, shared.make_folder_of(&first.key_to)?];

    placements.iter().try_for_each(|p| move_new(&p.key_from, &p.key_to))?;
    name_outboard(&waiting, &outboard_file(shared, &name), &key, &outboard)?;
    placements.iter().rev().try_for_each(|p| move_new(&p.from, &p.to))?;
    beside_each_other(&folders, |folder| sync(folder))?;
    placements.iter().try_for_each(check_length)?;
    for placement in &placements {
        UploadFolder::new(&shared.uploads(), placement.part.upload).remove()?;
    }
    let parts = placements.into_iter().map(|p| StoredPart {
        file: p.file,
        size_bytes: p.part.size_bytes,
        crc64nvme: p.part.crc64nvme,
    });
    Ok(StoredObject { name, parts: parts.collect(), size_bytes, blake3 })
}

/// The outboard's durable file before it has its name: the one that sealing left, or a new one.
fn waiting_outboard(
    shared: &Shared,
    first: &Placement,
    key: &ObjectKey,
    outboard: &Outboard,
) -> Result<PathBuf, StoreError> {
    let sealed_with = UploadFolder::new(&shared.uploads(), first.part.upload).outboard();
    if is_outboard(&sealed_with, key, outboard)? {
        return Ok(sealed_with);
    }
    let waiting = temporary(&shared.uploads());
    write_outboard(shared.disk.as_ref(), &waiting, key, outboard)?;
    Ok(waiting)
}

/// One that stands there already, as from an attempt that was cut, has to say the same.
fn name_outboard(
    waiting: &Path,
    path: &Path,
    key: &ObjectKey,
    outboard: &Outboard,
) -> Result<(), StoreError> {
    match move_new(waiting, path) {
        Err(StoreError::AlreadyExists { .. }) => {
            fs::remove_file(waiting).map_err(|e| StoreError::io(waiting, e))?;
            let same = is_outboard(path, key, outboard)?;
            same.then_some(()).ok_or_else(|| StoreError::AlreadyExists { path: path.to_owned() })
        }
        other => other,
    }
}

/// Writes an outboard encrypted under the key of the object's first part, and syncs it.
pub(crate) fn write_outboard(
    disk: &dyn Disk,
    path: &Path,
    key: &ObjectKey,
    outboard: &Outboard,
) -> Result<(), StoreError> {
    let sealed = tink::seal_all(key, Purpose::Outboard, &outboard.to_bytes());
    write_new(disk, path, &sealed).map_err(|e| StoreError::io(path, e))
}

/// Whether the file at `path` is this outboard; one that is not there or was cut is not.
fn is_outboard(path: &Path, key: &ObjectKey, outboard: &Outboard) -> Result<bool, StoreError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io(path, error)),
        Ok(stored) => {
            let opened = tink::open_all(key, Purpose::Outboard, &stored);
            Ok(opened.is_ok_and(|plain| *plain == outboard.to_bytes()))
        }
    }
}

fn place(
    shared: &Shared,
    parts: Vec<SealedPart>,
    name: &ObjectName,
) -> Result<Vec<Placement>, StoreError> {
    let numbered = parts
        .into_iter()
        .enumerate()
        .map(|(at, part)| Ok(Placement::new(shared, part, name.part(at)?)));
    numbered.collect()
}

/// Renames create-only; done already is done.
fn move_new(from: &Path, to: &Path) -> Result<(), StoreError> {
    match rename_new(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => Ok(()),
        Err(error) => Err(StoreError::io(to, error)),
        Ok(()) => Ok(()),
    }
}

fn sync(folder: &Path) -> Result<(), StoreError> {
    sync_folder(folder).map_err(|source| StoreError::Device { path: folder.to_owned(), source })
}

fn check_length(placement: &Placement) -> Result<(), StoreError> {
    let found = fs::metadata(&placement.to).map_err(|e| StoreError::io(&placement.to, e))?.len();
    let expected = Layout { size_bytes: placement.part.size_bytes }.ciphertext_bytes();
    let damaged = || StoreError::damaged(&placement.to, Damage::Length { found, expected });
    (found == expected).then_some(()).ok_or_else(damaged)
}

fn dispose(shared: &Shared, object: &StoredObject) -> Result<(), StoreError> {
    let files: Vec<_> = object.parts.iter().map(|part| part.file.as_str()).collect();
    remove_object(shared, &files, &object.name)
}

fn remove_object(shared: &Shared, files: &[&str], name: &ObjectName) -> Result<(), StoreError> {
    let keys: Vec<_> = files.iter().map(|name| shared.key_file(name)).collect();
    keys.iter().try_for_each(|path| remove(path))?;
    for folder in keys.iter().filter_map(|path| path.parent()) {
        if folder.exists() {
            sync(folder)?;
        }
    }
    files.iter().try_for_each(|name| remove(&shared.file(name)))?;
    remove(&outboard_file(shared, name))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path, error)),
        _ => Ok(()),
    }
}

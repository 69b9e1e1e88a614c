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

use chain_of_custody::digest::{Blake3, Outboard};

use super::FolderStore;
use super::disk::{Disk, rename_new, sync_folder, write_new};
use super::plain::{FileInFolder, length_is, remove, temporary};
use super::together::beside_each_other;
use super::upload::{UploadFolder, load_key};
use crate::objects::compose::digest;
use crate::objects::error::StoreError;
use crate::objects::kek::ObjectKey;
use crate::objects::name::ObjectName;
use crate::objects::read::{Source, SourceFile};
use crate::objects::tink::{self, Layout, Purpose};
use crate::objects::upload::{SealedPart, SealedUpload, StoredObject, StoredPart};

/// Where the outboard of an object lies.
pub(crate) fn outboard_file(store: &FolderStore, name: &ObjectName) -> PathBuf {
    store.file(&format!("{name}.obao"))
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
    fn new(store: &FolderStore, part: SealedPart, file: ObjectName) -> Self {
        let folder = UploadFolder::new(&store.uploads_folder(), part.upload);
        Self {
            from: folder.part(part.number),
            key_from: folder.key(part.number),
            to: store.file(file.as_str()),
            key_to: store.key_file(file.as_str()),
            part,
            file,
        }
    }

    fn key(&self) -> &Path {
        if self.key_from.exists() { &self.key_from } else { &self.key_to }
    }
}

/// Undoes a completion, wherever it was cut.
pub(crate) fn undo(
    store: &FolderStore,
    sealed: SealedUpload,
    name: &ObjectName,
) -> Result<(), StoreError> {
    let placements = place(store, sealed.parts, name)?;
    let files: Vec<_> = placements.iter().map(|p| p.file.as_str()).collect();
    remove_object(store, &files, name)
}

/// For reading sealed parts, which lie in their uploads' folders.
pub(crate) fn sealed(store: &FolderStore, parts: &[SealedPart]) -> Result<Source, StoreError> {
    let files = parts.iter().map(|part| {
        let folder = UploadFolder::new(&store.uploads_folder(), part.upload);
        source_part(store, folder.part(part.number), &folder.key(part.number), part)
    });
    Ok(Source::new(files.collect::<Result<Vec<_>, _>>()?))
}

/// The same, wherever a completion that was cut has left them.
fn placed(store: &FolderStore, placements: &[Placement]) -> Result<Source, StoreError> {
    let files = placements.iter().map(|p| {
        let file = if p.from.exists() { &p.from } else { &p.to };
        source_part(store, file.clone(), p.key(), &p.part)
    });
    Ok(Source::new(files.collect::<Result<Vec<_>, _>>()?))
}

fn source_part(
    store: &FolderStore,
    file: PathBuf,
    key: &Path,
    part: &SealedPart,
) -> Result<SourceFile, StoreError> {
    let file = Box::new(FileInFolder::new(file));
    Ok((file, load_key(&store.kek, key)?, Layout { size_bytes: part.size_bytes }))
}

pub(crate) fn complete(
    store: &FolderStore,
    sealed: SealedUpload,
    name: ObjectName,
    blake3: Blake3,
) -> Result<StoredObject, StoreError> {
    let SealedUpload { parts, size_bytes, outboard } = sealed;
    let placements = place(store, parts, &name)?;
    let outboard = match outboard.filter(|outboard| outboard.root() == blake3) {
        Some(outboard) => outboard,
        None => digest(&placed(store, &placements)?)?.1,
    };
    if outboard.root() != blake3 {
        return Err(StoreError::DigestMismatch);
    }
    let first =
        placements.first().ok_or_else(|| StoreError::NotFound { path: store.uploads_folder() })?;
    let key = load_key(&store.kek, first.key())?;
    let waiting = waiting_outboard(store, first, &key, &outboard)?;
    let folders = [store.make_folder_of(&first.to)?, store.make_folder_of(&first.key_to)?];

    placements.iter().try_for_each(|p| move_new(&p.key_from, &p.key_to))?;
    name_outboard(&waiting, &outboard_file(store, &name), &key, &outboard)?;
    placements.iter().rev().try_for_each(|p| move_new(&p.from, &p.to))?;
    beside_each_other(&folders, |folder| sync(folder))?;
    placements.iter().try_for_each(check_length)?;
    for placement in &placements {
        UploadFolder::new(&store.uploads_folder(), placement.part.upload).remove()?;
    }
    let parts = placements.into_iter().map(|p| StoredPart {
        file: p.file,
        size_bytes: p.part.size_bytes,
        crc64nvme: p.part.crc64nvme,
        version: None,
    });
    Ok(StoredObject { name, parts: parts.collect(), size_bytes, blake3 })
}

/// The outboard's durable file before it has its name: the one that sealing left, or a new one.
fn waiting_outboard(
    store: &FolderStore,
    first: &Placement,
    key: &ObjectKey,
    outboard: &Outboard,
) -> Result<PathBuf, StoreError> {
    let sealed_with = UploadFolder::new(&store.uploads_folder(), first.part.upload).outboard();
    if is_outboard(&sealed_with, key, outboard)? {
        return Ok(sealed_with);
    }
    let waiting = temporary(&store.uploads_folder());
    write_outboard(store.disk.as_ref(), &waiting, key, outboard)?;
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
    store: &FolderStore,
    parts: Vec<SealedPart>,
    name: &ObjectName,
) -> Result<Vec<Placement>, StoreError> {
    let numbered = parts
        .into_iter()
        .enumerate()
        .map(|(at, part)| Ok(Placement::new(store, part, name.part(at)?)));
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
    length_is(&placement.to, Layout { size_bytes: placement.part.size_bytes }.ciphertext_bytes())
}

pub(crate) fn dispose(store: &FolderStore, object: &StoredObject) -> Result<(), StoreError> {
    let files: Vec<_> = object.parts.iter().map(|part| part.file.as_str()).collect();
    remove_object(store, &files, &object.name)
}

fn remove_object(store: &FolderStore, files: &[&str], name: &ObjectName) -> Result<(), StoreError> {
    let keys: Vec<_> = files.iter().map(|name| store.key_file(name)).collect();
    keys.iter().try_for_each(|path| remove(path))?;
    for folder in keys.iter().filter_map(|path| path.parent()) {
        if folder.exists() {
            sync(folder)?;
        }
    }
    files.iter().try_for_each(|name| remove(&store.file(name)))?;
    remove(&outboard_file(store, name))
}

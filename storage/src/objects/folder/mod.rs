//! A folder of objects on a disk of this machine. One process at a time has it open (the data folder's lock sees to that).

mod complete;
mod copy;
mod disk;
mod groups;
mod part;
mod plain;
mod resume;
mod scan;
mod together;
mod upload;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain_of_custody::digest::{Blake3, HashState};
use chain_of_custody::ids::UploadId;

pub use disk::ReadBack;
pub(crate) use disk::RealDisk;
#[cfg(test)]
pub(crate) use disk::{Disk, DiskFile};
pub(crate) use upload::load_key;
pub(crate) use writer::FolderWriter;

#[cfg(not(test))]
use self::disk::Disk;
use self::disk::{KnownFolders, sync_folder};
use self::part::{PartWriter, Spares};
use self::upload::UploadFolder;
use super::copy::Copied;
use super::error::StoreError;
use super::groups::Waiting;
use super::kek::{Kek, KnownKeys, ObjectKey};
use super::medium::{Medium, NewFile, Protection, Seen, StoredFile};
use super::name::ObjectName;
use super::read::Source;
use super::scan::{Found, FoundVersion};
use super::tail::Tail;
use super::upload::{
    GroupsRef, Reread, SealedPart, SealedUpload, Slot, State, StoredObject, StoredPart, WriterState,
};
use super::writer::ObjectWriter;

/// The folder, and what all that write to it share.
#[derive(Debug)]
pub(crate) struct FolderStore {
    root: PathBuf,
    kek: Kek,
    disk: Arc<dyn Disk>,
    spares: Arc<Spares>,
    folders: KnownFolders,
    keys: KnownKeys,
}

impl FolderStore {
    /// Opens the folder `root`, making it if need be, and clears away temporary files of an earlier run. Uploads under
    /// way stay.
    pub(crate) fn open(root: &Path, kek: Kek) -> Result<(Self, ReadBack), StoreError> {
        let uploads = root.join("uploads");
        for folder in [root, &uploads, &root.join("keys")] {
            fs::create_dir_all(folder).map_err(|e| StoreError::io(folder, e))?;
        }
        sync_folder(root).map_err(|e| StoreError::io(root, e))?;
        clear_temporary(&uploads).map_err(|e| StoreError::io(&uploads, e))?;
        let disk = RealDisk::probe(&uploads).map_err(|e| StoreError::io(&uploads, e))?;
        Ok((Self::with_disk(root, kek, Arc::new(disk)), disk.how()))
    }

    pub(crate) fn with_disk(root: &Path, kek: Kek, disk: Arc<dyn Disk>) -> Self {
        let (root, folders) = (root.to_owned(), KnownFolders::default());
        let (spares, keys) = (Arc::default(), KnownKeys::default());
        Self { root, kek, disk, spares, folders, keys }
    }

    fn uploads_folder(&self) -> PathBuf {
        self.root.join("uploads")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn key_file(&self, name: &str) -> PathBuf {
        self.root.join("keys").join(ObjectName::of_key(name))
    }

    /// Removes the file `name`, and its key first, unless that is a full bundle's of which this is a narrower width.
    fn remove_file_and_key(
        &self,
        name: &ObjectName,
        remove: impl Fn(&Path) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let name = name.as_str();
        if ObjectName::of_key(name) == name {
            let key = self.key_file(name);
            self.keys.forget(&key);
            remove(&key)?;
        }
        remove(&self.file(name))
    }

    /// What a part needs to be written.
    fn for_writing(&self) -> (Arc<dyn Disk>, Arc<Spares>) {
        (Arc::clone(&self.disk), Arc::clone(&self.spares))
    }

    /// Makes the folder above `path`, durably.
    fn make_folder_of<'a>(&self, path: &'a Path) -> Result<&'a Path, StoreError> {
        let folder = path.parent().expect("it lies below the root");
        self.folders.make(&self.root, folder).map_err(|e| StoreError::io(folder, e))?;
        Ok(folder)
    }
}

impl Medium for FolderStore {
    fn kek(&self) -> &Kek {
        &self.kek
    }

    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        let stat =
            rustix::fs::statvfs(&self.root).map_err(|e| StoreError::io(&self.root, e.into()))?;
        Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    /// The object's name is taken at the end, by renaming.
    fn begin(
        self: Arc<Self>,
        upload: UploadId,
        _name: &ObjectName,
        reread: Reread,
    ) -> Result<ObjectWriter, StoreError> {
        let folder = UploadFolder::new(&self.uploads_folder(), upload);
        folder.create()?;
        let (part, key) = folder.new_part(self.disk.as_ref(), &self.kek)?;
        let path = folder.part(part.number);
        let writer = FolderWriter {
            upload,
            closed: Vec::new(),
            number: part.number,
            part: PartWriter::open(self.for_writing(), &path, &key, part, reread)?,
            first_key: key.clone(),
            key,
            kept: GroupsRef::default(),
            waiting: Waiting::default(),
            slot: Slot::TailA,
            reread,
            names_durable: false,
            folder,
            store: self,
        };
        Ok(writer.into())
    }

    fn reopen(self: Arc<Self>, state: WriterState) -> Result<(ObjectWriter, Tail), StoreError> {
        let State::Folder(state) = state.0 else { return Err(self.elsewhere(state.upload())) };
        let (writer, tail) = resume::reopen(self, state)?;
        Ok((writer.into(), tail))
    }

    fn hash_state(&self, state: &WriterState) -> Result<HashState, StoreError> {
        let State::Folder(state) = &state.0 else { return Err(self.elsewhere(state.upload())) };
        resume::hash_state(self, state)
    }

    fn discard(&self, upload: UploadId) -> Result<(), StoreError> {
        UploadFolder::new(&self.uploads_folder(), upload).remove()
    }

    fn uploads(&self) -> Result<Vec<UploadId>, StoreError> {
        scan::uploads(self)
    }

    fn settle(&self, parts: Vec<SealedPart>) -> Result<Vec<SealedPart>, StoreError> {
        Ok(parts)
    }

    fn sealed(&self, parts: &[SealedPart]) -> Result<Source, StoreError> {
        complete::sealed(self, parts)
    }

    fn complete(
        &self,
        sealed: SealedUpload,
        name: ObjectName,
        blake3: Blake3,
    ) -> Result<StoredObject, StoreError> {
        complete::complete(self, sealed, name, blake3)
    }

    fn undo_complete(&self, sealed: SealedUpload, name: &ObjectName) -> Result<(), StoreError> {
        complete::undo(self, sealed, name)
    }

    fn dispose(&self, object: &StoredObject) -> Result<(), StoreError> {
        complete::dispose(self, object)
    }

    fn protect(&self, _object: &StoredObject, _protection: Protection) -> Result<(), StoreError> {
        Ok(())
    }

    fn part(&self, part: &StoredPart) -> Box<dyn StoredFile> {
        Box::new(plain::FileInFolder::new(self.file(part.file.as_str())))
    }

    fn key(&self, file: &ObjectName) -> Result<ObjectKey, StoreError> {
        load_key(&self.kek, &self.key_file(file.as_str()))
    }

    fn wrapped_key(&self, file: &ObjectName) -> Result<Vec<u8>, StoreError> {
        plain::read_small(&self.key_file(file.as_str()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.file(name)
    }

    fn glance(&self, object: &StoredObject) -> Result<(), StoreError> {
        copy::glance(self, object)
    }

    fn bring_over(&self, from: &dyn Medium, object: &StoredObject) -> Result<Copied, StoreError> {
        copy::bring_over(self, from, object)
    }

    fn create(&self, files: &[NewFile]) -> Result<(), StoreError> {
        together::create(self, files)
    }

    fn get(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        plain::read_small(&self.file(name.as_str()))
    }

    fn versions(&self, _name: &ObjectName) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(Vec::new())
    }

    fn scan_versions(&self, folder: &ObjectName) -> Result<Vec<FoundVersion>, StoreError> {
        let alone =
            |found: Found| FoundVersion { name: found.name, version: None, is_marker: false };
        Ok(scan::below(self, folder)?.into_iter().map(alone).collect())
    }

    fn replace(&self, name: &ObjectName, bytes: &[u8], seen: Seen<'_>) -> Result<(), StoreError> {
        plain::replace_seen(self, &self.file(name.as_str()), bytes, seen)
    }

    fn key_for(&self, name: &ObjectName) -> Result<ObjectKey, StoreError> {
        plain::key_for(self, name)
    }

    fn remove(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.remove_file_and_key(name, plain::remove_durably)
    }

    fn forget(&self, names: &[ObjectName]) -> Result<(), StoreError> {
        names.iter().try_for_each(|name| self.remove_file_and_key(name, plain::remove))
    }

    fn forget_in(&self, folders: &[ObjectName]) -> Result<(), StoreError> {
        folders.iter().try_for_each(|folder| plain::forget_all_in(&self.file(folder.as_str())))
    }

    fn set_aside(&self, names: &[ObjectName]) -> Result<(), StoreError> {
        names.iter().try_for_each(|name| plain::set_aside(self, name))
    }

    fn scan(&self, folder: &ObjectName) -> Result<Vec<Found>, StoreError> {
        scan::below(self, folder)
    }
}

impl FolderStore {
    /// A state of an upload that is in a store of another kind: the configuration was changed while it was under way.
    fn elsewhere(&self, upload: UploadId) -> StoreError {
        StoreError::NotFound {
            path: UploadFolder::new(&self.uploads_folder(), upload).path().to_owned(),
        }
    }
}

/// Files of puts that a crash cut short. Nobody was told that they exist.
fn clear_temporary(uploads: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(uploads)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("tmp-") && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

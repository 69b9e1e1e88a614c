//! The store itself: where things lie, and the way into writing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain_of_custody::digest::HashState;
use chain_of_custody::ids::UploadId;

use super::disk::{Disk, KnownFolders, ReadBack, RealDisk, sync_folder};
use super::error::StoreError;
use super::folder::UploadFolder;
use super::groups::GroupList;
use super::kek::{Kek, KnownKeys};
use super::name::ObjectName;
use super::part::{PartWriter, Spares};
use super::upload::{GroupsRef, Reread, Slot, WriterState};
use super::writer::ObjectWriter;
use super::{blocking, resume};

/// A folder of objects. Cheap to clone. One process at a time has it open (the data folder's lock sees to that).
#[derive(Debug, Clone)]
pub struct ObjectStore {
    pub(crate) shared: Arc<Shared>,
}

/// What all parts of the store need.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) root: PathBuf,
    pub(crate) kek: Kek,
    pub(crate) disk: Arc<dyn Disk>,
    spares: Arc<Spares>,
    read_back: ReadBack,
    folders: KnownFolders,
    pub(crate) keys: KnownKeys,
}

impl Shared {
    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn key_file(&self, name: &str) -> PathBuf {
        self.root.join("keys").join(ObjectName::of_key(name))
    }

    /// Removes the file `name`, and its key first, unless that is a full bundle's of which this is a narrower width.
    pub(crate) fn remove_file_and_key(
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
    pub(crate) fn for_writing(&self) -> (Arc<dyn Disk>, Arc<Spares>) {
        (Arc::clone(&self.disk), Arc::clone(&self.spares))
    }

    /// Makes the folder above `path`, durably.
    pub(crate) fn make_folder_of<'a>(&self, path: &'a Path) -> Result<&'a Path, StoreError> {
        let folder = path.parent().expect("it lies below the root");
        self.folders.make(&self.root, folder).map_err(|e| StoreError::io(folder, e))?;
        Ok(folder)
    }
}

impl ObjectStore {
    /// Opens the store in `root`, making it if need be, and clears away temporary files of an earlier run. Uploads under
    /// way stay.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn open(root: &Path, kek: Kek) -> Result<Self, StoreError> {
        let uploads = root.join("uploads");
        for folder in [root, &uploads, &root.join("keys")] {
            fs::create_dir_all(folder).map_err(|e| StoreError::io(folder, e))?;
        }
        sync_folder(root).map_err(|e| StoreError::io(root, e))?;
        clear_temporary(&uploads).map_err(|e| StoreError::io(&uploads, e))?;
        let disk = RealDisk::probe(&uploads).map_err(|e| StoreError::io(&uploads, e))?;
        Ok(Self::with_disk(root, kek, Arc::new(disk), disk.how()))
    }

    pub(crate) fn with_disk(
        root: &Path,
        kek: Kek,
        disk: Arc<dyn Disk>,
        read_back: ReadBack,
    ) -> Self {
        let (root, folders) = (root.to_owned(), KnownFolders::default());
        let (spares, keys) = (Arc::default(), KnownKeys::default());
        Self { shared: Arc::new(Shared { root, kek, disk, spares, read_back, folders, keys }) }
    }

    /// How written bytes are read back here; `status` and `doctor` show it.
    pub fn read_back(&self) -> ReadBack {
        self.shared.read_back
    }

    /// The force's key that it is opened with.
    pub fn kek(&self) -> Kek {
        self.shared.kek.clone()
    }

    /// Whether `path` lies in this store.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        path.starts_with(&self.shared.root)
    }

    /// Room for ordinary users on the file system.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        let root = &self.shared.root;
        let stat = rustix::fs::statvfs(root).map_err(|e| StoreError::io(root, e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Begins an upload, once: a second time is [`StoreError::AlreadyExists`]. Nothing of it is durable before the first
    /// [`ObjectWriter::persist`].
    ///
    /// # Errors
    /// As [`ObjectWriter::write`].
    pub async fn begin(&self, upload: UploadId) -> Result<ObjectWriter, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || begin(shared, upload, Reread::NotSoon)).await
    }

    /// The same for a piece of a larger whole, whose digest will need these bytes again soon.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_piece(&self, upload: UploadId) -> Result<ObjectWriter, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || begin(shared, upload, Reread::Soon)).await
    }

    /// Goes on from a durable state: the last one that [`ObjectWriter::persist`] returned for this upload, or the one
    /// before it. Gives back the hash state kept with it. Bytes that came after it are forgotten.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the upload is gone, [`StoreError::Damaged`] when what was durable is not there any
    /// more.
    pub async fn resume(
        &self,
        state: WriterState,
    ) -> Result<(ObjectWriter, HashState), StoreError> {
        resume::resume(Arc::clone(&self.shared), state).await
    }

    /// The hash state kept with a durable state, for telling how far an upload is while its writer goes on. When the
    /// writer has gone on by two states in the meantime, ask again with a newer one.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the state is no longer there.
    pub async fn hash_state(&self, state: &WriterState) -> Result<HashState, StoreError> {
        let (shared, state) = (Arc::clone(&self.shared), state.clone());
        blocking::run(move || resume::hash_state(&shared, &state)).await
    }

    /// Gives up an upload that has no writer: its keys and bytes go. One that is not there is gone already.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub async fn discard(&self, upload: UploadId) -> Result<(), StoreError> {
        let folder = UploadFolder::new(&self.shared.uploads(), upload);
        blocking::run(move || folder.remove()).await
    }
}

fn begin(
    shared: Arc<Shared>,
    upload: UploadId,
    reread: Reread,
) -> Result<ObjectWriter, StoreError> {
    let folder = UploadFolder::new(&shared.uploads(), upload);
    folder.create()?;
    let (part, key) = folder.new_part(shared.disk.as_ref(), &shared.kek)?;
    let path = folder.part(part.number);
    Ok(ObjectWriter {
        upload,
        closed: Vec::new(),
        number: part.number,
        part: PartWriter::open(shared.for_writing(), &path, &key, part, reread)?,
        first_key: key.clone(),
        key,
        groups: GroupList::new(GroupsRef::default()),
        slot: Slot::TailA,
        reread,
        names_durable: false,
        usable: true,
        folder,
        shared,
    })
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

//! The store itself: the way into writing, and small things whole. Each put is durable when it returns.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chain_of_custody::digest::{Blake3, HashState};
use chain_of_custody::ids::UploadId;

use super::blocking;
use super::bucket::{BucketOptions, BucketStore};
use super::error::StoreError;
use super::folder::{FolderStore, ReadBack, RealDisk};
use super::kek::Kek;
use super::medium::{Medium, NewFile, Protection, Seen};
use super::name::ObjectName;
use super::tink::{self, Purpose};
use super::upload::{Reread, SealedUpload, StoredObject, WriterState};
use super::writer::ObjectWriter;
use crate::s3::Bucket;

/// The largest small thing.
pub(crate) const SMALL_MAX_BYTES: u64 = 64 << 20;

/// Objects, wherever they lie. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ObjectStore {
    pub(crate) medium: Arc<dyn Medium>,
    /// Of a folder.
    folder: Option<(PathBuf, ReadBack)>,
}

impl ObjectStore {
    /// Opens the store in the folder `root`, making it if need be, and clears away temporary files of an earlier run.
    /// Uploads under way stay.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn open(root: &Path, kek: Kek) -> Result<Self, StoreError> {
        let (store, read_back) = FolderStore::open(root, kek)?;
        Ok(Self::in_folder(root, store, read_back))
    }

    /// The store in `root` for reading, as it lies on a medium that may not be writable. Nothing is made or cleared away.
    pub fn read_only(root: &Path, kek: Kek) -> Self {
        let disk = RealDisk::without_probe();
        let store = FolderStore::with_disk(root, kek, Arc::new(disk));
        Self::in_folder(root, store, ReadBack::DroppedCache)
    }

    /// The store in a bucket, for use on this runtime.
    pub fn in_bucket(bucket: Bucket, options: BucketOptions, kek: Kek) -> Self {
        let store = BucketStore::new(bucket, options, kek);
        Self { medium: Arc::new(store), folder: None }
    }

    pub(crate) fn in_folder(root: &Path, store: FolderStore, read_back: ReadBack) -> Self {
        Self { medium: Arc::new(store), folder: Some((root.to_owned(), read_back)) }
    }

    /// How written bytes are read back from this folder; `status` and `doctor` show it. None of a store that is not one.
    pub fn read_back(&self) -> Option<ReadBack> {
        self.folder.as_ref().map(|(_, read_back)| *read_back)
    }

    /// The force's key that it is opened with.
    pub fn kek(&self) -> Kek {
        self.medium.kek().clone()
    }

    /// Whether `path` lies in this store.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        self.folder.as_ref().is_some_and(|(root, _)| path.starts_with(root))
    }

    /// Room for ordinary users on the file system. A store that has no end has room for anything.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.medium.free_bytes()?.unwrap_or(u64::MAX))
    }

    /// Runs `work` on the medium, beside the runtime.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(Arc<dyn Medium>) -> Result<T, StoreError> + Send + 'static,
    {
        let medium = Arc::clone(&self.medium);
        blocking::run(move || work(medium)).await
    }

    /// Begins an upload of what is going to be `name`, once: a second time is [`StoreError::AlreadyExists`]. Nothing of
    /// it is durable before the first [`ObjectWriter::persist`].
    ///
    /// # Errors
    /// As [`ObjectWriter::write`].
    pub async fn begin(
        &self,
        upload: UploadId,
        name: ObjectName,
    ) -> Result<ObjectWriter, StoreError> {
        self.run(move |medium| medium.begin(upload, &name, Reread::NotSoon)).await
    }

    /// The same for a piece of a larger whole, whose digest will need these bytes again soon. `name` is the piece's own.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_piece(
        &self,
        upload: UploadId,
        name: ObjectName,
    ) -> Result<ObjectWriter, StoreError> {
        self.run(move |medium| medium.begin(upload, &name, Reread::Soon)).await
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
        let (mut writer, tail) = self.run(move |medium| medium.reopen(state)).await?;
        writer.take_back(&tail.bytes).await?;
        Ok((writer, tail.hash_state))
    }

    /// The hash state kept with a durable state, for telling how far an upload is while its writer goes on. When the
    /// writer has gone on by two states in the meantime, ask again with a newer one.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the state is no longer there.
    pub async fn hash_state(&self, state: &WriterState) -> Result<HashState, StoreError> {
        let state = state.clone();
        self.run(move |medium| medium.hash_state(&state)).await
    }

    /// Gives up an upload that has no writer: its keys and bytes go. One that is not there is gone already.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub async fn discard(&self, upload: UploadId) -> Result<(), StoreError> {
        self.run(move |medium| medium.discard(upload)).await
    }

    /// The uploads that have left anything: under way, sealed, or left over.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn uploads(&self) -> Result<Vec<UploadId>, StoreError> {
        self.run(|medium| medium.uploads()).await
    }

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
        self.run(move |medium| medium.complete(sealed, name, blake3)).await
    }

    /// Disposal: the object's keys are destroyed, durably, then its files are removed. Repeating it is harmless.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn dispose(&self, object: &StoredObject) -> Result<(), StoreError> {
        let object = object.clone();
        self.run(move |medium| medium.dispose(&object)).await
    }

    /// Locks or holds every version that makes up `object`. In a folder nothing can be locked, and nothing is done.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], and those of the store.
    pub async fn protect(
        &self,
        object: &StoredObject,
        protection: Protection,
    ) -> Result<(), StoreError> {
        let object = object.clone();
        self.run(move |medium| medium.protect(&object, protection)).await
    }

    /// Undoes [`Self::complete`], wherever it was cut, also before it began: keys first, as with disposal. What the upload
    /// has left besides is for [`Self::discard`]. Only for an object that no entry names. Repeating it is harmless.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn undo_complete(
        &self,
        sealed: SealedUpload,
        name: ObjectName,
    ) -> Result<(), StoreError> {
        self.run(move |medium| medium.undo_complete(sealed, &name)).await
    }

    /// Creates the file `name`. When it stands already with the same bytes, that is a success too.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when it stands with other bytes.
    pub async fn put_new(&self, name: &str, bytes: impl Into<Bytes>) -> Result<(), StoreError> {
        self.create(vec![NewFile { name: name.parse()?, bytes: bytes.into(), sealed: false }]).await
    }

    /// Creates several files as one put each would, in the time of about one.
    pub(crate) async fn create(&self, files: Vec<NewFile>) -> Result<(), StoreError> {
        self.run(move |medium| medium.create(&files)).await
    }

    /// Puts the file `name` in place of whatever stands there, in one step: a reader sees the old or the new.
    ///
    /// # Errors
    /// Those of the device.
    pub async fn replace(&self, name: &str, bytes: impl Into<Bytes>) -> Result<(), StoreError> {
        let (name, bytes) = (name.parse()?, bytes.into());
        self.run(move |medium| medium.replace(&name, &bytes, Seen::Anything)).await
    }

    /// Puts the file `name` in place of the bytes `seen` there (none: of nothing), in one step; of several who have seen
    /// the same, one does.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when something else stands there by now; nothing was changed.
    pub async fn replace_seen(
        &self,
        name: &str,
        seen: Option<Bytes>,
        bytes: impl Into<Bytes>,
    ) -> Result<(), StoreError> {
        let (name, bytes) = (name.parse()?, bytes.into());
        self.run(move |medium| medium.replace(&name, &bytes, Seen::Exactly(seen.as_deref()))).await
    }

    /// The bytes of the file `name`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        let name = name.parse()?;
        self.run(move |medium| medium.get(&name).map(Bytes::from)).await
    }

    /// Removes the file `name`, and its key if it has one (first). One that is not there is removed already.
    ///
    /// # Errors
    /// Those of the device.
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let name = name.parse()?;
        self.run(move |medium| medium.remove(&name)).await
    }

    /// Removes files that something newer has made superfluous, with keys that are theirs alone. Not durable by itself:
    /// after a crash some may be there again. What must be gone is for [`ObjectStore::remove`].
    ///
    /// # Errors
    /// Those of the device; the names before the one at fault are removed.
    pub async fn forget(&self, names: Vec<String>) -> Result<(), StoreError> {
        let names = parse_all(&names)?;
        self.run(move |medium| medium.forget(&names)).await
    }

    /// Removes all files in these folders, as far as there are any; no key.
    ///
    /// # Errors
    /// As [`ObjectStore::forget`].
    pub(crate) async fn forget_in(&self, folders: Vec<String>) -> Result<(), StoreError> {
        let folders = parse_all(&folders)?;
        self.run(move |medium| medium.forget_in(&folders)).await
    }

    /// Moves files to `aside/<name>`, with a copy of their keys: out of the way, and kept. Durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when another file of that name was moved there before.
    pub(crate) async fn set_aside(&self, names: Vec<ObjectName>) -> Result<(), StoreError> {
        self.run(move |medium| medium.set_aside(&names)).await
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
        let (name, bytes) = (name.parse::<ObjectName>()?, bytes.into());
        self.run(move |medium| {
            let key = medium.key_for(&name)?;
            let sealed = tink::seal_all(&key, Purpose::Small(&name), &bytes);
            medium.replace(&name, &sealed, Seen::Anything)
        })
        .await
    }

    /// The plaintext of an encrypted small object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::KeyGone`], [`StoreError::WrongKey`], [`StoreError::Damaged`].
    pub async fn get_sealed(&self, name: &str) -> Result<Bytes, StoreError> {
        let name = name.parse()?;
        self.run(move |medium| get_sealed(medium.as_ref(), &name).map(Bytes::from)).await
    }
}

/// The plaintext of an encrypted small file.
pub(crate) fn get_sealed(medium: &dyn Medium, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
    let sealed = medium.get(name)?;
    let key = medium.key(name)?;
    let plain = tink::open_all(&key, Purpose::Small(name), &sealed);
    let path = medium.path(name.as_str());
    Ok(plain.map_err(|what| StoreError::damaged(&path, what))?.to_vec())
}

fn parse_all(names: &[String]) -> Result<Vec<ObjectName>, StoreError> {
    names.iter().map(|name| name.parse()).collect()
}

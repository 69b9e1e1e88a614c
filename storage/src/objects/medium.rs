//! The seam between the store and the places where files can lie: a folder, or a bucket of an S3 store.
//!
//! What is the store's own, and the same everywhere: encryption, authentication, the tree, names. What is a medium's: how
//! bytes become durable, how a name is taken once and for all, and how a sealed upload becomes an object.
//!
//! Calls block; the store makes them beside the runtime.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chain_of_custody::digest::{Blake3, HashState};
use chain_of_custody::ids::UploadId;

use super::error::StoreError;
use super::kek::{Kek, ObjectKey};
use super::name::ObjectName;
use super::read::Source;
use super::scan::FoundVersion;
use super::tail::Tail;
use super::upload::{Reread, SealedPart, SealedUpload, StoredObject, StoredPart, WriterState};
use super::writer::ObjectWriter;
use super::{Copied, Found};

/// A place where files lie.
pub(crate) trait Medium: Debug + Send + Sync {
    /// The force's key that it is opened with.
    fn kek(&self) -> &Kek;

    /// Bytes that may still be written; none where nobody can say.
    fn free_bytes(&self) -> Result<Option<u64>, StoreError>;

    /// Begins an upload, once, of what is going to be `name`.
    fn begin(
        self: Arc<Self>,
        upload: UploadId,
        name: &ObjectName,
        reread: Reread,
    ) -> Result<ObjectWriter, StoreError>;
    /// The writer as it was after the last whole piece before a durable state, and what came after that piece.
    fn reopen(self: Arc<Self>, state: WriterState) -> Result<(ObjectWriter, Tail), StoreError>;
    fn hash_state(&self, state: &WriterState) -> Result<HashState, StoreError>;
    fn discard(&self, upload: UploadId) -> Result<(), StoreError>;
    /// Uploads that have left anything.
    fn uploads(&self) -> Result<Vec<UploadId>, StoreError>;

    /// Makes sealed parts such that they can be read before they are an object.
    fn settle(&self, parts: Vec<SealedPart>) -> Result<Vec<SealedPart>, StoreError>;
    /// Settled parts, to be read.
    fn sealed(&self, parts: &[SealedPart]) -> Result<Source, StoreError>;
    fn complete(
        &self,
        sealed: SealedUpload,
        name: ObjectName,
        blake3: Blake3,
    ) -> Result<StoredObject, StoreError>;
    fn undo_complete(&self, sealed: SealedUpload, name: &ObjectName) -> Result<(), StoreError>;
    fn dispose(&self, object: &StoredObject) -> Result<(), StoreError>;

    /// Locks or holds every version that makes up `object`, where the place knows locks.
    fn protect(&self, object: &StoredObject, protection: Protection) -> Result<(), StoreError>;

    /// One encrypted file of an object; it is not looked at yet.
    fn part(&self, part: &StoredPart) -> Box<dyn StoredFile>;
    /// The key of `file`, opened.
    fn key(&self, file: &ObjectName) -> Result<ObjectKey, StoreError>;
    /// The same, wrapped as it lies.
    fn wrapped_key(&self, file: &ObjectName) -> Result<Vec<u8>, StoreError>;
    /// What people are told of a file by this name.
    fn path(&self, name: &str) -> std::path::PathBuf;
    /// Whether all files of `object` are there with the right lengths.
    fn glance(&self, object: &StoredObject) -> Result<(), StoreError>;
    /// Brings `object` over from another place under the same force's key, every byte compared.
    fn bring_over(&self, from: &dyn Medium, object: &StoredObject) -> Result<Copied, StoreError>;

    /// Small files whole, each create-only.
    fn create(&self, files: &[NewFile]) -> Result<(), StoreError>;
    fn get(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError>;
    /// Everything that was ever written under this name and is still there, the earliest first: where nothing can be
    /// written over, nothing.
    fn versions(&self, name: &ObjectName) -> Result<Vec<Vec<u8>>, StoreError>;
    /// In one step, in place of `seen`, or of whatever stands there.
    fn replace(&self, name: &ObjectName, bytes: &[u8], seen: Seen<'_>) -> Result<(), StoreError>;
    /// The key of a small encrypted file, made and durable if there was none.
    fn key_for(&self, name: &ObjectName) -> Result<ObjectKey, StoreError>;
    /// The file, and first its key if that is its alone.
    fn remove(&self, name: &ObjectName) -> Result<(), StoreError>;
    /// The same for many, not durable by itself.
    fn forget(&self, names: &[ObjectName]) -> Result<(), StoreError>;
    fn forget_in(&self, folders: &[ObjectName]) -> Result<(), StoreError>;
    /// Moves files to `aside/<name>`, with a copy of their keys.
    fn set_aside(&self, names: &[ObjectName]) -> Result<(), StoreError>;
    /// The versions of all files below `folder`, of each file the newest first.
    fn scan_versions(&self, folder: &ObjectName) -> Result<Vec<FoundVersion>, StoreError>;
    /// All files below `folder`.
    fn scan(&self, folder: &ObjectName) -> Result<Vec<Found>, StoreError>;
}

/// A file that lies there.
pub(crate) trait StoredFile: Debug + Send + Sync {
    fn path(&self) -> &Path;
    /// Its length must be this.
    fn check_length(&self, expected: u64) -> Result<(), StoreError>;
    /// Fills `buffer` with what stands at `offset`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError>;
}

/// A small file to create.
#[derive(Debug, Clone)]
pub(crate) struct NewFile {
    pub(crate) name: ObjectName,
    pub(crate) bytes: Bytes,
    /// Encrypted under a key of its own.
    pub(crate) sealed: bool,
}

/// What nobody may delete, whatever their credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Before this moment, in seconds since 1970. A lock never becomes shorter.
    Until(i64),
    /// While it is held.
    Held(bool),
}

/// What may be replaced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    Anything,
    /// These bytes; none means that nothing stands there.
    Exactly(Option<&'a [u8]>),
}

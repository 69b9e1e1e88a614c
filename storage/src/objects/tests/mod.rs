//! The store as a whole: what was written is what is read, through crashes, faults and tampering.

mod faults;
mod reading;
mod resuming;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chain_of_custody::digest::{Blake3, ContentHasher, Digests};
use chain_of_custody::ids::UploadId;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::tink::{Layout, SEGMENT_BYTES};
use super::*;

pub(crate) fn kek() -> Kek {
    Kek::new(Zeroizing::new([42; 32]))
}

/// A store in a temporary folder.
pub(crate) struct Room {
    pub(crate) store: ObjectStore,
    folder: TempDir,
}

impl Room {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: ObjectStore::open(folder.path(), kek()).unwrap(), folder }
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// The store as a new process opens it.
    pub(crate) fn again(&self) -> ObjectStore {
        ObjectStore::open(self.root(), kek()).unwrap()
    }

    pub(crate) async fn put(&self, name: &str, bytes: &[u8]) -> StoredObject {
        let sealed = self.sealed(bytes).await;
        self.store.complete(sealed, name.parse().unwrap(), Blake3::of(bytes)).await.unwrap()
    }

    pub(crate) async fn sealed(&self, bytes: &[u8]) -> SealedUpload {
        let mut upload = Upload::begin(&self.store).await;
        upload.write(bytes).await.unwrap();
        upload.seal().await.unwrap().0
    }
}

/// Writer and hasher together, as ingest has them.
pub(crate) struct Upload {
    pub(crate) writer: ObjectWriter,
    hasher: ContentHasher,
}

impl Upload {
    pub(crate) async fn begin(store: &ObjectStore) -> Self {
        let writer = store.begin(new_id(), new_name()).await.unwrap();
        Self { writer, hasher: ContentHasher::new() }
    }

    pub(crate) async fn resume(
        store: &ObjectStore,
        state: &WriterState,
    ) -> Result<Self, StoreError> {
        // As it comes back from the database.
        let state = serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap();
        let (writer, hash_state) = store.resume(state).await?;
        Ok(Self { writer, hasher: ContentHasher::resume(&hash_state).unwrap() })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let groups = self.hasher.update(bytes);
        self.writer.append_groups(&groups).await?;
        self.writer.write(Bytes::copy_from_slice(bytes)).await
    }

    pub(crate) async fn persist(&mut self) -> Result<WriterState, StoreError> {
        self.writer.persist(&self.hasher.state()).await
    }

    pub(crate) async fn seal(mut self) -> Result<(SealedUpload, Digests), StoreError> {
        let (digests, last) = self.hasher.finish();
        self.writer.append_groups(&[last]).await?;
        Ok((self.writer.seal().await?, digests))
    }
}

/// What uploads are going to be, where that matters: a name for each.
pub(crate) fn new_name() -> ObjectName {
    format!("originals/{}", uuid::Uuid::now_v7()).parse().unwrap()
}

pub(crate) fn new_id() -> UploadId {
    UploadId::from_uuid(uuid::Uuid::now_v7())
}

pub(crate) fn sample(size: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    blake3::Hasher::new().update(b"sample").finalize_xof().fill(&mut bytes);
    bytes
}

/// Sizes at which the layout changes its shape.
pub(crate) fn edges() -> Vec<u64> {
    let mut sizes = vec![0, 1, 70_000];
    for index in 1..4 {
        let edge = Layout::plain_start(index);
        sizes.extend([edge - 1, edge, edge + 1]);
    }
    sizes.extend([SEGMENT_BYTES as u64, 3 * SEGMENT_BYTES as u64 + 77]);
    sizes
}

pub(crate) async fn read_all(object: &VerifiedObject) -> Result<Vec<u8>, StoreError> {
    use futures_util::TryStreamExt as _;
    let pieces = object.stream(0..object.size_bytes())?;
    let join = |mut all: Vec<u8>, piece: Bytes| async move {
        all.extend_from_slice(&piece);
        Ok(all)
    };
    pieces.try_fold(Vec::new(), join).await
}

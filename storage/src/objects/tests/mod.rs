//! The store as a whole: what was written is what is read, through crashes, faults and tampering.

mod bucket;
mod everywhere;
mod faults;
mod reading;
mod resuming;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chain_of_custody::digest::{Blake3, ContentHasher, Digests};
use chain_of_custody::ids::UploadId;
use tempfile::TempDir;
use test_machine::line::Line;
use test_machine::s3::{ACCESS_KEY, SECRET_KEY, Store};
use zeroize::Zeroizing;

use super::tink::{Layout, SEGMENT_BYTES};
use super::*;
use crate::s3::{self, Bucket, Precondition};

pub(crate) fn kek() -> Kek {
    Kek::new(Zeroizing::new([42; 32]))
}

/// A store of its own.
pub(crate) struct Room {
    pub(crate) store: ObjectStore,
    place: Place,
}

enum Place {
    Folder(TempDir),
    /// Objects of a room lie below a prefix of its own; the server lives as long as any room.
    Bucket {
        bucket: Bucket,
        options: BucketOptions,
        _server: Arc<Store>,
    },
}

/// A bucket of its own in moto, which cannot list one while others write to it.
async fn another_bucket() -> (Arc<Store>, String) {
    let begin = || {
        let (store, name) = (Store::shared_moto().unwrap(), uuid::Uuid::now_v7().to_string());
        store.make_bucket(&name, false).unwrap();
        (store, name)
    };
    tokio::task::spawn_blocking(begin).await.unwrap()
}

impl Room {
    /// In a temporary folder.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStore::open(folder.path(), kek()).unwrap();
        Self { store, place: Place::Folder(folder) }
    }

    /// In a bucket with versions and locks.
    pub(crate) async fn in_bucket() -> Self {
        let server = tokio::task::spawn_blocking(Store::shared).await.unwrap().unwrap();
        let endpoint = server.endpoint().to_owned();
        Self::at(server, endpoint, None).await
    }

    /// In a bucket of another store, which has no versions either.
    pub(crate) async fn in_another_bucket() -> Self {
        let (server, bucket) = another_bucket().await;
        let endpoint = server.endpoint().to_owned();
        Self::in_bucket_at(server, endpoint, bucket, None).await
    }

    /// The same, where originals are locked for so long.
    pub(crate) async fn with_lock(lock_s: i64) -> Self {
        let server = tokio::task::spawn_blocking(Store::shared).await.unwrap().unwrap();
        let endpoint = server.endpoint().to_owned();
        Self::at(server, endpoint, Some(lock_s)).await
    }

    /// The same, at the other end of a line.
    pub(crate) async fn behind_a_line() -> (Self, Line) {
        let server = tokio::task::spawn_blocking(Store::shared).await.unwrap().unwrap();
        let line = Line::to(server.endpoint().trim_start_matches("http://")).unwrap();
        let endpoint = format!("http://{}", line.address());
        (Self::at(server, endpoint, None).await, line)
    }

    /// The other store, at the end of a line.
    pub(crate) async fn behind_a_line_to_another() -> (Self, Line) {
        let (server, bucket) = another_bucket().await;
        let line = Line::to(server.endpoint().trim_start_matches("http://")).unwrap();
        let endpoint = format!("http://{}", line.address());
        (Self::in_bucket_at(server, endpoint, bucket, None).await, line)
    }

    async fn at(server: Arc<Store>, endpoint: String, lock_s: Option<i64>) -> Self {
        Self::in_bucket_at(server, endpoint, Store::SHARED_BUCKET.to_owned(), lock_s).await
    }

    async fn in_bucket_at(
        server: Arc<Store>,
        endpoint: String,
        bucket: String,
        lock_s: Option<i64>,
    ) -> Self {
        let place = s3::Place {
            bucket,
            endpoint: Some(endpoint),
            path_style: true,
            credentials: Some(s3::Secret {
                access_key: ACCESS_KEY.to_owned(),
                secret_key: SECRET_KEY.to_owned(),
            }),
            ..s3::Place::default()
        };
        let bucket = Bucket::connect(&place).await.unwrap();
        let prefix = format!("{}/", uuid::Uuid::now_v7());
        let options = BucketOptions { prefix, lock_s };
        let store = ObjectStore::in_bucket(bucket.clone(), options.clone(), kek());
        Self { store, place: Place::Bucket { bucket, options, _server: server } }
    }

    /// The bucket, and the key in it of a file.
    pub(crate) fn behind(&self, name: &str) -> (&Bucket, String) {
        match &self.place {
            Place::Folder(_) => panic!("a folder has no bucket"),
            Place::Bucket { bucket, options, .. } => (bucket, format!("{}{name}", options.prefix)),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        match &self.place {
            Place::Folder(folder) => folder.path(),
            Place::Bucket { .. } => panic!("a bucket has no root"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// The store as a new process opens it.
    pub(crate) fn again(&self) -> ObjectStore {
        match &self.place {
            Place::Folder(folder) => ObjectStore::open(folder.path(), kek()).unwrap(),
            Place::Bucket { bucket, options, .. } => {
                ObjectStore::in_bucket(bucket.clone(), options.clone(), kek())
            }
        }
    }

    /// How many histories of an upload are tried here, and of how many bytes at most.
    pub(crate) fn histories(&self) -> usize {
        if matches!(self.place, Place::Folder(_)) { 16 } else { 6 }
    }

    pub(crate) fn largest_bytes(&self) -> u64 {
        if matches!(self.place, Place::Folder(_)) { 3_500_000 } else { 40_000_000 }
    }

    /// A file as it lies, behind the store's back.
    pub(crate) async fn raw(&self, name: &str) -> Vec<u8> {
        match &self.place {
            Place::Folder(_) => fs::read(self.path(name)).unwrap(),
            Place::Bucket { bucket, options, .. } => {
                let key = format!("{}{name}", options.prefix);
                bucket.get(&key, None, u64::MAX).await.unwrap().bytes.to_vec()
            }
        }
    }

    pub(crate) async fn put_raw(&self, name: &str, bytes: Vec<u8>) {
        match &self.place {
            Place::Folder(_) => fs::write(self.path(name), bytes).unwrap(),
            Place::Bucket { bucket, options, .. } => {
                let key = format!("{}{name}", options.prefix);
                bucket.put(&key, bytes.into(), Precondition::Anything).await.unwrap();
            }
        }
    }

    pub(crate) async fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.raw(name).await;
        change(&mut bytes);
        self.put_raw(name, bytes).await;
    }

    pub(crate) async fn remove_raw(&self, name: &str) {
        match &self.place {
            Place::Folder(_) => fs::remove_file(self.path(name)).unwrap(),
            Place::Bucket { bucket, options, .. } => {
                let key = format!("{}{name}", options.prefix);
                bucket.delete_version(&key, None).await.unwrap();
            }
        }
    }

    /// The file with the first group values of an upload.
    pub(crate) fn groups_of(&self, upload: UploadId) -> String {
        match &self.place {
            Place::Folder(_) => format!("uploads/{upload}/groups"),
            Place::Bucket { .. } => format!("uploads/{upload}/groups-000000000000"),
        }
    }

    pub(crate) async fn put(&self, name: &str, bytes: &[u8]) -> StoredObject {
        let name: ObjectName = name.parse().unwrap();
        let mut upload = Upload::begin_as(&self.store, name.clone()).await;
        upload.write(bytes).await.unwrap();
        let (sealed, _) = upload.seal().await.unwrap();
        self.store.complete(sealed, name, Blake3::of(bytes)).await.unwrap()
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
        Self::begin_as(store, new_name()).await
    }

    pub(crate) async fn begin_as(store: &ObjectStore, name: ObjectName) -> Self {
        let writer = store.begin(new_id(), name).await.unwrap();
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

/// Finishes an upload with the rest of `bytes` and reads the object back in a new process.
pub(crate) async fn finish(room: &Room, mut upload: Upload, bytes: &[u8]) -> StoredObject {
    let at = upload.writer.size_bytes() as usize;
    upload.write(&bytes[at..]).await.unwrap();
    let (sealed, digests) = upload.seal().await.unwrap();
    assert_eq!(digests, Digests::of(bytes));
    assert!(sealed.outboard.is_some(), "the group values survived");
    let object = room.store.complete(sealed, new_name(), digests.blake3).await.unwrap();
    let open = room.again().open_object(&object).await.unwrap();
    assert_eq!(read_all(&open).await.unwrap(), bytes);
    object
}

pub(crate) fn is_damage<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Damaged { .. }))
}

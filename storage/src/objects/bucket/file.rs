//! An encrypted file of an object in the bucket: which of its versions is the one that was written, and reading it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokio::runtime::Handle;

use super::BucketStore;
use crate::objects::error::{Damage, StoreError};
use crate::objects::medium::StoredFile;
use crate::objects::upload::StoredPart;
use crate::s3::{Bucket, S3Error, checksum_text};

/// A version, and how long it is.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) id: Option<String>,
    pub(super) size_bytes: u64,
}

/// The version that was written of `part`: the recorded one. Where the store has no such version, as of an object that was
/// moved here or came from a folder, the earliest that has this length and this checksum; where the store keeps no checksum of
/// the whole, or shows that of its parts, the earliest of this length. Whoever reads proves the rest.
///
/// # Errors
/// [`S3Error::NotFound`] when there is none.
pub(super) async fn written(
    bucket: &Bucket,
    key: &str,
    part: &StoredPart,
) -> Result<Written, S3Error> {
    if let Some(id) = &part.version {
        match bucket.head(key, Some(id)).await {
            Ok(head) => return Ok(Written { id: Some(id.clone()), size_bytes: head.size_bytes }),
            // Some stores refuse what cannot be a version of theirs.
            Err(S3Error::NotFound | S3Error::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let (length, crc) = (part.layout().ciphertext_bytes(), checksum_text(part.crc64nvme));
    let mut earliest = None;
    for version in bucket.versions_of(key).await?.into_iter().rev() {
        if version.is_marker || version.size_bytes != length {
            continue;
        }
        let kept = bucket.head(key, version.id.as_deref()).await?.crc64nvme;
        let written = Written { id: version.id, size_bytes: length };
        if kept.is_some_and(|kept| kept == crc) {
            return Ok(written);
        }
        earliest.get_or_insert(written);
    }
    earliest.ok_or(S3Error::NotFound)
}

/// One encrypted file in the bucket.
#[derive(Debug)]
pub(super) struct FileInBucket {
    bucket: Bucket,
    runtime: Handle,
    path: PathBuf,
    key: String,
    part: StoredPart,
    /// The version to read, once it is known.
    written: OnceLock<Written>,
}

impl FileInBucket {
    pub(super) fn new(store: &BucketStore, part: StoredPart) -> Self {
        Self {
            bucket: store.bucket.clone(),
            runtime: store.runtime.clone(),
            path: store.path_of(part.file.as_str()),
            key: store.key_of(part.file.as_str()),
            part,
            written: OnceLock::new(),
        }
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T, S3Error>>) -> Result<T, StoreError> {
        self.runtime.block_on(work).map_err(|e| StoreError::s3(&self.path, e))
    }

    fn written(&self) -> Result<&Written, StoreError> {
        if let Some(written) = self.written.get() {
            return Ok(written);
        }
        let found = self.wait(written(&self.bucket, &self.key, &self.part))?;
        Ok(self.written.get_or_init(|| found))
    }
}

impl StoredFile for FileInBucket {
    fn path(&self) -> &Path {
        &self.path
    }

    fn check_length(&self, expected: u64) -> Result<(), StoreError> {
        let found = self.written()?.size_bytes;
        let wrong = || StoreError::damaged(&self.path, Damage::Length { found, expected });
        (found == expected).then_some(()).ok_or_else(wrong)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let range = offset..offset + buffer.len() as u64;
        let version = self.written()?.id.as_deref();
        let bytes = self.wait(self.bucket.get_range(&self.key, version, range))?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }
}

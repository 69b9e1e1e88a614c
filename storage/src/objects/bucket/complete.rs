//! A sealed upload becomes an object of the bucket: create-only, in place.
//!
//! 1. Keys and outboard are there, under their final names.
//! 2. Uploads in parts become objects of the store, each with the checksum of the whole; its version is noted.
//! 3. Each version is looked at: its length and checksum are those of what was sent. An original is locked.
//! 4. What lay beside the upload goes. From here on it is nobody's to discard.
//!
//! A crash may come anywhere, and an answer may be lost: repeating the call goes on from whatever it finds.

use chain_of_custody::digest::{Blake3, Outboard};
use futures_util::future::try_join_all;

use super::file::FileInBucket;
use super::{BucketStore, locks};
use crate::failpoint;
use crate::objects::compose::digest;
use crate::objects::crc::{Crc64, RunningCrc};
use crate::objects::error::StoreError;
use crate::objects::kek::ObjectKey;
use crate::objects::medium::StoredFile;
use crate::objects::name::ObjectName;
use crate::objects::read::Source;
use crate::objects::tink::{self, Layout, Purpose};
use crate::objects::upload::{
    InBucket, PieceState, SealedPart, SealedUpload, StoredObject, StoredPart,
};
use crate::s3::{Bucket, Precondition, S3Error, checksum_text};

/// How often completing is asked for when the answer was lost and nothing is there.
const COMPLETIONS: u32 = 4;
/// Bytes read at once where a store keeps no checksum of the whole.
const READ_BYTES: u64 = 8 << 20;

pub(super) fn complete(
    store: &BucketStore,
    sealed: SealedUpload,
    name: ObjectName,
    blake3: Blake3,
) -> Result<StoredObject, StoreError> {
    let SealedUpload { parts, size_bytes, outboard } = sealed;
    if parts.is_empty() {
        return Err(StoreError::NotFound { path: store.path_of(name.as_str()) });
    }
    let (parts, outboard) = match outboard.filter(|outboard| outboard.root() == blake3) {
        Some(outboard) => (parts, outboard),
        None => {
            // What was known when it was sealed is lost: it is read again.
            let parts = store.wait(complete_parts(store, parts))?;
            let outboard = digest(&store.wait(source(store, &parts))?)?.1;
            (parts, outboard)
        }
    };
    if outboard.root() != blake3 {
        return Err(StoreError::DigestMismatch);
    }
    store.wait(async {
        let keys = try_join_all(parts.iter().map(|part| name_key(store, part))).await?;
        name_outboard(store, &name, &keys[0], &outboard).await?;
        failpoint::hit("bucket.keys-named");
        let parts = complete_parts(store, parts).await?;
        failpoint::hit("bucket.parts-complete");
        let uploads: Vec<_> = parts.iter().map(|part| part.upload).collect();
        let parts = parts.into_iter().map(stored_part).collect::<Result<_, _>>()?;
        let object = StoredObject { name, parts, size_bytes, blake3 };
        locks::lock_first(store, &object).await?;
        for upload in uploads {
            store.remove_below(&format!("uploads/{upload}/")).await?;
        }
        Ok(object)
    })
}

fn stored_part(part: SealedPart) -> Result<StoredPart, StoreError> {
    let SealedPart { size_bytes, crc64nvme, .. } = part;
    match part.in_bucket {
        Some(InBucket { file, state: PieceState::Completed { version } }) => {
            Ok(StoredPart { file, size_bytes, crc64nvme, version })
        }
        _ => Err(StoreError::Stopped),
    }
}

/// Where a part is in the bucket; one that lies in a folder's upload is not there.
fn in_bucket<'a>(store: &BucketStore, part: &'a SealedPart) -> Result<&'a InBucket, StoreError> {
    part.in_bucket.as_ref().ok_or_else(|| store.elsewhere(part.upload))
}

/// The part's key under its final name: the very key that lies beside the upload, or lay there.
async fn name_key(store: &BucketStore, part: &SealedPart) -> Result<ObjectKey, StoreError> {
    let file = &in_bucket(store, part)?.file;
    let named = store.wrapped(file.as_str());
    let (key, wrapped, _) = match store.begun_part(part.upload, part.number).await {
        // An earlier attempt came to its end.
        Err(StoreError::KeyGone { .. }) => return store.open_key(&named).await,
        begun => begun?,
    };
    let put = store.bucket.put(&store.key_of(&named), wrapped.into(), Precondition::Nothing).await;
    match put {
        Ok(_) => Ok(key),
        Err(S3Error::Taken) => {
            let there = store.open_key(&named).await?;
            let same = there.as_bytes() == key.as_bytes();
            same.then_some(key)
                .ok_or_else(|| StoreError::AlreadyExists { path: store.path_of(file.as_str()) })
        }
        Err(error) => Err(store.failed(&named, error)),
    }
}

async fn name_outboard(
    store: &BucketStore,
    name: &ObjectName,
    key: &ObjectKey,
    outboard: &Outboard,
) -> Result<(), StoreError> {
    let name = name.outboard()?;
    let plain = outboard.to_bytes();
    let sealed = tink::seal_all(key, Purpose::Outboard, &plain);
    let at = store.key_of(name.as_str());
    match store.bucket.put(&at, sealed.into(), Precondition::Nothing).await {
        Ok(_) => Ok(()),
        Err(S3Error::Taken) => {
            let there = store.read(name.as_str()).await?;
            let opened = tink::open_all(key, Purpose::Outboard, &there);
            let same = opened.is_ok_and(|opened| *opened == plain);
            same.then_some(())
                .ok_or_else(|| StoreError::AlreadyExists { path: store.path_of(name.as_str()) })
        }
        Err(error) => Err(store.failed(name.as_str(), error)),
    }
}

/// Makes objects of the store of all parts that are none yet.
pub(super) async fn complete_parts(
    store: &BucketStore,
    parts: Vec<SealedPart>,
) -> Result<Vec<SealedPart>, StoreError> {
    let complete = async |mut part: SealedPart| {
        let InBucket { file, state } = in_bucket(store, &part)?.clone();
        if let PieceState::InParts { id, pieces } = &state {
            let length = Layout { size_bytes: part.size_bytes }.ciphertext_bytes();
            let of = (id.as_str(), pieces.as_slice());
            let version = complete_part(store, &file, of, length, part.crc64nvme).await?;
            part.in_bucket = Some(InBucket { file, state: PieceState::Completed { version } });
        }
        Ok::<_, StoreError>(part)
    };
    let mut done = Vec::with_capacity(parts.len());
    for part in parts {
        done.push(complete(part).await?);
    }
    Ok(done)
}

/// Completes one upload in parts; gives the version, whose length and checksum were looked at.
pub(super) async fn complete_part(
    store: &BucketStore,
    file: &ObjectName,
    (id, pieces): (&str, &[String]),
    length: u64,
    crc: Crc64,
) -> Result<Option<String>, StoreError> {
    let key = store.key_of(file.as_str());
    let failed = |e| store.failed(file.as_str(), e);
    let mut last = S3Error::NotFound;
    for _ in 0..COMPLETIONS {
        match store.bucket.complete_parts((&key, id), pieces, crc).await {
            Ok(version) => {
                let is = is_version(&store.bucket, &key, version.as_deref(), length, crc).await;
                let is = is.map_err(failed)?;
                let path = || store.path_of(file.as_str());
                return is.then_some(version).ok_or_else(|| StoreError::ReadBack { path: path() });
            }
            Err(error) => last = error,
        }
        // The upload in parts is gone, or its answer was: perhaps because it was completed.
        match find_version(&store.bucket, &key, length, crc).await {
            Ok(version) => return Ok(version),
            Err(S3Error::NotFound) if last.may_pass() => {}
            Err(S3Error::NotFound) => break,
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(last))
}

/// The earliest version of `key` that has this length and checksum.
///
/// # Errors
/// [`S3Error::NotFound`] when none has.
pub(super) async fn find_version(
    bucket: &Bucket,
    key: &str,
    length: u64,
    crc: Crc64,
) -> Result<Option<String>, S3Error> {
    for version in bucket.versions_of(key).await?.into_iter().rev() {
        if version.is_marker || version.size_bytes != length {
            continue;
        }
        if is_version(bucket, key, version.id.as_deref(), length, crc).await? {
            return Ok(version.id);
        }
    }
    Err(S3Error::NotFound)
}

/// Whether a version has this length and checksum; where the store keeps no checksum of the whole, or shows another one, as
/// that of its parts, it is read.
async fn is_version(
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
    length: u64,
    crc: Crc64,
) -> Result<bool, S3Error> {
    let head = bucket.head(key, version).await?;
    if head.size_bytes != length {
        return Ok(false);
    }
    if head.crc64nvme.is_some_and(|checksum| checksum == checksum_text(crc)) {
        return Ok(true);
    }
    let mut running = RunningCrc::after(Crc64::default());
    let mut at = 0;
    while at < length {
        let next = length.min(at + READ_BYTES);
        running.update(&bucket.get_range(key, version, at..next).await?);
        at = next;
    }
    Ok(running.value() == crc)
}

/// Parts of an upload, to be read; all of them are objects of the store.
pub(super) async fn source(
    store: &BucketStore,
    parts: &[SealedPart],
) -> Result<Source, StoreError> {
    let mut files = Vec::with_capacity(parts.len());
    for part in parts {
        let InBucket { file, state } = in_bucket(store, part)?;
        let PieceState::Completed { version } = state else { return Err(StoreError::Stopped) };
        let key = match store.begun_part(part.upload, part.number).await {
            Err(StoreError::KeyGone { .. }) => {
                store.open_key(&store.wrapped(file.as_str())).await?
            }
            begun => begun?.0,
        };
        let layout = Layout { size_bytes: part.size_bytes };
        let SealedPart { size_bytes, crc64nvme, .. } = *part;
        let (file, version) = (file.clone(), version.clone());
        let stored = StoredPart { file, size_bytes, crc64nvme, version };
        let file: Box<dyn StoredFile> = Box::new(FileInBucket::new(store, stored));
        files.push((file, key, layout));
    }
    Ok(Source::new(files))
}

pub(super) async fn undo(
    store: &BucketStore,
    sealed: SealedUpload,
    name: &ObjectName,
) -> Result<(), StoreError> {
    for part in &sealed.parts {
        let file = &in_bucket(store, part)?.file;
        store.remove_all(&store.wrapped(file.as_str())).await?;
    }
    for part in &sealed.parts {
        store.drop_part(&in_bucket(store, part)?.file).await?;
    }
    store.remove_all(name.outboard()?.as_str()).await
}

/// Keys first: without them the bytes are nothing. Bytes under a lock stay until it ends.
pub(super) async fn dispose(store: &BucketStore, object: &StoredObject) -> Result<(), StoreError> {
    for part in &object.parts {
        store.remove_all(&store.wrapped(part.file.as_str())).await?;
    }
    for part in &object.parts {
        store.remove_unlocked(part.file.as_str()).await?;
    }
    store.remove_unlocked(object.name.outboard()?.as_str()).await
}

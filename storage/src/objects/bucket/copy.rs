//! Objects brought over from another place, and a look whether one is there.

use super::BucketStore;
use super::complete::{complete_part, find_version};
use super::file::written;
use super::locks::lock_first;
use super::pieces::PIECE_BYTES;
use crate::failpoint;
use crate::objects::copy::Copied;
use crate::objects::crc::Crc64;
use crate::objects::error::{Damage, StoreError};
use crate::objects::medium::{Medium, StoredFile};
use crate::objects::read;
use crate::objects::tink::Layout;
use crate::objects::upload::{StoredObject, StoredPart};
use crate::s3::{Precondition, S3Error};

/// Whether all files are there, of each the version that was written, with the right lengths.
pub(super) async fn glance(store: &BucketStore, object: &StoredObject) -> Result<(), StoreError> {
    for part in &object.parts {
        let key = store.wrapped(part.file.as_str());
        store.first_version(&key).await.map_err(|error| match error {
            StoreError::NotFound { path } => StoreError::KeyGone { path },
            other => other,
        })?;
        let (file, expected) = (part.file.as_str(), part.layout().ciphertext_bytes());
        let found = written(&store.bucket, &store.key_of(file), part).await;
        let found = found.map_err(|e| store.failed(file, e))?.size_bytes;
        length_is(store, file, found, expected)?;
    }
    let outboard = object.name.outboard()?;
    let found = store.first_version(outboard.as_str()).await?.size_bytes;
    let expected = Layout::of_outboard(object.size_bytes).ciphertext_bytes();
    length_is(store, outboard.as_str(), found, expected)
}

fn length_is(store: &BucketStore, file: &str, found: u64, expected: u64) -> Result<(), StoreError> {
    let wrong = || store.damaged(file, Damage::Length { found, expected });
    (found == expected).then_some(()).ok_or_else(wrong)
}

/// In the order of completion: keys, outboard, parts, locks.
pub(super) fn bring_over(
    store: &BucketStore,
    from: &dyn Medium,
    object: &StoredObject,
) -> Result<Copied, StoreError> {
    if store.wait(glance(store, object)).is_ok() {
        // An earlier call may have been cut before its last step.
        store.wait(lock_first(store, object))?;
        return Ok(Copied::Before);
    }
    // Keys unwrap, lengths are right, the outboard adds up to the recorded digest.
    read::open(from, object)?;
    let mut file_bytes = 0;
    for part in &object.parts {
        let key = from.wrapped_key(&part.file)?;
        file_bytes += put_small(store, &store.wrapped(part.file.as_str()), key)?;
    }
    let outboard = object.name.outboard()?;
    file_bytes += put_small(store, outboard.as_str(), from.get(&outboard)?)?;
    for part in object.parts.iter().rev() {
        file_bytes += copy_part(store, from.part(part).as_ref(), part)?;
    }
    failpoint::hit("move.copied-unlocked");
    store.wait(lock_first(store, object))?;
    Ok(Copied::Now { file_bytes })
}

fn put_small(store: &BucketStore, name: &str, bytes: Vec<u8>) -> Result<u64, StoreError> {
    let length = bytes.len() as u64;
    let key = store.key_of(name);
    let put = store.bucket.put(&key, bytes.clone().into(), Precondition::Nothing);
    match store.wait(put) {
        Ok(_) => Ok(length),
        Err(S3Error::Taken) if *store.wait(store.read(name))? == bytes => Ok(0),
        Err(error) => Err(store.failed(name, error)),
    }
}

fn copy_part(
    store: &BucketStore,
    source: &dyn StoredFile,
    part: &StoredPart,
) -> Result<u64, StoreError> {
    let (file, length) = (&part.file, part.layout().ciphertext_bytes());
    let (key, failed) = (store.key_of(file.as_str()), |e| store.failed(file.as_str(), e));
    let there = find_version(&store.bucket, &key, length, part.crc64nvme);
    if store.wait(there).is_ok() {
        return Ok(0);
    }
    // What a copy that was cut has sent counts for nothing, and would stay.
    store.wait(store.bucket.abort_parts(&key)).map_err(failed)?;
    let id = store.wait(store.bucket.begin_parts(&key)).map_err(failed)?;
    let (mut at, mut pieces, mut crc) = (0, Vec::new(), Crc64::default());
    while at < length {
        let mut piece = vec![0; (length - at).min(PIECE_BYTES as u64) as usize];
        source.read_at(&mut piece, at)?;
        at += piece.len() as u64;
        let (of, size) = (Crc64::of(&piece), piece.len() as u64);
        crc = crc.followed_by(of, size);
        let number = pieces.len() as u32 + 1;
        let put = store.bucket.put_part((&key, &id), number, piece.into(), of);
        pieces.push(store.wait(put).map_err(failed)?);
    }
    if crc != part.crc64nvme {
        store.wait(store.bucket.abort_parts(&key)).map_err(failed)?;
        return Err(StoreError::damaged(source.path(), Damage::Form));
    }
    failpoint::hit("backup.part-written");
    let of = (id.as_str(), pieces.as_slice());
    store.wait(complete_part(store, file, of, length, part.crc64nvme))?;
    Ok(length)
}

//! Object Lock: the versions that make up an original, which nobody deletes before their time.

use futures_util::future::try_join_all;

use super::BucketStore;
use super::file::written;
use crate::objects::error::StoreError;
use crate::objects::medium::Protection;
use crate::objects::upload::StoredObject;
use crate::s3::S3Error;

/// Locks what has just been completed, for the first term; what can be made again is not.
pub(super) async fn lock_first(
    store: &BucketStore,
    object: &StoredObject,
) -> Result<(), StoreError> {
    match store.options.lock_s.filter(|_| object.name.is_original()) {
        Some(term_s) => {
            let until_s = jiff::Timestamp::now().as_second() + term_s;
            protect(store, object, Protection::Until(until_s)).await
        }
        None => Ok(()),
    }
}

/// The parts, by the versions that were written here, and the outboard.
pub(super) async fn protect(
    store: &BucketStore,
    object: &StoredObject,
    protection: Protection,
) -> Result<(), StoreError> {
    if store.options.lock_s.is_none() {
        return Ok(());
    }
    let parts = object.parts.iter().map(async |part| {
        let file = part.file.as_str();
        let here = written(&store.bucket, &store.key_of(file), part).await;
        protect_version(store, file, here.map_err(|e| store.failed(file, e))?.id, protection).await
    });
    let outboard = async {
        let name = object.name.outboard()?;
        let here = store.first_version(name.as_str()).await?;
        protect_version(store, name.as_str(), here.id, protection).await
    };
    tokio::try_join!(try_join_all(parts), outboard).map(|_| ())
}

async fn protect_version(
    store: &BucketStore,
    file: &str,
    version: Option<String>,
    protection: Protection,
) -> Result<(), StoreError> {
    let version = version.ok_or_else(|| store.failed(file, S3Error::NoVersions))?;
    let (bucket, key, version) = (&store.bucket, store.key_of(file), version.as_str());
    let done = match protection {
        Protection::Held(held) => bucket.hold(&key, version, held).await,
        Protection::Until(until_s) => match bucket.locked_until_s(&key, version).await {
            // A lock is never made shorter, and an attempt that was cut has locked it already.
            Ok(Some(locked_s)) if locked_s >= until_s => Ok(()),
            Ok(_) => bucket.lock(&key, version, until_s).await,
            Err(error) => Err(error),
        },
    };
    done.map_err(|e| store.failed(file, e))
}

//! Small files of the bucket: create-only, replaced in one step, removed with all their versions.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::BucketStore;
use crate::objects::error::StoreError;
use crate::objects::kek::ObjectKey;
use crate::objects::medium::{NewFile, Seen};
use crate::objects::name::ObjectName;
use crate::objects::store::SMALL_MAX_BYTES;
use crate::objects::tink::{self, Purpose};
use crate::s3::{Precondition, S3Error};

/// Requests of one caller at once.
const AT_ONCE: usize = 16;

/// Creates all of `files`. One that stands already with the same bytes is created.
pub(super) async fn create(store: &BucketStore, files: &[NewFile]) -> Result<(), StoreError> {
    let sealed = files.iter().filter(|file| file.sealed);
    let mut wrapped: Vec<String> = sealed.map(|file| store.wrapped(file.name.as_str())).collect();
    wrapped.sort_unstable();
    wrapped.dedup();
    let keys = stream::iter(&wrapped).map(|wrapped| stand(store, wrapped));
    let keys = keys.buffer_unordered(AT_ONCE).try_collect::<()>();
    let created = stream::iter(files).map(|file| create_one(store, file));
    let created = created.buffer_unordered(AT_ONCE).try_collect::<()>();
    tokio::try_join!(keys, created).map(|_| ())
}

/// Sees to it that a key which this process knows is there: if somebody has taken it away, what it has encrypted would be
/// lost with this process.
async fn stand(store: &BucketStore, wrapped: &str) -> Result<(), StoreError> {
    let Some(key) = store.keys.get(&store.path_of(wrapped)) else { return Ok(()) };
    let at = store.key_of(wrapped);
    match store.bucket.head(&at, None).await {
        Err(S3Error::NotFound) => {
            let text = store.kek.wrap(&key).into();
            let put = store.bucket.put(&at, text, Precondition::Nothing).await;
            put.map(drop).map_err(|e| store.failed(wrapped, e))
        }
        other => other.map(drop).map_err(|e| store.failed(wrapped, e)),
    }
}

async fn create_one(store: &BucketStore, file: &NewFile) -> Result<(), StoreError> {
    let NewFile { name, bytes, sealed } = file;
    let key = if *sealed { Some(key_for(store, name).await?) } else { None };
    let stored = match &key {
        Some(key) => tink::seal_all(key, Purpose::Small(name), bytes).into(),
        None => bytes.clone(),
    };
    let put = store.bucket.put(&store.key_of(name.as_str()), stored, Precondition::Nothing).await;
    match put {
        Ok(_) => Ok(()),
        Err(S3Error::Taken) => {
            let there = store.read(name.as_str()).await?;
            let same = match &key {
                Some(key) => tink::open_all(key, Purpose::Small(name), &there)
                    .is_ok_and(|plain| *plain == **bytes),
                None => there == *bytes,
            };
            same.then_some(())
                .ok_or_else(|| StoreError::AlreadyExists { path: store.path_of(name.as_str()) })
        }
        Err(error) => Err(store.failed(name.as_str(), error)),
    }
}

/// The key of `name`, made and durable if there was none.
pub(super) async fn key_for(
    store: &BucketStore,
    name: &ObjectName,
) -> Result<ObjectKey, StoreError> {
    let wrapped = store.wrapped(name.as_str());
    let path = store.path_of(&wrapped);
    if let Some(known) = store.keys.get(&path) {
        return Ok(known);
    }
    let key = match store.open_key(&wrapped).await {
        Err(StoreError::KeyGone { .. }) => make_key(store, &wrapped).await?,
        other => other?,
    };
    store.keys.learn(path, key.clone());
    Ok(key)
}

/// Of several who make a key for one file, one does; the others take it.
async fn make_key(store: &BucketStore, wrapped: &str) -> Result<ObjectKey, StoreError> {
    let key = ObjectKey::random();
    let text = store.kek.wrap(&key).into();
    match store.bucket.put(&store.key_of(wrapped), text, Precondition::Nothing).await {
        Ok(_) => Ok(key),
        Err(S3Error::Taken) => store.open_key(wrapped).await,
        Err(error) => Err(store.failed(wrapped, error)),
    }
}

pub(super) async fn replace(
    store: &BucketStore,
    name: &ObjectName,
    bytes: &[u8],
    seen: Seen<'_>,
) -> Result<(), StoreError> {
    let key = store.key_of(name.as_str());
    let bytes = Bytes::copy_from_slice(bytes);
    let failed = |e| store.failed(name.as_str(), e);
    let taken = || StoreError::AlreadyExists { path: store.path_of(name.as_str()) };
    let mut older = Older::Unknown;
    let put = match seen {
        Seen::Anything => store.bucket.put(&key, bytes.clone(), Precondition::Anything).await,
        Seen::Exactly(None) => store.bucket.put(&key, bytes.clone(), Precondition::Nothing).await,
        Seen::Exactly(Some(seen)) => {
            let there = match store.bucket.get(&key, None, SMALL_MAX_BYTES).await {
                Err(S3Error::NotFound) => return Err(taken()),
                other => other.map_err(failed)?,
            };
            if there.bytes != seen {
                return Err(taken());
            }
            older = Older::Only(there.version);
            store.bucket.put(&key, bytes.clone(), Precondition::Tag(&there.tag)).await
        }
    };
    match put {
        Ok(_) => {}
        // Perhaps by our own request, whose answer was lost.
        Err(S3Error::Taken) => {
            let there = store.bucket.get(&key, None, SMALL_MAX_BYTES).await.map_err(failed)?;
            (there.bytes == bytes).then_some(()).ok_or_else(taken)?;
        }
        Err(error) => return Err(failed(error)),
    }
    match older {
        // A bucket without versions has none.
        Older::Only(None) => Ok(()),
        // Nobody waits for it, and what stays is harmless.
        Older::Only(version) => {
            let bucket = store.bucket.clone();
            store.runtime.spawn(async move {
                if let Err(error) = bucket.delete_version(&key, version.as_deref()).await {
                    tracing::warn!(key, "an older version stays: {error}");
                }
            });
            Ok(())
        }
        Older::Unknown => remove_older(store, &key).await.map_err(failed),
    }
}

/// What a new version takes the place of.
enum Older {
    /// This one, or none where the bucket keeps no versions.
    Only(Option<String>),
    Unknown,
}

async fn remove_older(store: &BucketStore, key: &str) -> Result<(), S3Error> {
    for version in store.bucket.versions_of(key).await?.into_iter().skip(1) {
        store.bucket.delete_version(key, version.id.as_deref()).await?;
    }
    Ok(())
}

/// The file, and its key first, unless that is a full bundle's of which this is a narrower width.
pub(super) async fn remove(store: &BucketStore, name: &ObjectName) -> Result<(), StoreError> {
    let name = name.as_str();
    if ObjectName::of_key(name) == name {
        let wrapped = store.wrapped(name);
        store.keys.forget(&store.path_of(&wrapped));
        store.remove_all(&wrapped).await?;
    }
    store.remove_all(name).await
}

pub(super) async fn set_aside(store: &BucketStore, names: &[ObjectName]) -> Result<(), StoreError> {
    for name in names {
        let aside: ObjectName = format!("aside/{name}").parse()?;
        // A copy: what stays may have the same key.
        match store.read(&store.wrapped(name.as_str())).await {
            Ok(key) => put_aside(store, &store.wrapped(aside.as_str()), key).await?,
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        match store.read(name.as_str()).await {
            Ok(bytes) => put_aside(store, aside.as_str(), bytes).await?,
            Err(StoreError::NotFound { .. }) => continue,
            Err(error) => return Err(error),
        }
        store.remove_all(name.as_str()).await?;
    }
    Ok(())
}

async fn put_aside(store: &BucketStore, name: &str, bytes: Bytes) -> Result<(), StoreError> {
    match store.bucket.put(&store.key_of(name), bytes.clone(), Precondition::Nothing).await {
        Ok(_) => Ok(()),
        Err(S3Error::Taken) => {
            let same = store.read(name).await? == bytes;
            same.then_some(())
                .ok_or_else(|| StoreError::AlreadyExists { path: store.path_of(name) })
        }
        Err(error) => Err(store.failed(name, error)),
    }
}

//! Objects in a bucket of an S3 store. Any number of servers may have it open at once.
//!
//! What is different from a folder: nothing is renamed, so files have their final names from the beginning; what is there
//! may be several versions, so every read names the one that was written; and an answer may be lost, so whatever came of a
//! call is found out by looking.

mod complete;
mod copy;
mod file;
mod locks;
mod pieces;
mod resume;
mod small;
mod writer;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chain_of_custody::digest::{Blake3, GroupCv, HashState};
use chain_of_custody::ids::UploadId;
use tokio::runtime::Handle;

pub(crate) use writer::BucketWriter;

use self::file::FileInBucket;
use self::pieces::PieceMemory;
use self::writer::{PartInBucket, groups_name};
use super::copy::Copied;
use super::error::{Damage, StoreError};
use super::groups::{self, Waiting};
use super::kek::{Kek, KnownKeys, ObjectKey};
use super::medium::{Medium, NewFile, Protection, Seen, StoredFile};
use super::name::ObjectName;
use super::read::Source;
use super::scan::{Found, FoundVersion};
use super::store::SMALL_MAX_BYTES;
use super::tail::Tail;
use super::upload::{
    Reread, SealedPart, SealedUpload, State, StoredObject, StoredPart, WriterState,
};
use super::writer::ObjectWriter;
use crate::s3::{Bucket, Precondition, S3Error, Version};

/// How objects lie in a bucket.
#[derive(Debug, Clone, Default)]
pub struct BucketOptions {
    /// Before every key, as in `exhibit/`: for a bucket that holds other things too.
    pub prefix: String,
    /// How long an original is locked at first, in seconds; none where the store has no locks.
    pub lock_s: Option<i64>,
}

/// Memory for pieces of uploads, in pieces: what all of them together may have on their way or half filled.
const PIECES_IN_MEMORY: usize = 32;

/// The bucket, and what all that write to it share.
#[derive(Debug)]
pub(crate) struct BucketStore {
    bucket: Bucket,
    options: BucketOptions,
    kek: Kek,
    memory: PieceMemory,
    keys: KnownKeys,
    going_on: GoingOn,
    runtime: Handle,
}

/// Uploads whose last state nothing was sealed after, by this process: they may go on in the same part.
#[derive(Debug, Default)]
pub(crate) struct GoingOn(Mutex<HashMap<UploadId, String>>);

impl GoingOn {
    fn note(&self, upload: UploadId, tail: &str) {
        self.lock().insert(upload, tail.to_owned());
    }

    fn forget(&self, upload: UploadId) {
        self.lock().remove(&upload);
    }

    /// Whether it is this state that nothing was sealed after. Asked once.
    fn take(&self, upload: UploadId, tail: &str) -> bool {
        self.lock().remove(&upload).is_some_and(|last| last == tail)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BucketStore {
    /// The store in `bucket`, for use on this runtime.
    pub(crate) fn new(bucket: Bucket, options: BucketOptions, kek: Kek) -> Self {
        Self {
            bucket,
            options,
            kek,
            memory: PieceMemory::new(PIECES_IN_MEMORY),
            keys: KnownKeys::default(),
            going_on: GoingOn::default(),
            runtime: Handle::current(),
        }
    }

    /// Waits for `work` on a thread that may wait.
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn key_of(&self, name: &str) -> String {
        format!("{}{name}", self.options.prefix)
    }

    /// Where the key of the file `name` lies.
    fn wrapped(&self, name: &str) -> String {
        format!("keys/{}", ObjectName::of_key(name))
    }

    fn path_of(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("s3://{}/{}", self.bucket.name(), self.key_of(name)))
    }

    fn failed(&self, name: &str, error: S3Error) -> StoreError {
        StoreError::s3(&self.path_of(name), error)
    }

    fn damaged(&self, name: &str, what: Damage) -> StoreError {
        StoreError::damaged(&self.path_of(name), what)
    }

    async fn read(&self, name: &str) -> Result<Bytes, StoreError> {
        let got = self.bucket.get(&self.key_of(name), None, SMALL_MAX_BYTES).await;
        match got {
            Ok(got) => Ok(got.bytes),
            // What we remove goes with all its versions: if one is there, somebody else has deleted it.
            Err(S3Error::NotFound) => {
                let versions = self.read_versions(name).await?;
                let first = versions.into_iter().next();
                first.ok_or_else(|| StoreError::NotFound { path: self.path_of(name) })
            }
            Err(error) => Err(self.failed(name, error)),
        }
    }

    /// All versions of a small file, the earliest first.
    async fn read_versions(&self, name: &str) -> Result<Vec<Bytes>, StoreError> {
        let (key, failed) = (self.key_of(name), |e| self.failed(name, e));
        let mut found = Vec::new();
        for version in self.bucket.versions_of(&key).await.map_err(failed)?.into_iter().rev() {
            if !version.is_marker {
                let got = self.bucket.get(&key, version.id.as_deref(), SMALL_MAX_BYTES).await;
                found.push(got.map_err(failed)?.bytes);
            }
        }
        Ok(found)
    }

    /// Removes every version of the file `name`.
    async fn remove_all(&self, name: &str) -> Result<(), StoreError> {
        let key = self.key_of(name);
        let versions = self.bucket.versions_of(&key).await.map_err(|e| self.failed(name, e))?;
        self.remove_versions(versions).await
    }

    /// Removes every version of everything whose name begins with `prefix`.
    async fn remove_below(&self, prefix: &str) -> Result<(), StoreError> {
        let found = self.bucket.versions(&self.key_of(prefix)).await;
        self.remove_versions(found.map_err(|e| self.failed(prefix, e))?).await
    }

    /// The same, but for versions that the store does not let go yet: those under a lock or a hold stay until it ends.
    async fn remove_unlocked(&self, name: &str) -> Result<(), StoreError> {
        match self.remove_all(name).await {
            Err(StoreError::Away { source: S3Error::Forbidden { .. }, path }) => {
                tracing::warn!(path = %path.display(), "stays until its lock ends; its key is destroyed");
                Ok(())
            }
            done => done,
        }
    }

    async fn remove_versions(&self, versions: Vec<Version>) -> Result<(), StoreError> {
        for version in versions {
            let removed = self.bucket.delete_version(&version.key, version.id.as_deref()).await;
            let name = version.key.strip_prefix(&self.options.prefix).unwrap_or(&version.key);
            removed.map_err(|e| self.failed(name, e))?;
        }
        Ok(())
    }

    /// The version of a create-only file that was written first: what came over it is not ours.
    async fn first_version(&self, name: &str) -> Result<Version, StoreError> {
        let versions = self.bucket.versions_of(&self.key_of(name)).await;
        let versions = versions.map_err(|e| self.failed(name, e))?;
        let first = versions.into_iter().rfind(|version| !version.is_marker);
        first.ok_or_else(|| StoreError::NotFound { path: self.path_of(name) })
    }

    /// The key that lies at `name`, opened.
    async fn open_key(&self, name: &str) -> Result<ObjectKey, StoreError> {
        let text = self.read(name).await.map_err(|error| match error {
            StoreError::NotFound { path } => StoreError::KeyGone { path },
            other => other,
        })?;
        let unwrap = |text: &[u8]| self.kek.unwrap(std::str::from_utf8(text).ok()?);
        if let Some(key) = unwrap(&text) {
            return Ok(key);
        }
        // Somebody may have put something else over it.
        let key = self.read_versions(name).await?.iter().find_map(|text| unwrap(text));
        let (path, kek) = (self.path_of(name), self.kek.id().to_owned());
        key.ok_or(StoreError::WrongKey { path, kek })
    }

    fn beside(upload: UploadId, name: &str) -> String {
        format!("uploads/{upload}/{name}")
    }

    /// Keeps something small of an upload under way; what stands there is replaced.
    async fn put_beside(
        &self,
        upload: UploadId,
        name: &str,
        bytes: Bytes,
    ) -> Result<(), StoreError> {
        let name = Self::beside(upload, name);
        let put = self.bucket.put(&self.key_of(&name), bytes, Precondition::Anything).await;
        put.map(drop).map_err(|e| self.failed(&name, e))
    }

    async fn remove_beside(&self, upload: UploadId, name: &str) -> Result<(), StoreError> {
        self.remove_all(&Self::beside(upload, name)).await
    }

    /// The group values of an upload of which `kept` are kept.
    async fn groups(
        &self,
        upload: UploadId,
        key: &ObjectKey,
        kept: u64,
    ) -> Result<Vec<GroupCv>, StoreError> {
        let mut values = Vec::new();
        while (values.len() as u64) < kept {
            let name = Self::beside(upload, &groups_name(values.len() as u64));
            let record = self.read(&name).await?;
            let more = groups::parse(&self.path_of(&name), key, &record)?;
            if more.is_empty() || (values.len() + more.len()) as u64 > kept {
                return Err(self.damaged(&name, Damage::Form));
            }
            values.extend(more);
        }
        Ok(values)
    }

    fn key_beside(number: u32) -> String {
        format!("part-{number:04}.key")
    }

    /// Begins the first part from `number` on whose number is free, under a new key. The wrapped key is there before
    /// anything of the part is, and goes after it: it tells what an upload has begun.
    async fn new_part(
        &self,
        upload: UploadId,
        name: &ObjectName,
        number: u32,
    ) -> Result<PartInBucket, StoreError> {
        let mut number = number;
        loop {
            let part = self.take_part(upload, name, number).await;
            match part {
                Err(StoreError::AlreadyExists { .. }) => number += 1,
                other => return other,
            }
        }
    }

    async fn take_part(
        &self,
        upload: UploadId,
        name: &ObjectName,
        number: u32,
    ) -> Result<PartInBucket, StoreError> {
        let (key, file) = (ObjectKey::random(), name.part(number as usize)?);
        let beside = Self::beside(upload, &Self::key_beside(number));
        let text = format!("{}file {file}\n", self.kek.wrap(&key));
        let put = self.bucket.put(&self.key_of(&beside), text.into(), Precondition::Nothing).await;
        put.map_err(|e| self.failed(&beside, e))?;
        Ok(PartInBucket::new(upload, number, file, key))
    }

    /// The wrapped key of a part that an upload has begun, and the part's file.
    async fn begun_part(
        &self,
        upload: UploadId,
        number: u32,
    ) -> Result<(ObjectKey, String, ObjectName), StoreError> {
        let name = Self::beside(upload, &Self::key_beside(number));
        let text = self.read(&name).await.map_err(|error| match error {
            StoreError::NotFound { path } => StoreError::KeyGone { path },
            other => other,
        })?;
        let wrong =
            || StoreError::WrongKey { path: self.path_of(&name), kek: self.kek.id().to_owned() };
        let text = std::str::from_utf8(&text).map_err(|_| wrong())?;
        let (wrapped, file) = split_begun(text).ok_or_else(wrong)?;
        let key = self.kek.unwrap(wrapped).ok_or_else(wrong)?;
        Ok((key, wrapped.to_owned(), file))
    }

    /// Ends an upload of which no entry names anything: keys and bytes of its parts go, the keys first.
    async fn discard_upload(&self, upload: UploadId) -> Result<(), StoreError> {
        self.going_on.forget(upload);
        let below = format!("uploads/{upload}/");
        let found = self.bucket.list(&self.key_of(&below)).await;
        let found = found.map_err(|e| self.failed(&below, e))?;
        for (key, _) in found.iter().filter(|(key, _)| key.ends_with(".key")) {
            let name = key.strip_prefix(&self.options.prefix).unwrap_or(key);
            let text = self.read(name).await?;
            let text = std::str::from_utf8(&text).ok();
            let Some((_, file)) = text.and_then(split_begun) else { continue };
            self.remove_all(&self.wrapped(file.as_str())).await?;
            self.drop_part(&file).await?;
        }
        self.remove_below(&below).await
    }

    /// The bytes of a part go, whether they are an object already or not.
    async fn drop_part(&self, file: &ObjectName) -> Result<(), StoreError> {
        let file = file.as_str();
        let aborted = self.bucket.abort_parts(&self.key_of(file)).await;
        aborted.map_err(|e| self.failed(file, e))?;
        self.remove_all(file).await
    }
}

/// The wrapped key and the file of a part that was begun.
fn split_begun(text: &str) -> Option<(&str, ObjectName)> {
    let (wrapped, file) = text.strip_suffix('\n')?.rsplit_once("\nfile ")?;
    let wrapped = &text[..wrapped.len() + 1];
    Some((wrapped, file.parse().ok()?))
}

impl Medium for BucketStore {
    fn kek(&self) -> &Kek {
        &self.kek
    }

    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    fn begin(
        self: Arc<Self>,
        upload: UploadId,
        name: &ObjectName,
        _reread: Reread,
    ) -> Result<ObjectWriter, StoreError> {
        let part = self.wait(self.take_part(upload, name, 0))?;
        let writer = BucketWriter {
            upload,
            name: name.clone(),
            closed: Vec::new(),
            first_key: part.key().clone(),
            part,
            kept: 0,
            waiting: Waiting::default(),
            tails: VecDeque::new(),
            store: self,
        };
        Ok(writer.into())
    }

    fn reopen(self: Arc<Self>, state: WriterState) -> Result<(ObjectWriter, Tail), StoreError> {
        let State::Bucket(state) = state.0 else { return Err(self.elsewhere(state.upload())) };
        let store = Arc::clone(&self);
        let (writer, tail) = self.wait(resume::reopen(store, state))?;
        Ok((writer.into(), tail))
    }

    fn hash_state(&self, state: &WriterState) -> Result<HashState, StoreError> {
        let State::Bucket(state) = &state.0 else { return Err(self.elsewhere(state.upload())) };
        Ok(self.wait(resume::load_tail(self, state))?.hash_state)
    }

    fn discard(&self, upload: UploadId) -> Result<(), StoreError> {
        self.wait(self.discard_upload(upload))
    }

    fn uploads(&self) -> Result<Vec<UploadId>, StoreError> {
        let below = self.key_of("uploads/");
        let found = self.wait(self.bucket.list(&below)).map_err(|e| self.failed("uploads", e))?;
        let id = |key: &str| key.strip_prefix(&below)?.split('/').next()?.parse().ok();
        let mut uploads: Vec<UploadId> = found.iter().filter_map(|(key, _)| id(key)).collect();
        uploads.sort_unstable();
        uploads.dedup();
        Ok(uploads)
    }

    fn settle(&self, parts: Vec<SealedPart>) -> Result<Vec<SealedPart>, StoreError> {
        self.wait(complete::complete_parts(self, parts))
    }

    fn sealed(&self, parts: &[SealedPart]) -> Result<Source, StoreError> {
        self.wait(complete::source(self, parts))
    }

    fn complete(
        &self,
        sealed: SealedUpload,
        name: ObjectName,
        blake3: Blake3,
    ) -> Result<StoredObject, StoreError> {
        complete::complete(self, sealed, name, blake3)
    }

    fn undo_complete(&self, sealed: SealedUpload, name: &ObjectName) -> Result<(), StoreError> {
        self.wait(complete::undo(self, sealed, name))
    }

    fn dispose(&self, object: &StoredObject) -> Result<(), StoreError> {
        self.wait(complete::dispose(self, object))
    }

    fn protect(&self, object: &StoredObject, protection: Protection) -> Result<(), StoreError> {
        self.wait(locks::protect(self, object, protection))
    }

    fn part(&self, part: &StoredPart) -> Box<dyn StoredFile> {
        Box::new(FileInBucket::new(self, part.clone()))
    }

    fn key(&self, file: &ObjectName) -> Result<ObjectKey, StoreError> {
        self.wait(self.open_key(&self.wrapped(file.as_str())))
    }

    fn wrapped_key(&self, file: &ObjectName) -> Result<Vec<u8>, StoreError> {
        self.wait(self.read(&self.wrapped(file.as_str()))).map(Vec::from)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path_of(name)
    }

    fn glance(&self, object: &StoredObject) -> Result<(), StoreError> {
        self.wait(copy::glance(self, object))
    }

    fn bring_over(&self, from: &dyn Medium, object: &StoredObject) -> Result<Copied, StoreError> {
        copy::bring_over(self, from, object)
    }

    fn create(&self, files: &[NewFile]) -> Result<(), StoreError> {
        self.wait(small::create(self, files))
    }

    fn get(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        self.wait(self.read(name.as_str())).map(Vec::from)
    }

    fn versions(&self, name: &ObjectName) -> Result<Vec<Vec<u8>>, StoreError> {
        let found = self.wait(self.read_versions(name.as_str()))?;
        Ok(found.into_iter().map(Vec::from).collect())
    }

    fn scan_versions(&self, folder: &ObjectName) -> Result<Vec<FoundVersion>, StoreError> {
        let listed = self.wait(self.bucket.versions(&self.key_of(&format!("{folder}/"))));
        let listed = listed.map_err(|e| self.failed(folder.as_str(), e))?;
        let named = |version: Version| {
            let name = version.key.strip_prefix(&self.options.prefix)?.parse().ok()?;
            Some(FoundVersion { name, version: version.id, is_marker: version.is_marker })
        };
        Ok(listed.into_iter().filter_map(named).collect())
    }

    fn replace(&self, name: &ObjectName, bytes: &[u8], seen: Seen<'_>) -> Result<(), StoreError> {
        self.wait(small::replace(self, name, bytes, seen))
    }

    fn key_for(&self, name: &ObjectName) -> Result<ObjectKey, StoreError> {
        self.wait(small::key_for(self, name))
    }

    fn remove(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.wait(small::remove(self, name))
    }

    fn forget(&self, names: &[ObjectName]) -> Result<(), StoreError> {
        names.iter().try_for_each(|name| self.remove(name))
    }

    fn forget_in(&self, folders: &[ObjectName]) -> Result<(), StoreError> {
        self.wait(async {
            for folder in folders {
                self.remove_below(&format!("{folder}/")).await?;
            }
            Ok(())
        })
    }

    fn set_aside(&self, names: &[ObjectName]) -> Result<(), StoreError> {
        self.wait(small::set_aside(self, names))
    }

    fn scan(&self, folder: &ObjectName) -> Result<Vec<Found>, StoreError> {
        let below = self.key_of(&format!("{folder}/"));
        let listed = self.wait(self.bucket.list(&below));
        let listed = listed.map_err(|e| self.failed(folder.as_str(), e))?;
        let named = |(key, file_bytes): (String, u64)| {
            let name = key.strip_prefix(&self.options.prefix)?.parse().ok()?;
            Some(Found { name, file_bytes })
        };
        let mut found: Vec<Found> = listed.into_iter().filter_map(named).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

impl BucketStore {
    /// A state of an upload that is in a store of another kind: the configuration was changed while it was under way.
    fn elsewhere(&self, upload: UploadId) -> StoreError {
        StoreError::NotFound { path: self.path_of(&format!("uploads/{upload}")) }
    }
}

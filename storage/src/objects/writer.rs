//! Writing the bytes of one upload: encrypted as they come, durable at any offset asked for.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chain_of_custody::digest::{GroupCv, HashState};
use chain_of_custody::ids::UploadId;
use tokio::try_join;

use super::complete::write_outboard;
use super::disk::{Crc64, Disk};
use super::error::StoreError;
use super::folder::UploadFolder;
use super::kek::ObjectKey;
use super::part::{PartWriter, sync_and_compare};
use super::store::Shared;
use super::tink::{self, Purpose};
use super::upload::{Reread, SealedPart, SealedUpload, Slot, StateVersion, TailRef, WriterState};
use super::{blocking, groups, resume};

/// The writer of one upload. There is one at a time per upload; after any error, or when a call was cancelled, it is
/// done for: take the upload up again with [`super::ObjectStore::resume`].
#[derive(Debug)]
pub struct ObjectWriter {
    pub(crate) shared: Arc<Shared>,
    pub(crate) upload: UploadId,
    pub(crate) folder: UploadFolder,
    pub(crate) closed: Vec<SealedPart>,
    pub(crate) number: u32,
    pub(crate) part: PartWriter,
    /// The key of the part being written, under which its tail is kept.
    pub(crate) key: ObjectKey,
    /// The key of the upload's first part, under which its group values are kept.
    pub(crate) first_key: ObjectKey,
    pub(crate) groups: groups::GroupList,
    pub(crate) slot: Slot,
    pub(crate) reread: Reread,
    pub(crate) names_durable: bool,
    pub(crate) usable: bool,
}

impl ObjectWriter {
    /// The upload it writes.
    pub fn upload(&self) -> UploadId {
        self.upload
    }

    /// Bytes taken so far, durable or not.
    pub fn size_bytes(&self) -> u64 {
        self.closed.iter().map(|part| part.size_bytes).sum::<u64>() + self.part.size_bytes()
    }

    /// Takes more bytes. Returns when they are taken, which is before they are durable; waits while two segments are
    /// on their way to the device, so that memory stays bounded.
    ///
    /// # Errors
    /// [`StoreError::Full`], or a fatal failure of the device, of these bytes or of earlier ones.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.begin_step()?;
        self.part.write(&bytes).await?;
        self.end_step()
    }

    /// Takes the chaining values of complete groups, in order, as [`chain_of_custody::digest::ContentHasher`] gives
    /// them; before [`Self::seal`] that of the last group too. Whoever leaves them out pays one reading more in
    /// [`super::ObjectStore::complete`].
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn append_groups(&mut self, values: &[GroupCv]) -> Result<(), StoreError> {
        self.begin_step()?;
        self.groups.push(values);
        if self.groups.is_full() {
            self.save_groups().await?;
        }
        self.end_step()
    }

    /// Makes every byte taken so far durable, read back from the device and compared, the last one included, together
    /// with the hash state at that offset. What this returns resumes exactly here, on a process that knows nothing else.
    ///
    /// # Errors
    /// As [`Self::write`]; nothing may be acknowledged then.
    ///
    /// # Panics
    /// When `hash_state` is not that of the bytes taken: a fault of ours that must not reach the device.
    pub async fn persist(&mut self, hash_state: &HashState) -> Result<WriterState, StoreError> {
        assert_eq!(
            hash_state.size_bytes(),
            self.size_bytes(),
            "the hash state is that of the bytes taken"
        );
        self.begin_step()?;
        self.make_names_durable().await?;
        let tail = self.save_tail(hash_state);
        let groups = append_groups(&self.shared, &self.folder, &self.first_key, &mut self.groups);
        let (part, tail, ()) = try_join!(self.part.settle(), tail, groups)?;
        self.slot = self.slot.other();
        self.end_step()?;
        Ok(WriterState {
            version: StateVersion::V1,
            upload: self.upload,
            size_bytes: self.size_bytes(),
            closed: self.closed.clone(),
            part: super::upload::OpenPart { number: self.number, ..part },
            tail,
            groups: self.groups.kept,
            reread: self.reread,
        })
    }

    /// Ends the upload: everything is durable, read back and compared when this returns.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn seal(mut self) -> Result<SealedUpload, StoreError> {
        self.begin_step()?;
        let size_bytes = self.size_bytes();
        let Self { shared, upload, folder, mut closed, number, part, first_key, groups, .. } = self;
        let (names_durable, reread) = (self.names_durable, self.reread);
        let beside = blocking::run(move || {
            let outboard = groups::outboard(&folder.groups(), &first_key, &groups, size_bytes);
            // A piece of a concatenation never becomes an object by itself.
            if let (Some(outboard), Reread::NotSoon) = (&outboard, reread) {
                folder.forget_outboard()?;
                write_outboard(shared.disk.as_ref(), &folder.outboard(), &first_key, outboard)?;
            }
            if !names_durable {
                folder.sync()?;
            }
            Ok(outboard)
        });
        let (outboard, (part_bytes, crc64nvme)) = try_join!(beside, part.seal())?;
        if part_bytes > 0 || closed.is_empty() {
            closed.push(SealedPart { upload, number, size_bytes: part_bytes, crc64nvme });
        }
        Ok(SealedUpload { parts: closed, size_bytes, outboard })
    }

    /// Ends the upload as [`Self::seal`] does, with `head` before everything that was taken: a part of its own, so that
    /// nothing is written twice. [`super::ObjectStore::compose`] tells the digests of the whole.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn seal_behind(self, head: Bytes) -> Result<SealedUpload, StoreError> {
        let (shared, folder) = (Arc::clone(&self.shared), self.folder.clone());
        let (upload, reread) = (self.upload, self.reread);
        let body = self.seal().await?;
        let (number, mut first) = blocking::run(move || {
            let (part, key) = folder.new_part(shared.disk.as_ref(), &shared.kek)?;
            folder.sync()?;
            let (number, path) = (part.number, folder.part(part.number));
            Ok((number, PartWriter::open(shared.for_writing(), &path, &key, part, reread)?))
        })
        .await?;
        first.write(&head).await?;
        let (size_bytes, crc64nvme) = first.seal().await?;
        let first = SealedPart { upload, number, size_bytes, crc64nvme };
        let size_bytes = size_bytes + body.size_bytes;
        let parts = [vec![first], body.parts].concat();
        Ok(SealedUpload { parts, size_bytes, outboard: None })
    }

    /// Gives the upload up: its key and its bytes go.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub async fn discard(self) -> Result<(), StoreError> {
        let folder = self.folder.clone();
        drop(self);
        blocking::run(move || folder.remove()).await
    }

    /// Until [`Self::end_step`] the writer counts as failed, so that an error or a cancelled call leaves it so.
    fn begin_step(&mut self) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.usable, false) { Ok(()) } else { Err(StoreError::Stopped) }
    }

    #[allow(clippy::unnecessary_wraps, reason = "the last line of every step")]
    fn end_step(&mut self) -> Result<(), StoreError> {
        self.usable = true;
        Ok(())
    }

    async fn make_names_durable(&mut self) -> Result<(), StoreError> {
        if !self.names_durable {
            let folder = self.folder.clone();
            blocking::run(move || folder.sync()).await?;
            self.names_durable = true;
        }
        Ok(())
    }

    async fn save_groups(&mut self) -> Result<(), StoreError> {
        append_groups(&self.shared, &self.folder, &self.first_key, &mut self.groups).await
    }

    /// The side file of the tail, written beside whatever the part does.
    fn save_tail(
        &self,
        hash_state: &HashState,
    ) -> impl Future<Output = Result<TailRef, StoreError>> + use<> {
        let plain = resume::Tail::encode(hash_state, self.part.tail());
        let (key, disk, slot) = (self.key.clone(), Arc::clone(&self.shared.disk), self.slot);
        let path = self.folder.tail(slot);
        blocking::run(move || {
            let sealed = tink::seal_all(&key, Purpose::Tail, &plain);
            let (file_bytes, crc) = (sealed.len() as u64, Crc64::of(&sealed));
            overwrite(disk.as_ref(), &path, &sealed)?;
            Ok(TailRef { slot, file_bytes, crc })
        })
    }
}

/// Replaces the content of a side file whose turn it is.
fn overwrite(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let file = disk.open(path).map_err(|e| StoreError::io(path, e))?;
    file.set_len(0).map_err(|e| StoreError::io(path, e))?;
    disk.write_at(&file, bytes, 0).map_err(|e| StoreError::io(path, e))?;
    sync_and_compare(disk, &file, path, 0..bytes.len() as u64, Crc64::of(bytes))
}

async fn append_groups(
    shared: &Arc<Shared>,
    folder: &UploadFolder,
    key: &ObjectKey,
    list: &mut groups::GroupList,
) -> Result<(), StoreError> {
    if list.waiting.is_empty() {
        return Ok(());
    }
    let (disk, path, key) = (Arc::clone(&shared.disk), folder.groups(), key.clone());
    let (kept, values) = (list.kept, std::mem::take(&mut list.waiting));
    list.kept =
        blocking::run(move || groups::append(disk.as_ref(), &path, &key, kept, &values)).await?;
    Ok(())
}

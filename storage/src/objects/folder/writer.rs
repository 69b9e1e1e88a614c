//! Writing the bytes of one upload into its folder.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chain_of_custody::digest::{GroupCv, HashState};
use chain_of_custody::ids::UploadId;
use tokio::try_join;

use super::FolderStore;
use super::complete::write_outboard;
use super::disk::Disk;
use super::groups;
use super::part::{PartWriter, sync_and_compare};
use super::upload::UploadFolder;
use crate::objects::blocking;
use crate::objects::crc::Crc64;
use crate::objects::error::StoreError;
use crate::objects::groups::Waiting;
use crate::objects::kek::ObjectKey;
use crate::objects::tail::Tail;
use crate::objects::tink::{self, Purpose};
use crate::objects::upload::{
    FolderState, GroupsRef, OpenPart, Reread, SealedPart, SealedUpload, Slot, TailRef,
};

/// The writer of one upload into a folder.
#[derive(Debug)]
pub(crate) struct FolderWriter {
    pub(crate) store: Arc<FolderStore>,
    pub(crate) upload: UploadId,
    pub(crate) folder: UploadFolder,
    pub(crate) closed: Vec<SealedPart>,
    pub(crate) number: u32,
    pub(crate) part: PartWriter,
    /// The key of the part being written, under which its tail is kept.
    pub(crate) key: ObjectKey,
    /// The key of the upload's first part, under which its group values are kept.
    pub(crate) first_key: ObjectKey,
    pub(crate) kept: GroupsRef,
    pub(crate) waiting: Waiting,
    pub(crate) slot: Slot,
    pub(crate) reread: Reread,
    pub(crate) names_durable: bool,
}

impl FolderWriter {
    pub(crate) fn upload(&self) -> UploadId {
        self.upload
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.closed.iter().map(|part| part.size_bytes).sum::<u64>() + self.part.size_bytes()
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.part.write(bytes).await
    }

    pub(crate) async fn append_groups(&mut self, values: &[GroupCv]) -> Result<(), StoreError> {
        self.waiting.push(values);
        if self.waiting.is_full() {
            self.kept = self.keep_groups().await?;
        }
        Ok(())
    }

    pub(crate) async fn persist(
        &mut self,
        hash_state: &HashState,
    ) -> Result<FolderState, StoreError> {
        self.make_names_durable().await?;
        let tail = self.save_tail(hash_state);
        let groups = self.keep_groups();
        let (part, tail, groups) = try_join!(self.part.settle(), tail, groups)?;
        self.kept = groups;
        self.slot = self.slot.other();
        Ok(FolderState {
            upload: self.upload,
            size_bytes: self.size_bytes(),
            closed: self.closed.clone(),
            part: OpenPart { number: self.number, ..part },
            tail,
            groups: self.kept,
            reread: self.reread,
        })
    }

    pub(crate) async fn seal(self) -> Result<SealedUpload, StoreError> {
        let size_bytes = self.size_bytes();
        let Self { store, upload, folder, mut closed, number, part, first_key, .. } = self;
        let (names_durable, reread) = (self.names_durable, self.reread);
        let (kept, waiting) = (self.kept, self.waiting);
        let beside = blocking::run(move || {
            let kept = groups::load(&folder.groups(), &first_key, kept);
            let outboard = waiting.outboard(kept, size_bytes);
            // A piece of a concatenation never becomes an object by itself.
            if let (Some(outboard), Reread::NotSoon) = (&outboard, reread) {
                folder.forget_outboard()?;
                write_outboard(store.disk.as_ref(), &folder.outboard(), &first_key, outboard)?;
            }
            if !names_durable {
                folder.sync()?;
            }
            Ok(outboard)
        });
        let (outboard, (part_bytes, crc64nvme)) = try_join!(beside, part.seal())?;
        if part_bytes > 0 || closed.is_empty() {
            closed.push(SealedPart::in_folder(upload, number, part_bytes, crc64nvme));
        }
        Ok(SealedUpload { parts: closed, size_bytes, outboard })
    }

    pub(crate) async fn seal_behind(self, head: Bytes) -> Result<SealedUpload, StoreError> {
        let (store, folder) = (Arc::clone(&self.store), self.folder.clone());
        let (upload, reread) = (self.upload, self.reread);
        let body = self.seal().await?;
        let (number, mut first) = blocking::run(move || {
            let (part, key) = folder.new_part(store.disk.as_ref(), &store.kek)?;
            folder.sync()?;
            let (number, path) = (part.number, folder.part(part.number));
            Ok((number, PartWriter::open(store.for_writing(), &path, &key, part, reread)?))
        })
        .await?;
        first.write(&head).await?;
        let (size_bytes, crc64nvme) = first.seal().await?;
        let first = SealedPart::in_folder(upload, number, size_bytes, crc64nvme);
        let size_bytes = size_bytes + body.size_bytes;
        let parts = [vec![first], body.parts].concat();
        Ok(SealedUpload { parts, size_bytes, outboard: None })
    }

    pub(crate) async fn discard(self) -> Result<(), StoreError> {
        let folder = self.folder.clone();
        drop(self);
        blocking::run(move || folder.remove()).await
    }

    async fn make_names_durable(&mut self) -> Result<(), StoreError> {
        if !self.names_durable {
            let folder = self.folder.clone();
            blocking::run(move || folder.sync()).await?;
            self.names_durable = true;
        }
        Ok(())
    }

    /// Keeps the group values that wait.
    fn keep_groups(&mut self) -> impl Future<Output = Result<GroupsRef, StoreError>> + use<> {
        let (disk, path, key) =
            (Arc::clone(&self.store.disk), self.folder.groups(), self.first_key.clone());
        let (kept, values) = (self.kept, self.waiting.take());
        async move {
            let Some(values) = values else { return Ok(kept) };
            blocking::run(move || groups::append(disk.as_ref(), &path, &key, kept, &values)).await
        }
    }

    /// The side file of the tail, written beside whatever the part does.
    fn save_tail(
        &self,
        hash_state: &HashState,
    ) -> impl Future<Output = Result<TailRef, StoreError>> + use<> {
        let plain = Tail::encode(hash_state, [self.part.tail()].into_iter());
        let (key, disk, slot) = (self.key.clone(), Arc::clone(&self.store.disk), self.slot);
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

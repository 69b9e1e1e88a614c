//! The same recording again: what is held is read through, then the entry is written, then the new bytes go.
//!
//! The one invariant to keep: the bytes that came may be the last good copy. They are let go, and their sender is told
//! that it may let go of its own, only when the item was read back whole a moment before (I1). That is a reading of the
//! whole object: for a large one the answer takes as long as its disk needs.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use chain_of_custody::command::{Command, Guard};
use chain_of_custody::digest::Blake3;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{ItemId, UploadId};
use futures_util::TryStreamExt as _;
use storage::failpoint;
use storage::objects::{StoreError, StoredObject};
use storage::records::{ItemRecord, Outcome, UploadEnding, UploadRow};

use super::finish::{Sealed, object_name};
use super::{ReceiveError, Receiver, new_event, salt};

/// Uploads that wait because what they duplicate cannot be read. The sweeper leaves them alone, so that it does not read
/// a damaged object every few seconds; their sender's next request looks again, and so does a restart.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<BTreeSet<UploadId>>);

impl Waiting {
    pub(super) fn all(&self) -> BTreeSet<UploadId> {
        self.uploads().clone()
    }

    fn uploads(&self) -> std::sync::MutexGuard<'_, BTreeSet<UploadId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// Step 4 for bytes that are held already: an entry of its own, once what is held has been read.
    pub(super) async fn acknowledge_held(
        &self,
        sealed: &Sealed<'_>,
        item: ItemId,
    ) -> Result<UploadEnding, ReceiveError> {
        self.read_held(sealed, item).await?;
        let placed =
            self.ledger().submit(sealed.duplicate_command(item, &self.shared.parts.site)).await?;
        failpoint::hit("duplicate-submitted");
        let (outcome, leaf_index) = (Outcome::Duplicate, placed.leaf_index);
        Ok(UploadEnding { outcome, item, leaf_index, reason_code: String::new() })
    }

    /// Step 5, wherever an earlier attempt has brought the bytes. No entry names an object of this upload.
    pub(super) async fn let_go(&self, row: &UploadRow) -> Result<(), ReceiveError> {
        let internal = |e: serde_json::Error| ReceiveError::Internal(e.to_string());
        if let Some((json, _)) = &row.sealed {
            let sealed = serde_json::from_str(json).map_err(internal)?;
            self.objects().undo_complete(sealed, object_name(row)?).await?;
        }
        failpoint::hit("duplicate-undone");
        self.objects().discard(row.upload).await?;
        for part in &row.parts {
            self.objects().discard(*part).await?;
        }
        Ok(())
    }

    async fn read_held(&self, sealed: &Sealed<'_>, item: ItemId) -> Result<(), ReceiveError> {
        let record = self.records().item(item).await?.ok_or(ReceiveError::NotFound)?;
        let reading = self.read_through(&record, &sealed.digests.blake3);
        let read = self.shared.stopping.run_until_cancelled(reading).await;
        let upload = sealed.row.upload;
        match read.ok_or(ReceiveError::Busy { limit: "stopping" })? {
            Ok(()) => {
                self.shared.waiting.uploads().remove(&upload);
                self.note_whole(&record).await
            }
            Err(error) => {
                let Some(reason_code) = fault_code(&error) else { return Err(error.into()) };
                tracing::error!(%item, %upload, %error, "an item is damaged; an upload of the same recording waits");
                self.shared.waiting.uploads().insert(upload);
                self.note_fault(&record, reason_code).await;
                Err(ReceiveError::HeldDamaged)
            }
        }
    }

    /// Every byte of what is held, through authentication and tree.
    async fn read_through(&self, record: &ItemRecord, blake3: &Blake3) -> Result<(), StoreError> {
        let object: Option<StoredObject> = serde_json::from_str(&record.object).ok();
        let object = object.filter(|o| o.blake3 == *blake3).ok_or(StoreError::DigestMismatch)?;
        let opened = self.objects().open_object(&object).await?;
        opened.stream(0..opened.size_bytes())?.try_for_each(|_| async { Ok(()) }).await
    }

    /// Once for a fault that stands, however often it is met.
    async fn note_fault(&self, record: &ItemRecord, reason_code: &'static str) {
        if record.fault == reason_code {
            return;
        }
        let command = about(EventKind::StorageFault, record.item).field(
            field::REASON_CODE,
            reason_code,
            salt(),
        );
        if let Err(error) = self.ledger().submit(command).await {
            tracing::error!(item = %record.item, %error, "a storage fault could not be recorded");
        }
    }

    /// A fault that stood is over.
    async fn note_whole(&self, record: &ItemRecord) -> Result<(), ReceiveError> {
        if !record.fault.is_empty() {
            self.ledger().submit(about(EventKind::ItemVerified, record.item)).await?;
        }
        Ok(())
    }
}

fn about(kind: EventKind, item: ItemId) -> Command {
    Command::new(kind, new_event())
        .touching(item)
        .provided(Guard::SubjectExists(item.into()))
        .field(field::BY, "-", salt())
}

/// The reason code of a `storage.fault`; none when the object may be whole.
fn fault_code(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::NotFound { .. } => Some("missing"),
        StoreError::KeyGone { .. } => Some("key-missing"),
        StoreError::WrongKey { .. } => Some("key-unusable"),
        StoreError::Damaged { .. } | StoreError::DigestMismatch => Some("damaged"),
        StoreError::Device { .. } | StoreError::ReadBack { .. } => Some("unreadable"),
        StoreError::AlreadyExists { .. }
        | StoreError::Full
        | StoreError::Away { .. }
        | StoreError::BadName { .. }
        | StoreError::Range { .. }
        | StoreError::TooManyParts { .. }
        | StoreError::Stopped => None,
    }
}

//! What nobody asks for any more: uploads that were abandoned, answers that were fetched, folders that belong to none;
//! and finishing what a crash or a busy ledger left half-finished.

use std::time::Duration;

use chain_of_custody::command::{Command, device_text};
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{SubjectId, SubjectKind};
use chain_of_custody::time::Timestamp;
use storage::records::{UploadRow, UploadShape, UploadState};

use super::{ReceiveError, Receiver, new_event, salt};

/// How often the sweeper looks.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// Uploads taken up in one look.
const SWEEP_AT_ONCE: u32 = 64;
/// A finishing upload that nobody has touched for so long is finished by the sweeper.
const FINISH_AFTER: Duration = Duration::from_secs(30);

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads that had all their bytes and have their answer now.
    pub finished: u64,
    /// Uploads that nobody touched for too long.
    pub abandoned: u64,
    /// Answers that were there long enough.
    pub forgotten: u64,
    /// Folders that belonged to no upload.
    pub folders: u64,
}

impl Receiver {
    /// Takes up what the last run left: adopts objects without an entry, by finishing their uploads, and removes
    /// folders that belong to none. Call it once, before the first request.
    ///
    /// # Errors
    /// [`ReceiveError`] when the ledger or the store cannot be used.
    pub async fn recover(&self) -> Result<Swept, ReceiveError> {
        let mut swept =
            Swept { finished: self.finish_untouched(self.now()).await?, ..Swept::default() };
        for upload in self.objects().uploads().await? {
            let row = self.records().upload(upload).await?;
            if row.is_none() && self.records().is_an_attempt(upload).await? {
                // Another server is at it, or whoever takes the job next clears it away.
                continue;
            }
            let needed = row.is_some_and(|row| match row.state {
                UploadState::Receiving | UploadState::Finishing => true,
                UploadState::Finished => row.shape == UploadShape::Partial,
                // The final that took a composed partial's bytes has been finished a moment ago.
                UploadState::Composed | UploadState::Ended => false,
            });
            if !needed {
                self.objects().discard(upload).await?;
                swept.folders += 1;
            }
        }
        Ok(swept)
    }

    /// Sweeps every [`SWEEP_EVERY`] until [`Receiver::stop`].
    pub fn run_sweeper(&self) {
        let receiver = self.clone();
        let stopping = self.shared.stopping.clone();
        let _task = self.shared.tasks.spawn(async move {
            let every = SWEEP_EVERY.min(receiver.limits().refusal_window);
            while stopping.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
                if let Err(error) = receiver.sweep().await {
                    tracing::error!(%error, "sweeping uploads failed");
                }
            }
        });
    }

    /// One sweep.
    ///
    /// # Errors
    /// [`ReceiveError`] when the records or the store cannot be used.
    pub async fn sweep(&self) -> Result<Swept, ReceiveError> {
        self.record_counted_refusals().await;
        let finished = self.finish_untouched(self.before(FINISH_AFTER)).await?;
        if !self.shared.patience.is_over(self.now()) {
            return Ok(Swept { finished, ..Swept::default() });
        }
        let abandoned = self.abandon_untouched().await?;
        let forgotten = self.forget_answered().await?;
        Ok(Swept { finished, abandoned, forgotten, folders: 0 })
    }

    /// One that cannot be finished now does not keep the others waiting; its sender is told when it asks.
    async fn finish_untouched(&self, before: Timestamp) -> Result<u64, ReceiveError> {
        let (mut finished, mut failed) = (0, self.shared.waiting.all());
        loop {
            let most =
                SWEEP_AT_ONCE.saturating_add(u32::try_from(failed.len()).unwrap_or(u32::MAX));
            let rows =
                self.records().uploads_untouched(UploadState::Finishing, before, most).await?;
            let waiting: Vec<_> =
                rows.into_iter().filter(|row| !failed.contains(&row.upload)).collect();
            if waiting.is_empty() {
                return Ok(finished);
            }
            for row in waiting {
                let _held = self.shared.turns.take(row.upload).await;
                // Somebody may have finished it while we waited for the turn.
                let Some(row) = self.records().upload(row.upload).await? else { continue };
                match self.complete_if_all_here(row.clone()).await {
                    Ok(_) => finished += 1,
                    Err(error) => {
                        tracing::error!(upload = %row.upload, %error, "an upload could not be finished");
                        failed.insert(row.upload);
                    }
                }
            }
        }
    }

    async fn abandon_untouched(&self) -> Result<u64, ReceiveError> {
        let before = self.before(self.limits().upload_ttl);
        let mut rows =
            self.records().uploads_untouched(UploadState::Receiving, before, SWEEP_AT_ONCE).await?;
        let finished =
            self.records().uploads_untouched(UploadState::Finished, before, SWEEP_AT_ONCE).await?;
        rows.extend(finished.into_iter().filter(|row| row.shape == UploadShape::Partial));
        let mut abandoned = 0;
        for row in rows {
            let _held = self.shared.turns.take(row.upload).await;
            let row = self.records().upload(row.upload).await?;
            let Some(row) = row.filter(|row| row.touched_at <= before) else { continue };
            // One that stays does not keep the others.
            match self.expire(&row).await {
                Ok(()) => abandoned += 1,
                Err(error) => {
                    tracing::error!(upload = %row.upload, %error, "an upload could not be abandoned");
                }
            }
        }
        Ok(abandoned)
    }

    /// Somebody was told that these bytes are held, perhaps in a progress receipt: that they go is an alarm and an entry,
    /// before they do. A crash in between leaves a second entry at worst.
    async fn expire(&self, row: &UploadRow) -> Result<(), ReceiveError> {
        if row.offset_bytes > 0 {
            let (upload, size_bytes) = (row.upload, row.offset_bytes);
            tracing::error!(%upload, size_bytes, "nobody came back for an upload; its bytes go");
            self.ledger().submit(self.abandonment(row).await?).await?;
        }
        self.abandon(row).await
    }

    async fn abandonment(&self, row: &UploadRow) -> Result<Command, ReceiveError> {
        let subject = match row.device {
            Some(device) => device.into(),
            None => SubjectId::new(SubjectKind::Force, self.records().force())
                .map_err(|e| ReceiveError::Internal(e.to_string()))?,
        };
        let mut command = Command::new(EventKind::UploadAbandoned, new_event())
            .touching(subject)
            .field(field::UPLOAD, row.upload.to_string(), salt())
            .field(field::DEVICE, device_text(row.device), salt())
            .field(field::SIZE_BYTES, row.offset_bytes.to_string(), salt())
            .field(field::REASON_CODE, "untouched", salt())
            .field(field::BY, "-", salt());
        // Damaged working state is no reason to keep it.
        if let Ok(digests) = self.digests_held(row).await {
            command = command.field(field::SHA256, digests.sha256.to_string(), salt()).field(
                field::BLAKE3,
                digests.blake3.to_string(),
                salt(),
            );
        }
        Ok(command)
    }

    async fn forget_answered(&self) -> Result<u64, ReceiveError> {
        let before = self.before(self.limits().finished_ttl);
        let mut forgotten = 0;
        for state in [UploadState::Finished, UploadState::Composed, UploadState::Ended] {
            let rows = self.records().uploads_untouched(state, before, SWEEP_AT_ONCE).await?;
            let waits = |row: &UploadRow| {
                row.shape == UploadShape::Partial && state == UploadState::Finished
            };
            for row in rows.iter().filter(|row| !waits(row)) {
                self.records().forget_upload(row.upload).await?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    fn before(&self, ago: Duration) -> Timestamp {
        let now = self.now();
        let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_unix_millis(now.unix_millis().saturating_sub(ago_ms)).unwrap_or(now)
    }
}

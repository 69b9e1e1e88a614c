//! The durable steps, as the task executes them: each gives the sequencer's next input.

use std::time::Duration;

use chain_of_custody::checkpoint::{Checkpoint, SignedCheckpoint};
use chain_of_custody::command::Command;
use chain_of_custody::ids::TreeSize;
use chain_of_custody::note::NoteError;
use chain_of_custody::sequencer::{Done, Epoch, Grown, Input};
use tokio::time::Instant;

use super::LedgerError;
use super::files::PublishError;
use super::servers::held_through;
use super::task::Task;
use crate::failpoint;
use crate::objects::StoreError;
use crate::records::{CommandRow, CommitError, RecordsError};

/// How long those who wait for a signature are kept waiting while the key cannot be used, and how often it is tried.
const SIGNING_PATIENCE: Duration = Duration::from_secs(5);
const SIGNING_PAUSE: Duration = Duration::from_millis(250);

impl Task {
    /// Step 1.
    pub(super) async fn commit(
        &self,
        epoch: Epoch,
        from: TreeSize,
        commands: &[Command],
        rows: &[(usize, CommandRow)],
    ) -> Input {
        let at = self.options.clock.now();
        let step = self.records.commit_batch(epoch, from, commands, rows, at);
        match held_through(self.lease.as_deref(), step).await {
            Ok(Ok(decided)) => {
                failpoint::hit("entries-committed");
                Input::Done(Done::Committed(decided))
            }
            Ok(Err(CommitError::NotWritten(error))) if self.is_refused(&error) => {
                Input::NotCommitted(error.to_string())
            }
            Ok(Err(error)) => Input::Failed(error.to_string()),
            Err(lost) => Input::Failed(lost),
        }
    }

    /// Whether the database answered, and said no: for good, as far as these commands go. Among several servers one that
    /// does not answer is a reason to let another write.
    fn is_refused(&self, error: &RecordsError) -> bool {
        let RecordsError::Database(error) = error else { return true };
        let code = error.as_database_error().and_then(|error| error.code());
        // Of PostgreSQL: connection lost, resources, shut down, and ended because it was idle in a transaction.
        let gone = ["08", "53", "57", "25P03"];
        self.lease.is_none() || code.is_some_and(|code| !gone.iter().any(|g| code.starts_with(g)))
    }

    /// Step 2.
    pub(super) async fn write_files(&mut self, grown: &Grown) -> Input {
        match self.files.write(&grown.files).await {
            Ok(()) => {
                failpoint::hit("tiles-written");
                Input::Done(Done::FilesWritten)
            }
            Err(error) => self.store_failed(&error),
        }
    }

    /// Step 3.
    pub(super) async fn store_checkpoint(
        &mut self,
        epoch: Epoch,
        checkpoint: &Checkpoint,
    ) -> Input {
        let signed = match self.sign(checkpoint).await {
            Ok(signed) => signed.to_string(),
            Err(error) => {
                self.failed_for_good = true;
                return Input::Failed(error);
            }
        };
        let step = self.records.store_checkpoint(epoch, checkpoint.size, &signed);
        let kept = match held_through(self.lease.as_deref(), step).await {
            Ok(Ok(kept)) => kept,
            Ok(Err(error)) => return Input::Failed(error.to_string()),
            Err(lost) => return Input::Failed(lost),
        };
        match kept.parse() {
            Ok(kept) => {
                failpoint::hit("checkpoint-stored");
                Input::Done(Done::CheckpointStored(kept))
            }
            Err(error) => Input::Failed(error.to_string()),
        }
    }

    /// A key that cannot be used is known to have signed nothing: who waits goes on waiting, for a while. Then the ledger
    /// stops; the entries stand, and a restart signs them.
    async fn sign(&self, checkpoint: &Checkpoint) -> Result<SignedCheckpoint, String> {
        let give_up = Instant::now() + SIGNING_PATIENCE;
        loop {
            let error = match checkpoint.sign(self.options.signer.as_ref()) {
                Ok(signed) => return Ok(signed),
                Err(NoteError::SignerUnavailable(error)) => error,
                Err(error) => return Err(error.to_string()),
            };
            let size = checkpoint.size.0;
            tracing::error!(size, "the log key cannot sign now; nothing is acknowledged: {error}");
            if Instant::now() >= give_up {
                return Err(format!("the log key cannot sign: {error}"));
            }
            tokio::time::sleep(SIGNING_PAUSE).await;
        }
    }

    /// Step 4. The database fences every step but this one, so that a holder that slept since the one before must not begin it.
    pub(super) async fn publish(&mut self, checkpoint: &SignedCheckpoint) -> Input {
        if let Some(lost) = self.lease.as_ref().and_then(|lease| lease.is_over()) {
            return Input::Failed(lost);
        }
        match self.files.publish(checkpoint).await {
            Ok(()) => {
                failpoint::hit("published");
                Input::Done(Done::Published)
            }
            Err(PublishError::Ledger(LedgerError::Store(error))) => self.store_failed(&error),
            Err(error) => Input::Failed(error.to_string()),
        }
    }

    /// Step 5 by itself.
    pub(super) async fn record(&self, epoch: Epoch, size: TreeSize) -> Input {
        let step = self.records.record_published(epoch, size);
        match held_through(self.lease.as_deref(), step).await {
            Ok(Ok(())) => {
                failpoint::hit("recorded");
                Input::Done(Done::Recorded)
            }
            Ok(Err(error)) => Input::Failed(error.to_string()),
            Err(lost) => Input::Failed(lost),
        }
    }

    /// A device that failed may say of what it lost that it is there: this process does not go on.
    fn store_failed(&mut self, error: &StoreError) -> Input {
        self.failed_for_good |= error.is_fatal();
        Input::Failed(error.to_string())
    }
}

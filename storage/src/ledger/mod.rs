//! The ledger: drives the sequencer over the records and the object store, and lets others read what stands.
//!
//! What lives here: opening and recovery, the task that executes the sequencer's steps, the files of the ledger, the
//! follower, the audit and the export. What does not: the order of the steps (`chain_of_custody::sequencer`), the
//! projection of events (`records`).
//!
//! The one invariant to keep: whoever gets a [`Placed`] gets it after its entry, tiles and openings are durable and
//! its checkpoint is published (I1, I2). A [`Recorded`] is durable in the database, and proves nothing to others yet.

mod answers;
mod audit;
mod copy;
mod cosign;
mod export;
mod files;
mod follow;
mod jump;
mod open;
mod programs;
mod reader;
mod rebuild;
mod servers;
mod stamps;
mod steps;
mod task;

use std::sync::Arc;
use std::time::Duration;

use chain_of_custody::checkpoint::{Origin, SignedCheckpoint};
use chain_of_custody::command::{Command, Refusal};
use chain_of_custody::entry::Opening;
use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::malformed::Malformed;
use chain_of_custody::merkle::InclusionProof;
use chain_of_custody::note::Signer;
use chain_of_custody::policy::Policy;
use chain_of_custody::receipt::{Receipt, ReceiptError};
use chain_of_custody::rotation::Rotation;
use chain_of_custody::sequencer::{CannotRecover, MAX_WAITING};
use chain_of_custody::tile::TilePath;
use tokio::sync::{mpsc, oneshot, watch};

pub use audit::{Audit, AuditCode, AuditFinding, AuditResult};
pub use copy::{copy_kept, copy_ledger, published_in};
pub use cosign::{
    COSIGNATURE_PATIENCE, LastCosignature, LogWitness, LogWitnessState, LogWitnesses,
    MAX_LOG_WITNESSES, Trouble,
};
pub use follow::{Followed, Follower};
pub use rebuild::{rebuild_beginning, rebuild_from_store};
pub use stamps::{KeptStamp, STAMP_SIZE, STAMP_TSR_SHA256};

use crate::clock::Clock;
use crate::objects::{ObjectStore, StoreError};
use crate::records::{Dialect, Records, RecordsError};
pub(crate) use files::LedgerFiles;
use open::{Outside, Parts};
use reader::Reader;
use task::{Hurry, Reply, Request};

/// What a ledger needs to be opened.
#[derive(Clone)]
pub struct LedgerOptions {
    /// The ledger's name: first line of each checkpoint and name of the log key.
    pub origin: Origin,
    /// The log key. Signs checkpoints and nothing else.
    pub signer: Arc<dyn Signer + Send + Sync>,
    /// Keys that were replaced, where the ledger itself may not say so: after an older copy was put back.
    pub rotations: Vec<Rotation>,
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for LedgerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerOptions").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Why a ledger does not open or cannot answer, by what a caller can do.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Database and store contradict each other: a person decides.
    #[error(transparent)]
    CannotRecover(#[from] CannotRecover),
    /// Somebody outside knows another history of this ledger: a person decides.
    #[error(
        "the log witness {witness} cosigned {known} entries of this ledger, and {ours} are published here: an older copy \
         was put back, or the log key signs elsewhere. Nothing will be signed. Restore a newer copy"
    )]
    HeadNotConfirmed { witness: String, known: TreeSize, ours: TreeSize },
    /// The signing key is not that of this ledger, or its published checkpoint is by a key that no note leads from.
    #[error(
        "the published checkpoint of {origin} is not signed by this log key, nor by one that it is known to have replaced"
    )]
    OtherKey { origin: String },
    /// A step failed while opening.
    #[error("the ledger stopped: {0}")]
    Stopped(String),
    /// The ledger has no such entry under a published checkpoint.
    #[error("the ledger has no published entry {0}")]
    NoSuchEntry(LeafIndex),
    /// What is stored does not prove what was signed. Run an audit.
    #[error(
        "stored tiles or entries do not fit the published checkpoint at entry {0}; run an audit"
    )]
    Damaged(LeafIndex),
    /// Bytes in the store are not in their format.
    #[error("{path}: {reason}")]
    Malformed { path: String, reason: String },
    /// Nobody writes this ledger in this process any more.
    #[error("the ledger was closed")]
    Closed,
    /// Files outside the store, when exporting.
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
}

/// Why a command has no receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It was decided, and made no entry.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many wait. Ask again in a moment.
    #[error("too many commands wait; ask again in a moment")]
    Busy,
    /// Its outcome is not known here. Ask again with the same event id once the ledger goes on: a repeat is harmless.
    #[error("the ledger cannot write now: {reason}")]
    Stopped { reason: String },
}

/// An entry in its place, with all that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub leaf_index: LeafIndex,
    /// The canonical bytes whose hash is the leaf.
    pub entry: Vec<u8>,
    /// Evidential first.
    pub openings: Vec<Opening>,
    pub proof: InclusionProof,
    /// Published, and of the proof's size.
    pub checkpoint: SignedCheckpoint,
    /// The event was an entry before this command.
    pub repeated: bool,
}

impl Placed {
    /// The receipt: one proof file with the entry and its openings.
    ///
    /// # Errors
    /// [`ReceiptError`] when it would exceed a limit of the format.
    pub fn receipt(&self) -> Result<Receipt, ReceiptError> {
        let (proof, checkpoint) = (self.proof.clone(), self.checkpoint.clone());
        Receipt::build(&self.entry, &self.openings, proof, checkpoint)
    }
}

/// An entry in the database: what a person is shown may rest on it, a receipt never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    pub leaf_index: LeafIndex,
    /// The event was an entry before this command.
    pub repeated: bool,
}

/// An open ledger. Cheap to clone; the last clone's end ends its task.
#[derive(Debug, Clone)]
pub struct Ledger {
    requests: mpsc::Sender<Request>,
    reader: Reader,
    stopped: watch::Receiver<Option<String>>,
    outside: watch::Receiver<Outside>,
}

impl Ledger {
    /// Opens the ledger: takes it over from any earlier holder, finishes what a crash left unfinished, and on the first
    /// time writes `ledger.opened` and the log key's `key.published`.
    ///
    /// With SQLite the caller holds the lock on the data folder. With PostgreSQL it is one server of several: it takes the
    /// ledger over when no other one writes it, now or later, and hands its commands to the one that does until then.
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::CannotRecover`] says what a person has to do.
    pub async fn open(
        records: Records,
        objects: ObjectStore,
        options: LedgerOptions,
    ) -> Result<Self, LedgerError> {
        Self::open_witnessed(records, objects, options, LogWitnesses::default()).await
    }

    /// The same with log witnesses: none of them may know more than is published here, and each is asked to cosign what
    /// is published from now on.
    ///
    /// # Errors
    /// As [`Ledger::open`], and [`LedgerError::HeadNotConfirmed`].
    pub async fn open_witnessed(
        records: Records,
        objects: ObjectStore,
        options: LedgerOptions,
        witnesses: LogWitnesses,
    ) -> Result<Self, LedgerError> {
        let files = LedgerFiles::new(objects, options.origin.clone());
        let parts = Parts { records, files, options, witnesses };
        match parts.records.dialect() {
            Dialect::Sqlite => open::open(parts).await,
            Dialect::Postgres => servers::open(parts).await,
        }
    }

    /// The largest size of another history of this ledger that a log witness named when it was opened, and that a person
    /// has confirmed.
    pub fn known_outside(&self) -> Option<TreeSize> {
        self.outside.borrow().known
    }

    /// How it stands with each configured log witness; among several servers, at the one that writes.
    pub fn log_witnesses(&self) -> Vec<LogWitnessState> {
        let cosigning = self.outside.borrow().cosigning.clone();
        cosigning.map_or_else(Vec::new, |cosigning| cosigning.states())
    }

    /// Asks for an act; returns once its entry is under a published checkpoint.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn submit(&self, command: Command) -> Result<Placed, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.ask(command, Reply::Placed(reply), Hurry::Now)?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// The same for an act that nobody waits for, such as a derivative made in the background: it shares a batch with
    /// the next act that somebody waits for, or has one of its own after a moment, so that it holds up no receipt.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn submit_in_background(&self, command: Command) -> Result<Placed, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.ask(command, Reply::Placed(reply), Hurry::CanWait)?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Asks for an act; returns once its entry is durable in the database, before it is published: for a consultation,
    /// which must be recorded before its first byte is shown and should not wait for more (I13).
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn record(&self, command: Command) -> Result<Recorded, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.ask(command, Reply::Recorded(reply), Hurry::Now)?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    fn ask(&self, command: Command, reply: Reply, hurry: Hurry) -> Result<(), SubmitError> {
        let request = Request::Submit { command: Box::new(command), reply, hurry };
        self.requests.try_send(request).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => SubmitError::Busy,
            mpsc::error::TrySendError::Closed(_) => closed(),
        })
    }

    /// The newest published checkpoint.
    pub fn latest(&self) -> SignedCheckpoint {
        self.reader.latest()
    }

    /// The newest published checkpoint once `policy` accepts it, its quorum included; after `patience` the newest, whatever
    /// it rests on.
    pub async fn latest_accepted(&self, policy: &Policy, patience: Duration) -> SignedCheckpoint {
        let mut published = self.reader.published.clone();
        let accepted = published.wait_for(|newest| policy.accept(newest).is_ok());
        match tokio::time::timeout(patience, accepted).await {
            Ok(Ok(accepted)) => accepted.clone(),
            _ => self.latest(),
        }
    }

    /// The entry at an index with a proof under the newest checkpoint: a receipt, again.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchEntry`]; [`LedgerError::Damaged`] when what is stored does not prove it.
    pub async fn placed(&self, index: LeafIndex) -> Result<Placed, LedgerError> {
        self.reader.placed(index).await
    }

    /// The same under a given published checkpoint, so that several entries rest on one.
    ///
    /// # Errors
    /// As [`Ledger::placed`].
    pub async fn placed_under(
        &self,
        index: LeafIndex,
        checkpoint: &SignedCheckpoint,
    ) -> Result<Placed, LedgerError> {
        self.reader.placed_under(index, checkpoint).await
    }

    /// Reads entries in order from `from` on, waiting for those to come. Resumable: remember the next index.
    pub fn follow(&self, from: LeafIndex) -> Follower {
        Follower::new(self.reader.clone(), from)
    }

    /// Recomputes everything from the stored files and compares it with the checkpoint and the database.
    ///
    /// # Errors
    /// Only when it could not look; what it found is in the [`Audit`].
    pub async fn audit(&self) -> Result<Audit, LedgerError> {
        audit::audit(&self.reader).await
    }

    /// Writes checkpoint, tiles and entries as files into `folder`, named as C2SP tlog-tiles names them.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn export(&self, folder: &std::path::Path) -> Result<TreeSize, LedgerError> {
        export::export(&self.reader, folder).await
    }

    /// The bytes of a hash tile or of the checkpoint, by the path under the ledger's folder (`tile/0/…`,
    /// `checkpoint`). Entries and openings are not to be had here.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for what is not there or not public.
    pub async fn public_file(&self, path: &str) -> Result<bytes::Bytes, LedgerError> {
        self.reader.files.public(path).await
    }

    /// The notes about keys of this log that were replaced, the earliest first: public, so that whoever knows an older key
    /// finds the one in use.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn rotations(&self) -> Result<Vec<String>, LedgerError> {
        let to = self.reader.records.rotations_to(&self.reader.log_key).await?;
        Ok(to.into_iter().map(|rotation| rotation.note).collect())
    }

    /// A tile of hashes; the first of a wider one where that is left only.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn hash_tile(&self, path: &TilePath) -> Result<Vec<u8>, LedgerError> {
        self.reader.files.hash_tile(path).await
    }

    /// The records that this ledger writes.
    pub fn records(&self) -> &Records {
        &self.reader.records
    }

    /// Why the ledger writes no more, if so. It does not go on by itself: open it again, in a new process.
    pub fn stop_reason(&self) -> Option<String> {
        self.stopped.borrow().clone()
    }

    /// Waits until the ledger writes no more, and says why; also when it was closed. Reading goes on to work.
    pub fn stopped(&self) -> impl Future<Output = String> + Send + use<> {
        let mut stopped = self.stopped.clone();
        async move {
            let reason = stopped.wait_for(Option::is_some).await;
            reason.ok().and_then(|reason| reason.clone()).unwrap_or_else(|| CLOSED.to_owned())
        }
    }

    /// Finishes what is under way and takes no more.
    pub async fn close(&self) {
        let (done, finished) = oneshot::channel();
        if self.requests.send(Request::Close { done }).await.is_ok() {
            // The task may end without an answer only when it is closed already.
            let _ = finished.await;
        }
    }
}

/// Requests on their way to the task; with those that wait in the machine this bounds all that wait.
const QUEUE: usize = MAX_WAITING;

const CLOSED: &str = "the ledger was closed";

fn closed() -> SubmitError {
    SubmitError::Stopped { reason: CLOSED.to_owned() }
}

fn malformed(path: &str, error: Malformed) -> LedgerError {
    LedgerError::Malformed { path: path.to_owned(), reason: error.to_string() }
}

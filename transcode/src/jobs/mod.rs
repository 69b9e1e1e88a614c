//! The jobs: what the ledger says was received is probed, then gets its viewing copy, pictures and indexes.
//!
//! Here: the follower that turns entries into jobs, the runners that work on them in parallel, and what becomes of the
//! outcome: a derivative in the object store and `item.derived`, or `item.derivation-failed` with a reason people can
//! read. Not here: how a derivative is made (`supervise` and the worker).
//!
//! Invariant: an item and a recipe end in exactly one `item.derived`, or a failure, however often this process or its
//! workers are killed; restricted and quarantined items get neither. Jobs are working state: without them the ledger is
//! read again from its start, and what is there already is found by item and recipe. So are ranges of a long recording, which
//! are gone when what they are joined to is decided.

mod ask;
mod attempt;
mod follow;
mod in_ranges;
mod run;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chain_of_custody::digest::Sha256;
use chain_of_custody::ids::ItemId;
use storage::clock::Clock;
use storage::ledger::{Ledger, LedgerError, SubmitError};
use storage::objects::{ObjectStore, StoreError};
use storage::records::{NewJob, Records, RecordsError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::supervise::Supervisor;

pub use ask::{Answer, Asker};

/// How the follower is called in the records.
const FOLLOWER: &str = "transcode";
/// Kinds of jobs that a runner takes.
const PROBES: &str = "probe";
const FRONTS: &str = crate::recipe::FRONT;
const ALL: &str = "";
/// Runners look for jobs that have become due this often, if nobody wakes them.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After trouble with database or ledger the same is tried again this much later.
const TROUBLE_PAUSE: Duration = Duration::from_secs(2);
/// As much as receiving keeps free, unless told otherwise.
const FREE_SPACE_KEPT_BYTES: u64 = 1 << 30;

/// How jobs are worked on.
#[derive(Debug, Clone)]
pub struct JobOptions {
    /// Workers at the same time, and one more for probes and one for fronts.
    pub parallel: usize,
    /// Disk space that is always kept free: derivatives wait rather than take of what the ledger needs.
    pub free_space_kept_bytes: u64,
    /// A smaller viewing copy is made of everything, not only of what somebody asks it for.
    pub small_copies: bool,
}

impl Default for JobOptions {
    /// As many workers as there are cores.
    fn default() -> Self {
        let cores = std::thread::available_parallelism();
        let parallel = cores.map_or(1, std::num::NonZero::get);
        Self { parallel, free_space_kept_bytes: FREE_SPACE_KEPT_BYTES, small_copies: false }
    }
}

/// Why a step of a job could not be taken here and now. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// This server was away for too long.
    #[error("another server works on it now")]
    Lost,
    /// A program newer than this one asked for it; it is left to such a one.
    #[error("its recipe is not known here: a newer program makes it")]
    UnknownRecipe,
    /// Trouble of this machine, more than once; it stands in the log.
    #[error(
        "it could not be made here and now; it is tried again by a server, and the log says why"
    )]
    Waits,
    /// A record that our own code cannot have written.
    #[error("the record of item {item} is not readable: {what}")]
    Record { item: String, what: &'static str },
}

/// Whoever opens a ledger takes up what an earlier process left, before anything is made: on SQLite all that is said to be worked
/// on, on PostgreSQL what nobody has kept.
///
/// # Errors
/// [`RecordsError`].
pub async fn take_up(records: &Records, clock: &dyn Clock) -> Result<(), RecordsError> {
    for row in records.cut_off_jobs().await? {
        records.put_back_job(&row, clock.now()).await?;
    }
    Ok(())
}

/// The job that makes a smaller viewing copy of an item, for whoever asks for one. Whether there is something to play is found
/// by whoever works on it.
pub fn small_copy(item: ItemId) -> NewJob {
    follow::new_job(item, &crate::recipe::small_copy())
}

/// What follower and runners share.
#[derive(Debug)]
struct Shared {
    ledger: Ledger,
    objects: ObjectStore,
    supervisor: Supervisor,
    clock: Arc<dyn Clock>,
    free_space_kept_bytes: u64,
    small_copies: bool,
    /// Something may be due.
    wake: Notify,
    /// The first entry that nobody has taken note of.
    position: watch::Sender<u64>,
    /// How often a job was decided, so that whoever waits looks again.
    decided: watch::Sender<u64>,
    stopping: AtomicBool,
    /// The worker program that was kept last.
    kept: Mutex<Option<Sha256>>,
}

/// The running jobs. Dropping it ends all workers; their jobs are taken up again by the next start.
#[derive(Debug)]
pub struct Jobs {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Jobs {
    /// Follows the ledger, and makes what follows from it. After [`take_up`]. One at a time for a ledger: after [`Jobs::stop`]
    /// or a drop the ledger is closed before the next start, because an entry may still be on its way whose derivative
    /// would be taken for left behind, and removed.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn start(
        ledger: Ledger,
        objects: ObjectStore,
        supervisor: Supervisor,
        clock: Arc<dyn Clock>,
        options: JobOptions,
    ) -> Result<Self, JobsError> {
        let position = ledger.records().follower_position(FOLLOWER).await?;
        let mut shared =
            Shared::new(ledger, objects, supervisor, clock, options.free_space_kept_bytes);
        shared.small_copies = options.small_copies;
        shared.position.send_replace(position.0);
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow::follow(Arc::clone(&shared)));
        // However long the others take, what has come is looked at, and gets its front, so that what a browser plays can be watched at once.
        for at_once in [PROBES, FRONTS] {
            tasks.spawn(run::run_jobs(Arc::clone(&shared), at_once));
        }
        for _ in 0..options.parallel.max(1) {
            tasks.spawn(run::run_jobs(Arc::clone(&shared), ALL));
        }
        Ok(Self { shared, tasks })
    }

    /// Waits until every entry published so far has been taken note of and no job is left to do. Jobs that wait after
    /// trouble count as left.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn idle(&self) -> Result<(), JobsError> {
        let size = self.shared.ledger.latest().unverified().size.0;
        let mut position = self.shared.position.subscribe();
        let mut decided = self.shared.decided.subscribe();
        // Both senders live as long as `self`.
        let _ = position.wait_for(|next| *next >= size).await;
        loop {
            decided.borrow_and_update();
            if self.shared.records().open_jobs().await? == 0 {
                return Ok(());
            }
            let _ = tokio::time::timeout(LOOK_EVERY, decided.changed()).await;
        }
    }

    /// Ends all workers and takes no new jobs. What was cut off is taken up by the next start.
    pub async fn stop(mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.tasks.shutdown().await;
    }
}

impl Shared {
    fn new(
        ledger: Ledger,
        objects: ObjectStore,
        supervisor: Supervisor,
        clock: Arc<dyn Clock>,
        free_space_kept_bytes: u64,
    ) -> Self {
        Self {
            ledger,
            objects,
            supervisor,
            clock,
            free_space_kept_bytes,
            small_copies: false,
            wake: Notify::new(),
            position: watch::Sender::new(0),
            decided: watch::Sender::new(0),
            stopping: AtomicBool::new(false),
            kept: Mutex::default(),
        }
    }

    fn records(&self) -> &Records {
        self.ledger.records()
    }

    /// Keeps the worker program, so that what it made can be made again with it. One that was exchanged meanwhile is not there to
    /// be kept.
    async fn keep_program(&self, digest: Option<Sha256>) -> Result<(), JobsError> {
        let Some(digest) = digest else { return Ok(()) };
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if *kept() == Some(digest) {
            return Ok(());
        }
        let Some(program) = self.supervisor.program_bytes(digest).await else { return Ok(()) };
        if self.ledger.kept_program(digest).await?.is_none() {
            attempt::check_room(self, program.len() as u64)?;
            self.ledger.keep_program(program).await?;
        }
        *kept() = Some(digest);
        Ok(())
    }

    fn job_decided(&self) {
        self.decided.send_modify(|count| *count += 1);
    }
}

//! The ledger's log witnesses: each published checkpoint goes to them, cosignatures that hold are kept and published,
//! and who was away is caught up with (docs/formats/log-witness.md).
//!
//! The one invariant to keep: a log witness can add to what a checkpoint rests on and can say that it knows another
//! history; it can hold nothing back for longer than [`COSIGNATURE_PATIENCE`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chain_of_custody::checkpoint::{Checkpoint, SignedCheckpoint};
use chain_of_custody::ids::TreeSize;
use chain_of_custody::log_witness::{AddCheckpoint, Answer, Heard, read_answer};
use chain_of_custody::merkle::{ConsistencyProof, EMPTY_ROOT};
use chain_of_custody::note::{SignatureLine, VerifierKey};
use chain_of_custody::time::Timestamp;
use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{LedgerError, LedgerOptions, Reader};
use crate::records::Records;

/// How long whoever waits for an entry waits for cosignatures on top. A log witness that is slower is not waited for
/// again until it answers in this time.
pub const COSIGNATURE_PATIENCE: Duration = Duration::from_millis(500);
/// Log witnesses of one ledger: with the log's own line this is all that a note may carry.
pub const MAX_LOG_WITNESSES: usize = 15;
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a start waits to hear whether somebody outside knows more than we do.
const START_PATIENCE: Duration = Duration::from_secs(3);
/// The newest checkpoint is sent again after this time without a newer one.
const HEARTBEAT: Duration = Duration::from_secs(15 * 60);
/// Pauses after a failure: the first, and the longest. Each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Requests for one checkpoint: the first may be answered with the size to prove from.
const MAX_ROUNDS: usize = 3;

/// The way to one log witness. How requests travel is for whoever implements it.
pub trait LogWitness: std::fmt::Debug + Send + Sync {
    /// The key that its cosignatures are checked against.
    fn key(&self) -> &VerifierKey;

    /// Sends the body of one `add-checkpoint` request. Gives the answer, whatever it says, or why there is none.
    fn add_checkpoint(&self, body: String) -> BoxFuture<'_, Result<Answer, String>>;
}

/// Whom a ledger asks for cosignatures.
#[derive(Debug, Clone, Default)]
pub struct LogWitnesses {
    /// At most [`MAX_LOG_WITNESSES`], each with its own key.
    pub ways: Vec<Arc<dyn LogWitness>>,
    /// The largest size known outside, as a person has just confirmed it. What was confirmed before is in the ledger.
    pub confirmed: Option<TreeSize>,
}

/// How it stands with one log witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogWitnessState {
    pub name: String,
    /// Its verifier key.
    pub key: String,
    /// The last cosignature that was kept.
    pub cosigned: Option<LastCosignature>,
    /// Why there is none of the newest checkpoint, if so.
    pub trouble: Option<Trouble>,
}

/// A cosignature that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LastCosignature {
    pub size: TreeSize,
    /// By the log witness's clock.
    pub time_unix_s: u64,
}

/// What is wrong with a log witness, or between it and us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    pub since: Timestamp,
    pub reason: String,
    /// It knows another history of this ledger than we hold: somebody has to find out why.
    pub other_history: bool,
}

/// Why a checkpoint was not cosigned.
#[derive(Debug)]
struct NotCosigned {
    reason: String,
    other_history: bool,
}

/// The ledger's side while it is open. Dropped, it asks nobody any more.
#[derive(Debug)]
pub(super) struct Cosigning {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

/// What the tasks and those who ask how it stands share.
#[derive(Debug)]
pub(super) struct Shared {
    witnesses: Vec<Watched>,
    /// The newest published checkpoint, without cosignatures: what is to be cosigned.
    wanted: watch::Sender<SignedCheckpoint>,
    gathered: Mutex<Gathered>,
    /// Counts outcomes, for whoever waits for them.
    outcomes: watch::Sender<u64>,
    /// Where the newest checkpoint is shown from; gone when the ledger is closed.
    publisher: Weak<watch::Sender<SignedCheckpoint>>,
    reader: Reader,
    options: LedgerOptions,
}

/// The newest checkpoint with the cosignatures so far.
#[derive(Debug)]
struct Gathered {
    checkpoint: SignedCheckpoint,
    /// Whether others see it already; until then the sequencer waits for more.
    shown: bool,
}

#[derive(Debug)]
struct Watched {
    way: Arc<dyn LogWitness>,
    /// It did not answer in time the last time: nobody waits for it.
    away: AtomicBool,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    /// What we believe it cosigned last.
    holds: TreeSize,
    /// The size of the last checkpoint for which there was an outcome.
    settled: TreeSize,
    cosigned: Option<LastCosignature>,
    trouble: Option<Trouble>,
}

impl Cosigning {
    /// Begins to ask for cosignatures of `latest` and of what is published after it.
    pub(super) fn begin(
        witnesses: &LogWitnesses,
        latest: SignedCheckpoint,
        publisher: &Arc<watch::Sender<SignedCheckpoint>>,
        reader: Reader,
        options: LedgerOptions,
    ) -> Option<Self> {
        if witnesses.ways.is_empty() {
            return None;
        }
        let watched = |way: &Arc<dyn LogWitness>| Watched::new(Arc::clone(way), &latest);
        let published = reader.published.clone();
        let shared = Arc::new(Shared {
            witnesses: witnesses.ways.iter().map(watched).collect(),
            wanted: watch::Sender::new(latest.bare()),
            gathered: Mutex::new(Gathered { checkpoint: latest, shown: true }),
            outcomes: watch::Sender::new(0),
            publisher: Arc::downgrade(publisher),
            reader,
            options,
        });
        let mut tasks = JoinSet::new();
        for index in 0..shared.witnesses.len() {
            let shared = Arc::clone(&shared);
            tasks.spawn(async move { shared.attend(&shared.witnesses[index]).await });
        }
        let republishing = Arc::clone(&shared);
        tasks.spawn(async move { republishing.republish(published).await });
        Some(Self { shared, _tasks: tasks })
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Asks for cosignatures of a checkpoint that was just published, waits a short time for those that come at once,
    /// shows it to others with what came, and returns it so.
    pub(super) async fn gather(&self, published: &SignedCheckpoint) -> SignedCheckpoint {
        let shared = &self.shared;
        *shared.gathered() = Gathered { checkpoint: published.clone(), shown: false };
        let mut outcomes = shared.outcomes.subscribe();
        shared.wanted.send_replace(published.clone());
        let size = published.unverified().size;
        let enough = outcomes.wait_for(|_| shared.unsettled(size).next().is_none());
        if timeout(COSIGNATURE_PATIENCE, enough).await.is_err() {
            for slow in shared.unsettled(size) {
                slow.away.store(true, Ordering::SeqCst);
                tracing::warn!(log_witness = %slow.way.key().name(), "not waited for any more until it answers");
            }
        }
        let mut gathered = shared.gathered();
        gathered.shown = true;
        shared.show(&gathered.checkpoint);
        gathered.checkpoint.clone()
    }
}

impl Shared {
    /// How it stands with each log witness.
    pub(super) fn states(&self) -> Vec<LogWitnessState> {
        self.witnesses.iter().map(Watched::state).collect()
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that are waited for and have no outcome for a checkpoint of this size yet.
    fn unsettled(&self, size: TreeSize) -> impl Iterator<Item = &Watched> {
        let is_waited_for = |watched: &&Watched| !watched.away.load(Ordering::SeqCst);
        self.witnesses.iter().filter(is_waited_for).filter(move |w| w.memory().settled < size)
    }

    fn show(&self, checkpoint: &SignedCheckpoint) {
        if let Some(publisher) = self.publisher.upgrade() {
            publisher.send_replace(checkpoint.clone());
        }
    }

    /// Asks one log witness for every newest checkpoint, for ever.
    async fn attend(&self, watched: &Watched) {
        let mut wanted = self.wanted.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            let checkpoint = wanted.borrow_and_update().clone();
            let begun = Instant::now();
            match self.obtain(watched, &checkpoint).await {
                Ok((line, time_unix_s)) => {
                    watched.away.store(begun.elapsed() > COSIGNATURE_PATIENCE, Ordering::SeqCst);
                    self.keep(watched, &checkpoint, line, time_unix_s);
                    pause = FIRST_PAUSE;
                    tokio::select! {
                        _ = wanted.changed() => {}
                        () = sleep(HEARTBEAT) => {}
                    }
                }
                Err(failed) => {
                    watched.away.store(true, Ordering::SeqCst);
                    if failed.other_history {
                        pause = LONGEST_PAUSE;
                    }
                    watched.note_trouble(failed, &self.options);
                    self.settled(watched, &checkpoint);
                    sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
    }

    fn settled(&self, watched: &Watched, checkpoint: &SignedCheckpoint) {
        watched.memory().settled = checkpoint.unverified().size;
        self.outcomes.send_modify(|count| *count += 1);
    }

    /// A cosignature that holds: kept with the newest checkpoint if it is of that one.
    fn keep(
        &self,
        watched: &Watched,
        checkpoint: &SignedCheckpoint,
        line: SignatureLine,
        time_unix_s: u64,
    ) {
        let size = checkpoint.unverified().size;
        watched.note_cosignature(LastCosignature { size, time_unix_s });
        {
            let mut gathered = self.gathered();
            if gathered.checkpoint.unverified() == checkpoint.unverified() {
                if let Err(error) = gathered.checkpoint.set_cosignature(line) {
                    tracing::error!("a cosignature does not fit on the checkpoint: {error}");
                }
                if gathered.shown {
                    self.show(&gathered.checkpoint);
                }
            }
        }
        self.settled(watched, checkpoint);
    }

    /// One cosignature of `checkpoint`, with a proof from wherever the log witness stands.
    async fn obtain(
        &self,
        watched: &Watched,
        checkpoint: &SignedCheckpoint,
    ) -> Result<(SignatureLine, u64), NotCosigned> {
        let size = checkpoint.unverified().size;
        let mut old = watched.memory().holds.min(size);
        for _ in 0..MAX_ROUNDS {
            let proof = self.reader.prove_growth(old, size).await;
            let proof = proof.map_err(|e| NotCosigned::because(&e))?;
            match watched.ask(proof, checkpoint, REQUEST_TIMEOUT).await? {
                Heard::Cosigned { line, time_unix_s } => return Ok((line, time_unix_s)),
                Heard::Holds(held) if held > size => return Err(NotCosigned::ahead(held, size)),
                Heard::Holds(held) => old = held,
                Heard::OtherHistory => return Err(NotCosigned::other_history(old)),
            }
        }
        Err(NotCosigned::because(&"it names another size each time it is asked"))
    }

    /// Writes the newest checkpoint again whenever it has gained cosignatures.
    async fn republish(&self, mut published: watch::Receiver<SignedCheckpoint>) {
        while published.changed().await.is_ok() {
            let newest = published.borrow_and_update().clone();
            if newest.note().signatures().len() < 2 {
                continue;
            }
            if let Err(error) = self.reader.files.publish(&newest).await {
                // A newer one may stand there by now.
                tracing::debug!("the cosigned checkpoint was not published: {error}");
            }
        }
    }
}

impl Watched {
    fn new(way: Arc<dyn LogWitness>, latest: &SignedCheckpoint) -> Self {
        let line = |line: &SignatureLine| latest.cosigned_at(line, way.key());
        let cosigned = latest.note().signatures().iter().find_map(line);
        let size = latest.unverified().size;
        let memory = Memory {
            holds: TreeSize(0),
            settled: TreeSize(0),
            cosigned: cosigned.map(|time_unix_s| LastCosignature { size, time_unix_s }),
            trouble: None,
        };
        Self { way, away: AtomicBool::new(false), memory: Mutex::new(memory) }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> LogWitnessState {
        let key = self.way.key();
        let memory = self.memory();
        LogWitnessState {
            name: key.name().to_string(),
            key: key.to_string(),
            cosigned: memory.cosigned,
            trouble: memory.trouble.clone(),
        }
    }

    async fn ask(
        &self,
        proof: ConsistencyProof,
        checkpoint: &SignedCheckpoint,
        patience: Duration,
    ) -> Result<Heard, NotCosigned> {
        let old = proof.old;
        let request =
            AddCheckpoint::new(proof, checkpoint.bare()).map_err(|e| NotCosigned::because(&e))?;
        let answer = timeout(patience, self.way.add_checkpoint(request.to_string())).await;
        let answer = answer.map_err(|_| NotCosigned::because(&"it does not answer in time"))?;
        let answer = answer.map_err(|e| NotCosigned::because(&e))?;
        read_answer(&answer, old, checkpoint, self.way.key()).map_err(|e| NotCosigned::because(&e))
    }

    fn note_cosignature(&self, cosignature: LastCosignature) {
        let mut memory = self.memory();
        memory.holds = cosignature.size;
        memory.cosigned = Some(cosignature);
        if memory.trouble.take().is_some() {
            tracing::info!(log_witness = %self.way.key().name(), size = cosignature.size.0, "it cosigns again");
        }
    }

    fn note_trouble(&self, failed: NotCosigned, options: &LedgerOptions) {
        let NotCosigned { reason, other_history } = failed;
        let (name, origin) = (self.way.key().name(), &options.origin);
        if other_history {
            tracing::error!(log_witness = %name, "ANOTHER HISTORY of {origin} is known outside: {reason}. Was a backup put back, or is the log key used elsewhere? Find out before anything is handed over");
        } else {
            tracing::warn!(log_witness = %name, "no cosignature: {reason}");
        }
        let mut memory = self.memory();
        // Where it stands is not known any more: it says so when it is asked from the beginning.
        memory.holds = TreeSize(0);
        let before = memory.trouble.take().filter(|t| t.other_history == other_history);
        let since = before.map_or_else(|| options.clock.now(), |trouble| trouble.since);
        memory.trouble = Some(Trouble { since, reason, other_history });
    }
}

impl NotCosigned {
    fn because(reason: &dyn std::fmt::Display) -> Self {
        Self { reason: reason.to_string(), other_history: false }
    }

    fn ahead(held: TreeSize, ours: TreeSize) -> Self {
        let reason = format!("it cosigned {held} entries, and the ledger here has {ours}");
        Self { reason, other_history: true }
    }

    fn other_history(old: TreeSize) -> Self {
        let reason = format!("the {old} entries that it cosigned are not the first {old} here");
        Self { reason, other_history: true }
    }
}

/// Asks every log witness, before anything is signed, whether it knows more of this ledger than is published here: then
/// an older copy was put back, or somebody else signs with our key. One that does not answer is passed over. Gives the
/// largest size of another history that is known outside and confirmed here.
///
/// # Errors
/// [`LedgerError::HeadNotConfirmed`].
pub(super) async fn confirm_head(
    witnesses: &LogWitnesses,
    published: Option<&SignedCheckpoint>,
    records: &Records,
    options: &LedgerOptions,
) -> Result<Option<TreeSize>, LedgerError> {
    let mut confirmed = None;
    if witnesses.ways.is_empty() {
        return Ok(confirmed);
    }
    let head = match published {
        Some(published) => published.bare(),
        None => Checkpoint { origin: options.origin.clone(), size: TreeSize(0), root: EMPTY_ROOT }
            .sign(options.signer.as_ref())
            .map_err(|e| LedgerError::Stopped(e.to_string()))?,
    };
    let asked = witnesses.ways.iter().map(|way| known_outside(way, &head));
    for (way, known) in witnesses.ways.iter().zip(join_all(asked).await) {
        let name = way.key().name();
        match known {
            Ok(known) => {
                if Some(known) > witnesses.confirmed.max(Some(records.confirmed_size().await?)) {
                    let (witness, ours) = (name.to_string(), head.unverified().size);
                    return Err(LedgerError::HeadNotConfirmed { witness, known, ours });
                }
                tracing::warn!(log_witness = %name, "it knows {known} entries of another history, as was confirmed");
                confirmed = confirmed.max(Some(known));
            }
            Err(Unknown::Nothing) => {}
            Err(Unknown::NoAnswer(reason)) => {
                tracing::warn!(log_witness = %name, "not asked whether it knows more: {reason}");
            }
        }
    }
    Ok(confirmed)
}

/// Why there is no size of another history.
enum Unknown {
    /// It knows nothing that contradicts us.
    Nothing,
    NoAnswer(String),
}

/// The size of another history that a log witness knows.
async fn known_outside(
    way: &Arc<dyn LogWitness>,
    head: &SignedCheckpoint,
) -> Result<TreeSize, Unknown> {
    let (watched, size) = (Watched::new(Arc::clone(way), head), head.unverified().size);
    let ask = async |old: TreeSize| {
        let proof = ConsistencyProof { old, new: size, path: Vec::new() };
        let heard = watched.ask(proof, head, START_PATIENCE).await;
        heard.map_err(|e| Unknown::NoAnswer(e.reason))
    };
    match ask(TreeSize(0)).await? {
        Heard::Holds(held) if held > size => Ok(held),
        Heard::Holds(held) if held == size => match ask(size).await? {
            Heard::OtherHistory => Ok(size),
            _ => Err(Unknown::Nothing),
        },
        _ => Err(Unknown::Nothing),
    }
}

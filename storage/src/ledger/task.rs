//! The task that executes the sequencer's effects, one durable step after the other, and answers the waiters.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chain_of_custody::checkpoint::{Checkpoint, SignedCheckpoint};
use chain_of_custody::command::Command;
use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::note::NoteError;
use chain_of_custody::sequencer::{
    Decision, Done, Effect, Epoch, Grown, Input, MAX_BATCH_COMMANDS, Sequencer, Ticket,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::cosign::Cosigning;
use super::files::LedgerFiles;
use super::jump::{self, ClockWatch};
use super::{LedgerOptions, Placed, Reader, Recorded, SubmitError};
use crate::failpoint;
use crate::records::{CommitError, Records};

/// How long a batch waits for those who were answered a moment ago and are about to ask again. Without it they would
/// split into two groups that take turns, each waiting for both.
const LINGER: Duration = Duration::from_millis(1);

/// How long those who wait for a signature are kept waiting while the key cannot be used, and how often it is tried.
const SIGNING_PATIENCE: Duration = Duration::from_secs(5);
const SIGNING_PAUSE: Duration = Duration::from_millis(250);

/// How long an act that nobody waits for waits for a batch that somebody does wait for. Each batch costs the device a
/// dozen syncs, and holds up whoever comes while it is under way.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long nobody asks before what is published is recorded as such without waiting for the next batch.
const REST: Duration = Duration::from_millis(50);

/// Whether somebody waits for an act's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hurry {
    Now,
    /// It goes with the next batch, which begins within [`PATIENCE`].
    CanWait,
}

/// Who waits, and for how much.
#[derive(Debug)]
pub(super) enum Reply {
    /// For the entry under a published checkpoint.
    Placed(oneshot::Sender<Result<Placed, SubmitError>>),
    /// For the entry in the database.
    Recorded(oneshot::Sender<Result<Recorded, SubmitError>>),
}

impl Reply {
    /// Whoever asked may have left; what was done stands all the same.
    fn refuse(self, error: SubmitError) {
        match self {
            Self::Placed(reply) => drop(reply.send(Err(error))),
            Self::Recorded(reply) => drop(reply.send(Err(error))),
        }
    }
}

/// What others want of the task.
#[derive(Debug)]
pub(super) enum Request {
    Submit { command: Box<Command>, reply: Reply, hurry: Hurry },
    Close { done: oneshot::Sender<()> },
}

/// The machine with its hands.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) machine: Sequencer,
    records: Records,
    files: LedgerFiles,
    options: LedgerOptions,
    waiters: HashMap<Ticket, Reply>,
    next_ticket: u64,
    /// Why the machine stands still, once it does.
    stopped: watch::Sender<Option<String>>,
    /// Once others can read.
    showing: Option<Showing>,
    /// When what waits has waited long enough.
    begin_by: Option<Instant>,
    /// How many are about to ask, or wait already, when a batch has been answered: those it answered and those who came
    /// while it was under way.
    expected: usize,
    clock: ClockWatch,
    /// Clearing away what the last batch made superfluous.
    clearing: Option<JoinHandle<()>>,
}

/// What others see of the ledger.
#[derive(Debug)]
pub(super) struct Showing {
    /// Where they learn of a new checkpoint.
    pub(super) publisher: Arc<watch::Sender<SignedCheckpoint>>,
    /// What repeats are answered from.
    pub(super) reader: Reader,
    /// Who is asked for cosignatures, if anybody is configured.
    pub(super) cosigning: Option<Cosigning>,
}

impl Showing {
    /// Shows a checkpoint that stands, with the cosignatures that came at once; one that is shown already stays as it is.
    async fn show(&self, checkpoint: SignedCheckpoint) -> SignedCheckpoint {
        let size = checkpoint.unverified().size;
        if self.publisher.borrow().unverified().size >= size {
            return checkpoint;
        }
        match &self.cosigning {
            Some(cosigning) => cosigning.gather(&checkpoint).await,
            None => {
                self.publisher.send_replace(checkpoint.clone());
                checkpoint
            }
        }
    }
}

impl Task {
    pub(super) fn new(
        machine: Sequencer,
        records: Records,
        files: LedgerFiles,
        options: LedgerOptions,
        clock: ClockWatch,
    ) -> Self {
        Self {
            machine,
            records,
            files,
            options,
            waiters: HashMap::new(),
            next_ticket: 0,
            stopped: watch::Sender::new(None),
            showing: None,
            begin_by: None,
            expected: 0,
            clock,
            clearing: None,
        }
    }

    /// Where others learn why the machine stands still, if it does.
    pub(super) fn stopped(&self) -> watch::Receiver<Option<String>> {
        self.stopped.subscribe()
    }

    /// Serves requests until it is closed or nobody can ask any more.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>, showing: Showing) {
        self.showing = Some(showing);
        while let Some(closing) = self.wait_for_work(&mut requests).await {
            let closing = match closing {
                None => self.gather_more(&mut requests).await,
                closing => closing,
            };
            self.begin().await;
            if let Some(done) = closing {
                return self.end(requests, done).await;
            }
        }
    }

    /// Returns when it is time for a batch, with whoever asked for the end; nothing when nobody can ask any more.
    async fn wait_for_work(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Option<Option<oneshot::Sender<()>>> {
        loop {
            let next = match self.begin_by {
                None if self.machine.is_unrecorded() => {
                    match timeout_at(Instant::now() + REST, requests.recv()).await {
                        Ok(Some(next)) => next,
                        Ok(None) | Err(_) => {
                            self.rest().await;
                            continue;
                        }
                    }
                }
                None => requests.recv().await?,
                Some(due) if due <= Instant::now() => return Some(None),
                Some(due) => match timeout_at(due, requests.recv()).await {
                    Ok(next) => next?,
                    Err(_) => return Some(None),
                },
            };
            match next {
                Request::Submit { command, reply, hurry } => self.accept(*command, reply, hurry),
                Request::Close { done } => return Some(Some(done)),
            }
        }
    }

    async fn end(mut self, mut requests: mpsc::Receiver<Request>, done: oneshot::Sender<()>) {
        while self.machine.waiting() > 0 {
            self.begin().await;
        }
        self.rest().await;
        requests.close();
        self.end_clearing().await;
        // Whoever asked for the end may have left.
        let _ = done.send(());
    }

    /// Hands a command to the machine; the answer comes when its batch is done.
    pub(super) fn ask(
        &mut self,
        command: Command,
    ) -> oneshot::Receiver<Result<Placed, SubmitError>> {
        let (reply, answer) = oneshot::channel();
        self.accept(command, Reply::Placed(reply), Hurry::Now);
        answer
    }

    /// Begins a batch of what waits and sees it through.
    pub(super) async fn begin(&mut self) {
        if self.machine.waiting() > 0 {
            self.watch_the_clock();
        }
        let effects = self.machine.step(Input::Begin);
        self.settle(VecDeque::from(effects)).await;
        self.begin_by = (self.machine.waiting() > 0).then(Instant::now);
    }

    async fn rest(&mut self) {
        let effects = self.machine.step(Input::Rest);
        self.settle(VecDeque::from(effects)).await;
    }

    /// Executes effects until none is left.
    pub(super) async fn settle(&mut self, mut effects: VecDeque<Effect>) {
        while let Some(effect) = effects.pop_front() {
            if let Some(input) = self.execute(effect).await {
                effects.extend(self.machine.step(input));
            }
        }
    }

    fn accept(&mut self, command: Command, reply: Reply, hurry: Hurry) {
        let due = match hurry {
            Hurry::Now => Instant::now(),
            Hurry::CanWait => Instant::now() + PATIENCE,
        };
        self.begin_by = Some(self.begin_by.map_or(due, |earlier| earlier.min(due)));
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiters.insert(ticket, reply);
        for effect in self.machine.step(Input::Asked(ticket, command)) {
            self.tell(effect);
        }
    }

    /// Takes what waits, and what comes within a moment, as many as the last batch answered.
    async fn gather_more(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Option<oneshot::Sender<()>> {
        let (enough, deadline) = (self.expected.min(MAX_BATCH_COMMANDS), Instant::now() + LINGER);
        while self.machine.waiting() < MAX_BATCH_COMMANDS {
            let next = match requests.try_recv() {
                Ok(request) => Some(request),
                Err(_) if self.machine.waiting() >= enough => None,
                Err(_) => timeout_at(deadline, requests.recv()).await.ok().flatten(),
            };
            match next {
                Some(Request::Submit { command, reply, hurry }) => {
                    self.accept(*command, reply, hurry);
                }
                Some(Request::Close { done }) => return Some(done),
                None => return None,
            }
        }
        None
    }

    /// Before each batch: a jump becomes an entry of the batch that is the first to bear the new time.
    fn watch_the_clock(&mut self) {
        let Some(seconds) = self.clock.notice(self.options.clock.now(), Instant::now()) else {
            return;
        };
        tracing::error!(seconds, "the clock has jumped; the times in the ledger do from here on");
        if let Some(command) = jump::jumped(self.options.origin.as_str(), seconds) {
            // Nobody waits for it.
            drop(self.ask(command));
        }
    }

    /// Does one effect; a durable one gives the next input.
    async fn execute(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Commit { epoch, from, commands } => {
                Some(self.commit(epoch, from, &commands).await)
            }
            Effect::WriteFiles { grown } => Some(self.write_files(&grown).await),
            Effect::StoreCheckpoint { epoch, checkpoint } => {
                Some(self.store_checkpoint(epoch, &checkpoint).await)
            }
            Effect::Publish { checkpoint } => Some(self.publish(&checkpoint).await),
            Effect::RecordPublished { epoch, size } => Some(self.record(epoch, size).await),
            mut told => {
                if let Effect::Answer { checkpoint: Some(checkpoint), .. } = &mut told
                    && let Some(showing) = &self.showing
                {
                    *checkpoint = showing.show(checkpoint.clone()).await;
                }
                let grown = match &told {
                    Effect::Answer { grown, .. } => grown.clone(),
                    _ => None,
                };
                self.tell(told);
                if let Some(grown) = grown {
                    self.clear_superseded(&grown).await;
                }
                None
            }
        }
    }

    /// After the answers and beside the next batch: nobody waits for this, unless it is slower than the batches.
    async fn clear_superseded(&mut self, grown: &Grown) {
        self.end_clearing().await;
        let (files, from, to) = (self.files.clone(), grown.from, grown.to);
        let clearing = async move { files.clear_superseded(from, to).await };
        self.clearing = Some(tokio::spawn(clearing));
    }

    async fn end_clearing(&mut self) {
        let Some(clearing) = self.clearing.take() else { return };
        if let Err(error) = clearing.await {
            tracing::warn!("clearing superseded partial files ended early: {error}");
        }
    }

    async fn commit(&self, epoch: Epoch, from: TreeSize, commands: &[Command]) -> Input {
        let at = self.options.clock.now();
        match self.records.commit_batch(epoch, from, commands, at).await {
            Ok(decided) => {
                failpoint::hit("entries-committed");
                Input::Done(Done::Committed(decided))
            }
            Err(CommitError::NotWritten(error)) => Input::NotCommitted(error.to_string()),
            Err(error) => Input::Failed(error.to_string()),
        }
    }

    async fn write_files(&self, grown: &Grown) -> Input {
        match self.files.write(&grown.files).await {
            Ok(()) => {
                failpoint::hit("tiles-written");
                Input::Done(Done::FilesWritten)
            }
            Err(error) => Input::Failed(error.to_string()),
        }
    }

    async fn store_checkpoint(&self, epoch: Epoch, checkpoint: &Checkpoint) -> Input {
        let signed = match self.sign(checkpoint).await {
            Ok(signed) => signed,
            Err(error) => return Input::Failed(error),
        };
        let size = checkpoint.size;
        match self.records.store_checkpoint(epoch, size, &signed.to_string()).await {
            Ok(kept) => match kept.parse() {
                Ok(kept) => {
                    failpoint::hit("checkpoint-stored");
                    Input::Done(Done::CheckpointStored(kept))
                }
                Err(error) => Input::Failed(error.to_string()),
            },
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

    async fn publish(&self, checkpoint: &SignedCheckpoint) -> Input {
        match self.files.publish(checkpoint).await {
            Ok(()) => {
                failpoint::hit("published");
                Input::Done(Done::Published)
            }
            Err(error) => Input::Failed(error.to_string()),
        }
    }

    async fn record(&self, epoch: Epoch, size: TreeSize) -> Input {
        match self.records.record_published(epoch, size).await {
            Ok(()) => {
                failpoint::hit("recorded");
                Input::Done(Done::Recorded)
            }
            Err(error) => Input::Failed(error.to_string()),
        }
    }

    /// Tells the waiters.
    fn tell(&mut self, effect: Effect) {
        match effect {
            Effect::Answer { decisions, grown, checkpoint } => {
                self.expected = decisions.len() + self.machine.waiting();
                for (ticket, decision) in decisions {
                    self.answer(ticket, decision, grown.as_deref(), checkpoint.as_ref());
                }
            }
            Effect::Committed { decisions } => self.answer_recorded(decisions),
            Effect::GiveUp { tickets, reason } => {
                tracing::error!(commands = tickets.len(), "nothing was written: {reason}");
                self.answer_all(tickets, &reason);
            }
            Effect::TurnAway(ticket) => self.refuse(ticket, SubmitError::Busy),
            Effect::Stop { tickets, reason } => {
                self.stopped.send_if_modified(|stopped| {
                    let first = stopped.is_none();
                    if first {
                        tracing::error!("the ledger stopped: {reason}");
                        *stopped = Some(reason.clone());
                    }
                    first
                });
                self.answer_all(tickets, &reason);
            }
            other => unreachable!("a durable effect is executed, not told: {other:?}"),
        }
    }

    /// Those who wait for the database only.
    fn answer_recorded(&mut self, decisions: Vec<(Ticket, Decision)>) {
        for (ticket, decision) in decisions {
            if matches!(self.waiters.get(&ticket), Some(Reply::Recorded(_))) {
                self.answer(ticket, decision, None, None);
            }
        }
    }

    fn answer(
        &mut self,
        ticket: Ticket,
        decision: Decision,
        grown: Option<&Grown>,
        checkpoint: Option<&SignedCheckpoint>,
    ) {
        let (index, repeated) = match decision {
            Decision::Refused(refusal) => return self.refuse(ticket, refusal.into()),
            Decision::Placed(leaf_index) => (leaf_index, false),
            Decision::Repeated(leaf_index) => (leaf_index, true),
        };
        let Some(reply) = self.waiters.remove(&ticket) else { return };
        let reply = match reply {
            Reply::Placed(reply) => reply,
            Reply::Recorded(reply) => {
                return drop(reply.send(Ok(Recorded { leaf_index: index, repeated })));
            }
        };
        match grown.zip(checkpoint).and_then(|(g, c)| placed(g, c, index, repeated)) {
            // Whoever asked may have left; what was done stands all the same.
            Some(placed) => drop(reply.send(Ok(placed))),
            None => self.answer_from_store(reply, index),
        }
    }

    /// An entry of an earlier batch: read beside the next one.
    fn answer_from_store(
        &self,
        reply: oneshot::Sender<Result<Placed, SubmitError>>,
        index: LeafIndex,
    ) {
        let Some(showing) = &self.showing else { return };
        let reader = showing.reader.clone();
        tokio::spawn(async move {
            let stopped = |e: super::LedgerError| SubmitError::Stopped { reason: e.to_string() };
            // Whoever asked may have left.
            let _ = reply.send(reader.placed(index).await.map_err(stopped));
        });
    }

    fn answer_all(&mut self, tickets: Vec<Ticket>, reason: &str) {
        for ticket in tickets {
            self.refuse(ticket, SubmitError::Stopped { reason: reason.to_owned() });
        }
    }

    fn refuse(&mut self, ticket: Ticket, error: SubmitError) {
        if let Some(reply) = self.waiters.remove(&ticket) {
            reply.refuse(error);
        }
    }
}

fn placed(
    grown: &Grown,
    checkpoint: &SignedCheckpoint,
    index: LeafIndex,
    repeated: bool,
) -> Option<Placed> {
    let entry: &Arc<_> = grown.entry(index)?;
    Some(Placed {
        leaf_index: index,
        entry: entry.bytes.clone(),
        openings: entry.openings.clone(),
        proof: grown.prove(index)?,
        checkpoint: checkpoint.clone(),
        repeated,
    })
}

//! The task that executes the sequencer's effects, one durable step after the other, and answers the waiters.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::command::Command;
use chain_of_custody::sequencer::{Effect, Grown, Input, MAX_BATCH_COMMANDS, Sequencer, Ticket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::cosign::Cosigning;
use super::files::LedgerFiles;
use super::jump::{self, ClockWatch};
use super::servers::Lease;
use super::{LedgerOptions, Placed, Reader, Recorded, SubmitError};
use crate::records::{CommandRow, Records};

/// How long a batch waits for those who were answered a moment ago and are about to ask again. Without it they would
/// split into two groups that take turns, each waiting for both.
const LINGER: Duration = Duration::from_millis(1);

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
    /// Nobody here: the command came from the table of commands, where its outcome is written with its entry.
    Row(CommandRow),
}

impl Reply {
    /// Whoever asked may have left; what was done stands all the same.
    pub(super) fn refuse(self, error: SubmitError) {
        match self {
            Self::Placed(reply) => drop(reply.send(Err(error))),
            Self::Recorded(reply) => drop(reply.send(Err(error))),
            Self::Row(_) => {}
        }
    }
}

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) reply: Reply,
    /// Among several servers: what to ask another one if this one may not go on.
    pub(super) again: Option<Box<Command>>,
}

/// A command without an answer, to be asked of whoever writes next.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) command: Box<Command>,
    pub(super) reply: Reply,
    pub(super) hurry: Hurry,
}

/// Why a task serves no more requests.
#[derive(Debug)]
pub(super) enum Ended {
    /// It was closed, and whoever asked for that waits here.
    Closed(oneshot::Sender<()>),
    /// Nobody can ask any more.
    Abandoned,
    /// The machine stands still, and another server goes on.
    Stopped,
}

/// What others want of the task.
#[derive(Debug)]
pub(super) enum Request {
    Submit {
        command: Box<Command>,
        reply: Reply,
        hurry: Hurry,
    },
    Close {
        done: oneshot::Sender<()>,
    },
    /// Among several servers: the lease is lost.
    GiveWay {
        reason: String,
    },
}

/// The machine with its hands.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) machine: Sequencer,
    pub(super) records: Records,
    pub(super) files: LedgerFiles,
    pub(super) options: LedgerOptions,
    /// Among several servers: what it writes under.
    pub(super) lease: Option<Arc<Lease>>,
    /// A failure that this process cannot get over, whoever writes: its key, its store.
    pub(super) failed_for_good: bool,
    pub(super) waiters: HashMap<Ticket, Waiter>,
    next_ticket: u64,
    /// Why the machine stands still, once it does.
    pub(super) stopped: watch::Sender<Option<String>>,
    /// Once others can read.
    pub(super) showing: Option<Showing>,
    /// When what waits has waited long enough.
    begin_by: Option<Instant>,
    /// How many are about to ask, or wait already, when a batch has been answered: those it answered and those who came
    /// while it was under way.
    pub(super) expected: usize,
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
        lease: Option<Arc<Lease>>,
        clock: ClockWatch,
    ) -> Self {
        Self {
            machine,
            records,
            files,
            options,
            lease,
            failed_for_good: false,
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

    /// From now on what is published is shown.
    pub(super) fn show_in(&mut self, showing: Showing) {
        self.showing = Some(showing);
    }

    /// Serves requests until it is closed or nobody can ask any more; among several servers, until it may not go on.
    pub(super) async fn run(&mut self, requests: &mut mpsc::Receiver<Request>) -> Ended {
        while let Some(closing) = self.wait_for_work(requests).await {
            let closing = match closing {
                None => self.gather_more(requests).await,
                closing => closing,
            };
            self.begin().await;
            if self.gives_way() {
                return Ended::Stopped;
            }
            if let Some(done) = closing {
                self.end(requests).await;
                return Ended::Closed(done);
            }
        }
        if self.gives_way() { Ended::Stopped } else { Ended::Abandoned }
    }

    fn give_way(&mut self, reason: String) {
        for effect in self.machine.step(Input::Failed(reason)) {
            self.tell(effect);
        }
    }

    /// Whether the machine stands still and another server goes on.
    fn gives_way(&self) -> bool {
        self.lease.is_some() && self.stopped.borrow().is_some()
    }

    /// Returns when it is time for a batch, with whoever asked for the end; nothing when nobody can ask any more.
    async fn wait_for_work(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Option<Option<oneshot::Sender<()>>> {
        loop {
            if self.gives_way() {
                return None;
            }
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
                Request::GiveWay { reason } => self.give_way(reason),
            }
        }
    }

    async fn end(&mut self, requests: &mut mpsc::Receiver<Request>) {
        while self.machine.waiting() > 0 {
            self.begin().await;
        }
        self.rest().await;
        requests.close();
        self.end_clearing().await;
    }

    /// What is left without an answer when the machine stands still. What came from the table of commands is there still.
    pub(super) fn unanswered(&mut self) -> Vec<Unanswered> {
        let waiters = self.waiters.drain().filter_map(|(ticket, Waiter { reply, again })| {
            Some((ticket, Unanswered { command: again?, reply, hurry: Hurry::Now }))
        });
        let mut unanswered: Vec<_> = waiters.collect();
        unanswered.sort_by_key(|(ticket, _)| *ticket);
        unanswered.into_iter().map(|(_, unanswered)| unanswered).collect()
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
        let from_here = self.lease.is_some() && !matches!(reply, Reply::Row(_));
        let again = from_here.then(|| Box::new(command.clone()));
        self.waiters.insert(ticket, Waiter { reply, again });
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
                Some(Request::GiveWay { reason }) => {
                    self.give_way(reason);
                    return None;
                }
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
            Effect::Commit { epoch, from, tickets, commands } => {
                let rows = self.rows(&tickets);
                Some(self.commit(epoch, from, &commands, &rows).await)
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
                if let Effect::GiveUp { tickets, reason } = &told {
                    self.give_up_rows(tickets, reason).await;
                }
                self.tell(told);
                if let Some(grown) = grown {
                    self.tell_other_servers();
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
}

//! Where this server is asked: what it writes itself goes to its task, the rest into the table of commands; and whoever waits
//! for a row of the table is answered once it has its outcome.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::command::Command;
use chain_of_custody::ids::LeafIndex;
use chain_of_custody::sequencer::{Decision, MAX_WAITING};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

use super::bells::Bells;
use super::{ANSWERS_WITHIN, show_newer};
use crate::ledger::open::Parts;
use crate::ledger::task::{Hurry, Reply, Request, Unanswered};
use crate::ledger::{Placed, QUEUE, Reader, Recorded, SubmitError};
use crate::records::{CommandOutcome, Records, RecordsError};

/// How often it looks though nothing rang.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a client waits while no server writes. Its command stands in the table, and is carried out when one does.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long those are waited for who were answered together: else they would share no batch again.
const LINGER: Duration = Duration::from_millis(2);

/// The way to this server's task, while it writes.
pub(super) type Direct = Arc<Mutex<Option<mpsc::Sender<Request>>>>;

/// One server's desk.
pub(super) struct Desk {
    pub(super) parts: Parts,
    /// Its name in the table.
    pub(super) server: String,
    pub(super) reader: Reader,
    pub(super) publisher: Arc<watch::Sender<SignedCheckpoint>>,
    pub(super) bells: Arc<Bells>,
    pub(super) direct: Direct,
    /// What the task leaves without an answer.
    pub(super) back: mpsc::UnboundedReceiver<Unanswered>,
    /// Why this server serves no more, once it does not.
    pub(super) stopped: watch::Sender<Option<String>>,
    pub(super) closing: watch::Sender<bool>,
    /// Ends when this server is done with writing.
    pub(super) writing: JoinHandle<()>,
    /// What else this server runs as long as it is open.
    pub(super) _tasks: JoinSet<()>,
    pub(super) asked: Asked,
}

/// What stands in the table, or has to, and who waits for it.
#[derive(Default)]
pub(super) struct Asked {
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// How many were answered the last time, and are about to ask again.
    expected: usize,
    /// What stood in the way the last time.
    trouble: Option<String>,
}

struct Waiting {
    command: Box<Command>,
    reply: Reply,
    hurry: Hurry,
    since: Instant,
    in_table: bool,
}

/// An entry whose place is known, for whoever waits for its receipt.
type Due = (LeafIndex, bool, oneshot::Sender<Result<Placed, SubmitError>>);

impl Desk {
    /// Serves until it is closed or nobody can ask any more.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut incoming = Vec::new();
        let mut closed_for = None;
        let mut written = false;
        loop {
            let mut look = true;
            tokio::select! {
                count = requests.recv_many(&mut incoming, QUEUE), if closed_for.is_none() => {
                    if count == 0 {
                        // Nobody is left to be answered: as if the process had ended.
                        return self.writing.abort();
                    }
                    look = false;
                    let deadline = Instant::now() + LINGER;
                    let expected = std::mem::take(&mut self.asked.expected);
                    while incoming.len() < expected {
                        let more = requests.recv_many(&mut incoming, QUEUE);
                        if !matches!(timeout_at(deadline, more).await, Ok(1..)) {
                            break;
                        }
                    }
                }
                Some(left) = self.back.recv() => self.queue(left),
                () = self.bells.answered.notified() => {}
                _ = ticks.tick() => {}
                _ = &mut self.writing, if !written => written = true,
            }
            for request in incoming.drain(..) {
                match request {
                    Request::Submit { command, reply, hurry } => {
                        self.take(Unanswered { command, reply, hurry });
                    }
                    Request::Close { done } => closed_for = Some(done),
                    Request::GiveWay { .. } => unreachable!("only a task is told so"),
                }
            }
            if closed_for.is_some() {
                requests.close();
                self.closing.send_replace(true);
            }
            self.serve(look).await;
            if written && closed_for.is_some() && self.asked.waiting.is_empty() {
                break;
            }
        }
        let done = closed_for;
        // What others see ends before whoever asked for the end hears of it.
        drop(self);
        if let Some(done) = done {
            // It may have left.
            let _ = done.send(());
        }
    }

    /// Puts into the table what has to be there; looks for outcomes.
    async fn serve(&mut self, look: bool) {
        while let Ok(left) = self.back.try_recv() {
            self.queue(left);
        }
        let stopped = self.stopped.borrow().clone();
        if let Some(reason) = stopped {
            return self.asked.refuse_all(&reason);
        }
        let served = timeout(ANSWERS_WITHIN, async {
            self.put().await?;
            if look { self.look().await } else { Ok(()) }
        });
        self.asked.trouble = match served.await {
            Ok(served) => served.err().map(|error: RecordsError| error.to_string()),
            Err(_) => Some("the database does not answer".to_owned()),
        };
        if let Some(trouble) = &self.asked.trouble {
            tracing::warn!("commands are not handed to the server that writes: {trouble}");
        }
        self.asked.turn_away_who_waited_too_long();
    }

    /// To the task, if this server writes; else it waits for the table.
    fn take(&mut self, asked: Unanswered) {
        let direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(direct) = direct else { return self.queue(asked) };
        let Unanswered { command, reply, hurry } = asked;
        match direct.try_send(Request::Submit { command, reply, hurry }) {
            Err(mpsc::error::TrySendError::Full(Request::Submit { reply, .. })) => {
                reply.refuse(SubmitError::Busy);
            }
            Err(mpsc::error::TrySendError::Closed(Request::Submit { command, reply, hurry })) => {
                self.queue(Unanswered { command, reply, hurry });
            }
            _ => {}
        }
    }

    fn queue(&mut self, Unanswered { command, reply, hurry }: Unanswered) {
        if self.asked.waiting.len() >= MAX_WAITING {
            return reply.refuse(SubmitError::Busy);
        }
        let number = self.asked.next;
        self.asked.next += 1;
        let since = Instant::now();
        let waiting = Waiting { command, reply, hurry, since, in_table: false };
        self.asked.waiting.insert(number, waiting);
    }

    async fn put(&mut self) -> Result<(), RecordsError> {
        let missing = |(number, waiting): (&u64, &Waiting)| {
            (*number, waiting.hurry == Hurry::Now, waiting.command.to_stored())
        };
        let is_missing = |(_, waiting): &(&u64, &Waiting)| !waiting.in_table;
        let rows: Vec<_> = self.asked.waiting.iter().filter(is_missing).map(missing).collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.parts.records.put_commands(&self.server, rows).await?;
        self.asked.waiting.values_mut().for_each(|waiting| waiting.in_table = true);
        Ok(())
    }

    /// Sees what is published, and answers who waits for no more.
    async fn look(&mut self) -> Result<(), RecordsError> {
        self.see_what_is_published().await;
        if self.asked.waiting.is_empty() {
            return Ok(());
        }
        let outcomes = self.parts.records.outcomes(&self.server).await?;
        let published = self.reader.latest().unverified().size;
        let (mut due, mut answered) = (Vec::new(), Vec::new());
        let mut there: Vec<u64> = Vec::with_capacity(outcomes.len());
        for (number, outcome) in outcomes {
            there.push(number);
            let Some(outcome) = outcome else { continue };
            let covered = |leaf: &LeafIndex| published.covers(*leaf);
            if self.asked.answer(number, outcome, covered, &mut due) {
                answered.push(number);
            }
        }
        self.asked.put_again_but(&there);
        if !due.is_empty() {
            tokio::spawn(answer_together(self.reader.clone(), due));
        }
        self.asked.expected = answered.len();
        if !answered.is_empty() {
            let (records, server) = (self.parts.records.clone(), self.server.clone());
            tokio::spawn(async move { forget(&records, &server, &answered).await });
        }
        Ok(())
    }

    /// While another server writes, what it has published is what is shown here; its signature is checked, and nothing older
    /// is ever shown.
    async fn see_what_is_published(&self) {
        if self.direct.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return;
        }
        let shown = match self.parts.files.checkpoint().await {
            Ok(Some(shown)) => shown,
            Ok(None) => return,
            Err(error) => return tracing::warn!("what is published is not seen: {error}"),
        };
        let key = self.parts.options.signer.vkey();
        let ours = shown.unverified().origin == self.parts.options.origin;
        if !ours || shown.verify(&[key], &[]).is_err() {
            return tracing::error!("the published checkpoint is not signed by this log key");
        }
        show_newer(&self.publisher, shown);
    }
}

impl Asked {
    /// Answers a command that has its outcome, unless what it waits for is not published yet; entries' places go into `due`.
    /// True when nobody waits for the row any more.
    fn answer(
        &mut self,
        number: u64,
        outcome: CommandOutcome,
        is_published: impl Fn(&LeafIndex) -> bool,
        due: &mut Vec<Due>,
    ) -> bool {
        let Some(waiting) = self.waiting.remove(&number) else { return true };
        let (leaf_index, repeated) = match outcome {
            CommandOutcome::Decided(Decision::Placed(leaf)) => (leaf, false),
            CommandOutcome::Decided(Decision::Repeated(leaf)) => (leaf, true),
            CommandOutcome::Decided(Decision::Refused(refusal)) => {
                waiting.reply.refuse(refusal.into());
                return true;
            }
            CommandOutcome::GivenUp(reason) => {
                waiting.reply.refuse(SubmitError::Stopped { reason });
                return true;
            }
        };
        match waiting.reply {
            // Whoever asked may have left.
            Reply::Recorded(reply) => drop(reply.send(Ok(Recorded { leaf_index, repeated }))),
            Reply::Placed(reply) if is_published(&leaf_index) => {
                due.push((leaf_index, repeated, reply));
            }
            reply => {
                self.waiting.insert(number, Waiting { reply, ..waiting });
                return false;
            }
        }
        true
    }

    /// Rows that are gone though somebody waits: a crash of the database took them, or they were taken for a dead server's.
    fn put_again_but(&mut self, there: &[u64]) {
        for (number, waiting) in &mut self.waiting {
            waiting.in_table = there.contains(number);
        }
    }

    fn turn_away_who_waited_too_long(&mut self) {
        let too_long = |_: &u64, waiting: &mut Waiting| waiting.since.elapsed() > PATIENCE;
        let reason = self.trouble.clone();
        for waiting in self.waiting.extract_if(.., too_long) {
            let nobody = || "no server of this ledger answers".to_owned();
            let reason = reason.clone().unwrap_or_else(nobody);
            waiting.1.reply.refuse(SubmitError::Stopped { reason });
        }
    }

    fn refuse_all(&mut self, reason: &str) {
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            waiting.reply.refuse(SubmitError::Stopped { reason: reason.to_owned() });
        }
    }
}

/// Rows that stay are swept away by whoever writes.
async fn forget(records: &Records, server: &str, answered: &[u64]) {
    if let Err(error) = records.forget_commands(server, answered).await {
        tracing::debug!("answered commands stay in the table for a while: {error}");
    }
}

/// Beside what is asked next.
async fn answer_together(reader: Reader, due: Vec<Due>) {
    let indexes: Vec<_> = due.iter().map(|(leaf_index, _, _)| *leaf_index).collect();
    // Two commands with one event id have one place: the same entry answers both.
    let placed = reader.placed_together(indexes, &reader.latest()).await;
    let placed = placed.map_err(|e| SubmitError::Stopped { reason: e.to_string() });
    for (at, (_, repeated, reply)) in due.into_iter().enumerate() {
        let answer = placed.as_ref().map(|placed| Placed { repeated, ..placed[at].clone() });
        // Whoever asked may have left.
        let _ = reply.send(answer.map_err(Clone::clone));
    }
}

//! One server among several that share a PostgreSQL: which of them writes the ledger, and how the others get their commands to
//! it.
//!
//! What lives here: taking the lease and giving way (`mod`), holding on to it (`lease`), where this server is asked (`desk`),
//! what others are asked (`feed`), and how they wake each other (`bells`). What does not: the steps (`super::task`), which are
//! those of one server alone.
//!
//! The one invariant to keep: a server whose lease is lost, or whose step failed, acknowledges nothing that was not published
//! before. What it leaves without an answer goes into the table, and whoever writes next finds out what became of it (I11).

mod bells;
mod desk;
mod feed;
mod lease;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::sequencer::CannotRecover;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::bells::Bells;
use self::desk::{Desk, Direct};
use self::feed::Feed;
pub(super) use self::lease::{Lease, held_through};
use super::open::{Outside, Parts, check_ours, make_ready};
use super::task::{Ended, Reply, Request, Task, Unanswered};
use super::{Ledger, LedgerError, QUEUE, Reader};
use crate::records::{Held, LEASE, LedgerState, RecordsError, Ring};

/// Between two looks at somebody else's lease while opening.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How long the database may take to answer: a line that is cut without a word is not waited for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Before the lease is asked for again after a failure: others go first.
const PAUSE: Duration = Duration::from_millis(250);

/// What a server is when it opens.
enum First {
    /// It writes.
    Holder { task: Box<Task>, outside: Outside },
    /// Another one does.
    Follower,
}

pub(super) async fn open(parts: Parts) -> Result<Ledger, LedgerError> {
    let server = uuid::Uuid::now_v7().to_string();
    let (first, latest) = find_place(&parts, &server).await?;
    let (publisher, reader) = parts.reader(latest);
    let mut tasks = JoinSet::new();
    let bells = Bells::hang(&parts.records, &mut tasks);
    let (requests, waiting) = mpsc::channel(QUEUE);
    let (left, back) = mpsc::unbounded_channel();
    let stopped = watch::Sender::new(None);
    let closing = watch::Sender::new(false);
    let (task, outside) = match first {
        First::Holder { mut task, outside } => {
            let cosigning = task.show(&parts, reader.latest(), &publisher, &reader);
            (Some(task), Outside { cosigning, ..outside })
        }
        First::Follower => (None, Outside::default()),
    };
    let asked_outside = task.is_some();
    let outside = watch::Sender::new(outside);
    let (stops, sees) = (stopped.subscribe(), outside.subscribe());
    let direct = Direct::default();
    let server_of = Server {
        parts: parts.clone(),
        name: server.clone(),
        reader: reader.clone(),
        publisher: Arc::clone(&publisher),
        bells: Arc::clone(&bells),
        direct: Arc::clone(&direct),
        left,
        stopped: stopped.clone(),
        closing: closing.subscribe(),
        outside,
        asked_outside,
    };
    let writing = tokio::spawn(server_of.run(task));
    let desk = Desk {
        parts,
        server,
        reader: reader.clone(),
        publisher,
        bells,
        direct,
        back,
        stopped,
        closing,
        writing,
        _tasks: tasks,
        asked: desk::Asked::default(),
    };
    tokio::spawn(desk.run(waiting));
    Ok(Ledger { requests, reader, stopped: stops, outside: sees })
}

/// Takes the ledger over if nobody writes it: a lease that is seen to be renewed is somebody's who does.
async fn find_place(parts: &Parts, server: &str) -> Result<(First, SignedCheckpoint), LedgerError> {
    parts.records.claim_to_write().await?;
    let (begun, mut seen) = (Instant::now(), None::<Held>);
    loop {
        let since = Instant::now();
        let held = match parts.records.take_lease(server).await? {
            Ok(state) => {
                let (task, outside) = take_over(parts, state, since, true).await?;
                let latest = task.published()?;
                return Ok((First::Holder { task: Box::new(task), outside }, latest));
            }
            Err(held) => held,
        };
        if seen.is_some_and(|seen| held.until_ms > seen.until_ms)
            && let Some(shown) = parts.files.checkpoint().await?
        {
            check_ours(&shown, &parts.records, &parts.options).await?;
            return Ok((First::Follower, shown));
        }
        if let Some(found) = held.by_newer.filter(|_| begun.elapsed() > ANSWERS_WITHIN) {
            return Err(RecordsError::NewerWrites { found }.into());
        }
        seen = seen.or(Some(held));
        sleep(held.left.min(LOOK_EVERY)).await;
    }
}

/// Makes a ledger ready that was taken over. If that fails, others may try at once.
async fn take_over(
    parts: &Parts,
    state: LedgerState,
    since: Instant,
    ask_outside: bool,
) -> Result<(Task, Outside), LedgerError> {
    let lease = Lease::new(parts.records.clone(), state.epoch, since);
    let ready = make_ready(parts, state, Some(Arc::clone(&lease)), ask_outside);
    match lease.keep(ready).await {
        Ok((task, known)) => Ok((task, Outside { cosigning: None, known })),
        Err(error) => {
            give_up(&lease).await;
            Err(error)
        }
    }
}

/// Best effort: it runs out by itself.
async fn give_up(lease: &Lease) {
    match timeout(LEASE, lease.give_up()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("the lease runs out by itself: {error}"),
        Err(_) => tracing::warn!("the lease runs out by itself: the database does not answer"),
    }
}

/// The part of a server that writes when it is its turn.
struct Server {
    parts: Parts,
    /// Who holds the lease, for messages.
    name: String,
    reader: Reader,
    publisher: Arc<watch::Sender<SignedCheckpoint>>,
    bells: Arc<Bells>,
    direct: Direct,
    left: mpsc::UnboundedSender<Unanswered>,
    stopped: watch::Sender<Option<String>>,
    closing: watch::Receiver<bool>,
    outside: watch::Sender<Outside>,
    /// Whether the log witnesses were asked, since this server was opened, if they know more.
    asked_outside: bool,
}

impl Server {
    /// Writes whenever nobody else does, until it is closed or cannot for good.
    async fn run(mut self, mut task: Option<Box<Task>>) {
        loop {
            let mut writer = match task.take() {
                Some(writer) => writer,
                None => match self.wait_for_its_turn().await {
                    Some(writer) => writer,
                    None => return,
                },
            };
            let Some(lease) = writer.lease.clone() else { return };
            let ended = self.write(&lease, &mut writer).await;
            let (for_good, why) = (writer.failed_for_good, writer.stopped().borrow().clone());
            drop(writer);
            give_up(&lease).await;
            match (ended, why) {
                (Ended::Stopped, Some(reason)) if for_good => return self.stop(reason),
                (Ended::Stopped, reason) => {
                    let reason = reason.unwrap_or_default();
                    tracing::warn!("another server may write the ledger now: {reason}");
                    self.pause().await;
                }
                (Ended::Closed(_) | Ended::Abandoned, _) => return,
            }
        }
    }

    /// Takes the lease as soon as it is free, and recovers; nothing when it is not to write any more.
    async fn wait_for_its_turn(&mut self) -> Option<Box<Task>> {
        while !*self.closing.borrow() {
            let since = Instant::now();
            let Ok(taken) =
                timeout(ANSWERS_WITHIN, self.parts.records.take_lease(&self.name)).await
            else {
                tracing::warn!("nobody knows who writes the ledger: the database does not answer");
                continue;
            };
            match taken {
                Ok(Ok(state)) => match self.take_over(state, since).await {
                    Ok(task) => return Some(Box::new(task)),
                    Err(error) if is_for_a_person(&error) => {
                        self.stop(error.to_string());
                        return None;
                    }
                    Err(error) => {
                        tracing::error!("the ledger was not taken over: {error}");
                        self.pause().await;
                    }
                },
                Ok(Err(held)) => self.wait_until_it_is_free(held).await,
                Err(error) => {
                    tracing::warn!("nobody knows who writes the ledger: {error}");
                    self.pause().await;
                }
            }
        }
        None
    }

    async fn take_over(&mut self, state: LedgerState, since: Instant) -> Result<Task, LedgerError> {
        tracing::info!(epoch = state.epoch.0, "this server writes the ledger now");
        let (mut task, outside) = take_over(&self.parts, state, since, !self.asked_outside).await?;
        self.asked_outside = true;
        // Database and store cannot both have gone back while this server remembers how far they were.
        let (latest, seen) = (task.published()?, self.reader.latest());
        let (published, recorded) = (latest.unverified().size, seen.unverified().size);
        if published < recorded {
            return Err(CannotRecover::StoreBehind { recorded, published }.into());
        }
        show_newer(&self.publisher, latest.clone());
        let cosigning = task.show(&self.parts, latest, &self.publisher, &self.reader);
        self.outside.send_modify(|now| {
            *now = Outside { cosigning, known: outside.known.or(now.known) };
        });
        Ok(task)
    }

    async fn wait_until_it_is_free(&mut self, held: Held) {
        tokio::select! {
            // A ring or the time: either way it looks.
            _ = timeout(held.left, self.bells.freed.notified()) => {}
            () = closes(&mut self.closing) => {}
        }
    }

    /// Writes until it is closed, or may not go on; what is left without an answer goes back to the desk.
    async fn write(&mut self, lease: &Arc<Lease>, task: &mut Task) -> Ended {
        if let Err(error) = self.parts.records.ring_now(Ring::Published).await {
            tracing::warn!("other servers are not told what is published: {error}");
        }
        let (requests, mut waiting) = mpsc::channel(QUEUE);
        let feed = Feed {
            records: self.parts.records.clone(),
            bells: Arc::clone(&self.bells),
            requests: requests.clone(),
            lease: Arc::clone(lease),
            closing: self.closing.clone(),
        };
        let mut feeding = JoinSet::new();
        feeding.spawn(feed.run());
        *self.direct.lock().unwrap_or_else(PoisonError::into_inner) = Some(requests);
        let ended = lease.keep(task.run(&mut waiting)).await;
        *self.direct.lock().unwrap_or_else(PoisonError::into_inner) = None;
        waiting.close();
        let mut left = task.unanswered();
        while let Ok(request) = waiting.try_recv() {
            if let Request::Submit { command, reply, hurry } = request
                && !matches!(reply, Reply::Row(_))
            {
                left.push(Unanswered { command, reply, hurry });
            }
        }
        for unanswered in left {
            // The desk ends after this one.
            let _ = self.left.send(unanswered);
        }
        ended
    }

    fn stop(&self, reason: String) {
        tracing::error!("the ledger stopped on this server: {reason}");
        self.stopped.send_replace(Some(reason));
    }

    async fn pause(&mut self) {
        // Closed or not, it looks again.
        let _ = timeout(PAUSE, closes(&mut self.closing)).await;
    }
}

/// Shows what is published, unless what is shown is as new: of more entries, or of the same with more cosignatures.
fn show_newer(publisher: &watch::Sender<SignedCheckpoint>, published: SignedCheckpoint) {
    let signatures = |checkpoint: &SignedCheckpoint| checkpoint.note().signatures().len();
    publisher.send_if_modified(|shown| {
        let (new, old) = (published.unverified(), shown.unverified());
        let newer =
            new.size > old.size || (new == old && signatures(&published) > signatures(shown));
        if newer {
            *shown = published;
        }
        newer
    });
}

/// Until this server is being closed.
async fn closes(closing: &mut watch::Receiver<bool>) {
    // Nobody is left to close it: it ends all the same.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Whether no server goes on before a person has decided.
fn is_for_a_person(error: &LedgerError) -> bool {
    matches!(
        error,
        LedgerError::CannotRecover(_)
            | LedgerError::HeadNotConfirmed { .. }
            | LedgerError::OtherKey { .. }
    )
}

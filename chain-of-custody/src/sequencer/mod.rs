//! The sequencer: one order for everybody's commands, as a pure state machine.
//!
//! What lives here: which durable step comes next and what it must do (`Sequencer`), what becomes of a command
//! (`decide`), and which files a batch makes (`Growth`). What does not: doing any of it. Whoever drives the machine
//! executes each [`Effect`] and reports its outcome as the next [`Input`].
//!
//! The steps, each durable before the next begins:
//!
//! 1. commit a batch of entries, guarded by epoch and tree size;
//! 2. write tiles, entry bundles and openings, create-only;
//! 3. sign and keep the one checkpoint of this size;
//! 4. publish it; answer the waiters;
//! 5. record that it is published: with the next batch's step 1, or by itself when nobody asks for a while.
//!
//! The one invariant to keep: a step begins only when the one before it is known to be done. An outcome that failed or
//! is not known stops the machine (I11); [`Sequencer::recover`] goes on at the first unfinished step, with the same code.

mod decide;
mod growth;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

pub use decide::{
    Decided, Decision, Facts, Head, Held, NOT_KNOWN, PlacedEntry, Questions, STATE_STORED, decide,
    source_of,
};
pub use growth::{
    FileClass, FileWrite, Grown, Growth, decode_openings, encode_openings, openings_path,
};

use crate::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use crate::command::Command;
use crate::ids::TreeSize;

/// Commands in one batch at most. More make a batch slower without making appends cheaper.
pub const MAX_BATCH_COMMANDS: usize = 1_024;
/// Bytes of field values in one batch, after which no further command joins it.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Commands that may wait for the next batch. Further ones are turned away: busy.
pub const MAX_WAITING: usize = 4 * MAX_BATCH_COMMANDS;

/// Counts the openings of a ledger: each fences those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Who waits for a command, as its driver numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What happens to the machine.
#[derive(Debug)]
pub enum Input {
    /// Somebody asks for an act. It waits for the next batch.
    Asked(Ticket, Command),
    /// Whatever waits may begin, if nothing is under way.
    Begin,
    /// Nobody asks for a while: step 5 need not wait for the next batch.
    Rest,
    /// The effect under way is done, durably.
    Done(Done),
    /// Step 1 was given up before anything was written; it is known that nothing was. Its commands get the reason.
    NotCommitted(String),
    /// The effect under way failed, or nobody knows whether it did.
    Failed(String),
}

/// The outcome of the effect under way.
#[derive(Debug)]
pub enum Done {
    Committed(Decided),
    FilesWritten,
    /// The checkpoint that is kept for this size: the one offered, or one kept before.
    CheckpointStored(SignedCheckpoint),
    Published,
    Recorded,
}

/// What the driver must do next. At most one of the durable ones (the numbered steps) is under way at any time.
#[derive(Debug)]
pub enum Effect {
    /// Step 1, in one transaction: nothing unless this epoch still holds and the size is `from`; then decide, write. A
    /// batch begins only when all before it is published, so whatever grows the ledger records `from` as published: step
    /// 5 of the batch before. `tickets` says who asked for each command, for a driver that keeps decisions with the entries.
    Commit { epoch: Epoch, from: TreeSize, tickets: Vec<Ticket>, commands: Vec<Command> },
    /// Step 2: all of `grown.files`, create-only; a file that is there with the same bytes is done.
    WriteFiles { grown: Arc<Grown> },
    /// Step 3: sign `checkpoint` and keep it, guarded by epoch and size, unless this size has one already.
    StoreCheckpoint { epoch: Epoch, checkpoint: Checkpoint },
    /// Step 4: replace the published checkpoint in one step; never by an older one.
    Publish { checkpoint: SignedCheckpoint },
    /// Step 5 by itself, guarded by epoch and size.
    RecordPublished { epoch: Epoch, size: TreeSize },
    /// These commands are decided, durably in the database; nothing of it is published yet. An [`Effect::Answer`] follows
    /// unless the machine stops.
    Committed { decisions: Vec<(Ticket, Decision)> },
    /// Everything up to `checkpoint` stands. `grown` holds what is new; repeated entries are under it too.
    Answer {
        decisions: Vec<(Ticket, Decision)>,
        grown: Option<Arc<Grown>>,
        checkpoint: Option<SignedCheckpoint>,
    },
    /// These commands made nothing, for this reason; they may be asked again.
    GiveUp { tickets: Vec<Ticket>, reason: String },
    /// Too many wait already.
    TurnAway(Ticket),
    /// The machine stands still until it is recovered. What waited has no outcome that we know.
    Stop { tickets: Vec<Ticket>, reason: String },
}

/// What a restart finds.
#[derive(Debug)]
pub struct Found {
    pub origin: Origin,
    pub epoch: Epoch,
    /// The tree at the size of `signed`, or empty.
    pub growth: Growth,
    /// Entries that were committed after that.
    pub unsigned: Vec<PlacedEntry>,
    /// The newest checkpoint kept in the database.
    pub signed: Option<SignedCheckpoint>,
    /// The checkpoint published in the store.
    pub shown: Option<SignedCheckpoint>,
    /// The size that was recorded as published.
    pub recorded: TreeSize,
}

/// Why nothing may be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotRecover {
    #[error(
        "the published checkpoint has {published} entries but the database only {database}: the database is older \
         than the ledger (restored from an old backup?). Nothing will be signed. Restore a newer one"
    )]
    DatabaseBehind { published: TreeSize, database: TreeSize },
    #[error(
        "the database recorded {recorded} entries as published but the object store shows {published}: the object \
         store is older than the ledger (restored from an old backup, or another folder?). Nothing will be signed. \
         Restore a newer one"
    )]
    StoreBehind { recorded: TreeSize, published: TreeSize },
    #[error(
        "the published checkpoint at {size} entries is not the one that this database signed: there are two \
         histories. Nothing will be signed. Keep both and find out which one was handed out"
    )]
    Forked { size: TreeSize },
    #[error(
        "the stored tiles do not give the root that was signed at {size} entries: a tile or the database is \
         damaged. Nothing will be signed. Run `exhibit ledger audit` to find which"
    )]
    Damaged { size: TreeSize },
}

#[derive(Debug)]
enum Phase {
    Idle,
    Committing { tickets: Vec<Ticket> },
    Writing { batch: Batch },
    Signing { batch: Batch },
    Publishing { batch: Batch, checkpoint: SignedCheckpoint },
    Recording,
    Stopped { reason: String },
}

/// What is under way between steps 2 and 4. After a recovery nobody waits for it.
#[derive(Debug)]
struct Batch {
    decisions: Vec<(Ticket, Decision)>,
    grown: Option<Arc<Grown>>,
}

/// The machine. One per ledger and process.
#[derive(Debug)]
pub struct Sequencer {
    origin: Origin,
    epoch: Epoch,
    growth: Growth,
    latest: Option<SignedCheckpoint>,
    /// What the database knows to be published. Invariant: never more than `latest`.
    recorded: TreeSize,
    waiting: VecDeque<(Ticket, Command)>,
    phase: Phase,
}

impl Sequencer {
    /// Goes on where an earlier run ended: at its first unfinished step.
    ///
    /// # Errors
    /// [`CannotRecover`]: database and store contradict each other, and only a person can say which is right.
    pub fn recover(found: Found) -> Result<(Self, Vec<Effect>), CannotRecover> {
        found.check()?;
        let Found { origin, epoch, growth, unsigned, signed, shown, recorded } = found;
        let mut machine = Self {
            origin,
            epoch,
            growth,
            latest: shown,
            recorded,
            waiting: VecDeque::new(),
            phase: Phase::Idle,
        };
        let nobody = |grown| Batch { decisions: Vec::new(), grown };
        let effects = match signed {
            // Published again even where it is shown: its name may not be durable yet, and a repeat changes nothing.
            Some(checkpoint) if recorded < checkpoint.unverified().size => {
                machine.publish(nobody(None), checkpoint)
            }
            _ => Vec::new(),
        };
        if unsigned.is_empty() {
            return Ok((machine, effects));
        }
        // A batch's entries are committed together with the record of the one before it: nothing else can be unfinished.
        if !effects.is_empty() {
            return Err(CannotRecover::Damaged { size: machine.growth.size() });
        }
        let effects = machine.write(Vec::new(), unsigned);
        Ok((machine, effects))
    }

    /// Takes one input, and returns what to do in this order.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Asked(ticket, command) => self.ask(ticket, command),
            Input::Begin => self.begin(),
            Input::Rest => self.rest(),
            Input::Done(done) => self.done(done),
            Input::NotCommitted(reason) => self.give_up(reason),
            Input::Failed(reason) => self.stop(reason),
        }
    }

    /// Whether a rest has something to do.
    pub fn is_unrecorded(&self) -> bool {
        matches!(self.phase, Phase::Idle) && self.recorded < self.published_size()
    }

    /// How many commands wait for a batch.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Entries under a published checkpoint, which is the newest that may be shown.
    pub fn published(&self) -> Option<&SignedCheckpoint> {
        self.latest.as_ref()
    }

    fn ask(&mut self, ticket: Ticket, command: Command) -> Vec<Effect> {
        if let Phase::Stopped { reason } = &self.phase {
            return vec![Effect::Stop { tickets: vec![ticket], reason: reason.clone() }];
        }
        if self.waiting.len() >= MAX_WAITING {
            return vec![Effect::TurnAway(ticket)];
        }
        self.waiting.push_back((ticket, command));
        Vec::new()
    }

    fn begin(&mut self) -> Vec<Effect> {
        if !matches!(self.phase, Phase::Idle) || self.waiting.is_empty() {
            return Vec::new();
        }
        let (mut tickets, mut commands, mut bytes) = (Vec::new(), Vec::new(), 0);
        while commands.len() < MAX_BATCH_COMMANDS && bytes < MAX_BATCH_BYTES {
            let Some((ticket, command)) = self.waiting.pop_front() else { break };
            bytes += command.fields.iter().map(|opening| opening.value.len()).sum::<usize>();
            tickets.push(ticket);
            commands.push(command);
        }
        self.phase = Phase::Committing { tickets: tickets.clone() };
        vec![Effect::Commit { epoch: self.epoch, from: self.growth.size(), tickets, commands }]
    }

    fn rest(&mut self) -> Vec<Effect> {
        if !self.is_unrecorded() {
            return Vec::new();
        }
        self.phase = Phase::Recording;
        vec![Effect::RecordPublished { epoch: self.epoch, size: self.published_size() }]
    }

    fn done(&mut self, done: Done) -> Vec<Effect> {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        match (phase, done) {
            (Phase::Committing { tickets }, Done::Committed(decided)) => {
                let decisions = tickets.into_iter().zip(decided.decisions).collect();
                self.committed(decisions, decided.entries)
            }
            (Phase::Writing { batch }, Done::FilesWritten) => self.sign(batch),
            (Phase::Signing { batch }, Done::CheckpointStored(kept)) => self.signed(batch, kept),
            (Phase::Publishing { batch, checkpoint }, Done::Published) => {
                self.published_now(batch, checkpoint)
            }
            (Phase::Recording, Done::Recorded) => {
                self.recorded = self.published_size();
                Vec::new()
            }
            (phase, done) => {
                self.phase = phase;
                self.stop(format!("an outcome came that no step waited for: {done:?}"))
            }
        }
    }

    fn committed(
        &mut self,
        decisions: Vec<(Ticket, Decision)>,
        entries: Vec<PlacedEntry>,
    ) -> Vec<Effect> {
        if entries.is_empty() {
            // Repeats stand under the newest published checkpoint already: a batch ends before the next begins.
            let checkpoint = self.latest.clone();
            return vec![Effect::Answer { decisions, grown: None, checkpoint }];
        }
        self.recorded = self.published_size();
        let told = Effect::Committed { decisions: decisions.clone() };
        std::iter::once(told).chain(self.write(decisions, entries)).collect()
    }

    fn write(
        &mut self,
        decisions: Vec<(Ticket, Decision)>,
        entries: Vec<PlacedEntry>,
    ) -> Vec<Effect> {
        let grown = Arc::new(self.growth.append(entries));
        let batch = Batch { decisions, grown: Some(Arc::clone(&grown)) };
        self.phase = Phase::Writing { batch };
        vec![Effect::WriteFiles { grown }]
    }

    fn sign(&mut self, batch: Batch) -> Vec<Effect> {
        self.phase = Phase::Signing { batch };
        vec![Effect::StoreCheckpoint { epoch: self.epoch, checkpoint: self.head() }]
    }

    fn signed(&mut self, batch: Batch, kept: SignedCheckpoint) -> Vec<Effect> {
        if *kept.unverified() != self.head() {
            self.phase = Phase::Signing { batch };
            return self.stop("another checkpoint of this size was signed before".to_owned());
        }
        self.publish(batch, kept)
    }

    fn publish(&mut self, batch: Batch, checkpoint: SignedCheckpoint) -> Vec<Effect> {
        self.phase = Phase::Publishing { batch, checkpoint: checkpoint.clone() };
        vec![Effect::Publish { checkpoint }]
    }

    /// What is published stands: nobody waits for its recording, which only spares a recovery a repeat of step 4.
    fn published_now(&mut self, batch: Batch, checkpoint: SignedCheckpoint) -> Vec<Effect> {
        self.latest = Some(checkpoint.clone());
        let Batch { decisions, grown } = batch;
        vec![Effect::Answer { decisions, grown, checkpoint: Some(checkpoint) }]
    }

    fn give_up(&mut self, reason: String) -> Vec<Effect> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Committing { tickets } => vec![Effect::GiveUp { tickets, reason }],
            phase => {
                self.phase = phase;
                self.stop(reason)
            }
        }
    }

    fn stop(&mut self, reason: String) -> Vec<Effect> {
        let stopped = Phase::Stopped { reason: reason.clone() };
        let under_way = match std::mem::replace(&mut self.phase, stopped) {
            Phase::Idle | Phase::Recording | Phase::Stopped { .. } => Vec::new(),
            Phase::Committing { tickets } => tickets,
            Phase::Writing { batch }
            | Phase::Signing { batch }
            | Phase::Publishing { batch, .. } => batch.tickets(),
        };
        let waiting = self.waiting.drain(..).map(|(ticket, _)| ticket);
        let tickets = under_way.into_iter().chain(waiting).collect();
        vec![Effect::Stop { tickets, reason }]
    }

    fn published_size(&self) -> TreeSize {
        self.latest.as_ref().map_or(TreeSize(0), |latest| latest.unverified().size)
    }

    fn head(&self) -> Checkpoint {
        Checkpoint {
            origin: self.origin.clone(),
            size: self.growth.size(),
            root: self.growth.root(),
        }
    }
}

impl Batch {
    fn tickets(self) -> Vec<Ticket> {
        self.decisions.into_iter().map(|(ticket, _)| ticket).collect()
    }
}

impl Found {
    fn check(&self) -> Result<(), CannotRecover> {
        let empty = TreeSize(0);
        let signed = self.signed.as_ref().map(SignedCheckpoint::unverified);
        let shown = self.shown.as_ref().map(SignedCheckpoint::unverified);
        let (at, published) = (signed.map_or(empty, |c| c.size), shown.map_or(empty, |c| c.size));
        // What is published was kept in the database first, so the newest kept is never the smaller one.
        if published > at {
            let database = TreeSize(at.0 + self.unsigned.len() as u64);
            return Err(CannotRecover::DatabaseBehind { published, database });
        }
        if published < self.recorded {
            return Err(CannotRecover::StoreBehind { recorded: self.recorded, published });
        }
        // Compared without signatures: what is published may have been cosigned since.
        if published == at && shown != signed {
            return Err(CannotRecover::Forked { size: at });
        }
        let stands = signed.is_none_or(|c| {
            c.origin == self.origin && c.root == self.growth.root() && c.size == self.growth.size()
        });
        stands.then_some(()).ok_or(CannotRecover::Damaged { size: at })
    }
}

//! Opening a ledger: what database and store say, the recovery of what a crash left, and the first entries.

use std::collections::VecDeque;
use std::sync::Arc;

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::command::{Command, Guard};
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{EventId, SubjectId, SubjectKind, TreeSize};
use chain_of_custody::rotation::Succession;
use chain_of_custody::sequencer::{CannotRecover, Found, Growth, PlacedEntry, Sequencer};
use chain_of_custody::tile::{TILE_WIDTH, TileEdge, TileReadError};
use rand::Rng as _;
use tokio::sync::{mpsc, watch};

use super::cosign::{self, Cosigning};
use super::files::LedgerFiles;
use super::jump::ClockWatch;
use super::servers::Lease;
use super::task::{Ended, Showing, Task};
use super::{Ledger, LedgerError, LedgerOptions, LogWitnesses, QUEUE, Reader, SubmitError};
use crate::objects::StoreError;
use crate::records::{LedgerState, Records, RecordsError, StoredEntry};

/// What a ledger is opened with.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) records: Records,
    pub(super) files: LedgerFiles,
    pub(super) options: LedgerOptions,
    pub(super) witnesses: LogWitnesses,
}

/// What others see of the world outside while a ledger is written here.
#[derive(Debug, Clone, Default)]
pub(super) struct Outside {
    pub(super) cosigning: Option<Arc<cosign::Shared>>,
    /// The largest size of another history that a log witness named, and that a person has confirmed.
    pub(super) known: Option<TreeSize>,
}

pub(super) async fn open(parts: Parts) -> Result<Ledger, LedgerError> {
    let holder = format!("process {}", std::process::id());
    let state = parts.records.take_over(&holder).await?;
    let (mut task, known) = make_ready(&parts, state, None, true).await?;
    let latest = task.published()?;
    let stopped = task.stopped();
    let (requests, mut waiting) = mpsc::channel(QUEUE);
    let (publisher, reader) = parts.reader(latest.clone());
    let cosigning = task.show(&parts, latest, &publisher, &reader);
    let (_, outside) = watch::channel(Outside { cosigning, known });
    tokio::spawn(async move {
        let ended = task.run(&mut waiting).await;
        // What others see ends before whoever asked for the end hears of it.
        drop((task, waiting, publisher));
        if let Ended::Closed(done) = ended {
            // It may have left.
            let _ = done.send(());
        }
    });
    Ok(Ledger { requests, reader, stopped, outside })
}

/// Finishes what a crash left unfinished, looks whether somebody outside knows more, and on the first time writes the first
/// entries: then the ledger can be written.
pub(super) async fn make_ready(
    parts: &Parts,
    state: LedgerState,
    lease: Option<Arc<Lease>>,
    ask_outside: bool,
) -> Result<(Task, Option<TreeSize>), LedgerError> {
    let Parts { records, files, options, witnesses } = parts;
    let (machine, effects) = recover(records, files, options, state).await?;
    let known = match ask_outside {
        true => cosign::confirm_head(witnesses, machine.published(), records, options).await?,
        false => None,
    };
    let first_time = machine.published().is_none();
    let clock = ClockWatch::after(records.newest_time().await?);
    let (records, files, options) = (records.clone(), files.clone(), options.clone());
    let first = first_commands(&options);
    let mut task = Task::new(machine, records, files, options, lease, clock);
    task.settle(VecDeque::from(effects)).await;
    if let Some(reason) = task.stopped().borrow().clone() {
        return Err(LedgerError::Stopped(reason));
    }
    if first_time && task.machine.published().is_none() {
        task.settle_first(first).await?;
    }
    Ok((task, known))
}

/// Finds out at which step a ledger stands that was taken over.
async fn recover(
    records: &Records,
    files: &LedgerFiles,
    options: &LedgerOptions,
    state: LedgerState,
) -> Result<(Sequencer, Vec<chain_of_custody::sequencer::Effect>), LedgerError> {
    let shown = files.checkpoint().await?;
    let signed = parse_signed(&state)?;
    for checkpoint in [&shown, &signed].into_iter().flatten() {
        check_ours(checkpoint, records, options).await?;
    }
    let at = signed.as_ref().map_or(TreeSize(0), |c| c.unverified().size);
    // An older database holds too few entries to go on with; say so before looking for its tiles.
    let published = shown.as_ref().map_or(TreeSize(0), |c| c.unverified().size);
    if published > at {
        return Err(CannotRecover::DatabaseBehind { published, database: state.size }.into());
    }
    let found = Found {
        origin: options.origin.clone(),
        epoch: state.epoch,
        growth: growth(records, files, at).await?,
        unsigned: placed(records.entries(at, state.size).await?)?,
        signed,
        shown,
        recorded: state.recorded,
    };
    Ok(Sequencer::recover(found)?)
}

/// That a checkpoint is of this ledger, by one of its keys.
pub(super) async fn check_ours(
    checkpoint: &SignedCheckpoint,
    records: &Records,
    options: &LedgerOptions,
) -> Result<(), LedgerError> {
    let ours = is_by_our_keys(checkpoint, records, options).await?;
    let named = checkpoint.unverified().origin == options.origin;
    (ours && named)
        .then_some(())
        .ok_or_else(|| LedgerError::OtherKey { origin: options.origin.to_string() })
}

/// Whether the key in use signed a checkpoint, or one that it has replaced: right after a rotation, or after an older copy
/// was put back.
async fn is_by_our_keys(
    checkpoint: &SignedCheckpoint,
    records: &Records,
    options: &LedgerOptions,
) -> Result<bool, LedgerError> {
    let key = options.signer.vkey();
    if checkpoint.verify(std::slice::from_ref(&key), &[]).is_ok() {
        return Ok(true);
    }
    let recorded = records.rotations_to(&key).await?.into_iter().map(|entry| entry.rotation);
    let known = Succession::of(recorded.chain(options.rotations.iter().cloned()));
    Ok(checkpoint.verify(&known.before(&key), &[]).is_ok())
}

/// The tree at `size`: its edge from the stored tiles, the entries of its unfilled bundle from the database.
async fn growth(
    records: &Records,
    files: &LedgerFiles,
    size: TreeSize,
) -> Result<Growth, LedgerError> {
    let (files, runtime) = (files.clone(), tokio::runtime::Handle::current());
    let work = move || TileEdge::restore(size, |path| runtime.block_on(files.hash_tile(path)));
    let restored = tokio::task::spawn_blocking(work).await.map_err(|_| LedgerError::Closed)?;
    let edge = restored.map_err(|error| match error {
        TileReadError::Fetch(error @ LedgerError::Store(StoreError::Device { .. })) => error,
        _ => CannotRecover::Damaged { size }.into(),
    })?;
    let unfilled = TreeSize(size.0 - size.0 % TILE_WIDTH);
    let unfilled = placed(records.entries(unfilled, size).await?)?;
    Growth::restore(edge, unfilled).map_err(|_| CannotRecover::Damaged { size }.into())
}

fn placed(stored: Vec<StoredEntry>) -> Result<Vec<PlacedEntry>, RecordsError> {
    stored.into_iter().map(StoredEntry::parse).collect()
}

fn parse_signed(state: &LedgerState) -> Result<Option<SignedCheckpoint>, RecordsError> {
    let corrupt = |e: chain_of_custody::malformed::Malformed| RecordsError::Corrupt {
        table: "checkpoints",
        reason: e.to_string(),
    };
    let parse = |(_, note): &(TreeSize, String)| note.parse().map_err(corrupt);
    state.signed.as_ref().map(parse).transpose()
}

/// A new ledger begins by saying so, and with the key that signs it.
fn first_commands(options: &LedgerOptions) -> Vec<Command> {
    let force = SubjectId::new(SubjectKind::Force, options.origin.as_str());
    let new = |kind| {
        let event = EventId::from_uuid(uuid::Uuid::now_v7());
        let by = Command::new(kind, event).field(field::BY, "exhibit", random_salt());
        match &force {
            Ok(force) => by.touching(force.clone()),
            // An origin need not be a subject's name; the entry itself is what counts.
            Err(_) => by,
        }
    };
    let mut opened = new(EventKind::LedgerOpened).public("origin", options.origin.as_str());
    if let Ok(force) = &force {
        opened = opened.provided(Guard::SubjectIsNew(force.clone()));
    }
    let key = new(EventKind::KeyPublished)
        .public("role", "log")
        .public("key", options.signer.vkey().to_string());
    vec![opened, key]
}

fn random_salt() -> Salt {
    let mut salt = [0; 32];
    rand::rng().fill_bytes(&mut salt);
    Salt(salt)
}

impl Parts {
    /// Where what is published is shown, and what reads it.
    pub(super) fn reader(
        &self,
        latest: SignedCheckpoint,
    ) -> (Arc<watch::Sender<SignedCheckpoint>>, Reader) {
        let (publisher, published) = watch::channel(latest);
        let (records, files) = (self.records.clone(), self.files.clone());
        let log_key = self.options.signer.vkey();
        (Arc::new(publisher), Reader { records, files, published, log_key })
    }
}

impl Task {
    /// What is published; a ledger that is ready has something.
    pub(super) fn published(&self) -> Result<SignedCheckpoint, LedgerError> {
        let latest = self.machine.published().cloned();
        latest.ok_or_else(|| LedgerError::Stopped("nothing is published".to_owned()))
    }

    /// Shows from now on what is published, and asks for cosignatures of it.
    pub(super) fn show(
        &mut self,
        parts: &Parts,
        latest: SignedCheckpoint,
        publisher: &Arc<watch::Sender<SignedCheckpoint>>,
        reader: &Reader,
    ) -> Option<Arc<cosign::Shared>> {
        let (reader, options) = (reader.clone(), parts.options.clone());
        let cosigning =
            Cosigning::begin(&parts.witnesses, latest, publisher, reader.clone(), options);
        let shared = cosigning.as_ref().map(Cosigning::shared);
        self.show_in(Showing { publisher: Arc::clone(publisher), reader, cosigning });
        shared
    }

    /// Places the first entries before anybody else can ask.
    async fn settle_first(&mut self, commands: Vec<Command>) -> Result<(), LedgerError> {
        let answers: Vec<_> = commands.into_iter().map(|command| self.ask(command)).collect();
        self.begin().await;
        for answer in answers {
            match answer.await {
                Ok(Ok(_)) => {}
                Ok(Err(SubmitError::Stopped { reason })) => {
                    return Err(LedgerError::Stopped(reason));
                }
                Ok(Err(other)) => return Err(LedgerError::Stopped(other.to_string())),
                Err(_) => return Err(LedgerError::Closed),
            }
        }
        Ok(())
    }
}

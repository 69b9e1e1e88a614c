//! What an entry costs: beside the bare floor of the same durable steps, beside a hash chain in SQLite, and at size.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use chain_of_custody::command::Command;
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{EventId, ItemId};
use chain_of_custody::note::SigningKey;
use futures_util::future::{join_all, try_join_all};
use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use storage::clock::SystemClock;
use storage::ledger::{Ledger, LedgerOptions};
use storage::objects::{Kek, ObjectStore};
use storage::records::Records;

use crate::usage::median;

pub(crate) const ORIGIN: &str = "ledger.bench";
const WRITERS: usize = 64;
/// Appends of each writer in one round.
const APPENDS: usize = 20;
pub(crate) const BATCH: usize = 1_024;
/// Entries of the hash chain in one round.
const CHAINED: usize = 300;
const FLOORS: usize = 20;
/// Where the cost at the end is compared with.
const EARLY: usize = 10_000;
/// Full batches whose median is the cost at a size.
const WINDOW: usize = 8;

/// What one round measured, in seconds; the last two are per append.
#[derive(Debug, Default)]
struct Figures {
    floor: Vec<f64>,
    writers: Vec<f64>,
    in_flight: Vec<f64>,
    chain: Vec<f64>,
}

/// Interleaved rounds of the floor, 64 writers, 1,024 in flight and the chain; then the growth up to `entries`.
pub(crate) fn run(scratch: &Path, rounds: usize, entries: usize) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = tempfile::tempdir_in(scratch)?;
    runtime.block_on(async {
        let mut figures = Figures::default();
        let ledger = open(&folder.path().join("rounds")).await?;
        let mut chain = Chain::open(&folder.path().join("chain.sqlite")).await?;
        for round in 0..=rounds {
            let measured = Figures {
                floor: floor(&folder.path().join(format!("floor-{round}")))?,
                writers: writers(&ledger).await?,
                in_flight: in_flight(&ledger, WINDOW).await?,
                chain: chain.append(CHAINED).await?,
            };
            // The first is thrown away: caches fill, statements are prepared.
            if round > 0 {
                figures.add(measured);
            }
        }
        ledger.close().await;
        figures.print(rounds);
        growth(&folder.path().join("growth"), entries).await
    })
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.floor.extend(other.floor);
        self.writers.extend(other.writers);
        self.in_flight.extend(other.in_flight);
        self.chain.extend(other.chain);
    }

    fn print(&mut self, rounds: usize) {
        let (floor, writers) = (median(&mut self.floor), median(&mut self.writers));
        let (in_flight, chain) = (median(&mut self.in_flight), median(&mut self.chain));
        println!(
            "\nLedger (cargo run --release -p benches -- ledger; medians of {rounds} interleaved rounds)"
        );
        println!("bare floor of a batch's durable steps   {:>9.2} ms", floor * 1e3);
        println!("64 writers, append with proof           {:>9.2} ms", writers * 1e3);
        println!("1,024 in flight                         {:>9.0} /s", 1.0 / in_flight);
        println!("hash chain in SQLite, one by one        {:>9.0} /s", 1.0 / chain);
        println!("64 writers / floor     = {:.2} (aim ≤ 2.0)", writers / floor);
        println!("1,024 in flight / chain = {:.1} (aim ≥ 4.0)", chain / in_flight);
    }
}

async fn open(folder: &Path) -> Result<Ledger> {
    fs::create_dir_all(folder)?;
    let records = Records::sqlite(&folder.join("records.sqlite"), ORIGIN).await?;
    open_in(records, folder).await
}

pub(crate) async fn open_in(records: Records, folder: &Path) -> Result<Ledger> {
    let objects = ObjectStore::open(&folder.join("objects"), Kek::new([1; 32].into()))?;
    open_with(records, objects).await
}

pub(crate) async fn open_with(records: Records, objects: ObjectStore) -> Result<Ledger> {
    let options = LedgerOptions {
        rotations: Vec::new(),
        origin: ORIGIN.parse()?,
        signer: Arc::new(SigningKey::from_seed(ORIGIN, [1; 32])?),
        clock: Arc::new(SystemClock),
    };
    Ok(Ledger::open(records, objects, options).await?)
}

/// An act upon an item, as the portal makes them.
pub(crate) fn act() -> Command {
    let salt = || {
        let mut salt = [0; 32];
        rand::rng().fill_bytes(&mut salt);
        Salt(salt)
    };
    Command::new(EventKind::ItemViewed, EventId::from_uuid(uuid::Uuid::now_v7()))
        .touching(ItemId::from_uuid(uuid::Uuid::now_v7()))
        .field(field::SHA256, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c", salt())
        .field(field::BY, "somebody", salt())
}

/// Each writer asks again as soon as it is answered.
async fn writers(ledger: &Ledger) -> Result<Vec<f64>> {
    let writer = |ledger: Ledger| async move {
        let mut times = Vec::with_capacity(APPENDS);
        for _ in 0..APPENDS {
            let begun = Instant::now();
            ledger.submit(act()).await?;
            times.push(begun.elapsed().as_secs_f64());
        }
        Ok::<_, anyhow::Error>(times)
    };
    let all = try_join_all((0..WRITERS).map(|_| tokio::spawn(writer(ledger.clone())))).await?;
    Ok(all.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// Seconds per append of full batches, one after the other.
pub(crate) async fn in_flight(ledger: &Ledger, batches: usize) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(batches);
    for _ in 0..batches {
        let begun = Instant::now();
        for placed in join_all((0..BATCH).map(|_| ledger.submit(act()))).await {
            placed?;
        }
        times.push(begun.elapsed().as_secs_f64() / BATCH as f64);
    }
    Ok(times)
}

/// The cost of an append where the ledger has 10,000 entries, and at the end.
async fn growth(folder: &Path, entries: usize) -> Result<()> {
    ensure!(entries > 2 * EARLY, "growth needs more than {} entries", 2 * EARLY);
    let ledger = open(folder).await?;
    let size = || usize::try_from(ledger.latest().unverified().size.0);
    let mut early = None;
    let mut late = f64::NAN;
    while size()? < entries {
        let cost = median(&mut in_flight(&ledger, WINDOW).await?);
        if size()? >= EARLY {
            early.get_or_insert(cost);
            late = cost;
        }
    }
    let (early, end) = (early.context("no cost at 10,000 entries")?, size()?);
    ledger.close().await;
    println!(
        "\nGrowth (cargo run --release -p benches -- ledger --entries {entries}; full batches)"
    );
    println!("an append at {EARLY} entries   {:>7.0} µs", early * 1e6);
    println!("an append at {end} entries   {:>7.0} µs", late * 1e6);
    println!("late / early = {:.2} (aim ≤ 1.2)", late / early);
    Ok(())
}

/// The usual way to make a log that shows tampering: a row with the hash of the one before, committed one by one.
struct Chain {
    database: SqliteConnection,
    last: Vec<u8>,
}

impl Chain {
    async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let mut database = SqliteConnection::connect_with(&options).await?;
        let table = "CREATE TABLE chain (id INTEGER PRIMARY KEY, entry BLOB, hash BLOB)";
        sqlx::query(table).execute(&mut database).await?;
        Ok(Self { database, last: vec![0; 32] })
    }

    async fn append(&mut self, entries: usize) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(entries);
        for _ in 0..entries {
            let begun = Instant::now();
            // As many bytes as one of our entries with its openings.
            let mut entry = vec![0; 900];
            rand::rng().fill_bytes(&mut entry);
            self.last =
                Sha256::new().chain_update(&self.last).chain_update(&entry).finalize()[..].to_vec();
            sqlx::query("INSERT INTO chain (entry, hash) VALUES ($1, $2)")
                .bind(entry)
                .bind(self.last.clone())
                .execute(&mut self.database)
                .await?;
            times.push(begun.elapsed().as_secs_f64());
        }
        Ok(times)
    }
}

/// The durable steps of a batch, and nothing else: bytes, syncs, names.
///
/// A commit; a tile, a bundle, two openings files and their two keys, beside each other, then their six folders,
/// beside each other; a commit; the checkpoint replaced, with its folder; a commit.
fn floor(folder: &Path) -> Result<Vec<f64>> {
    let folders: Vec<_> = (0..FILES.len()).map(|n| folder.join(n.to_string())).collect();
    folders.iter().try_for_each(fs::create_dir_all)?;
    let log = File::create(folder.join("log"))?;
    let mut times = Vec::with_capacity(FLOORS);
    for round in 0..FLOORS {
        let begun = Instant::now();
        commit(&log, 200 << 10)?;
        beside_each_other(&folders, |at| {
            write_new(&folder.join(format!("{round}-{at}")), FILES[at])
        })?;
        for (at, into) in folders.iter().enumerate() {
            let waiting = folder.join(format!("{round}-{at}"));
            fs::rename(waiting, into.join(round.to_string()))?;
        }
        beside_each_other(&folders, |at| Ok(File::open(&folders[at])?.sync_all()?))?;
        commit(&log, 12 << 10)?;
        write_new(&folder.join("waiting"), 250)?;
        fs::rename(folder.join("waiting"), folder.join("checkpoint"))?;
        File::open(folder)?.sync_all()?;
        commit(&log, 8 << 10)?;
        times.push(begun.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// Bytes of the files that a batch of 64 writes into an unfilled bundle, about half full: tile, bundle, two openings
/// files, two keys.
pub(crate) const FILES: [usize; 6] = [4 << 10, 64 << 10, 32 << 10, 24 << 10, 140, 140];

/// As a write-ahead log does it: append, sync.
fn commit(mut log: &File, bytes: usize) -> Result<()> {
    use std::io::Write as _;
    log.write_all(&vec![7; bytes])?;
    Ok(log.sync_data()?)
}

fn write_new(path: &Path, bytes: usize) -> Result<()> {
    fs::write(path, vec![7; bytes])?;
    Ok(File::open(path)?.sync_data()?)
}

fn beside_each_other<T: Sync>(all: &[T], act: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = (0..all.len()).map(|at| scope.spawn(move || act(at))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

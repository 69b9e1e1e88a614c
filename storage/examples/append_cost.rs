//! What an append costs: `cargo run --release -p storage --example append_cost -- [ENTRIES] [FOLDER]`.
//!
//! Fills a ledger and prints the cost per append in full batches at 10,000 entries and at the end, then the median of
//! 64 writers beside the bare floor of the same durable steps.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for the terminal")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chain_of_custody::command::Command;
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{EventId, ItemId};
use chain_of_custody::note::SigningKey;
use futures_util::future::join_all;
use storage::clock::SystemClock;
use storage::ledger::{Ledger, LedgerOptions};
use storage::objects::{Kek, ObjectStore};
use storage::records::Records;

const IN_FLIGHT: usize = 1_024;
const WRITERS: usize = 64;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let entries: usize = arguments.next().map_or(20_000, |n| n.parse().unwrap());
    let kept = tempfile::tempdir().unwrap();
    let folder = arguments.next().map_or(kept.path().to_owned(), Into::into);
    let ledger = open(&folder).await;
    let mut early = None;
    let mut done = 0;
    let mut window = Vec::new();
    while done < entries {
        let begun = Instant::now();
        for placed in join_all((0..IN_FLIGHT).map(|_| ledger.submit(act()))).await {
            placed.unwrap();
        }
        done += IN_FLIGHT;
        window.push(begun.elapsed() / IN_FLIGHT as u32);
        if window.len() == 10 {
            window.sort();
            let median = window[5];
            window.clear();
            if done >= 10_000 {
                let first = *early.get_or_insert(median);
                let ratio = median.as_secs_f64() / first.as_secs_f64();
                let rate = 1.0 / median.as_secs_f64();
                println!(
                    "{done} entries: {median:?} per append ({rate:.0}/s), {ratio:.2} x at 10,000"
                );
            }
        }
    }
    println!("{WRITERS} writers: median {:?}", writers(&ledger).await);
    println!("bare floor of the same durable steps: median {:?}", floor(&folder));
}

async fn open(folder: &Path) -> Ledger {
    let key = SigningKey::from_seed("ledger.bench", [1; 32]).unwrap();
    let options = LedgerOptions {
        origin: "ledger.bench".parse().unwrap(),
        signer: Arc::new(key),
        clock: Arc::new(SystemClock),
    };
    let objects = ObjectStore::open(&folder.join("objects"), Kek::new([1; 32].into())).unwrap();
    let records = Records::sqlite(&folder.join("records.sqlite"), "ledger.bench").await.unwrap();
    Ledger::open(records, objects, options).await.unwrap()
}

fn act() -> Command {
    let id = EventId::from_uuid(uuid::Uuid::now_v7());
    Command::new(EventKind::ItemViewed, id)
        .touching(ItemId::from_uuid(uuid::Uuid::now_v7()))
        .field(field::SHA256, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c", Salt([1; 32]))
        .field(field::BY, "somebody", Salt([2; 32]))
}

/// Each writer asks again as soon as it is answered.
async fn writers(ledger: &Ledger) -> Duration {
    let writer = |ledger: Ledger| async move {
        let mut times = Vec::new();
        for _ in 0..50 {
            let begun = Instant::now();
            ledger.submit(act()).await.unwrap();
            times.push(begun.elapsed());
        }
        times
    };
    let all = join_all((0..WRITERS).map(|_| tokio::spawn(writer(ledger.clone())))).await;
    let mut times: Vec<_> = all.into_iter().flat_map(Result::unwrap).collect();
    times.sort();
    times[times.len() / 2]
}

/// Three commits (a written and synced file each), four files beside each other with their folders (two with a key),
/// one replaced file with its folder: nothing but bytes and syncs.
fn floor(folder: &Path) -> Duration {
    let folder = folder.join("floor");
    std::fs::create_dir_all(&folder).unwrap();
    let sync_folder = || std::fs::File::open(&folder).unwrap().sync_all().unwrap();
    let write = |name: &str, bytes: usize| {
        let path = folder.join(name);
        std::fs::write(&path, vec![7; bytes]).unwrap();
        std::fs::File::open(&path).unwrap().sync_data().unwrap();
    };
    let mut times: Vec<_> = (0..50)
        .map(|round| {
            let begun = Instant::now();
            write("commit", 64 << 10);
            std::thread::scope(|scope| {
                for (file, bytes) in [(0, 4 << 10), (1, 80 << 10), (2, 40 << 10), (3, 40 << 10)] {
                    scope.spawn(move || {
                        write(&format!("{round}-{file}"), bytes);
                        sync_folder();
                        if file > 1 {
                            write(&format!("{round}-{file}.key"), 100);
                            sync_folder();
                        }
                    });
                }
            });
            write("commit", 4 << 10);
            write("checkpoint", 200);
            sync_folder();
            write("commit", 4 << 10);
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

//! The process dies: at each named moment, and at any. What was acknowledged is there, once, and the ledger is clean.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chain_of_custody::ids::LeafIndex;
use storage::records::Records;
use support::{Home, ORIGIN, act, assert_clean, assert_proved};

/// Random kills per database. More of them belong to a soak.
const KILLS: u64 = 12;
const FOLDER: &str = "EXHIBIT_TEST_FOLDER";
const DATABASE: &str = "EXHIBIT_TEST_DATABASE";
const FIRST: &str = "EXHIBIT_TEST_FIRST";

on_both_databases!(every_named_moment_loses_nothing, random_kills_lose_nothing);

async fn every_named_moment_loses_nothing(home: Home) {
    let moments =
        ["entries-committed", "tiles-written", "checkpoint-stored", "published", "recorded"];
    let mut asked = 0;
    for moment in moments {
        // The first time each moment comes is while opening: on a new ledger that is its first batch.
        for nth in 1..=2 {
            let home = home.another();
            let mut child = append(&home, asked, Some(&format!("{moment}:{nth}")));
            assert!(!child.wait().unwrap().success(), "{moment}:{nth} was reached");
            let ledger = home.open().await;
            assert_clean(&ledger).await;
            let opened = ledger.latest().unverified().size.0;
            assert_eq!(opened, if nth == 1 { 2 } else { 3 }, "{moment}:{nth} loses or repeats");
            let placed = ledger.submit(act(asked)).await.unwrap();
            assert_eq!(placed.leaf_index, LeafIndex(2), "{moment}:{nth}: a retry gets its place");
            assert_eq!(placed.repeated, nth == 2);
            assert_proved(&placed);
            assert_clean(&ledger).await;
            asked += 10;
        }
    }
}

async fn random_kills_lose_nothing(home: Home) {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..KILLS {
        let mut child = append(&home, round * 10_000, None);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let alive = acknowledged(home.path()).len();
        // From its first acknowledgement on, so that the kill hits work and not the start of the program.
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while acknowledged(home.path()).len() == alive && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(seed >> 57));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let ledger = home.open().await;
    assert_clean(&ledger).await;
    let acknowledged = acknowledged(home.path());
    assert!(acknowledged.len() as u64 >= KILLS, "the children did work");
    for (n, index) in acknowledged {
        let placed = ledger.submit(act(n)).await.unwrap();
        assert!(placed.repeated, "act {n} was acknowledged and is lost");
        assert_eq!(placed.leaf_index, index, "act {n} has another place");
    }
}

/// Starts this test program again as a writer of acts `first…`.
fn append(home: &Home, first: u64, fail: Option<&str>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "writer", "--nocapture"])
        .env(FOLDER, home.path())
        .env(DATABASE, home.database_url())
        .env(FIRST, first.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(fail) = fail {
        command.env("EXHIBIT_FAIL", fail);
    }
    command.spawn().unwrap()
}

/// What the writers were answered, by number. A line that the kill cut short was not read by anybody.
fn acknowledged(folder: &Path) -> BTreeMap<u64, LeafIndex> {
    let text = fs::read_to_string(folder.join("acknowledged")).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole
        .filter_map(|line| {
            let (n, index) = line.split_once(' ')?;
            Some((n.parse().ok()?, LeafIndex(index.parse().ok()?)))
        })
        .collect()
}

/// The child: four writers that note each answer. Not a test by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as the child of the tests above"]
async fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let records = Records::connect(&std::env::var(DATABASE).unwrap(), ORIGIN).await.unwrap();
    let ledger = support::open_with(records, &folder.join("objects")).await.unwrap();
    let writers = (0..4u64).map(|writer| {
        let ledger = ledger.clone();
        let mut log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("acknowledged"))
            .unwrap();
        tokio::spawn(async move {
            // With a fail point armed only the first act matters.
            for n in (first + writer..first + 10_000).step_by(4) {
                support::let_it_rest().await;
                let placed = ledger.submit(act(n)).await.unwrap();
                log.write_all(format!("{n} {}\n", placed.leaf_index).as_bytes()).unwrap();
            }
        })
    });
    let armed = std::env::var("EXHIBIT_FAIL").is_ok();
    for writer in writers.take(if armed { 1 } else { 4 }) {
        if armed {
            writer.await.unwrap();
        }
    }
    if !armed {
        std::future::pending::<()>().await;
    }
}

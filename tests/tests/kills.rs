//! kill -9 at random moments of uploads: nothing acknowledged is lost, and each file becomes one item.
//!
//! Ten kills by default; a hundred with EXHIBIT_SOAK=1. EXHIBIT_SEED repeats a story that failed.

#![allow(clippy::print_stdout, reason = "a story that failed is told again from what it printed")]

use std::env;
use std::time::Duration;

use tests::persistent::{Surge, everything_is_there};
use tests::seeded::Seeded;
use tests::{Server, Workspace};

const KILLS: u64 = 10;
const KILLS_IN_A_SOAK: u64 = 100;
const CLIENTS: u64 = 4;
const LARGEST_FILE_BYTES: u64 = 3 << 20;
/// A server lives between nothing and this long before it is killed.
const LONGEST_LIFE_MS: u64 = 1200;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_kills_lose_nothing_acknowledged_and_leave_one_item_per_file() {
    let soak = env::var("EXHIBIT_SOAK").is_ok_and(|value| value == "1");
    let kills = if soak { KILLS_IN_A_SOAK } else { KILLS };
    let seed =
        env::var("EXHIBIT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_122);
    println!("{kills} kills, EXHIBIT_SEED={seed}");
    let workspace = Workspace::new();
    let device = workspace.enrol("a device whose server is killed");

    let surge = Surge::begin(&device, CLIENTS, LARGEST_FILE_BYTES, seed);
    kill_again_and_again(&workspace, kills, Seeded::new(seed), &surge).await;
    let server = start(&workspace).await;
    surge.send_to([&server]);
    let sent = surge.end().await;
    println!("{} files arrived", sent.len());
    everything_is_there(&workspace, &server, &device, &sent).await;
    assert!(server.stop().success(), "it does not stop in order");
}

async fn start(workspace: &Workspace) -> Server {
    // Starting waits for a process, which would keep the clients' thread.
    tokio::task::block_in_place(|| Server::start(workspace))
}

async fn kill_again_and_again(
    workspace: &Workspace,
    kills: u64,
    mut seeded: Seeded,
    surge: &Surge,
) {
    for kill in 1..=kills {
        let server = start(workspace).await;
        surge.send_to([&server]);
        let life_ms = seeded.below(LONGEST_LIFE_MS);
        tokio::time::sleep(Duration::from_millis(life_ms)).await;
        server.kill();
        surge.send_to([]);
        println!("kill {kill} after {life_ms} ms");
    }
}

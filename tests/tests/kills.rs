//! kill -9 at random moments of uploads: nothing acknowledged is lost, and each file becomes one item.
//!
//! Ten kills by default; a hundred with EXHIBIT_SOAK=1. EXHIBIT_SEED repeats a story that failed.

#![allow(clippy::print_stdout, reason = "a story that failed is told again from what it printed")]

use std::env;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tests::persistent::{InFlight, Sent, everything_is_there};
use tests::seeded::Seeded;
use tests::tus::Tus;
use tests::workspace::Device;
use tests::{Server, Workspace};
use tokio::sync::watch;
use tokio::task::JoinSet;

const KILLS: u64 = 10;
const KILLS_IN_A_SOAK: u64 = 100;
const CLIENTS: u64 = 4;
const LARGEST_FILE_BYTES: u64 = 3 << 20;
/// A server lives between nothing and this long before it is killed.
const LONGEST_LIFE_MS: u64 = 1200;
const PAUSE_AFTER_AN_ERROR: Duration = Duration::from_millis(25);
/// One client's patience with one file, all restarts included.
const FILE_TIMEOUT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_kills_lose_nothing_acknowledged_and_leave_one_item_per_file() {
    let soak = env::var("EXHIBIT_SOAK").is_ok_and(|value| value == "1");
    let kills = if soak { KILLS_IN_A_SOAK } else { KILLS };
    let seed =
        env::var("EXHIBIT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_122);
    println!("{kills} kills, EXHIBIT_SEED={seed}");
    let workspace = Workspace::new();
    let device = workspace.enrol("a device whose server is killed");

    let (server_url, url) = watch::channel(None);
    let (enough, done) = watch::channel(false);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let seeded = Seeded::new(seed ^ (number << 32));
        clients.spawn(send_files(device.clone(), url.clone(), done.clone(), seeded, number));
    }
    kill_again_and_again(&workspace, kills, Seeded::new(seed), &server_url).await;
    enough.send_replace(true);
    let server = start(&workspace).await;
    server_url.send_replace(Some(server.url().to_owned()));
    let mut sent = Vec::new();
    while let Some(client) = clients.join_next().await {
        sent.extend(client.expect("no client panics"));
    }
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
    url: &watch::Sender<Option<String>>,
) {
    for kill in 1..=kills {
        let server = start(workspace).await;
        url.send_replace(Some(server.url().to_owned()));
        let life_ms = seeded.below(LONGEST_LIFE_MS);
        tokio::time::sleep(Duration::from_millis(life_ms)).await;
        server.kill();
        url.send_replace(None);
        println!("kill {kill} after {life_ms} ms");
    }
}

/// Sends one file after another until it is enough; the file in hand is always finished.
async fn send_files(
    device: Device,
    url: watch::Receiver<Option<String>>,
    enough: watch::Receiver<bool>,
    mut seeded: Seeded,
    client: u64,
) -> Vec<Sent> {
    let mut sent = Vec::new();
    while !*enough.borrow() {
        let size = 1 + seeded.below(LARGEST_FILE_BYTES);
        let bytes = Bytes::from(seeded.bytes(usize::try_from(size).expect("a small file")));
        let name = format!("client {client} file {}.bin", sent.len());
        let started = Instant::now();
        let mut file = InFlight::new(name, bytes);
        let finished = loop {
            assert!(started.elapsed() < FILE_TIMEOUT, "{file:?} is not finished");
            let Some(server) = url.borrow().clone() else {
                tokio::time::sleep(PAUSE_AFTER_AN_ERROR).await;
                continue;
            };
            match file.go_on(&Tus::new(&server, &device.token), &mut seeded).await {
                Ok(finished) => break finished,
                Err(_) => tokio::time::sleep(PAUSE_AFTER_AN_ERROR).await,
            }
        };
        sent.push(file.sent(finished));
    }
    sent
}

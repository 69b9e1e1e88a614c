//! Several servers and a worker on one PostgreSQL and one bucket: every server continues every upload, and kills of servers,
//! store and database during a surge lose nothing acknowledged.
//!
//! Ten kills by default; a hundred with EXHIBIT_SOAK=1. EXHIBIT_SEED repeats a story that failed.

#![allow(clippy::print_stdout, reason = "a story that failed is told again from what it printed")]

use std::env;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::{Pid, Signal};
use test_machine::bound;
use test_machine::postgres::Postgres;
use test_machine::s3::Store;
use tests::persistent::{Sent, Surge, everything_is_there};
use tests::programs::program;
use tests::seeded::Seeded;
use tests::tus::Tus;
use tests::{Server, Workspace, footage};

const KILLS: u64 = 10;
const KILLS_IN_A_SOAK: u64 = 100;
const CLIENTS: u64 = 4;
const SERVERS: usize = 2;
/// More than a piece, so that uploads in parts are cut in their middle.
const LARGEST_FILE_BYTES: u64 = 20 << 20;
/// Between two kills.
const LONGEST_PEACE_MS: u64 = 1500;
/// Derivatives of short clips take seconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(180);

/// The machines of a force that has outgrown one.
struct Force {
    postgres: Postgres,
    store: Store,
    machines: Vec<Workspace>,
}

impl Force {
    fn found() -> Self {
        let mut postgres = Postgres::start().expect("PostgreSQL starts");
        let database = postgres.create_database().expect("a database");
        let store = Store::seaweed().expect("SeaweedFS starts");
        store.make_bucket("evidence", true).expect("a bucket");
        let mut first = Workspace::in_bucket(&store, "evidence");
        first.set("EXHIBIT__STORAGE__DATABASE", &database);
        // What is locked for a week is no use to a test that ends.
        first.set("EXHIBIT__STORAGE__LOCK_DAYS", "1");
        first.found();
        let machines = (1..SERVERS).map(|_| first.sibling()).collect::<Vec<_>>();
        Self { postgres, store, machines: std::iter::once(first).chain(machines).collect() }
    }

    fn first(&self) -> &Workspace {
        &self.machines[0]
    }
}

/// `exhibit work` as a process.
struct Worker(Child);

impl Worker {
    fn start(machine: &Workspace) -> Self {
        let log = std::fs::File::create(machine.path("worker.log")).expect("a log");
        let mut command = bound::command(program("exhibit"), "KILL", None);
        command.args(["work", "--data"]).arg(machine.data()).stdin(Stdio::null());
        command.envs(machine.environment.iter().cloned());
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        Self(bound::spawn(command).expect("the worker starts"))
    }

    fn stop(mut self) -> bool {
        rustix::process::kill_process(Pid::from_child(&self.0), Signal::TERM).expect("SIGTERM");
        self.0.wait().expect("it ends").success()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended_already = self.0.wait();
    }
}

/// Half of an upload at one server, the other half at the other; looked at, derived and bundled at either.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_at_another_server_and_a_worker_makes_its_derivatives() {
    let force = Force::found();
    let servers: Vec<Server> = force
        .machines
        .iter()
        .map(|machine| Server::start_with(machine, &[("EXHIBIT__TRANSCODE__ON_SERVER", "false")]))
        .collect();
    let device = force.first().enrol("a dock");
    let clip = Bytes::from(std::fs::read(footage::prepared("shift.mp4")).expect("a clip"));
    let doors: Vec<Tus> = servers.iter().map(|s| Tus::new(s.url(), &device.token)).collect();
    let upload = doors[0].create(clip.len() as u64, "shift.mp4").await.expect("begun");
    let mut offset = 0;
    let finished = loop {
        for door in doors.iter().rev() {
            let end = clip.len().min(offset + 1_234_567);
            let standing = door.append(&upload, offset as u64, clip.slice(offset..end)).await;
            let standing = standing.expect("it goes on there");
            offset = standing.offset as usize;
            if standing.finished.is_some() || offset == clip.len() {
                break;
            }
        }
        let standing = doors[0].standing(&upload).await.expect("it says where it is");
        if let Some(finished) = standing.finished {
            break finished;
        }
        offset = standing.offset as usize;
    };
    let worker_machine = force.first().sibling();
    let worker = Worker::start(&worker_machine);
    let began = Instant::now();
    loop {
        let shown = force.machines[1].show(&finished.item).ok().json();
        if shown["derivatives"].as_array().is_some_and(|all| all.len() >= 3) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "no derivatives: {shown}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(worker.stop(), "it does not stop in order");
    let sent = [Sent { bytes: clip, finished }];
    for (machine, server) in force.machines.iter().zip(&servers) {
        everything_is_there(machine, server, &device, &sent).await;
    }
    for server in servers {
        assert!(server.stop().success(), "it does not stop in order");
    }
}

#[test]
fn a_worker_without_a_database_to_share_says_what_is_missing() {
    let workspace = Workspace::new();
    workspace.found();
    let mut command = Command::new(program("exhibit"));
    let said = tests::Answer::of(command.args(["work", "--data"]).arg(workspace.data()));
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("storage.database"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_of_servers_store_and_database_lose_nothing_acknowledged() {
    let soak = env::var("EXHIBIT_SOAK").is_ok_and(|value| value == "1");
    let kills = if soak { KILLS_IN_A_SOAK } else { KILLS };
    let seed =
        env::var("EXHIBIT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_129);
    println!("{kills} kills, EXHIBIT_SEED={seed}");
    let mut force = tokio::task::block_in_place(Force::found);
    let mut servers: Vec<Option<Server>> =
        force.machines.iter().map(|machine| Some(start(machine))).collect();
    let device = force.first().enrol("a device whose servers are killed");
    let surge = Surge::begin(&device, CLIENTS, LARGEST_FILE_BYTES, seed);
    surge.send_to(servers.iter().flatten());
    let mut seeded = Seeded::new(seed);
    for kill in 1..=kills {
        let peace_ms = seeded.below(LONGEST_PEACE_MS);
        tokio::time::sleep(Duration::from_millis(peace_ms)).await;
        let what = seeded.below(4);
        println!(
            "kill {kill} after {peace_ms} ms: {}",
            ["a server", "a server", "the store", "the database"][what as usize]
        );
        tokio::task::block_in_place(|| match what {
            0 | 1 => {
                let at = what as usize % SERVERS;
                servers[at].take().expect("it runs").kill();
                servers[at] = Some(start(&force.machines[at]));
            }
            2 => {
                force.store.kill().expect("SIGKILL");
                force.store.restart().expect("it comes back");
            }
            _ => {
                force.postgres.kill().expect("SIGKILL");
                force.postgres.restart().expect("it comes back");
            }
        });
        // A server that could not go on has ended by itself, as under systemd, and is started again.
        for (at, server) in servers.iter_mut().enumerate() {
            if !server.as_mut().is_some_and(Server::is_running) {
                *server = Some(tokio::task::block_in_place(|| start(&force.machines[at])));
            }
        }
        surge.send_to(servers.iter().flatten());
    }
    let sent = surge.end().await;
    println!("{} files arrived", sent.len());
    let server = servers[1].as_ref().expect("it runs");
    everything_is_there(&force.machines[1], server, &device, &sent).await;
    for server in servers.into_iter().flatten() {
        assert!(server.stop().success(), "it does not stop in order");
    }
}

/// One server after the other is stopped in order and started again, while docks send through whichever is ready: nothing
/// acknowledged is lost or sent again, and a server says that it is going before it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rolling_restart_is_noticed_by_nobody() {
    let mut force = tokio::task::block_in_place(Force::found);
    for machine in &mut force.machines {
        machine.set("EXHIBIT__SERVER__DRAIN_S", "2");
    }
    let mut servers: Vec<Option<Server>> =
        force.machines.iter().map(|machine| Some(start(machine))).collect();
    refuses_what_needs_every_server_stopped(force.first());
    let device = force.first().enrol("a device whose servers are restarted");
    let surge = Surge::begin(&device, CLIENTS, LARGEST_FILE_BYTES, 1);
    surge.send_to(servers.iter().flatten());
    for at in 0..SERVERS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let going = servers[at].take().expect("it runs");
        tokio::task::block_in_place(|| {
            going.ask_to_stop();
            let began = Instant::now();
            while going.get("/readyz").is_none_or(|(status, _)| status == 200) {
                assert!(began.elapsed() < Duration::from_secs(2), "it does not say that it goes");
            }
            // As a load balancer does that has noticed.
            surge.send_to(servers.iter().flatten());
            assert!(going.wait().success(), "it does not stop in order");
            servers[at] = Some(start(&force.machines[at]));
        });
        surge.send_to(servers.iter().flatten());
    }
    let sent = surge.end().await;
    println!("{} files arrived", sent.len());
    let server = servers[0].as_ref().expect("it runs");
    everything_is_there(force.first(), server, &device, &sent).await;
}

/// From a machine on which no server runs, while others do.
fn refuses_what_needs_every_server_stopped(first: &Workspace) {
    let idle = first.sibling();
    for command in [
        &["keys", "rotate", "receipt", "--reason", "a key was seen"][..],
        &["ledger", "recover", "--size", "1", "--reason", "a disk was lost"],
    ] {
        let refused = tokio::task::block_in_place(|| idle.exhibit(command));
        assert!(refused.code != Some(0), "{command:?}");
        assert!(
            refused.stderr.contains("another server has this ledger open"),
            "{}",
            refused.stderr
        );
    }
}

/// As its unit does: a server that ends because it cannot try a store that is only just back is started again.
fn start(machine: &Workspace) -> Server {
    let began = Instant::now();
    tokio::task::block_in_place(|| {
        loop {
            match Server::try_start(machine, &[]) {
                Ok(server) => return server,
                Err((status, log)) => {
                    assert!(began.elapsed() < PATIENCE, "it ended: {status}\n{log}");
                    println!("it ended: {status}: {}", log.lines().last().unwrap_or_default());
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        }
    })
}

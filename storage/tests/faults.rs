//! What the ledger stands on fails: the clock, the key, the disk under the database, the database's server, the process itself.
//! Nothing is acknowledged that does not stay, and the whole ledger is audited after each.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::note::{SIGNATURE_BYTES, Signer, SignerUnavailable, VerifierKey};
use chain_of_custody::time::Timestamp;
use rustix::process::{Pid, Signal};
use storage::clock::{Clock, SystemClock};
use storage::ledger::{Ledger, LedgerOptions, Placed, SubmitError};
use storage::objects::{Kek, ObjectStore};
use storage::records::Records;
use support::{Home, ORIGIN, act, assert_clean, assert_proved, log_key, options};
use test_machine::disk::SmallDisk;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

on_both_databases!(
    a_clock_that_jumps_ten_years_reorders_nothing_and_is_an_entry,
    a_key_that_cannot_sign_keeps_everybody_waiting,
    a_key_that_cannot_sign_for_long_stops_the_ledger,
);

const FOLDER: &str = "EXHIBIT_TEST_FOLDER";
const DATABASE: &str = "EXHIBIT_TEST_DATABASE";
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);
/// A server that stands still costs the others no more than this.
const TAKEN_OVER_WITHIN: Duration = Duration::from_millis(1_200);
const TEN_YEARS_MS: i64 = 10 * 365 * 86_400_000;

async fn open_as(home: &Home, options: LedgerOptions) -> Ledger {
    let objects = ObjectStore::open(&home.objects_path(), Kek::new([9; 32].into())).unwrap();
    Ledger::open(home.records().await, objects, options).await.unwrap()
}

// --- The clock -----------------------------------------------------------------------------------------------------

/// The machine's clock, set wrong by so many milliseconds.
#[derive(Debug, Default)]
struct WrongClock(AtomicI64);

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        let right_ms = SystemClock.now().unix_millis();
        Timestamp::from_unix_millis(right_ms + self.0.load(Ordering::SeqCst)).unwrap()
    }
}

async fn a_clock_that_jumps_ten_years_reorders_nothing_and_is_an_entry(home: Home) {
    let clock = Arc::new(WrongClock::default());
    let ledger = open_as(&home, LedgerOptions { clock: clock.clone(), ..options() }).await;
    let mut n = 0;
    let mut last = None;
    for off_ms in [0, TEN_YEARS_MS, -TEN_YEARS_MS, 0] {
        clock.0.store(off_ms, Ordering::SeqCst);
        for _ in 0..2 {
            let placed = ledger.submit(act(n)).await.unwrap();
            assert!(Some(placed.leaf_index) > last, "the clock has moved it");
            assert_proved(&placed);
            last = Some(placed.leaf_index);
            n += 1;
        }
    }
    assert_clean(&ledger).await;
    assert_eq!(jumps(&ledger).await, ["+315360000", "-630720000", "+315360000"]);
    ledger.close().await;
    // And back across a restart.
    clock.0.store(-TEN_YEARS_MS, Ordering::SeqCst);
    let ledger = open_as(&home, LedgerOptions { clock, ..options() }).await;
    let placed = ledger.submit(act(n)).await.unwrap();
    assert!(Some(placed.leaf_index) > last);
    assert_eq!(jumps(&ledger).await.last().unwrap(), "-315360000");
    assert_clean(&ledger).await;
}

/// The jumps that are entries, to ten seconds.
async fn jumps(ledger: &Ledger) -> Vec<String> {
    let mut follower = ledger.follow(LeafIndex(0));
    let mut jumps = Vec::new();
    for _ in 0..ledger.latest().unverified().size.0 {
        let followed = follower.next().await.unwrap();
        if followed.entry.kind == EventKind::ClockJumped {
            let is_clock = |o: &&chain_of_custody::entry::Opening| o.name.as_str() == field::CLOCK;
            let text = &followed.openings.iter().find(is_clock).unwrap().value;
            let seconds = text.strip_prefix("jumped by ").unwrap().strip_suffix(" s").unwrap();
            let seconds: f64 = seconds.parse().unwrap();
            jumps.push(format!("{:+}", (seconds / 10.0).round() as i64 * 10));
        }
    }
    jumps
}

// --- The key -------------------------------------------------------------------------------------------------------

/// A key in a module that is away at times.
#[derive(Debug)]
struct AwayKey {
    away: AtomicBool,
    asked: AtomicUsize,
}

impl Signer for AwayKey {
    fn name(&self) -> &str {
        ORIGIN
    }

    fn vkey(&self) -> VerifierKey {
        log_key().vkey()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignerUnavailable> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(SignerUnavailable { reason: "the module is away".to_owned() });
        }
        log_key().sign(message)
    }
}

async fn with_a_key(home: &Home) -> (Arc<AwayKey>, Ledger) {
    let key = Arc::new(AwayKey { away: AtomicBool::new(false), asked: AtomicUsize::new(0) });
    let ledger = open_as(home, LedgerOptions { signer: key.clone(), ..options() }).await;
    (key, ledger)
}

async fn a_key_that_cannot_sign_keeps_everybody_waiting(home: Home) {
    let (key, ledger) = with_a_key(&home).await;
    let before = ledger.latest();
    key.away.store(true, Ordering::SeqCst);
    let submit = |n| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.submit(act(n)).await })
    };
    let first = submit(1);
    let asked = key.asked.load(Ordering::SeqCst);
    eventually(|| key.asked.load(Ordering::SeqCst) >= asked + 2).await;
    let second = submit(2);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!first.is_finished() && !second.is_finished(), "acknowledged without a signature");
    assert_eq!(ledger.latest(), before);
    key.away.store(false, Ordering::SeqCst);
    for (placed, index) in [(first, 2), (second, 3)] {
        let placed = placed.await.unwrap().unwrap();
        assert_eq!(placed.leaf_index, LeafIndex(index));
        assert_proved(&placed);
    }
    assert_clean(&ledger).await;
}

async fn a_key_that_cannot_sign_for_long_stops_the_ledger(home: Home) {
    let (key, ledger) = with_a_key(&home).await;
    key.away.store(true, Ordering::SeqCst);
    let refused = ledger.submit(act(1)).await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("the log key cannot sign") && said.contains("is away"), "{said}");
    key.away.store(false, Ordering::SeqCst);
    assert!(ledger.submit(act(2)).await.is_err(), "it goes on only after a restart");
    let ledger = home.open().await;
    let placed = ledger.submit(act(1)).await.unwrap();
    assert!(placed.repeated && placed.leaf_index == LeafIndex(2), "its entry had been made");
    assert_clean(&ledger).await;
}

// --- The process sleeps --------------------------------------------------------------------------------------------

/// At each named moment of a batch the writer is stopped, another takes the ledger over and writes, and it wakes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_slept_is_fenced_when_it_wakes() {
    let moments =
        ["entries-committed", "tiles-written", "checkpoint-stored", "published", "recorded"];
    for (place, moment) in moments.into_iter().enumerate() {
        let home = Home::sqlite();
        let sleeper = Writer::start(&home, &[("EXHIBIT_FAIL", &format!("{moment}:2:stop"))]);
        sleeper.wait_until(|status| status == 'T').await;
        let newer = home.open().await;
        let taken = newer.submit(act(1_000)).await.unwrap();
        assert_eq!(taken.leaf_index, LeafIndex(3), "{moment}: what it wrote was finished");
        let head = newer.latest();
        sleeper.signal(Signal::CONT);
        // Before it has published it can only stop; from then on its answer stands, and the next step stops it.
        sleeper.wait_for_its_end().await;
        let answered = acknowledged(home.path());
        let most = usize::from(["published", "recorded"].contains(&moment));
        assert!(answered.len() <= most, "{moment}: {answered:?} after it was fenced");
        let why = fs::read_to_string(home.path().join("refused")).unwrap();
        // Or the file it was about to write had been there, and was superseded since.
        let reasons = ["another process has taken", "newer", "is gone", "does not exist"];
        let fenced = reasons.iter().any(|reason| why.contains(reason));
        assert!(fenced, "{moment}: {why}");
        let shown = home.objects_path().join(format!("ledger/{ORIGIN}/checkpoint"));
        assert_eq!(fs::read_to_string(shown).unwrap(), head.to_string(), "{moment}");
        let last = newer.submit(act(1_001)).await.unwrap();
        assert_eq!(last.leaf_index, LeafIndex(4), "{moment}: the sleeper wrote nothing more");
        let first = newer.submit(act(0)).await.unwrap();
        assert_eq!((first.repeated, first.leaf_index), (true, LeafIndex(2)), "{moment}, {place}");
        assert_clean(&newer).await;
    }
}

/// The same among several servers: another one writes within a second, also when the sleeper holds a lock in the database;
/// and when it wakes it is one of those who ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_slept_costs_a_second_and_asks_when_it_wakes() {
    let moments = [
        "entries-written",
        "entries-committed",
        "tiles-written",
        "checkpoint-stored",
        "published",
        "recorded",
    ];
    for moment in moments {
        let home = Home::postgres();
        let sleeper = Writer::start(&home, &[("EXHIBIT_FAIL", &format!("{moment}:3:stop"))]);
        eventually(|| home.path().join("acknowledged").exists()).await;
        let other = home.open().await;
        sleeper.wait_until(|status| status == 'T').await;
        let begun = std::time::Instant::now();
        let taken = other.submit(act(1_000)).await.unwrap();
        assert!(begun.elapsed() < TAKEN_OVER_WITHIN, "{moment}: {:?}", begun.elapsed());
        let (head, before) = (other.latest(), acknowledged(home.path()).len());
        sleeper.signal(Signal::CONT);
        eventually(|| {
            assert!(published(&home) >= head.unverified().size, "{moment}: an older checkpoint");
            acknowledged(home.path()).len() >= before + 3
        })
        .await;
        drop(sleeper);
        let answered = acknowledged(home.path());
        for (n, index) in &answered {
            assert!(*index != taken.leaf_index, "{moment}: one place for two");
            let placed = other.submit(act(*n)).await.unwrap();
            assert_eq!((placed.repeated, placed.leaf_index), (true, *index), "{moment}: act {n}");
        }
        let rest = other.submit(act(answered.len() as u64)).await.unwrap();
        let size = 2 + 1 + answered.len() as u64 + 1;
        assert_eq!(rest.checkpoint.unverified().size, TreeSize(size), "{moment}: each once");
        assert_clean(&other).await;
    }
}

/// Servers that are killed or stopped at any time, one after the other: the one that stays goes on within a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_killed_or_stopped_cost_a_second() {
    let home = Home::postgres();
    let mut killed = None;
    let mut answered_before = 0;
    let mut other: Option<Ledger> = None;
    for (round, signal) in
        [Signal::STOP, Signal::KILL, Signal::STOP, Signal::KILL].into_iter().enumerate()
    {
        // The one that is open gives way in order, so that the child writes.
        let writer = Writer::start(&home, &[("EXHIBIT_TEST_FIRST", &format!("{round}0000"))]);
        eventually(|| acknowledged(home.path()).len() > answered_before + 2).await;
        if let Some(other) = other.take() {
            other.close().await;
        }
        let follower = home.open().await;
        let before = acknowledged(home.path()).len();
        eventually(|| acknowledged(home.path()).len() > before + 10).await;
        writer.signal(signal);
        let begun = std::time::Instant::now();
        assert_proved(&follower.submit(act(1_000_000 + round as u64)).await.unwrap());
        assert!(begun.elapsed() < TAKEN_OVER_WITHIN, "{signal:?}: {:?}", begun.elapsed());
        killed = Some(writer);
        answered_before = acknowledged(home.path()).len();
        other = Some(follower);
    }
    drop(killed);
    let other = other.unwrap();
    for (n, index) in acknowledged(home.path()) {
        let placed = other.submit(act(n)).await.unwrap();
        assert_eq!((placed.repeated, placed.leaf_index), (true, index), "act {n}");
    }
    assert_clean(&other).await;
}

/// How far the checkpoint in the object store is.
fn published(home: &Home) -> TreeSize {
    let path = home.objects_path().join(format!("ledger/{ORIGIN}/checkpoint"));
    let text = fs::read_to_string(path).unwrap();
    text.parse::<SignedCheckpoint>().unwrap().unverified().size
}

/// This test program again, as a writer of acts 0, 1, 2 …
struct Writer(std::cell::RefCell<Child>);

impl Writer {
    fn start(home: &Home, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "writer", "--nocapture"])
            .env(FOLDER, home.path())
            .env(DATABASE, home.database_url())
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap().into())
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.0.borrow()), signal).unwrap();
    }

    async fn wait_until(&self, is_so: impl Fn(char) -> bool) {
        let path = format!("/proc/{}/stat", self.0.borrow().id());
        eventually(|| {
            let stat = fs::read_to_string(&path).unwrap();
            let (_, after_name) = stat.rsplit_once(") ").unwrap();
            is_so(after_name.chars().next().unwrap())
        })
        .await;
    }

    async fn wait_for_its_end(&self) {
        let ended = || self.0.borrow_mut().try_wait().unwrap();
        eventually(|| ended().is_some()).await;
        assert!(!ended().unwrap().success(), "it was told, and said so");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.borrow_mut().kill();
        let _ = self.0.borrow_mut().wait();
    }
}

async fn eventually(mut is_so: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it does not come");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Numbers of the acts that a writer was answered, each with its place.
fn acknowledged(folder: &Path) -> Vec<(u64, LeafIndex)> {
    let text = fs::read_to_string(folder.join("acknowledged")).unwrap_or_default();
    let parse = |line: &str| {
        let (n, index) = line.split_once(' ').unwrap();
        (n.parse().unwrap(), LeafIndex(index.parse().unwrap()))
    };
    text.lines().map(parse).collect()
}

/// The child: writes one act after the other and notes each answer. Once one is refused it tries a few more, as those
/// who ask a server do, and fails. Not a test by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as the child of the tests above"]
async fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    let records = Records::connect(&std::env::var(DATABASE).unwrap(), ORIGIN).await.unwrap();
    let ledger = support::open_with(records, &folder.join("objects")).await.unwrap();
    let noted = folder.join("acknowledged");
    let mut log = fs::OpenOptions::new().create(true).append(true).open(noted).unwrap();
    let mut tries_left = 4;
    let first = std::env::var("EXHIBIT_TEST_FIRST").map_or(0, |first| first.parse().unwrap());
    for n in first.. {
        support::let_it_rest().await;
        match ledger.submit(act(n)).await {
            Ok(Placed { leaf_index, .. }) => {
                io::Write::write_all(&mut log, format!("{n} {leaf_index}\n").as_bytes()).unwrap();
            }
            Err(why) => {
                let told = folder.join("refused");
                if !told.exists() {
                    fs::write(told, why.to_string()).unwrap();
                }
                tries_left -= 1;
                assert!(tries_left > 0, "{why}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

// --- The disk under the database -----------------------------------------------------------------------------------

/// fdatasync and fsync of the database's files fail while a file stands there. What a disk does, the C library says.
const SYNC_FAILS: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd) {
    char link[64], path[4096];
    const char *flag = getenv("SYNC_FAILS");
    if (!flag || access(flag, F_OK) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "records.sqlite") != NULL;
}
int fdatasync(int fd) {
    if (fails(fd)) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
int fsync(int fd) {
    if (fails(fd)) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_sync_stops_the_writer_for_good() {
    let home = Home::sqlite();
    let library = compiled(SYNC_FAILS, home.path());
    let flag = home.path().join("sync-fails");
    let environment =
        [("LD_PRELOAD", library.to_str().unwrap()), ("SYNC_FAILS", flag.to_str().unwrap())];
    let writer = Writer::start(&home, &environment);
    eventually(|| acknowledged(home.path()).len() > 5).await;
    fs::write(&flag, "").unwrap();
    eventually(|| home.path().join("refused").exists()).await;
    // The disk is well again. Had the writer gone on it would never end.
    fs::remove_file(&flag).unwrap();
    writer.wait_for_its_end().await;
    let answered = acknowledged(home.path());
    let ledger = home.open().await;
    assert_clean(&ledger).await;
    for (n, index) in &answered {
        let placed = ledger.submit(act(*n)).await.unwrap();
        assert_eq!((placed.repeated, placed.leaf_index), (true, *index), "act {n}");
    }
    let next = answered.len() as u64;
    let placed = ledger.submit(act(next)).await.unwrap();
    assert_eq!(placed.leaf_index, LeafIndex(2 + next), "once, whether it was written then or now");
    assert_clean(&ledger).await;
}

fn compiled(source: &str, folder: &Path) -> PathBuf {
    let (code, library) = (folder.join("shim.c"), folder.join("shim.so"));
    fs::write(&code, source).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &code])
        .status()
        .unwrap();
    assert!(compiled.success(), "a C compiler (scripts/setup build)");
    library
}

/// A real small disk. Mounting it needs root.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_room_refuses_and_goes_on_when_there_is_room() {
    let home = Home::sqlite();
    let small = home.path().join("small");
    let _disk = SmallDisk::mount(&small, "3m");
    let url = format!("sqlite://{}?mode=rwc", small.join("records.sqlite").display());
    let records = Records::connect(&url, ORIGIN).await.unwrap();
    let mut ledger = support::open_with(records, &home.objects_path()).await.unwrap();
    for n in 0..5 {
        ledger.submit(act(n)).await.unwrap();
    }
    fill(&small.join("filler"));
    let (mut n, mut refusals) = (5, 0);
    while refusals < 3 {
        match ledger.submit(act(n)).await {
            Ok(_) => n += 1,
            Err(SubmitError::Stopped { reason }) => {
                assert!(reason.contains("full"), "{reason}");
                refusals += 1;
            }
            Err(other) => panic!("{other}"),
        }
        assert!(n < 5_000, "the disk is full");
    }
    fs::remove_file(small.join("filler")).unwrap();
    if let Some(reason) = ledger.stop_reason() {
        // It was full between the entries and their checkpoint: a restart goes on.
        assert!(reason.contains("full"), "{reason}");
        let records = Records::connect(&url, ORIGIN).await.unwrap();
        ledger = support::open_with(records, &home.objects_path()).await.unwrap();
    }
    assert_proved(&ledger.submit(act(n)).await.unwrap());
    for earlier in 0..n {
        assert!(ledger.submit(act(earlier)).await.unwrap().repeated, "act {earlier} is lost");
    }
    assert_eq!(ledger.latest().unverified().size, TreeSize(2 + n + 1), "each once");
    assert_clean(&ledger).await;
    drop(ledger);
}

fn fill(path: &Path) {
    let mut filler = fs::File::create(path).unwrap();
    for size in [65_536, 4_096] {
        while io::Write::write_all(&mut filler, &vec![0; size]).is_ok() {}
    }
}

// --- The database's server -----------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_killed_under_the_writer_stops_it_and_nothing_is_lost_or_doubled() {
    let mut server = test_machine::postgres::Postgres::start().unwrap();
    let url = server.create_database().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let open = async || {
        let records = Records::connect(&url, ORIGIN).await.unwrap();
        support::open_with(records, folder.path()).await.unwrap()
    };
    let mut answered: Vec<(u64, LeafIndex)> = Vec::new();
    for round in 0..2_u64 {
        let ledger = open().await;
        let so_far = Arc::new(AtomicUsize::new(0));
        let writing = tokio::spawn({
            let (ledger, so_far) = (ledger.clone(), so_far.clone());
            async move {
                let mut answered = Vec::new();
                for n in round * 10_000.. {
                    so_far.store(answered.len(), Ordering::SeqCst);
                    match ledger.submit(act(n)).await {
                        Ok(placed) => answered.push((n, placed.leaf_index)),
                        Err(SubmitError::Stopped { .. }) => break,
                        Err(other) => panic!("{other}"),
                    }
                }
                answered
            }
        });
        eventually(|| so_far.load(Ordering::SeqCst) > 2).await;
        tokio::time::sleep(Duration::from_millis(37 * round)).await;
        server.kill().unwrap();
        let now = tokio::time::timeout(PATIENCE, writing).await.unwrap().unwrap();
        answered.extend(now);
        drop(ledger);
        server.restart().unwrap();
    }
    let ledger = open().await;
    assert_clean(&ledger).await;
    for (n, index) in answered {
        let placed = ledger.submit(act(n)).await.unwrap();
        assert_eq!((placed.repeated, placed.leaf_index), (true, index), "act {n}");
    }
    assert_clean(&ledger).await;
}

/// The line to the server is cut at a COMMIT, of the entries or of their checkpoint: before it got there, or before its
/// answer came back. Nobody tries again what it cannot know: whoever writes next finds out, under an epoch of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_outcome_is_unknown_is_found_out_and_gives_no_second_entry() {
    for (cut, nth) in [
        (Cut::BeforeTheCommit, 1),
        (Cut::BeforeItsAnswer, 1),
        (Cut::BeforeTheCommit, 2),
        (Cut::BeforeItsAnswer, 2),
    ] {
        let home = Home::postgres();
        let line = Line::to(&home.database_url()).await;
        let records = Records::connect(&line.url, ORIGIN).await.unwrap();
        let ledger = support::open_with(records, &home.objects_path()).await.unwrap();
        ledger.submit(act(0)).await.unwrap();
        let before = epoch(&ledger).await;
        line.order.lock().unwrap().replace((cut, nth));
        let placed = ledger.submit(act(1)).await.unwrap();
        assert!(line.order.lock().unwrap().is_none(), "{cut:?} {nth}: it was cut");
        assert!(epoch(&ledger).await > before, "{cut:?} {nth}: tried again by whoever cannot know");
        let written = nth == 2 || cut == Cut::BeforeItsAnswer;
        assert_eq!((placed.repeated, placed.leaf_index), (written, LeafIndex(3)), "{cut:?} {nth}");
        assert_proved(&placed);
        assert_eq!(ledger.stop_reason(), None, "{cut:?} {nth}");
        assert_eq!(ledger.submit(act(2)).await.unwrap().leaf_index, LeafIndex(4));
        assert_clean(&ledger).await;
    }
}

/// The line of the server that writes goes silent: nothing is refused, nothing comes back. Another one writes, its clients are
/// told, and it is one of those who ask once the line is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_line_goes_silent_costs_a_second_and_asks_when_it_is_back() {
    let home = Home::postgres();
    let line = Line::to(&home.database_url()).await;
    let records = Records::connect(&line.url, ORIGIN).await.unwrap();
    let ledger = support::open_with(records, &home.objects_path()).await.unwrap();
    ledger.submit(act(0)).await.unwrap();
    let other = home.open().await;
    line.order.lock().unwrap().replace((Cut::Silence, 1));
    let left = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.submit(act(1)).await }
    });
    line.silent.subscribe().wait_for(|silent| *silent).await.unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(other.submit(act(2)).await.unwrap().leaf_index, LeafIndex(3));
    assert!(begun.elapsed() < TAKEN_OVER_WITHIN, "{:?}", begun.elapsed());
    let told = tokio::time::timeout(PATIENCE / 2, left).await.unwrap().unwrap();
    assert!(told.unwrap_err().to_string().contains("the database does not answer"));
    line.silent.send_replace(false);
    let placed = ledger.submit(act(1)).await.unwrap();
    assert_eq!(placed.leaf_index, LeafIndex(4));
    assert_proved(&placed);
    assert_eq!(ledger.stop_reason(), None);
    assert_clean(&other).await;
}

/// Whoever asks for something goes away while a transaction begins, as a client does that hangs up. It is not left open: whatever
/// was written over that connection next would be lost, and keep everybody else waiting until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_away_while_a_transaction_begins_leaves_none_open() {
    let home = Home::postgres();
    let line = Line::to(&home.database_url()).await;
    let records = Records::connect(&line.url, ORIGIN).await.unwrap();
    line.order.lock().unwrap().replace((Cut::SilenceAtTheBegin, 1));
    let asks = tokio::spawn({
        let records = records.clone();
        async move { records.claim_jobs("", SystemClock.now()).await }
    });
    line.silent.subscribe().wait_for(|silent| *silent).await.unwrap();
    asks.abort();
    assert!(asks.await.unwrap_err().is_cancelled());
    line.silent.send_replace(false);
    let server = home.records().await;
    let ended = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND state = 'idle' AND query = 'ROLLBACK'";
    let is_ended = async {
        while sqlx::query_scalar::<_, i64>(ended).fetch_one(server.pool()).await.unwrap() == 0 {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_ended).await.unwrap();
}

async fn epoch(ledger: &Ledger) -> i64 {
    let epoch = sqlx::query_scalar("SELECT epoch FROM sequencer");
    epoch.fetch_one(ledger.records().pool()).await.unwrap()
}

/// What is published is recorded as such while nobody waits: when that fails, nobody hears of it but by the stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_fails_while_nobody_waits_stops_the_writer_too() {
    let home = Home::sqlite();
    let ledger = home.open().await;
    let text = "CREATE TRIGGER fails BEFORE UPDATE OF published_size ON sequencer \
        WHEN NEW.size = OLD.size BEGIN SELECT RAISE(FAIL, 'the disk says no'); END";
    sqlx::raw_sql(text).execute(ledger.records().pool()).await.unwrap();
    assert_proved(&ledger.submit(act(0)).await.unwrap());
    let reason = tokio::time::timeout(PATIENCE, ledger.stopped()).await.unwrap();
    assert!(reason.contains("the disk says no"), "{reason}");
    assert!(ledger.submit(act(1)).await.is_err(), "it goes on only after a restart");
    sqlx::raw_sql("DROP TRIGGER fails").execute(ledger.records().pool()).await.unwrap();
    let ledger = home.open().await;
    assert!(ledger.submit(act(0)).await.unwrap().repeated);
    assert_clean(&ledger).await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    BeforeTheCommit,
    BeforeItsAnswer,
    /// Nothing is cut: every connection goes silent, the COMMIT on its way.
    Silence,
    /// The same, a BEGIN on its way.
    SilenceAtTheBegin,
}

impl Cut {
    fn is_due_at(self, asked: &[u8]) -> bool {
        let word = if self == Self::SilenceAtTheBegin { "BEGIN" } else { "COMMIT" };
        asked.windows(word.len()).any(|found| found == word.as_bytes())
    }
}

/// Where to cut, and at which of those from now on.
type Order = std::sync::Mutex<Option<(Cut, usize)>>;

/// A socket in front of the server's, which passes everything on until it is told to cut, or to say nothing.
struct Line {
    url: String,
    order: Arc<Order>,
    silent: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

impl Line {
    async fn to(url: &str) -> Self {
        let (before, socket_folder) = url.split_once("?host=").unwrap();
        let server = PathBuf::from(socket_folder.replace("%2F", "/")).join(".s.PGSQL.5432");
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let order = Arc::new(Order::default());
        let orders = order.clone();
        let silent = watch::Sender::new(false);
        let silence = silent.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.unwrap();
                tokio::spawn(pass(client, server, orders.clone(), silence.clone()));
            }
        });
        let ours = folder.path().display().to_string().replace('/', "%2F");
        Self { url: format!("{before}?host={ours}"), order, silent, _folder: folder }
    }
}

/// Passes on, until what the order to cut is for comes by.
async fn pass(
    mut client: UnixStream,
    mut server: UnixStream,
    order: Arc<Order>,
    silence: watch::Sender<bool>,
) -> io::Result<()> {
    let mut silent = silence.subscribe();
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let asked = &asked[..read?];
                let cut = next_cut(&order, asked);
                if matches!(cut, Some(Cut::Silence | Cut::SilenceAtTheBegin)) {
                    silence.send_replace(true);
                }
                let _ = silent.wait_for(|silent| !silent).await;
                if asked.is_empty() || cut == Some(Cut::BeforeTheCommit) {
                    return Ok(());
                }
                server.write_all(asked).await?;
                if cut == Some(Cut::BeforeItsAnswer) {
                    // The server has committed once it answers; the client never hears of it.
                    let _how_much_it_says = server.read(&mut answered).await?;
                    return Ok(());
                }
            }
            read = server.read(&mut answered) => {
                let answered = &answered[..read?];
                let _ = silent.wait_for(|silent| !silent).await;
                if answered.is_empty() {
                    return Ok(());
                }
                client.write_all(answered).await?;
            }
        }
    }
}

/// Counts what an order is for; gives the cut when it is its turn.
fn next_cut(order: &Order, asked: &[u8]) -> Option<Cut> {
    let mut order = order.lock().unwrap();
    let (cut, left) = order.take_if(|(cut, _)| cut.is_due_at(asked))?;
    if left == 1 {
        return Some(cut);
    }
    *order = Some((cut, left - 1));
    None
}

//! Several servers on one PostgreSQL write one ledger: one at a time, whichever of them is asked, and whatever happens to the
//! one whose turn it is.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chain_of_custody::command::{Guard, Refusal};
use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::note::{SIGNATURE_BYTES, Signer, SignerUnavailable, VerifierKey};
use futures_util::future::join_all;
use sqlx::Connection as _;
use storage::ledger::{Ledger, LedgerOptions, SubmitError};
use storage::objects::{Kek, ObjectStore};
use storage::records::Records;
use support::{Home, ORIGIN, act, assert_clean, assert_proved, device, log_key, options};
use tokio::sync::oneshot;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
/// A server that stands still costs the others no more than this.
const TAKEN_OVER_WITHIN: Duration = Duration::from_millis(1_200);
/// An orderly end costs them less than a lease.
const HANDED_OVER_WITHIN: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_servers_write_one_ledger() {
    let home = Home::postgres();
    // Both at once, on an empty database: each finds its place.
    let (one, two) = tokio::join!(home.open(), home.open());
    assert_eq!(one.latest(), two.latest());
    let seen = tokio::spawn(indexes_seen_by_a_follower(two.clone(), 402));
    // Half of the acts are asked of both.
    let of_one = join_all((0..300).map(|n| one.submit(act(n))));
    let of_two = join_all((100..400).map(|n| two.submit(act(n))));
    let (of_one, of_two) = tokio::join!(of_one, of_two);
    let (mut new, mut indexes) = (0, BTreeSet::new());
    for placed in of_one.into_iter().chain(of_two) {
        let placed = placed.unwrap();
        assert_proved(&placed);
        new += usize::from(!placed.repeated);
        indexes.insert(placed.leaf_index.0);
    }
    assert_eq!(new, 400, "each act is made once");
    assert!(indexes.into_iter().eq(2..402), "indexes are dense");
    assert!(timeout(PATIENCE, seen).await.unwrap().unwrap().into_iter().eq(0..402));
    assert_eq!(one.latest().unverified().size, TreeSize(402));
    assert_clean(&one).await;
    assert_clean(&two).await;
    eventually(async || rows(&home).await == 0).await;
}

async fn indexes_seen_by_a_follower(ledger: Ledger, count: usize) -> Vec<u64> {
    let mut follower = ledger.follow(LeafIndex(0));
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.push(follower.next().await.unwrap().index.0);
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_server_answers_its_own() {
    let home = Home::postgres();
    let (writes, asks) = (home.open().await, home.open().await);
    let fresh = |n: u64| act(n).provided(Guard::SubjectIsNew(device(n % 5).into()));
    assert_eq!(asks.submit(fresh(0)).await.unwrap().leaf_index, LeafIndex(2));
    let exists = SubmitError::Refused(Refusal::SubjectExists(device(0).into()));
    assert_eq!(asks.submit(fresh(5)).await.unwrap_err(), exists);
    let large = act(6).public("role", "x".repeat(70_000));
    let here = asks.submit(large.clone()).await.unwrap_err();
    assert!(matches!(here, SubmitError::Refused(Refusal::Malformed(_))));
    assert_eq!(here.to_string(), writes.submit(large).await.unwrap_err().to_string());
    let recorded = asks.record(act(7)).await.unwrap();
    assert_eq!((recorded.leaf_index, recorded.repeated), (LeafIndex(3), false));
    let again = writes.record(act(7)).await.unwrap();
    assert_eq!((again.leaf_index, again.repeated), (LeafIndex(3), true));
    assert_proved(&asks.submit_in_background(act(8)).await.unwrap());
    asks.close().await;
    assert!(matches!(asks.submit(act(9)).await, Err(SubmitError::Stopped { .. })));
    assert!(!writes.submit(act(9)).await.unwrap().repeated, "the others go on");
    assert_eq!(writes.stop_reason(), None);
    assert_clean(&writes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_orderly_end_hands_over_at_once() {
    let home = Home::postgres();
    let mut writes = home.open().await;
    for n in 0..4 {
        let next = home.open().await;
        let under_way = tokio::spawn({
            let writes = writes.clone();
            async move { writes.submit(act(100 + n)).await }
        });
        assert_proved(&next.submit(act(200 + n)).await.unwrap());
        assert_proved(&under_way.await.unwrap().unwrap());
        let closed = writes.stopped();
        writes.close().await;
        assert_eq!(closed.await, "the ledger was closed");
        let begun = Instant::now();
        assert_proved(&next.submit(act(300 + n)).await.unwrap());
        assert!(begun.elapsed() < HANDED_OVER_WITHIN, "{n}: {:?}", begun.elapsed());
        writes = next;
    }
    assert_eq!(writes.latest().unverified().size, TreeSize(2 + 12));
    assert_clean(&writes).await;
}

// --- A server that is gone, or stands still --------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_gone_is_followed_within_a_second() {
    let home = Home::postgres();
    let mut next = home.open().await;
    for n in 0..3 {
        let writes = next;
        next = home.open().await;
        writes.submit(act(10 * n)).await.unwrap();
        // Without a word, as a process that is killed.
        drop(writes);
        let begun = Instant::now();
        assert_proved(&next.submit(act(10 * n + 1)).await.unwrap());
        assert!(begun.elapsed() < TAKEN_OVER_WITHIN, "{n}: {:?}", begun.elapsed());
    }
    assert_eq!(next.latest().unverified().size, TreeSize(2 + 6), "each once");
    assert_clean(&next).await;
}

/// A key that takes as long as it is told, on the thread of whoever signs.
#[derive(Debug, Default)]
struct StuckKey {
    stuck: AtomicBool,
    asked: AtomicUsize,
}

impl Signer for StuckKey {
    fn name(&self) -> &str {
        ORIGIN
    }

    fn vkey(&self) -> VerifierKey {
        log_key().vkey()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignerUnavailable> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        while self.stuck.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        log_key().sign(message)
    }
}

/// A server with threads of its own, so that what stands still there stands still alone.
struct Elsewhere {
    runtime: Option<tokio::runtime::Runtime>,
    ledger: Ledger,
}

impl Elsewhere {
    async fn open(home: &Home, signer: Arc<dyn Signer + Send + Sync>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (url, objects) = (home.database_url(), home.objects_path());
        let opening = runtime.spawn(async move {
            let records = Records::connect(&url, ORIGIN).await.unwrap();
            let objects = ObjectStore::open(&objects, Kek::new([9; 32].into())).unwrap();
            Ledger::open(records, objects, LedgerOptions { signer, ..options() }).await.unwrap()
        });
        let ledger = opening.await.unwrap();
        Self { runtime: Some(runtime), ledger }
    }

    /// Asks there; the answer comes here.
    fn submit(&self, n: u64) -> oneshot::Receiver<Result<storage::ledger::Placed, SubmitError>> {
        let (tell, told) = oneshot::channel();
        let ledger = self.ledger.clone();
        self.runtime.as_ref().unwrap().spawn(async move { tell.send(ledger.submit(act(n)).await) });
        told
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_stands_still_is_followed_and_says_nothing_when_it_wakes() {
    let home = Home::postgres();
    let key = Arc::new(StuckKey::default());
    let stuck = Elsewhere::open(&home, key.clone()).await;
    let other = home.open().await;
    key.stuck.store(true, Ordering::SeqCst);
    let asked = key.asked.load(Ordering::SeqCst);
    let mut left = stuck.submit(1);
    eventually(async || key.asked.load(Ordering::SeqCst) > asked).await;
    let begun = Instant::now();
    let placed = other.submit(act(2)).await.unwrap();
    assert!(begun.elapsed() < TAKEN_OVER_WITHIN, "{:?}", begun.elapsed());
    assert_eq!(placed.leaf_index, LeafIndex(3), "what was begun was finished");
    assert!(left.try_recv().is_err(), "answered while it stood still");
    let head = other.latest();
    key.stuck.store(false, Ordering::SeqCst);
    // It is one of those who ask now, and its client hears where its act stands.
    let answer = timeout(PATIENCE, left).await.unwrap().unwrap().unwrap();
    assert_eq!((answer.leaf_index, answer.repeated), (LeafIndex(2), true));
    assert_proved(&answer);
    assert_eq!(other.latest(), head, "it wrote nothing");
    let after = timeout(PATIENCE, stuck.submit(3)).await.unwrap().unwrap().unwrap();
    assert_eq!((after.leaf_index, after.repeated), (LeafIndex(4), false));
    assert_eq!(stuck.ledger.stop_reason(), None);
    assert_clean(&other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_dead_server_had_asked_is_carried_out_once() {
    let home = Home::postgres();
    let key = Arc::new(StuckKey::default());
    let stuck = Elsewhere::open(&home, key.clone()).await;
    let other = home.open().await;
    let asks = Elsewhere::open(&home, Arc::new(log_key())).await;
    key.stuck.store(true, Ordering::SeqCst);
    // One while the writer goes into its sleep, one when it sleeps.
    let _first = asks.submit(1);
    eventually(async || key.asked.load(Ordering::SeqCst) > 1).await;
    let _second = asks.submit(2);
    eventually(async || rows(&home).await == 2).await;
    drop(asks);
    let begun = Instant::now();
    eventually(async || other.latest().unverified().size >= TreeSize(4)).await;
    assert!(begun.elapsed() < TAKEN_OVER_WITHIN, "{:?}", begun.elapsed());
    for n in [1, 2] {
        let placed = other.submit(act(n)).await.unwrap();
        assert_eq!((placed.repeated, placed.leaf_index), (true, LeafIndex(1 + n)));
        assert_proved(&placed);
    }
    key.stuck.store(false, Ordering::SeqCst);
    drop(stuck);
    assert_eq!(other.submit(act(3)).await.unwrap().leaf_index, LeafIndex(4), "no more than that");
    assert_clean(&other).await;
}

/// Somebody else has the ledger, and writes nothing: the epoch alone tells the one before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fenced_server_acknowledges_nothing_and_goes_on_when_it_may() {
    let home = Home::postgres();
    let ledger = home.open().await;
    ledger.submit(act(1)).await.unwrap();
    let foreign_lease = Duration::from_millis(2_500);
    somebody_else_takes(&ledger, foreign_lease).await;
    let begun = Instant::now();
    let (submitted, recorded) = tokio::join!(ledger.submit(act(2)), ledger.record(act(3)));
    assert!(begun.elapsed() >= foreign_lease - Duration::from_millis(100), "acknowledged");
    assert!(begun.elapsed() < foreign_lease + TAKEN_OVER_WITHIN, "{:?}", begun.elapsed());
    assert!(!submitted.unwrap().repeated && !recorded.unwrap().repeated, "nothing was written");
    assert_eq!(ledger.stop_reason(), None);
    assert_eq!(ledger.latest().unverified().size, TreeSize(5));
    assert_clean(&ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_asked_nothing_notices_that_others_write() {
    let home = Home::postgres();
    let (idle, other) = (home.open().await, home.open().await);
    let mut follower = idle.follow(LeafIndex(2));
    // Nothing is left to do for it, not even to record what it has published.
    eventually(async || recorded(&idle).await == 2).await;
    somebody_else_takes(&idle, Duration::ZERO).await;
    let (pool, taken) = (idle.records().pool(), epoch(&idle).await);
    let freed = "SELECT CAST(1 AS BIGINT) FROM pg_notify('exhibit_ledger', 'freed ' || $1)";
    sqlx::query(freed).bind(ORIGIN).execute(pool).await.unwrap();
    // The other hears of it before this one notices anything.
    eventually(async || epoch(&idle).await > taken).await;
    let placed = other.submit(act(1)).await.unwrap();
    let seen = timeout(TAKEN_OVER_WITHIN, follower.next()).await.unwrap().unwrap();
    assert_eq!(seen.index, placed.leaf_index);
    assert!(idle.latest().unverified().size >= placed.checkpoint.unverified().size);
}

async fn recorded(ledger: &Ledger) -> i64 {
    let recorded = sqlx::query_scalar("SELECT published_size FROM sequencer");
    recorded.fetch_one(ledger.records().pool()).await.unwrap()
}

async fn epoch(ledger: &Ledger) -> i64 {
    let epoch = sqlx::query_scalar("SELECT epoch FROM sequencer");
    epoch.fetch_one(ledger.records().pool()).await.unwrap()
}

async fn somebody_else_takes(ledger: &Ledger, lease: Duration) {
    let text = "UPDATE sequencer SET epoch = epoch + 1, leased_until_ms = \
        CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) + $1";
    let pool = ledger.records().pool();
    sqlx::query(text).bind(lease.as_millis() as i64).execute(pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_command_that_the_database_lost_is_put_there_again() {
    let home = Home::postgres();
    let ledger = home.open().await;
    somebody_else_takes(&ledger, Duration::from_secs(4)).await;
    let asked = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.submit(act(1)).await }
    });
    eventually(async || rows(&home).await == 1).await;
    let pool = ledger.records().pool();
    sqlx::query("DELETE FROM commands").execute(pool).await.unwrap();
    eventually(async || rows(&home).await == 1).await;
    let placed = timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap();
    assert_eq!((placed.leaf_index, placed.repeated), (LeafIndex(2), false));
    eventually(async || rows(&home).await == 0).await;
    assert_clean(&ledger).await;
}

// --- The database ----------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_that_restarts_under_load_stops_no_server() {
    let mut server = test_machine::postgres::Postgres::start().unwrap();
    let url = server.create_database().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut writing = Vec::new();
    let mut ledgers = Vec::new();
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    for first in [0, 1_000_000] {
        let records = Records::connect(&url, ORIGIN).await.unwrap();
        let ledger = support::open_with(records, folder.path()).await.unwrap();
        for writer in 0..4 {
            let (ledger, over, answered) = (ledger.clone(), over.clone(), answered.clone());
            writing.push(tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in (first + writer..).step_by(4) {
                    // Whoever is told to ask again does.
                    while !over.load(Ordering::SeqCst) {
                        match ledger.submit(act(n)).await {
                            Ok(placed) => {
                                acknowledged.push((n, placed.leaf_index));
                                answered.fetch_add(1, Ordering::SeqCst);
                                break;
                            }
                            Err(SubmitError::Stopped { .. }) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                }
                acknowledged
            }));
        }
        ledgers.push(ledger);
    }
    for round in 0..3 {
        let before = answered.load(Ordering::SeqCst);
        eventually(async || answered.load(Ordering::SeqCst) > before + 40).await;
        if round == 1 {
            server.stop().unwrap()
        } else {
            server.kill().unwrap()
        }
        server.restart().unwrap();
    }
    let before = answered.load(Ordering::SeqCst);
    eventually(async || answered.load(Ordering::SeqCst) > before + 40).await;
    over.store(true, Ordering::SeqCst);
    let mut acknowledged = Vec::new();
    for writing in writing {
        acknowledged.extend(timeout(PATIENCE, writing).await.unwrap().unwrap());
    }
    let places: BTreeSet<_> = acknowledged.iter().map(|(_, index)| index.0).collect();
    assert_eq!(places.len(), acknowledged.len(), "two acts have one place");
    for ledger in &ledgers {
        assert_eq!(ledger.stop_reason(), None);
        let again = join_all(acknowledged.iter().map(|(n, _)| ledger.submit(act(*n)))).await;
        for (placed, (n, index)) in again.into_iter().zip(&acknowledged) {
            let placed = placed.unwrap();
            assert_eq!((placed.repeated, placed.leaf_index), (true, *index), "act {n}");
        }
        assert_clean(ledger).await;
    }
}

/// A ledger with an act in it, on a PostgreSQL of its own.
struct Own {
    server: test_machine::postgres::Postgres,
    url: String,
    ledger: Ledger,
    _folder: tempfile::TempDir,
}

impl Own {
    async fn start() -> Self {
        let mut server = test_machine::postgres::Postgres::start().unwrap();
        let url = server.create_database().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let records = Records::connect(&url, ORIGIN).await.unwrap();
        let ledger = support::open_with(records, folder.path()).await.unwrap();
        ledger.submit(act(1)).await.unwrap();
        Self { server, url, ledger, _folder: folder }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_that_is_away_is_said_and_waited_for() {
    let mut own = Own::start().await;
    let (server, ledger) = (&mut own.server, &own.ledger);
    server.stop().unwrap();
    let refused = timeout(PATIENCE, ledger.submit(act(2))).await.unwrap().unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("the database"), "{said}");
    assert_eq!(ledger.stop_reason(), None);
    server.restart().unwrap();
    let placed = ledger.submit(act(2)).await.unwrap();
    assert_eq!(placed.leaf_index, LeafIndex(3));
    assert_clean(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_without_connections_says_so() {
    let home = Home::postgres();
    let records = home.records().await;
    for text in [
        "CREATE ROLE few LOGIN CONNECTION LIMIT 1",
        "GRANT ALL ON SCHEMA public TO few",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO few",
    ] {
        sqlx::raw_sql(text).execute(records.pool()).await.unwrap();
    }
    let url = home.database_url().replace("exhibit@", "few@");
    let first = Records::connect(&url, ORIGIN).await.unwrap();
    let refused = Records::connect(&url, ORIGIN).await.unwrap_err().to_string();
    assert!(refused.contains("too many connections"), "{refused}");
    // A server that has begun, and gets no further connection.
    let refused = support::open_with(first, &home.objects_path()).await;
    let said = refused.map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("max_connections"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_that_is_read_only_is_said_and_waited_for() {
    let own = Own::start().await;
    let ledger = &own.ledger;
    // As a standby that a force's own failover put in its place.
    let mut root = sqlx::PgConnection::connect(&own.url).await.unwrap();
    sqlx::raw_sql("SET default_transaction_read_only = off").execute(&mut root).await.unwrap();
    for read_only in ["on", "off"] {
        let text = format!("ALTER SYSTEM SET default_transaction_read_only = {read_only}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut root).await.unwrap();
        sqlx::raw_sql("SELECT pg_reload_conf()").execute(&mut root).await.unwrap();
        if read_only == "on" {
            let refused = timeout(PATIENCE, ledger.submit(act(2))).await.unwrap().unwrap_err();
            let said = refused.to_string();
            assert!(said.contains("read-only transaction"), "{said}");
        }
    }
    let placed = timeout(PATIENCE, ledger.submit(act(2))).await.unwrap().unwrap();
    assert_eq!(placed.leaf_index, LeafIndex(3));
    assert_eq!(ledger.stop_reason(), None);
    assert_clean(ledger).await;
}

// --- Servers of different versions -----------------------------------------------------------------------------------

const WRITES_FROM: &str = "SELECT writes_from FROM sequencer";

/// The newest migration that this program knows.
fn newest() -> i64 {
    Records::known_migrations().last().unwrap().0
}

/// As if a program had opened the ledger that knows the migrations up to this one.
async fn a_program_claims_to_write(home: &Home, newest: i64) {
    let records = home.records().await;
    let text = "UPDATE sequencer SET writes_from = $1";
    sqlx::query(text).bind(newest).execute(records.pool()).await.unwrap();
    records.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_knows_less_gives_way_and_goes_on_asking() {
    let home = Home::postgres();
    let ledger = home.open().await;
    ledger.submit(act(1)).await.unwrap();
    a_program_claims_to_write(&home, newest() + 1).await;
    let asked = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.submit(act(2)).await }
    });
    eventually(async || rows(&home).await == 1).await;
    // It could take the lease again by now.
    tokio::time::sleep(3 * storage::records::LEASE).await;
    assert_eq!(home.records().await.size().await.unwrap(), TreeSize(3), "nothing is entered");
    a_program_claims_to_write(&home, newest()).await;
    let placed = timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap();
    assert_eq!((placed.leaf_index, placed.repeated), (LeafIndex(3), false));
    assert_clean(&ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_servers_with_different_versions_the_newest_write() {
    let home = Home::postgres();
    home.open().await.close().await;
    let records = home.records().await;
    let writes_from = async || sqlx::query_scalar(WRITES_FROM).fetch_one(records.pool()).await;
    a_program_claims_to_write(&home, newest() - 1).await;
    home.open().await.close().await;
    let claimed: i64 = writes_from().await.unwrap();
    assert_eq!(claimed, newest(), "whoever opens the ledger fences those who know less");
    a_program_claims_to_write(&home, newest() + 1).await;
    let refused = support::open_with(home.records().await, &home.objects_path()).await;
    let said = refused.map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("newer version") && said.contains("none of its servers runs"), "{said}");
    let claimed: i64 = writes_from().await.unwrap();
    assert_eq!(claimed, newest() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_schema_that_a_later_version_only_added_to_is_worked_on() {
    let home = Home::postgres();
    let records = home.records().await;
    let later = "INSERT INTO schema_history (number, name, works_from) VALUES ($1, 'later', $2)";
    let later = sqlx::query(later).bind(newest() + 1).bind(newest());
    later.execute(records.pool()).await.unwrap();
    home.open().await.submit(act(1)).await.unwrap();
    let needs = "UPDATE schema_history SET works_from = number WHERE number = $1";
    sqlx::query(needs).bind(newest() + 1).execute(records.pool()).await.unwrap();
    let refused = Records::connect(&home.database_url(), ORIGIN).await.unwrap_err().to_string();
    assert!(refused.contains("made by a newer version"), "{refused}");
}

/// Rows in the table of commands.
async fn rows(home: &Home) -> i64 {
    let records = home.records().await;
    let count = sqlx::query_scalar("SELECT COUNT(*) FROM commands");
    let count = count.fetch_one(records.pool()).await.unwrap();
    records.close().await;
    count
}

async fn eventually(is_so: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "it does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

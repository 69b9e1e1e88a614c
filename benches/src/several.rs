//! The ledger on PostgreSQL: beside a hash chain kept by a trigger, published in a bucket, through several servers, and
//! what it costs when the one that writes is lost.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::try_join_all;
use rand::Rng as _;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use storage::ledger::Ledger;
use storage::objects::{BucketOptions, Kek, ObjectStore};
use storage::records::Records;
use storage::s3::{Bucket, Place, Secret};
use test_machine::postgres::Postgres;
use test_machine::s3::{ACCESS_KEY, SECRET_KEY, Store};

use crate::ledger::{FILES, ORIGIN, act, in_flight, open_in, open_with};
use crate::usage::median;

const CLIENTS: usize = 64;
const MANY: usize = 1_024;
/// How long they go on asking in one round.
const ROUND: Duration = Duration::from_secs(5);
/// How often the one that writes is lost, and ends in order.
const TAKEOVERS: usize = 12;
/// Batches of 1,024 in one round.
const BATCHES: usize = 8;
/// Connections that add to the chain at once, and how often each does in one round.
const CHAINERS: usize = 16;
const CHAINED: usize = 100;
const FLOORS: usize = 20;

/// The usual way to make a table that shows tampering: each row holds the hash of the one before, by a trigger, and waits
/// for whoever is adding one.
const CHAIN: &str = "
CREATE TABLE chain (id BIGSERIAL PRIMARY KEY, entry BYTEA NOT NULL, hash BYTEA NOT NULL);
CREATE FUNCTION link() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1);
    NEW.id := nextval('chain_id_seq');
    NEW.hash := sha256(COALESCE((SELECT hash FROM chain ORDER BY id DESC LIMIT 1), '') || NEW.entry);
    RETURN NEW;
END $$;
CREATE TRIGGER link BEFORE INSERT ON chain FOR EACH ROW EXECUTE FUNCTION link();
";

pub(crate) fn run(scratch: &Path, rounds: usize) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = tempfile::tempdir_in(scratch)?;
    let mut postgres = Postgres::start()?;
    let (chained, published) = (postgres.create_database()?, postgres.create_database()?);
    let (in_bucket, floor, shared) =
        (postgres.create_database()?, postgres.create_database()?, postgres.create_database()?);
    let store = Store::seaweed()?;
    runtime.block_on(async {
        beside_a_chain(&folder.path().join("published"), &published, &chained, rounds).await?;
        in_a_bucket(&store, &in_bucket, &floor, rounds).await?;
        several(&folder.path().join("shared"), &shared).await
    })
}

// --- Beside a hash chain ---------------------------------------------------------------------------------------------

async fn beside_a_chain(folder: &Path, ours: &str, theirs: &str, rounds: usize) -> Result<()> {
    let ledger = open(ours, folder).await?;
    let chain = PgPoolOptions::new().max_connections(CHAINERS as u32).connect(theirs).await?;
    sqlx::raw_sql(CHAIN).execute(&chain).await?;
    let (mut appends, mut rows, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let measured = in_flight(&ledger, BATCHES).await?;
        let (many, one) = (add_rows(&chain, CHAINERS).await?, add_rows(&chain, 1).await?);
        if round > 0 {
            appends.extend(measured);
            rows.push(many);
            alone.push(one);
        }
    }
    ledger.close().await;
    let (appends, rows) = (1.0 / median(&mut appends), median(&mut rows));
    let alone = median(&mut alone);
    println!(
        "\nLedger on PostgreSQL (cargo run --release -p benches -- several; medians of {rounds} interleaved rounds)"
    );
    println!("hash chain by a trigger, {CHAINERS} connections      {rows:>9.0} /s");
    println!("the same, 1 connection                     {alone:>9.0} /s");
    println!("1,024 in flight, published in a folder     {appends:>9.0} /s");
    println!(
        "1,024 in flight / trigger = {:.1}, of 1 connection {:.1} (aim ≥ 6.0)",
        appends / rows,
        appends / alone
    );
    Ok(())
}

/// Rows per second, each committed by itself, of as many bytes as one of our entries with its openings.
async fn add_rows(chain: &PgPool, connections: usize) -> Result<f64> {
    let begun = Instant::now();
    let adding = (0..connections).map(|_| async {
        let mut connection = chain.acquire().await?;
        for _ in 0..CHAINED {
            let mut entry = vec![0; 900];
            rand::rng().fill_bytes(&mut entry);
            let text = "INSERT INTO chain (entry) VALUES ($1)";
            sqlx::query(text).bind(entry).execute(&mut *connection).await?;
        }
        Ok::<_, sqlx::Error>(())
    });
    try_join_all(adding).await?;
    Ok((connections * CHAINED) as f64 / begun.elapsed().as_secs_f64())
}

// --- Published in a bucket -------------------------------------------------------------------------------------------

async fn in_a_bucket(store: &Store, database: &str, floor: &str, rounds: usize) -> Result<()> {
    store.make_bucket("ledger", true)?;
    let place = Place {
        bucket: "ledger".to_owned(),
        endpoint: Some(store.endpoint().to_owned()),
        path_style: true,
        credentials: Some(Secret {
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
        }),
        ..Place::default()
    };
    let bucket = Bucket::connect(&place).await?;
    let options = BucketOptions { prefix: String::new(), lock_s: None };
    let objects = ObjectStore::in_bucket(bucket, options, Kek::new([1; 32].into()));
    let ledger = open_with(Records::connect(database, ORIGIN).await?, objects.clone()).await?;
    let mut connection = PgConnection::connect(floor).await?;
    sqlx::raw_sql("CREATE TABLE steps (bytes BYTEA NOT NULL)").execute(&mut connection).await?;
    let (mut full, mut alone, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let steps = bare_steps(&objects, &mut connection, round).await?;
        let measured = (in_flight(&ledger, BATCHES).await?, one_by_one(&ledger).await?, steps);
        if round > 0 {
            full.extend(measured.0);
            alone.extend(measured.1);
            bare.extend(measured.2);
        }
    }
    ledger.close().await;
    println!("\nThe same, published in a bucket of a SeaweedFS on this machine");
    println!("1,024 in flight                            {:>9.0} /s", 1.0 / median(&mut full));
    println!(
        "bare steps: commit, six puts at once, commit, put {:>6.1} ms",
        median(&mut bare) * 1e3
    );
    println!("one append after the other, with proof     {:>9.1} ms", median(&mut alone) * 1e3);
    Ok(())
}

/// What a batch cannot be published without, and nothing else.
async fn bare_steps(
    objects: &ObjectStore,
    database: &mut PgConnection,
    round: usize,
) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(FLOORS);
    for step in 0..FLOORS {
        let begun = Instant::now();
        commit(database, 8 << 10).await?;
        let put = |at: usize| async move {
            objects.put_new(&format!("floor/{round}/{step}/{at}"), vec![7; FILES[at]]).await
        };
        try_join_all((0..FILES.len()).map(put)).await?;
        commit(database, 1 << 10).await?;
        objects.replace("floor/checkpoint", vec![7; 250]).await?;
        times.push(begun.elapsed().as_secs_f64());
    }
    Ok(times)
}

async fn commit(database: &mut PgConnection, bytes: usize) -> Result<()> {
    sqlx::query("INSERT INTO steps (bytes) VALUES ($1)")
        .bind(vec![7_u8; bytes])
        .execute(database)
        .await?;
    Ok(())
}

async fn one_by_one(ledger: &Ledger) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(FLOORS);
    for _ in 0..FLOORS {
        let begun = Instant::now();
        ledger.submit(act()).await?;
        times.push(begun.elapsed().as_secs_f64());
    }
    Ok(times)
}

// --- Through several servers -----------------------------------------------------------------------------------------

async fn several(folder: &Path, database: &str) -> Result<()> {
    println!("\nSeveral servers on one PostgreSQL and one folder");
    let writes = open(database, folder).await?;
    let _warm = ask(&[(&writes, CLIENTS)]).await?;
    print("one server, 64 clients", ask(&[(&writes, CLIENTS)]).await?);
    let one = print("one server, 1,024 clients", ask(&[(&writes, MANY)]).await?);
    print("one server, 1 client", ask(&[(&writes, 1)]).await?);
    let asks = open(database, folder).await?;
    let both = ask(&[(&writes, CLIENTS / 2), (&asks, CLIENTS / 2)]).await?;
    print("two servers, 32 clients at each", both);
    let both = ask(&[(&writes, MANY / 2), (&asks, MANY / 2)]).await?;
    let two = print("two servers, 512 clients at each", both);
    print("64 clients at the one that does not write", ask(&[(&asks, CLIENTS)]).await?);
    print("1 client at the one that does not write", ask(&[(&asks, 1)]).await?);
    println!("two servers / one, 1,024 clients = {:.2} (aim ≥ 0.9)", two / one);
    writes.close().await;
    let (asks, mut lost) = lose(database, folder, asks, false).await?;
    let longest = lost.iter().copied().fold(0.0, f64::max);
    println!(
        "first answer after a loss        {:>7.0} ms, longest {:.0} ms (aim ≤ 1000)",
        median(&mut lost) * 1e3,
        longest * 1e3
    );
    let (_, mut closed) = lose(database, folder, asks, true).await?;
    println!("first answer after an orderly end {:>6.0} ms", median(&mut closed) * 1e3);
    Ok(())
}

async fn open(database: &str, folder: &Path) -> Result<Ledger> {
    open_in(Records::connect(database, ORIGIN).await?, folder).await
}

/// So many clients at each server; seconds per answer.
async fn ask(servers: &[(&Ledger, usize)]) -> Result<Vec<f64>> {
    let until = Instant::now() + ROUND;
    let client = |ledger: Ledger| async move {
        let mut times = Vec::new();
        while Instant::now() < until {
            let begun = Instant::now();
            ledger.submit(act()).await?;
            times.push(begun.elapsed().as_secs_f64());
        }
        Ok::<_, anyhow::Error>(times)
    };
    let clients = servers.iter().flat_map(|(ledger, count)| vec![(*ledger).clone(); *count]);
    let all = try_join_all(clients.map(|ledger| tokio::spawn(client(ledger)))).await?;
    Ok(all.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// Prints, and gives, answers per second.
fn print(what: &str, mut times: Vec<f64>) -> f64 {
    let per_second = times.len() as f64 / ROUND.as_secs_f64();
    println!("{what:<42} {per_second:>7.0} /s, median {:>6.1} ms", median(&mut times) * 1e3);
    per_second
}

/// The one that writes goes, in order or without a word; seconds until the next has answered.
async fn lose(
    database: &str,
    folder: &Path,
    mut next: Ledger,
    in_order: bool,
) -> Result<(Ledger, Vec<f64>)> {
    let mut times = Vec::new();
    for _ in 0..TAKEOVERS {
        let writes = std::mem::replace(&mut next, open(database, folder).await?);
        writes.submit(act()).await?;
        if in_order {
            writes.close().await;
        }
        drop(writes);
        let begun = Instant::now();
        next.submit(act()).await?;
        times.push(begun.elapsed().as_secs_f64());
    }
    Ok((next, times))
}

//! What an entry costs through one server of several on a PostgreSQL, and what it costs when the one that writes is lost.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::try_join_all;
use storage::ledger::Ledger;
use storage::records::Records;

use crate::ledger::{ORIGIN, act, open_with};
use crate::usage::median;

const CLIENTS: usize = 64;
/// How long they go on asking in one round.
const ROUND: Duration = Duration::from_secs(5);
/// How often the one that writes is lost, and ends in order.
const TAKEOVERS: usize = 12;

/// On `database`, the URL of an empty one.
pub(crate) fn run(scratch: &Path, database: &str) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = tempfile::tempdir_in(scratch)?;
    runtime.block_on(async {
        println!("\nSeveral servers (cargo run --release -p benches -- several --database URL)");
        let writes = open(database, folder.path()).await?;
        let _warm = ask(&[(&writes, CLIENTS)]).await?;
        print("one server, 64 clients", ask(&[(&writes, CLIENTS)]).await?);
        print("one server, 1 client", ask(&[(&writes, 1)]).await?);
        let asks = open(database, folder.path()).await?;
        let both = ask(&[(&writes, CLIENTS / 2), (&asks, CLIENTS / 2)]).await?;
        print("two servers, 32 clients at each", both);
        print("64 clients at the one that does not write", ask(&[(&asks, CLIENTS)]).await?);
        print("1 client at the one that does not write", ask(&[(&asks, 1)]).await?);
        writes.close().await;
        let (asks, mut lost) = lose(database, folder.path(), asks, false).await?;
        let longest = lost.iter().copied().fold(0.0, f64::max);
        println!(
            "first answer after a loss        {:>7.0} ms, longest {:.0} ms",
            median(&mut lost) * 1e3,
            longest * 1e3
        );
        let (_, mut closed) = lose(database, folder.path(), asks, true).await?;
        println!("first answer after an orderly end {:>6.0} ms", median(&mut closed) * 1e3);
        Ok(())
    })
}

async fn open(database: &str, folder: &Path) -> Result<Ledger> {
    open_with(Records::connect(database, ORIGIN).await?, &folder.join("objects")).await
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

fn print(what: &str, mut times: Vec<f64>) {
    let per_second = times.len() as f64 / ROUND.as_secs_f64();
    println!("{what:<42} {per_second:>7.0} /s, median {:>6.1} ms", median(&mut times) * 1e3);
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

//! What a restore-drill from the store alone takes: the records made again from published entries, compared row by row.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use chain_of_custody::note::{Signer as _, SigningKey};
use storage::ledger::rebuild_beginning;
use storage::objects::{Kek, ObjectStore};
use storage::records::{Records, Table};

use crate::ledger::{BATCH, ORIGIN, in_flight, open_in};
use crate::usage::peak_memory_bytes;

pub(crate) fn run(scratch: &Path, entries: usize) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = tempfile::tempdir_in(scratch)?;
    runtime.block_on(async {
        let live = Records::sqlite(&folder.path().join("live.sqlite"), ORIGIN).await?;
        let ledger = open_in(live.clone(), folder.path()).await?;
        let batches = entries.div_ceil(BATCH);
        in_flight(&ledger, batches).await?;
        ledger.close().await;

        let begun = Instant::now();
        let (size, expected) = live.digests().await?;
        let store = ObjectStore::read_only(&folder.path().join("objects"), Kek::new([1; 32].into()));
        let made = Records::sqlite(&folder.path().join("made.sqlite"), ORIGIN).await?;
        let keys = [SigningKey::from_seed(ORIGIN, [1; 32])?.vkey()];
        let published = rebuild_beginning(&made, store, &ORIGIN.parse()?, &keys, size).await?;
        ensure!(published >= size, "{published} of {size} entries are published");
        let made_s = begun.elapsed().as_secs_f64();
        let (_, found) = made.digests().await?;
        let equal = found.iter().zip(&expected).filter(|(a, b)| a == b).count();
        ensure!(equal == Table::RECORDS.len(), "{equal} tables of {} are equal", Table::RECORDS.len());
        println!("\nRebuild (cargo run --release -p benches -- rebuild --entries {entries})");
        println!("{size} entries made again from the store  {made_s:>8.1} s");
        println!(
            "compared row by row, {equal} tables equal   {:>8.1} s in all (aim for 1,000,000 ≤ 900)",
            begun.elapsed().as_secs_f64()
        );
        let peak = peak_memory_bytes(std::process::id())? / 1_000_000;
        println!("peak memory of this process             {peak:>8} MB");
        Ok(())
    })
}

//! `exhibit upgrade check`: whether this version's migrations and formats fit the data, tried on a copy.

use std::path::Path;
use std::process::ExitCode;

use chain_of_custody::ids::TreeSize;
use serde_json::json;
use storage::records::{Records, Table};

use crate::app::keep::SCRATCH;
use crate::app::open::failed;
use crate::config::Config;
use crate::control::Failure;
use crate::keeping::Look;
use crate::terminal::{self, line};

/// Entries whose form is looked at, from the end.
const ENTRIES_TRIED: u64 = 1_000;

pub(super) async fn check(
    data: &Path,
    config: &Config,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let look = Look::from_outside(data, config).await;
    let records = match &look.records {
        Some(Ok(records)) if config.storage.database.is_empty() => records,
        Some(Ok(_)) => {
            return Err(Failure::new("upgrade", "the records are in PostgreSQL")
                .advice("restore a dump into a database aside and start this version there"));
        }
        Some(Err(error)) => return Err(Failure::new("records", error.clone())),
        None => return Err(Failure::new("records", "there is no database here yet")),
    };
    let broken = |e: &dyn std::error::Error| failed("upgrade", e);
    let known = Records::known_migrations();
    let has = records.migrations().await.map_err(|e| broken(&e))?;
    let newer: Vec<i64> =
        has.iter().copied().filter(|n| known.iter().all(|(k, _)| k != n)).collect();
    let new: Vec<_> =
        known.iter().filter(|(n, _)| !has.contains(n)).map(|(_, name)| *name).collect();
    let mut problems: Vec<String> = newer
        .iter()
        .map(|n| format!("the database has migration {n}, which this version does not know: it was made by a newer one"))
        .collect();
    if newer.is_empty() {
        problems.extend(on_a_copy(data, config, records).await?);
    }
    if look.published.is_none() {
        problems
            .push("the published checkpoint is missing or not in a form this version reads".into());
    }
    let fits = problems.is_empty();
    if as_json {
        let version = env!("CARGO_PKG_VERSION");
        terminal::answer(
            &json!({"fits": fits, "version": version, "migrations": new, "problems": problems}),
        );
    } else {
        problems.iter().for_each(|problem| line(problem));
        line(&match new.len() {
            0 => "the database needs no migration".to_owned(),
            n => format!("{n} migrations would run at the first start: {}", new.join(", ")),
        });
        line(if fits {
            "this version fits the data; back up before you change over all the same"
        } else {
            "do not start this version on this data"
        });
    }
    Ok(if fits { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Migrates a copy of the database and compares what both have.
async fn on_a_copy(
    data: &Path,
    config: &Config,
    records: &Records,
) -> Result<Vec<String>, Failure> {
    let broken = |e: &dyn std::error::Error| failed("upgrade", e);
    let path = data.join(format!("{SCRATCH}.upgrade"));
    let _gone = CopyGone(&path);
    remove(&path);
    records.snapshot_to(&path).await.map_err(|e| broken(&e))?;
    let mut problems = Vec::new();
    let copy = match Records::sqlite(&path, &config.force.ledger).await {
        Ok(copy) => copy,
        Err(error) => return Ok(vec![format!("a migration fails on a copy: {error}")]),
    };
    for table in Table::RECORDS {
        // What this version adds is not compared: neither tables nor columns.
        let columns = records.columns(*table).await.map_err(|e| broken(&e))?;
        if columns.is_empty() {
            continue;
        }
        let before = records.digest_of(*table, &columns).await.map_err(|e| broken(&e))?;
        let after = copy.digest_of(*table, &columns).await;
        if after.map_err(|e| broken(&e))? != before {
            problems.push(format!("the migrations change rows of {}", table.name));
        }
    }
    let size = copy.size().await.map_err(|e| broken(&e))?;
    let from = TreeSize(size.0.saturating_sub(ENTRIES_TRIED));
    for entry in copy.entries(from, size).await.map_err(|e| broken(&e))? {
        let index = entry.index;
        if let Err(error) = entry.parse() {
            problems.push(format!("entry {index} is not readable for this version: {error}"));
        }
    }
    copy.close().await;
    Ok(problems)
}

struct CopyGone<'a>(&'a Path);

impl Drop for CopyGone<'_> {
    fn drop(&mut self) {
        remove(self.0);
    }
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let _not_there_or_named_by_doctor =
            std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

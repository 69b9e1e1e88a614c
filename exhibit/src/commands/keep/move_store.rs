//! `exhibit migrate-storage`: objects and ledger brought to another place, with a line for each object.
//!
//! No server runs meanwhile, and nothing at the old place is changed: until the settings name the new one, it is the store.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chain_of_custody::time::Timestamp;
use clap::Args;
use serde_json::Value;
use storage::moving::{Line, Move, MoveError, Outcome, Summary, move_store};
use storage::objects::{Kek, ObjectStore};
use storage::records::{Records, UploadState};
use storage::s3::Secret;

use crate::app::alone::refuse_other_servers;
use crate::app::keys::RoleKeys;
use crate::app::objects;
use crate::app::open::{failed, open_records, origin};
use crate::config::{self, Config};
use crate::control::{DataLock, Failure, Progress};
use crate::terminal::{self, line, size};

/// Credentials of the destination, where they are others than the source's.
const TO_ACCESS_KEY: &str = "EXHIBIT_TO_AWS_ACCESS_KEY_ID";
const TO_SECRET_KEY: &str = "EXHIBIT_TO_AWS_SECRET_ACCESS_KEY";
/// The year 9000: later than any upload was touched.
const EVER_MS: i64 = 221_845_392_000_000;
/// Of unfinished uploads, so many are named.
const NAMED_UPLOADS: u32 = 10;

/// What people type.
#[derive(Debug, Args)]
pub(crate) struct MigrateStorage {
    /// A file with a [storage] section, as in exhibit.toml, that names the bucket.
    #[arg(long, value_name = "FILE", required_unless_present = "to_folder")]
    to: Option<PathBuf>,
    /// A folder that becomes the store: DATA/objects of the data folder that will use it. It is empty, not there, or holds what
    /// an earlier run has brought.
    #[arg(long, value_name = "DIR", conflicts_with = "to")]
    to_folder: Option<PathBuf>,
    /// The report to write, a line of JSON for each object. Each run has one of its own.
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// Read every byte at the destination afterwards, not only look for it.
    #[arg(long)]
    read_again: bool,
}

pub(super) async fn run(
    args: &MigrateStorage,
    data: &Path,
    config: &Config,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let _lock = DataLock::take(data)?.ok_or_else(|| {
        Failure::new("data-folder", "the server runs on this folder")
            .advice("stop the server first; docks wait and go on afterwards")
    })?;
    let origin = origin(&config.force.ledger)?;
    let keys = RoleKeys::open(&data.join("keys"), &config.keys, &origin)?;
    let records = open_records(data, &config.storage, &origin).await?;
    refuse_in_use(&records).await?;
    let from = objects::source(data, &config.storage, keys.kek.clone()).await?;
    let to = destination(args, data, config, keys.kek.clone()).await?;
    let mut report = Report::new(&args.report)?;
    let work = Move {
        records: &records,
        from: &from,
        to: &to,
        origin,
        log_key: keys.log.vkey(),
        read_again: args.read_again,
    };
    let bar = terminal::Bar::counting(as_json);
    let mut step = |what: &str, done_bytes, total_bytes| {
        bar.show(&Progress { what: what.into(), done_bytes, total_bytes });
    };
    let moved = move_store(&work, &mut |line| report.tell(line), &mut step).await;
    drop(bar);
    records.close().await;
    let moved = moved.map_err(|e| failure(&e))?;
    let faults = report.finish()?;
    if as_json {
        let mut answer = serde_json::to_value(&moved).expect("a summary is plain data");
        answer["faults"] = faults.into();
        terminal::answer(&answer);
    } else {
        print(&moved, &faults, args);
    }
    Ok(if moved.complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A server elsewhere would go on writing to the old place, and an upload that is under way could not go on at the new one.
async fn refuse_in_use(records: &Records) -> Result<(), Failure> {
    let cannot = |e: storage::records::RecordsError| failed("records", &e);
    refuse_other_servers(records).await?;
    let ever = Timestamp::from_unix_millis(EVER_MS).expect("the year 9000 can be written");
    let mut named = Vec::new();
    for state in [UploadState::Receiving, UploadState::Finishing] {
        let rows = records.uploads_untouched(state, ever, NAMED_UPLOADS).await.map_err(cannot)?;
        named.extend(rows.iter().map(|row| format!("{} ({} bytes)", row.upload, row.offset_bytes)));
    }
    let (_, open) = records.open_uploads(None).await.map_err(cannot)?;
    if named.is_empty() {
        return Ok(());
    }
    let what = format!("{open} uploads are under way: {}", named.join(", "));
    Err(Failure::new("uploads", what).advice(
        "start the server until their docks have finished them; those that nobody goes on with end after limits.upload_days",
    ))
}

async fn destination(
    args: &MigrateStorage,
    data: &Path,
    config: &Config,
    kek: Kek,
) -> Result<ObjectStore, Failure> {
    let unfit = |text: String| Failure::new("storage", text);
    if let Some(folder) = &args.to_folder {
        let folder = super::super::absolute(folder)?;
        if !config.storage.is_s3() && folder == data.join("objects") {
            return Err(unfit(format!("{} is where the objects are", folder.display())));
        }
        let mut entries = std::fs::read_dir(&folder).into_iter().flatten();
        if entries.next().is_some() && !folder.join("keys").is_dir() {
            return Err(unfit(format!("{} holds other files", folder.display()))
                .advice("name an empty folder, or one that is not there"));
        }
        return ObjectStore::open(&folder, kek).map_err(|e| failed("storage", &e));
    }
    let file = args.to.as_deref().expect("one of the two is required");
    let settings = Config::load(file, true, std::iter::empty(), &[])
        .map_err(|e| Failure::new("configuration", e.to_string()))?
        .storage;
    if !settings.is_s3() {
        return Err(Failure::new(
            "configuration",
            format!("{}: it names no bucket", file.display()),
        )
        .advice("storage.kind = \"s3\" and storage.bucket; for a folder use --to-folder DIR"));
    }
    let place = |s: &config::Storage| (s.bucket.clone(), s.prefix.clone(), s.endpoint.clone());
    if config.storage.is_s3() && place(&config.storage) == place(&settings) {
        return Err(unfit(format!("{}: that is where the objects are", file.display())));
    }
    objects::destination(&settings, credentials()?, kek).await
}

/// The destination's own, if they are given.
fn credentials() -> Result<Option<Secret>, Failure> {
    match (std::env::var(TO_ACCESS_KEY), std::env::var(TO_SECRET_KEY)) {
        (Ok(access_key), Ok(secret_key)) => Ok(Some(Secret { access_key, secret_key })),
        (Err(_), Err(_)) => Ok(None),
        _ => Err(Failure::new("usage", format!("set both {TO_ACCESS_KEY} and {TO_SECRET_KEY}"))),
    }
}

fn failure(error: &MoveError) -> Failure {
    let failure = failed("migrate-storage", error);
    match error {
        MoveError::Unpublished { .. } => {
            failure.advice("start the server and stop it: it publishes what it has entered")
        }
        MoveError::Ahead { .. } | MoveError::OtherHistory => failure
            .advice("nothing was written; find out which of the two is the ledger before going on"),
        MoveError::Report(_) => failure.advice("make room, and begin again with another --report"),
        _ => failure.advice(
            "what was copied is not copied again: mend the cause and begin again with another --report",
        ),
    }
}

/// The report's file, written as the move goes on; without its last line a move did not come to its end.
struct Report {
    path: PathBuf,
    file: BufWriter<File>,
    /// What did not arrive, for the answer.
    faults: Vec<Value>,
}

impl Report {
    fn new(path: &Path) -> Result<Self, Failure> {
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        let file = made.map_err(|e| {
            Failure::new("report", format!("{}: {e}", path.display()))
                .advice("each run has a report of its own: name a file that is not there")
        })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), faults: Vec::new() })
    }

    fn tell(&mut self, line: &Line) -> std::io::Result<()> {
        let value = serde_json::to_value(line).expect("a line is plain data");
        writeln!(self.file, "{value}")?;
        let arrived = matches!(line, Line::Object(object)
            if matches!(object.outcome, Outcome::Copied | Outcome::ThereBefore));
        if !arrived && !matches!(line, Line::Before { .. } | Line::Summary(_)) {
            self.faults.push(value);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Value>, Failure> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(|e| Failure::new("report", format!("{}: {e}", self.path.display())))?;
        Ok(self.faults)
    }
}

fn print(moved: &Summary, faults: &[Value], args: &MigrateStorage) {
    let (surplus, faults): (Vec<_>, Vec<_>) =
        faults.iter().partition(|fault| fault["line"] == "surplus");
    let faults: Vec<Value> = faults.into_iter().cloned().collect();
    super::backup::print_findings(&faults);
    for file in surplus {
        let name = file["name"].as_str().unwrap_or("-");
        line(&format!("not named by any entry, not moved: {name}"));
    }
    let Summary { named, copied, there_before, missing, damaged, .. } = moved;
    line(&format!(
        "{named} objects are named by {} entries ({}): {copied} copied ({}), {there_before} there before, {missing} missing, \
         {damaged} damaged",
        moved.entries,
        size(moved.before.bytes),
        size(moved.copied_bytes),
    ));
    let how = if moved.read_again { "read through" } else { "looked at" };
    line(&format!(
        "{} objects {how} at the destination ({}), {} not as they should be",
        moved.after.objects,
        size(moved.after.bytes),
        moved.differing
    ));
    if moved.newer_entries > 0 {
        line(&format!(
            "{} entries were made meanwhile: a server runs. Stop it, and begin again",
            moved.newer_entries
        ));
    }
    line(&format!("the report is {}", args.report.display()));
    line(match moved.complete {
        true => {
            "everything arrived: put the new place into exhibit.toml and start the server; the old one is as it was"
        }
        false => "NOT everything arrived: see above and the report; the old place is as it was",
    });
}

//! Keeping that is cut off: a backup killed at each of its moments, a scrub killed halfway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tests::programs::program;
use tests::seeded::Seeded;
use tests::tus::Tus;
use tests::{Answer, Server, Workspace, audit, failpoints};

/// Items of the first backup.
const FIRST: u64 = 2;
/// Entries are kept in bundles of 256; the scrub remembers how far it is after each.
const SEVERAL_BUNDLES: usize = 270;

/// Whatever the moment: what was backed up before can be restored, and the next run completes it.
#[test]
fn a_killed_backup_leaves_the_one_before_and_is_completed_by_the_next() {
    let workspace = Workspace::new();
    let backup = workspace.path("backup");
    fs::create_dir(&backup).expect("a folder for backups");
    let mut seeded = Seeded::new(3);
    let mut held = 0;
    while held < FIRST {
        ingest(&workspace, &mut seeded, &mut held);
    }
    // The very first one is killed, too: there is none before, and nothing pretends to be one.
    killed_at(&workspace, &backup, "backup.database-kept");
    let nothing = drill(&workspace, &backup);
    assert!(
        nothing.code == Some(1) && nothing.stderr.contains("no finished backup"),
        "{nothing:?}"
    );
    let mut before = back_up(&workspace, &backup)["entries"].clone();

    let moments = failpoints::named().into_iter().filter(|name| name.starts_with("backup."));
    let moments: Vec<_> = moments.collect();
    assert!(moments.len() >= 6, "{moments:?}");
    for moment in moments {
        println!("killed at {moment}");
        ingest(&workspace, &mut seeded, &mut held);
        killed_at(&workspace, &backup, &moment);
        let usable = drill(&workspace, &backup).ok().json();
        let replaced = moment == "backup.manifest-replaced";
        assert_eq!(usable["entries"] == before, !replaced, "{moment}: {usable}");
        before = back_up(&workspace, &backup)["entries"].clone();
        let whole = drill(&workspace, &backup).ok().json();
        assert_eq!(whole["entries"], before, "{moment}: {whole}");
        assert_eq!(whole["objects"], held, "{moment}: {whole}");
        assert!(!workspace.in_data("records.backup").exists(), "{moment}: the database in clear");
        let left: Vec<_> = files_in(&backup.join("uploads")).collect();
        assert!(left.is_empty(), "{moment}: {left:?}");
        assert_eq!(files_in(&backup.join("records")).count(), 2, "one database and its outboard");
    }
    audit::ledger_is_clean(&workspace);
}

/// It goes on after the last bundle of entries that it had finished, and still knows what it had found.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_scrub_goes_on_where_it_was() {
    let workspace = Workspace::new();
    let device = workspace.enrol("a device with many clips");
    // Nothing here is footage, and no worker need say so.
    let server = Server::start_with(&workspace, &[("EXHIBIT_TRANSCODE", "/bin/false")]);
    let tus = Tus::new(server.url(), &device.token);
    let sent = stream::iter(0..SEVERAL_BUNDLES).map(|n| {
        let tus = tus.clone();
        async move {
            let bytes = Bytes::from(format!("clip {n}"));
            tus.upload(&format!("{n}.bin"), &bytes, bytes.len()).await.expect("it is received")
        }
    });
    let sent: Vec<_> = sent.buffered(8).collect().await;
    assert!(server.stop().success());
    let first = &sent[0].item;
    let object = workspace.in_data(format!("objects/originals/{first}"));
    let whole = fs::read(&object).expect("an original");
    let mut damaged = whole.clone();
    *damaged.last_mut().expect("not empty") ^= 1;
    fs::write(&object, damaged).expect("damaged");

    let mut command = Command::new(program("exhibit"));
    command.args(["scrub", "--full-speed", "--data"]).arg(workspace.data());
    let killed = Answer::of(command.env("EXHIBIT_FAIL", "scrub.kept"));
    assert_eq!(killed.code, None, "{}", killed.stderr);
    // Read, found and remembered by then: that it is whole again is for the next scrub to say.
    fs::write(&object, whole).expect("put back");
    let report = workspace.exhibit(&["scrub", "--full-speed"]);
    assert_eq!(report.code, Some(1), "{}", report.stderr);
    let report = report.json();
    assert_eq!(report["resumed_at"], 256, "{report}");
    let read = report["objects"].as_u64().expect("a number");
    assert!(read > 0 && read < SEVERAL_BUNDLES as u64 / 2, "only what was left: {report}");
    let findings = report["findings"].as_array().expect("findings");
    assert_eq!(findings.len(), 1, "{report}");
    assert_eq!(findings[0]["item"], first.as_str());
    let shown = workspace.show(first).ok().json();
    assert_eq!(audit::count_of_events(&shown, "storage.fault"), 1, "{shown}");

    let again = workspace.exhibit(&["scrub", "--full-speed"]).ok().json();
    assert_eq!((&again["resumed_at"], &again["objects"]), (&0.into(), &SEVERAL_BUNDLES.into()));
    let shown = workspace.show(first).ok().json();
    assert_eq!(audit::count_of_events(&shown, "item.verified"), 1, "whole again: {shown}");
}

fn ingest(workspace: &Workspace, seeded: &mut Seeded, held: &mut u64) {
    let clip = workspace.write(&format!("clip-{held}.bin"), &seeded.bytes(100_000));
    workspace.exhibit(&["ingest", &clip.display().to_string()]).ok();
    *held += 1;
}

fn back_up(workspace: &Workspace, to: &Path) -> Value {
    workspace.exhibit(&["backup", "--to", &to.display().to_string()]).ok().json()
}

fn killed_at(workspace: &Workspace, to: &Path, moment: &str) {
    let mut command = Command::new(program("exhibit"));
    command.args(["backup", "--to"]).arg(to).arg("--data").arg(workspace.data());
    let killed = Answer::of(command.env("EXHIBIT_FAIL", moment));
    assert_eq!(killed.code, None, "{moment} was not reached: {}", killed.stderr);
}

fn drill(workspace: &Workspace, from: &Path) -> Answer {
    let (from, into) = (from.display().to_string(), workspace.path("").display().to_string());
    workspace.exhibit(&["restore-drill", "--from", &from, "--into", &into])
}

fn files_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

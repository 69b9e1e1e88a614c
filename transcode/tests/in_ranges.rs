//! A long recording in ranges, through real jobs and the real worker: one viewing copy, whoever makes it and whatever is killed, and nothing
//! is left of what it was joined of.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/house.rs"]
mod house;
mod support;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use chain_of_custody::event::{EventKind, field};
use house::*;
use serde_json::Value;
use storage::records::{DerivativeView, ItemView};
use support::*;
use tempfile::TempDir;
use transcode::Supervisor;
use transcode::jobs::{Answer, Jobs};
use transcode::protocol::{ProxyParameters, Recipe};
use transcode::ranges;
use transcode::recipe;
use transcode::reproduce::{Comparison, reproduce};

on_both_databases!(
    any_number_of_runners_makes_the_same_viewing_copy_and_leaves_nothing,
    a_stop_in_a_range_or_in_the_join_ends_in_one_viewing_copy,
    a_worker_that_dies_in_a_range_is_tried_again_twice_is_a_failure_of_the_whole,
    what_is_cancelled_in_a_range_leaves_nothing_and_can_be_asked_for_again,
    a_range_that_was_lost_is_made_again,
);

/// Ten and a half minutes of small pictures, of which each second one or so builds on a later one; two ranges and the sound.
fn long() -> Bytes {
    static LONG: OnceLock<Bytes> = OnceLock::new();
    let made = || {
        let picture = "testsrc2=s=64x48:r=5:d=630";
        let inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=r=8000:d=630"];
        let codecs = ["-c:v", "mpeg4", "-bf", "2", "-g", "50", "-c:a", "pcm_alaw"];
        filmed(&[&inputs[..], &codecs].concat(), "mkv")
    };
    LONG.get_or_init(made).clone()
}

/// Starts of a worker when one runner makes it all: of the probe, of the rest, then of each range and of the join.
const FIRST_RANGE: u32 = 3;
const SECOND_RANGE: u32 = 4;
const JOIN: u32 = 6;

/// The real worker, but for those of its starts at which it does something else.
struct Scripted {
    folder: TempDir,
}

impl Scripted {
    fn new(starts: &[u32], instead: &str) -> Self {
        let folder = folder();
        let cases: String = starts.iter().map(|n| format!("{n}) {instead};;\n")).collect();
        let text = format!(
            "#!/bin/sh\nn=$(($(cat {count} 2>/dev/null || echo 0) + 1))\necho $n > {count}\ncase $n in\n{cases}esac\nexec {worker}\n",
            count = folder.path().join("count").display(),
            worker = worker().display(),
        );
        let script = folder.path().join("worker");
        std::fs::write(&script, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        Self { folder }
    }

    fn supervisor(&self) -> Supervisor {
        Supervisor::new(self.program(), allowance())
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("worker")
    }

    fn starts(&self) -> u32 {
        let count = std::fs::read_to_string(self.folder.path().join("count")).unwrap_or_default();
        count.trim().parse().unwrap_or(0)
    }

    /// Until it was started so often.
    async fn started(&self, times: u32) {
        while self.starts() < times {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn hangs_at(start: u32) -> Scripted {
    Scripted::new(&[start], "exec sleep 1000")
}

async fn idle(jobs: &Jobs) {
    tokio::time::timeout(Duration::from_secs(240), jobs.idle()).await.unwrap().unwrap();
}

fn viewing_copy(view: &ItemView) -> &DerivativeView {
    let copies: Vec<_> = view.derivatives.iter().filter(|made| made.kind == "proxy").collect();
    let [copy] = &copies[..] else { panic!("{:?}", view.derivatives) };
    copy
}

/// Nothing but what entries name, of one item that has all that is made of it, `and` or not its viewing copy.
async fn nothing_is_left(house: &House, data: &Path, of: &ItemView) {
    let heads = of.derivatives.iter().filter(|made| made.kind == "proxy").count();
    let files = derivative_files(data);
    assert_eq!(files.len(), of.derivatives.len() + heads, "{files:?}");
    assert!(house.objects.uploads().await.unwrap().is_empty());
    assert_eq!(house.count("jobs", "part_of <> ''").await, 0);
    assert_eq!(house.ledger.records().open_jobs().await.unwrap(), 0);
}

/// How often an entry says that something was made.
fn made(view: &ItemView) -> usize {
    view.events.iter().filter(|entry| entry.kind == "item.derived").count()
}

async fn any_number_of_runners_makes_the_same_viewing_copy_and_leaves_nothing(home: Home) {
    let house = home.open().await;
    let mut views = Vec::new();
    for (runners, items) in [(1, 1), (3, 2)] {
        let item = house.receive(&long(), "stored", false).await;
        let jobs = house.jobs(supervisor(), runners).await;
        idle(&jobs).await;
        jobs.stop().await;
        let view = house.view(item).await;
        assert_eq!(view.derivatives.len(), 7, "{:?} {:?}", view.derivatives, view.failures);
        assert_eq!(made(&view), 7, "each once, and no range");
        assert_eq!(derivative_files(home.path()).len(), items * 8, "of each copy, head and body");
        assert_eq!(house.count("jobs", "part_of <> ''").await, 0);
        views.push(view);
    }
    let copies: Vec<_> = views.iter().map(viewing_copy).collect();
    assert_eq!(copies[0].digests, copies[1].digests, "the same bytes by one runner and by three");
    assert_eq!(copies[0].recipe, copies[1].recipe);
    let recipe: Value = serde_json::from_str(&copies[0].recipe).unwrap();
    assert_eq!(recipe["asked"]["ranges_from_90k"].as_array().unwrap().len(), 1, "{recipe}");
    let codecs = &recipe["made-with"]["codecs"];
    assert!(codecs["video"].as_str().unwrap().starts_with("libx264"), "{recipe}");
    assert!(codecs["audio"].as_str().unwrap().starts_with("aac"), "{recipe}");
    assert!(recipe["program-sha256"].is_string(), "one program made all: {recipe}");

    let bytes = house.read(&copies[0].object).await;
    let (_, whole) = proxy(&long()).await;
    assert_eq!(picture_times(&bytes), picture_times(&whole), "each picture at its time");
    assert_eq!(complaints(&bytes), "");
    let sound = |bytes: &[u8]| ffmpeg(bytes, &["-map", "0:a", "-f", "f32le"], "raw");
    assert!(sound(&bytes) == sound(&whole), "the same sound");

    let copy = [copies[0].clone()];
    let again = reproduce(&supervisor(), &house.objects, &views[0].record, &copy).await.unwrap();
    assert_eq!(again[0].result, Comparison::Match, "{again:?}");
    house.audits_clean().await;
}

/// The server ends while a worker is at a range, then at the join.
async fn a_stop_in_a_range_or_in_the_join_ends_in_one_viewing_copy(home: Home) {
    let mut house = home.open().await;
    let item = house.receive(&long(), "stored", false).await;
    for (start, there) in [(SECOND_RANGE, 1), (3, 3)] {
        let worker = hangs_at(start);
        let jobs = house.jobs(worker.supervisor(), 1).await;
        worker.started(start).await;
        let are_there = "part_of <> '' AND made LIKE '{\"made\"%'";
        assert_eq!(house.count("jobs", are_there).await, there, "ranges that are there");
        let copy = house.count("jobs", "kind = 'proxy' AND state = 'running'").await;
        assert_eq!(copy, i64::from(there == 3), "it waits for all of its ranges");
        drop(jobs);
        house.ledger.close().await;
        house = home.open().await;
    }
    house.work(supervisor()).await;
    let view = house.view(item).await;
    assert_eq!((made(&view), viewing_copy(&view).kind.as_str()), (7, "proxy"));
    assert!(view.failures.is_empty(), "{:?}", view.failures);
    nothing_is_left(&house, home.path(), &view).await;
    house.audits_clean().await;
}

async fn a_worker_that_dies_in_a_range_is_tried_again_twice_is_a_failure_of_the_whole(home: Home) {
    let house = home.open().await;
    let once = Scripted::new(&[FIRST_RANGE], "kill -9 $$");
    let item = house.receive(&long(), "stored", false).await;
    let jobs = house.jobs(once.supervisor(), 1).await;
    idle(&jobs).await;
    jobs.stop().await;
    let view = house.view(item).await;
    assert_eq!(once.starts(), JOIN + 1, "the range once more");
    assert_eq!((view.derivatives.len(), view.failures.len()), (7, 0), "{:?}", view.failures);

    // What one range comes to the whole comes to; what is made of the original besides is there.
    let twice = Scripted::new(&[FIRST_RANGE, JOIN], "kill -9 $$");
    let data = folder();
    let house = House::open(data.path(), &sqlite(data.path())).await;
    let item = house.receive(&long(), "stored", false).await;
    let jobs = house.jobs(twice.supervisor(), 1).await;
    idle(&jobs).await;
    jobs.stop().await;
    let view = house.view(item).await;
    let [failure] = &view.failures[..] else { panic!("{:?}", view.failures) };
    assert_eq!((&*failure.kind, &*failure.reason_code), ("proxy", "crashed"));
    assert!(failure.reason.contains("signal 9"), "{}", failure.reason);
    assert_eq!(view.derivatives.len(), 6);
    nothing_is_left(&house, data.path(), &view).await;
    house.audits_clean().await;
}

fn sqlite(folder: &Path) -> String {
    format!("sqlite://{}?mode=rwc", folder.join("records.sqlite").display())
}

async fn what_is_cancelled_in_a_range_leaves_nothing_and_can_be_asked_for_again(home: Home) {
    let house = home.open().await;
    let item = house.receive(&long(), "stored", false).await;
    let worker = hangs_at(SECOND_RANGE);
    let jobs = house.jobs(worker.supervisor(), 1).await;
    worker.started(SECOND_RANGE).await;
    let making = house.view(item).await.making;
    let far: Vec<_> = making.iter().map(|one| (&*one.kind, one.permille)).collect();
    assert_eq!(far, [("proxy", Some(333))], "one of three");
    assert_eq!(house.ledger.records().cancel_jobs(item, "os-user:alice").await.unwrap(), 1);
    idle(&jobs).await;
    jobs.stop().await;
    let view = house.view(item).await;
    assert_eq!((view.failures[0].reason_code.as_str(), view.making.len()), ("cancelled", 0));
    let entry = house.ledger.records().event_at(view.failures[0].leaf_index).await.unwrap();
    assert_eq!(entry.unwrap().opened(field::BY), Some("os-user:alice"));
    nothing_is_left(&house, home.path(), &view).await;

    let Answer::Made(made) = house.ask(item, &in_ranges(&view), "os-user:bob").await else {
        panic!("it can be made")
    };
    let view = house.view(item).await;
    assert_eq!(viewing_copy(&view).digests, made.digests);
    nothing_is_left(&house, home.path(), &view).await;

    // One that is restricted while a range of it is made gets nothing.
    let restricted = house.receive(&long(), "stored", false).await;
    let worker = hangs_at(SECOND_RANGE);
    let jobs = house.jobs(worker.supervisor(), 1).await;
    worker.started(SECOND_RANGE).await;
    let on = [(field::RESTRICTED, "true".to_owned())];
    house.submit(EventKind::ItemRestricted, restricted, &on).await;
    jobs.stop().await;
    take_up(&house).await;
    house.work(supervisor()).await;
    let view = house.view(restricted).await;
    assert!(view.derivatives.iter().all(|made| made.kind != "proxy"));
    assert_eq!(house.count("jobs", "part_of <> ''").await, 0);
    let files = derivative_files(home.path()).into_iter();
    assert_eq!(files.filter(|path| path.to_string_lossy().contains("range")).count(), 0);
    house.audits_clean().await;
}

/// As a server does that starts; on PostgreSQL once the time of whoever was stopped is over.
async fn take_up(house: &House) {
    let text = "UPDATE jobs SET claimed_until_ms = 1";
    sqlx::query(text).execute(house.ledger.records().pool()).await.unwrap();
    let clock = storage::clock::SystemClock;
    transcode::jobs::take_up(house.ledger.records(), &clock).await.unwrap();
}

/// The viewing copy that follows from an item's probe.
fn in_ranges(view: &ItemView) -> Recipe {
    let probe = view.derivatives.iter().find(|made| made.kind == "probe").unwrap();
    let recipes = recipe::after(&probe.media).into_iter();
    recipes.rev().find(|recipe| !ranges::of(recipe).is_empty()).expect("a long one")
}

/// Somebody took its bytes out of the store.
async fn a_range_that_was_lost_is_made_again(home: Home) {
    let house = home.open().await;
    let item = house.receive(&long(), "stored", false).await;
    let worker = hangs_at(JOIN - 1);
    let jobs = house.jobs(worker.supervisor(), 1).await;
    worker.started(JOIN - 1).await;
    let ranges = derivative_files(home.path()).into_iter();
    let ranges: Vec<_> = ranges.filter(|path| path.to_string_lossy().contains("range")).collect();
    assert!(!ranges.is_empty());
    std::fs::remove_file(&ranges[0]).unwrap();
    jobs.stop().await;
    take_up(&house).await;
    house.work(supervisor()).await;
    let view = house.view(item).await;
    assert_eq!(view.derivatives.len(), 7, "{:?}", view.failures);
    nothing_is_left(&house, home.path(), &view).await;
}

#[test]
fn a_short_recording_is_made_in_one_as_ever() {
    let media = r#"{"streams":[{"kind":"video"}],"browser":{"plays":false}}"#;
    let text = recipe::canonical_text(&Recipe::Proxy(ProxyParameters::default()));
    assert!(!text.contains("ranges"), "{text}");
    let after = recipe::after(media);
    assert!(after.iter().any(|recipe| recipe::canonical_text(recipe) == text));
}

#[tokio::test]
async fn two_servers_share_the_ranges_of_one_recording() {
    let home = Home::postgres();
    let (one, two) = (home.open().await, home.open().await);
    let item = one.receive(&long(), "stored", false).await;
    let workers = [Scripted::new(&[], ""), Scripted::new(&[], "")];
    let first = one.jobs(workers[0].supervisor(), 1).await;
    let second = two.jobs(workers[1].supervisor(), 1).await;
    idle(&first).await;
    idle(&second).await;
    first.stop().await;
    second.stop().await;
    let view = one.view(item).await;
    assert_eq!((made(&view), viewing_copy(&view).kind.as_str()), (7, "proxy"));
    nothing_is_left(&one, home.path(), &view).await;
    let starts = workers.each_ref().map(Scripted::starts);
    assert_eq!(starts[0] + starts[1], JOIN, "each thing once: {starts:?}");
    assert!(starts.iter().all(|starts| *starts > 0), "both worked: {starts:?}");
}

//! A store moved from a folder to a bucket, from there to another bucket, and back to a folder: what was lost on the way is
//! named exactly, a kill at any moment is gone on from, and everything that arrived reads back.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;
use test_machine::postgres::Postgres;
use test_machine::s3::{ACCESS_KEY, SECRET_KEY, Store};
use tests::seeded::Seeded;
use tests::tus::Tus;
use tests::{Answer, Server, Workspace, audit, failpoints, footage, programs};

/// More than a piece of an upload in parts.
const LARGEST_BYTES: usize = 20 << 20;
/// Every version below these keys, gone for good.
const DELETE: &str = "
for key in sys.argv[3:]:
    for v in s3.list_object_versions(Bucket=sys.argv[2], Prefix=key).get('Versions', []):
        if v['Key'] == key:
            s3.delete_object(Bucket=sys.argv[2], Key=key, VersionId=v['VersionId'])
";
const READ: &str = "
print(s3.get_object(Bucket=sys.argv[2], Key=sys.argv[3])['Body'].read().decode(), end='')
";
/// Files of originals whose versions are not locked.
const UNLOCKED: &str = "
for v in s3.list_object_versions(Bucket=sys.argv[2], Prefix='originals/').get('Versions', []):
    try:
        s3.get_object_retention(Bucket=sys.argv[2], Key=v['Key'], VersionId=v['VersionId'])
    except s3.exceptions.ClientError:
        print(v['Key'])
";

/// A force with footage in a folder.
struct Story {
    workspace: Workspace,
    clips: Vec<(String, Bytes)>,
    runs: usize,
}

impl Story {
    /// One clip with derivatives, four without, and a case with one of them.
    async fn begin() -> Self {
        let workspace = Workspace::new();
        let device = workspace.enrol("a dock");
        let server = Server::start(&workspace);
        let clip = Bytes::from(fs::read(footage::prepared("cctv-1fps.avi")).expect("a clip"));
        let tus = Tus::new(server.url(), &device.token);
        let sent = tus.upload("cctv-1fps.avi", &clip, clip.len()).await.expect("received");
        workspace.settled(&sent.item);
        assert!(server.stop().success());
        let mut story = Self { workspace, clips: vec![(sent.item, clip)], runs: 0 };
        let mut seeded = Seeded::new(5);
        for bytes in [10, 70_000, 1_500_000, LARGEST_BYTES] {
            story.ingest(seeded.bytes(bytes));
        }
        let add = ["user", "add", "--number", "1234", "--name", "PC Smith"];
        story.workspace.exhibit(&[&add[..], &["--role", "investigator"]].concat()).ok();
        let new = ["case", "new", "--reference", "01AB/1", "--title", "Harlow", "--member", "1234"];
        story.workspace.exhibit(&new).ok();
        story.workspace.exhibit(&["case", "add", "01AB/1", "--item", story.item(2)]).ok();
        story
    }

    fn ingest(&mut self, bytes: Vec<u8>) {
        let path = self.workspace.write("clip.bin", &bytes).display().to_string();
        let taken = self.workspace.exhibit(&["ingest", &path]).ok().json();
        let item = taken["item"].as_str().expect("an item").to_owned();
        self.clips.push((item, bytes.into()));
    }

    fn item(&self, at: usize) -> &str {
        &self.clips[at].0
    }

    /// `exhibit migrate-storage`, and the lines of its report.
    fn migrate(&mut self, to: &[&str], environment: &[(&str, &str)]) -> (Answer, Vec<Value>) {
        self.runs += 1;
        let report = self.workspace.path(&format!("report-{}.jsonl", self.runs));
        let report_name = report.display().to_string();
        let command = [&["migrate-storage", "--report", &report_name], to].concat();
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let environment: Vec<_> =
            self.workspace.environment.iter().cloned().chain(environment).collect();
        let answer = programs::exhibit_in(&self.workspace.data(), &command, &environment);
        let lines = fs::read_to_string(report).unwrap_or_default();
        // The last line of a run that was killed may be half a line.
        let lines = lines.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
        (answer, lines)
    }

    /// Killed at every named moment, one after the other; each next run goes on.
    fn migrate_through_kills(&mut self, to: &[&str], environment: &[(&str, &str)]) {
        let moments = failpoints::named().into_iter().filter(|name| name.starts_with("move."));
        let moments: Vec<_> = moments.collect();
        assert!(moments.len() >= 5, "{moments:?}");
        for moment in moments {
            let armed = [environment, &[("EXHIBIT_FAIL", moment.as_str())]].concat();
            let (killed, lines) = self.migrate(to, &armed);
            assert_eq!(killed.code, None, "{moment} was not reached: {}", killed.stderr);
            assert!(lines.iter().all(|line| line["line"] != "summary"), "{moment}");
        }
    }

    /// From here on objects are in this bucket.
    fn use_bucket(&mut self, store: &Store, bucket: &str) {
        for (name, value) in Workspace::in_bucket(store, bucket).environment.clone() {
            self.workspace.set(&name, &value);
        }
    }

    /// All but `lost` read back, and the ledger holds.
    fn everything_reads_back(&self, lost: &[&str]) {
        let kept = self.clips.iter().filter(|(item, _)| !lost.contains(&item.as_str()));
        let kept: Vec<_> = kept.map(|(item, bytes)| (item.as_str(), bytes)).collect();
        let bundle = self.workspace.path(&format!("bundle-{}", kept[0].0));
        let _none_yet = fs::remove_dir_all(bundle);
        audit::bytes_read_back(&self.workspace, &kept);
        audit::ledger_is_clean(&self.workspace);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_moved_to_a_bucket_and_to_another_and_what_was_lost_is_named() {
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("first", true).expect("a bucket");
    store.make_bucket("second", true).expect("a bucket");
    let mut story = Story::begin().await;
    let first = settings(&story.workspace, &store, "first", 0);
    // Nobody has any other credentials yet.
    let keys = [
        ("EXHIBIT_TO_AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("EXHIBIT_TO_AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];

    // Damaged at the source: named with its case, everything else arrives.
    let damaged = story.workspace.in_data("objects/originals").join(story.item(2));
    let whole = fs::read(&damaged).expect("an original");
    flip(&damaged);
    let stranger = story.workspace.in_data("objects/originals/stranger");
    fs::write(&stranger, "x").expect("written");
    // A time stamp lies beside the ledger's tiles, and the program that made the derivatives.
    let stamps = "ledger/ledger.unnamed.invalid/stamps";
    let stamp = story.workspace.in_data("objects").join(stamps).join("5-0123456789abcdef.tsr");
    fs::create_dir(stamp.parent().expect("a folder")).expect("no stamp was asked for yet");
    fs::write(stamp, "an answer").expect("written");
    story.migrate_through_kills(&["--to", &first], &keys);
    let (answer, lines) = story.migrate(&["--to", &first], &keys);
    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    let summary = last(&lines);
    let named = summary["named"].as_u64().expect("a number");
    numbers_are(summary, [named, 0, named - 1, 0, 1]);
    assert_eq!((&summary["complete"], &summary["ledger_kept_files"]), (&false.into(), &2.into()));
    let stamp = store.boto3(READ, &["first", &format!("{stamps}/5-0123456789abcdef.tsr")]);
    assert_eq!(stamp.expect("boto3 runs"), "an answer");
    let lost = objects(&lines, "damaged");
    assert_eq!((lost.len(), lost[0]["item"].as_str()), (1, Some(story.item(2))), "{lost:?}");
    assert_eq!((&lost[0]["code"], &lost[0]["cases"][0]), (&"damaged".into(), &"01AB/1".into()));
    let surplus: Vec<_> = lines.iter().filter(|line| line["line"] == "surplus").collect();
    assert_eq!(summary["surplus"].as_u64(), Some(surplus.len() as u64));
    let surplus: Vec<_> =
        surplus.iter().map(|line| line["name"].as_str().expect("a name")).collect();
    // Besides what attempts at derivatives have left, when the server was stopped.
    let strange: Vec<_> = surplus.iter().filter(|name| !name.starts_with("uploads/")).collect();
    assert_eq!(strange, [&"originals/stranger"], "{surplus:?}");
    let faults = answer.json()["faults"].as_array().map(Vec::len);
    assert_eq!(faults, Some(1 + surplus.len()), "{}", answer.text());

    // Mended: the same command brings that one, and everything is there.
    fs::write(&damaged, whole).expect("put back");
    fs::remove_file(stranger).expect("removed");
    let (answer, lines) = story.migrate(&["--to", &first, "--read-again"], &keys);
    let summary = answer.ok().json();
    numbers_are(&summary, [named, 1, named - 1, 0, 0]);
    assert_eq!((&summary["complete"], &summary["before"]), (&true.into(), &summary["after"]));
    every_object_has_its_line(&story, &lines);
    fs::rename(story.workspace.in_data("objects"), story.workspace.path("old")).expect("aside");
    story.use_bucket(&store, "first");
    story.everything_reads_back(&[]);
    is_scrubbed_clean(&story.workspace);

    // To a bucket with locks, one object removed behind everybody's back.
    story.ingest(vec![7; 300_000]);
    let gone = story.item(2).to_owned();
    store.boto3(DELETE, &["first", &format!("originals/{gone}")]).expect("boto3 runs");
    let second = settings(&story.workspace, &store, "second", 1);
    story.migrate_through_kills(&["--to", &second], &[]);
    let (answer, lines) = story.migrate(&["--to", &second], &[]);
    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    numbers_are(last(&lines), [named + 1, 0, named, 1, 0]);
    let lost = objects(&lines, "missing");
    assert_eq!((lost.len(), &lost[0]["item"]), (1, &gone.as_str().into()), "{lost:?}");
    assert_eq!((&lost[0]["code"], &lost[0]["cases"][0]), (&"missing".into(), &"01AB/1".into()));
    assert_eq!(store.boto3(UNLOCKED, &["second"]).expect("boto3 runs"), "", "not locked");
    story.use_bucket(&store, "second");
    let server = Server::start(&story.workspace);
    story.everything_reads_back(&[&gone]);
    assert!(server.stop().success());
    let scrub = story.workspace.exhibit(&["scrub", "--full-speed"]);
    assert_eq!(scrub.code, Some(1), "{}", scrub.stderr);
    let scrub = scrub.json();
    assert_eq!(scrub["findings"].as_array().map(Vec::len), Some(1), "{scrub}");
    assert_eq!(
        (&scrub["findings"][0]["item"], &scrub["orphans"]),
        (&gone.into(), &Value::Array(vec![]))
    );

    // The old place is behind what was done since: moving it there again would undo that.
    story.use_bucket(&store, "first");
    let (ahead, _) = story.migrate(&["--to", &second], &[]);
    assert!(
        ahead.code == Some(1) && ahead.stderr.contains("published in the store"),
        "{}",
        ahead.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_moved_back_to_a_folder_and_nothing_is_moved_that_is_in_use() {
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("evidence", true).expect("a bucket");
    store.make_bucket("plain", false).expect("a bucket");
    let workspace = Workspace::in_bucket(&store, "evidence");
    let device = workspace.enrol("a dock");
    let mut story = Story { workspace, clips: Vec::new(), runs: 0 };
    story.ingest(vec![1; 100_000]);
    story.ingest(Seeded::new(6).bytes(LARGEST_BYTES));
    let objects = story.workspace.in_data("objects").display().to_string();
    let to_folder = ["--to-folder", objects.as_str()];

    // A server, an upload, a place that is no place: nothing is moved.
    let refused = |story: &mut Story, to: &[&str], says: &str| {
        let (answer, lines) = story.migrate(to, &[]);
        assert_eq!(answer.code, Some(1), "{says}: {}", answer.text());
        assert!(answer.stderr.contains(says), "{says}: {}", answer.stderr);
        assert!(lines.is_empty(), "{says}");
    };
    let server = Server::start(&story.workspace);
    refused(&mut story, &to_folder, "the server runs on this folder");
    let tus = Tus::new(server.url(), &device.token);
    let upload = tus.create(1000, "a.bin").await.expect("begun");
    tus.append(&upload, 0, Bytes::from(vec![1; 500])).await.expect("half of it");
    assert!(server.stop().success());
    refused(&mut story, &to_folder, "1 uploads are under way");
    let server = Server::start(&story.workspace);
    let tus = Tus::new(server.url(), &device.token);
    tus.append(&upload, 500, Bytes::from(vec![2; 500])).await.expect("the rest");
    assert!(server.stop().success());
    let same = settings(&story.workspace, &store, "evidence", 0);
    refused(&mut story, &["--to", &same], "that is where the objects are");
    let plain = settings(&story.workspace, &store, "plain", 0);
    refused(&mut story, &["--to", &plain], "storage.without");
    let nowhere = story.workspace.write("empty.toml", b"").display().to_string();
    refused(&mut story, &["--to", &nowhere], "names no bucket");
    let other = story.workspace.path("other");
    fs::create_dir(&other).expect("a folder");
    fs::write(other.join("holiday.jpg"), "x").expect("written");
    refused(&mut story, &["--to-folder", &other.display().to_string()], "holds other files");
    let taken = story.workspace.write("report-9.jsonl", b"").display().to_string();
    let again = [&["migrate-storage", "--report", taken.as_str()], &to_folder[..]].concat();
    let again = story.workspace.exhibit(&again);
    assert!(again.stderr.contains("a report of its own"), "{}", again.stderr);

    let (answer, _) = story.migrate(&to_folder, &[]);
    numbers_are(&answer.ok().json(), [3, 3, 0, 0, 0]);
    story.workspace.environment.clear();
    story.everything_reads_back(&[]);
    is_scrubbed_clean(&story.workspace);
}

#[test]
fn a_store_that_another_server_uses_stays_where_it_is() {
    let mut postgres = Postgres::start().expect("PostgreSQL starts");
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("evidence", true).expect("a bucket");
    let mut workspace = Workspace::in_bucket(&store, "evidence");
    workspace.set("EXHIBIT__STORAGE__DATABASE", &postgres.create_database().expect("a database"));
    workspace.set("EXHIBIT__STORAGE__LOCK_DAYS", "1");
    workspace.found();
    let mut elsewhere = Story { workspace: workspace.sibling(), clips: Vec::new(), runs: 0 };
    let mut here = Story { workspace, clips: Vec::new(), runs: 0 };
    here.ingest(vec![3; 100_000]);
    let folder = here.workspace.path("moved").display().to_string();
    let server = Server::start(&here.workspace);
    let (refused, _) = elsewhere.migrate(&["--to-folder", &folder], &[]);
    assert_eq!(refused.code, Some(1), "{}", refused.text());
    assert!(refused.stderr.contains("another server has this ledger open"), "{}", refused.stderr);
    server.kill();
    let (answer, _) = elsewhere.migrate(&["--to-folder", &folder], &[]);
    numbers_are(&answer.ok().json(), [1, 1, 0, 0, 0]);
}

/// Named, copied, there before, missing, damaged.
#[track_caller]
fn numbers_are(summary: &Value, expected: [u64; 5]) {
    let numbers = ["named", "copied", "there_before", "missing", "damaged"];
    let numbers = numbers.map(|name| summary[name].as_u64().expect("a number"));
    assert_eq!(numbers, expected, "{summary}");
}

fn last(lines: &[Value]) -> &Value {
    let last = lines.last().expect("a report");
    assert_eq!(
        (&last["line"], &last["version"]),
        (&"summary".into(), &"exhibit/move-report/v1".into())
    );
    last
}

fn objects<'a>(lines: &'a [Value], outcome: &str) -> Vec<&'a Value> {
    let of = |line: &&Value| line["line"] == "object" && line["outcome"] == outcome;
    lines.iter().filter(of).collect()
}

/// As docs/formats/move-report.md has it.
fn every_object_has_its_line(story: &Story, lines: &[Value]) {
    assert_eq!(lines[0]["line"], "before");
    let told: Vec<_> = lines.iter().filter(|line| line["line"] == "object").collect();
    assert_eq!(told.len() as u64, last(lines)["named"].as_u64().expect("a number"));
    let mut originals = BTreeSet::new();
    for line in told {
        for key in ["leaf_index", "item", "object", "size_bytes", "sha256", "parts", "outcome"] {
            assert!(!line[key].is_null(), "{key} of {line}");
        }
        let parts = line["parts"].as_array().expect("parts");
        assert!(parts.iter().all(|p| p["crc64nvme"].as_str().map(str::len) == Some(16)), "{line}");
        let file_bytes: u64 = parts.iter().filter_map(|part| part["file_bytes"].as_u64()).sum();
        assert!(Some(file_bytes) > line["size_bytes"].as_u64(), "ciphertexts are longer: {line}");
        if line["recipe_id"].is_null() {
            originals.insert((line["item"].to_string(), line["sha256"].to_string()));
        }
    }
    let sent = |(item, bytes): &(String, Bytes)| {
        (Value::from(item.as_str()).to_string(), Value::from(audit::sha256_of(bytes)).to_string())
    };
    assert_eq!(originals, story.clips.iter().map(sent).collect());
}

fn is_scrubbed_clean(workspace: &Workspace) {
    let scrub = workspace.exhibit(&["scrub", "--full-speed"]).ok().json();
    let nothing = Value::Array(Vec::new());
    assert_eq!((&scrub["findings"], &scrub["orphans"]), (&nothing, &nothing), "{scrub}");
}

/// A file that names a bucket as a destination.
fn settings(workspace: &Workspace, store: &Store, bucket: &str, lock_days: u32) -> String {
    let text = format!(
        "[storage]\nkind = \"s3\"\nbucket = \"{bucket}\"\nendpoint = \"{}\"\npath_style = true\nlock_days = {lock_days}\n",
        store.endpoint()
    );
    workspace.write(&format!("{bucket}.toml"), text.as_bytes()).display().to_string()
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("written");
}

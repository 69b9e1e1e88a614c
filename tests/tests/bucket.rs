//! The whole job with its objects in a bucket of a real S3 store: nothing of footage on the server's disk, root's deletes
//! under a lock, exact lists of what is gone, and a store that must not be trusted.

#![allow(clippy::print_stdout, reason = "how long it took is worth a look")]

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use test_machine::disk::SmallDisk;
use test_machine::postgres::Postgres;
use test_machine::s3::Store;
use tests::seeded::Seeded;
use tests::tus::Tus;
use tests::{Server, Workspace, audit, footage};

/// What somebody does who has the bucket's own credentials and wants footage gone.
const ROOT: &str = "
bucket, refused = sys.argv[2], 0
for page in s3.get_paginator('list_object_versions').paginate(Bucket=bucket, Prefix='originals/'):
    for v in page.get('Versions', []):
        try:
            s3.delete_object(Bucket=bucket, Key=v['Key'], VersionId=v['VersionId'], BypassGovernanceRetention=True)
        except Exception:
            refused += 1
        s3.delete_object(Bucket=bucket, Key=v['Key'])
        s3.put_object(Bucket=bucket, Key=v['Key'], Body=b'nothing to see here')
print(refused)
";

/// How many files of an original are under a legal hold.
const HOLDS: &str = "
bucket, item = sys.argv[2:4]
held = 0
for v in s3.list_object_versions(Bucket=bucket, Prefix='originals/').get('Versions', []):
    if item in v['Key']:
        try:
            hold = s3.get_object_legal_hold(Bucket=bucket, Key=v['Key'], VersionId=v['VersionId'])
            held += hold['LegalHold']['Status'] == 'ON'
        except Exception:
            pass
print(held)
";

/// Every version below these keys, gone for good.
const DELETE: &str = "
bucket = sys.argv[2]
for key in sys.argv[3:]:
    for v in s3.list_object_versions(Bucket=bucket, Prefix=key).get('Versions', []):
        if v['Key'] == key:
            s3.delete_object(Bucket=bucket, Key=key, VersionId=v['VersionId'])
";

#[tokio::test(flavor = "multi_thread")]
async fn footage_rests_in_a_bucket_and_outlives_whoever_has_its_credentials() {
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("evidence", true).expect("a bucket");
    let workspace = Workspace::in_bucket(&store, "evidence");
    let server = Server::start(&workspace);
    let device = workspace.enrol("a dock");
    let clip = Bytes::from(std::fs::read(footage::prepared("shift.mp4")).expect("a clip"));
    let tus = Tus::new(server.url(), &device.token);
    let upload = tus.create(clip.len() as u64, "shift.mp4").await.expect("begun");
    let half = clip.len() as u64 / 2;
    tus.append(&upload, 0, clip.slice(..half as usize)).await.expect("half of it");
    let standing = tus.append(&upload, half, clip.slice(half as usize..)).await.expect("the rest");
    let item = standing.finished.expect("a receipt").item;
    audit::is_stored_once(&workspace, &clip);
    let shown = workspace.settled(&item);
    assert!(shown["derivatives"].to_string().contains("thumbnails"), "{shown}");

    // Nothing of it is on the server's disk.
    assert!(!workspace.in_data("objects").exists());
    audit::bytes_read_back(&workspace, &[(&item, &clip)]);
    let healthy = workspace.exhibit(&["doctor"]).json();
    let faults = healthy["faults"].to_string();
    assert!(!faults.contains("store-") && !faults.contains("object"), "{faults}");

    a_hold_on_its_case_is_a_legal_hold(&workspace, &store, &item);
    let refused = store.boto3(ROOT, &["evidence"]).expect("boto3 runs");
    assert_eq!(refused.trim(), "2", "original and outboard are locked");
    let scrub = workspace.exhibit(&["scrub", "--full-speed"]).ok().json();
    assert_eq!(scrub["findings"].as_array().map(Vec::len), Some(0), "{scrub}");
    let orphans = scrub["orphans"].to_string();
    assert_eq!(orphans.matches("a delete marker").count(), 2, "{orphans}");
    assert_eq!(orphans.matches("another version").count(), 2, "{orphans}");
    let again = workspace.exhibit(&["show", &item]).ok().json();
    assert_eq!(again["item"], item.as_str());
    assert!(server.stop().success());
    std::fs::remove_dir_all(workspace.path(&format!("bundle-{item}"))).expect("the first bundle");
    audit::bytes_read_back(&workspace, &[(&item, &clip)]);
    audit::ledger_is_clean(&workspace);
}

fn a_hold_on_its_case_is_a_legal_hold(workspace: &Workspace, store: &Store, item: &str) {
    let held = |expected: &str| {
        let began = Instant::now();
        loop {
            let said = store.boto3(HOLDS, &["evidence", item]).expect("boto3 runs");
            if said.trim() == expected {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "legal holds on {said}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let person = ["--name", "Jane Smith", "--number", "1234", "--role", "investigator"];
    workspace.exhibit(&[&["user", "add"], &person[..]].concat()).ok();
    let case = ["--reference", "01AB1", "--title", "Harlow", "--member", "1234"];
    workspace.exhibit(&[&["case", "new"], &case[..]].concat()).ok();
    workspace.exhibit(&["case", "add", "01AB1", "--item", item]).ok();
    let set = ["hold", "set", "--case", "01AB1", "--reason", "appeal lodged"];
    workspace.exhibit(&set).ok();
    let again = workspace.exhibit(&set);
    assert!(again.code != Some(0) && again.stderr.contains("held already"), "{}", again.stderr);
    held("2");
    let holds = workspace.exhibit(&["hold", "list"]).ok().json();
    assert_eq!(holds["holds"][0]["reason"], "appeal lodged", "{holds}");
    let review = ["retention", "review", "--item", item, "--reason", "reviewed", "--until"];
    let wrong = workspace.exhibit(&[&review[..], &["3 May"]].concat());
    assert!(wrong.code != Some(0) && wrong.stderr.contains("2031-05-03"), "{}", wrong.stderr);
    workspace.exhibit(&[&review[..], &["2031-05-03"]].concat()).ok();
    let release = ["hold", "release", "--case", "01AB1", "--reason", "appeal dismissed"];
    workspace.exhibit(&release).ok();
    held("0");
    let again = workspace.exhibit(&release);
    assert!(again.code != Some(0) && again.stderr.contains("no hold"), "{}", again.stderr);
}

#[test]
fn a_scrub_lists_exactly_the_hundred_that_are_gone_with_their_cases() {
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("unlocked", true).expect("a bucket");
    let mut workspace = Workspace::in_bucket(&store, "unlocked");
    workspace.set("EXHIBIT__STORAGE__LOCK_DAYS", "0");
    let folder = workspace.path("export");
    std::fs::create_dir(&folder).expect("a folder");
    for at in 0..120 {
        std::fs::write(folder.join(format!("{at:03}.bin")), format!("camera {at}").repeat(500))
            .expect("a file");
    }
    workspace.exhibit(&["ingest", &folder.display().to_string()]).ok();
    let items: Vec<String> =
        workspace.items().iter().map(|item| item["item"].as_str().unwrap().to_owned()).collect();
    assert_eq!(items.len(), 120);
    let (gone, kept) = items.split_at(100);
    workspace
        .exhibit(&[
            "user",
            "add",
            "--number",
            "1234",
            "--name",
            "PC Smith",
            "--role",
            "investigator",
        ])
        .ok();
    workspace
        .exhibit(&["case", "new", "--reference", "01AB/1", "--title", "Harlow", "--member", "1234"])
        .ok();
    workspace.exhibit(&["case", "add", "01AB/1", "--item", &gone[7], "--item", &kept[3]]).ok();

    let keys: Vec<String> = gone.iter().map(|item| format!("originals/{item}")).collect();
    let arguments: Vec<&str> =
        std::iter::once("unlocked").chain(keys.iter().map(String::as_str)).collect();
    store.boto3(DELETE, &arguments).expect("boto3 runs");

    let scrub = workspace.exhibit(&["scrub", "--full-speed"]);
    assert_eq!(scrub.code, Some(1), "{}", scrub.stderr);
    let scrub = scrub.json();
    let findings = scrub["findings"].as_array().expect("findings");
    let mut listed: Vec<&str> = findings.iter().map(|f| f["item"].as_str().unwrap()).collect();
    let mut expected: Vec<&str> = gone.iter().map(String::as_str).collect();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    assert!(findings.iter().all(|f| f["code"] == "missing"), "{scrub}");
    let with_case: Vec<_> = findings.iter().filter(|f| f["cases"][0] == "01AB/1").collect();
    assert_eq!(with_case.len(), 1, "{scrub}");
    assert_eq!(with_case[0]["item"], gone[7].as_str());
}

/// While a server writes, and when none runs; the table that somebody changed behind everybody's back is named.
#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_alone_gives_the_database_again() {
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("evidence", true).expect("a bucket");
    let workspace = Workspace::in_bucket(&store, "evidence");
    let device = workspace.enrol("a dock");
    let server = Server::start(&workspace);
    let tus = Tus::new(server.url(), &device.token);
    let sending = tokio::spawn(async move {
        for n in 0..40 {
            let bytes = Bytes::from(format!("clip {n}"));
            tus.upload(&format!("{n}.bin"), &bytes, bytes.len()).await.expect("received");
        }
    });
    // Objects that come while it looks are as much a part of it.
    while !sending.is_finished() {
        let drilled = workspace.exhibit(&["restore-drill"]).ok().json();
        assert_eq!((&drilled["good"], &drilled["records_compared"]), (&true.into(), &true.into()));
    }
    sending.await.expect("all were received");
    assert!(server.stop().success());
    let drilled = workspace.exhibit(&["restore-drill"]).ok().json();
    assert!(drilled["entries"].as_u64() >= Some(40), "{drilled}");
    assert_eq!(
        (&drilled["entries"], &drilled["newer_entries"]),
        (&drilled["published"], &0.into())
    );

    workspace.sql(
        "UPDATE items SET size_bytes = size_bytes + 1 WHERE item = (SELECT MIN(item) FROM items)",
    );
    let drilled = workspace.exhibit(&["restore-drill"]);
    assert_eq!(drilled.code, Some(1), "{}", drilled.stderr);
    assert_eq!(drilled.json()["differing_tables"], serde_json::json!(["items"]));
}

#[test]
fn a_postgresql_is_drilled_into_a_file_or_into_an_empty_database() {
    let mut postgres = Postgres::start().expect("PostgreSQL starts");
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("evidence", true).expect("a bucket");
    let mut workspace = Workspace::in_bucket(&store, "evidence");
    let (live, empty) = (postgres.create_database(), postgres.create_database());
    let (live, empty) = (live.expect("a database"), empty.expect("a database"));
    workspace.set("EXHIBIT__STORAGE__DATABASE", &live);
    workspace.set("EXHIBIT__STORAGE__LOCK_DAYS", "1");
    workspace.found();
    let clip = workspace.write("a.bin", b"footage").display().to_string();
    workspace.exhibit(&["ingest", &clip]).ok();
    for into in [&["restore-drill"][..], &["restore-drill", "--database", &empty]] {
        let drilled = workspace.exhibit(into).ok().json();
        assert_eq!(
            (&drilled["good"], &drilled["differing_tables"]),
            (&true.into(), &serde_json::json!([]))
        );
    }
    let occupied = workspace.exhibit(&["restore-drill", "--database", &live]);
    assert_eq!(occupied.code, Some(1), "{}", occupied.text());
    assert!(occupied.stderr.contains("an empty database"), "{}", occupied.stderr);
}

#[test]
fn a_store_that_must_not_be_trusted_is_refused_until_its_shortfall_is_named() {
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("plain", false).expect("a bucket");
    let mut workspace = Workspace::in_bucket(&store, "plain");
    let clip = workspace.write("a.bin", b"footage").display().to_string();
    let refused = workspace.exhibit(&["ingest", &clip]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("storage.without = [\"versions\""), "{}", refused.stderr);

    let without = "versions,lock-against-delete,lock-against-shortening,lock-extends,legal-hold";
    workspace.set("EXHIBIT__STORAGE__WITHOUT", without);
    let no_locks = workspace.exhibit(&["ingest", &clip]);
    assert!(no_locks.stderr.contains("storage.lock_days"), "{}", no_locks.stderr);
    workspace.set("EXHIBIT__STORAGE__LOCK_DAYS", "0");
    let taken = workspace.exhibit(&["ingest", &clip]).ok().json();
    assert_eq!(taken["state"], "stored");
    let lowered =
        |workspace: &Workspace| audit::entries_of_kind(workspace, "configuration.lowered");
    // The keys in plain text, and the store.
    assert_eq!(lowered(&workspace), 2);
    workspace.exhibit(&["search"]).ok();
    assert_eq!(lowered(&workspace), 2, "said once, not at each start");
    let doctor = workspace.exhibit(&["doctor"]).json();
    assert_eq!(doctor.to_string().matches("store-promise-given-up").count(), 5, "{doctor}");
    let unknown = workspace.exhibit(&["config", "check"]);
    assert_eq!(unknown.code, Some(0), "{}", unknown.stderr);
    workspace.set("EXHIBIT__STORAGE__WITHOUT", "looks");
    let unknown = workspace.exhibit(&["search"]);
    assert!(unknown.stderr.contains("there is no promise 'looks'"), "{}", unknown.stderr);
}

#[test]
fn what_is_wrong_with_a_bucket_names_the_setting() {
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("evidence", true).expect("a bucket");
    for (name, value, says) in [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "AWS_SECRET_ACCESS_KEY"),
        ("EXHIBIT__STORAGE__BUCKET", "nowhere", "no such bucket"),
        ("EXHIBIT__STORAGE__ENDPOINT", "http://127.0.0.1:9", "endpoint"),
        ("EXHIBIT__STORAGE__CA_FILE", "/nowhere.pem", "/nowhere.pem"),
        ("EXHIBIT__STORAGE__BUCKET", "", "storage.bucket"),
        ("EXHIBIT__STORAGE__PREFIX", "no-slash", "storage.prefix"),
    ] {
        let mut workspace = Workspace::in_bucket(&store, "evidence");
        workspace.set(name, value);
        let clip = workspace.write("a.bin", b"footage").display().to_string();
        let refused = workspace.exhibit(&["ingest", &clip]);
        assert_eq!(refused.code, Some(1), "{name}");
        assert!(refused.stderr.contains(says), "{name}: {}", refused.stderr);
    }
}

#[test]
fn a_clock_that_the_store_does_not_accept_is_named() {
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("evidence", true).expect("a bucket");
    let mut workspace = Workspace::in_bucket(&store, "evidence");
    let clip = workspace.write("a.bin", b"footage").display().to_string();
    workspace.exhibit(&["ingest", &clip]).ok();
    let programs = std::fs::read_dir("/usr/lib").expect("it is there").flatten();
    let libraries = programs.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let library = libraries.into_iter().find(|path| path.exists()).expect("faketime is installed");
    workspace.set("LD_PRELOAD", &library.display().to_string());
    workspace.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    for wrong in ["-20m", "+20m"] {
        workspace.set("FAKETIME", wrong);
        let refused = workspace.exhibit(&["ingest", &clip]);
        assert_eq!(refused.code, Some(1), "{wrong}: {}", refused.text());
        assert!(refused.stderr.contains("clock"), "{wrong}: {}", refused.stderr);
    }
}

/// A store without room: nothing that does not fit is acknowledged, nothing that was is lost, and the same upload goes on when
/// there is room again.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_full_loses_nothing_and_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    let _mounted = SmallDisk::mount(&disk, "160m");
    let store = Store::seaweed_on(&disk).expect("SeaweedFS starts");
    store.make_bucket("evidence", true).expect("a bucket");
    let workspace = Workspace::in_bucket(&store, "evidence");
    let server = Server::start(&workspace);
    let device = workspace.enrol("a dock");
    let tus = Tus::new(server.url(), &device.token);
    let small = Bytes::from(Seeded::new(7).bytes(3 << 20));
    let upload = tus.create(small.len() as u64, "small.bin").await.expect("begun");
    let standing = tus.append(&upload, 0, small.clone()).await.expect("sent");
    let item = standing.finished.expect("a receipt").item;
    // Else an entry that comes while there is no room stops the server.
    workspace.settled(&item);

    let filler = disk.join("filler");
    let room = rustix::fs::statvfs(&disk).expect("it is mounted");
    let left = 12 << 20;
    let fill = room.f_bavail * room.f_bsize - left;
    std::fs::write(&filler, vec![1; fill as usize]).expect("it fits");
    let large = Bytes::from(Seeded::new(8).bytes(40 << 20));
    let upload = tus.create(large.len() as u64, "large.bin").await.expect("begun");
    let refused = tus.append(&upload, 0, large.clone()).await.expect_err("it does not fit");
    assert!(refused.to_string().contains("503"), "{refused}");
    assert!(server.log().contains("waits for the store"), "{}", server.log());
    let before = tus.standing(&upload).await.expect("it stands").offset;
    assert!(before < large.len() as u64, "{before} bytes do not fit");

    std::fs::remove_file(filler).expect("there is room again");
    let began = Instant::now();
    let finished = loop {
        let offset = tus.standing(&upload).await.expect("it stands").offset;
        assert!(offset >= before, "what was acknowledged is lost");
        match tus.append(&upload, offset, large.slice(offset as usize..)).await {
            Ok(standing) => break standing.finished.expect("a receipt"),
            Err(error) => assert!(began.elapsed() < Duration::from_secs(180), "{error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    audit::bytes_read_back(&workspace, &[(&item, &small), (&finished.item, &large)]);
    assert!(server.stop().success());
    audit::ledger_is_clean(&workspace);
}

/// More docks that send a byte now and then than there is memory for: each is asked to come again, and one that sends properly
/// is not kept waiting by them.
#[tokio::test(flavor = "multi_thread")]
async fn docks_that_hardly_send_keep_nobody_waiting() {
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("evidence", true).expect("a bucket");
    let workspace = Workspace::in_bucket(&store, "evidence");
    let server = Server::start(&workspace);
    let device = workspace.enrol("a dock");
    let tus = Tus::new(server.url(), &device.token);
    let address = server.url().trim_start_matches("http://").to_owned();
    let mut slow = Vec::new();
    for at in 0..SLOW_DOCKS {
        let upload = tus.create(1 << 20, &format!("slow {at}.bin")).await.expect("begun");
        let mut line = TcpStream::connect(&address).expect("it listens");
        let head = format!(
            "PATCH {} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n\
             Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\nContent-Length: {}\r\n\r\n",
            upload.path(),
            device.token,
            1 << 20
        );
        line.write_all(head.as_bytes()).expect("a head");
        line.write_all(&[7; 1000]).expect("a beginning");
        slow.push(line);
    }
    let (enough, done) = std::sync::mpsc::channel::<()>();
    let trickling = std::thread::spawn(move || {
        let every = Duration::from_millis(300);
        while done.recv_timeout(every) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            // Whoever was asked to come again may find the line closed.
            slow.iter_mut().for_each(|line| drop(line.write_all(&[7])));
        }
        let is_answered =
            |line: &&TcpStream| line.set_nonblocking(true).is_ok() && line.peek(&mut [0]).is_ok();
        slow.iter().filter(is_answered).count()
    });
    // Until what has come is gathered and has memory.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let clip = Bytes::from(vec![9; 3 << 20]);
    let upload = tus.create(clip.len() as u64, "in a hurry.bin").await.expect("begun");
    let began = Instant::now();
    let standing = tus.append(&upload, 0, clip.clone()).await.expect("it has its turn");
    assert!(standing.finished.is_some());
    println!("it waited for {:?}", began.elapsed());
    drop(enough);
    let answered = trickling.join().expect("it trickles");
    assert!(answered > 0, "nobody was asked to come again");
    audit::is_stored_once(&workspace, &clip);
}

/// More than there is memory for (`storage/src/objects/bucket/mod.rs`).
const SLOW_DOCKS: usize = 48;

//! Backup, destruction, restore; the drill; the scrub; faults of a backup's folder. Through the programs, as an operator does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use age::secrecy::ExposeSecret as _;
use serde_json::Value;
use test_machine::disk::SmallDisk;
use tests::programs::exhibit;
use tests::{Server, Workspace, audit};

/// Footage small and large: the last takes several segments.
const CLIPS: [usize; 3] = [10, 70_000, 3_000_000];

/// A data folder with three items, and a folder for backups.
fn a_system() -> (Workspace, PathBuf, Vec<Vec<u8>>) {
    let workspace = Workspace::new();
    let mut seeded = tests::seeded::Seeded::new(7);
    let clips: Vec<Vec<u8>> = CLIPS.iter().map(|size| seeded.bytes(*size)).collect();
    ingest(&workspace, &clips, 0);
    let backup = workspace.path("backup");
    fs::create_dir(&backup).expect("a folder for backups");
    (workspace, backup, clips)
}

fn ingest(workspace: &Workspace, clips: &[Vec<u8>], first: usize) {
    for (number, clip) in clips.iter().enumerate() {
        let path = workspace.write(&format!("clip-{}.bin", first + number), clip);
        workspace.exhibit(&["ingest", &path.display().to_string()]).ok();
    }
}

fn back_up(workspace: &Workspace, to: &Path) -> Value {
    workspace.exhibit(&["backup", "--to", &to.display().to_string()]).ok().json()
}

/// A fresh folder with the keys, as they come from the escrow.
fn with_keys(workspace: &Workspace, name: &str) -> PathBuf {
    let data = workspace.path(name);
    let keys = data.join("keys");
    fs::create_dir_all(&keys).expect("a folder");
    for folder in [&data, &keys] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("chmod");
    }
    for file in fs::read_dir(workspace.in_data("keys")).expect("keys") {
        let file = file.expect("a key").path();
        fs::copy(&file, keys.join(file.file_name().expect("a name"))).expect("copied");
    }
    data
}

/// All files below `folder`, by name.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files_in(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn what_was_destroyed_comes_back_and_audits_clean() {
    let (workspace, backup, clips) = a_system();
    let first = back_up(&workspace, &backup);
    assert_eq!(first["copied_objects"], 3, "{first}");

    // More comes in while the server runs, and the backup goes on where it was.
    let server = Server::start(&workspace);
    let mut seeded = tests::seeded::Seeded::new(8);
    let later: Vec<Vec<u8>> = (0..2).map(|_| seeded.bytes(100_000)).collect();
    ingest(&workspace, &later, 3);
    let second = back_up(&workspace, &backup);
    assert_eq!(
        (&second["copied_objects"], &second["checked_objects"]),
        (&2.into(), &3.into()),
        "{second}"
    );
    assert!(server.stop().success());
    back_up(&workspace, &backup);
    let third = back_up(&workspace, &backup);
    assert_eq!(
        (&third["unchanged"], &third["copied_objects"]),
        (&true.into(), &0.into()),
        "{third}"
    );

    // No key is in it, whatever its name.
    let seed = fs::read(workspace.in_data("keys/log.key")).expect("the log key");
    assert!(files_in(&backup).iter().all(|path| fs::read(path).expect("a file") != seed));
    assert!(!backup.join("keys/log.key").exists());

    let size = audit::ledger_is_clean(&workspace);
    let data = with_keys(&workspace, "restored");
    fs::remove_dir_all(workspace.data()).expect("destroyed");
    let from = backup.display().to_string();
    let restored = exhibit(&data, &["restore", "--from", &from]).ok().json();
    assert_eq!(restored["objects"], 5, "{restored}");

    // Nothing is signed before somebody has said how far the ledger was.
    let refused = exhibit(&data, &["search"]);
    assert_eq!(refused.code, Some(1), "{}", refused.text());
    assert!(refused.stderr.contains("ledger recover"), "{}", refused.stderr);
    let entries = restored["entries"].to_string();
    exhibit(&data, &["ledger", "recover", "--size", &entries, "--reason", "the disk burnt"]).ok();

    fs::rename(&data, workspace.data()).expect("in its place");
    assert!(audit::ledger_is_clean(&workspace) >= size);
    for clip in clips.iter().chain(&later) {
        audit::is_stored_once(&workspace, clip);
    }
    let items = workspace.items();
    let bytes: Vec<bytes::Bytes> = clips.iter().chain(&later).cloned().map(Into::into).collect();
    let pairs: Vec<_> = bytes
        .iter()
        .map(|bytes| {
            let item = audit::is_stored_once(&workspace, bytes);
            (item["item"].as_str().expect("an id").to_owned(), bytes)
        })
        .collect();
    assert_eq!(items.len(), pairs.len());
    let pairs: Vec<_> = pairs.iter().map(|(item, bytes)| (item.as_str(), *bytes)).collect();
    audit::bytes_read_back(&workspace, &pairs);
}

#[test]
fn a_drill_proves_a_backup_and_signs_for_nobody() {
    let (workspace, backup, _) = a_system();
    back_up(&workspace, &backup);
    let before = files_in(&workspace.data()).len();
    let from = backup.display().to_string();
    let into = workspace.path("scratch");
    fs::create_dir(&into).expect("a folder");
    let scratch = into.display().to_string();
    let arguments = ["restore-drill", "--from", &from, "--into", &scratch];
    let drilled = workspace.exhibit(&arguments).ok().json();
    assert_eq!(
        (&drilled["good"], &drilled["records_compared"]),
        (&true.into(), &true.into()),
        "{drilled}"
    );
    assert_eq!(drilled["signed_as"], "restore-drill.invalid");
    assert!(files_in(&into).is_empty(), "the drill cleans up");
    assert_eq!(files_in(&workspace.data()).len(), before, "nothing new in the data folder");
    // The real ledger has no more entries than before: the drill signed apart.
    audit::ledger_is_clean(&workspace);

    // Signing keys are not needed, so a drill cannot use them.
    let elsewhere = workspace.path("elsewhere");
    fs::create_dir_all(elsewhere.join("keys")).expect("a folder");
    let force = elsewhere.join("keys/force.key");
    fs::copy(workspace.in_data("keys/force.key"), &force).expect("copied");
    assert_eq!(exhibit(&elsewhere, &arguments).ok().json()["good"], true);

    // One flipped bit in any object is found, and said.
    let victim = files_in(&backup.join("originals")).pop().expect("an original");
    flip(&victim);
    let found = workspace.exhibit(&arguments);
    assert_eq!(found.code, Some(1), "{}", found.text());
    assert_eq!(found.json()["good"], false);
}

#[test]
fn a_folder_that_is_gone_altered_full_or_another_ledgers_is_said_and_the_backup_before_stays_good()
{
    let (workspace, backup, _) = a_system();
    let to = backup.display().to_string();
    let refused = |workspace: &Workspace, words: &str| {
        let answer = workspace.exhibit(&["backup", "--to", &to]);
        assert_eq!(answer.code, Some(1), "{}", answer.text());
        assert!(answer.stderr.contains(words), "{words:?} is not in {}", answer.stderr);
    };

    // Gone, or holding something else.
    fs::remove_dir(&backup).expect("removed");
    refused(&workspace, "is its disk mounted?");
    fs::create_dir(&backup).expect("made");
    fs::write(backup.join("holiday.jpg"), "x").expect("written");
    refused(&workspace, "holds other files");
    fs::remove_file(backup.join("holiday.jpg")).expect("removed");
    back_up(&workspace, &backup);

    // Another ledger's.
    let other = Workspace::new();
    fs::create_dir(other.data()).expect("a folder");
    fs::write(other.in_data("exhibit.toml"), "[force]\nledger = \"ledger.other.example\"\n")
        .expect("written");
    ingest(&other, &[vec![1; 10]], 0);
    refused(&other, "another ledger");

    // Altered: a file gone, cut short, or (read again) with another bit; a manifest of somebody else's.
    let original = files_in(&backup.join("originals")).pop().expect("an original");
    let bytes = fs::read(&original).expect("read");
    fs::remove_file(&original).expect("removed");
    refused(&workspace, "altered or damaged");
    fs::write(&original, &bytes[..bytes.len() - 1]).expect("cut");
    refused(&workspace, "altered or damaged");
    fs::write(&original, &bytes).expect("put back");
    flip(&original);
    let reread = workspace.exhibit(&["backup", "--reread", "--to", &to]);
    assert!(reread.code == Some(1) && reread.stderr.contains("altered"), "{}", reread.stderr);
    fs::write(&original, &bytes).expect("put back");
    let manifest = backup.join("backup/manifest");
    let kept = fs::read(&manifest).expect("read");
    flip(&manifest);
    refused(&workspace, "manifest does not open");
    fs::write(&manifest, &kept).expect("put back");
    let hashes = files_in(&backup.join("ledger/ledger.unnamed.invalid/tile/0")).pop();
    let hashes = hashes.expect("a tile of hashes");
    let kept = fs::read(&hashes).expect("read");
    flip(&hashes);
    refused(&workspace, "altered or damaged");
    fs::write(&hashes, kept).expect("put back");
    back_up(&workspace, &backup);

    // Emptied behind our back: an unmounted disk looks like this.
    let aside = workspace.path("aside");
    fs::rename(&backup, &aside).expect("unmounted");
    fs::create_dir(&backup).expect("a mount point");
    refused(&workspace, "is its disk mounted?");
    fs::remove_dir_all(&backup).expect("removed");
    fs::rename(&aside, &backup).expect("mounted");

    // Damaged at the source: the rest is backed up, and it is said.
    let mut seeded = tests::seeded::Seeded::new(9);
    ingest(&workspace, &[seeded.bytes(50_000), seeded.bytes(50_001)], 10);
    let fresh = files_in(&workspace.in_data("objects/originals"));
    let damaged = fresh.iter().rfind(|path| path.extension().is_none()).expect("an original");
    let good = fs::read(damaged).expect("read");
    flip(damaged);
    let answer = workspace.exhibit(&["backup", "--to", &to]);
    assert_eq!(
        (answer.code, answer.json()["faults"].as_array().map(Vec::len)),
        (Some(1), Some(1)),
        "{}",
        answer.text()
    );
    fs::write(damaged, good).expect("put back");
    let healed = back_up(&workspace, &backup);
    assert_eq!(
        (&healed["copied_objects"], healed["faults"].as_array().map(Vec::len)),
        (&1.into(), Some(0)),
        "{healed}"
    );
    let scratch = workspace.path("").display().to_string();
    workspace.exhibit(&["restore-drill", "--from", &to, "--into", &scratch]).ok();
}

#[test]
fn a_full_disk_leaves_the_backup_before_good() {
    let (workspace, backup, _) = a_system();
    let _small = SmallDisk::mount(&backup, "8m");
    let to = backup.display().to_string();
    back_up(&workspace, &backup);
    let mut seeded = tests::seeded::Seeded::new(10);
    ingest(&workspace, &[seeded.bytes(6_000_000)], 10);
    let full = workspace.exhibit(&["backup", "--to", &to]);
    assert_eq!(full.code, Some(1), "{}", full.text());
    assert!(full.stderr.contains("is full"), "{}", full.stderr);
    let scratch = workspace.path("").display().to_string();
    let drilled =
        workspace.exhibit(&["restore-drill", "--from", &to, "--into", &scratch]).ok().json();
    assert_eq!(drilled["objects"], 3, "the one before: {drilled}");
}

#[test]
fn a_restore_wants_its_keys_and_an_empty_folder() {
    let (workspace, backup, _) = a_system();
    back_up(&workspace, &backup);
    let from = backup.display().to_string();
    let empty = workspace.path("empty");
    let without = exhibit(&empty, &["restore", "--from", &from]);
    assert!(
        without.code == Some(1) && without.stderr.contains("keys recover"),
        "{}",
        without.stderr
    );

    // Another force's keys open nothing.
    let other = Workspace::new();
    ingest(&other, &[vec![1; 10]], 0);
    let strange = with_keys(&other, "strange");
    let strangers = exhibit(&strange, &["restore", "--from", &from]);
    assert!(
        strangers.code == Some(1) && strangers.stderr.contains("another force's key"),
        "{}",
        strangers.stderr
    );

    let occupied = exhibit(&workspace.data(), &["restore", "--from", &from]);
    assert!(
        occupied.code == Some(1) && occupied.stderr.contains("not empty"),
        "{}",
        occupied.stderr
    );
    audit::ledger_is_clean(&workspace);
}

#[test]
fn the_scrub_lists_exactly_what_is_missing_or_damaged_and_records_it_once() {
    let (workspace, backup, clips) = a_system();
    back_up(&workspace, &backup);
    let clean = workspace.exhibit(&["scrub", "--full-speed"]).ok().json();
    assert_eq!((&clean["result"], &clean["objects"]), (&"match".into(), &3.into()), "{clean}");
    let items: Vec<Value> =
        clips.iter().map(|clip| audit::is_stored_once(&workspace, clip)).collect();
    let id = |at: usize| items[at]["item"].as_str().expect("an id").to_owned();
    let originals = workspace.in_data("objects/originals");
    flip(&originals.join(id(0)));
    fs::remove_file(originals.join(id(1))).expect("removed");
    fs::remove_file(workspace.in_data("objects/keys/originals").join(id(2))).expect("removed");
    fs::write(originals.join("stranger"), "x").expect("written");

    let server = Server::start(&workspace);
    let scrub = || {
        let answer = workspace.exhibit(&["scrub", "--full-speed"]);
        assert_eq!(answer.code, Some(1), "{}", answer.text());
        answer.json()
    };
    let found = scrub();
    let mut listed: Vec<(String, String)> = found["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|f| {
            (f["code"].as_str().expect("code").into(), f["item"].as_str().expect("item").into())
        })
        .collect();
    listed.sort();
    let expected = [("damaged", id(0)), ("key-missing", id(2)), ("missing", id(1))];
    assert_eq!(listed, expected.map(|(code, item)| (code.to_owned(), item)), "exactly these");
    assert_eq!(found["orphans"], serde_json::json!(["originals/stranger"]));
    let status = workspace.exhibit(&["status"]);
    assert_eq!(status.code, Some(2), "an alarm");
    assert_eq!(measure(&status.json(), "exhibit_storage_faults")["value"], 3.0);

    // Again: no second entry for the same fault. Mended: an entry says so, and the alarm ends.
    scrub();
    assert_eq!(audit::count_of_events(&workspace.show(&id(0)).json(), "storage.fault"), 1);
    for at in 0..3 {
        let name = id(at);
        fs::copy(backup.join("originals").join(&name), originals.join(&name)).expect("mended");
        let key = Path::new("keys/originals").join(&name);
        fs::copy(backup.join(&key), workspace.in_data("objects").join(&key)).expect("mended");
    }
    let mended = workspace.exhibit(&["scrub"]).ok().json();
    assert_eq!(mended["findings"], serde_json::json!([]));
    assert_eq!(audit::count_of_events(&workspace.show(&id(0)).json(), "item.verified"), 1);
    let status = workspace.exhibit(&["status"]).json();
    assert_eq!(measure(&status, "exhibit_storage_faults")["value"], 0.0);
    drop(server);
    audit::ledger_is_clean(&workspace);
}

/// What the backup has whole comes back and is an entry; what it does not have stays as it is, and is listed.
#[test]
fn a_scrub_repairs_from_a_backup_what_is_missing_or_damaged() {
    let (workspace, backup, clips) = a_system();
    back_up(&workspace, &backup);
    let mut seeded = tests::seeded::Seeded::new(11);
    let newer = seeded.bytes(70_000);
    ingest(&workspace, std::slice::from_ref(&newer), 20);
    let clips = [&clips[..], &[newer]].concat();
    let items: Vec<String> = clips
        .iter()
        .map(|clip| audit::is_stored_once(&workspace, clip)["item"].as_str().expect("an id").into())
        .collect();
    let originals = workspace.in_data("objects/originals");
    let keys = workspace.in_data("objects/keys/originals");
    flip(&originals.join(&items[0]));
    fs::remove_file(originals.join(&items[1])).expect("removed");
    fs::remove_file(keys.join(&items[2])).expect("removed");
    fs::remove_file(originals.join(&items[3])).expect("removed: the backup has it not");
    // The backup's own copy of one is damaged: it is no good copy.
    let copy = backup.join("originals").join(&items[1]);
    flip(&copy);

    let from = backup.display().to_string();
    let repair = ["scrub", "--full-speed", "--repair-from", from.as_str()];
    let first = workspace.exhibit(&repair);
    assert_eq!(first.code, Some(1), "{}", first.text());
    let listed = |answer: &Value, key: &str| {
        let named = answer[key].as_array().expect("a list").iter();
        named.map(|f| f["item"].as_str().expect("an item").to_owned()).collect::<Vec<_>>()
    };
    let first = first.json();
    assert_eq!(listed(&first, "repaired"), [items[0].clone(), items[2].clone()], "{first}");
    assert_eq!(listed(&first, "findings"), [items[1].clone(), items[3].clone()], "{first}");
    for (at, verified) in [(0, 1), (1, 0), (2, 1), (3, 0)] {
        let shown = workspace.show(&items[at]).ok().json();
        assert_eq!(audit::count_of_events(&shown, "storage.fault"), 1, "{shown}");
        assert_eq!(audit::count_of_events(&shown, "item.verified"), verified, "{shown}");
    }
    let aside = workspace.in_data("objects/aside/originals").join(&items[0]);
    assert!(aside.exists(), "what was damaged is kept");

    flip(&copy);
    let second = workspace.exhibit(&repair).json();
    assert_eq!(listed(&second, "repaired"), [items[1].clone()], "{second}");
    let bytes = |at: usize| bytes::Bytes::from(clips[at].clone());
    let sent = [bytes(0), bytes(1), bytes(2)];
    let whole: Vec<_> = (0..3).map(|at| (items[at].as_str(), &sent[at])).collect();
    audit::bytes_read_back(&workspace, &whole);
    audit::ledger_is_clean(&workspace);
}

#[test]
fn a_scrub_reads_no_faster_than_it_is_told() {
    let workspace = Workspace::new();
    ingest(&workspace, &[vec![1; 3_000_000]], 0);
    let began = std::time::Instant::now();
    workspace.exhibit(&["scrub", "--rate", "1000000"]).ok();
    let took = began.elapsed();
    assert!(took >= std::time::Duration::from_secs(3), "3 MB in {took:?}");
}

#[test]
fn what_status_says_is_what_prometheus_reads() {
    let (workspace, backup, _) = a_system();
    let down = workspace.exhibit(&["status"]);
    assert_eq!(down.code, Some(2), "a server that is down is critical");
    back_up(&workspace, &backup);
    let server = Server::start(&workspace);
    let status = workspace.exhibit(&["status"]).json();
    let (code, body) = server.get("/metrics").expect("it answers");
    assert_eq!(code, 200);
    let text = String::from_utf8(body).expect("text");
    for said in status["measures"].as_array().expect("measures") {
        let name = said["name"].as_str().expect("a name");
        let exported = text.lines().any(|line| line.starts_with(&format!("{name} ")));
        assert_eq!(exported, !said["value"].is_null(), "{name} in\n{text}");
    }
    assert_eq!(measure(&status, "exhibit_up")["value"], 1.0);
    let backup_age = measure(&status, "exhibit_last_verified_backup_seconds")["value"].as_f64();
    assert!(backup_age.is_some_and(|age| age < 600.0), "{status}");
    drop(server);

    // Behind a proxy everybody is on this machine: then the token counts.
    let token = workspace.write("token", b"let-me-in\n");
    let token = token.display().to_string();
    let behind = [
        ("EXHIBIT__SERVER__BEHIND_PROXY", "true"),
        ("EXHIBIT__SERVER__METRICS_TOKEN_FILE", &*token),
    ];
    let server = Server::start_with(&workspace, &behind);
    assert_eq!(server.get("/metrics").map(|(code, _)| code), Some(404));
    let client = tokio::runtime::Runtime::new().expect("a runtime");
    let asked = client.block_on(async {
        let request = reqwest::Client::new().get(format!("{}/metrics", server.url()));
        request.bearer_auth("let-me-in").send().await.expect("it answers").status().as_u16()
    });
    assert_eq!(asked, 200);
}

#[test]
fn an_upgrade_is_tried_on_a_copy() {
    let (workspace, _, _) = a_system();
    let fits = workspace.exhibit(&["upgrade", "check"]).ok().json();
    assert_eq!(
        (&fits["fits"], &fits["migrations"]),
        (&true.into(), &serde_json::json!([])),
        "{fits}"
    );
    let sql = |text: &str| workspace.sql(text);
    // An older database: what it lacks would be made, and its rows stay.
    sql(
        "DROP TABLE backups; DROP TABLE scrubs; DROP INDEX items_by_time; DROP INDEX items_faulty; \
         DROP INDEX items_in_quarantine; DELETE FROM schema_history WHERE number = 6",
    );
    let older = workspace.exhibit(&["upgrade", "check"]).ok().json();
    assert_eq!(older["migrations"], serde_json::json!(["keeping"]), "{older}");
    assert_eq!(workspace.exhibit(&["upgrade", "check"]).ok().json(), older, "nothing was changed");
    // One that was made by a newer program, and one whose migration fails.
    sql("INSERT INTO schema_history (number, name) VALUES (9999, 'from-the-future')");
    let newer = workspace.exhibit(&["upgrade", "check"]);
    assert!(newer.code == Some(1) && newer.text().contains("newer one"), "{}", newer.text());
    sql("DELETE FROM schema_history WHERE number = 9999; CREATE TABLE backups (x)");
    let fails = workspace.exhibit(&["upgrade", "check"]);
    assert!(fails.code == Some(1) && fails.text().contains("fails on a copy"), "{}", fails.text());
}

#[test]
fn prometheus_takes_the_rules_that_are_shipped() {
    let promtool = tests::programs::repository().join(".tools/prometheus/usr/bin/promtool");
    assert!(promtool.exists(), "{} is missing: run scripts/setup test", promtool.display());
    let rules = tests::programs::repository().join("deploy/exhibit.rules.yml");
    let mut check = Command::new(promtool);
    let judged = tests::Answer::of(check.args(["check", "rules"]).arg(rules)).ok();
    assert!(judged.text().contains("SUCCESS"), "{}", judged.text());
}

#[test]
fn what_was_escrowed_brings_the_keys_back_and_a_wrong_passphrase_is_said() {
    let workspace = Workspace::new();
    let passphrase = workspace.write("passphrase", b"correct horse\n");
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).expect("chmod");
    let configured = format!("[keys]\npassphrase_file = \"{}\"\n", passphrase.display());
    fs::create_dir(workspace.data()).expect("a folder");
    fs::write(workspace.in_data("exhibit.toml"), &configured).expect("written");
    let identity = age::x25519::Identity::generate();
    let officer = workspace.write("officer.key", identity.to_string().expose_secret().as_bytes());
    fs::set_permissions(&officer, fs::Permissions::from_mode(0o600)).expect("chmod");
    let recipient = identity.to_public().to_string();
    let escrow = workspace.path("escrow.age").display().to_string();
    let officer = officer.display().to_string();
    let made =
        workspace.exhibit(&["keys", "new", "--escrow", &recipient, "-o", &escrow]).ok().json();
    assert_eq!(made["encrypted"], true, "{made}");
    let again = workspace.path("again.age").display().to_string();
    let twice = workspace.exhibit(&["keys", "new", "--escrow", &recipient, "-o", &again]);
    assert!(twice.code == Some(1) && twice.stderr.contains("keys in"), "{}", twice.stderr);
    assert!(!Path::new(&again).exists(), "exported once");
    ingest(&workspace, &[vec![1; 1000]], 0);

    // The passphrase is lost: said by file. The escrow brings the same keys back under a new one.
    fs::write(&passphrase, "forgotten\n").expect("written");
    let wrong = workspace.exhibit(&["search"]);
    assert!(wrong.stderr.contains("does not open with this passphrase"), "{}", wrong.stderr);
    fs::rename(workspace.in_data("keys"), workspace.path("old-keys")).expect("aside");
    let back = ["keys", "recover", "--from", &escrow, "--identity", &officer];
    assert_eq!(workspace.exhibit(&back).ok().json()["log_key"], made["log_key"]);
    audit::ledger_is_clean(&workspace);
    assert_eq!(workspace.items().len(), 1);
}

fn measure<'a>(status: &'a Value, name: &str) -> &'a Value {
    let measures = status["measures"].as_array().unwrap_or_else(|| panic!("{status}"));
    measures.iter().find(|m| m["name"] == name).unwrap_or_else(|| panic!("{name} in {status}"))
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("written");
}

//! The doctor finds what is planted, each with its fix, and says nothing about a healthy system.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tests::programs::exhibit;
use tests::{Server, Workspace};

/// One healthy data folder, made once; each fault is planted in a copy.
struct Healthy {
    workspace: Workspace,
    backup: PathBuf,
}

fn healthy() -> &'static Healthy {
    static HEALTHY: OnceLock<Healthy> = OnceLock::new();
    HEALTHY.get_or_init(|| {
        let workspace = Workspace::new();
        private(&workspace.write("passphrase", b"correct horse battery\n"), 0o600);
        fs::create_dir(workspace.data()).expect("a folder");
        private(&workspace.data(), 0o700);
        settings(&workspace.data(), &workspace.path("passphrase"), "");
        for (number, size) in [10, 70_000].into_iter().enumerate() {
            let clip = workspace.write(&format!("clip-{number}"), &vec![number as u8; size]);
            workspace.exhibit(&["ingest", &clip.display().to_string()]).ok();
        }
        // Another disk than that of the data, as it should be.
        let shared = Path::new("/dev/shm");
        forget_earlier_runs(shared);
        let backup = shared.join(format!("{BACKUP_PREFIX}{}", std::process::id()));
        fs::create_dir(&backup).expect("a folder for backups");
        workspace.exhibit(&["backup", "--to", &backup.display().to_string()]).ok();
        Healthy { workspace, backup }
    })
}

const BACKUP_PREFIX: &str = "exhibit-doctor-";

/// Nobody drops what is static: the next run clears away what ended ones left.
fn forget_earlier_runs(shared: &Path) {
    for entry in fs::read_dir(shared).expect("a folder in memory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ended = |pid: &str| !Path::new("/proc").join(pid).exists();
        if name.strip_prefix(BACKUP_PREFIX).is_some_and(ended) {
            fs::remove_dir_all(entry.path()).expect("removed");
        }
    }
}

fn settings(data: &Path, passphrase: &Path, more: &str) {
    let text = format!("[keys]\npassphrase_file = \"{}\"\n{more}", passphrase.display());
    let path = data.join("exhibit.toml");
    fs::write(&path, text).expect("written");
    private(&path, 0o640);
}

fn private(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// A copy of the healthy folder, as `cp -a` makes it.
fn copy() -> (Workspace, PathBuf) {
    let place = Workspace::new();
    let copied =
        Command::new("cp").arg("-a").arg(healthy().workspace.data()).arg(place.data()).status();
    assert!(copied.expect("cp runs").success());
    let data = place.data();
    (place, data)
}

fn examine(data: &Path) -> Vec<Value> {
    let answer = exhibit(data, &["doctor"]);
    let said = answer.json();
    let faults = said["faults"].as_array().unwrap_or_else(|| panic!("{said}")).clone();
    assert_eq!(answer.code, Some(i32::from(!faults.is_empty())), "{said}");
    faults
}

fn aged(path: &Path) {
    aged_by(path, 10_000);
}

fn aged_by(path: &Path, seconds: u64) {
    let file = fs::File::options().read(true).open(path).expect("opened");
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).expect("aged");
}

fn first_in(folder: PathBuf) -> PathBuf {
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    let plain = paths.into_iter().find(|p| p.extension().is_none());
    plain.unwrap_or_else(|| panic!("nothing in {}", folder.display()))
}

fn sql(data: &Path, text: &str) {
    let mut python = Command::new("python3");
    let script = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1])\nc.executescript(sys.argv[2])\nc.commit()\nc.close()";
    let done = python.args(["-c", script]).arg(data.join("records.sqlite")).arg(text).status();
    assert!(done.expect("python3 runs").success(), "{text}");
}

const LEDGER: &str = "objects/ledger/ledger.unnamed.invalid";
const LONG_AGO_MS: i64 = 1_600_000_000_000;

type Plant = fn(&Path);

/// What is planted: the code it must be found under, and how.
const FAULTS: &[(&str, Plant)] = &[
    ("data-folder-open", |d| private(d, 0o755)),
    ("keys-folder-open", |d| private(&d.join("keys"), 0o750)),
    ("key-readable", |d| private(&d.join("keys/log.key"), 0o644)),
    ("keys-missing", |d| fs::remove_file(d.join("keys/receipt.key")).expect("removed")),
    ("keys-half-made", |d| fs::create_dir(d.join("keys.new")).expect("made")),
    ("passphrase-missing", |d| settings(d, &d.join("nowhere"), "")),
    ("passphrase-readable", |d| {
        fs::write(d.join("p"), "correct horse battery\n").expect("written");
        private(&d.join("p"), 0o644);
        settings(d, &d.join("p"), "");
    }),
    ("passphrase-wrong", |d| {
        fs::write(d.join("p"), "wrong\n").expect("written");
        private(&d.join("p"), 0o600);
        settings(d, &d.join("p"), "");
    }),
    ("passphrase-not-configured", |d| fs::write(d.join("exhibit.toml"), "").expect("written")),
    ("keys-unencrypted", |d| {
        for key in ["force", "log", "receipt", "bundle"] {
            let text = format!("exhibit role key v1\nrole {key}\nseed AAAA\n");
            fs::write(d.join(format!("keys/{key}.key")), text).expect("written");
        }
    }),
    ("configuration-writable", |d| private(&d.join("exhibit.toml"), 0o666)),
    ("configuration-drift", |d| {
        settings(
            d,
            &healthy().workspace.path("passphrase"),
            "[force]\nledger = \"ledger.other.example\"\n",
        );
    }),
    ("listen-address", |d| {
        settings(
            d,
            &healthy().workspace.path("passphrase"),
            "[server]\nlisten = \"0.0.0.0:8080\"\n",
        );
    }),
    ("disk-full", |d| {
        settings(
            d,
            &healthy().workspace.path("passphrase"),
            "[limits]\nfree_bytes = 9000000000000000\n",
        );
    }),
    ("database-copy-left", |d| {
        fs::write(d.join("records.backup"), "x").expect("written");
        aged(&d.join("records.backup"));
    }),
    ("temporary-files", |d| {
        fs::write(d.join("objects/uploads/tmp-00"), "x").expect("written");
        aged(&d.join("objects/uploads/tmp-00"));
    }),
    ("files-set-aside", |d| {
        fs::create_dir(d.join("objects/aside")).expect("made");
        fs::write(d.join("objects/aside/x"), "x").expect("written");
    }),
    ("outbox-open", |d| {
        fs::create_dir(d.join("outbox")).unwrap_or_default();
        private(&d.join("outbox"), 0o755);
    }),
    ("bundle-forgotten", |d| {
        fs::create_dir(d.join("outbox")).unwrap_or_default();
        private(&d.join("outbox"), 0o700);
        let bundle = d.join("outbox/0193a7c2-0000-7000-8000-000000000003.zip");
        fs::write(&bundle, "PK").expect("written");
        aged_by(&bundle, 2 * 24 * 3600);
    }),
    ("dead-socket", |d| {
        drop(UnixListener::bind(d.join("exhibit.sock")).expect("bound"));
        private(&d.join("exhibit.sock"), 0o600);
    }),
    ("socket-open", |d| {
        drop(UnixListener::bind(d.join("exhibit.sock")).expect("bound"));
        private(&d.join("exhibit.sock"), 0o666);
    }),
    ("clock-behind", |d| {
        let file = fs::File::options().append(true).open(d.join("records.sqlite")).expect("opened");
        file.set_modified(SystemTime::now() + Duration::from_secs(100_000)).expect("ahead");
    }),
    ("head-unconfirmed", |d| {
        let text = r#"{"entries":1,"root":"x","made_at_ms":0,"from":"/x"}"#;
        fs::write(d.join("head-unconfirmed"), text).expect("written");
    }),
    ("database-missing", |d| fs::remove_file(d.join("records.sqlite")).expect("removed")),
    ("database-damaged", |d| fs::write(d.join("records.sqlite"), vec![7; 9000]).expect("written")),
    ("database-newer", |d| {
        sql(d, "INSERT INTO schema_history (number, name) VALUES (9999, 'from-the-future')")
    }),
    ("database-behind", |d| sql(d, "UPDATE sequencer SET size = size - 1")),
    ("checkpoint-missing", |d| {
        fs::remove_file(d.join(LEDGER).join("checkpoint")).expect("removed")
    }),
    ("tile-missing", |d| {
        let folder = d.join(LEDGER).join("tile/0");
        fs::remove_dir_all(&folder).expect("removed");
        fs::create_dir(folder).expect("made");
    }),
    ("tile-damaged", |d| {
        for tile in fs::read_dir(d.join(LEDGER).join("tile/0/000.p")).expect("tiles") {
            let tile = tile.expect("a tile").path();
            let length = fs::read(&tile).expect("read").len();
            fs::write(tile, vec![7; length]).expect("written");
        }
    }),
    ("object-missing", |d| {
        fs::remove_file(first_in(d.join("objects/originals"))).expect("removed");
    }),
    ("object-damaged", |d| {
        fs::write(first_in(d.join("objects/originals")), "short").expect("written");
    }),
    ("object-key-missing", |d| {
        fs::remove_file(first_in(d.join("objects/keys/originals"))).expect("removed");
    }),
    ("orphan", |d| fs::write(d.join("objects/originals/stranger"), "x").expect("written")),
    ("upload-left-over", |d| {
        let folder = d.join("objects/uploads/0193a7c2-0000-7000-8000-000000000001");
        fs::create_dir(&folder).expect("made");
        aged(&folder);
    }),
    ("device-never-seen", |d| {
        sql(
            d,
            &format!(
                "INSERT INTO devices (force, device, name, credential_id, enrolled_leaf, enrolled_at_ms) \
            VALUES ('ledger.unnamed.invalid', '0193a7c2-0000-7000-8000-000000000002', 'dock', 'c', 1, {LONG_AGO_MS})"
            ),
        );
    }),
    ("device-not-seen", |d| {
        sql(
            d,
            &format!(
                "INSERT INTO devices (force, device, name, credential_id, enrolled_leaf, enrolled_at_ms) \
            VALUES ('ledger.unnamed.invalid', '0193a7c2-0000-7000-8000-000000000002', 'dock', 'c', 1, {LONG_AGO_MS}); \
            UPDATE items SET device = '0193a7c2-0000-7000-8000-000000000002', received_at_ms = {LONG_AGO_MS}"
            ),
        );
    }),
    ("backup-gone", |d| sql(d, "UPDATE backups SET folder = '/nowhere'")),
    ("backup-same-disk", |d| {
        symlink_backup(d);
    }),
    ("last_verified_backup_seconds", |d| {
        sql(d, &format!("UPDATE backups SET verified_at_ms = {LONG_AGO_MS}"));
    }),
    ("last_scrub_seconds", |d| {
        sql(d, &format!("UPDATE items SET received_at_ms = {LONG_AGO_MS}"));
    }),
    ("storage_faults", |d| sql(d, "UPDATE items SET fault = 'damaged'")),
    ("failed_jobs", |d| {
        sql(
            d,
            "INSERT INTO jobs (force, item, recipe_id, kind, recipe, state, crashes, troubles, not_before_ms, upload, object) VALUES ('ledger.unnamed.invalid', 'i', 'r', 'proxy', '{}', 'waiting', 0, 3, 0, '', '')",
        );
    }),
    ("oldest_unfinished_upload_seconds", |d| {
        sql(
            d,
            &format!(
                "INSERT INTO uploads VALUES ('ledger.unnamed.invalid', 'u', '-', 'b', 'r', 'whole', 'receiving', \
            NULL, 0, 'i', 'e', 'd', '{{}}', '', '[]', '', '', '', '', '', '', '', NULL, '', {LONG_AGO_MS}, {LONG_AGO_MS}, 0)"
            ),
        );
    }),
];

/// A copy of the backup beside the data.
fn symlink_backup(data: &Path) {
    let beside = data.with_file_name("backup");
    let copied = Command::new("cp").arg("-a").arg(&healthy().backup).arg(&beside).status();
    assert!(copied.expect("cp runs").success());
    // By another name, as an operator may have it.
    symlink(&beside, data.with_file_name("by-name")).expect("linked");
    sql(
        data,
        &format!("UPDATE backups SET folder = '{}'", data.with_file_name("by-name").display()),
    );
}

#[test]
fn a_healthy_system_has_nothing_wrong_running_or_not() {
    let (workspace, data) = copy();
    assert_eq!(examine(&data), Vec::<Value>::new(), "while it is down");
    let server = Server::start(&workspace);
    assert_eq!(examine(&data), Vec::<Value>::new(), "while it runs");
    assert!(server.stop().success());
    assert_eq!(examine(&data), Vec::<Value>::new(), "after a stop in order");
}

#[test]
fn each_planted_fault_is_found_with_its_fix() {
    let mut missed = Vec::new();
    for (code, plant) in FAULTS {
        let (_workspace, data) = copy();
        plant(&data);
        let faults = examine(&data);
        let found = faults.iter().find(|fault| fault["code"] == *code);
        match found {
            Some(fault) => {
                assert!(fault["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{fault}")
            }
            None => missed.push(format!("{code}: only {faults:?}")),
        }
    }
    assert!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
    let codes: BTreeSet<_> = FAULTS.iter().map(|(code, _)| code).collect();
    assert!(codes.len() == FAULTS.len() && codes.len() >= 20);
}

#[test]
fn a_server_that_hangs_and_a_worker_that_is_gone_are_found() {
    let (workspace, data) = copy();
    let server = Server::start(&workspace);
    let pid =
        rustix::process::Pid::from_raw(i32::try_from(server.pid()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stopped");
    let faults = examine(&data);
    assert!(faults.iter().any(|fault| fault["code"] == "server-silent"), "{faults:?}");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("goes on");
    drop(server);

    let mut alone = Command::new(tests::programs::program("exhibit"));
    let alone =
        alone.args(["doctor", "--json", "--data"]).arg(&data).env("EXHIBIT_TRANSCODE", "/nowhere");
    let said = tests::Answer::of(alone).json();
    assert!(said["faults"].to_string().contains("worker-missing"), "{said}");
}

#[test]
fn files_of_another_user_are_found() {
    test_machine::root::needed_to("give a file to another user");
    let (_workspace, data) = copy();
    std::os::unix::fs::chown(data.join("keys/log.key"), Some(65534), None).expect("chown");
    let faults = examine(&data);
    assert!(faults.iter().any(|fault| fault["code"] == "wrong-owner"), "{faults:?}");
}

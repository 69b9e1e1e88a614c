//! A key is replaced: what was given away before still verifies, docks and log witnesses are led on by the note, and a
//! kill at any moment leaves one key and a ledger that agrees with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use age::secrecy::ExposeSecret as _;
use serde_json::Value;
use tests::programs::{exhibit, program};
use tests::workspace::Device;
use tests::{Answer, LogWitness, Server, Workspace, audit};

#[test]
fn what_was_given_away_before_still_verifies() {
    let workspace = Workspace::new();
    let (item, early_entry) = ingest(&workspace, "a.bin", 1);
    let receipt = receipt(&workspace, early_entry);
    let slip = slip(&workspace);
    let early = Trusted::now(&workspace, "early");

    let officer = age::x25519::Identity::generate();
    let escrow = workspace.path("keys-2.age");
    let recipient = officer.to_public().to_string();
    let to = escrow.display().to_string();
    let arguments = ["--reason", "an administrator left", "--escrow", &recipient, "-o", &to];
    let rotated = rotate(&workspace, "log", &arguments).ok().json();
    let late = Trusted::now(&workspace, "late");
    assert_ne!(early.log_key(), late.log_key());
    assert_eq!(
        (&rotated["log_key"], &rotated["fingerprint"]),
        (&late.log_key().into(), &late.fingerprint().into())
    );
    audit::ledger_is_clean(&workspace);

    // The new key is in its escrow, and the old one in no file any more.
    let again = workspace.path("again");
    let identity = workspace.write("officer.key", officer.to_string().expose_secret().as_bytes());
    only_for_its_owner(&identity);
    let from = ["keys", "recover", "--from", &to, "--identity", &identity.display().to_string()];
    assert_eq!(exhibit(&again, &from).ok().json()["log_key"], late.log_key());
    assert!(!workspace.in_data("keys/log.next").exists());

    let ledger = export(&workspace, "ledger");
    let (bundle, path) = bundle(&workspace, &item, "bundle.zip");
    for trusted in [&early, &late] {
        let by_policy = verify(&bundle, &["--policy", &trusted.path()]);
        assert_eq!(by_policy.code, Some(0), "{}", by_policy.text());
        let by_fingerprint = verify(&bundle, &["--fingerprint", &trusted.fingerprint()]);
        assert_eq!(by_fingerprint.code, Some(0), "{}", by_fingerprint.text());
    }
    let led = verify(&bundle, &["--policy", &early.path()]).json();
    assert!(led["rests_on"].to_string().contains(&late.fingerprint()), "it is said: {led}");

    let alone = verify(&receipt, &["--policy", &late.path()]);
    assert_eq!(alone.code, Some(2), "{}", alone.text());
    assert_eq!(verify(&receipt, &["--policy", &early.path()]).code, Some(0));
    for later in [&ledger, &path] {
        let beside = verify(&receipt, &["--policy", &late.path(), "--ledger", later]);
        assert_eq!(beside.code, Some(0), "{later}: {}", beside.text());
        assert!(beside.text().contains("earlier key"), "{}", beside.text());
    }
    for place in [&ledger, &path] {
        let since = verify(Path::new(place), &["--since", &slip, "--policy", &late.path()]);
        assert_eq!(since.code, Some(0), "{place}: {}", since.text());
    }

    // And again: whoever knows the first key finds the third.
    rotate(&workspace, "log", &["--reason", "once a year"]).ok();
    rotate(&workspace, "bundle", &["--reason", "once a year"]).ok();
    rotate(&workspace, "receipt", &["--reason", "once a year"]).ok();
    assert_eq!(rotate(&workspace, "force", &["--reason", "no"]).code, Some(1));
    let (bundle, _) = self::bundle(&workspace, &item, "second.zip");
    for trusted in [early, late, Trusted::now(&workspace, "last")] {
        let led = verify(&bundle, &["--fingerprint", &trusted.fingerprint()]);
        assert_eq!(led.code, Some(0), "{}", led.text());
    }
    audit::ledger_is_clean(&workspace);
}

#[test]
fn a_kill_at_any_moment_leaves_one_key_and_a_ledger_that_agrees() {
    // Whether the new key is in use after the next start.
    let moments = [
        ("rotation.prepared", false),
        ("rotation.noted", false),
        ("entries-committed", true),
        ("tiles-written", true),
        ("published", true),
        ("rotation.entered", true),
        ("rotation.adopted", true),
        ("entries-committed:2", true),
        ("checkpoint-stored:2", true),
        ("published:2", true),
        ("rotation.published:2", true),
    ];
    let workspace = Workspace::new();
    let (item, _) = ingest(&workspace, "a.bin", 1);
    let first = Trusted::now(&workspace, "first");
    let mut rotations = 0;
    for (moment, in_use) in moments {
        let before = Trusted::now(&workspace, "before");
        let mut command = Command::new(program("exhibit"));
        command.args(["keys", "rotate", "log", "--reason", "a test", "--data"]);
        let killed = Answer::of(command.arg(workspace.data()).env("EXHIBIT_FAIL", moment));
        assert_eq!(killed.code, None, "{moment} was not reached: {}", killed.stderr);

        let after = Trusted::now(&workspace, "after");
        assert_eq!(after.log_key() != before.log_key(), in_use, "{moment}");
        assert!(!workspace.in_data("keys/log.next").exists(), "{moment}");
        rotations += usize::from(in_use);
        let ledger = export(&workspace, &format!("ledger-{rotations}-{in_use}"));
        let notes = fs::read_dir(Path::new(&ledger).join("rotation")).map_or(0, Iterator::count);
        assert_eq!(notes, rotations, "{moment}: one entry for each");
        let checkpoint = workspace.exhibit(&["ledger", "checkpoint"]).ok().json();
        let policy = after.policy();
        let key = &policy.logs()[0].key;
        let key = format!("{}+{}", key.name(), key.id());
        assert_eq!(signed_by(&checkpoint), key, "{moment}: by the key in use");
        audit::ledger_is_clean(&workspace);
    }
    let (bundle, _) = bundle(&workspace, &item, "bundle.zip");
    let led = verify(&bundle, &["--fingerprint", &first.fingerprint()]);
    assert_eq!(led.code, Some(0), "through {rotations} notes: {}", led.text());
}

/// Cut off half way: the next run goes on, and the keys are the same ones.
#[test]
fn keys_in_plain_text_come_under_a_passphrase() {
    let workspace = Workspace::new();
    workspace.enrol("a dock");
    let before = Trusted::now(&workspace, "before");
    let without = workspace.exhibit(&["keys", "protect"]);
    assert_eq!(without.code, Some(1), "no passphrase is configured: {}", without.stderr);
    let word = workspace.write("word", b"correct horse battery\n");
    only_for_its_owner(&word);
    let settings = format!("[keys]\npassphrase_file = \"{}\"\n", word.display());
    fs::write(workspace.in_data("exhibit.toml"), settings).expect("written");
    let refused = workspace.exhibit(&["search"]);
    assert!(refused.stderr.contains("keys protect"), "it says what to do: {}", refused.stderr);
    let mut command = Command::new(program("exhibit"));
    command.args(["keys", "protect", "--data"]).arg(workspace.data());
    assert_eq!(Answer::of(command.env("EXHIBIT_FAIL", "keys.protected-one:2")).code, None);
    let done = workspace.exhibit(&["keys", "protect"]).ok().json();
    let left = serde_json::json!(["receipt.key", "bundle.key"]);
    assert_eq!(done["encrypted"], left, "{done}");
    assert!(done["leaf_index"].is_number(), "{done}");
    let again = workspace.exhibit(&["keys", "protect"]).ok().json();
    assert_eq!((&again["encrypted"], &again["leaf_index"]), (&serde_json::json!([]), &Value::Null));
    let plain = b"exhibit role key";
    for file in fs::read_dir(workspace.in_data("keys")).expect("keys") {
        let path = file.expect("a file").path();
        let bytes = fs::read(&path).expect("a key");
        assert!(!bytes.windows(plain.len()).any(|w| w == plain), "{}", path.display());
    }
    assert_eq!(Trusted::now(&workspace, "after").fingerprint(), before.fingerprint());
    audit::ledger_is_clean(&workspace);
}

#[test]
fn a_dock_is_led_on_by_the_note_and_by_nothing_else() {
    let workspace = Workspace::new();
    let device = workspace.enrol("dock");
    let server = Server::start(&workspace);
    let clip = workspace.write("one.mp4", &[1; 90_000]);
    push(&workspace, &server, &device, &[&clip]).ok();
    let running = rotate(&workspace, "log", &["--reason", "while it runs"]);
    assert_eq!(running.code, Some(1), "the server's keys are in use: {}", running.stderr);
    assert!(server.stop().success());
    let pinned = fs::read(workspace.path("dock/policy")).expect("pinned");
    rotate(&workspace, "log", &["--reason", "a test"]).ok();

    let server = Server::start(&workspace);
    let (status, note) = server.get("/ledger/rotation/0").expect("an answer");
    assert_eq!((status, server.get("/ledger/rotation/1").map(|answer| answer.0)), (200, Some(404)));
    let note = String::from_utf8(note).expect("text");
    let other = workspace.write("two.mp4", &[2; 90_000]);
    let answer = push(&workspace, &server, &device, &[&clip, &other]).ok().json();
    assert_eq!(answer["clips"].as_array().map(Vec::len), Some(2), "{answer}");
    let now = fs::read(workspace.path("dock/policy")).expect("pinned");
    assert_ne!(now, pinned);
    assert_eq!(String::from_utf8(now).expect("text"), audit::policy_of(&workspace));
    assert!(note.starts_with("key rotation v1\n"), "{note}");

    // One that pinned another key of this name is not led anywhere: nothing is safe.
    let stranger = Workspace::new();
    stranger.enrol("elsewhere");
    fs::write(workspace.path("dock/policy"), audit::policy_of(&stranger)).expect("written");
    let third = workspace.write("three.mp4", &[3; 90_000]);
    let refused = push(&workspace, &server, &device, &[&third]);
    assert_eq!(refused.code, Some(1), "{}", refused.text());
    assert!(server.stop().success());
}

#[test]
fn a_log_witness_takes_the_new_key_with_its_note() {
    let workspace = Workspace::new();
    let witness = LogWitness::start(&workspace);
    let settings = witness.settings();
    let environment: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let server = Server::start_with(&workspace, &environment);
    ingest(&workspace, "a.bin", 1);
    assert!(server.stop().success());
    let old = tests::log_witness::log_key(&workspace);
    rotate(&workspace, "log", &["--reason", "a test"]).ok();
    let note = Path::new(&export(&workspace, "ledger")).join("rotation/0");

    let server = Server::start_with(&workspace, &environment);
    ingest(&workspace, "b.bin", 2);
    assert!(!is_cosigned(&workspace), "it does not know the new key yet");
    let stray = Command::new(program("exhibit"))
        .args(["ledger", "witness", "--listen", "127.0.0.1:0", "--name", "w", "--rotation"])
        .arg(&note)
        .args(["--log", &tests::log_witness::log_key(&Workspace::new()), "--store"])
        .arg(workspace.path("another-witness"))
        .output()
        .expect("it runs");
    assert!(!stray.status.success(), "a note that no key leads to");
    let witness =
        witness.restarted_with(&workspace, &old, &["--rotation", &note.display().to_string()]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !is_cosigned(&workspace) {
        assert!(std::time::Instant::now() < deadline, "not cosigned");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(witness.refused().code, Some(0), "and saw one history");
    assert!(server.stop().success());
}

#[test]
fn a_backup_from_before_is_restored_with_the_new_key_and_its_note() {
    let workspace = Workspace::new();
    let (item, _) = ingest(&workspace, "a.bin", 1);
    let early = Trusted::now(&workspace, "early");
    let backup = workspace.path("backup");
    fs::create_dir(&backup).expect("a folder");
    let backup = backup.display().to_string();
    workspace.exhibit(&["backup", "--to", &backup]).ok();
    rotate(&workspace, "log", &["--reason", "a test"]).ok();
    let late = Trusted::now(&workspace, "late");

    let keys = workspace.path("keys");
    fs::rename(workspace.in_data("keys"), &keys).expect("kept");
    fs::remove_dir_all(workspace.data()).expect("destroyed");
    fs::create_dir(workspace.data()).expect("a folder");
    only_for_its_owner(&workspace.data());
    fs::rename(&keys, workspace.in_data("keys")).expect("brought back");
    let restored = workspace.exhibit(&["restore", "--from", &backup]).ok().json();
    let size = restored["entries"].to_string();
    workspace.exhibit(&["ledger", "recover", "--size", &size, "--reason", "burnt"]).ok();
    audit::ledger_is_clean(&workspace);
    assert_eq!(Trusted::now(&workspace, "now").fingerprint(), late.fingerprint());
    let (bundle, _) = bundle(&workspace, &item, "bundle.zip");
    for trusted in [early, late] {
        let checked = verify(&bundle, &["--policy", &trusted.path()]);
        assert_eq!(checked.code, Some(0), "{}", checked.text());
    }
    // The backup goes on over the rotation.
    workspace.exhibit(&["backup", "--to", &backup]).ok();
}

/// A policy file as it was published at some time.
struct Trusted(PathBuf);

impl Trusted {
    fn now(workspace: &Workspace, name: &str) -> Self {
        Self(workspace.write(name, audit::policy_of(workspace).as_bytes()))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }

    fn policy(&self) -> chain_of_custody::policy::Policy {
        let bytes = fs::read(&self.0).expect("the policy");
        chain_of_custody::policy::Policy::parse(&bytes).expect("a policy")
    }

    fn fingerprint(&self) -> String {
        self.policy().fingerprint().to_string()
    }

    fn log_key(&self) -> String {
        self.policy().logs()[0].key.to_string()
    }
}

fn rotate(workspace: &Workspace, role: &str, arguments: &[&str]) -> Answer {
    workspace.exhibit(&[["keys", "rotate", role].as_slice(), arguments].concat())
}

/// Brings in some bytes; gives the item and its entry.
fn ingest(workspace: &Workspace, name: &str, seed: u8) -> (String, u64) {
    let clip = workspace.write(name, &[seed; 70_000]);
    let taken = workspace.exhibit(&["ingest", &clip.display().to_string()]).ok().json();
    let events = taken["events"].as_array().expect("events");
    let received = events.iter().find(|event| event["type"] == "item.received").expect("it came");
    let entry = received["leaf_index"].as_u64().expect("a position");
    (taken["item"].as_str().expect("an id").to_owned(), entry)
}

fn receipt(workspace: &Workspace, entry: u64) -> PathBuf {
    let proof = workspace.exhibit(&["ledger", "prove", &entry.to_string()]).ok().json();
    workspace.write("early.tlog-proof", proof["proof"].as_str().expect("a proof").as_bytes())
}

fn slip(workspace: &Workspace) -> String {
    let mut command = Command::new(program("exhibit"));
    let page = Answer::of(command.args(["ledger", "slip", "--data"]).arg(workspace.data())).ok();
    workspace.write("slip", &page.stdout).display().to_string()
}

fn export(workspace: &Workspace, name: &str) -> String {
    let folder = workspace.path(name).display().to_string();
    workspace.exhibit(&["ledger", "export", "-o", &folder]).ok();
    folder
}

fn bundle(workspace: &Workspace, item: &str, name: &str) -> (PathBuf, String) {
    let path = workspace.path(name);
    let output = path.display().to_string();
    let made = ["bundle", "create", "--item", item, "--for", "cps", "--to", "CPS", "-o", &output];
    workspace.exhibit(&made).ok();
    (path, output)
}

fn verify(path: &Path, arguments: &[&str]) -> Answer {
    Answer::of(Command::new(program("exhibit-verify")).arg(path).args(arguments).arg("--json"))
}

/// Name and id of the log key in the published checkpoint.
fn signed_by(checkpoint: &Value) -> String {
    let text = checkpoint["checkpoint"].as_str().expect("a checkpoint");
    let signed = chain_of_custody::note::SignedNote::parse(text.as_bytes()).expect("a note");
    let line = &signed.signatures()[0];
    format!("{}+{}", line.name, line.key_id)
}

fn is_cosigned(workspace: &Workspace) -> bool {
    let checkpoint = workspace.exhibit(&["ledger", "checkpoint"]).json();
    let text = checkpoint["checkpoint"].as_str().expect("a checkpoint");
    text.matches('\u{2014}').count() > 1
}

fn push(workspace: &Workspace, server: &Server, device: &Device, clips: &[&Path]) -> Answer {
    let mut command = Command::new(program("exhibit"));
    command.args(["dock", "push", "--json", "--server", server.url(), "--token", &device.token]);
    Answer::of(command.arg("--state").arg(workspace.path("dock")).args(clips))
}

fn only_for_its_owner(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

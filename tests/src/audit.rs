//! What is asked after every fault: is everything that was acknowledged still there, exactly once, and does the ledger hold?

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Workspace;
use crate::programs::{Answer, program};
use crate::workspace::text;

/// The ledger audits clean. Returns its size.
#[track_caller]
pub fn ledger_is_clean(workspace: &Workspace) -> u64 {
    let answer = workspace.exhibit(&["ledger", "audit"]);
    let report = answer.json();
    assert_eq!((report["result"].as_str(), answer.code), (Some("match"), Some(0)), "{report}");
    report["size"].as_u64().unwrap_or_else(|| panic!("no size in {report}"))
}

/// The item with these bytes is stored, names its digests and was received once. Returns what `show` says of it.
#[track_caller]
pub fn is_stored_once(workspace: &Workspace, bytes: &[u8]) -> Value {
    let sha256 = sha256_of(bytes);
    let blake3 = blake3::hash(bytes).to_hex().to_string();
    let item = workspace.show(&format!("sha256:{sha256}")).ok().json();
    assert_eq!(item["state"], "stored", "{item}");
    assert_eq!(item["size_bytes"].as_u64(), Some(bytes.len() as u64), "{item}");
    assert_eq!(plain(&item["digests"]["sha256"]), sha256, "{item}");
    assert_eq!(plain(&item["digests"]["blake3"]), blake3, "{item}");
    assert_eq!(count_of_events(&item, "item.received"), 1, "{item}");
    item
}

/// No two items, and no more than were sent: `expected` of them.
#[track_caller]
pub fn items_are(workspace: &Workspace, expected: usize) {
    let items = workspace.items();
    let ids: BTreeSet<_> = items.iter().map(|item| text(item, "item")).collect();
    assert_eq!((items.len(), ids.len()), (expected, expected), "{items:?}");
}

pub fn count_of_events(item: &Value, kind: &str) -> usize {
    let events = item["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().filter(|event| event["type"] == kind).count()
}

/// A bundle of these items checks as a match with the stand-alone verifier, and holds exactly their bytes.
#[track_caller]
pub fn bytes_read_back(workspace: &Workspace, items: &[(&str, &bytes::Bytes)]) {
    let (first, _) = items.first().expect("some items");
    let bundle = workspace.path(&format!("bundle-{first}"));
    let policy = workspace.write("policy", policy_of(workspace).as_bytes());
    let mut arguments = vec![
        "bundle",
        "create",
        "--for",
        "internal",
        "--to",
        "the test",
        "--reason",
        "the test reads it back",
        "--authorised-by",
        "the test",
    ];
    arguments.extend(items.iter().flat_map(|(item, _)| ["--item", item]));
    let bundle_name = bundle.display().to_string();
    arguments.extend(["--output", &bundle_name]);
    workspace.exhibit(&arguments).ok();

    let mut check = Command::new(program("exhibit-verify"));
    let report = Answer::of(check.arg(&bundle).arg("--policy").arg(policy).arg("--json"));
    assert_eq!(
        (report.json()["result"].as_str(), report.code),
        (Some("match"), Some(0)),
        "{}",
        report.text()
    );
    let mut held = Vec::new();
    digests_below(&bundle.join("data/originals"), &mut held);
    let mut sent: Vec<_> = items.iter().map(|(_, bytes)| sha256_of(bytes)).collect();
    held.sort();
    sent.sort();
    assert_eq!(held, sent);
}

/// The force's policy file.
pub fn policy_of(workspace: &Workspace) -> String {
    let answer = workspace.exhibit(&["keys", "publish"]).ok().json();
    text(&answer, "policy")
}

pub fn sha256_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn digests_below(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder of originals") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            digests_below(&path, found);
        } else {
            found.push(sha256_of(&fs::read(path).expect("an original")));
        }
    }
}

/// A digest without the name of its algorithm.
fn plain(digest: &Value) -> &str {
    let digest = digest.as_str().unwrap_or_default();
    digest.rsplit(':').next().unwrap_or_default()
}

/// How many entries of a kind the ledger has.
pub fn entries_of_kind(workspace: &Workspace, kind: &str) -> usize {
    let folder = workspace.path("export");
    let _gone = fs::remove_dir_all(&folder);
    workspace.exhibit(&["ledger", "export", "--output", &folder.display().to_string()]).ok();
    text_below(&folder).matches(kind).count()
}

fn text_below(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            text += &text_below(&path);
        } else {
            text += &String::from_utf8_lossy(&fs::read(&path).expect("a file"));
        }
    }
    text
}

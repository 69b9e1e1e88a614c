//! Go's `sumdb/note` and `sumdb/tlog` judge our notes, checkpoints, proofs and tiles (`tests/judges/sumdb`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use chain_of_custody::ids::TreeSize;
use chain_of_custody::note::Signer;
use chain_of_custody::tile::new_tiles;

use crate::common::{
    EXAMPLE_SIZE, RECEIVED, example_ledger, log_key, receipt_key, received, witness_key,
};
use crate::receipts::receipt;
use crate::rotation::second_log_key;
use crate::vectors::folder as vectors_folder;

const INSTALL: &str =
    "Go is needed to judge our formats: apt-get install golang-go golang-golang-x-mod-dev";

/// A folder of this test run's own.
fn work(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sumdb").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// The judge, built once.
fn judge() -> &'static Path {
    static JUDGE: OnceLock<PathBuf> = OnceLock::new();
    JUDGE.get_or_init(|| {
        let program = work("judge").join("sumdb");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/judges/sumdb");
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(source)
            .env("GO111MODULE", "off")
            .env("GOFLAGS", "")
            .env("GOPATH", "/usr/share/gocode")
            .env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"))
            .output()
            .unwrap_or_else(|error| panic!("{INSTALL} ({error})"));
        assert!(built.status.success(), "{INSTALL}\n{}", String::from_utf8_lossy(&built.stderr));
        program
    })
}

/// What the judge prints, and whether it accepts.
fn ask(args: &[&dyn AsRef<std::ffi::OsStr>]) -> (bool, String) {
    let mut command = Command::new(judge());
    command.args(args.iter().map(|arg| arg.as_ref()));
    let output = command.output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn assert_ok(args: &[&dyn AsRef<std::ffi::OsStr>]) {
    let (ok, said) = ask(args);
    assert!(ok && said == "ok\n", "{said}");
}

#[test]
fn cosigned_checkpoints_open() {
    let folder = work("cosigned");
    let mut signed = example_ledger().signed();
    let line = signed.cosign(&witness_key(1), 1_795_370_700).unwrap();
    signed.set_cosignature(line).unwrap();
    let file = folder.join("checkpoint");
    let text = signed.to_string();
    std::fs::write(&file, &text).unwrap();
    let (log, witness) = (log_key().vkey().to_string(), witness_key(1).vkey().to_string());
    assert_ok(&[&"cosigned", &file, &log, &witness]);
    let another = witness_key(2).vkey().to_string();
    assert!(!ask(&[&"cosigned", &file, &log, &another]).0, "another key did not cosign");
    // The time is part of what is signed.
    let last = text.trim_end().rsplit(' ').next().unwrap();
    let at_other_time = format!("{}{}{}", &last[..6], "B", &last[7..]);
    assert_ne!(last, at_other_time);
    std::fs::write(&file, text.replace(last, &at_other_time)).unwrap();
    assert!(!ask(&[&"cosigned", &file, &log, &witness]).0);
}

fn assert_fails(what: &str, args: &[&dyn AsRef<std::ffi::OsStr>]) {
    let (ok, said) = ask(args);
    assert!(!ok && said.starts_with("fails: "), "{what}: {said}");
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Flips one bit near the middle of a file.
fn flipped(path: &Path) -> PathBuf {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let other = path.with_extension("flipped");
    std::fs::write(&other, bytes).unwrap();
    other
}

#[test]
fn notes_open() {
    let receipt_key = receipt_key().vkey().to_string();
    for name in
        ["receipt.txt", "progress-receipt.txt", "quarantine-notice.txt", "two-signatures.note"]
    {
        let original = vectors_folder().join("statements").join(name);
        let note = write(&work(name), name, std::fs::read(original).unwrap());
        assert_ok(&[&"note", &note, &receipt_key]);
        assert_fails("flipped bit", &[&"note", &flipped(&note), &receipt_key]);
        assert_fails("another key", &[&"note", &note, &log_key().vkey().to_string()]);
    }
}

#[test]
fn a_rotation_note_opens_with_either_key() {
    let folder = work("rotation");
    let stored = std::fs::read(vectors_folder().join("statements/key-rotation.note")).unwrap();
    let note = write(&folder, "note", stored);
    for key in [log_key(), second_log_key()] {
        let vkey = key.vkey().to_string();
        assert_ok(&[&"note", &note, &vkey]);
        assert_fails("flipped bit", &[&"note", &flipped(&note), &vkey]);
    }
    assert_fails("another key", &[&"note", &note, &receipt_key().vkey().to_string()]);
}

#[test]
fn a_receipt_is_a_proof() {
    let folder = work("proof");
    let (vkey, entry) = (log_key().vkey().to_string(), received().0.to_bytes().unwrap());
    let proof = write(&folder, "receipt.tlog-proof", receipt().to_string());
    let entry = write(&folder, "entry", entry);
    assert_ok(&[&"proof", &proof, &vkey, &entry]);
    assert_fails("flipped entry", &[&"proof", &proof, &vkey, &flipped(&entry)]);
    let moved = receipt().to_string().replace(&format!("index {RECEIVED}\n"), "index 3\n");
    let moved = write(&folder, "moved.tlog-proof", moved);
    assert_fails("another index", &[&"proof", &moved, &vkey, &entry]);
}

#[test]
fn growth_is_consistent() {
    let (folder, ledger, vkey) =
        (work("consistency"), example_ledger(), log_key().vkey().to_string());
    let new = write(&folder, "new", ledger.signed().to_string());
    for size in [1, 2, 3, 7, 8, 100, 255, 256, 257, 259, EXAMPLE_SIZE] {
        let old = ledger.checkpoint_at(size).sign(&log_key()).unwrap();
        let old = write(&folder, "old", old.to_string());
        let lines: String = ledger
            .prove_growth(size, EXAMPLE_SIZE)
            .path
            .iter()
            .map(|hash| format!("{hash}\n"))
            .collect();
        let proof = write(&folder, "lines", &lines);
        assert_ok(&[&"consistency", &old, &new, &vkey, &proof]);
        if !lines.is_empty() {
            let shorter = lines.split_inclusive('\n').skip(1).collect::<String>();
            let shorter = write(&folder, "shorter", shorter);
            assert_fails("a hash less", &[&"consistency", &old, &new, &vkey, &shorter]);
        }
        let mut forked = ledger.checkpoint_at(size);
        forked.root.0[31] ^= 1;
        let forked = write(&folder, "forked", forked.sign(&log_key()).unwrap().to_string());
        assert_fails("a fork", &[&"consistency", &forked, &new, &vkey, &proof]);
    }
}

#[test]
fn the_whole_tree_stands() {
    let (folder, ledger, vkey) = (work("tree"), example_ledger(), log_key().vkey().to_string());
    write(&folder, "checkpoint", ledger.signed().to_string());
    for (name, bytes) in ledger.files() {
        write(&folder, &name, bytes);
    }
    assert_ok(&[&"tree", &folder, &vkey]);
    for (name, bytes) in ledger.files() {
        let mut damaged = bytes.clone();
        *damaged.last_mut().unwrap() ^= 1;
        write(&folder, &name, damaged);
        assert_fails(&name, &[&"tree", &folder, &vkey]);
        write(&folder, &name, bytes);
    }
    assert_ok(&[&"tree", &folder, &vkey]);
}

/// Go lists every width in between too; we write the tiles of published sizes only.
#[test]
fn the_same_tiles_are_new() {
    let sizes = [
        0u64, 1, 2, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 70_000, 16_777_216,
        16_777_300,
    ];
    let pairs = sizes.iter().flat_map(|old| sizes.iter().map(move |new| (*old, *new)));
    // Go's list holds every width in between: keep to steps it can print.
    let pairs: Vec<_> = pairs.filter(|(old, new)| old < new && new - old <= 70_000).collect();
    let lines: String = pairs.iter().map(|(old, new)| format!("{old} {new}\n")).collect();
    let (ok, said) = ask(&[&"new-tiles", &write(&work("new-tiles"), "sizes", lines)]);
    assert!(ok, "{said}");
    for ((old, new), line) in pairs.iter().zip(said.lines()) {
        let theirs: Vec<&str> = line.split_once(": ").unwrap().1.split(' ').collect();
        let names = |old, new| -> Vec<String> {
            new_tiles(TreeSize(old), TreeSize(new)).iter().map(ToString::to_string).collect()
        };
        let (ours, before) = (names(*old, *new), names(0, *old));
        assert!(ours.iter().all(|tile| theirs.contains(&tile.as_str())), "{old} {new}: {ours:?}");
        // Of each tile the widest they list is one of ours, or was there before.
        let mut widest = std::collections::BTreeMap::new();
        for tile in theirs {
            widest.insert(tile.split(".p/").next().unwrap(), tile);
        }
        for tile in widest.into_values() {
            let tile = tile.to_owned();
            assert!(ours.contains(&tile) || before.contains(&tile), "{old} {new}: {tile}");
        }
    }
}

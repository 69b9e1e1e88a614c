//! The test vectors in `tests/vectors/`: what a second implementation must write and read.
//!
//! Each is made here from fixed keys and compared with its file, byte for byte; then the file is read back.
//! `EXHIBIT_WRITE_VECTORS=1 cargo test -p chain-of-custody --test log vectors` writes them anew after a format changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::digest::Digests;
use chain_of_custody::heads::{Head, Heads};
use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::manifest::SignedManifest;
use chain_of_custody::merkle::{Frontier, InclusionProof, leaf_hash};
use chain_of_custody::note::{SignedNote, Signer, SigningKey, VerifierKey};
use chain_of_custody::policy::{Fingerprint, Policy};
use chain_of_custody::receipt::{ProgressReceipt, QuarantineNotice, Receipt, ReceiptText};
use chain_of_custody::rotation::Rotation;
use chain_of_custody::tile::{TilePath, decode_entries};

use crate::common::{
    CLIP, ITEM, MemoryLedger, ORIGIN, RECEIVED, agent_key, bundle_key, example_ledger, log_key,
    manifest, receipt_key, received, seed, witness_key,
};
use crate::{receipts, rotation};

const COSIGNED_AT: u64 = 1_795_370_700;
/// Sizes of the small tree whose every proof is written out.
const SMALL: u64 = 9;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// Compares `made` with the vector's file, or writes it when asked to; gives the file's bytes.
fn vector(name: &str, made: &[u8]) -> Vec<u8> {
    let path = folder().join(name);
    if std::env::var_os("EXHIBIT_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
    }
    let stored = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        stored == made,
        "{name} is not what this version writes:\n{}",
        String::from_utf8_lossy(made)
    );
    stored
}

fn text_vector(name: &str, made: impl ToString) -> String {
    String::from_utf8(vector(name, made.to_string().as_bytes())).unwrap()
}

/// The text files, for tests that damage them.
pub(crate) fn text_files() -> Vec<Vec<u8>> {
    let folders = ["keys", "ledger", "policies", "proofs", "statements", "tree"];
    let files = folders.iter().flat_map(|name| std::fs::read_dir(folder().join(name)).unwrap());
    let paths = files.map(|file| file.unwrap().path()).filter(|path| path.is_file());
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    assert!(paths.len() > 12);
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn keys() {
    let witness = |n| (format!("witness{n}.example"), format!("test witness {n}"), witness_key(n));
    let keys: Vec<(String, String, SigningKey)> = vec![
        (ORIGIN.into(), "test log".into(), log_key()),
        (ORIGIN.into(), "test log, second".into(), rotation::second_log_key()),
        ("essex.example/receipt".into(), "test receipt".into(), receipt_key()),
        ("essex.example/bundle".into(), "test bundle".into(), bundle_key()),
        ("dock-7.essex.example".into(), "test dock agent".into(), agent_key()),
        witness(1),
        witness(2),
        witness(3),
    ];
    let mut made = String::from("# verifier key, Ed25519 seed (SHA-256 of the label), label\n");
    for (name, label, key) in &keys {
        assert_eq!(key.name(), name);
        writeln!(made, "{} {} {label}", key.vkey(), hex::encode(seed(label))).unwrap();
    }
    for line in text_vector("keys/keys.txt", made).lines().skip(1) {
        let vkey = line.split(' ').next().unwrap();
        assert_eq!(VerifierKey::parse(vkey).unwrap().to_string(), vkey);
    }
}

#[test]
fn note() {
    let text = "Any text.\n\nEmpty lines too: caf\u{e9}.\n";
    let made = SignedNote::sign(text, &[&receipt_key(), &bundle_key()]).unwrap();
    let stored = text_vector("statements/two-signatures.note", made);
    let note = SignedNote::parse(stored.as_bytes()).unwrap();
    assert_eq!(note.text(), text);
    let trusted = [receipt_key().vkey(), bundle_key().vkey(), log_key().vkey()];
    assert_eq!(note.verify(&trusted).unwrap().signed_by, trusted[..2]);
}

#[test]
fn key_rotation() {
    let stored = text_vector("statements/key-rotation.note", rotation::note());
    let read = Rotation::read(stored.as_bytes()).unwrap();
    assert_eq!((read.old, read.new), (log_key().vkey(), rotation::second_log_key().vkey()));
}

#[test]
fn small_tree() {
    let ledger = MemoryLedger::of((0..SMALL).map(|index| format!("entry {index}").into_bytes()));
    let mut made =
        String::from("# size root(hex) of the tree over \"entry 0\", \"entry 1\", ...\n");
    for (size, root) in ledger.roots.iter().enumerate() {
        writeln!(made, "{size} {}", hex::encode(root.0)).unwrap();
    }
    text_vector("tree/roots.txt", made);

    let mut made = String::from("# index size hash(base64)...\n");
    for (size, index) in (1..=SMALL).flat_map(|size| (0..size).map(move |index| (size, index))) {
        let proof = ledger.prove(index, size);
        writeln!(made, "{}", join(index, size, &proof.path)).unwrap();
    }
    for line in text_vector("tree/inclusion.txt", made).lines().skip(1) {
        let (index, size, path) = split(line);
        let proof = InclusionProof { index: LeafIndex(index), size: TreeSize(size), path };
        let leaf = leaf_hash(format!("entry {index}").as_bytes());
        proof.verify(&leaf, &ledger.roots[size as usize]).unwrap();
    }

    let mut made = String::from("# old new hash(base64)...\n");
    for (new, old) in (0..=SMALL).flat_map(|new| (0..=new).map(move |old| (new, old))) {
        writeln!(made, "{}", join(old, new, &ledger.prove_growth(old, new).path)).unwrap();
    }
    for line in text_vector("tree/consistency.txt", made).lines().skip(1) {
        let (old, new, path) = split(line);
        let proof = chain_of_custody::merkle::ConsistencyProof {
            old: TreeSize(old),
            new: TreeSize(new),
            path,
        };
        proof.verify(&ledger.roots[old as usize], &ledger.roots[new as usize]).unwrap();
    }
    let stored = text_vector("tree/frontier-9.hex", hex::encode(ledger.edge.frontier().to_bytes()));
    let frontier = Frontier::from_bytes(&hex::decode(stored).unwrap()).unwrap();
    assert_eq!(frontier.root(), ledger.edge.root());
}

fn join(a: u64, b: u64, path: &[chain_of_custody::merkle::Hash]) -> String {
    let words =
        [a.to_string(), b.to_string()].into_iter().chain(path.iter().map(ToString::to_string));
    words.collect::<Vec<_>>().join(" ")
}

fn split(line: &str) -> (u64, u64, Vec<chain_of_custody::merkle::Hash>) {
    let mut words = line.split(' ');
    let mut number = || words.next().unwrap().parse().unwrap();
    let (a, b) = (number(), number());
    (a, b, words.map(|word| chain_of_custody::merkle::Hash::from_base64(word).unwrap()).collect())
}

#[test]
fn ledger() {
    let ledger = example_ledger();
    let stored = text_vector("ledger/checkpoint", ledger.signed());
    let signed = SignedCheckpoint::parse(stored.as_bytes()).unwrap();
    let verified = signed.verify(&[log_key().vkey()], &[]).unwrap();
    assert_eq!(verified.checkpoint, ledger.checkpoint());

    let mut frontier = Frontier::new();
    for (name, made) in ledger.files() {
        let stored = vector(&format!("ledger/{name}"), &made);
        if name.parse::<TilePath>().unwrap().kind() == chain_of_custody::tile::TileKind::Entries {
            for entry in decode_entries(&stored).unwrap() {
                frontier.append(leaf_hash(entry));
            }
        }
    }
    assert_eq!(frontier.root(), verified.checkpoint.root);
}

#[test]
fn cosigned_checkpoint_and_policies() {
    let mut signed = example_ledger().signed();
    for number in 1..=2 {
        let line = signed.cosign(&witness_key(number), COSIGNED_AT + u64::from(number)).unwrap();
        signed.add_cosignature(line).unwrap();
    }
    let stored = text_vector("ledger/checkpoint-cosigned", signed);
    let signed = SignedCheckpoint::parse(stored.as_bytes()).unwrap();

    let log = log_key().vkey();
    let alone = format!("log {log}\nquorum none\n");
    let [w1, w2, w3] = [1, 2, 3].map(|n| witness_key(n).vkey());
    let witnessed = format!(
        "# Essex's ledger, with two of three log witnesses\nlog {log} https://ledger.essex.example/ledger\n\n\
         witness w1 {w1} https://witness1.example/\nwitness w2 {w2}\nwitness w3 {w3}\n\
         group two-of-three 2 w1 w2 w3\nquorum two-of-three\n"
    );
    let unmet = witnessed.replace("two-of-three 2", "two-of-three all");
    for (name, made, accepted) in [
        ("log-alone", alone, true),
        ("two-of-three", witnessed, true),
        ("three-of-three", unmet, false),
    ] {
        let policy = Policy::parse(&vector(&format!("policies/{name}"), made.as_bytes())).unwrap();
        assert_eq!(policy.accept(&signed).is_ok(), accepted, "{name}");
        let fingerprint = text_vector(
            &format!("policies/{name}.fingerprint"),
            format!("{}\n", policy.fingerprint()),
        );
        assert_eq!(fingerprint.trim_end().parse::<Fingerprint>().unwrap(), policy.fingerprint());
    }
}

#[test]
fn receipt_and_its_text() {
    let stored = text_vector("proofs/receipt.tlog-proof", receipts::receipt());
    let receipt = Receipt::parse(stored.as_bytes()).unwrap();
    let proved = receipt.verify(&Policy::of_log(&log_key().vkey()).unwrap()).unwrap();
    assert_eq!((proved.entry.clone(), proved.leaf_index), (received().0, LeafIndex(RECEIVED)));
    vector("proofs/entry.json", receipt.entry_bytes());

    let origin = ORIGIN.parse().unwrap();
    let made = ReceiptText::from_entry(&origin, proved.leaf_index, &proved.entry, &proved.openings)
        .unwrap();
    let stored = text_vector("statements/receipt.txt", made.sign(&receipt_key()).unwrap());
    let note = SignedNote::parse(stored.as_bytes()).unwrap();
    assert!(ReceiptText::verify(&note, &[receipt_key().vkey()]).unwrap().agrees_with(&proved));
}

#[test]
fn quarantine_notice() {
    let (entry, openings) = receipts::quarantined();
    let origin = ORIGIN.parse().unwrap();
    let made =
        QuarantineNotice::from_entry(&origin, LeafIndex(RECEIVED), &entry, &openings).unwrap();
    let stored =
        text_vector("statements/quarantine-notice.txt", made.sign(&receipt_key()).unwrap());
    let note = SignedNote::parse(stored.as_bytes()).unwrap();
    assert_eq!(QuarantineNotice::verify(&note, &[receipt_key().vkey()]).unwrap(), made);
}

#[test]
fn progress_receipt() {
    let made = ProgressReceipt {
        ledger: ORIGIN.parse().unwrap(),
        upload: "0193a7c2-0000-7000-8000-0000000000aa".parse().unwrap(),
        held_bytes: 9,
        digests: Digests::of(&CLIP[..9]),
        at: "2026-11-22T18:04:05.000Z".parse().unwrap(),
    };
    let stored = text_vector("statements/progress-receipt.txt", made.sign(&receipt_key()).unwrap());
    let note = SignedNote::parse(stored.as_bytes()).unwrap();
    assert_eq!(ProgressReceipt::verify(&note, &[receipt_key().vkey()]).unwrap(), made);
}

#[test]
fn dock_manifest() {
    let made = manifest().sign(&agent_key()).unwrap();
    let stored = text_vector("statements/dock-manifest.txt", made);
    let signed = SignedManifest::parse(stored.as_bytes()).unwrap();
    assert_eq!(signed.verify(&[agent_key().vkey()]).unwrap(), &manifest());
    assert_eq!(signed.sha256(), chain_of_custody::digest::Sha256::of(stored.as_bytes()));
    assert!(signed.verify(&[receipt_key().vkey()]).is_err());
}

#[test]
fn heads() {
    let subjects = BTreeMap::from([
        (format!("item:{ITEM}").parse().unwrap(), Head { last: LeafIndex(RECEIVED), count: 1 }),
        ("force:essex".parse().unwrap(), Head { last: LeafIndex(259), count: 259 }),
    ]);
    let made = Heads::new(&example_ledger().checkpoint(), subjects).unwrap();
    let stored = text_vector("statements/heads.txt", made.sign(&bundle_key()).unwrap());
    let note = SignedNote::parse(stored.as_bytes()).unwrap();
    let heads = Heads::verify(&note, &[bundle_key().vkey()]).unwrap();
    assert_eq!(heads, made);
    assert_eq!(heads.checkpoint(), example_ledger().checkpoint());
}

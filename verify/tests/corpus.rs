//! Altered bundles, each a named case with the result, code and class that it must give, and what stays a match.
// A test that panics has failed: that is how they say so.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::PathBuf;

use chain_of_custody::bundle::{Contents, seal};
use chain_of_custody::command::Command;
use chain_of_custody::digest::{Digests, Sha256};
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::LeafIndex;
use chain_of_custody::note::SigningKey;
use chain_of_custody::policy::Fingerprint;
use chain_of_custody::receipt::Receipt;
use chain_of_custody::report::{Class, Code, Outcome, Report};
use common::{CLIP_1, CLIP_2, Ledger, Made, PROXY_1, bundle, bundle_with, write_all};
use exhibit_verify::VerifyArgs;

const HTML: &str = "READ-ME-FIRST.html";
const ENTRIES: &str = "evidence/ledger/entries.jsonl";
const OPENINGS: &str = "evidence/ledger/openings.jsonl";
const CHECKPOINT: &str = "evidence/ledger/checkpoint";
const MANIFEST: &str = "manifest-sha256.txt";

fn args(path: PathBuf) -> VerifyArgs {
    let (policy, fingerprint, file, since, ledger) = (None, None, None, None, None);
    VerifyArgs { path, policy, fingerprint, file, since, ledger, json: true, explain: false }
}

/// Checked with the force's policy, from elsewhere.
fn check(made: &Made) -> Report {
    let policy = Some(made.policy_path());
    exhibit_verify::report(&VerifyArgs { policy, ..args(made.path()) }).unwrap()
}

fn flip(made: &Made, path: &str, at: usize) {
    let mut bytes = fs::read(made.file(path)).unwrap();
    bytes[at] ^= 1;
    fs::write(made.file(path), bytes).unwrap();
}

fn replace(made: &Made, path: &str, from: &str, to: &str) {
    let text = fs::read_to_string(made.file(path)).unwrap();
    assert!(text.contains(from), "the case is about text that is there");
    fs::write(made.file(path), text.replacen(from, to, 1)).unwrap();
}

#[track_caller]
fn expect(report: &Report, result: Outcome, code: Code, class: Class) {
    assert_eq!(report.result, result, "{:#?}", report.findings);
    let found =
        report.findings.iter().any(|finding| finding.code == code && finding.class == class);
    assert!(found, "no {code} of class {class} in {:#?}", report.findings);
}

fn result_of(report: &Report, path: &str) -> Outcome {
    report.files.iter().find(|file| file.path == path).unwrap().result
}

#[track_caller]
fn footage_still_matches(report: &Report) {
    assert_eq!(result_of(report, CLIP_1), Outcome::Match, "{:#?}", report.findings);
    assert_eq!(result_of(report, CLIP_2), Outcome::Match, "{:#?}", report.findings);
}

#[test]
fn untouched() {
    for heads in [false, true] {
        let report = check(&bundle_with(heads));
        assert_eq!(report.findings, vec![]);
        assert_eq!(report.result, Outcome::Match);
        assert_eq!(report.files.len(), 3);
        assert!(
            report.rests_on[0].contains("nobody outside the force has confirmed"),
            "{report:?}"
        );
    }
}

#[test]
fn footage_byte_flipped() {
    let made = bundle();
    flip(&made, CLIP_1, 2 * 65_536 + 17);
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::FootageDiffers, Class::Footage);
    let finding = report.findings.iter().find(|f| f.code == Code::FootageDiffers).unwrap();
    assert_eq!(finding.byte_range, Some(2 * 65_536..3 * 65_536));
    assert_eq!(finding.path.as_deref(), Some(CLIP_1));
    assert_eq!(result_of(&report, CLIP_2), Outcome::Match, "the other clip is not touched by it");
}

/// The list of group values is in the sender's hand: what does not add up to the recorded digest locates nothing.
#[test]
fn outboard_that_does_not_add_up() {
    let made = bundle();
    flip(&made, CLIP_1, 2 * 65_536 + 17);
    let outboard = format!("evidence/outboards/{}.obao", common::item(1));
    let bytes = fs::read(made.file(&outboard)).unwrap();
    for wrong in [[&[1; 32], &bytes[32..]].concat(), bytes[32..].to_vec(), bytes[1..].to_vec()] {
        fs::write(made.file(&outboard), wrong).unwrap();
        made.reseal(&made.bundle_key);
        let report = check(&made);
        expect(&report, Outcome::Mismatch, Code::OutboardUnusable, Class::Record);
        let finding = report.findings.iter().find(|f| f.code == Code::FootageDiffers).unwrap();
        assert_eq!(finding.byte_range, None);
    }
}

#[test]
fn footage_cut_off_and_made_longer() {
    let made = bundle();
    let bytes = fs::read(made.file(CLIP_1)).unwrap();
    fs::write(made.file(CLIP_1), &bytes[..bytes.len() - 1]).unwrap();
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::FootageDiffers, Class::Footage);
    fs::write(made.file(CLIP_1), [&bytes[..], b"more"].concat()).unwrap();
    let report = check(&made);
    let finding = report.findings.iter().find(|f| f.code == Code::FootageDiffers).unwrap();
    assert_eq!(finding.byte_range, Some(300_000..300_004));
}

#[test]
fn every_byte_of_a_small_file_counts() {
    // One case per kind of file: a flipped byte anywhere in it is never a match.
    let made = bundle_with(true);
    let mut files = Vec::new();
    common::list(&made.path(), "", &mut files);
    let small = files.iter().filter(|(path, _)| !path.starts_with("data/"));
    for (path, bytes) in small {
        for at in (0..bytes.len()).step_by(bytes.len().div_ceil(6).max(1)) {
            flip(&made, path, at);
            let report = check(&made);
            // Line ends in the signature's armour carry nothing.
            let armour = path.ends_with(".sig") && bytes[at].is_ascii_whitespace();
            assert!(report.result != Outcome::Match || armour, "{path} at {at}");
            flip(&made, path, at);
        }
    }
    assert_eq!(check(&made).result, Outcome::Match, "and undone it is a match again");
}

#[test]
fn derivative_byte_flipped() {
    let made = bundle();
    flip(&made, PROXY_1, 9);
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::DerivativeDiffers, Class::Derivative);
    footage_still_matches(&report);
}

#[test]
fn derivative_of_another_original() {
    let made = common::bundle_whose_proxy_is_of(false, Some(b"some other clip"));
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::DerivativeOfAnother, Class::Derivative);
    assert_eq!(result_of(&report, PROXY_1), Outcome::Mismatch);
    footage_still_matches(&report);
}

#[test]
fn page_byte_flipped() {
    let made = bundle();
    flip(&made, HTML, 20);
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::ListDiffers, Class::Presentation);
    assert_eq!(report.findings.len(), 1);
    footage_still_matches(&report);
}

#[test]
fn entry_altered() {
    let made = bundle();
    replace(&made, ENTRIES, "\"at\":\"2026", "\"at\":\"2025");
    made.reseal(&made.bundle_key);
    expect(&check(&made), Outcome::Mismatch, Code::InclusionFails, Class::Record);
}

#[test]
fn entry_malformed() {
    let made = bundle();
    replace(&made, ENTRIES, "item.received", "item.invented");
    expect(&check(&made), Outcome::Mismatch, Code::EntryMalformed, Class::Record);
}

#[test]
fn opening_altered() {
    let made = bundle();
    replace(&made, OPENINGS, "\"value\":\"300000\"", "\"value\":\"300001\"");
    made.reseal(&made.bundle_key);
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::OpeningFails, Class::Record);
    assert_ne!(result_of(&report, CLIP_1), Outcome::Match);
}

#[test]
fn opening_withheld() {
    let made = bundle();
    let mut contents = made.contents.clone();
    contents.entries[1].openings.retain(|opening| opening.name.as_str() != "sha256");
    rewrite(&made, &contents);
    let report = check(&made);
    expect(&report, Outcome::CannotTell, Code::DigestWithheld, Class::Footage);
    assert_eq!(result_of(&report, CLIP_1), Outcome::CannotTell);
    assert_eq!(result_of(&report, CLIP_2), Outcome::Match);
}

/// Whoever signs the list vouches for what it says, not for what a file's name says.
#[test]
fn program_under_another_digest() {
    let made = bundle();
    let mut contents = made.contents.clone();
    contents.programs = vec![(Sha256::of(b"a program"), b"a program".to_vec())];
    rewrite(&made, &contents);
    assert_eq!(check(&made).result, Outcome::Match);
    contents.programs[0].1 = b"another".to_vec();
    rewrite(&made, &contents);
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::ProgramDiffers, Class::Record);
    footage_still_matches(&report);
}

/// As the force itself would write other contents, signed and all.
fn rewrite(made: &Made, contents: &Contents) {
    let files = contents.files().unwrap();
    write_all(&made.path(), &files);
    write_all(&made.path(), &seal(&files, &made.bundle_key).unwrap());
}

#[test]
fn proof_altered() {
    let made = bundle();
    let proof = "evidence/ledger/proofs/1.tlog-proof";
    replace(&made, proof, "index 1", "index 2");
    expect(&check(&made), Outcome::Mismatch, Code::ProofMalformed, Class::Record);
}

#[test]
fn proof_of_another_entry() {
    let made = bundle();
    let mut contents = made.contents.clone();
    contents.entries[1].proof.path[0].0[0] ^= 1;
    rewrite(&made, &contents);
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::InclusionFails, Class::Record);
    assert_eq!(result_of(&report, CLIP_1), Outcome::Mismatch);
}

#[test]
fn proof_dropped() {
    let made = bundle();
    fs::remove_file(made.file("evidence/ledger/proofs/1.tlog-proof")).unwrap();
    made.reseal(&made.bundle_key);
    let report = check(&made);
    expect(&report, Outcome::CannotTell, Code::ProofMissing, Class::Record);
    assert_eq!(result_of(&report, CLIP_1), Outcome::CannotTell);
}

#[test]
fn checkpoint_byte_flipped() {
    let made = bundle();
    let text = fs::read_to_string(made.file(CHECKPOINT)).unwrap();
    let signature = text.rfind(' ').unwrap() + 20;
    flip(&made, CHECKPOINT, signature);
    expect(&check(&made), Outcome::Mismatch, Code::CheckpointSignatureFails, Class::Signature);
}

#[test]
fn checkpoint_older() {
    let made = bundle();
    fs::write(made.file(CHECKPOINT), made.ledger.checkpoint(3).to_string()).unwrap();
    made.reseal(&made.bundle_key);
    expect(&check(&made), Outcome::Mismatch, Code::CheckpointDiffers, Class::Record);
}

#[test]
fn manifest_altered() {
    let made = bundle();
    let bytes = fs::read(made.file(MANIFEST)).unwrap();
    flip(&made, MANIFEST, if bytes[0] == b'f' { 1 } else { 0 });
    let report = check(&made);
    assert_eq!(report.result, Outcome::Mismatch);
    assert!(
        report
            .findings
            .iter()
            .any(|f| f.path.as_deref() == Some(MANIFEST) && f.class == Class::Record)
    );
    footage_still_matches(&report);
}

#[test]
fn two_files_swapped() {
    let made = bundle();
    fs::rename(made.file(CLIP_1), made.file("x")).unwrap();
    fs::rename(made.file(CLIP_2), made.file(CLIP_1)).unwrap();
    fs::rename(made.file("x"), made.file(CLIP_2)).unwrap();
    made.relist_payload();
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::FootageDiffers, Class::Footage);
    assert_eq!(report.files.iter().filter(|f| f.result == Outcome::Mismatch).count(), 2);
}

#[test]
fn file_dropped() {
    let made = bundle();
    fs::remove_file(made.file(CLIP_2)).unwrap();
    expect(&check(&made), Outcome::Mismatch, Code::FileMissing, Class::Footage);
}

/// Dropped everywhere, and all lists written again: the ledger recorded what left.
#[test]
fn item_dropped_and_lists_written_again() {
    let made = bundle();
    let mut contents = made.contents.clone();
    contents.items.items.pop();
    contents.payload.retain(|file| file.path != CLIP_2);
    fs::remove_file(made.file(CLIP_2)).unwrap();
    rewrite(&made, &contents);
    for path in ["evidence/receipts/", "evidence/outboards/"] {
        let extension = if path.contains("receipts") { "tlog-proof" } else { "obao" };
        fs::remove_file(made.file(&format!("{path}{}.{extension}", common::item(2)))).unwrap();
    }
    made.reseal(&made.bundle_key);
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::ExportDiffers, Class::Record);
    assert_eq!(report.findings.len(), 1, "nothing else shows it: {:#?}", report.findings);
}

#[test]
fn file_added() {
    let made = bundle();
    fs::write(made.file("data/originals/003-other.mp4"), b"other").unwrap();
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::FileUnlisted, Class::Footage);
    footage_still_matches(&report);
}

#[test]
fn file_renamed() {
    let made = bundle();
    fs::rename(made.file(CLIP_2), made.file("data/originals/002-other.mp4")).unwrap();
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::FileMissing, Class::Footage);
    expect(&report, Outcome::Mismatch, Code::FileUnlisted, Class::Footage);
}

#[test]
fn symlink() {
    let made = bundle();
    let elsewhere = made.folder.path().join("elsewhere");
    fs::rename(made.file(CLIP_2), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, made.file(CLIP_2)).unwrap();
    expect(&check(&made), Outcome::Mismatch, Code::Symlink, Class::Footage);
}

#[test]
fn policy_of_another_force() {
    let made = bundle();
    let other = made.folder.path().join("other-policy");
    fs::write(&other, Ledger::new(9).policy().as_bytes()).unwrap();
    let report =
        exhibit_verify::report(&VerifyArgs { policy: Some(other), ..args(made.path()) }).unwrap();
    expect(&report, Outcome::CannotTell, Code::CheckpointUntrusted, Class::Signature);
    assert!(report.files.iter().all(|file| file.result == Outcome::CannotTell));
}

#[test]
fn no_trust_given() {
    let made = bundle();
    let report = exhibit_verify::report(&args(made.path())).unwrap();
    expect(&report, Outcome::CannotTell, Code::PolicyUnconfirmed, Class::Signature);
    assert!(report.files.iter().all(|file| file.result == Outcome::CannotTell));
    flip(&made, CLIP_1, 5);
    let report = exhibit_verify::report(&args(made.path())).unwrap();
    expect(&report, Outcome::Mismatch, Code::FootageDiffers, Class::Footage);
}

#[test]
fn fingerprint_right_and_wrong() {
    let made = bundle();
    let right = made.ledger.policy().fingerprint();
    let with = |fingerprint: Fingerprint| {
        let fingerprint = Some(fingerprint.to_string());
        exhibit_verify::report(&VerifyArgs { fingerprint, ..args(made.path()) }).unwrap()
    };
    assert_eq!(with(right).result, Outcome::Match);
    let wrong = Ledger::new(9).policy().fingerprint();
    expect(&with(wrong), Outcome::CannotTell, Code::FingerprintDiffers, Class::Signature);
}

#[test]
fn policy_swapped_for_a_strangers() {
    let made = bundle();
    let stranger = Ledger::new(9).policy();
    fs::write(made.file("evidence/keys/claimed-by-sender/policy"), stranger.as_bytes()).unwrap();
    let right = Some(made.ledger.policy().fingerprint().to_string());
    let report =
        exhibit_verify::report(&VerifyArgs { fingerprint: right, ..args(made.path()) }).unwrap();
    expect(&report, Outcome::Mismatch, Code::FingerprintDiffers, Class::Signature);
    assert!(report.files.iter().all(|file| file.result == Outcome::CannotTell));
}

#[test]
fn unsigned() {
    let made = bundle();
    fs::remove_file(made.file("tagmanifest-sha256.txt.sig")).unwrap();
    let report = check(&made);
    expect(&report, Outcome::CannotTell, Code::SignatureMissing, Class::Signature);
    footage_still_matches(&report);
}

#[test]
fn signed_again_by_a_stranger() {
    let made = bundle();
    made.reseal(&SigningKey::from_seed("bundle.essex.example", [77; 32]).unwrap());
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::SignatureOtherKey, Class::Signature);
    footage_still_matches(&report);
}

#[test]
fn lists_written_again_without_signing() {
    let made = bundle();
    let signature = fs::read(made.file("tagmanifest-sha256.txt.sig")).unwrap();
    replace(&made, HTML, "Read me", "Read it");
    made.reseal(&made.bundle_key);
    fs::write(made.file("tagmanifest-sha256.txt.sig"), signature).unwrap();
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::SignatureFails, Class::Signature);
    footage_still_matches(&report);
}

/// Footage exchanged, every list written again and signed by a stranger: the ledger still knows.
#[test]
fn forged_copy_with_lists_written_again() {
    let made = bundle();
    flip(&made, CLIP_1, 1000);
    made.relist_payload();
    made.reseal(&SigningKey::from_seed("bundle.essex.example", [77; 32]).unwrap());
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::FootageDiffers, Class::Footage);
    expect(&report, Outcome::Mismatch, Code::ExportDiffers, Class::Record);
    expect(&report, Outcome::Mismatch, Code::SignatureOtherKey, Class::Signature);
}

#[test]
fn receipt_of_another_item() {
    let made = bundle();
    let receipt =
        |number| made.file(&format!("evidence/receipts/{}.tlog-proof", common::item(number)));
    fs::copy(receipt(2), receipt(1)).unwrap();
    made.reseal(&made.bundle_key);
    let report = check(&made);
    expect(&report, Outcome::Mismatch, Code::ReceiptDiffers, Class::Record);
    footage_still_matches(&report);
}

#[test]
fn entry_of_a_sequence_left_out() {
    let made = bundle_with(true);
    let mut contents = made.contents.clone();
    let derived = contents.items.items[0].derivatives.remove(0);
    contents.entries.retain(|entry| entry.index != derived.entry);
    rewrite(&made, &contents);
    fs::remove_file(made.file(&format!("evidence/ledger/proofs/{}.tlog-proof", derived.entry)))
        .unwrap();
    made.reseal(&made.bundle_key);
    expect(&check(&made), Outcome::Mismatch, Code::Gap, Class::Record);
}

#[test]
fn items_relabelled() {
    let made = bundle();
    let mut contents = made.contents.clone();
    let (one, two) = (contents.items.items[0].item, contents.items.items[1].item);
    (contents.items.items[0].item, contents.items.items[1].item) = (two, one);
    rewrite(&made, &contents);
    expect(&check(&made), Outcome::Mismatch, Code::ItemListContradicts, Class::Record);
}

#[test]
fn not_a_bundle() {
    let empty = tempfile::tempdir().unwrap();
    let report = exhibit_verify::report(&args(empty.path().to_owned())).unwrap();
    expect(&report, Outcome::CannotTell, Code::NotABundle, Class::Record);
}

#[test]
fn receipt_alone_and_beside_its_clip() {
    let made = bundle();
    let receipt = made.file(&format!("evidence/receipts/{}.tlog-proof", common::item(1)));
    let policy = Some(made.policy_path());
    let with = |file: Option<PathBuf>| {
        exhibit_verify::report(&VerifyArgs {
            policy: policy.clone(),
            file,
            ..args(receipt.clone())
        })
        .unwrap()
    };
    assert_eq!(with(None).result, Outcome::Match);
    assert_eq!(with(Some(made.file(CLIP_1))).result, Outcome::Match);
    expect(&with(Some(made.file(CLIP_2))), Outcome::Mismatch, Code::FileDiffers, Class::Footage);
    let unknown = exhibit_verify::report(&args(receipt.clone())).unwrap();
    expect(&unknown, Outcome::CannotTell, Code::PolicyMissing, Class::Signature);
}

/// The log's key signed two histories of one length. Each holds by itself; together they cannot both be the ledger.
#[test]
fn receipt_of_another_history() {
    let made = bundle();
    let mut fork = Ledger::new(1);
    fork.entries = made.ledger.entries.clone();
    fork.entries[3] = fork.entries[2].clone();
    let path = format!("evidence/receipts/{}.tlog-proof", common::item(1));
    let of = |ledger: &Ledger| {
        let receipt = ledger.receipt(made.contents.items.items[0].entry, common::ALLOWED);
        fs::write(made.file(&path), receipt.to_string()).unwrap();
        made.reseal(&made.bundle_key);
        check(&made)
    };
    let report = of(&fork);
    expect(&report, Outcome::Mismatch, Code::RootsDiffer, Class::Record);
    assert_eq!(report.findings.len(), 1, "nothing else shows it: {:#?}", report.findings);
    assert_eq!(report.findings[0].path.as_deref(), Some(path.as_str()));
    // Without anybody's policy the bundle still contradicts itself.
    let alone = exhibit_verify::report(&args(made.path())).unwrap();
    expect(&alone, Outcome::Mismatch, Code::RootsDiffer, Class::Record);
    assert_eq!(of(&made.ledger).result, Outcome::Match, "under the bundle's own it is a match");
}

/// The same between two proofs, when the bundle's own checkpoint is a third.
#[test]
fn proof_of_another_history() {
    let made = bundle();
    let mut fork = Ledger::new(1);
    fork.entries = made.ledger.entries.clone();
    fork.entries[3] = fork.entries[2].clone();
    let proof = fork.proof(LeafIndex(1), fork.entries.len() as u64);
    fs::write(made.file("evidence/ledger/proofs/1.tlog-proof"), proof.to_string()).unwrap();
    made.reseal(&made.bundle_key);
    expect(&check(&made), Outcome::Mismatch, Code::RootsDiffer, Class::Record);
}

#[test]
fn receipt_of_another_ledger() {
    let made = bundle();
    let mut other = Ledger::of("ledger.kent.example", 1);
    other.entries = made.ledger.entries.clone();
    let receipt = other.receipt(made.contents.items.items[0].entry, common::ALLOWED);
    let path = format!("evidence/receipts/{}.tlog-proof", common::item(1));
    fs::write(made.file(&path), receipt.to_string()).unwrap();
    made.reseal(&made.bundle_key);
    expect(&check(&made), Outcome::Mismatch, Code::ReceiptDiffers, Class::Record);
}

/// The same recording came twice: the receipt of the second arrival is for the bytes of the first.
#[test]
fn receipt_of_a_duplicate() {
    let mut made = bundle();
    let digests = Digests::of(&made.payload[0].1);
    let command = Command::new(EventKind::ItemDuplicate, common::event(40))
        .touching(common::item(1))
        .field(field::SHA256, digests.sha256.to_string(), common::salt(40))
        .field(field::BLAKE3, digests.blake3.to_string(), common::salt(41))
        .field(field::SIZE_BYTES, made.payload[0].1.len().to_string(), common::salt(42));
    let index = made.ledger.append(command);
    let with = receipt_beside(&made, &made.ledger.receipt(index, common::ALLOWED));
    for path in [None, Some(CLIP_1)] {
        let report = with(path);
        assert_eq!((report.result, &report.findings), (Outcome::Match, &vec![]), "{path:?}");
    }
    expect(&with(Some(CLIP_2)), Outcome::Mismatch, Code::FileDiffers, Class::Footage);
}

#[test]
fn receipt_of_another_kind_of_entry() {
    let made = bundle();
    let derived = made.contents.items.items[0].derivatives[0].entry;
    let with = receipt_beside(&made, &made.ledger.receipt(derived, common::ALLOWED));
    expect(&with(Some(PROXY_1)), Outcome::Mismatch, Code::ReceiptDiffers, Class::Record);
}

/// Only a receipt that says so in the open is one for bytes that are held.
#[test]
fn receipt_that_does_not_say_stored() {
    let mut made = bundle();
    let allowed: Vec<&str> =
        common::ALLOWED.iter().copied().filter(|name| *name != field::STATE).collect();
    let withheld = made.ledger.receipt(made.contents.items.items[0].entry, &allowed);
    let digests = Digests::of(&made.payload[0].1);
    for kind in [EventKind::ItemReceived, EventKind::ItemDuplicate] {
        let command = Command::new(kind, common::event(43 + made.ledger.entries.len() as u8))
            .touching(common::item(1))
            .field(field::SHA256, digests.sha256.to_string(), common::salt(43))
            .field(field::BLAKE3, digests.blake3.to_string(), common::salt(44))
            .field(field::SIZE_BYTES, made.payload[0].1.len().to_string(), common::salt(45))
            .field(field::STATE, "quarantined", common::salt(46));
        made.ledger.append(command);
    }
    let last = made.ledger.entries.len() as u64 - 1;
    let aside = [last - 1, last].map(|n| made.ledger.receipt(LeafIndex(n), common::ALLOWED));
    let hidden = made.ledger.receipt(LeafIndex(last), &allowed);
    for receipt in [withheld, hidden].iter().chain(&aside) {
        let with = receipt_beside(&made, receipt);
        for path in [None, Some(CLIP_1)] {
            let report = with(path);
            expect(&report, Outcome::CannotTell, Code::NotStored, Class::Record);
            assert_eq!(report.files[0].result, Outcome::CannotTell);
        }
    }
}

/// Checks a receipt on its own, or beside a file of the bundle.
fn receipt_beside<'a>(made: &'a Made, receipt: &Receipt) -> impl Fn(Option<&str>) -> Report + 'a {
    let path = made.folder.path().join("single.tlog-proof");
    fs::write(&path, receipt.to_string()).unwrap();
    move |file| {
        let (policy, file) = (Some(made.policy_path()), file.map(|file| made.file(file)));
        exhibit_verify::report(&VerifyArgs { policy, file, ..args(path.clone()) }).unwrap()
    }
}

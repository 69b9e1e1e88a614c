//! What a bundle carries of its ledger so that earlier things can be held against it: hash tiles, time stamps, notes about
//! replaced keys.
// A test that panics has failed: that is how they say so.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::PathBuf;

use chain_of_custody::bundle::{Contents, carried_tiles, seal};
use chain_of_custody::checkpoint::{Origin, SignedCheckpoint};
use chain_of_custody::command::Command;
use chain_of_custody::digest::Sha256;
use chain_of_custody::event::EventKind;
use chain_of_custody::ids::{LeafIndex, SubjectId, SubjectKind, TreeSize};
use chain_of_custody::merkle::leaf_hash;
use chain_of_custody::note::{Signer as _, SigningKey};
use chain_of_custody::policy::Policy;
use chain_of_custody::report::{Code, Outcome, Report};
use chain_of_custody::rotation::{KeyRole, PUBLIC_NOTE, Rotation};
use chain_of_custody::tile::TileEdge;
use common::{Ledger, Made, ORIGIN, bundle, write_all};
use exhibit_verify::VerifyArgs;

/// A bundle that carries these files of its ledger.
fn carrying(files: Vec<(String, Vec<u8>)>) -> Made {
    let made = bundle();
    let contents = Contents { ledger_files: files, ..made.contents.clone() };
    rewrite(&made, &contents);
    made
}

fn rewrite(made: &Made, contents: &Contents) {
    let files = contents.files().unwrap();
    write_all(&made.path(), &files);
    write_all(&made.path(), &seal(&files, &made.bundle_key).unwrap());
}

/// The tiles of the first `size` entries.
fn tiles(ledger: &Ledger, size: u64) -> Vec<(String, Vec<u8>)> {
    let mut edge = TileEdge::new();
    for (bytes, _) in &ledger.entries[..size as usize] {
        edge.append(leaf_hash(bytes));
    }
    let made = edge.take_writes().into_iter().map(|tile| (tile.path.to_string(), tile.bytes));
    let made: Vec<_> = made.collect();
    let names: Vec<_> =
        carried_tiles(TreeSize(size), &[]).iter().map(ToString::to_string).collect();
    assert_eq!(made.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
    made
}

fn args(made: &Made) -> VerifyArgs {
    let (policy, path) = (Some(made.policy_path()), made.path());
    let (fingerprint, file, since, ledger) = (None, None, None, None);
    VerifyArgs { path, policy, fingerprint, file, since, ledger, json: true, explain: false }
}

fn check(made: &Made) -> Report {
    exhibit_verify::report(&args(made)).unwrap()
}

fn since(made: &Made, slip: &SignedCheckpoint) -> Report {
    let path = made.folder.path().join("slip");
    fs::write(&path, slip.to_string()).unwrap();
    exhibit_verify::report(&VerifyArgs { since: Some(path), ..args(made) }).unwrap()
}

#[track_caller]
fn expect(report: &Report, result: Outcome, codes: &[Code]) {
    let found: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!((report.result, found.as_slice()), (result, codes), "{report:#?}");
}

/// The same first entry, then others: signed by the same key.
fn fork(made: &Made, size: u64) -> Ledger {
    let mut other = Ledger::new(1);
    other.entries.push(made.ledger.entries[0].clone());
    for number in 1..size as u8 {
        common::received(&mut other, number + 100, b"other footage");
    }
    other
}

#[test]
fn a_slip_is_held_against_the_tiles_of_a_bundle() {
    let plain = bundle();
    let size = plain.ledger.entries.len() as u64;
    let made = carrying(tiles(&plain.ledger, size));
    expect(&check(&made), Outcome::Match, &[]);
    for earlier in 1..=size {
        expect(&since(&made, &made.ledger.checkpoint(earlier)), Outcome::Match, &[]);
    }
    let forked = fork(&made, size).checkpoint(size - 1);
    expect(&since(&made, &forked), Outcome::Mismatch, &[Code::SlipContradicted]);
    let without = since(&plain, &plain.ledger.checkpoint(size - 1));
    expect(&without, Outcome::CannotTell, &[Code::SlipUnproved]);
}

/// A `TimeStampResp` of the least that one has; who signed it is nobody's business here.
fn answer(imprint: &Sha256) -> Vec<u8> {
    let value = |tag: u8, content: &[u8]| [&[tag, content.len() as u8][..], content].concat();
    let algorithm =
        [0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00];
    let imprint = value(0x30, &[&algorithm[..], &value(0x04, imprint.as_bytes())].concat());
    let info = [
        value(0x02, &[1]),
        value(0x06, &[0x2a, 3]),
        imprint,
        value(0x02, &[7]),
        value(0x18, b"20261122180405Z"),
    ];
    let info = value(0x30, &info.concat());
    let content_type = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
    let content = [value(0x06, &content_type), value(0xa0, &value(0x04, &info))].concat();
    let signed = [value(0x02, &[3]), value(0x31, &[]), value(0x30, &content)].concat();
    let signed_data = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
    let token = [value(0x06, &signed_data), value(0xa0, &value(0x30, &signed))].concat();
    let status = value(0x30, &value(0x02, &[0]));
    let body = [status, value(0x30, &token)].concat();
    [&[0x30, 0x81, body.len() as u8][..], &body].concat()
}

/// The tiles, and a stamp of `checkpoint` with this answer.
fn stamped(checkpoint: &str, answer: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let ledger = bundle().ledger;
    let mut files = tiles(&ledger, ledger.entries.len() as u64);
    files.push(("stamps/3-0011223344556677.checkpoint".into(), checkpoint.into()));
    files.push(("stamps/3-0011223344556677.tsr".into(), answer));
    files
}

fn answer_for(checkpoint: &str) -> Vec<u8> {
    answer(&Sha256::of(checkpoint.as_bytes()))
}

#[test]
fn a_stamp_says_its_time_and_who_has_to_be_asked_about_it() {
    let earlier = bundle().ledger.checkpoint(3).to_string();
    let report = check(&carrying(stamped(&earlier, answer_for(&earlier))));
    expect(&report, Outcome::Match, &[]);
    let said = report.rests_on.join("; ");
    for part in
        ["2026-11-22T18:04:05.000Z", "first 3 entries", "not checked here", "openssl ts -verify"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn stamps_that_are_something_else() {
    let ledger = bundle().ledger;
    let good = ledger.checkpoint(3).to_string();
    let with = |checkpoint: &str, answer: Vec<u8>| check(&carrying(stamped(checkpoint, answer)));
    let other = ledger.checkpoint(2).to_string();
    expect(&with(&good, answer_for(&other)), Outcome::Mismatch, &[Code::StampDiffers]);
    expect(&with(&good, b"no answer".to_vec()), Outcome::Mismatch, &[Code::StampMalformed]);
    expect(&with("no\n", answer_for("no\n")), Outcome::Mismatch, &[Code::StampMalformed]);
    let stranger = Ledger::new(9);
    let theirs = ledger.checkpoint(3).unverified().sign(&stranger.log_key).unwrap().to_string();
    expect(&with(&theirs, answer_for(&theirs)), Outcome::CannotTell, &[Code::StampUntrusted]);
    let forked = fork(&bundle(), 4).checkpoint(3).to_string();
    let report = with(&forked, answer_for(&forked));
    expect(&report, Outcome::Mismatch, &[Code::StampContradicted]);
    assert!(!report.rests_on.join("; ").contains("time stamp"), "nothing rests on it");

    let mut no_tiles = stamped(&good, answer_for(&good));
    no_tiles.retain(|(path, _)| path.starts_with("stamps/"));
    expect(&check(&carrying(no_tiles)), Outcome::CannotTell, &[Code::StampUnproved]);
    for gone in [".tsr", ".checkpoint"] {
        let mut files = stamped(&good, answer_for(&good));
        files.retain(|(path, _)| !path.ends_with(gone));
        expect(&check(&carrying(files)), Outcome::Mismatch, &[Code::StampMalformed]);
    }
}

/// A bundle made when `key.rotated` said that `old` was replaced by `new`, with `note` in it.
fn with_rotation(role: KeyRole, note: &str) -> Made {
    let mut made = bundle();
    let subject = SubjectId::new(SubjectKind::Key, "old").unwrap();
    let command = Command::new(EventKind::KeyRotated, common::event(70))
        .touching(subject)
        .public("role", role.as_str())
        .public(PUBLIC_NOTE, note);
    let rotated = made.ledger.append(command);
    let size = made.ledger.entries.len() as u64;
    let mut indexes: Vec<LeafIndex> = made.contents.entries.iter().map(|e| e.index).collect();
    indexes.push(rotated);
    let entries: Vec<_> =
        indexes.iter().map(|i| made.ledger.disclose(*i, size, common::ALLOWED)).collect();
    let checkpoint = made.ledger.checkpoint(size).to_string();
    let contents = Contents { entries, checkpoint, ..made.contents.clone() };
    rewrite(&made, &contents);
    made
}

fn note(role: KeyRole, old: &SigningKey, new: &SigningKey) -> String {
    let at = "2026-11-22T18:04:05.000Z".parse().unwrap();
    let origin = Origin::new(ORIGIN).unwrap();
    Rotation::sign(&origin, role, old, new, at).unwrap().to_string()
}

fn log(seed: u8) -> SigningKey {
    SigningKey::from_seed(ORIGIN, [seed; 32]).unwrap()
}

#[test]
fn an_entry_about_a_replaced_key_must_hold_its_note() {
    // The ledger's own key is the one of seed 1; it took the place of another.
    let good = note(KeyRole::Log, &log(8), &log(1));
    let made = with_rotation(KeyRole::Log, &good);
    expect(&check(&made), Outcome::Match, &[]);
    for wrong in [good.replace("18:04", "18:05"), String::new()] {
        let report = check(&with_rotation(KeyRole::Log, &wrong));
        expect(&report, Outcome::Mismatch, &[Code::RotationFails]);
    }
    let other_role = check(&with_rotation(KeyRole::Receipt, &good));
    expect(&other_role, Outcome::Mismatch, &[Code::RotationFails]);
}

#[test]
fn an_older_policy_or_fingerprint_leads_to_the_key_in_use() {
    let made = with_rotation(KeyRole::Log, &note(KeyRole::Log, &log(8), &log(1)));
    let older = Policy::of_log(&log(8).vkey()).unwrap();
    let path: PathBuf = made.folder.path().join("older");
    fs::write(&path, older.as_bytes()).unwrap();
    let by_policy = VerifyArgs { policy: Some(path), ..args(&made) };
    let fingerprint = Some(older.fingerprint().to_string());
    let by_fingerprint = VerifyArgs { policy: None, fingerprint, ..args(&made) };
    for args in [by_policy, by_fingerprint] {
        let report = exhibit_verify::report(&args).unwrap();
        expect(&report, Outcome::Match, &[]);
        let now = made.ledger.policy().fingerprint().to_string();
        assert!(report.rests_on.join("; ").contains(&now), "{report:#?}");
    }
    let elsewhere = Policy::of_log(&log(7).vkey()).unwrap().fingerprint();
    let fingerprint = Some(elsewhere.to_string());
    let args = VerifyArgs { policy: None, fingerprint, ..args(&made) };
    let report = exhibit_verify::report(&args).unwrap();
    assert_eq!(report.result, Outcome::CannotTell);
    assert!(report.findings.iter().any(|f| f.code == Code::FingerprintDiffers), "{report:#?}");
}

/// The list of files is signed with a key that a new one had replaced before this hand-over.
#[test]
fn a_replaced_bundle_key_signs_no_hand_over() {
    let made = bundle();
    let old = &made.bundle_key;
    let new = SigningKey::from_seed(old.name(), [77; 32]).unwrap();
    let replaced = made.ledger.entries.len() as u64;
    let after = with_rotation(KeyRole::Bundle, &note(KeyRole::Bundle, old, &new));
    expect(&check(&after), Outcome::Match, &[]);
    // The same entry, and a hand-over that comes after it.
    let items = chain_of_custody::bundle::BundleItems {
        export: Some(LeafIndex(replaced + 1)),
        ..after.contents.items.clone()
    };
    let mut later = after;
    let digest = later.ledger.entries[replaced as usize - 1].1.clone();
    let mut command = Command::new(EventKind::BundleExported, common::event(71));
    for opening in digest {
        command = command.field(opening.name.as_str(), opening.value, opening.salt);
    }
    let export = later.ledger.append(command);
    assert_eq!(export, LeafIndex(replaced + 1));
    let size = later.ledger.entries.len() as u64;
    let indexes = (0..size).map(LeafIndex);
    let entries: Vec<_> =
        indexes.map(|index| later.ledger.disclose(index, size, common::ALLOWED)).collect();
    let checkpoint = later.ledger.checkpoint(size).to_string();
    let contents = Contents { items, entries, checkpoint, ..later.contents.clone() };
    rewrite(&later, &contents);
    expect(&check(&later), Outcome::CannotTell, &[Code::SignatureUnknownKey]);
}

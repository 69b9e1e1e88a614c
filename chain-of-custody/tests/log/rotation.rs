//! A log whose key was replaced: what was signed before still verifies, by whom it may be followed, and what is refused.

use chain_of_custody::bundle::{
    LaterLedger, ReceiptFile, Tiles, Trust, check_ledger, check_receipt,
};
use chain_of_custody::checkpoint::Origin;
use chain_of_custody::note::{Signer as _, SigningKey};
use chain_of_custody::policy::Policy;
use chain_of_custody::receipt::Receipt;
use chain_of_custody::report::{Code, Outcome, Report};
use chain_of_custody::rotation::{KeyRole, Rotation, Succession};
use chain_of_custody::tile::TilePath;

use crate::common::{
    EXAMPLE_SIZE, MemoryLedger, ORIGIN, RECEIVED, example_ledger, log_key, received, seed,
    witness_key,
};

/// The size of the ledger when its key was replaced.
const REPLACED_AT: u64 = 200;

pub(crate) fn second_log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, seed("test log, second")).unwrap()
}

/// The note that vectors and judges share.
pub(crate) fn note() -> String {
    note_between(&log_key(), &second_log_key())
}

fn note_between(old: &SigningKey, new: &SigningKey) -> String {
    let (origin, at) = (Origin::new(ORIGIN).unwrap(), "2026-11-22T18:04:05.000Z".parse().unwrap());
    Rotation::sign(&origin, KeyRole::Log, old, new, at).unwrap().to_string()
}

fn succession(notes: &[String]) -> Succession {
    Succession::of(notes.iter().map(|note| Rotation::read(note.as_bytes()).unwrap()))
}

fn policy_of(key: &SigningKey) -> Policy {
    Policy::of_log(&key.vkey()).unwrap()
}

/// The receipt that the dock got, under the first key.
fn early_receipt() -> Receipt {
    let ledger = example_ledger();
    let proof = ledger.prove(RECEIVED, REPLACED_AT);
    let signed = ledger.checkpoint_at(REPLACED_AT).sign(&log_key()).unwrap();
    Receipt::build(&ledger.entries[RECEIVED as usize], &received().1, proof, signed).unwrap()
}

/// Checks the early receipt against `policy`, beside a later ledger under the second key.
fn check(policy: &Policy, receipt: &Receipt, later: Option<&LaterLedger<'_>>) -> Report {
    let (bytes, trust) = (receipt.to_string(), Trust::Policy(policy.as_bytes().to_vec()));
    let file = ReceiptFile { path: "receipt", bytes: bytes.as_bytes(), file: None };
    check_receipt(&file, &trust, later)
}

fn check_later(ledger: &MemoryLedger, notes: &[String], tiles: &Tiles<'_>) -> Report {
    let head = ledger.checkpoint().sign(&second_log_key()).unwrap().to_string();
    let rotations = notes.iter().map(|note| note.as_bytes().to_vec()).collect();
    let later = LaterLedger { checkpoint: head.as_bytes(), rotations, tiles };
    check(&policy_of(&second_log_key()), &early_receipt(), Some(&later))
}

#[track_caller]
fn expect(report: &Report, result: Outcome, codes: &[Code]) {
    let found: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!((report.result, found.as_slice()), (result, codes), "{report:#?}");
}

#[test]
fn a_receipt_from_before_verifies_beside_a_later_ledger_and_only_there() {
    let ledger = example_ledger();
    let fetch = |path: &TilePath| ledger.fetch(path).ok();
    let notes = [note()];
    let now = policy_of(&second_log_key());
    let report = check_later(ledger, &notes, &fetch);
    expect(&report, Outcome::Match, &[]);
    assert!(report.rests_on.iter().any(|said| said.contains("earlier key")), "{report:#?}");

    let alone = check(&now, &early_receipt(), None);
    expect(&alone, Outcome::CannotTell, &[Code::CheckpointUntrusted]);
    assert!(alone.findings[0].message.contains("--ledger"), "it says what to do: {alone:#?}");
    let without_note = check_later(ledger, &[], &fetch);
    expect(&without_note, Outcome::CannotTell, &[Code::CheckpointUntrusted]);
    let without_tiles = check_later(ledger, &notes, &|_| None);
    expect(&without_tiles, Outcome::CannotTell, &[Code::CheckpointRetired]);
    let stranger = SigningKey::from_seed(ORIGIN, seed("another log")).unwrap();
    let by_stranger = [note_between(&stranger, &second_log_key())];
    expect(
        &check_later(ledger, &by_stranger, &fetch),
        Outcome::CannotTell,
        &[Code::CheckpointUntrusted],
    );
    let before = check(&policy_of(&log_key()), &early_receipt(), None);
    expect(&before, Outcome::Match, &[]);
}

/// The first key was stolen and signed another history; the ledger under the second one does not begin with it.
#[test]
fn another_history_by_the_replaced_key_is_a_contradiction() {
    let truth = example_ledger();
    let other = MemoryLedger::of((0..EXAMPLE_SIZE).map(|index| match index {
        RECEIVED => truth.entries[RECEIVED as usize].clone(),
        _ => format!("another entry {index}").into_bytes(),
    }));
    let fetch = |path: &TilePath| other.fetch(path).ok();
    expect(&check_later(&other, &[note()], &fetch), Outcome::Mismatch, &[Code::RootsDiffer]);
}

#[test]
fn the_quorum_confirms_what_a_replaced_key_signed() {
    let witnesses = [witness_key(1).vkey(), witness_key(2).vkey()];
    let policy = |quorum| Policy::of_force(&second_log_key().vkey(), &witnesses, quorum).unwrap();
    let early = early_receipt();
    let mut signed = early.proof().checkpoint.clone();
    signed.set_cosignature(signed.cosign(&witness_key(1), 1_795_370_700).unwrap()).unwrap();
    let (entry, proof) = (early.entry_bytes(), early.proof().inclusion());
    let cosigned = Receipt::build(entry, &received().1, proof, signed).unwrap();
    let report = check(&policy(1), &cosigned, None);
    expect(&report, Outcome::Match, &[]);
    assert_eq!(report.rests_on, ["1 of 2 log witnesses (witness1.example)"]);
    let refused = [(policy(1), &early), (policy(2), &cosigned), (policy(0), &cosigned)];
    for (policy, receipt) in refused {
        expect(&check(&policy, receipt, None), Outcome::CannotTell, &[Code::CheckpointUntrusted]);
    }
    let elsewhere = SigningKey::from_seed("ledger.kent.example", seed("k")).unwrap().vkey();
    let elsewhere = Policy::of_force(&elsewhere, &witnesses, 1).unwrap();
    expect(&check(&elsewhere, &cosigned, None), Outcome::CannotTell, &[Code::CheckpointUntrusted]);
}

#[test]
fn whoever_knows_the_old_key_is_led_to_the_new_one() {
    let ledger = example_ledger();
    let head = ledger.checkpoint().sign(&second_log_key()).unwrap().to_string();
    let early = ledger.checkpoint_at(REPLACED_AT).sign(&log_key()).unwrap().to_string();
    let tiles = |path: &TilePath| ledger.fetch(path).ok();
    let since = |key: &SigningKey, notes: &[String]| {
        let rotations = notes.iter().map(|note| note.as_bytes().to_vec()).collect();
        let later = LaterLedger { checkpoint: head.as_bytes(), rotations, tiles: &tiles };
        check_ledger(&later, early.as_bytes(), &Trust::Policy(policy_of(key).as_bytes().to_vec()))
    };
    for key in [log_key(), second_log_key()] {
        expect(&since(&key, &[note()]), Outcome::Match, &[]);
    }
    let said = since(&log_key(), &[note()]).rests_on.join("; ");
    assert!(said.contains(&policy_of(&second_log_key()).fingerprint().to_string()), "{said}");
    let without = since(&log_key(), &[]);
    expect(&without, Outcome::CannotTell, &[Code::CheckpointUntrusted]);

    let thief = SigningKey::from_seed(ORIGIN, seed("thief")).unwrap();
    let two = since(&log_key(), &[note(), note_between(&log_key(), &thief)]);
    let codes = [Code::RotationContradicted, Code::CheckpointUntrusted];
    expect(&two, Outcome::Mismatch, &codes);
    let broken = since(&log_key(), &[note().replace("18:04", "18:05")]);
    expect(&broken, Outcome::Mismatch, &[Code::RotationFails, Code::CheckpointUntrusted]);
}

#[test]
fn a_policy_changes_in_its_key_and_nothing_else() {
    let third = SigningKey::from_seed(ORIGIN, seed("test log, third")).unwrap();
    let notes = succession(&[note_between(&second_log_key(), &third), note()]);
    let of = |key: &SigningKey| {
        let text = format!("# ours\nlog {} https://x.example\nquorum none\n", key.vkey());
        Policy::parse(text.as_bytes()).unwrap()
    };
    assert_eq!(of(&log_key()).after(&notes), of(&third));
    assert_eq!(of(&third).after(&notes), of(&third));
    for key in [log_key(), second_log_key()] {
        let found = of(&third).predecessor(&notes, of(&key).fingerprint());
        assert_eq!(found, Some(of(&key)));
    }
    let other = policy_of(&log_key()).fingerprint();
    assert_eq!(of(&third).predecessor(&notes, other), None, "another file");
    assert_eq!(of(&log_key()).predecessor(&notes, of(&third).fingerprint()), None, "not backwards");
}

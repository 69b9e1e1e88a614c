//! The log witness protocol: every answer by name, and that no history but one is ever cosigned.

use chain_of_custody::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use chain_of_custody::ids::TreeSize;
use chain_of_custody::log_witness::{
    AddCheckpoint, Answer, BadAnswer, Heard, MAX_REQUEST_BYTES, Refused, SIZE_CONTENT_TYPE, decide,
    read_answer,
};
use chain_of_custody::merkle::{ConsistencyProof, EMPTY_ROOT, Hash};
use chain_of_custody::note::{Signer, SigningKey, VerifierKey};
use chain_of_custody::policy::{Policy, PolicyRefusal};
use proptest::prelude::*;

use crate::common::{MemoryLedger, ORIGIN, log_key, seed, witness_key};

const TIME: u64 = 1_795_370_700;

/// Entries that both histories share, and after them those of one history.
fn history(shared: u64, own: u64, name: &str) -> MemoryLedger {
    let common = (0..shared).map(|i| format!("entry {i}").into_bytes());
    let own = (shared..shared + own).map(|i| format!("{name} {i}").into_bytes());
    MemoryLedger::of(common.chain(own))
}

fn request(ledger: &MemoryLedger, old: u64) -> AddCheckpoint {
    let proof = ledger.prove_growth(old, ledger.size().0);
    AddCheckpoint::new(proof, ledger.signed()).unwrap()
}

fn trusted() -> Vec<VerifierKey> {
    vec![log_key().vkey()]
}

#[test]
fn every_answer_of_the_protocol() {
    let ledger = history(11, 0, "");
    let held = ledger.checkpoint_at(6);
    let good = request(&ledger, 6);
    assert_eq!(decide(&good, &trusted(), Some(&held)), Ok(()));
    assert_eq!(decide(&request(&ledger, 0), &trusted(), None), Ok(()), "never cosigned before");
    let again = request(&ledger, 11);
    assert_eq!(decide(&again, &trusted(), Some(&ledger.checkpoint())), Ok(()), "the same again");

    let unknown = decide(&good, &[], Some(&held)).unwrap_err();
    assert_eq!((unknown.status(), unknown.is_evidence()), (404, false));
    let stranger = SigningKey::from_seed(ORIGIN, seed("another log")).unwrap().vkey();
    let untrusted = decide(&good, &[stranger], Some(&held)).unwrap_err();
    assert_eq!((untrusted.status(), untrusted.is_evidence()), (403, false));
    let beyond = AddCheckpoint { old: TreeSize(12), ..good.clone() };
    assert_eq!(decide(&beyond, &trusted(), Some(&held)), Err(Refused::OldBeyond));
    assert_eq!(Refused::OldBeyond.status(), 400);
    let stale = decide(&request(&ledger, 5), &trusted(), Some(&held)).unwrap_err();
    assert_eq!(stale, Refused::Conflict { held: TreeSize(6) });
    assert_eq!((stale.status(), stale.is_evidence()), (409, false));
    let conflict = decide(&good, &trusted(), None).unwrap_err();
    assert_eq!(conflict, Refused::Conflict { held: TreeSize(0) });

    let other = history(5, 6, "other").checkpoint();
    let fork = decide(&again, &trusted(), Some(&other)).unwrap_err();
    assert_eq!(fork, Refused::OtherRoot { size: TreeSize(11) });
    assert_eq!((fork.status(), fork.is_evidence()), (422, true));
    let mut unproven = good.clone();
    unproven.path.pop();
    let unproven = decide(&unproven, &trusted(), Some(&held)).unwrap_err();
    assert_eq!((unproven.status(), unproven.is_evidence()), (422, true));
    let with_old_zero = AddCheckpoint { old: TreeSize(0), ..good };
    assert_eq!(decide(&with_old_zero, &trusted(), None).unwrap_err().status(), 422);
}

#[test]
fn an_empty_ledger_is_cosigned_and_grown_from() {
    let origin = Origin::new(ORIGIN).unwrap();
    let empty = Checkpoint { origin, size: TreeSize(0), root: EMPTY_ROOT };
    let proof = ConsistencyProof { old: TreeSize(0), new: TreeSize(0), path: Vec::new() };
    let first = AddCheckpoint::new(proof, empty.sign(&log_key()).unwrap()).unwrap();
    assert_eq!(decide(&first, &trusted(), None), Ok(()));
    let next = request(&history(3, 0, ""), 0);
    assert_eq!(decide(&next, &trusted(), Some(&empty)), Ok(()));
}

#[test]
fn malformed_requests_by_name() {
    let text = request(&history(11, 0, ""), 6).to_string();
    assert_eq!(AddCheckpoint::parse(text.as_bytes()).unwrap().to_string(), text);
    let line = Hash([7; 32]).to_base64() + "\n";
    let cases = [
        ("nothing", String::new()),
        ("no_old", text.replacen("old ", "new ", 1)),
        ("leading_zero", text.replacen("old 6", "old 06", 1)),
        ("signed_number", text.replacen("old 6", "old +6", 1)),
        ("two_spaces", text.replacen("old 6", "old  6", 1)),
        ("beyond_u64", text.replacen("old 6", "old 18446744073709551616", 1)),
        ("no_empty_line", text.replacen("\n\n", "\n", 1)),
        ("cr_lf", text.replace('\n', "\r\n")),
        ("short_hash", text.replacen("old 6\n", "old 6\nAAAA\n", 1)),
        ("unpadded_hash", text.replacen("old 6\n", &format!("old 6\n{}\n", &line[..43]), 1)),
        ("too_many_lines", format!("old 6\n{}\n{}", line.repeat(64), "x\n1\n\n")),
        ("no_signature", text.split_inclusive('\n').take(7).collect()),
        ("cut_off", text[..text.len() - 1].to_owned()),
        ("extension_line", text.replacen("\n\n\u{2014}", "\nmore\n\n\u{2014}", 1)),
        ("too_long", text + &"x".repeat(MAX_REQUEST_BYTES)),
    ];
    for (name, text) in cases {
        assert!(AddCheckpoint::parse(text.as_bytes()).is_err(), "{name}");
    }
    assert!(AddCheckpoint::parse(b"old 1\n\xff\n\n").is_err(), "not_utf8");
}

fn answer(status: u16, content_type: Option<&str>, body: impl Into<Vec<u8>>) -> Answer {
    Answer { status, content_type: content_type.map(str::to_owned), body: body.into() }
}

#[test]
fn answers_are_read_and_garbage_is_named() {
    let ledger = history(11, 0, "");
    let (signed, key) = (ledger.signed(), witness_key(1));
    let vkey = key.vkey();
    let read = |answer: &Answer| read_answer(answer, TreeSize(11), &signed, &vkey);
    let line = signed.cosign(&key, TIME).unwrap();
    let stranger = signed.cosign(&witness_key(2), TIME).unwrap();
    let body = format!("{stranger}\n{line}\n");
    let heard = Heard::Cosigned { line: line.clone(), time_unix_s: TIME };
    assert_eq!(read(&answer(200, None, body)), Ok(heard), "unknown keys are passed over");

    let sizes = Some(SIZE_CONTENT_TYPE);
    assert_eq!(read(&answer(409, sizes, "20\n")), Ok(Heard::Holds(TreeSize(20))));
    for body in ["20", "", "020\n", "20\n20\n", "-1\n", "x\n"] {
        assert_eq!(read(&answer(409, sizes, body)), Err(BadAnswer::Size), "{body:?}");
    }
    assert_eq!(read(&answer(422, None, "")), Ok(Heard::OtherHistory));
    assert_eq!(read(&answer(409, None, "")), Ok(Heard::OtherHistory), "as version 1.0.0 says it");
    let at_other_size = read_answer(&answer(409, None, ""), TreeSize(3), &signed, &vkey);
    assert_eq!(at_other_size, Err(BadAnswer::Status(409)));
    for status in [201, 204, 301, 400, 403, 404, 413, 500, 503] {
        assert_eq!(read(&answer(status, None, "x")), Err(BadAnswer::Status(status)));
    }

    let of_another = history(4, 7, "other").signed().cosign(&key, TIME).unwrap();
    assert_eq!(
        read(&answer(200, None, format!("{of_another}\n"))),
        Err(BadAnswer::BadSignature),
        "a cosignature of another checkpoint"
    );
    assert_eq!(read(&answer(200, None, format!("{stranger}\n"))), Err(BadAnswer::OtherKey));
    let by_log = signed.note().signatures()[0].to_string();
    assert_eq!(read(&answer(200, None, by_log + "\n")), Err(BadAnswer::OtherKey));
    let too_many = format!("{line}\n").repeat(17);
    for body in ["", "\n", "hello\n", "<html></html>\n", &line.to_string(), &too_many] {
        assert!(matches!(read(&answer(200, None, body)), Err(BadAnswer::Malformed(_))), "{body}");
    }
    assert!(read(&answer(200, None, vec![0xff, b'\n'])).is_err());
}

#[test]
fn cosignatures_replace_those_of_the_same_key_and_go_again() {
    let mut signed = history(11, 0, "").signed();
    let bare = signed.clone();
    for (number, time) in [(1, TIME), (2, TIME), (1, TIME + 9)] {
        let line = signed.cosign(&witness_key(number), time).unwrap();
        signed.set_cosignature(line).unwrap();
    }
    assert_eq!(signed.note().signatures().len(), 3);
    let keys = [witness_key(1).vkey(), witness_key(2).vkey()];
    let policy = Policy::of_force(&log_key().vkey(), &keys, 2).unwrap();
    let accepted = policy.accept(&signed).unwrap();
    let times: Vec<_> = accepted.rests_on.cosigned.iter().map(|by| by.time_unix_s).collect();
    assert_eq!(times, [TIME, TIME + 9]);
    assert_eq!(signed.bare(), bare);
}

#[test]
fn a_force_s_policy_counts_its_log_witnesses() {
    let (log, keys) = (log_key().vkey(), [witness_key(1).vkey(), witness_key(2).vkey()]);
    let mut one = history(11, 0, "").signed();
    let line = one.cosign(&witness_key(2), TIME).unwrap();
    one.set_cosignature(line).unwrap();
    assert!(Policy::of_force(&log, &keys, 1).unwrap().accept(&one).is_ok());
    let both = Policy::of_force(&log, &keys, 2).unwrap();
    let refused = PolicyRefusal::QuorumNotMet { confirmed: 1, known: 2 };
    assert_eq!(both.accept(&one), Err(refused));
    let weighed = both.weigh(&one).unwrap();
    assert_eq!(weighed.rests_on.sentences()[1], "1 of 2 log witnesses (witness2.example)");
    let none = Policy::of_force(&log, &[], 0).unwrap();
    assert_eq!(none.as_bytes(), Policy::of_log(&log).unwrap().as_bytes());
    assert!(Policy::of_force(&log, &keys, 3).is_err(), "a quorum above their number");
    assert!(Policy::of_force(&log, &[keys[0].clone(), keys[0].clone()], 1).is_err());
}

proptest! {
    /// Whatever is sent in whatever order, all that was cosigned lies in one history.
    #[test]
    fn no_second_history_is_ever_cosigned(
        shared in 0_u64..12,
        own in 1_u64..9,
        steps in prop::collection::vec((any::<bool>(), 0_u64..21, 0_u64..21), 1..40),
    ) {
        let histories = [history(shared, own, "one"), history(shared, own, "two")];
        let mut held: Option<Checkpoint> = None;
        let mut cosigned: Vec<SignedCheckpoint> = Vec::new();
        for (which, old, new) in steps {
            let ledger = &histories[usize::from(which)];
            let new = new.min(shared + own);
            let proof = match old <= new {
                true => ledger.prove_growth(old, new),
                false => ConsistencyProof { old: TreeSize(old), new: TreeSize(new), path: vec![] },
            };
            let checkpoint = ledger.checkpoint_at(new).sign(&log_key()).unwrap();
            let request = AddCheckpoint::new(proof, checkpoint.clone()).unwrap();
            let before = held.as_ref().map_or(0, |held| held.size.0);
            match decide(&request, &trusted(), held.as_ref()) {
                Ok(()) => {
                    prop_assert!(new >= before, "never a smaller tree after a larger one");
                    held = Some(checkpoint.unverified().clone());
                    cosigned.push(checkpoint);
                }
                Err(Refused::Conflict { held }) => prop_assert_eq!(held.0, before),
                Err(refused) => prop_assert!(old > new || refused.is_evidence(), "{}", refused),
            }
        }
        let in_one = |ledger: &MemoryLedger| {
            cosigned.iter().all(|signed| {
                let head = signed.unverified();
                ledger.checkpoint_at(head.size.0).root == head.root
            })
        };
        prop_assert!(in_one(&histories[0]) || in_one(&histories[1]));
    }
}

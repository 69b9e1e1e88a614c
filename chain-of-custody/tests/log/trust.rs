//! Who is believed: policies, quorums, cosignatures, fingerprints; and what a flipped bit does to each.

use std::sync::LazyLock;

use chain_of_custody::checkpoint::{Cosignature, SignedCheckpoint};
use chain_of_custody::note::{NoteError, SignedNote, Signer, SigningKey, VerifierKey};
use chain_of_custody::policy::{Fingerprint, Policy, PolicyRefusal, Quorum};
use proptest::prelude::*;

use crate::common::{ORIGIN, agent_key, example_ledger, log_key, seed, witness_key};

const TIME: u64 = 1_795_370_700;

/// The log and three log witnesses, with these lines after them.
fn policy(rest: &str) -> Policy {
    let witnesses: String =
        (1..=3).map(|n| format!("witness w{n} {}\n", witness_key(n).vkey())).collect();
    Policy::parse(format!("log {}\n{witnesses}{rest}", log_key().vkey()).as_bytes()).unwrap()
}

fn cosigned(by: &[u8]) -> SignedCheckpoint {
    let mut signed = example_ledger().signed();
    for number in by {
        let line = signed.cosign(&witness_key(*number), TIME + u64::from(*number)).unwrap();
        signed.add_cosignature(line).unwrap();
    }
    signed
}

#[test]
fn quorums_decide_as_the_specification_says() {
    let two_of_three = "group g 2 w1 w2 w3\nquorum g\n";
    let nested = "group a any w1 w2\ngroup b all a w3\nquorum b\n";
    let cases: [(&str, &str, &[u8], bool); 14] = [
        ("none_needs_nobody", "quorum none\n", &[], true),
        ("one_named", "quorum w2\n", &[2], true),
        ("another_than_named", "quorum w2\n", &[1, 3], false),
        ("two_of_three_with_one", two_of_three, &[3], false),
        ("two_of_three_with_two", two_of_three, &[1, 3], true),
        ("two_of_three_with_three", two_of_three, &[1, 2, 3], true),
        ("any", "group g any w1 w2\nquorum g\n", &[2], true),
        ("any_of_others", "group g any w1 w2\nquorum g\n", &[3], false),
        ("all_but_one", "group g all w1 w2 w3\nquorum g\n", &[1, 2], false),
        ("all", "group g all w1 w2 w3\nquorum g\n", &[3, 2, 1], true),
        ("nested_inner_only", nested, &[1, 2], false),
        ("nested_outer_only", nested, &[3], false),
        ("nested_both", nested, &[2, 3], true),
        ("none_with_cosignatures", "quorum none\n", &[1], true),
    ];
    for (name, rest, by, accepted) in cases {
        let outcome = policy(rest).accept(&cosigned(by));
        match outcome {
            Ok(checkpoint) => {
                assert!(accepted, "{name} was accepted");
                assert_eq!(checkpoint.rests_on.cosigned.len(), by.len(), "{name}");
            }
            Err(refusal) => {
                assert!(!accepted, "{name}: {refusal}");
                assert_eq!(
                    refusal,
                    PolicyRefusal::QuorumNotMet { confirmed: by.len(), known: 3 },
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn one_witness_twice_counts_once_with_its_later_time() {
    let mut signed = cosigned(&[1]);
    let again = signed.cosign(&witness_key(1), TIME + 99).unwrap();
    signed.add_cosignature(again).unwrap();
    let refused = policy("group g 2 w1 w2 w3\nquorum g\n").accept(&signed);
    assert_eq!(refused, Err(PolicyRefusal::QuorumNotMet { confirmed: 1, known: 3 }));
    let accepted = policy("quorum w1\n").accept(&signed).unwrap();
    assert_eq!(accepted.rests_on.cosigned[0].time_unix_s, TIME + 99);
}

#[test]
fn a_report_says_what_it_rests_on() {
    let alone = policy("quorum none\n").accept(&cosigned(&[])).unwrap().rests_on;
    assert!(alone.is_log_alone());
    assert!(alone.sentences()[0].contains("nobody outside the force has confirmed this ledger"));
    let confirmed = policy("quorum none\n").accept(&cosigned(&[1, 3])).unwrap().rests_on;
    assert!(!confirmed.is_log_alone());
    assert_eq!(confirmed.sentences()[1], "2 of 3 log witnesses (w1, w3)");
}

#[test]
fn strangers_and_wrong_roles_are_not_believed() {
    let signed = cosigned(&[1]);
    let stranger = SigningKey::from_seed(ORIGIN, seed("another log")).unwrap();
    assert_eq!(
        Policy::of_log(&stranger.vkey()).unwrap().accept(&signed),
        Err(PolicyRefusal::UnknownLog)
    );

    // A trusted key under another name than the origin's signs no checkpoint of this ledger.
    let text = signed.unverified().to_text();
    let by_agent = SignedNote::sign(&text, &[&agent_key()]).unwrap().to_string();
    let trusts_agent = Policy::of_log(&agent_key().vkey()).unwrap();
    assert_eq!(trusts_agent.accept(&by_agent.parse().unwrap()), Err(PolicyRefusal::UnknownLog));

    // The log's key bytes as a witness key sign nothing as the log, and the reverse.
    let as_witness = SigningKey::for_cosignatures(ORIGIN, seed("test log")).unwrap();
    assert_ne!(as_witness.vkey().id(), log_key().vkey().id());
    let refused = signed.unverified().sign(&as_witness);
    assert!(matches!(refused, Err(NoteError::WrongKeyType { .. })));
    assert!(matches!(signed.unverified().sign(&agent_key()), Err(NoteError::WrongKeyType { .. })));
    assert!(matches!(signed.cosign(&log_key(), TIME), Err(NoteError::WrongKeyType { .. })));
    assert!(matches!(
        SignedNote::sign("text\n", &[&as_witness]),
        Err(NoteError::WrongKeyType { .. })
    ));
}

#[test]
fn unknown_keys_are_passed_over() {
    let mut signed = cosigned(&[1]);
    let stranger = SigningKey::for_cosignatures("stranger.example", seed("stranger")).unwrap();
    let line = signed.cosign(&stranger, TIME).unwrap();
    signed.add_cosignature(line).unwrap();
    assert_eq!(policy("quorum w1\n").accept(&signed).unwrap().rests_on.cosigned.len(), 1);
    // Same name, another key: unknown, not wrong.
    let namesake = SigningKey::for_cosignatures("witness2.example", seed("namesake")).unwrap();
    let line = signed.cosign(&namesake, TIME).unwrap();
    signed.add_cosignature(line).unwrap();
    assert_eq!(policy("quorum w1\n").accept(&signed).unwrap().rests_on.cosigned.len(), 1);
}

#[test]
fn a_trusted_key_that_signed_wrongly_rejects_the_whole() {
    let good = cosigned(&[1, 2]);
    let accepts = policy("quorum none\n");
    assert!(accepts.accept(&good).is_ok());
    // The second witness's signature over another time.
    let mut line = good.note().signatures()[2].clone();
    line.signature[7] ^= 1;
    let mut forged = cosigned(&[1]);
    forged.add_cosignature(line).unwrap();
    let refused = accepts.accept(&forged);
    assert_eq!(
        refused,
        Err(PolicyRefusal::BadSignature { key: witness_key(2).vkey().name().clone() })
    );

    // A good signature of the log beside a wrong one of the same key.
    let note = example_ledger().signed().to_string();
    let (text, signature) = note.split_once("\n\n").unwrap();
    let other = SignedNote::sign("something else\n", &[&log_key()]).unwrap().to_string();
    let both = format!("{text}\n\n{signature}{}", other.split_once("\n\n").unwrap().1);
    let refused = accepts.accept(&both.parse().unwrap());
    assert_eq!(refused, Err(PolicyRefusal::BadSignature { key: log_key().vkey().name().clone() }));
}

#[test]
fn a_cosignature_is_bound_to_its_checkpoint_and_time() {
    let ledger = example_ledger();
    let newer = ledger.signed();
    let older = ledger.checkpoint_at(9).sign(&log_key()).unwrap();
    let line = older.cosign(&witness_key(1), TIME).unwrap();
    let mut moved = newer;
    moved.add_cosignature(line).unwrap();
    assert!(matches!(
        policy("quorum none\n").accept(&moved),
        Err(PolicyRefusal::BadSignature { .. })
    ));
}

#[test]
fn times_beyond_2_63_are_refused() {
    let signed = cosigned(&[]);
    assert!(signed.cosign(&witness_key(1), u64::MAX).is_err());
    let mut line = signed.cosign(&witness_key(1), TIME).unwrap();
    line.signature[0] = 0x80;
    assert!(Cosignature::parse(&line).is_err());
}

#[test]
fn a_weak_key_is_no_key() {
    let name = chain_of_custody::note::KeyName::new("weak.example").unwrap();
    let mut identity = [0; 32];
    identity[0] = 1;
    let key = VerifierKey::new(name, chain_of_custody::note::KeyType::Ed25519, &identity);
    assert_eq!(key.unwrap_err().reason, "the public key is of small order");
}

#[test]
fn fingerprints_are_what_sha256sum_prints_in_eight_groups() {
    let policy = policy("quorum none\n");
    let printed = policy.fingerprint().to_string();
    assert_eq!(printed.split('-').count(), 8);
    assert!(printed.split('-').all(|group| group.len() == 8));
    assert_eq!(
        printed.replace('-', ""),
        chain_of_custody::digest::Sha256::of(policy.as_bytes()).to_string()
    );
    for typed in
        [printed.clone(), printed.to_uppercase().replace('-', " "), printed.replace('-', "")]
    {
        assert_eq!(typed.parse::<Fingerprint>().unwrap(), policy.fingerprint());
    }
    assert!(printed[1..].parse::<Fingerprint>().is_err());
    assert_eq!(*policy.quorum(), Quorum::None);
}

#[test]
fn comments_tabs_and_foreign_bytes_are_allowed_and_change_the_fingerprint() {
    let plain = format!("log {}\nquorum none\n", log_key().vkey());
    let mut dressed = b"# f\xfcr die Leser\n\n \t ".to_vec();
    dressed.extend_from_slice(plain.replace(' ', "\t").as_bytes());
    let (plain, dressed) =
        (Policy::parse(plain.as_bytes()).unwrap(), Policy::parse(&dressed).unwrap());
    assert_eq!(plain.logs(), dressed.logs());
    assert_ne!(plain.fingerprint(), dressed.fingerprint());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A signed checkpoint with any bit flipped is never accepted as another checkpoint.
    #[test]
    fn any_flipped_bit_of_a_checkpoint_changes_nothing_that_is_believed(bit in any::<prop::sample::Index>()) {
        static GOOD: LazyLock<String> = LazyLock::new(|| cosigned(&[1, 2]).to_string());
        static RULE: LazyLock<Policy> = LazyLock::new(|| policy("group g all w1 w2\nquorum g\n"));
        let mut bytes = GOOD.clone().into_bytes();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let outcome = SignedCheckpoint::parse(&bytes).map(|changed| RULE.accept(&changed));
        prop_assert!(!matches!(outcome, Ok(Ok(_))), "accepted with bit {bit} flipped");
    }
}

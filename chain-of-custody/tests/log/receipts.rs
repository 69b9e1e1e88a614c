//! Receipts from the dock's side: what verifies, what each change does, and what the note for people may say.

use std::sync::LazyLock;

use chain_of_custody::digest::Digests;
use chain_of_custody::entry::Opening;
use chain_of_custody::event::field;
use chain_of_custody::ids::LeafIndex;
use chain_of_custody::note::Signer;
use chain_of_custody::policy::{Policy, PolicyRefusal};
use chain_of_custody::receipt::{QuarantineNotice, Receipt, ReceiptError, ReceiptText};
use proptest::prelude::*;

use crate::common::{
    CLIP, ITEM, MemoryLedger, ORIGIN, RECEIVED, agent_key, bundle_key, example_ledger, log_key,
    receipt_key, received, received_with,
};

pub(crate) fn receipt() -> Receipt {
    receipt_in(example_ledger(), &received().1)
}

fn receipt_in(ledger: &MemoryLedger, openings: &[Opening]) -> Receipt {
    let proof = ledger.prove(RECEIVED, ledger.size().0);
    Receipt::build(&ledger.entries[RECEIVED as usize], openings, proof, ledger.signed()).unwrap()
}

fn pinned() -> Policy {
    Policy::of_log(&log_key().vkey()).unwrap()
}

#[test]
fn a_dock_can_rely_on_its_receipt() {
    let travelled = Receipt::parse(receipt().to_string().as_bytes()).unwrap();
    let proved = travelled.verify(&pinned()).unwrap();
    assert_eq!(proved.leaf_index, LeafIndex(RECEIVED));
    assert_eq!(proved.digests(), Some(Digests::of(CLIP)));
    assert_eq!(proved.size_bytes(), Some(CLIP.len() as u64));
    assert_eq!(proved.item().unwrap().to_string(), ITEM);
    assert_eq!(proved.value(field::STATE), Some("stored"));
    assert_eq!(proved.value(field::BY), None);
    assert!(proved.rests_on.is_log_alone());
}

#[test]
fn another_key_than_the_pinned_one_proves_nothing() {
    let other = Policy::of_log(&agent_key().vkey()).unwrap();
    assert_eq!(receipt().verify(&other), Err(ReceiptError::Policy(PolicyRefusal::UnknownLog)));
}

#[test]
fn an_opening_changed_or_of_another_entry_is_refused() {
    for change in ["salt", "value"] {
        let mut openings = received().1;
        match change {
            "salt" => openings[0].salt.0[0] ^= 1,
            _ => openings[0].value.push('0'),
        }
        let name = openings[0].name.clone();
        let refused = receipt_in(example_ledger(), &openings).verify(&pinned());
        assert_eq!(refused, Err(ReceiptError::Opening(name)), "{change}");
    }
}

#[test]
fn another_entry_under_the_same_proof_is_refused() {
    let ledger = example_ledger();
    let proof = ledger.prove(RECEIVED, ledger.size().0);
    let (mut entry, openings) = received();
    entry.at = "2026-11-22T00:00:00.000Z".parse().unwrap();
    let forged =
        Receipt::build(&entry.to_bytes().unwrap(), &openings, proof, ledger.signed()).unwrap();
    assert!(matches!(forged.verify(&pinned()), Err(ReceiptError::Proof(_))));
}

#[test]
fn a_checkpoint_of_another_size_is_refused() {
    let ledger = example_ledger();
    let proof = ledger.prove(RECEIVED, 200);
    let built =
        Receipt::build(&received().0.to_bytes().unwrap(), &received().1, proof, ledger.signed());
    assert!(matches!(built, Err(ReceiptError::Malformed(_))));
}

#[test]
fn fields_may_be_withheld_and_the_rest_still_proves() {
    let some: Vec<Opening> =
        received().1.into_iter().filter(|o| o.name.as_str() == field::SHA256).collect();
    let proved = receipt_in(example_ledger(), &some).verify(&pinned()).unwrap();
    assert_eq!(proved.openings.len(), 1);
    assert_eq!(proved.digests(), None);
}

#[test]
fn the_text_for_people_says_what_the_proof_proves() {
    let proved = receipt().verify(&pinned()).unwrap();
    let origin = ORIGIN.parse().unwrap();
    let text = ReceiptText::from_entry(&origin, proved.leaf_index, &proved.entry, &proved.openings)
        .unwrap();
    let note = text.sign(&receipt_key()).unwrap();
    let read = ReceiptText::verify(&note, &[receipt_key().vkey()]).unwrap();
    assert_eq!(read, text);
    assert!(read.agrees_with(&proved));
    let other = ReceiptText { copies: 3, ..read };
    assert!(!other.agrees_with(&proved));
    assert!(ReceiptText::verify(&note, &[bundle_key().vkey()]).is_err());
}

#[test]
fn a_quarantine_notice_is_for_quarantined_items_only() {
    let origin = ORIGIN.parse().unwrap();
    let (entry, openings) = received();
    let refused = QuarantineNotice::from_entry(&origin, LeafIndex(2), &entry, &openings);
    assert_eq!(refused.unwrap_err().reason, "state");
    let (entry, openings) = quarantined();
    let refused = ReceiptText::from_entry(&origin, LeafIndex(2), &entry, &openings);
    assert_eq!(refused.unwrap_err().reason, "state", "never a receipt");
    let notice = QuarantineNotice::from_entry(&origin, LeafIndex(2), &entry, &openings).unwrap();
    assert_eq!(notice.reason_code.as_str(), "manifest-differs");
    assert_eq!(QuarantineNotice::parse(&notice.to_text()).unwrap(), notice);
}

pub(crate) fn quarantined() -> (chain_of_custody::entry::Entry, Vec<Opening>) {
    let digests = Digests::of(CLIP);
    received_with(&[
        (field::SHA256, digests.sha256.to_string()),
        (field::BLAKE3, digests.blake3.to_string()),
        (field::SIZE_BYTES, CLIP.len().to_string()),
        (field::STATE, "quarantined".into()),
        (field::REASON_CODE, "manifest-differs".into()),
        (field::READ_BY, "dock-7.essex.example".into()),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever bit is flipped, the receipt verifies as exactly what it was, or not at all.
    #[test]
    fn any_flipped_bit_of_a_receipt_is_refused(bit in any::<prop::sample::Index>()) {
        static GOOD: LazyLock<String> = LazyLock::new(|| receipt().to_string());
        let mut bytes = GOOD.clone().into_bytes();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let outcome = Receipt::parse(&bytes).and_then(|changed| changed.verify(&pinned()));
        prop_assert!(outcome.is_err(), "accepted with bit {bit} flipped");
    }
}

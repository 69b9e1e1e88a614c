//! Each way in which a receipt can fail to be ours, as a named case.

use std::collections::BTreeMap;

use chain_of_custody::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use chain_of_custody::entry::{Commitment, Entry, EntrySubject, Opening, Salt};
use chain_of_custody::ids::{EventId, SubjectId, TreeSize};
use chain_of_custody::merkle::{Hash, InclusionProof, leaf_hash, node_hash};
use chain_of_custody::note::{Signer as _, SigningKey};
use chain_of_custody::time::Timestamp;

use super::*;

const BYTES: &[u8] = b"a clip";

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(last: u8) -> T {
    format!("0193a7c2-0000-7000-8000-0000000000{last:02x}").parse().unwrap()
}

fn expected() -> Expected {
    Expected {
        size_bytes: BYTES.len() as u64,
        digests: Digests::of(BYTES),
        manifest_sha256: Sha256::of(b"manifest"),
        item: id(1),
        device: Some(id(2)),
    }
}

/// What the server would put into its ledger, open to alteration.
#[derive(Clone)]
struct Story {
    kind: EventKind,
    item: ItemId,
    fields: BTreeMap<&'static str, String>,
    log_key: [u8; 32],
    /// Left out of the openings.
    withheld: Option<&'static str>,
}

impl Story {
    fn good() -> Self {
        let ours = expected();
        let fields = [
            (field::SHA256, ours.digests.sha256.to_string()),
            (field::BLAKE3, ours.digests.blake3.to_string()),
            (field::SIZE_BYTES, ours.size_bytes.to_string()),
            (field::MANIFEST_SHA256, ours.manifest_sha256.to_string()),
            (field::DEVICE, id::<DeviceId>(2).to_string()),
            (field::STATE, "stored".to_owned()),
            (field::COPIES, "2".to_owned()),
        ];
        Self {
            kind: EventKind::ItemReceived,
            item: ours.item,
            fields: fields.into(),
            log_key: [7; 32],
            withheld: None,
        }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.fields.insert(name, value.to_string());
        self
    }

    fn without(mut self, name: &'static str) -> Self {
        self.fields.remove(name);
        self
    }

    /// As leaf 1 of 2.
    fn receipt(&self) -> String {
        let event: EventId = id(9);
        let openings: Vec<Opening> = self
            .fields
            .iter()
            .map(|(name, value)| Opening {
                name: name.parse().unwrap(),
                salt: Salt([3; 32]),
                value: value.clone(),
            })
            .collect();
        let commit =
            |o: &Opening| (o.name.clone(), Commitment::to(event, &o.name, &o.salt, &o.value));
        let entry = Entry {
            kind: self.kind,
            event,
            subjects: vec![EntrySubject { id: SubjectId::from(self.item), seq: 0, prev: None }],
            at: Timestamp::from_unix_millis(1_700_000_000_000).unwrap(),
            fields: openings.iter().map(commit).collect(),
            public: BTreeMap::new(),
        };
        let entry = entry.to_bytes().unwrap();
        let (other, leaf) = (leaf_hash(b"another entry"), leaf_hash(&entry));
        let opened: Vec<Opening> = openings
            .into_iter()
            .filter(|opening| self.withheld != Some(opening.name.as_str()))
            .collect();
        let proof = InclusionProof { index: LeafIndex(1), size: TreeSize(2), path: vec![other] };
        let checkpoint = self.checkpoint(node_hash(&other, &leaf));
        Receipt::build(&entry, &opened, proof, checkpoint).unwrap().to_string()
    }

    fn checkpoint(&self, root: Hash) -> SignedCheckpoint {
        let origin = Origin::new("ledger.test").unwrap();
        let key = SigningKey::from_seed("ledger.test", self.log_key).unwrap();
        Checkpoint { origin, size: TreeSize(2), root }.sign(&key).unwrap()
    }
}

fn policy() -> Policy {
    let key = SigningKey::from_seed("ledger.test", [7; 32]).unwrap();
    Policy::of_log(&key.vkey()).unwrap()
}

fn check(receipt: &str) -> Result<Proven, Unproven> {
    check_receipt(receipt.as_bytes(), &policy(), &expected())
}

#[test]
fn a_receipt_for_exactly_this_is_proof() {
    let proven = check(&Story::good().receipt()).unwrap();
    assert_eq!((proven.item, proven.entry), (id(1), LeafIndex(1)));
    assert_eq!((proven.device, proven.copies.as_str()), (id(2), "2"));
    assert!(!proven.duplicate && proven.rests_on.len() == 1);
}

#[test]
fn a_duplicates_receipt_is_held_to_the_same() {
    let duplicate = Story { kind: EventKind::ItemDuplicate, ..Story::good() };
    assert!(check(&duplicate.receipt()).unwrap().duplicate);
    assert!(check(&duplicate.clone().without(field::STATE).receipt()).unwrap().duplicate);
    let other = duplicate.with(field::SHA256, Sha256::of(b"other")).receipt();
    assert_eq!(check(&other), Err(Unproven::Differs(field::SHA256)));
}

#[test]
fn each_field_that_is_not_ours_is_named() {
    let cases = [
        (field::SHA256, Sha256::of(b"other").to_string()),
        (field::BLAKE3, Sha256::of(b"other").to_string()),
        (field::SIZE_BYTES, "7".to_owned()),
        (field::SIZE_BYTES, "06".to_owned()),
        (field::MANIFEST_SHA256, Sha256::of(b"other").to_string()),
        (field::MANIFEST_SHA256, "-".to_owned()),
        (field::DEVICE, id::<DeviceId>(3).to_string()),
        (field::DEVICE, "-".to_owned()),
    ];
    for (name, value) in cases {
        let receipt = Story::good().with(name, &value).receipt();
        assert_eq!(check(&receipt), Err(Unproven::Differs(name)), "{name} = {value}");
    }
}

#[test]
fn each_field_that_is_withheld_or_missing_is_named() {
    let needed = [
        field::SHA256,
        field::BLAKE3,
        field::SIZE_BYTES,
        field::MANIFEST_SHA256,
        field::DEVICE,
        field::STATE,
    ];
    for name in needed {
        let withheld = Story { withheld: Some(name), ..Story::good() }.receipt();
        assert_eq!(check(&withheld), Err(Unproven::NotOpened(name)), "{name} withheld");
        let missing = Story::good().without(name).receipt();
        assert_eq!(check(&missing), Err(Unproven::NotOpened(name)), "{name} missing");
    }
}

#[test]
fn another_act_or_item_is_not_a_receipt() {
    let verified = Story { kind: EventKind::ItemVerified, ..Story::good() }.receipt();
    assert_eq!(check(&verified), Err(Unproven::Kind("item.verified")));
    let other_item = Story { item: id(5), ..Story::good() }.receipt();
    assert_eq!(check(&other_item), Err(Unproven::Item));
    let disposed = Story::good().with(field::STATE, "disposed").receipt();
    assert_eq!(check(&disposed), Err(Unproven::State("disposed".to_owned())));
}

#[test]
fn quarantine_is_heard_in_either_form() {
    let entry = Story::good()
        .with(field::STATE, "quarantined")
        .with(field::REASON_CODE, "manifest-differs")
        .with(field::READ_BY, "dock-agent-1");
    let heard = Err(Unproven::Quarantined { reason: "manifest-differs".into() });
    assert_eq!(check(&entry.receipt()), heard);
    let receipt = Receipt::parse(entry.receipt().as_bytes()).unwrap().verify(&policy()).unwrap();
    let origin = Origin::new("ledger.test").unwrap();
    let notice =
        QuarantineNotice::from_entry(&origin, LeafIndex(1), &receipt.entry, &receipt.openings);
    let key = SigningKey::from_seed("receipts.test", [8; 32]).unwrap();
    let note = notice.unwrap().sign(&key).unwrap().to_string();
    assert_eq!(check(&note), heard);
}

#[test]
fn a_key_that_is_not_pinned_proves_nothing() {
    let forged = Story { log_key: [8; 32], ..Story::good() }.receipt();
    assert!(matches!(check(&forged), Err(Unproven::Receipt(ReceiptError::Policy(_)))));
}

#[test]
fn a_proof_of_another_entry_proves_nothing() {
    let good = Story::good();
    let receipt = Receipt::parse(good.receipt().as_bytes()).unwrap();
    let checkpoint = good.checkpoint(Hash([1; 32]));
    let (entry, proof) = (receipt.entry_bytes().to_vec(), receipt.proof().inclusion());
    let openings = receipt.verify(&policy()).unwrap().openings;
    let forged = Receipt::build(&entry, &openings, proof.clone(), checkpoint).unwrap().to_string();
    assert!(matches!(check(&forged), Err(Unproven::Receipt(ReceiptError::Proof(_)))), "root");

    let leaf = leaf_hash(&entry);
    let checkpoint = || good.checkpoint(node_hash(&proof.path[0], &leaf));
    let mut altered = openings.clone();
    altered.iter_mut().find(|o| o.name.as_str() == field::COPIES).unwrap().value = "9".into();
    let forged = Receipt::build(&entry, &altered, proof.clone(), checkpoint()).unwrap().to_string();
    assert!(matches!(check(&forged), Err(Unproven::Receipt(ReceiptError::Opening(_)))), "opening");
    assert!(
        check(&Receipt::build(&entry, &openings, proof.clone(), checkpoint()).unwrap().to_string())
            .is_ok()
    );
}

#[test]
fn no_damaged_receipt_is_proof_of_anything_else() {
    let good = Story::good().receipt();
    let proven = check(&good).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        // An altered name of an unknown signer and the like may pass; what is proved may not differ.
        let checked = check_receipt(&bytes, &policy(), &expected());
        assert!(checked.is_err() || checked == Ok(proven.clone()), "byte {at}");
        assert!(check_receipt(&good.as_bytes()[..at], &policy(), &expected()).is_err(), "cut {at}");
    }
}

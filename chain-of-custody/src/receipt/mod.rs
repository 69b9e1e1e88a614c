//! Receipts: the proof that a dock may rely on, and the signed notes that say the same to people.
//!
//! Here: `Receipt` (a `.tlog-proof` whose `extra` is `{entry, openings}`), and in `notes` the `item receipt v1`,
//! `progress receipt v1` and `quarantine notice v1`. Not here: when one may be given (only after publishing).
//! Invariant: a `VerifiedReceipt` exists only if the entry recomputed from the file is proved under a checkpoint
//! that the policy accepts, and every opening opens that entry. Specified in `docs/formats/proofs.md` and
//! `docs/formats/statements.md`.

mod notes;

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::canonical;
use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::digest::Digests;
use crate::entry::{BadEntry, Entry, FieldName, Opening};
use crate::event::field;
use crate::ids::{ItemId, LeafIndex};
use crate::malformed::Malformed;
use crate::merkle::{InclusionProof, ProofError, leaf_hash};
use crate::policy::{AcceptedCheckpoint, Policy, PolicyRefusal, RestsOn};
use crate::proof::TlogProof;

pub use notes::{ProgressReceipt, QuarantineNotice, ReceiptText};

const RECEIPT: &str = "receipt";

/// Why a receipt proves nothing. Each variant is something else that a caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not a receipt: refuse it.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its entry is no entry: refuse it.
    #[error(transparent)]
    Entry(#[from] BadEntry),
    /// The checkpoint is not accepted: cannot tell, or a mismatch if a signature is wrong.
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
    /// The entry is not under the checkpoint: a mismatch.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A value is not what the entry committed to: a mismatch.
    #[error("the opening of '{0}' does not belong to the entry")]
    Opening(FieldName),
}

/// A receipt as it travels: form checked, nothing believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    proof: TlogProof,
    entry_bytes: Vec<u8>,
    entry: Entry,
    /// By name, none twice.
    openings: Vec<Opening>,
}

impl Receipt {
    /// Puts a receipt together: the entry's exact bytes, openings of its fields in any order, the proof of its leaf
    /// and the checkpoint of the proof's size. Does not check the proof: call `verify` before giving it away.
    pub fn build(
        entry_bytes: &[u8],
        openings: &[Opening],
        proof: InclusionProof,
        checkpoint: SignedCheckpoint,
    ) -> Result<Self, ReceiptError> {
        let entry = Entry::parse(entry_bytes)?;
        let mut openings = openings.to_vec();
        openings.sort_by(|a, b| a.name.cmp(&b.name));
        check_order(&openings)?;
        let extra = encode_extra(entry_bytes, &openings)?;
        let proof = TlogProof::new(Some(extra), proof, checkpoint)?;
        Ok(Self { proof, entry_bytes: entry_bytes.to_vec(), entry, openings })
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let proof = TlogProof::parse(bytes)?;
        let extra = proof
            .extra
            .as_deref()
            .ok_or(Malformed::new(RECEIPT, "the proof file has no extra line"))?;
        let (entry_bytes, openings) = decode_extra(extra)?;
        let entry = Entry::parse(&entry_bytes)?;
        Ok(Self { proof, entry_bytes, entry, openings })
    }

    pub fn proof(&self) -> &TlogProof {
        &self.proof
    }

    /// The entry's exact bytes, whose leaf hash the proof is about.
    pub fn entry_bytes(&self) -> &[u8] {
        &self.entry_bytes
    }

    /// The entry. Not to be believed before [`Receipt::verify`].
    pub fn unverified_entry(&self) -> &Entry {
        &self.entry
    }

    /// The openings. Not to be believed before [`Receipt::verify`].
    pub fn unverified_openings(&self) -> &[Opening] {
        &self.openings
    }

    /// Checks everything a receipt promises: the policy accepts the checkpoint, the entry is under it at its
    /// index, and each opening belongs to the entry.
    pub fn verify(&self, policy: &Policy) -> Result<VerifiedReceipt, ReceiptError> {
        self.verify_under(policy.accept(&self.proof.checkpoint)?)
    }

    /// The same without the policy's quorum of log witnesses: what a dock agent asks before the camera's copy may go,
    /// because that depends on the force having the bytes. What it rests on is in the result.
    pub fn verify_by_log(&self, policy: &Policy) -> Result<VerifiedReceipt, ReceiptError> {
        self.verify_under(policy.weigh(&self.proof.checkpoint)?)
    }

    /// That the entry is under the receipt's own checkpoint and each opening belongs to it. Says nothing about who signed
    /// the checkpoint.
    pub(crate) fn verify_content(&self) -> Result<(), ReceiptError> {
        self.proof.verify_inclusion(&leaf_hash(&self.entry_bytes))?;
        match self.openings.iter().find(|opening| !self.entry.opens(opening)) {
            Some(wrong) => Err(ReceiptError::Opening(wrong.name.clone())),
            None => Ok(()),
        }
    }

    fn verify_under(&self, accepted: AcceptedCheckpoint) -> Result<VerifiedReceipt, ReceiptError> {
        let AcceptedCheckpoint { checkpoint, rests_on } = accepted;
        self.verify_content()?;
        Ok(VerifiedReceipt {
            entry: self.entry.clone(),
            openings: self.openings.clone(),
            leaf_index: self.proof.index,
            checkpoint,
            rests_on,
        })
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proof.fmt(f)
    }
}

impl FromStr for Receipt {
    type Err = ReceiptError;

    fn from_str(text: &str) -> Result<Self, ReceiptError> {
        Self::parse(text.as_bytes())
    }
}

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt {
    pub entry: Entry,
    /// By name; each was checked against the entry.
    pub openings: Vec<Opening>,
    pub leaf_index: LeafIndex,
    pub checkpoint: Checkpoint,
    pub rests_on: RestsOn,
}

impl VerifiedReceipt {
    /// The opened value of a field (`event::field`), if the receipt opens it.
    pub fn value(&self, name: &str) -> Option<&str> {
        opened(&self.openings, name)
    }

    /// The item of the entry.
    pub fn item(&self) -> Option<ItemId> {
        self.entry.subjects.iter().find_map(|subject| subject.id.item())
    }

    /// The digests of the bytes as received.
    pub fn digests(&self) -> Option<Digests> {
        let (sha256, blake3) = (self.value(field::SHA256)?, self.value(field::BLAKE3)?);
        Some(Digests { sha256: sha256.parse().ok()?, blake3: blake3.parse().ok()? })
    }

    pub fn size_bytes(&self) -> Option<u64> {
        self.value(field::SIZE_BYTES).and_then(crate::checkpoint::parse_decimal)
    }
}

/// The value of the opening called `name`.
fn opened<'a>(openings: &'a [Opening], name: &str) -> Option<&'a str> {
    openings
        .iter()
        .find(|opening| opening.name.as_str() == name)
        .map(|opening| opening.value.as_str())
}

/// `{"entry":…,"openings":[…]}`, canonical. The entry is canonical itself, so it keeps its exact bytes inside.
fn encode_extra(entry_bytes: &[u8], openings: &[Opening]) -> Result<Vec<u8>, ReceiptError> {
    let entry = canonical::parse(entry_bytes).map_err(BadEntry::from)?;
    let openings: Vec<Value> = openings.iter().map(Opening::to_json).collect();
    let extra = json!({ "entry": entry, "openings": openings });
    Ok(canonical::to_bytes(&extra).map_err(BadEntry::from)?)
}

fn decode_extra(extra: &[u8]) -> Result<(Vec<u8>, Vec<Opening>), ReceiptError> {
    let fault = |reason| Malformed::new(RECEIPT, reason);
    let value = canonical::parse(extra).map_err(|_| fault("the extra is not canonical JSON"))?;
    let keys = value.as_object().map(|map| map.keys().map(String::as_str).collect::<Vec<_>>());
    if keys.as_deref() != Some(&["entry", "openings"]) {
        return Err(fault("the extra is not an object of entry and openings").into());
    }
    let openings = value["openings"].as_array().ok_or(fault("openings is not an array"))?;
    let openings = openings.iter().map(Opening::from_json).collect::<Result<Vec<_>, _>>()?;
    check_order(&openings)?;
    let entry = canonical::to_bytes(&value["entry"]).map_err(BadEntry::from)?;
    Ok((entry, openings))
}

fn check_order(openings: &[Opening]) -> Result<(), Malformed> {
    if openings.is_sorted_by(|a, b| a.name < b.name) {
        Ok(())
    } else {
        Err(Malformed::new(RECEIPT, "the openings are not by name, each once"))
    }
}

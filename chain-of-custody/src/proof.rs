//! Proof files (`.tlog-proof`, c2sp.org/tlog-proof): one entry's place under a signed checkpoint, checkable offline.
//!
//! Here: the text form and the arithmetic. Not here: whose signatures count (`policy`) and what our `extra` holds
//! (`receipt`). Invariant: `extra` is never believed; only a leaf recomputed from it and proved under the
//! checkpoint is. Specified in `docs/formats/proofs.md`.

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::{SignedCheckpoint, parse_decimal};
use crate::ids::LeafIndex;
use crate::malformed::Malformed;
use crate::merkle::{Hash, InclusionProof, MAX_PROOF_HASHES, ProofError};
use crate::note::{MAX_NOTE_BYTES, decode_base64, encode_base64};

/// Bytes of a proof file at most.
pub const MAX_PROOF_BYTES: usize = 2 * MAX_NOTE_BYTES;

const PROOF: &str = "proof file";
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A proof file, read but not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// What the application put there; not authenticated.
    pub extra: Option<Vec<u8>>,
    pub index: LeafIndex,
    /// Leaf's sibling first, root's child last.
    pub path: Vec<Hash>,
    pub checkpoint: SignedCheckpoint,
}

impl TlogProof {
    /// A file from an inclusion proof and the checkpoint it is for; refused if their sizes differ.
    pub fn new(
        extra: Option<Vec<u8>>,
        proof: InclusionProof,
        checkpoint: SignedCheckpoint,
    ) -> Result<Self, Malformed> {
        if proof.size != checkpoint.unverified().size {
            return Err(Malformed::new(
                PROOF,
                "the proof is for another tree size than the checkpoint",
            ));
        }
        Ok(Self { extra, index: proof.index, path: proof.path, checkpoint })
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(Malformed::new(PROOF, "it is too long"));
        }
        let text =
            std::str::from_utf8(bytes).map_err(|_| Malformed::new(PROOF, "it is not UTF-8"))?;
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or(Malformed::new(PROOF, "no empty line before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(Malformed::new(PROOF, "the first line is not c2sp.org/tlog-proof@v1"));
        }
        let extra = lines.next_if(|line| line.starts_with("extra")).map(parse_extra).transpose()?;
        let index = parse_index(lines.next())?;
        let path = parse_path(lines)?;
        Ok(Self { extra, index, path, checkpoint: SignedCheckpoint::parse(checkpoint.as_bytes())? })
    }

    /// The proof with the size that the checkpoint claims.
    pub fn inclusion(&self) -> InclusionProof {
        InclusionProof {
            index: self.index,
            size: self.checkpoint.unverified().size,
            path: self.path.clone(),
        }
    }

    /// Whether `leaf` is under the checkpoint in this file. Says nothing about the checkpoint's signatures.
    pub fn verify_inclusion(&self, leaf: &Hash) -> Result<(), ProofError> {
        self.inclusion().verify(leaf, &self.checkpoint.unverified().root)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", encode_base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text.as_bytes())
    }
}

fn parse_extra(line: &str) -> Result<Vec<u8>, Malformed> {
    let bad = Malformed::new(PROOF, "the extra line is not base64");
    line.strip_prefix("extra ").and_then(decode_base64).ok_or(bad)
}

fn parse_index(line: Option<&str>) -> Result<LeafIndex, Malformed> {
    line.and_then(|line| line.strip_prefix("index "))
        .and_then(parse_decimal)
        .map(LeafIndex)
        .ok_or(Malformed::new(PROOF, "no index line with a decimal number"))
}

fn parse_path<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, Malformed> {
    let mut path = Vec::new();
    for line in lines {
        if path.len() == MAX_PROOF_HASHES {
            return Err(Malformed::new(PROOF, "too many hashes"));
        }
        let hash = Hash::from_base64(line)
            .map_err(|_| Malformed::new(PROOF, "a path line is not 32 bytes of base64"))?;
        path.push(hash);
    }
    Ok(path)
}

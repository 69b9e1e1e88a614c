//! The Merkle tree of RFC 6962 / RFC 9162 over SHA-256: hashing, growing, proving, checking.
//!
//! Here: `Frontier` (a tree that grows, in O(log n) memory), inclusion and consistency proofs, and the seam
//! `HashSource` through which proofs read stored hashes. Not here: how hashes lie in tiles (`tile`), who signs a
//! root (`checkpoint`).
//! Invariant: a proof checks against a root only if the leaf or the older tree is really under it; appending
//! and proving cost O(log n), never O(n). Specified in `docs/formats/ledger.md`.

mod frontier;
mod proofs;

use std::fmt;

use sha2::{Digest as _, Sha256};

pub use frontier::{Frontier, MAX_FRONTIER_NODES};
pub use proofs::{
    ConsistencyProof, HashSource, InclusionProof, MAX_PROOF_HASHES, ProofError, ProveError,
};

use crate::malformed::Malformed;
use crate::note::{decode_base64, encode_base64};

/// Bytes of one hash.
pub const HASH_BYTES: usize = 32;

/// SHA-256 of nothing: the root of a tree without leaves.
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// The hash of a leaf or node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; HASH_BYTES]);

impl Hash {
    pub fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    pub fn to_base64(self) -> String {
        encode_base64(&self.0)
    }

    pub fn from_base64(text: &str) -> Result<Self, Malformed> {
        let bytes = decode_base64(text).ok_or(Malformed::new("hash", "it is not base64"))?;
        Self::from_slice(&bytes)
    }

    pub fn from_slice(bytes: &[u8]) -> Result<Self, Malformed> {
        bytes.try_into().map(Self).map_err(|_| Malformed::new("hash", "it has not 32 bytes"))
    }
}

impl fmt::Display for Hash {
    /// Base64, as checkpoints and proofs write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// A complete subtree: level 0 is a leaf, level k spans the leaves `index·2^k .. (index+1)·2^k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    pub level: u8,
    pub index: u64,
}

/// SHA-256(0x00 ‖ entry).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0x00]).chain_update(entry).finalize().into())
}

/// SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut block = [0x01; 1 + 2 * HASH_BYTES];
    block[1..=HASH_BYTES].copy_from_slice(&left.0);
    block[1 + HASH_BYTES..].copy_from_slice(&right.0);
    Hash(Sha256::digest(block).into())
}

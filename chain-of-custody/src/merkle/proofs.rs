//! Inclusion and consistency proofs: made from stored hashes, checked by the algorithms of RFC 9162
//! sections 2.1.3.2 and 2.1.4.2.

use std::ops::Range;

use super::frontier::fold_right;
use super::{EMPTY_ROOT, Hash, NodeId, node_hash};
use crate::ids::{LeafIndex, TreeSize};

/// Hashes in one proof; the longest path in a tree of 2^64 − 1 leaves.
pub const MAX_PROOF_HASHES: usize = 64;

/// Why a proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index or sizes cannot be: nothing was checked.
    #[error("the proof is for an index or size that cannot be")]
    OutOfRange,
    /// Too many or too few hashes for this index and size.
    #[error("the proof has the wrong number of hashes")]
    WrongLength,
    /// The hashes lead to another root: the leaf, the proof or the root is not what it should be.
    #[error("the proof leads to another root")]
    OtherRoot,
}

/// Why a proof could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// Asked for a leaf or an older tree that is not in this tree.
    #[error("the tree of this size holds no such leaf or older tree")]
    OutOfRange,
    /// The stored hashes could not be read.
    #[error("a stored hash could not be read")]
    Source(E),
}

/// Reads hashes of complete subtrees. Asked only for nodes that lie wholly inside the tree being proved, O(log n)
/// of them per proof. A closure is one; `tile::TileHashes` reads from stored tiles.
pub trait HashSource {
    type Error;
    fn node(&mut self, node: NodeId) -> Result<Hash, Self::Error>;
}

impl<F, E> HashSource for F
where
    F: FnMut(NodeId) -> Result<Hash, E>,
{
    type Error = E;

    fn node(&mut self, node: NodeId) -> Result<Hash, E> {
        self(node)
    }
}

/// The hashes that show a leaf to be under a root: the leaf's sibling first, the root's child last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    pub index: LeafIndex,
    pub size: TreeSize,
    pub path: Vec<Hash>,
}

impl InclusionProof {
    /// Proves leaf `index` in the tree of `size` leaves.
    pub fn generate<S: HashSource>(
        index: LeafIndex,
        size: TreeSize,
        source: &mut S,
    ) -> Result<Self, ProveError<S::Error>> {
        if index.0 >= size.0 {
            return Err(ProveError::OutOfRange);
        }
        let path = inclusion_ranges(index.0, size.0)
            .into_iter()
            .map(|range| range_root(range, source))
            .collect::<Result<_, _>>()
            .map_err(ProveError::Source)?;
        Ok(Self { index, size, path })
    }

    /// The root that this proof leads to from `leaf`.
    pub fn root(&self, leaf: &Hash) -> Result<Hash, ProofError> {
        if self.index.0 >= self.size.0 {
            return Err(ProofError::OutOfRange);
        }
        let (mut node, mut last, mut hash) = (self.index.0, self.size.0 - 1, *leaf);
        for sibling in &self.path {
            if last == 0 {
                return Err(ProofError::WrongLength);
            }
            if node & 1 == 1 || node == last {
                hash = node_hash(sibling, &hash);
                skip_missing_siblings(&mut node, &mut last);
            } else {
                hash = node_hash(&hash, sibling);
            }
            (node, last) = (node >> 1, last >> 1);
        }
        if last == 0 { Ok(hash) } else { Err(ProofError::WrongLength) }
    }

    /// Whether `leaf` is under `root`.
    pub fn verify(&self, leaf: &Hash, root: &Hash) -> Result<(), ProofError> {
        if self.root(leaf)? == *root { Ok(()) } else { Err(ProofError::OtherRoot) }
    }
}

/// The hashes that show a newer tree to begin with an older one. Empty when the sizes are equal or the older tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    pub old: TreeSize,
    pub new: TreeSize,
    pub path: Vec<Hash>,
}

impl ConsistencyProof {
    /// Proves that the tree of `new` leaves begins with that of `old` leaves.
    pub fn generate<S: HashSource>(
        old: TreeSize,
        new: TreeSize,
        source: &mut S,
    ) -> Result<Self, ProveError<S::Error>> {
        if old.0 > new.0 {
            return Err(ProveError::OutOfRange);
        }
        let path = consistency_ranges(old.0, new.0)
            .into_iter()
            .map(|range| range_root(range, source))
            .collect::<Result<_, _>>()
            .map_err(ProveError::Source)?;
        Ok(Self { old, new, path })
    }

    /// Whether the tree under `new_root` begins with the tree under `old_root`.
    pub fn verify(&self, old_root: &Hash, new_root: &Hash) -> Result<(), ProofError> {
        if self.old.0 > self.new.0 {
            return Err(ProofError::OutOfRange);
        }
        if self.old.0 == 0 || self.old == self.new {
            return self.verify_trivial(old_root, new_root);
        }
        let (from_old, from_new) = self.roots(old_root)?;
        if from_old == *old_root && from_new == *new_root {
            Ok(())
        } else {
            Err(ProofError::OtherRoot)
        }
    }

    /// An empty tree begins every tree, and every tree begins itself; both need no hashes.
    fn verify_trivial(&self, old_root: &Hash, new_root: &Hash) -> Result<(), ProofError> {
        if !self.path.is_empty() {
            return Err(ProofError::WrongLength);
        }
        let empty_is_empty = |size: TreeSize, root: &Hash| size.0 != 0 || *root == EMPTY_ROOT;
        let roots_fit = empty_is_empty(self.old, old_root) && empty_is_empty(self.new, new_root);
        let same = self.old != self.new || old_root == new_root;
        if roots_fit && same { Ok(()) } else { Err(ProofError::OtherRoot) }
    }

    /// Both roots as the path gives them, for 0 < old < new.
    fn roots(&self, old_root: &Hash) -> Result<(Hash, Hash), ProofError> {
        let (mut node, mut last) = (self.old.0 - 1, self.new.0 - 1);
        while node & 1 == 1 {
            (node, last) = (node >> 1, last >> 1);
        }
        // An older tree of a power of two leaves is itself the first node, so the proof leaves it out.
        let (start, rest) = if self.old.0.is_power_of_two() {
            (*old_root, self.path.as_slice())
        } else {
            let (first, rest) = self.path.split_first().ok_or(ProofError::WrongLength)?;
            (*first, rest)
        };
        let (mut from_old, mut from_new) = (start, start);
        for hash in rest {
            if last == 0 {
                return Err(ProofError::WrongLength);
            }
            if node & 1 == 1 || node == last {
                from_old = node_hash(hash, &from_old);
                from_new = node_hash(hash, &from_new);
                skip_missing_siblings(&mut node, &mut last);
            } else {
                from_new = node_hash(&from_new, hash);
            }
            (node, last) = (node >> 1, last >> 1);
        }
        if last == 0 { Ok((from_old, from_new)) } else { Err(ProofError::WrongLength) }
    }
}

/// Climbs the levels at which the node has no sibling of its own.
fn skip_missing_siblings(node: &mut u64, last: &mut u64) {
    while *node & 1 == 0 && *node != 0 {
        *node >>= 1;
        *last >>= 1;
    }
}

/// RFC 6962 PATH(index, D[0:size]) as ranges of leaves, leaf's sibling first.
fn inclusion_ranges(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut low, mut high) = (0, size);
    let mut ranges = Vec::with_capacity(MAX_PROOF_HASHES);
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            ranges.push(middle..high);
            high = middle;
        } else {
            ranges.push(low..middle);
            low = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// RFC 6962 PROOF(old, D[0:new]) as ranges of leaves, in the order of the proof.
fn consistency_ranges(old: u64, new: u64) -> Vec<Range<u64>> {
    if old == 0 || old == new {
        return Vec::new();
    }
    let (mut low, mut high) = (0, new);
    let mut ranges = Vec::with_capacity(MAX_PROOF_HASHES);
    while high != old {
        let middle = low + split(high - low);
        if old <= middle {
            ranges.push(middle..high);
            high = middle;
        } else {
            ranges.push(low..middle);
            low = middle;
        }
    }
    if low != 0 {
        ranges.push(low..high);
    }
    ranges.reverse();
    ranges
}

/// The largest power of two below `leaves` (at least 2 of them): where RFC 6962 splits a tree.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// The root over a range that begins at a multiple of the largest power of two it holds.
fn range_root<S: HashSource>(range: Range<u64>, source: &mut S) -> Result<Hash, S::Error> {
    let Range { mut start, end } = range;
    let mut nodes = Vec::new();
    while start < end {
        let level = (end - start).ilog2();
        nodes.push(source.node(NodeId { level: level as u8, index: start >> level })?);
        start += 1 << level;
    }
    Ok(fold_right(&nodes).expect("proof ranges hold at least one leaf"))
}

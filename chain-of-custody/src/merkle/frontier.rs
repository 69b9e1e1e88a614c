//! A growing tree held as its right-hand edge: the roots of its complete subtrees, largest first.

use super::{EMPTY_ROOT, HASH_BYTES, Hash, NodeId, node_hash};
use crate::ids::{LeafIndex, TreeSize};
use crate::malformed::Malformed;

/// A tree of 2^64 − 1 leaves has this many complete subtrees.
pub const MAX_FRONTIER_NODES: usize = 64;

const FRONTIER: &str = "frontier";

/// All that is needed to append and to state the root: one hash per set bit of the size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// Invariant: as many as `size` has set bits; the first spans the most leaves.
    nodes: Vec<Hash>,
}

impl Frontier {
    pub fn new() -> Self {
        Self::default()
    }

    /// A frontier from its parts; refused unless there is one hash per set bit of the size.
    pub fn from_nodes(size: TreeSize, nodes: Vec<Hash>) -> Result<Self, Malformed> {
        if nodes.len() != size.0.count_ones() as usize {
            return Err(Malformed::new(FRONTIER, "the number of hashes does not fit the size"));
        }
        Ok(Self { size: size.0, nodes })
    }

    /// Leaves in the tree.
    pub fn size(&self) -> TreeSize {
        TreeSize(self.size)
    }

    /// The complete subtrees, largest first.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// Appends a leaf hash and returns its index.
    pub fn append(&mut self, leaf: Hash) -> LeafIndex {
        self.append_with(leaf, |_, _| ())
    }

    /// Appends a leaf hash and reports every subtree that it completes, the leaf itself first.
    pub fn append_with(
        &mut self,
        leaf: Hash,
        mut completed: impl FnMut(NodeId, Hash),
    ) -> LeafIndex {
        let index = self.size;
        let mut node = NodeId { level: 0, index };
        let mut hash = leaf;
        completed(node, hash);
        while node.index & 1 == 1 {
            let left = self.nodes.pop().expect("an odd node has a left sibling on the frontier");
            hash = node_hash(&left, &hash);
            node = NodeId { level: node.level + 1, index: node.index >> 1 };
            completed(node, hash);
        }
        self.nodes.push(hash);
        self.size = index.checked_add(1).expect("no ledger reaches 2^64 leaves");
        LeafIndex(index)
    }

    /// The root of the tree so far.
    pub fn root(&self) -> Hash {
        fold_right(&self.nodes).unwrap_or(EMPTY_ROOT)
    }

    /// Size (u64 big-endian) ‖ hashes, largest subtree first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        self.nodes.iter().for_each(|node| bytes.extend_from_slice(&node.0));
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let (size, hashes) =
            bytes.split_first_chunk::<8>().ok_or(Malformed::new(FRONTIER, "it is too short"))?;
        let (hashes, rest) = hashes.as_chunks::<HASH_BYTES>();
        if !rest.is_empty() {
            return Err(Malformed::new(FRONTIER, "it does not end with a whole hash"));
        }
        Self::from_nodes(
            TreeSize(u64::from_be_bytes(*size)),
            hashes.iter().copied().map(Hash).collect(),
        )
    }
}

/// The root over complete subtrees that stand side by side, largest first.
pub(super) fn fold_right(nodes: &[Hash]) -> Option<Hash> {
    let (last, rest) = nodes.split_last()?;
    Some(rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

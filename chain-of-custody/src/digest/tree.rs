//! The BLAKE3 tree above chunks of 1 KiB and groups of 64 KiB (BLAKE3 specification, sections 2.1 and 2.5).

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

use super::Blake3;

/// The leaf of BLAKE3's own tree.
pub(super) const CHUNK_BYTES: usize = 1024;

/// A group: 64 chunks, the smallest range that is checked alone.
pub const GROUP_BYTES: usize = 64 * CHUNK_BYTES;

/// The chaining value of one group: what the tree holds at that place. For a file of one group it is the file's BLAKE3
/// digest itself, for then the group is the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupCv(pub [u8; 32]);

/// How many groups a file of `size_bytes` has. The empty file has one, which is empty.
pub const fn groups_of(size_bytes: u64) -> u64 {
    let full = size_bytes.div_ceil(GROUP_BYTES as u64);
    if full == 0 { 1 } else { full }
}

/// Whether a node is the top of the tree (flag ROOT) or has one above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Root,
    Inner,
}

/// Complete subtrees to the left of the place where input goes on, each as large as it can be: one for every bit set
/// in the number of leaves before that place. Leaves are chunks or groups; the stack does not care which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stack {
    leaves: u64,
    subtrees: Vec<ChainingValue>,
}

impl Stack {
    /// The stack before leaf `leaves`, from what [`Self::subtrees`] gave. `None` when the number does not fit.
    pub(super) fn from_parts(leaves: u64, subtrees: Vec<ChainingValue>) -> Option<Self> {
        (subtrees.len() == Self::depth_at(leaves)).then_some(Self { leaves, subtrees })
    }

    /// How many subtrees stand before leaf `leaves`.
    pub(super) const fn depth_at(leaves: u64) -> usize {
        leaves.count_ones() as usize
    }

    pub(super) fn leaves(&self) -> u64 {
        self.leaves
    }

    pub(super) fn subtrees(&self) -> &[ChainingValue] {
        &self.subtrees
    }

    /// Appends a complete subtree of `leaves` leaves (a power of two that divides the current position). More input
    /// must follow: what is merged here can no longer become the root.
    pub(super) fn push(&mut self, subtree: ChainingValue, leaves: u64) {
        debug_assert!(leaves.is_power_of_two() && self.leaves.is_multiple_of(leaves));
        self.leaves += leaves;
        self.subtrees.push(subtree);
        while self.subtrees.len() > Self::depth_at(self.leaves) {
            let right = self.subtrees.pop().expect("longer than some depth, so not empty");
            let left = self.subtrees.pop().expect("a merge is due only when two stand there");
            self.subtrees.push(merge_subtrees_non_root(&left, &right, Mode::Hash));
        }
    }

    /// Folds the stack with the last subtree into one value; `None` when nothing stands to the left of it.
    pub(super) fn fold(&self, last: ChainingValue, place: Place) -> Option<ChainingValue> {
        let (first, others) = self.subtrees.split_first()?;
        let right = others
            .iter()
            .rev()
            .fold(last, |right, left| merge_subtrees_non_root(left, &right, Mode::Hash));
        Some(match place {
            Place::Root => *merge_subtrees_root(first, &right, Mode::Hash).as_bytes(),
            Place::Inner => merge_subtrees_non_root(first, &right, Mode::Hash),
        })
    }
}

/// The chaining value of a subtree that begins at byte `offset` of the file; not empty, and never the root.
pub(super) fn subtree_cv(offset: u64, bytes: &[u8]) -> ChainingValue {
    blake3::Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root()
}

/// The value of group `index` of a file: a chaining value, or the digest itself when the group is the whole file.
pub(super) fn group_value(index: u64, bytes: &[u8], place: Place) -> GroupCv {
    GroupCv(match place {
        Place::Root => *Blake3::of(bytes).as_bytes(),
        Place::Inner => subtree_cv(index * GROUP_BYTES as u64, bytes),
    })
}

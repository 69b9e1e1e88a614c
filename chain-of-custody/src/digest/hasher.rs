//! Both digests in one pass, which can be put aside at any byte and taken up again elsewhere.

use sha2::Digest as _;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};

use super::tree::{CHUNK_BYTES, GROUP_BYTES, GroupCv, Place, Stack, group_value, subtree_cv};
use super::{Blake3, Digests, Sha256};

/// SHA-256 and BLAKE3 of a file, in one pass over its bytes in any cut. Fastest with slices of 64 KiB to 1 MiB, which stay
/// in the processor's cache for the second digest.
#[derive(Debug, Clone)]
pub struct ContentHasher {
    sha256: sha2::Sha256,
    tree: TreeHasher,
}

/// The BLAKE3 half of a [`ContentHasher`], which also counts the bytes.
///
/// The last group, full or not, is kept until another byte follows or the file ends: only then is it known whether it
/// is the root of the tree.
#[derive(Debug, Clone, Default)]
pub struct TreeHasher {
    size_bytes: u64,
    /// Groups before the current one.
    groups: Stack,
    /// Chunks of the current group that a resumed state had reduced already.
    chunks: Stack,
    /// The current group's bytes after those chunks; together at most [`GROUP_BYTES`].
    pending: Vec<u8>,
}

impl Default for ContentHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl ContentHasher {
    /// At byte 0.
    pub fn new() -> Self {
        Self { sha256: sha2::Sha256::new(), tree: TreeHasher::default() }
    }

    /// Goes on from where [`Self::state`] was taken.
    ///
    /// # Errors
    /// [`BadHashState`] when the bytes are not a state of this version.
    pub fn resume(state: &HashState) -> Result<Self, BadHashState> {
        state.parse()
    }

    /// How many bytes have gone in.
    pub fn size_bytes(&self) -> u64 {
        self.tree.size_bytes
    }

    /// Takes more bytes; gives the chaining values of the groups that are now complete and followed by another byte,
    /// in order.
    pub fn update(&mut self, bytes: &[u8]) -> Vec<GroupCv> {
        self.sha256.update(bytes);
        self.tree.update(bytes)
    }

    /// Both halves, for whoever has a thread for each. Give both the same bytes.
    pub fn halves(&mut self) -> (&mut sha2::Sha256, &mut TreeHasher) {
        (&mut self.sha256, &mut self.tree)
    }

    /// What is needed to go on later, without the bytes gone by but for those of the unfinished chunk (at most 1 KiB).
    pub fn state(&self) -> HashState {
        let (chunks, tail) = self.tree.reduced();
        let mut bytes = vec![HashState::VERSION];
        bytes.extend_from_slice(&self.size_bytes().to_le_bytes());
        bytes.extend_from_slice(&self.sha256.serialize());
        bytes.extend(self.tree.groups.subtrees().iter().flatten());
        bytes.extend(chunks.subtrees().iter().flatten());
        bytes.extend_from_slice(tail);
        HashState(bytes)
    }

    /// Ends the pass: both digests, and the value of the last group ([`GroupCv`] says what that is in a file of one).
    pub fn finish(self) -> (Digests, GroupCv) {
        let sha256 = Sha256(self.sha256.finalize().into());
        let (blake3, last) = self.tree.finish();
        (Digests { sha256, blake3 }, last)
    }
}

impl TreeHasher {
    /// As [`ContentHasher::update`], for this half.
    pub fn update(&mut self, mut bytes: &[u8]) -> Vec<GroupCv> {
        let mut complete = Vec::with_capacity(bytes.len() / GROUP_BYTES + 1);
        while !bytes.is_empty() {
            if self.room() == 0 {
                complete.push(self.close_group());
            }
            let (now, later) = bytes.split_at(self.room().min(bytes.len()));
            self.size_bytes += now.len() as u64;
            bytes = later;
            if now.len() == GROUP_BYTES && !later.is_empty() {
                complete.push(self.close_whole_group(now));
            } else {
                self.pending.extend_from_slice(now);
            }
        }
        complete
    }

    fn finish(&self) -> (Blake3, GroupCv) {
        let place = if self.groups.leaves() == 0 { Place::Root } else { Place::Inner };
        let last = self.current_group(place);
        let root = self.groups.fold(last.0, Place::Root).unwrap_or(last.0);
        (Blake3(root), last)
    }

    /// How many bytes the current group still takes.
    fn room(&self) -> usize {
        GROUP_BYTES - self.reduced_bytes() - self.pending.len()
    }

    fn reduced_bytes(&self) -> usize {
        self.chunks.leaves() as usize * CHUNK_BYTES
    }

    fn close_group(&mut self) -> GroupCv {
        let value = self.current_group(Place::Inner);
        self.chunks = Stack::default();
        self.pending.clear();
        self.groups.push(value.0, 1);
        value
    }

    /// The fast path: a whole group straight from the caller's slice, with more behind it.
    fn close_whole_group(&mut self, bytes: &[u8]) -> GroupCv {
        let value = group_value(self.groups.leaves(), bytes, Place::Inner);
        self.groups.push(value.0, 1);
        value
    }

    fn current_group(&self, place: Place) -> GroupCv {
        if self.chunks.leaves() == 0 {
            return group_value(self.groups.leaves(), &self.pending, place);
        }
        let (chunks, tail) = self.reduced();
        let last = subtree_cv(self.group_offset() + chunks.leaves() * CHUNK_BYTES as u64, tail);
        GroupCv(chunks.fold(last, place).expect("chunks were reduced, so the stack holds some"))
    }

    fn group_offset(&self) -> u64 {
        self.groups.leaves() * GROUP_BYTES as u64
    }

    /// The current group with all chunks but the last reduced, and the bytes of that last chunk (1 to 1,024, or none
    /// in the empty file).
    fn reduced(&self) -> (Stack, &[u8]) {
        let mut chunks = self.chunks.clone();
        let mut rest = self.pending.as_slice();
        while rest.len() > CHUNK_BYTES {
            let at = chunks.leaves();
            let fits = ((rest.len() - 1) / CHUNK_BYTES) as u64;
            let leaves = largest_subtree(at, fits);
            let (subtree, later) = rest.split_at(leaves as usize * CHUNK_BYTES);
            chunks.push(subtree_cv(self.group_offset() + at * CHUNK_BYTES as u64, subtree), leaves);
            rest = later;
        }
        (chunks, rest)
    }
}

/// The largest power of two that divides `at` (any divides 0) and is at most `fits` (≥ 1).
fn largest_subtree(at: u64, fits: u64) -> u64 {
    let by_size = 1 << fits.ilog2();
    if at == 0 { by_size } else { by_size.min(1 << at.trailing_zeros()) }
}

/// A [`ContentHasher`] put aside (docs/formats/outboard.md). Holds up to 1 KiB of the file's bytes: keep it encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct HashState(Vec<u8>);

/// Bytes that are not a [`HashState`] of a known version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hash state of version {}", HashState::VERSION)]
pub struct BadHashState;

impl HashState {
    /// The first byte of every state.
    pub const VERSION: u8 = 1;
    /// No state is longer: 48 groups and 6 chunks deep, with a whole chunk pending.
    pub const MAX_BYTES: usize = 9 + SHA256_STATE_BYTES + 32 * (48 + 6) + CHUNK_BYTES;

    /// Takes bytes that [`Self::as_bytes`] gave.
    ///
    /// # Errors
    /// [`BadHashState`] when they are not a state.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, BadHashState> {
        let state = Self(bytes);
        state.parse()?;
        Ok(state)
    }

    /// The bytes to keep.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes had gone in when the state was taken.
    pub fn size_bytes(&self) -> u64 {
        self.parse().map_or(0, |hasher| hasher.size_bytes())
    }

    fn parse(&self) -> Result<ContentHasher, BadHashState> {
        let mut rest = self.0.as_slice();
        let version = take(&mut rest, 1)?[0];
        let size_bytes = take(&mut rest, 8)?.try_into().map(u64::from_le_bytes);
        let size_bytes = size_bytes.map_err(|_| BadHashState)?;
        if version != Self::VERSION || size_bytes >= 1 << 62 {
            return Err(BadHashState);
        }
        let sha256 =
            SerializedState::<sha2::Sha256>::try_from(take(&mut rest, SHA256_STATE_BYTES)?)
                .map_err(|_| BadHashState)?;
        let sha256 = sha2::Sha256::deserialize(&sha256).map_err(|_| BadHashState)?;
        let (groups, chunks, tail_bytes) = position(size_bytes);
        let groups = take_stack(&mut rest, groups)?;
        let chunks = take_stack(&mut rest, chunks)?;
        let pending = take(&mut rest, tail_bytes)?.to_vec();
        let tree = TreeHasher { size_bytes, groups, chunks, pending };
        let hasher = ContentHasher { sha256, tree };
        rest.is_empty().then_some(hasher).ok_or(BadHashState)
    }
}

impl std::fmt::Debug for HashState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HashState({} bytes in)", self.size_bytes())
    }
}

/// The size of sha2's serialised state.
const SHA256_STATE_BYTES: usize = 104;

/// Where byte `size_bytes` lies: whole groups before, whole chunks before in its group, bytes of the last chunk.
fn position(size_bytes: u64) -> (u64, u64, usize) {
    let Some(last) = size_bytes.checked_sub(1) else { return (0, 0, 0) };
    let in_group = last % GROUP_BYTES as u64;
    let in_chunk = in_group % CHUNK_BYTES as u64;
    (last / GROUP_BYTES as u64, in_group / CHUNK_BYTES as u64, in_chunk as usize + 1)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], BadHashState> {
    let (taken, later) = rest.split_at_checked(length).ok_or(BadHashState)?;
    *rest = later;
    Ok(taken)
}

fn take_stack(rest: &mut &[u8], leaves: u64) -> Result<Stack, BadHashState> {
    let (subtrees, _) = take(rest, 32 * Stack::depth_at(leaves))?.as_chunks::<32>();
    Stack::from_parts(leaves, subtrees.to_vec()).ok_or(BadHashState)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::{Outboard, groups_of};

    fn sample(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    /// Every size at which something in the tree changes its shape.
    fn edges() -> Vec<usize> {
        let mut sizes = vec![0, 1, 63, 64, 1023, 1024, 1025, 2048, 5 * 1024, 5 * 1024 + 7];
        for groups in 1..=9 {
            let size = groups * GROUP_BYTES;
            sizes.extend([size - 1025, size - 1024, size - 1, size, size + 1, size + 1024]);
        }
        sizes
    }

    fn check(bytes: &[u8], digests: Digests, mut values: Vec<GroupCv>, last: GroupCv) {
        assert_eq!(digests, Digests::of(bytes), "size {}", bytes.len());
        values.push(last);
        assert_eq!(values.len() as u64, groups_of(bytes.len() as u64));
        let outboard = Outboard::new(bytes.len() as u64, values).unwrap();
        assert_eq!(outboard.root(), digests.blake3);
    }

    #[test]
    fn whole_files_of_every_shape() {
        for size in edges() {
            let bytes = sample(size);
            let mut hasher = ContentHasher::new();
            let values = hasher.update(&bytes);
            let (digests, last) = hasher.finish();
            check(&bytes, digests, values, last);
        }
    }

    #[test]
    fn a_state_at_every_edge_resumes_to_the_same() {
        let bytes = sample(3 * GROUP_BYTES + 5000);
        for at in edges().into_iter().filter(|at| *at <= bytes.len()) {
            let mut hasher = ContentHasher::new();
            let mut values = hasher.update(&bytes[..at]);
            let state = HashState::from_bytes(hasher.state().as_bytes().to_vec()).unwrap();
            assert_eq!(state.size_bytes(), at as u64);
            assert!(state.as_bytes().len() <= HashState::MAX_BYTES);
            let mut hasher = ContentHasher::resume(&state).unwrap();
            assert_eq!(hasher.state(), state, "the state of a resumed hasher is the same state");
            values.extend(hasher.update(&bytes[at..]));
            let (digests, last) = hasher.finish();
            check(&bytes, digests, values, last);
        }
    }

    #[test]
    fn a_file_of_one_group_has_its_digest_as_only_value() {
        for size in [0, 1, 5000, GROUP_BYTES] {
            let bytes = sample(size);
            let mut hasher = ContentHasher::new();
            assert!(hasher.update(&bytes).is_empty());
            let resumed = ContentHasher::resume(&hasher.state()).unwrap();
            assert_eq!(resumed.finish().1.0, Blake3::of(&bytes).0);
            assert_eq!(hasher.finish().1.0, Blake3::of(&bytes).0);
        }
    }

    #[test]
    fn states_that_are_none() {
        let mut hasher = ContentHasher::new();
        hasher.update(&sample(100_000));
        let good = hasher.state().as_bytes().to_vec();
        let (mut version, mut size, mut long) = (good.clone(), good.clone(), good.clone());
        version[0] = 2;
        size[1] ^= 1;
        long.push(0);
        for bad in [version, size, long, good[..good.len() - 1].to_vec(), vec![]] {
            assert_eq!(HashState::from_bytes(bad), Err(BadHashState));
        }
    }

    proptest! {
        #[test]
        fn any_cut_and_any_resume_gives_the_same_digests(
            size in 0usize..400_000,
            cuts in prop::collection::vec((1usize..150_000, any::<bool>()), 1..40),
        ) {
            let bytes = sample(size);
            let (mut hasher, mut values, mut rest) = (ContentHasher::new(), vec![], &bytes[..]);
            for (length, resume) in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (now, later) = rest.split_at((*length).min(rest.len()));
                values.extend(hasher.update(now));
                rest = later;
                if *resume { hasher = ContentHasher::resume(&hasher.state()).unwrap(); }
            }
            let (digests, last) = hasher.finish();
            check(&bytes, digests, values, last);
        }
    }
}

//! Whether one state of a ledger begins with another, shown by hash tiles that nobody has to trust.

use super::Files;
use super::layout::LEDGER;
use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::ids::TreeSize;
use crate::merkle::{ConsistencyProof, HASH_BYTES, Hash};
use crate::tile::{TileEdge, TileHashes, TilePath};

/// The bytes of a hash tile, or the first hashes of a wider one. Nothing that it gives is trusted.
pub type Tiles<'a> = dyn Fn(&TilePath) -> Option<Vec<u8>> + 'a;

/// A ledger as it is later than something that the reader holds: an export, or what a bundle carries of it.
pub struct LaterLedger<'a> {
    /// A signed note.
    pub checkpoint: &'a [u8],
    /// Signed notes about replaced keys, in any order.
    pub rotations: Vec<Vec<u8>>,
    pub tiles: &'a Tiles<'a>,
}

impl std::fmt::Debug for LaterLedger<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaterLedger").finish_non_exhaustive()
    }
}

/// What tiles show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// The newer begins with the older.
    Extends,
    /// It does not, although the tiles are the newer one's.
    Contradicts,
    /// Nothing: tiles are missing or damaged.
    Unshown,
}

/// Whether the tree under `new` begins with the one under `old`, which is not larger and of the same ledger.
pub(super) fn growth(new: &Checkpoint, old: &Checkpoint, tiles: &Tiles<'_>) -> Growth {
    if old.size == new.size {
        return if old.root == new.root { Growth::Extends } else { Growth::Contradicts };
    }
    let fetch = |path: &TilePath| tiles(path).ok_or(());
    let proof =
        ConsistencyProof::generate(old.size, new.size, &mut TileHashes::new(new.size, fetch));
    let shows = |root: &Hash| proof.as_ref().is_ok_and(|p| p.verify(root, &new.root).is_ok());
    if shows(&old.root) {
        return Growth::Extends;
    }
    // Tiles that belong to the newer checkpoint and give another older root show a contradiction; others show nothing.
    match root_at(old.size, tiles) {
        Some(other) if shows(&other) => Growth::Contradicts,
        _ => Growth::Unshown,
    }
}

/// The root of the tree's first `size` entries, from the same tiles.
fn root_at(size: TreeSize, tiles: &Tiles<'_>) -> Option<Hash> {
    TileEdge::restore(size, |path: &TilePath| tiles(path).ok_or(())).ok().map(|edge| edge.root())
}

/// A tile that a bundle carries: of this width, or the first hashes of a wider one.
pub(super) fn tile_in(files: &Files<'_>, path: &TilePath) -> Option<Vec<u8>> {
    let exact = format!("{LEDGER}{path}");
    let full = format!("{LEDGER}{}", path.full());
    let found = files.content(&exact).or_else(|| files.content(&full)).or_else(|| {
        let partial = format!("{full}.p/");
        let wider = files.under(&partial).filter_map(|file| file.content.as_deref());
        wider.max_by_key(|bytes| bytes.len())
    });
    let mut bytes = found?.to_vec();
    bytes.truncate(usize::from(path.width()) * HASH_BYTES);
    Some(bytes)
}

/// The checkpoint of a later ledger with its own words, if it can be read.
pub(super) fn head_of(later: &LaterLedger<'_>) -> Option<SignedCheckpoint> {
    SignedCheckpoint::parse(later.checkpoint).ok()
}

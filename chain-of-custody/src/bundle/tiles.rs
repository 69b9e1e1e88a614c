//! Which hash tiles a bundle carries, so that what came before can be held against it: slips, time stamps, checkpoints by a
//! key that was replaced.

use std::collections::BTreeMap;

use crate::ids::TreeSize;
use crate::merkle::{ConsistencyProof, HASH_BYTES};
use crate::tile::{TILE_WIDTH, TileHashes, TileKind, TilePath, new_tiles};

/// Tiles of leaf hashes that every bundle carries: those of the newest 262,144 entries, 8 MiB. Of the levels above, all.
const NEWEST_LEAF_TILES: u64 = 1024;

/// The tiles of a ledger of `size` entries that show growth from each of `earlier`, and from every size within the newest
/// entries; from an older one that is no multiple of 256 they do not.
pub fn carried_tiles(size: TreeSize, earlier: &[TreeSize]) -> Vec<TilePath> {
    let oldest = size.0.div_ceil(TILE_WIDTH).saturating_sub(NEWEST_LEAF_TILES);
    let is_kept = |tile: &TilePath| match tile.kind() {
        TileKind::Hashes { level } => level > 0 || tile.index() >= oldest,
        TileKind::Entries => false,
    };
    let newest = new_tiles(TreeSize(0), size).into_iter().filter(is_kept);
    let shown = earlier.iter().flat_map(|old| tiles_between(*old, size));
    let by_name: BTreeMap<String, TilePath> =
        newest.chain(shown).map(|tile| (tile.to_string(), tile)).collect();
    by_name.into_values().collect()
}

/// The tiles that a consistency proof is made from: those that are asked for while one is made, of whatever hashes.
fn tiles_between(old: TreeSize, new: TreeSize) -> Vec<TilePath> {
    let mut asked = Vec::new();
    let mut source = TileHashes::new(new, |tile: &TilePath| {
        asked.push(*tile);
        Ok::<_, ()>(vec![0; usize::from(tile.width()) * HASH_BYTES])
    });
    // Of sizes that do not follow each other nothing is shown.
    let _of_nothing_real = ConsistencyProof::generate(old, new, &mut source);
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf_tiles(tiles: &[TilePath]) -> Vec<u64> {
        let of_leaves = |tile: &&TilePath| tile.kind() == TileKind::Hashes { level: 0 };
        tiles.iter().filter(of_leaves).map(TilePath::index).collect()
    }

    #[test]
    fn small_ledgers_go_along_whole_and_large_ones_in_part() {
        let small = TreeSize(70_000);
        assert_eq!(carried_tiles(small, &[]).len(), new_tiles(TreeSize(0), small).len());
        let large = TreeSize(400_000 * TILE_WIDTH + 5);
        let tiles = carried_tiles(large, &[]);
        assert_eq!(leaf_tiles(&tiles).len() as u64, NEWEST_LEAF_TILES);
        assert!(tiles.len() < 3000, "{}", tiles.len());
        let early = carried_tiles(large, &[TreeSize(1000), TreeSize(77 * TILE_WIDTH)]);
        let more: Vec<u64> =
            leaf_tiles(&early).into_iter().filter(|index| *index < 300_000).collect();
        assert_eq!(more, [3], "the tile that the 1000th entry lies in");
        assert!(carried_tiles(TreeSize(0), &[TreeSize(9)]).is_empty());
    }
}

//! Hashes of any complete subtree, read from stored tiles and computed within them.

use std::collections::HashMap;

use super::path::width_at;
use super::{MAX_TILE_LEVEL, TILE_HEIGHT, TILE_WIDTH, TilePath};
use crate::ids::TreeSize;
use crate::merkle::{HASH_BYTES, Hash, HashSource, NodeId, node_hash};

/// Tiles kept while proofs are made: a proof touches at most two a level, so proofs of one batch share theirs.
const MAX_CACHED_TILES: usize = 64;

/// Why hashes could not be read from tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileReadError<E> {
    /// The caller's closure failed.
    #[error("a tile could not be read")]
    Fetch(E),
    /// The stored tile has another length than its name says.
    #[error("the stored tile {path} has the wrong length")]
    WrongLength { path: TilePath },
    /// The tree of this size has no such hash.
    #[error("the tree of this size has no such hash")]
    NoSuchTile,
}

/// A `HashSource` over stored tiles of a tree of `size` leaves. `fetch` gets the names of tiles that a tree of
/// this size has (partial at its edge) and gives their bytes; where only the full tile is left, its first
/// `width` hashes. What it gives is not trusted: check a proof against the checkpoint before handing it out.
#[derive(Debug)]
pub struct TileHashes<F> {
    size: TreeSize,
    fetch: F,
    cache: HashMap<(u8, u64), TileNodes>,
}

/// Every complete subtree inside one tile: row 0 are its hashes, row k the roots over 2^k of them.
#[derive(Debug)]
struct TileNodes([Vec<Hash>; TILE_HEIGHT as usize]);

impl<F, E> TileHashes<F>
where
    F: FnMut(&TilePath) -> Result<Vec<u8>, E>,
{
    pub fn new(size: TreeSize, fetch: F) -> Self {
        Self { size, fetch, cache: HashMap::new() }
    }

    fn tile(&mut self, level: u8, index: u64) -> Result<&TileNodes, TileReadError<E>> {
        if !self.cache.contains_key(&(level, index)) {
            let nodes = self.read_tile(level, index)?;
            if self.cache.len() >= MAX_CACHED_TILES {
                self.cache.clear();
            }
            self.cache.insert((level, index), nodes);
        }
        self.cache.get(&(level, index)).ok_or(TileReadError::NoSuchTile)
    }

    fn read_tile(&mut self, level: u8, index: u64) -> Result<TileNodes, TileReadError<E>> {
        let width = width_at(level, index, self.size).ok_or(TileReadError::NoSuchTile)?;
        let path = TilePath::hashes(level, index, width).map_err(|_| TileReadError::NoSuchTile)?;
        let bytes = (self.fetch)(&path).map_err(TileReadError::Fetch)?;
        if bytes.len() != usize::from(width) * HASH_BYTES {
            return Err(TileReadError::WrongLength { path });
        }
        Ok(TileNodes::build(&bytes))
    }
}

impl<F, E> HashSource for TileHashes<F>
where
    F: FnMut(&TilePath) -> Result<Vec<u8>, E>,
{
    type Error = TileReadError<E>;

    fn node(&mut self, node: NodeId) -> Result<Hash, Self::Error> {
        let (level, row) = (node.level / TILE_HEIGHT, node.level % TILE_HEIGHT);
        if level > MAX_TILE_LEVEL {
            return Err(TileReadError::NoSuchTile);
        }
        let per_tile = TILE_WIDTH >> row;
        let tile = self.tile(level, node.index / per_tile)?;
        let hash = tile.0[usize::from(row)].get((node.index % per_tile) as usize);
        hash.copied().ok_or(TileReadError::NoSuchTile)
    }
}

impl TileNodes {
    fn build(bytes: &[u8]) -> Self {
        let mut rows: [Vec<Hash>; TILE_HEIGHT as usize] = Default::default();
        rows[0] = bytes.as_chunks::<HASH_BYTES>().0.iter().copied().map(Hash).collect();
        for row in 1..rows.len() {
            let pairs = rows[row - 1].as_chunks::<2>().0;
            rows[row] = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
        }
        Self(rows)
    }
}

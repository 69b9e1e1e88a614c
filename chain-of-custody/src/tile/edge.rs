//! The right-hand edge of the tree as tiles: what the ledger keeps in memory to append, state the root and write
//! the tiles of a batch.

use super::path::width_at;
use super::{MAX_TILE_LEVEL, TILE_HEIGHT, TILE_WIDTH, TileKind, TilePath, TileReadError};
use crate::ids::{LeafIndex, TreeSize};
use crate::merkle::{Frontier, HASH_BYTES, Hash, NodeId, node_hash};

const LEVELS: usize = MAX_TILE_LEVEL as usize + 1;

/// One tile to store: create-only, and the same bytes for the same path always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileWrite {
    pub path: TilePath,
    pub bytes: Vec<u8>,
}

/// Memory of at most 8 × 255 hashes plus what was appended since the last `take_writes`. Appending costs one or
/// two hashes on average, whatever the size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TileEdge {
    frontier: Frontier,
    /// Per tile level, the hashes of the last tile that is not full.
    rows: [Vec<u8>; LEVELS],
    /// Full tiles not yet taken.
    finished: Vec<TileWrite>,
    /// The size at the last `take_writes`.
    taken: u64,
}

impl TileEdge {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a stored tree, read from its partial tiles (at most eight). Compare `root` with the
    /// checkpoint before appending: tiles are not trusted by themselves.
    pub fn restore<E>(
        size: TreeSize,
        mut fetch: impl FnMut(&TilePath) -> Result<Vec<u8>, E>,
    ) -> Result<Self, TileReadError<E>> {
        let mut edge = Self { taken: size.0, ..Self::default() };
        for level in 0..=MAX_TILE_LEVEL {
            let index = (size.0 >> (u32::from(level) * u32::from(TILE_HEIGHT))) / TILE_WIDTH;
            let Some(width) = width_at(level, index, size) else { continue };
            let path =
                TilePath::hashes(level, index, width).map_err(|_| TileReadError::NoSuchTile)?;
            let bytes = fetch(&path).map_err(TileReadError::Fetch)?;
            if bytes.len() != usize::from(width) * HASH_BYTES {
                return Err(TileReadError::WrongLength { path });
            }
            edge.rows[usize::from(level)] = bytes;
        }
        let nodes = edge.rows.iter().rev().flat_map(|row| row_nodes(row)).collect();
        edge.frontier = Frontier::from_nodes(size, nodes).map_err(|_| TileReadError::NoSuchTile)?;
        Ok(edge)
    }

    /// Appends a leaf hash and returns its index.
    pub fn append(&mut self, leaf: Hash) -> LeafIndex {
        self.append_with(leaf, |_, _| ())
    }

    /// As `append`, reporting each subtree that the leaf completes: a proof of the same batch needs them.
    pub fn append_with(
        &mut self,
        leaf: Hash,
        mut completed: impl FnMut(NodeId, Hash),
    ) -> LeafIndex {
        let Self { frontier, rows, finished, .. } = self;
        frontier.append_with(leaf, |node, hash| {
            completed(node, hash);
            if node.level % TILE_HEIGHT == 0 && node.level / TILE_HEIGHT <= MAX_TILE_LEVEL {
                push_hash(rows, finished, node, hash);
            }
        })
    }

    pub fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The tiles to store for the leaves appended since the last call: those that became full and the partial
    /// ones of the size now. The same set as `new_tiles(size then, size now)`.
    pub fn take_writes(&mut self) -> Vec<TileWrite> {
        let mut writes = std::mem::take(&mut self.finished);
        for level in 0..=MAX_TILE_LEVEL {
            let row = &self.rows[usize::from(level)];
            let shift = u32::from(level) * u32::from(TILE_HEIGHT);
            let count = self.size().0 >> shift;
            if count == self.taken >> shift || row.is_empty() {
                continue;
            }
            let width = (row.len() / HASH_BYTES) as u16;
            let path = TilePath::hashes(level, count / TILE_WIDTH, width)
                .expect("a row holds 1 to 255 hashes of a level that exists");
            writes.push(TileWrite { path, bytes: row.clone() });
        }
        self.taken = self.size().0;
        writes
    }
}

fn push_hash(
    rows: &mut [Vec<u8>; LEVELS],
    finished: &mut Vec<TileWrite>,
    node: NodeId,
    hash: Hash,
) {
    let level = node.level / TILE_HEIGHT;
    let row = &mut rows[usize::from(level)];
    row.extend_from_slice(&hash.0);
    if row.len() == TILE_WIDTH as usize * HASH_BYTES {
        let path = TilePath::hashes(level, node.index / TILE_WIDTH, TILE_WIDTH as u16)
            .expect("a full tile of a level that exists");
        debug_assert!(matches!(path.kind(), TileKind::Hashes { .. }));
        finished.push(TileWrite { path, bytes: std::mem::take(row) });
    }
}

/// The roots of the complete subtrees in a row of fewer than 256 hashes, largest first.
fn row_nodes(row: &[u8]) -> Vec<Hash> {
    let mut hashes: Vec<Hash> = row.as_chunks::<HASH_BYTES>().0.iter().copied().map(Hash).collect();
    let mut roots = Vec::new();
    while !hashes.is_empty() {
        let rest = hashes.split_off(1 << hashes.len().ilog2());
        roots.push(complete_root(std::mem::replace(&mut hashes, rest)));
    }
    roots
}

/// The root over a power of two of hashes.
fn complete_root(mut hashes: Vec<Hash>) -> Hash {
    while hashes.len() > 1 {
        hashes =
            hashes.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    hashes[0]
}

//! Tiles (c2sp.org/tlog-tiles): how hashes and entries of the ledger lie in files.
//!
//! Here: tile names, which tiles a growing tree needs, their bytes, entry bundles, and `TileHashes`, which reads
//! hashes for proofs from stored tiles. Not here: reading and writing files; the caller brings a closure.
//! Invariant: a tile's name and bytes depend on the tree alone, so writing one twice is harmless and a tile once
//! full never changes. Specified in `docs/formats/ledger.md`.

mod edge;
mod entries;
mod hashes;
mod path;

pub use edge::{TileEdge, TileWrite};
pub use entries::{MAX_BUNDLE_BYTES, decode_entries, encode_entries};
pub use hashes::{TileHashes, TileReadError};
pub use path::{TileKind, TilePath, new_bundles, new_tiles};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Tree levels that one tile spans.
pub const TILE_HEIGHT: u8 = 8;
/// The highest tile level that a tree of 2^64 − 1 leaves has.
pub const MAX_TILE_LEVEL: u8 = 7;

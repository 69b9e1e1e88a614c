//! What lets a reader hold the bundle against what came before it: time stamps, and the hash tiles that tie them, and
//! whatever the reader kept, to the bundle's checkpoint.

use chain_of_custody::bundle::carried_tiles;
use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::ids::{LeafIndex, TreeSize};
use storage::ledger::{KeptStamp, Ledger, LedgerError};

use super::request::BundleError;

/// Stamps and tiles, by their path under the ledger's folder.
pub(super) async fn files(
    ledger: &Ledger,
    checkpoint: &SignedCheckpoint,
    received: &[LeafIndex],
) -> Result<Vec<(String, Vec<u8>)>, BundleError> {
    let broken = |error: LedgerError| BundleError::Record(error.to_string());
    let size = checkpoint.unverified().size;
    let stamps = chosen(ledger.stamps().await.map_err(broken)?, size, received);
    let mut files = Vec::new();
    for stamp in &stamps {
        let stamp = ledger.stamp_files(stamp).await.map_err(broken)?;
        files.extend(stamp.map(|(path, bytes)| (path, bytes.to_vec())));
    }
    let earlier: Vec<TreeSize> = stamps.iter().map(|stamp| stamp.size).collect();
    for tile in carried_tiles(size, &earlier) {
        files.push((tile.to_string(), ledger.hash_tile(&tile).await.map_err(broken)?));
    }
    Ok(files)
}

/// The first stamp over each item's entry, which dates it, and the newest.
fn chosen(mut stamps: Vec<KeptStamp>, size: TreeSize, received: &[LeafIndex]) -> Vec<KeptStamp> {
    stamps.retain(|stamp| stamp.size <= size);
    stamps.sort_by_key(|stamp| stamp.size);
    let first_over = |index: &LeafIndex| stamps.iter().position(|s| s.size.covers(*index));
    let mut chosen: Vec<usize> = received.iter().filter_map(first_over).collect();
    chosen.extend(stamps.len().checked_sub(1));
    chosen.sort_unstable();
    chosen.dedup();
    chosen.into_iter().map(|at| stamps[at].clone()).collect()
}

//! The ledger as files in a folder, for others to read with their own tools.

use std::path::Path;

use chain_of_custody::ids::TreeSize;
use chain_of_custody::tile::{TilePath, new_bundles, new_tiles};

use super::{LedgerError, Reader};

/// Writes the newest checkpoint, every tile and entry bundle of its size, and the notes about replaced log keys. The
/// checkpoint comes last.
pub(super) async fn export(reader: &Reader, folder: &Path) -> Result<TreeSize, LedgerError> {
    let checkpoint = reader.latest();
    let size = checkpoint.unverified().size;
    let paths = new_tiles(TreeSize(0), size).into_iter().chain(new_bundles(TreeSize(0), size));
    for path in paths {
        let bytes = bytes_of(reader, &path).await?;
        write(folder, &path.to_string(), &bytes).await?;
    }
    let rotations = reader.records.rotations_to(&reader.log_key).await?;
    for (number, rotation) in rotations.iter().enumerate() {
        write(folder, &format!("rotation/{number}"), rotation.note.as_bytes()).await?;
    }
    write(folder, "checkpoint", checkpoint.to_string().as_bytes()).await?;
    Ok(size)
}

/// Exactly what a tile of this width holds, also where only a wider one is left.
async fn bytes_of(reader: &Reader, path: &TilePath) -> Result<Vec<u8>, LedgerError> {
    if matches!(path.kind(), chain_of_custody::tile::TileKind::Hashes { .. }) {
        return reader.files.hash_tile(path).await;
    }
    let entries = reader.files.entries(path).await?;
    let encoded = chain_of_custody::tile::encode_entries(&entries);
    encoded.map_err(|error| super::malformed(&path.to_string(), error))
}

async fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), LedgerError> {
    let path = folder.join(name);
    let failed = |source| LedgerError::Io { path: path.display().to_string(), source };
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent).await.map_err(failed)?;
    }
    tokio::fs::write(&path, bytes).await.map_err(failed)
}

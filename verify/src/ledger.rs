//! A ledger as files: its checkpoint and hash tiles, as `exhibit ledger export` writes them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use chain_of_custody::bundle::{Trust, check_ledger};
use chain_of_custody::merkle::HASH_BYTES;
use chain_of_custody::report::Report;
use chain_of_custody::tile::{TILE_WIDTH, TilePath};

use super::{Usage, limits};

const CHECKPOINT: &str = "checkpoint";

/// Whether a folder holds a ledger and no bundle.
pub(crate) fn looks_like_one(folder: &Path) -> bool {
    folder.join(CHECKPOINT).is_file() && !folder.join("bagit.txt").exists()
}

/// Whether the ledger in `folder` begins with what `slip` shows.
pub(crate) fn check(folder: &Path, slip: &[u8], trust: &Trust) -> Result<Report, Usage> {
    let path = folder.join(CHECKPOINT);
    let checkpoint = limits::read_small(&path)
        .map_err(|error| Usage(format!("cannot read {}: {error}", path.display())))?;
    Ok(check_ledger(&checkpoint, slip, trust, |tile| read_tile(folder, tile)))
}

/// The hashes of a tile: from the file of that width, or the first of a wider one.
fn read_tile(folder: &Path, tile: &TilePath) -> io::Result<Vec<u8>> {
    let exact = folder.join(tile.to_string());
    if let Ok(bytes) = read(&exact) {
        return Ok(bytes);
    }
    let name = tile.to_string();
    let full = name.split_once(".p/").map_or(name.as_str(), |(full, _)| full);
    let wider = fs::read_dir(folder.join(format!("{full}.p"))).into_iter().flatten().flatten();
    let widest = wider
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u16>().ok())
        .filter(|width| *width > tile.width())
        .max()
        .map(|width| format!("{full}.p/{width}"));
    let mut bytes =
        read(&folder.join(full)).or_else(|gone| read(&folder.join(widest.ok_or(gone)?)))?;
    bytes.truncate(usize::from(tile.width()) * HASH_BYTES);
    Ok(bytes)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(TILE_WIDTH * HASH_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

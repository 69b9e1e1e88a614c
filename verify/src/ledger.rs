//! A ledger as files, as `exhibit ledger export` writes them: its checkpoint, hash tiles and notes about replaced keys; or
//! what a bundle carries of it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use chain_of_custody::bundle::{LaterLedger, Trust, check_ledger, layout, with_ledger_of};
use chain_of_custody::merkle::HASH_BYTES;
use chain_of_custody::report::Report;
use chain_of_custody::rotation::MAX_ROTATIONS;
use chain_of_custody::tile::{TILE_WIDTH, TilePath};

use super::{Usage, folder, hash, limits, zip};

const CHECKPOINT: &str = "checkpoint";
/// Notes about replaced keys, numbered from 0.
const ROTATION: &str = "rotation";

/// Whether a folder holds a ledger and no bundle.
pub(crate) fn looks_like_one(folder: &Path) -> bool {
    folder.join(CHECKPOINT).is_file() && !folder.join("bagit.txt").exists()
}

/// Whether the ledger in `folder` begins with what `slip` shows.
pub(crate) fn check(folder: &Path, slip: &[u8], trust: &Trust) -> Result<Report, Usage> {
    with_folder(folder, |ledger| check_ledger(ledger, slip, trust))
}

/// Gives `use_it` the ledger at `path`: a folder of its files, or a bundle.
pub(crate) fn with_later<T>(
    path: &Path,
    use_it: impl FnOnce(&LaterLedger<'_>) -> T,
) -> Result<T, Usage> {
    if looks_like_one(path) {
        return with_folder(path, use_it);
    }
    let none = || Usage(format!("there is no ledger and no bundle at {}", path.display()));
    let mut gathered = match path {
        path if path.is_dir() => folder::read(path),
        path if path.is_file() && zip::looks_like_one(path) => zip::read(path),
        _ => return Err(none()),
    };
    gathered.places.retain(|place| place.path.starts_with(layout::LEDGER));
    with_ledger_of(&hash::facts(&gathered), use_it).ok_or_else(none)
}

fn with_folder<T>(folder: &Path, use_it: impl FnOnce(&LaterLedger<'_>) -> T) -> Result<T, Usage> {
    let cannot =
        |path: &Path, error: io::Error| Usage(format!("cannot read {}: {error}", path.display()));
    let path = folder.join(CHECKPOINT);
    let checkpoint = limits::read_small(&path).map_err(|error| cannot(&path, error))?;
    let mut rotations = Vec::new();
    for number in 0..MAX_ROTATIONS {
        let path = folder.join(ROTATION).join(number.to_string());
        match limits::read_small(&path) {
            Ok(note) => rotations.push(note),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(cannot(&path, error)),
        }
    }
    let tiles = |tile: &TilePath| read_tile(folder, tile).ok();
    Ok(use_it(&LaterLedger { checkpoint: &checkpoint, rotations, tiles: &tiles }))
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

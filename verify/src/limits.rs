//! Every limit of the checker, by name. What exceeds one is a finding that names it, never a crash.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most files in a bundle.
pub(crate) const MAX_FILES: usize = 200_000;
/// How deep folders may lie in each other.
pub(crate) const MAX_DEPTH: usize = 16;
/// The largest of the small files that are read whole (entries, openings, proofs, lists).
pub(crate) const MAX_RECORD_BYTES: u64 = 256 * 1024 * 1024;
/// All of those together.
pub(crate) const MAX_RECORDS_BYTES: u64 = 1024 * 1024 * 1024;
/// The largest outboard read to find a difference: enough for a file of 2 TiB.
pub(crate) const MAX_OUTBOARD_BYTES: u64 = 1024 * 1024 * 1024;
/// The largest directory of a ZIP.
pub(crate) const MAX_ZIP_DIRECTORY_BYTES: u64 = 128 * 1024 * 1024;
/// The largest policy or receipt.
const MAX_SMALL_BYTES: u64 = 4 * 1024 * 1024;

/// Reads a policy or a receipt whole.
pub(crate) fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_SMALL_BYTES + 1).read_to_end(&mut bytes)?;
    let fits = bytes.len() as u64 <= MAX_SMALL_BYTES;
    fits.then_some(bytes)
        .ok_or_else(|| io::Error::other(format!("it is larger than {MAX_SMALL_BYTES} bytes")))
}

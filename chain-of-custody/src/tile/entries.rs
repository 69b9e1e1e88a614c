//! Entry bundles: each entry behind its length (u16, big-endian), at most 256 of them.

use super::TILE_WIDTH;
use crate::entry::MAX_ENTRY_BYTES;
use crate::malformed::Malformed;

const BUNDLE: &str = "entry bundle";

/// Bytes of one bundle at most.
pub const MAX_BUNDLE_BYTES: usize = TILE_WIDTH as usize * (2 + MAX_ENTRY_BYTES);

/// Writes a bundle of 1 to 256 entries.
pub fn encode_entries<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, Malformed> {
    check_count(entries.len())?;
    let size_bytes = entries.iter().map(|e| 2 + e.as_ref().len()).sum();
    let mut bytes = Vec::with_capacity(size_bytes);
    for entry in entries {
        let length = u16::try_from(entry.as_ref().len())
            .map_err(|_| Malformed::new(BUNDLE, "an entry is longer than 65,535 bytes"))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry.as_ref());
    }
    Ok(bytes)
}

/// Reads a bundle of 1 to 256 entries, in order. That they belong to the ledger is for their leaf hashes to show.
pub fn decode_entries(bytes: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        check_count(entries.len() + 1)?;
        let cut = Malformed::new(BUNDLE, "it ends inside an entry");
        let (length, tail) = rest.split_first_chunk::<2>().ok_or(cut)?;
        let (entry, tail) =
            tail.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(cut)?;
        entries.push(entry);
        rest = tail;
    }
    check_count(entries.len())?;
    Ok(entries)
}

fn check_count(count: usize) -> Result<(), Malformed> {
    match count {
        0 => Err(Malformed::new(BUNDLE, "it holds no entry")),
        n if n as u64 > TILE_WIDTH => Err(Malformed::new(BUNDLE, "it holds more than 256 entries")),
        _ => Ok(()),
    }
}

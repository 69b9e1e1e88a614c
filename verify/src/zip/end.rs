//! The end of a ZIP, and the plain values everything in one is made of.
//!
//! A ZIP may end with two records that both say where its directory lies. They must agree: a reader that goes by the
//! other one would see other files.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use super::Fault;

pub(super) const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";
const END_BYTES: u64 = 22;
const LOCATOR_BYTES: u64 = 20;
const END_64_BYTES: u64 = 56;
/// The signature and this length itself do not count in the length that a wide end gives.
const END_64_UNCOUNTED_BYTES: u64 = 12;

/// Where the directory lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) count: u64,
    pub(super) size_bytes: u64,
    pub(super) at: u64,
}

/// The directory ends where its end record begins, and the file ends with that.
pub(super) fn find_directory(file: &mut File) -> Result<Directory, Fault> {
    let length = file.seek(SeekFrom::End(0))?;
    let end_at = length.checked_sub(END_BYTES).ok_or(Fault::Malformed("it is too short"))?;
    let end = read_at(file, end_at, END_BYTES)?;
    if !end.starts_with(END) || u16_at(&end, 20) != Some(0) {
        return Err(Fault::Malformed(
            "it does not end with its directory: cut off, or something was added",
        ));
    }
    let locator_at = end_at.checked_sub(LOCATOR_BYTES);
    let locator = locator_at.map(|at| read_at(file, at, LOCATOR_BYTES)).transpose()?;
    let (found, directory_end) = match locator.filter(|bytes| bytes.starts_with(LOCATOR_64)) {
        None => (narrow(&end).filter(|found| says(&end, found, false)), end_at),
        Some(locator) => {
            let (found, at) = find_directory_64(file, &locator, end_at)?;
            (Some(found).filter(|found| says(&end, found, true)), at)
        }
    };
    let found = found.ok_or(Fault::Malformed("its ends disagree about its directory"))?;
    if found.at.checked_add(found.size_bytes) != Some(directory_end) {
        return Err(Fault::Malformed("its directory is not where its end says"));
    }
    Ok(found)
}

fn narrow(end: &[u8]) -> Option<Directory> {
    let [size_bytes, at] = [u32_at(end, 12)?, u32_at(end, 16)?].map(u64::from);
    Some(Directory { count: u16_at(end, 10)?.into(), size_bytes, at })
}

/// Whether the narrow end describes this directory on the one disk there is. With a wide end beside it, a field may
/// also be all ones, which says: look there.
fn says(end: &[u8], found: &Directory, wide: bool) -> bool {
    let short = |at, value: u64| {
        u16_at(end, at).is_some_and(|n| u64::from(n) == value || (wide && n == u16::MAX))
    };
    let long = |at, value: u64| {
        u32_at(end, at).is_some_and(|n| u64::from(n) == value || (wide && n == u32::MAX))
    };
    let counts = short(8, found.count) && short(10, found.count);
    short(4, 0) && short(6, 0) && counts && long(12, found.size_bytes) && long(16, found.at)
}

fn find_directory_64(
    file: &mut File,
    locator: &[u8],
    end_at: u64,
) -> Result<(Directory, u64), Fault> {
    let bad = Fault::Malformed("its ZIP64 end is damaged");
    let Some(at) = u64_at(locator, 8) else { return Err(bad) };
    let one_disk = u32_at(locator, 4) == Some(0) && u32_at(locator, 16) == Some(1);
    if !one_disk || at.checked_add(END_64_BYTES + LOCATOR_BYTES) != Some(end_at) {
        return Err(bad);
    }
    let end = read_at(file, at, END_64_BYTES)?;
    wide(&end).map(|found| (found, at)).ok_or(bad)
}

/// The wide end: of the one length, on the one disk, all entries there.
fn wide(end: &[u8]) -> Option<Directory> {
    let plain = end.starts_with(END_64)
        && u64_at(end, 4) == Some(END_64_BYTES - END_64_UNCOUNTED_BYTES)
        && (u32_at(end, 16), u32_at(end, 20)) == (Some(0), Some(0))
        && u64_at(end, 24) == u64_at(end, 32);
    let found =
        Directory { count: u64_at(end, 32)?, size_bytes: u64_at(end, 40)?, at: u64_at(end, 48)? };
    plain.then_some(found)
}

pub(super) fn read_at(file: &mut File, at: u64, length: u64) -> Result<Vec<u8>, Fault> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.by_ref().take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(Fault::Malformed("it is cut off")) }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

//! A bundle as a ZIP of stored entries (APPNOTE.TXT 6.3.10), read strictly.
//!
//! A ZIP can say two things at once: in its directory and before each entry, by overlapping entries, by bytes that no
//! entry has, by a second name in an extra field. Programs differ in what they believe, so anything but the one plain
//! form is a finding: entries stored as they are, one after the other without gaps, each described twice and both times
//! alike, with no extra field but the wide sizes that its header asks for.

mod end;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use chain_of_custody::bundle::layout::BAGIT;
use chain_of_custody::report::Code;

use end::{END, find_directory, read_at, u16_at, u32_at};

use crate::gather::{Gathered, Place};
use crate::limits::{MAX_FILES, MAX_ZIP_DIRECTORY_BYTES};

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const LOCAL_BYTES: u64 = 30;
const CENTRAL_BYTES: usize = 46;
const EXTRA_64: u16 = 1;
const IN_EXTRA: u32 = u32::MAX;
/// Encrypted, sizes after the data, patched, masked directory: none of these is read.
const REFUSED_FLAGS: u16 = 1 | 1 << 3 | 1 << 5 | 1 << 13;
const KIND_MASK: u32 = 0o170_000;
const KIND_FILE: u32 = 0o100_000;
const KIND_FOLDER: u32 = 0o040_000;

/// Why the ZIP as a whole was not read.
enum Fault {
    Io(io::Error),
    Malformed(&'static str),
    TooLarge(&'static str),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether a file begins like a ZIP; an empty one begins with its end.
pub(crate) fn looks_like_one(path: &Path) -> bool {
    let mut start = [0; 4];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| &start == LOCAL || &start == END)
}

/// Every file in the ZIP below its one top folder.
pub(crate) fn read(path: &Path) -> Gathered {
    let mut gathered = Gathered::default();
    let fault = match read_entries(path) {
        Ok((entries, end)) => {
            gather(path, entries, end, &mut gathered);
            return gathered;
        }
        Err(fault) => fault,
    };
    let (code, message) = match fault {
        Fault::Io(error) => (Code::Unreadable, format!("The ZIP cannot be read: {error}.")),
        Fault::Malformed(reason) => {
            (Code::ZipMalformed, format!("The ZIP cannot be read: {reason}."))
        }
        Fault::TooLarge(what) => (Code::TooLarge, format!("The ZIP has {what}.")),
    };
    gathered.find(code, "", message);
    gathered
}

/// An entry as the directory describes it, with where its data lie.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    header_at: u64,
    data_at: u64,
    size_bytes: u64,
    stored: bool,
    unix_kind: u32,
    alike: bool,
}

fn read_entries(path: &Path) -> Result<(Vec<Entry>, u64), Fault> {
    let mut file = File::open(path)?;
    let directory = find_directory(&mut file)?;
    if directory.count > MAX_FILES as u64 {
        return Err(Fault::TooLarge("more files than this checker reads"));
    }
    if directory.size_bytes > MAX_ZIP_DIRECTORY_BYTES {
        return Err(Fault::TooLarge("a directory that is too large"));
    }
    let bytes = read_at(&mut file, directory.at, directory.size_bytes)?;
    let mut rest = bytes.as_slice();
    let mut entries = Vec::new();
    for _ in 0..directory.count {
        let mut entry = parse_central(&mut rest)
            .ok_or(Fault::Malformed("its directory is damaged or not plain"))?;
        if entry.header_at >= directory.at {
            return Err(Fault::Malformed("an entry lies behind the directory"));
        }
        match_local(&mut file, &mut entry)?;
        entries.push(entry);
    }
    if !rest.is_empty() {
        return Err(Fault::Malformed("its directory has more than it says"));
    }
    entries.sort_by_key(|entry| entry.header_at);
    Ok((entries, directory.at))
}

/// One record of the directory; `rest` moves behind it.
fn parse_central(rest: &mut &[u8]) -> Option<Entry> {
    let header = rest.get(..CENTRAL_BYTES).filter(|header| header.starts_with(CENTRAL))?;
    let lengths = [u16_at(header, 28)?, u16_at(header, 30)?, u16_at(header, 32)?].map(usize::from);
    let (name, after) = rest.get(CENTRAL_BYTES..)?.split_at_checked(lengths[0])?;
    let (extra, after) = after.split_at_checked(lengths[1])?;
    let (_comment, after) = after.split_at_checked(lengths[2])?;
    // In the extra field they stand in this order: size, stored size, place.
    let narrow = [u32_at(header, 24)?, u32_at(header, 20)?, u32_at(header, 42)?];
    let [size_bytes, stored_bytes, header_at] = widened(narrow, extra)?;
    let (flags, method) = (u16_at(header, 8)?, u16_at(header, 10)?);
    let entry = Entry {
        name: String::from_utf8_lossy(name).into_owned(),
        header_at,
        data_at: 0,
        size_bytes: stored_bytes,
        stored: method == 0 && size_bytes == stored_bytes,
        unix_kind: (u32_at(header, 38)? >> 16) & KIND_MASK,
        alike: flags & REFUSED_FLAGS == 0
            && u16_at(header, 34)? == 0
            && std::str::from_utf8(name).is_ok(),
    };
    *rest = after;
    Some(entry)
}

/// The values, with those that are all ones taken from the extra field. Nothing if there is any other extra field, or
/// a value that nothing asks for: some program would go by it.
fn widened<const N: usize>(narrow: [u32; N], extra: &[u8]) -> Option<[u64; N]> {
    let asked = narrow.iter().filter(|value| **value == IN_EXTRA).count();
    let values = match extra {
        [] => &[],
        _ => {
            let field = extra.get(4..)?;
            let whole = usize::from(u16_at(extra, 2)?) == field.len();
            field.as_chunks::<8>().0.get(..asked).filter(|values| {
                u16_at(extra, 0) == Some(EXTRA_64) && whole && values.len() * 8 == field.len()
            })?
        }
    };
    let mut values = values.iter().map(|value| u64::from_le_bytes(*value));
    let mut wide = [0; N];
    for (wide, narrow) in wide.iter_mut().zip(narrow) {
        *wide = if narrow == IN_EXTRA { values.next()? } else { narrow.into() };
    }
    Some(wide)
}

/// Holds the header before the data against the directory.
fn match_local(file: &mut File, entry: &mut Entry) -> Result<(), Fault> {
    let damaged = || Fault::Malformed("an entry's header is damaged or not plain");
    let header = read_at(file, entry.header_at, LOCAL_BYTES)?;
    let lengths = (u16_at(&header, 26), u16_at(&header, 28));
    let (Some(name_bytes), Some(extra_bytes)) = lengths else { return Err(damaged()) };
    if !header.starts_with(LOCAL) {
        return Err(damaged());
    }
    let (name_bytes, extra_bytes) = (u64::from(name_bytes), u64::from(extra_bytes));
    let names = read_at(file, entry.header_at + LOCAL_BYTES, name_bytes + extra_bytes)?;
    let (name, extra) = names.split_at_checked(name_bytes as usize).ok_or_else(damaged)?;
    let (Some(size), Some(stored)) = (u32_at(&header, 22), u32_at(&header, 18)) else {
        return Err(damaged());
    };
    let [size, stored] = widened([size, stored], extra).ok_or_else(damaged)?;
    let flags = u16_at(&header, 6).unwrap_or(REFUSED_FLAGS);
    let same_size = !entry.stored || (size == stored && stored == entry.size_bytes);
    let same_method = entry.stored == (u16_at(&header, 8) == Some(0));
    entry.alike &=
        name == entry.name.as_bytes() && flags & REFUSED_FLAGS == 0 && same_size && same_method;
    entry.data_at = entry.header_at + LOCAL_BYTES + name_bytes + extra_bytes;
    Ok(())
}

fn gather(path: &Path, entries: Vec<Entry>, end: u64, gathered: &mut Gathered) {
    check_tiling(&entries, end, gathered);
    let top = top_of(&entries);
    // Said once: the names below it are then judged without it.
    let good = top.is_empty() || gathered.check_name(&format!("{top}{BAGIT}"), &top);
    for entry in entries {
        let name = entry.name.strip_prefix(top.as_str()).unwrap_or(&entry.name).to_owned();
        let packed = if good { entry.name.clone() } else { name.clone() };
        add(path, &entry, &Name { packed, name }, gathered);
    }
    gathered.refuse_equal_names();
}

/// The one top folder with its slash. An unpacker follows it like every other part of a name.
fn top_of(entries: &[Entry]) -> String {
    let first = entries.first().and_then(|entry| entry.name.split_once('/'));
    let top = first.map(|(top, _)| format!("{top}/"));
    let top = top.filter(|top| entries.iter().all(|entry| entry.name.starts_with(top.as_str())));
    top.unwrap_or_default()
}

/// What an entry is called: in the ZIP, as far as that is to be judged, and in the bundle.
struct Name {
    packed: String,
    name: String,
}

/// From the first byte to the directory, each entry begins where the one before ends.
fn check_tiling(entries: &[Entry], end: u64, gathered: &mut Gathered) {
    let mut expected = 0;
    for entry in entries {
        if entry.header_at != expected {
            let message =
                "Entries of the ZIP overlap, or bytes lie between them that belong to none.";
            return gathered.find(Code::ZipOverlap, &entry.name, message);
        }
        expected = entry.data_at.saturating_add(entry.size_bytes);
    }
    if expected != end {
        gathered.find(
            Code::ZipOverlap,
            "",
            "Bytes lie before the ZIP's directory that belong to no entry.",
        );
    }
}

fn add(zip: &Path, entry: &Entry, names: &Name, gathered: &mut Gathered) {
    let Name { packed, name } = names;
    if !entry.alike {
        let message = "An entry is described differently in two places, encrypted, or written without its size.";
        return gathered.find(Code::ZipMalformed, name, message);
    }
    if name.is_empty() || name.ends_with('/') {
        return add_folder(entry, names, gathered);
    }
    if !matches!(entry.unix_kind, 0 | KIND_FILE) {
        let message = "A link or special file lies in the bundle. It was not followed.";
        return gathered.find(Code::Symlink, name, message);
    }
    if !entry.stored {
        let message = "An entry is compressed. Unpack the ZIP and check the folder.";
        return gathered.find(Code::ZipCompressed, name, message);
    }
    let (path, file) = (name.clone(), zip.to_owned());
    let place = Place { path, file, offset: entry.data_at, size_bytes: entry.size_bytes };
    gathered.add_named(packed, place);
}

/// Folders carry nothing: only one that hides something, or whose name bundles do not have, is worth a word.
fn add_folder(entry: &Entry, Name { packed, name }: &Name, gathered: &mut Gathered) {
    if entry.size_bytes != 0 || !matches!(entry.unix_kind, 0 | KIND_FOLDER) {
        gathered.find(Code::ZipMalformed, name, "A folder in the ZIP has content.");
    }
    if !name.is_empty() {
        gathered.check_name(packed.strip_suffix('/').unwrap_or(packed), name);
    }
}

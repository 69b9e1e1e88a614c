//! The group values of an upload under way: appended to a side file as they come, each batch sealed on its own.

use std::fs::File;
use std::io;
use std::path::Path;

use chain_of_custody::digest::{GroupCv, Outboard};

use super::disk::Disk;
use super::error::{Damage, StoreError};
use super::kek::ObjectKey;
use super::tink::{self, Purpose};
use super::upload::GroupsRef;

/// What may wait in memory before it goes to the file: 2 GiB of footage.
const WAITING_MAX: usize = 32 * 1024;

/// Values in the file and values that wait.
#[derive(Debug)]
pub(crate) struct GroupList {
    pub(crate) kept: GroupsRef,
    pub(crate) waiting: Vec<GroupCv>,
}

impl GroupList {
    pub(crate) fn new(kept: GroupsRef) -> Self {
        Self { kept, waiting: Vec::new() }
    }

    pub(crate) fn push(&mut self, values: &[GroupCv]) {
        self.waiting.extend_from_slice(values);
    }

    /// Whether it is time to append what waits.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }
}

/// Appends a batch after what counts of the file; durable when this returns.
pub(crate) fn append(
    disk: &dyn Disk,
    path: &Path,
    key: &ObjectKey,
    kept: GroupsRef,
    values: &[GroupCv],
) -> Result<GroupsRef, StoreError> {
    if values.is_empty() {
        return Ok(kept);
    }
    let flat: Vec<u8> = values.iter().flat_map(|value| value.0).collect();
    let sealed = tink::seal_all(key, Purpose::Groups, &flat);
    let length = u32::try_from(sealed.len()).expect("a batch is a few MiB").to_le_bytes();
    let record = [&length[..], &sealed].concat();
    let fail = |error: io::Error| StoreError::io(path, error);
    let file = disk.open(path).map_err(fail)?;
    disk.write_at(&file, &record, kept.file_bytes).map_err(fail)?;
    disk.sync(&file).map_err(|source| StoreError::Device { path: path.to_owned(), source })?;
    Ok(GroupsRef {
        values: kept.values + values.len() as u64,
        file_bytes: kept.file_bytes + record.len() as u64,
    })
}

/// Reads the values that count; what stands after them in the file does not.
pub(crate) fn load(
    path: &Path,
    key: &ObjectKey,
    kept: GroupsRef,
) -> Result<Vec<GroupCv>, StoreError> {
    let damaged = |what| StoreError::damaged(path, what);
    let file = File::open(path).map_err(|e| StoreError::io(path, e))?;
    let mut records = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, kept.file_bytes), &mut records)
        .map_err(|e| StoreError::io(path, e))?;
    let (mut rest, mut values) = (records.as_slice(), Vec::new());
    while let Some((length, later)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (sealed, later) =
            later.split_at_checked(length).ok_or_else(|| damaged(Damage::Form))?;
        let flat = tink::open_all(key, Purpose::Groups, sealed).map_err(damaged)?;
        values.extend(flat.as_chunks::<32>().0.iter().map(|value| GroupCv(*value)));
        rest = later;
    }
    let whole = rest.is_empty() && values.len() as u64 == kept.values;
    if whole { Ok(values) } else { Err(damaged(Damage::Form)) }
}

/// The outboard, when the values are all there. When not, it is computed from the bytes later.
pub(crate) fn outboard(
    path: &Path,
    key: &ObjectKey,
    list: &GroupList,
    size_bytes: u64,
) -> Option<Outboard> {
    let mut values = load(path, key, list.kept).ok()?;
    values.extend_from_slice(&list.waiting);
    Outboard::new(size_bytes, values).ok()
}

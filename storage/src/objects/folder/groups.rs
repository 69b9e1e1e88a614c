//! The side file with an upload's group values.

use std::fs::File;
use std::io;
use std::path::Path;

use chain_of_custody::digest::GroupCv;

use super::disk::Disk;
use crate::objects::error::{Damage, StoreError};
use crate::objects::groups;
use crate::objects::kek::ObjectKey;
use crate::objects::upload::GroupsRef;

/// Appends a batch after what counts of the file; durable when this returns.
pub(crate) fn append(
    disk: &dyn Disk,
    path: &Path,
    key: &ObjectKey,
    kept: GroupsRef,
    values: &[GroupCv],
) -> Result<GroupsRef, StoreError> {
    let record = groups::record(key, values);
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
    let file = File::open(path).map_err(|e| StoreError::io(path, e))?;
    let mut records = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, kept.file_bytes), &mut records)
        .map_err(|e| StoreError::io(path, e))?;
    let values = groups::parse(path, key, &records)?;
    let whole = values.len() as u64 == kept.values;
    if whole { Ok(values) } else { Err(StoreError::damaged(path, Damage::Form)) }
}

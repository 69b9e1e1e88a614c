//! The group values of an upload under way: kept in batches as they come, each batch sealed on its own.

use std::path::Path;

use chain_of_custody::digest::{GroupCv, Outboard};

use super::error::{Damage, StoreError};
use super::kek::ObjectKey;
use super::tink::{self, Purpose};

/// What may wait in memory before it is kept: 2 GiB of footage.
const WAITING_MAX: usize = 32 * 1024;

/// Values that wait to be kept.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Vec<GroupCv>);

impl Waiting {
    pub(crate) fn push(&mut self, values: &[GroupCv]) {
        self.0.extend_from_slice(values);
    }

    /// Whether it is time to keep what waits.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= WAITING_MAX
    }

    /// What waits, if anything does, and how many values that is; nothing waits any more.
    pub(crate) fn take(&mut self) -> Option<Vec<GroupCv>> {
        (!self.0.is_empty()).then(|| std::mem::take(&mut self.0))
    }

    /// The outboard, when what was kept and what waits are all values. When not, it is computed from the bytes later.
    pub(crate) fn outboard(
        &self,
        kept: Result<Vec<GroupCv>, StoreError>,
        size_bytes: u64,
    ) -> Option<Outboard> {
        let mut values = kept.ok()?;
        values.extend_from_slice(&self.0);
        Outboard::new(size_bytes, values).ok()
    }
}

/// Length (u32 little-endian) ‖ the values, sealed.
pub(crate) fn record(key: &ObjectKey, values: &[GroupCv]) -> Vec<u8> {
    let flat: Vec<u8> = values.iter().flat_map(|value| value.0).collect();
    let sealed = tink::seal_all(key, Purpose::Groups, &flat);
    let length = u32::try_from(sealed.len()).expect("a batch is a few MiB").to_le_bytes();
    [&length[..], &sealed].concat()
}

/// The values of the records that stand one after another in `records`, which `path` names.
pub(crate) fn parse(
    path: &Path,
    key: &ObjectKey,
    records: &[u8],
) -> Result<Vec<GroupCv>, StoreError> {
    let damaged = |what| StoreError::damaged(path, what);
    let (mut rest, mut values) = (records, Vec::new());
    while let Some((length, later)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (sealed, later) =
            later.split_at_checked(length).ok_or_else(|| damaged(Damage::Form))?;
        let flat = tink::open_all(key, Purpose::Groups, sealed).map_err(damaged)?;
        values.extend(flat.as_chunks::<32>().0.iter().map(|value| GroupCv(*value)));
        rest = later;
    }
    if rest.is_empty() { Ok(values) } else { Err(damaged(Damage::Form)) }
}

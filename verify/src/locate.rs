//! Where a file first differs from its record, to the 64 KiB group, by the list of group values in the bundle.

use std::io::Read;
use std::ops::Range;

use chain_of_custody::bundle::{Located, Suspect};
use chain_of_custody::digest::{GROUP_BYTES, Outboard, VerifiedOutboard, groups_of};

use crate::gather::{Gathered, Place};
use crate::limits::MAX_OUTBOARD_BYTES;

/// The first group that differs.
pub(crate) fn first_difference(gathered: &Gathered, suspect: &Suspect<'_>) -> Located {
    let Some(bytes) = gathered.place(&suspect.outboard_path).and_then(read_outboard) else {
        return Located::Unknown;
    };
    let outboard = Outboard::from_bytes(suspect.size_bytes, &bytes);
    match outboard.and_then(|outboard| outboard.verify(&suspect.blake3)) {
        Ok(outboard) => {
            compare(gathered, suspect, &outboard).map_or(Located::Unknown, Located::Within)
        }
        Err(_) => Located::Unusable,
    }
}

fn read_outboard(place: &Place) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let fits = place.size_bytes <= MAX_OUTBOARD_BYTES;
    fits.then(|| place.open().ok()?.read_to_end(&mut bytes).ok())??;
    Some(bytes)
}

fn compare(
    gathered: &Gathered,
    suspect: &Suspect<'_>,
    outboard: &VerifiedOutboard,
) -> Option<Range<u64>> {
    let place = gathered.place(suspect.path)?;
    let mut reader = place.open().ok()?;
    let mut group = Vec::with_capacity(GROUP_BYTES);
    for index in 0..groups_of(suspect.size_bytes) {
        let start = index * GROUP_BYTES as u64;
        let end = (start + GROUP_BYTES as u64).min(suspect.size_bytes);
        group.clear();
        reader.by_ref().take(end - start).read_to_end(&mut group).ok()?;
        if outboard.verify_group(index, &group).is_err() {
            return Some(start..end);
        }
    }
    // Every recorded byte is there: what differs is what was added.
    (place.size_bytes > suspect.size_bytes).then_some(suspect.size_bytes..place.size_bytes)
}

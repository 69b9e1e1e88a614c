//! Where a file first differs from its record, to the 64 KiB group, by the list of group values in the bundle.

use std::io::Read;
use std::ops::Range;

use chain_of_custody::bundle::Suspect;
use chain_of_custody::digest::{GROUP_BYTES, Outboard, VerifiedOutboard, groups_of};

use crate::gather::{Gathered, Place};
use crate::limits::MAX_OUTBOARD_BYTES;

/// The first group that differs. None when the bundle has no list of values that fits the recorded digest.
pub(crate) fn first_difference(gathered: &Gathered, suspect: &Suspect<'_>) -> Option<Range<u64>> {
    let outboard = outboard(gathered.place(&suspect.outboard_path)?, suspect)?;
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

fn outboard(place: &Place, suspect: &Suspect<'_>) -> Option<VerifiedOutboard> {
    if place.size_bytes > MAX_OUTBOARD_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    place.open().ok()?.read_to_end(&mut bytes).ok()?;
    Outboard::from_bytes(suspect.size_bytes, &bytes).ok()?.verify(&suspect.blake3).ok()
}

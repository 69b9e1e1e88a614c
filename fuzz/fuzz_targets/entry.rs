//! Ledger entries and the bundles of entries in tiles: an entry has one encoding, or its leaf would not be one hash.
#![no_main]

use chain_of_custody::entry::Entry;
use chain_of_custody::sequencer::decode_openings;
use chain_of_custody::tile::{decode_entries, encode_entries};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = Entry::parse(bytes) {
        assert_eq!(entry.to_bytes().expect("what was read can be written"), bytes);
    }
    if let Ok(entries) = decode_entries(bytes) {
        assert_eq!(encode_entries(&entries).expect("what was read can be written"), bytes);
    }
    let _ = decode_openings(bytes);
});

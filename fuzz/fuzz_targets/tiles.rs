//! Tile names, entry bundles and frontiers.
#![no_main]

use chain_of_custody::merkle::Frontier;
use chain_of_custody::tile::{TilePath, decode_entries, encode_entries};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entries) = decode_entries(bytes) {
        assert_eq!(encode_entries(&entries).ok().as_deref(), Some(bytes));
    }
    if let Ok(frontier) = Frontier::from_bytes(bytes) {
        assert_eq!(frontier.to_bytes(), bytes);
        let _ = frontier.root();
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(path) = text.parse::<TilePath>()
    {
        assert_eq!(path.to_string(), text);
    }
});

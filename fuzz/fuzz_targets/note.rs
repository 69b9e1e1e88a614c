//! Signed notes and the keys that check them: what is read writes itself back, byte for byte.
#![no_main]

use chain_of_custody::note::{SignedNote, VerifierKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(key) = VerifierKey::parse(text)
    {
        assert_eq!(key.to_string(), text);
    }
});

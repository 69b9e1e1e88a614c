//! Policy files and fingerprints.
#![no_main]

use chain_of_custody::policy::{Fingerprint, Policy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = Policy::parse(bytes) {
        assert_eq!(policy.as_bytes(), bytes);
        assert_eq!(
            policy.fingerprint().to_string().parse::<Fingerprint>().ok(),
            Some(policy.fingerprint())
        );
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<Fingerprint>();
    }
});

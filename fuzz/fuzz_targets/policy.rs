//! Policy files, which decide what is trusted. The fingerprint is of the bytes, so they are kept as they came.
#![no_main]

use chain_of_custody::policy::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = Policy::parse(bytes) {
        assert_eq!(policy.as_bytes(), bytes);
        let again = Policy::parse(bytes).expect("it was read once");
        assert_eq!(again.fingerprint(), policy.fingerprint());
    }
});

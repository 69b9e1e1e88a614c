//! What a bundle brings along: digest lists, the list of items, the signature over the tag manifest.
#![no_main]

use chain_of_custody::bundle::BundleItems;
use chain_of_custody::bundle::lists::parse_list;
use chain_of_custody::bundle::sshsig::SshSignature;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_list(bytes);
    let _ = SshSignature::parse(bytes);
    if let Ok(items) = BundleItems::parse(bytes) {
        assert_eq!(items.to_bytes(), bytes);
    }
});

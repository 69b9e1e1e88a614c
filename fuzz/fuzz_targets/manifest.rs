//! Dock manifests and heads statements.
#![no_main]

use chain_of_custody::heads::Heads;
use chain_of_custody::manifest::{DockManifest, SignedManifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = SignedManifest::parse(bytes) {
        assert_eq!(
            manifest.unverified(),
            &DockManifest::parse(&manifest.unverified().to_text()).expect("its own text")
        );
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(manifest) = DockManifest::parse(text) {
        assert_eq!(manifest.to_text(), text);
    }
    if let Ok(heads) = Heads::parse(text) {
        assert_eq!(heads.to_text(), text);
    }
});

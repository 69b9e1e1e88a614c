//! Proof files and receipts; and the arithmetic of any proof against any leaf.
#![no_main]

use chain_of_custody::merkle::leaf_hash;
use chain_of_custody::proof::TlogProof;
use chain_of_custody::receipt::Receipt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = TlogProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
        let _ = proof.verify_inclusion(&leaf_hash(bytes));
    }
    if let Ok(receipt) = Receipt::parse(bytes) {
        assert_eq!(receipt.to_string().as_bytes(), bytes);
    }
});

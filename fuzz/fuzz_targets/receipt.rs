//! Receipts and the notes beside them.
#![no_main]

use chain_of_custody::receipt::{ProgressReceipt, QuarantineNotice, Receipt, ReceiptText};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(receipt) = Receipt::parse(bytes) {
        assert_eq!(receipt.to_string().as_bytes(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(note) = ReceiptText::parse(text) {
        assert_eq!(note.to_text(), text);
    }
    if let Ok(note) = ProgressReceipt::parse(text) {
        assert_eq!(note.to_text(), text);
    }
    if let Ok(note) = QuarantineNotice::parse(text) {
        assert_eq!(note.to_text(), text);
    }
});

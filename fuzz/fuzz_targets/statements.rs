//! The texts of our own statements: one statement, one text.
#![no_main]

use chain_of_custody::checkpoint::Checkpoint;
use chain_of_custody::claim::{CapturedClaimed, ClockState, GivenName, Label};
use chain_of_custody::heads::Heads;
use chain_of_custody::manifest::DockManifest;
use chain_of_custody::receipt::{ProgressReceipt, QuarantineNotice, ReceiptText};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let same = |written: Option<String>| assert!(written.is_none_or(|written| written == text));
    same(Checkpoint::parse(text).ok().map(|v| v.to_text()));
    same(Heads::parse(text).ok().map(|v| v.to_text()));
    same(DockManifest::parse(text).ok().map(|v| v.to_text()));
    same(ReceiptText::parse(text).ok().map(|v| v.to_text()));
    same(ProgressReceipt::parse(text).ok().map(|v| v.to_text()));
    same(QuarantineNotice::parse(text).ok().map(|v| v.to_text()));
    same(text.parse::<Label>().ok().map(|v| v.to_string()));
    same(text.parse::<GivenName>().ok().map(|v| v.to_string()));
    same(text.parse::<CapturedClaimed>().ok().map(|v| v.to_string()));
    same(text.parse::<ClockState>().ok().map(|v| v.to_string()));
});

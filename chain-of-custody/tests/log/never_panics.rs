//! Every parser takes anything: arbitrary bytes, and good files with a bit flipped, a piece cut or doubled.

use chain_of_custody::checkpoint::{Checkpoint, SignedCheckpoint};
use chain_of_custody::claim::{CapturedClaimed, ClockState, GivenName, Label};
use chain_of_custody::heads::Heads;
use chain_of_custody::manifest::{DockManifest, SignedManifest};
use chain_of_custody::merkle::Frontier;
use chain_of_custody::note::{SignedNote, VerifierKey};
use chain_of_custody::policy::{Fingerprint, Policy};
use chain_of_custody::proof::TlogProof;
use chain_of_custody::receipt::{ProgressReceipt, QuarantineNotice, Receipt, ReceiptText};
use chain_of_custody::tile::{TilePath, decode_entries};
use proptest::prelude::*;

use crate::vectors;

/// Runs every parser over `bytes`; what is read must write itself back byte for byte.
fn parse_everything(bytes: &[u8]) {
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
    }
    if let Ok(checkpoint) = SignedCheckpoint::parse(bytes) {
        assert_eq!(checkpoint.to_string().as_bytes(), bytes);
    }
    if let Ok(proof) = TlogProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
    }
    if let Ok(receipt) = Receipt::parse(bytes) {
        assert_eq!(receipt.to_string().as_bytes(), bytes);
    }
    if let Ok(policy) = Policy::parse(bytes) {
        assert_eq!(policy.as_bytes(), bytes);
    }
    if let Ok(manifest) = SignedManifest::parse(bytes) {
        assert_eq!(manifest.to_string().as_bytes(), bytes);
    }
    if let Ok(frontier) = Frontier::from_bytes(bytes) {
        assert_eq!(frontier.to_bytes(), bytes);
    }
    let _ = decode_entries(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        parse_texts(text);
    }
}

fn parse_texts(text: &str) {
    let again = |written: Option<String>| assert!(written.is_none_or(|w| w == text), "{text:?}");
    again(Checkpoint::parse(text).ok().map(|v| v.to_text()));
    again(Heads::parse(text).ok().map(|v| v.to_text()));
    again(DockManifest::parse(text).ok().map(|v| v.to_text()));
    again(ReceiptText::parse(text).ok().map(|v| v.to_text()));
    again(ProgressReceipt::parse(text).ok().map(|v| v.to_text()));
    again(QuarantineNotice::parse(text).ok().map(|v| v.to_text()));
    again(VerifierKey::parse(text).ok().map(|v| v.to_string()));
    again(text.parse::<TilePath>().ok().map(|v| v.to_string()));
    again(text.parse::<Label>().ok().map(|v| v.to_string()));
    again(text.parse::<GivenName>().ok().map(|v| v.to_string()));
    again(text.parse::<CapturedClaimed>().ok().map(|v| v.to_string()));
    again(text.parse::<ClockState>().ok().map(|v| v.to_string()));
    let _ = text.parse::<Fingerprint>();
}

/// One small damage to a good file.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let files = vectors::text_files();
    (0..files.len(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4u8).prop_map(
        move |(file, from, to, kind)| {
            let mut bytes = files[file].clone();
            let (a, b) = (from.index(bytes.len()), to.index(bytes.len()));
            let (start, end) = (a.min(b), a.max(b).min(a.min(b) + 80));
            match kind {
                0 => bytes[a] ^= 1 << (b % 8),
                1 => drop(bytes.drain(start..end)),
                2 => {
                    let piece = bytes[start..end].to_vec();
                    bytes.splice(end..end, piece).for_each(drop);
                }
                _ => bytes.truncate(a),
            }
            bytes
        },
    )
}

/// Text made of the words the formats use, so that arbitrary input gets past the first line.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "c2sp.org/tlog-proof@v1",
        "extra ",
        "index ",
        "\n",
        "\n\n",
        "\u{2014} ",
        "log ",
        "witness ",
        "group ",
        "quorum ",
        "none",
        "all",
        "dock manifest v1\n",
        "heads v1\n",
        "item receipt v1\n",
        "name ",
        "\"x\"",
        "bytes ",
        "0",
        "18446744073709551616",
        "-",
        "/",
        "tile/",
        "entries/",
        "x001/",
        "000",
        ".p/",
        "+",
        "AAAA",
        "=",
        " ",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        parse_everything(&bytes);
    }

    #[test]
    fn on_arbitrary_text(text in "\\PC{0,200}") {
        parse_everything(text.as_bytes());
    }

    #[test]
    fn on_plausible_text(bytes in plausible()) {
        parse_everything(&bytes);
    }

    #[test]
    fn on_damaged_files(bytes in damaged()) {
        parse_everything(&bytes);
    }
}

//! A slip kept by somebody outside, and the ledger it is held against later.

use std::collections::HashMap;

use chain_of_custody::bundle::{LaterLedger, Tiles, Trust, check_ledger};
use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::note::{Signer as _, SigningKey};
use chain_of_custody::report::{Code, Outcome, Report};
use chain_of_custody::slip::{read_slip, slip_page};
use chain_of_custody::tile::TilePath;

use crate::common::{MemoryLedger, ORIGIN, log_key, seed};

fn history(shared: u64, own: u64, name: &str) -> MemoryLedger {
    let common = (0..shared).map(|i| format!("entry {i}").into_bytes());
    let own = (shared..shared + own).map(|i| format!("{name} {i}").into_bytes());
    MemoryLedger::of(common.chain(own))
}

fn trust() -> Trust {
    Trust::Policy(format!("log {}\nquorum none\n", log_key().vkey()).into_bytes())
}

fn slip_at(ledger: &MemoryLedger, size: u64) -> SignedCheckpoint {
    ledger.checkpoint_at(size).sign(&log_key()).unwrap()
}

fn check(ledger: &MemoryLedger, slip: &[u8]) -> Report {
    with_tiles(ledger, slip, &trust(), &|path| ledger.fetch(path).ok())
}

fn with_tiles(ledger: &MemoryLedger, slip: &[u8], trust: &Trust, tiles: &Tiles<'_>) -> Report {
    let newer = ledger.signed().to_string();
    let ledger = LaterLedger { checkpoint: newer.as_bytes(), rotations: Vec::new(), tiles };
    check_ledger(&ledger, slip, trust)
}

fn page(slip: &SignedCheckpoint) -> Vec<u8> {
    slip_page(slip, "2026-11-22 18:04:05 UTC").into_bytes()
}

#[track_caller]
fn expect(report: &Report, result: Outcome, code: Code) {
    let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!((report.result, codes.as_slice()), (result, [code].as_slice()), "{report:#?}");
}

#[test]
fn a_ledger_that_only_grew_matches_every_slip_of_it() {
    let ledger = history(300, 0, "");
    for size in [0, 1, 2, 7, 128, 255, 256, 257, 299, 300] {
        let report = check(&ledger, &page(&slip_at(&ledger, size)));
        assert_eq!(report.result, Outcome::Match, "{size}: {report:#?}");
        assert!(report.rests_on.iter().any(|said| said.contains(&format!("slip of {size} "))));
    }
}

/// Rewritten before the slip, by somebody with the log's key, all tiles made anew.
#[test]
fn a_rewritten_ledger_is_contradicted_by_the_slip() {
    let truth = history(290, 0, "");
    for (kept, rewritten) in [(100, 200), (255, 5), (256, 44), (0, 300), (288, 2)] {
        let fork = history(kept, rewritten, "other");
        for size in [kept + 1, fork.size().0.min(290)] {
            let report = check(&fork, &page(&slip_at(&truth, size)));
            expect(&report, Outcome::Mismatch, Code::SlipContradicted);
        }
        if kept > 0 {
            let untouched = check(&fork, &page(&slip_at(&truth, kept)));
            assert_eq!(untouched.result, Outcome::Match, "what came before is still there");
        }
    }
}

#[test]
fn tiles_that_are_damaged_missing_or_of_the_true_ledger_show_nothing() {
    let (truth, fork) = (history(290, 0, ""), history(200, 90, "other"));
    let slip = page(&slip_at(&truth, 250));
    let with = |tiles: &HashMap<TilePath, Vec<u8>>| {
        with_tiles(&fork, &slip, &trust(), &|path| tiles.get(path).cloned())
    };
    expect(&with(&truth.tiles), Outcome::CannotTell, Code::SlipUnproved);
    expect(&with(&HashMap::new()), Outcome::CannotTell, Code::SlipUnproved);
    let mut damaged = truth.tiles.clone();
    for tile in damaged.values_mut() {
        tile[8] ^= 1;
    }
    let report = with_tiles(&truth, &slip, &trust(), &|path| damaged.get(path).cloned());
    expect(&report, Outcome::CannotTell, Code::SlipUnproved);
}

#[test]
fn slips_that_say_nothing_here() {
    let ledger = history(20, 0, "");
    let larger = check(&ledger, &page(&slip_at(&history(21, 0, ""), 21)));
    expect(&larger, Outcome::CannotTell, Code::SlipUnproved);
    let stranger = SigningKey::from_seed(ORIGIN, seed("another log")).unwrap();
    let by_another = ledger.checkpoint_at(9).sign(&stranger).unwrap();
    expect(&check(&ledger, &page(&by_another)), Outcome::CannotTell, Code::SlipUntrusted);
    expect(&check(&ledger, b"no slip\n"), Outcome::CannotTell, Code::SlipMalformed);
    let mut altered = page(&slip_at(&ledger, 9));
    let at = altered.windows(3).position(|w| w == b"\n9\n").unwrap() + 1;
    altered[at] = b'8';
    expect(&check(&ledger, &altered), Outcome::CannotTell, Code::SlipUntrusted);
    let fetch = |path: &TilePath| ledger.fetch(path).ok();
    let nobody = with_tiles(&ledger, &page(&slip_at(&ledger, 9)), &Trust::Nothing, &fetch);
    assert_eq!(nobody.result, Outcome::CannotTell, "without a policy nothing is believed");
}

#[test]
fn a_slip_is_read_from_the_page_or_from_the_note_alone() {
    let slip = slip_at(&history(20, 0, ""), 9);
    assert_eq!(read_slip(&page(&slip)).unwrap(), slip);
    assert_eq!(read_slip(slip.to_string().as_bytes()).unwrap(), slip);
    for bad in [&b""[..], b"\xff", b"-----BEGIN CHECKPOINT-----\nx\n"] {
        assert!(read_slip(bad).is_err());
    }
}

//! Receipts: those in a bundle, which must be for the bundle's own entries, and a single one beside a clip.

use super::files::differs_from_receipt;
use super::growth::{LaterLedger, head_of};
use super::items::{BundleItem, BundleItems};
use super::record::{Judge, Record, Recorded};
use super::roots::Roots;
use super::since::ROTATIONS;
use super::trust::{self, Trust};
use super::{FileFact, Files, rotations};
use crate::event::{EventKind, field};
use crate::merkle::leaf_hash;
use crate::receipt::Receipt;
use crate::report::{Check, Class, Code, FileResult, Notes, Outcome, Report};

/// The state of an item that is held and not set aside.
const STORED: &str = "stored";

/// A receipt on its own, and the file it may be for.
#[derive(Debug, Clone)]
pub struct ReceiptFile<'a> {
    /// As the reader named it.
    pub path: &'a str,
    pub bytes: &'a [u8],
    pub file: Option<&'a FileFact>,
}

/// Checks a single receipt: the entry in the ledger, and the file beside it if there is one. For a receipt under a key
/// that was replaced since, `later` is the same ledger under the one in use.
pub fn check_receipt(
    receipt: &ReceiptFile<'_>,
    trust: &Trust,
    later: Option<&LaterLedger<'_>>,
) -> Report {
    let mut notes = Notes::default();
    let succession =
        later.map(|later| rotations::of_notes(&later.rotations, ROTATIONS, &mut notes));
    let trusted = trust::resolve(trust, None, &succession.unwrap_or_default(), &mut notes);
    let mut judge = Judge::new(trusted.as_ref());
    if let Some(later) = later {
        set_later(later, &mut judge, &mut notes);
    }
    match Receipt::parse(receipt.bytes) {
        Ok(parsed) => check_single(receipt, &parsed, &mut judge, &mut notes),
        Err(error) => {
            let message = format!("{} cannot be read: {error}.", receipt.path);
            notes.note(Code::ReceiptMalformed, Class::Record, receipt.path, message);
        }
    }
    notes.finish()
}

/// Takes a later ledger as what earlier checkpoints are held against, if the policy accepts it.
fn set_later<'a>(later: &'a LaterLedger<'a>, judge: &mut Judge<'a>, notes: &mut Notes) {
    const NAME: &str = "the later ledger";
    let Some(head) = head_of(later) else {
        let message = "The checkpoint of the later ledger cannot be read.";
        return notes.note(Code::CheckpointMalformed, Class::Record, NAME, message);
    };
    if judge.standing(&head, NAME, notes) == Outcome::Match {
        judge.set_later(head.unverified().clone(), later.tiles);
    }
}

fn check_single(
    receipt: &ReceiptFile<'_>,
    parsed: &Receipt,
    judge: &mut Judge<'_>,
    notes: &mut Notes,
) {
    let recorded = recorded_of(receipt.path, parsed, judge, notes);
    let Some(file) = receipt.file else {
        // Nothing but the record was asked about: the receipt itself is what matched or not.
        let at = Some(recorded.entry.at);
        let (path, class) = (receipt.path.to_owned(), Class::Record);
        notes.file(FileResult {
            path,
            class,
            result: recorded.standing,
            item: None,
            recorded_at: at,
        });
        return;
    };
    let result = differs_from_receipt(file, &recorded, notes);
    notes.file(result);
}

/// The receipt's entry with its openings, and how far it is shown to be in the ledger.
fn recorded_of(path: &str, parsed: &Receipt, judge: &mut Judge<'_>, notes: &mut Notes) -> Recorded {
    let mut recorded =
        Recorded::new(parsed.entry_bytes().to_vec(), parsed.unverified_entry().clone());
    for opening in parsed.unverified_openings() {
        if !recorded.open(opening) {
            let message =
                format!("The opening of '{}' does not fit the receipt's entry.", opening.name);
            notes.note(Code::OpeningFails, Class::Record, path, message);
        }
    }
    let held = parsed.proof().verify_inclusion(&leaf_hash(parsed.entry_bytes())).is_ok();
    notes.checked(Check::Inclusion, held);
    recorded.standing = if held {
        judge.standing(&parsed.proof().checkpoint, path, notes)
    } else {
        let message = "The receipt's proof does not show its entry in the ledger.";
        notes.note(Code::InclusionFails, Class::Record, path, message);
        Outcome::Mismatch
    };
    notes.checked(Check::Receipt, recorded.standing == Outcome::Match);
    recorded.standing = recorded.standing.max(check_arrival(path, &recorded, notes));
    recorded
}

/// Whether the entry says that these bytes came and are held. A duplicate's has no state of its own: what is held is
/// what came before, with the same bytes.
fn check_arrival(path: &str, recorded: &Recorded, notes: &mut Notes) -> Outcome {
    let entry = &recorded.entry;
    let (kind, state) = (entry.kind, recorded.value(field::STATE));
    let has_state = || entry.fields.keys().any(|name| name.as_str() == field::STATE);
    if !matches!(kind, EventKind::ItemReceived | EventKind::ItemDuplicate) {
        let message = format!("{path} is for an entry of type {kind}.");
        notes.note(Code::ReceiptDiffers, Class::Record, path, message);
    } else if state == Some(STORED) || (kind == EventKind::ItemDuplicate && !has_state()) {
        return Outcome::Match;
    } else {
        let message = format!("{path} does not say that the bytes were stored.");
        notes.note(Code::NotStored, Class::Record, path, message);
    }
    Outcome::CannotTell
}

/// Checks the receipt of each item of a bundle.
pub(super) fn check(
    files: &Files<'_>,
    items: &BundleItems,
    record: &Record,
    judge: &mut Judge<'_>,
    roots: &mut Roots,
    notes: &mut Notes,
) {
    for item in &items.items {
        let path = item.receipt_path();
        let Some(bytes) = files.content(&path) else {
            let message = format!("{} comes without its receipt.", item.path);
            notes.note(Code::ReceiptMissing, Class::Record, &path, message);
            continue;
        };
        match Receipt::parse(bytes) {
            Ok(receipt) => {
                roots.hold(receipt.proof().checkpoint.unverified(), &path, notes);
                check_one(&path, &receipt, item, record, judge, notes);
            }
            Err(error) => {
                let message = format!("{path} cannot be read: {error}.");
                notes.note(Code::ReceiptMalformed, Class::Record, &path, message);
            }
        }
    }
}

fn check_one(
    path: &str,
    receipt: &Receipt,
    item: &BundleItem,
    record: &Record,
    judge: &mut Judge<'_>,
    notes: &mut Notes,
) {
    let same_index = receipt.proof().index == item.entry;
    let recorded = record.get(item.entry);
    if !same_index || recorded.is_some_and(|recorded| recorded.bytes != receipt.entry_bytes()) {
        let message = format!("{path} is not the receipt for the entry of {}.", item.path);
        notes.note(Code::ReceiptDiffers, Class::Record, path, message);
    }
    let ledger = &receipt.proof().checkpoint.unverified().origin;
    if record.origin.as_ref().is_some_and(|origin| origin != ledger) {
        let message = format!("{path} is from another ledger than this bundle.");
        notes.note(Code::ReceiptDiffers, Class::Record, path, message);
    }
    let standing = judge.standing(&receipt.proof().checkpoint, path, notes);
    let content = receipt.verify_content();
    notes.checked(Check::Receipt, standing == Outcome::Match && content.is_ok());
    if let Err(error) = content {
        let message = format!("{path} does not hold: {error}.");
        notes.note(Code::ReceiptFails, Class::Record, path, message);
    }
}

//! Receipts: those in a bundle, which must be for the bundle's own entries, and a single one beside a clip.

use super::files::differs_from_receipt;
use super::items::{BundleItem, BundleItems};
use super::record::{Judge, Record, Recorded};
use super::roots::Roots;
use super::trust::{self, Trust};
use super::{FileFact, Files};
use crate::event::{EventKind, field};
use crate::merkle::leaf_hash;
use crate::policy::{Policy, PolicyRefusal};
use crate::receipt::{Receipt, ReceiptError};
use crate::report::{Check, Class, Code, FileResult, Finding, Notes, Outcome, Report};

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

/// Checks a single receipt: the entry in the ledger, and the file beside it if there is one.
pub fn check_receipt(receipt: &ReceiptFile<'_>, trust: &Trust) -> Report {
    let mut notes = Notes::default();
    let policy = trust::resolve(trust, None, &mut notes);
    match Receipt::parse(receipt.bytes) {
        Ok(parsed) => check_single(receipt, &parsed, policy.as_ref(), &mut notes),
        Err(error) => {
            let message = format!("{} cannot be read: {error}.", receipt.path);
            notes.note(Code::ReceiptMalformed, Class::Record, receipt.path, message);
        }
    }
    notes.finish()
}

fn check_single(
    receipt: &ReceiptFile<'_>,
    parsed: &Receipt,
    policy: Option<&Policy>,
    notes: &mut Notes,
) {
    let recorded = recorded_of(receipt.path, parsed, policy, notes);
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
fn recorded_of(
    path: &str,
    parsed: &Receipt,
    policy: Option<&Policy>,
    notes: &mut Notes,
) -> Recorded {
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
        Judge::new(policy).standing(&parsed.proof().checkpoint, path, notes)
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
    policy: Option<&Policy>,
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
                check_one(&path, &receipt, item, record, policy, notes);
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
    policy: Option<&Policy>,
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
    let Some(policy) = policy else { return };
    let verified = receipt.verify(policy);
    notes.checked(Check::Receipt, verified.is_ok());
    if let Err(error) = verified {
        let (code, class) = code_of(&error);
        notes.add(Finding::at(code, class, path, format!("{path} does not hold: {error}.")));
    }
}

fn code_of(error: &ReceiptError) -> (Code, Class) {
    match error {
        ReceiptError::Policy(PolicyRefusal::UnknownLog) => {
            (Code::CheckpointUntrusted, Class::Signature)
        }
        ReceiptError::Policy(PolicyRefusal::QuorumNotMet { .. }) => {
            (Code::QuorumMissing, Class::Signature)
        }
        ReceiptError::Policy(PolicyRefusal::BadSignature { .. }) => {
            (Code::CheckpointSignatureFails, Class::Signature)
        }
        ReceiptError::Malformed(_) | ReceiptError::Entry(_) => {
            (Code::ReceiptMalformed, Class::Record)
        }
        ReceiptError::Proof(_) | ReceiptError::Opening(_) => (Code::ReceiptFails, Class::Record),
    }
}

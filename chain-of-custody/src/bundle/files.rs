//! The files that matter: is each original what the force recorded as received, each derivative what it recorded as
//! made from it?

use std::collections::BTreeMap;

use super::items::{BundleItem, BundleItems, DerivativeFile};
use super::layout::{DERIVATIVES, ITEMS, MANIFEST, ORIGINALS, class_of};
use super::lists::Lists;
use super::record::{Record, Recorded};
use super::{FileFact, Files, Locate, Located, Suspect};
use crate::digest::{Blake3, Digests, Sha256};
use crate::event::{EventKind, field};
use crate::ids::{ItemId, LeafIndex};
use crate::report::{Check, Class, Code, FileResult, Finding, Notes, Outcome};

/// Digests and size as an entry has them.
struct Expected {
    digests: Digests,
    size_bytes: u64,
}

impl Expected {
    fn from(recorded: &Recorded) -> Option<Self> {
        let sha256: Sha256 = recorded.value(field::SHA256)?.parse().ok()?;
        let blake3: Blake3 = recorded.value(field::BLAKE3)?.parse().ok()?;
        let size_bytes = recorded.value(field::SIZE_BYTES)?.parse().ok()?;
        Some(Self { digests: Digests { sha256, blake3 }, size_bytes })
    }

    fn is(&self, file: &FileFact) -> bool {
        self.digests == file.digests && self.size_bytes == file.size_bytes
    }

    /// Whether a file is this, and the whole of `original` behind it.
    fn is_before(&self, original: &Self, file: &FileFact) -> bool {
        file.size_bytes == self.size_bytes + original.size_bytes
            && file.joined.is_some_and(|joined| {
                joined.front_bytes == self.size_bytes
                    && joined.front == self.digests
                    && joined.original == original.digests
            })
    }
}

/// Checks every original and derivative, listed or not.
pub(super) fn check(
    files: &Files<'_>,
    lists: &Lists,
    items: &BundleItems,
    record: &Record,
    notes: &mut Notes,
    locate: &mut Locate<'_>,
) {
    let mut results: BTreeMap<String, FileResult> = BTreeMap::new();
    for item in &items.items {
        let original = check_original(files, item, record, notes, locate);
        results.insert(item.path.clone(), original);
        for derivative in &item.derivatives {
            let result = check_derivative(files, item, derivative, record, notes);
            results.insert(derivative.path.clone(), result);
        }
    }
    for file in files.under(ORIGINALS).chain(files.under(DERIVATIVES)) {
        results.entry(file.path.clone()).or_insert_with(|| unrecorded(file, notes));
    }
    results.values_mut().for_each(|result| hold_against_list(files, lists, result, notes));
    results.into_values().for_each(|result| notes.file(result));
}

fn check_original(
    files: &Files<'_>,
    item: &BundleItem,
    record: &Record,
    notes: &mut Notes,
    locate: &mut Locate<'_>,
) -> FileResult {
    let mut result = FileResult {
        path: item.path.clone(),
        class: Class::Footage,
        result: Outcome::CannotTell,
        item: Some(item.item),
        recorded_at: None,
    };
    let entry = entry_of(record, item.entry, item.item, EventKind::ItemReceived, &item.path, notes);
    let Some(file) = files.get(&item.path) else {
        result.result = missing(&item.path, notes);
        return result;
    };
    let Some(recorded) = entry else {
        let message =
            format!("No entry in this bundle says what the force received as {}.", item.path);
        notes.note(Code::FootageUnrecorded, Class::Footage, &item.path, message);
        return result;
    };
    result.recorded_at = Some(recorded.entry.at);
    let Some(expected) = Expected::from(recorded) else {
        withheld(&item.path, Class::Footage, notes);
        return result;
    };
    notes.checked(Check::Hash, expected.is(file));
    if expected.is(file) {
        result.result = recorded.standing;
        return result;
    }
    let suspect = Suspect {
        path: &item.path,
        outboard_path: item.outboard_path(),
        size_bytes: expected.size_bytes,
        blake3: expected.digests.blake3,
    };
    let range = match locate(&suspect) {
        Located::Within(range) => Some(range),
        Located::Unknown => None,
        Located::Unusable => {
            let outboard = &suspect.outboard_path;
            let message =
                format!("{outboard} does not add up to the recorded digest of {}.", item.path);
            notes.note(Code::OutboardUnusable, Class::Record, outboard, message);
            None
        }
    };
    let message =
        differs(&item.path, "the file the force recorded as received", file, &expected, &range);
    notes.add(Finding::at(Code::FootageDiffers, Class::Footage, &item.path, message).within(range));
    result.result = Outcome::Mismatch;
    result
}

fn check_derivative(
    files: &Files<'_>,
    item: &BundleItem,
    derivative: &DerivativeFile,
    record: &Record,
    notes: &mut Notes,
) -> FileResult {
    let path = &derivative.path;
    let mut result = FileResult {
        path: path.clone(),
        class: Class::Derivative,
        result: Outcome::CannotTell,
        item: Some(item.item),
        recorded_at: None,
    };
    let entry = entry_of(record, derivative.entry, item.item, EventKind::ItemDerived, path, notes);
    let Some(file) = files.get(path) else {
        result.result = missing(path, notes);
        return result;
    };
    let Some(recorded) = entry else {
        let message = format!("No entry in this bundle says how {path} was made.");
        notes.note(Code::DerivativeUnrecorded, Class::Derivative, path, message);
        return result;
    };
    result.recorded_at = Some(recorded.entry.at);
    let received = record.get(item.entry);
    let original = received.and_then(|received| received.value(field::SHA256));
    let (Some(expected), Some(claimed)) =
        (Expected::from(recorded), recorded.value(field::ORIGINAL_SHA256))
    else {
        withheld(path, Class::Derivative, notes);
        return result;
    };
    let same_file = match derivative.is_before_original {
        false => expected.is(file),
        true => received.and_then(Expected::from).is_some_and(|o| expected.is_before(&o, file)),
    };
    notes.checked(Check::Hash, same_file);
    if !same_file {
        let message =
            differs(path, "the derivative that the force recorded", file, &expected, &None);
        notes.note(Code::DerivativeDiffers, Class::Derivative, path, message);
    }
    let same_original = original.is_none_or(|original| original == claimed);
    notes.checked(Check::Derivative, same_original);
    if !same_original {
        let message =
            format!("{path} is recorded as made from another original than {}.", item.path);
        notes.note(Code::DerivativeOfAnother, Class::Derivative, path, message);
    }
    result.result = match (same_file && same_original, original) {
        (false, _) => Outcome::Mismatch,
        (true, Some(_)) => recorded.standing,
        (true, None) => Outcome::CannotTell,
    };
    result
}

/// Holds a single file against the entry of its receipt.
pub(super) fn differs_from_receipt(
    file: &FileFact,
    recorded: &Recorded,
    notes: &mut Notes,
) -> FileResult {
    let (path, class) = (file.path.clone(), Class::Footage);
    let at = Some(recorded.entry.at);
    let mut result =
        FileResult { path, class, result: Outcome::CannotTell, item: None, recorded_at: at };
    let Some(expected) = Expected::from(recorded) else {
        withheld(&file.path, Class::Footage, notes);
        return result;
    };
    notes.checked(Check::Hash, expected.is(file));
    if expected.is(file) {
        result.result = recorded.standing;
    } else {
        let message =
            differs(&file.path, "the file that this receipt is for", file, &expected, &None);
        notes.note(Code::FileDiffers, Class::Footage, &file.path, message);
        result.result = Outcome::Mismatch;
    }
    result
}

/// The entry that the list of items names, if it is of this kind and about this item.
fn entry_of<'a>(
    record: &'a Record,
    index: LeafIndex,
    item: ItemId,
    kind: EventKind,
    path: &str,
    notes: &mut Notes,
) -> Option<&'a Recorded> {
    let recorded = record.get(index)?;
    let fits = recorded.entry.kind == kind && recorded.touches(&item.into());
    if !fits {
        let message = format!(
            "{ITEMS} says that entry {index} is about {path}; the entry is about something else."
        );
        notes.note(Code::ItemListContradicts, Class::Record, ITEMS, message);
    }
    fits.then_some(recorded)
}

fn missing(path: &str, notes: &mut Notes) -> Outcome {
    let message = format!("{ITEMS} names {path}, which is not there.");
    notes.note(Code::FileMissing, class_of(path), path, message);
    Outcome::Mismatch
}

fn withheld(path: &str, class: Class, notes: &mut Notes) {
    let message = format!("The recorded digest of {path} is not disclosed in this bundle.");
    notes.note(Code::DigestWithheld, class, path, message);
}

/// A file that no item names.
fn unrecorded(file: &FileFact, notes: &mut Notes) -> FileResult {
    let class = class_of(&file.path);
    let code = match class {
        Class::Footage => Code::FootageUnrecorded,
        _ => Code::DerivativeUnrecorded,
    };
    notes.note(
        code,
        class,
        &file.path,
        format!("No item of this bundle has the file {}.", file.path),
    );
    FileResult {
        path: file.path.clone(),
        class,
        result: Outcome::CannotTell,
        item: None,
        recorded_at: None,
    }
}

fn differs(
    path: &str,
    what: &str,
    file: &FileFact,
    expected: &Expected,
    range: &Option<std::ops::Range<u64>>,
) -> String {
    let found = file.size_bytes;
    let where_ = match range {
        Some(range) => {
            format!(" The first difference lies in bytes {} to {}.", range.start, range.end)
        }
        None if found != expected.size_bytes => {
            format!(" It has {found} bytes; {} were recorded.", expected.size_bytes)
        }
        None => String::new(),
    };
    format!(
        "{path} is not {what}.{where_} This does not say who, why or when: a damaged disc does it too."
    )
}

/// The payload list comes after the ledger's word: it can make a file worse, never better, and where the ledger says
/// that the file is right, it is the list that is wrong.
fn hold_against_list(files: &Files<'_>, lists: &Lists, result: &mut FileResult, notes: &mut Notes) {
    let Some(file) = files.get(&result.path) else { return };
    let Some(listed) = lists.payload.get(&result.path) else { return };
    if *listed == file.digests.sha256.to_string() || result.result == Outcome::Mismatch {
        return;
    }
    let message = format!("{MANIFEST} lists another digest for {} than the file has.", result.path);
    if result.result == Outcome::Match {
        notes.note(Code::ListDiffers, Class::Record, MANIFEST, message);
    } else {
        notes.note(Code::ListDiffers, result.class, &result.path, message);
        result.result = Outcome::Mismatch;
    }
}

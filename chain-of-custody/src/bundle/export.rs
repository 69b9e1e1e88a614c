//! The hand-over itself: what the ledger recorded about it, who signed the list of files, and the completeness
//! statement if there is one.

use std::collections::BTreeMap;

use super::items::BundleItems;
use super::layout::{HEADS, ITEMS, MANIFEST, SIGNATURE, TAG_MANIFEST};
use super::record::Record;
use super::roots::Roots;
use super::sshsig::SshSignature;
use super::{BUNDLE_KEY_ROLE, Files, rotations};
use crate::event::{EventKind, field};
use crate::heads::{Head, Heads};
use crate::ids::{LeafIndex, SubjectId};
use crate::note::{KeyType, NoteError, SignedNote, VerifierKey};
use crate::report::{Check, Class, Code, Notes, Outcome};
use crate::rotation::{KeyRole, Rotation};

/// The name of the role in the `public` part of a `key.published` entry.
pub const PUBLIC_ROLE: &str = "role";
/// The name of the verifier key beside it.
pub const PUBLIC_KEY: &str = "key";

/// Checks the entry of the hand-over, the signature and the completeness statement.
pub(super) fn check(
    files: &Files<'_>,
    items: &BundleItems,
    record: &Record,
    roots: &mut Roots,
    notes: &mut Notes,
) {
    check_entry(files, items, record, notes);
    let keys = published_keys(record, items.export);
    check_signature(files, &keys, notes);
    let statement = files.content(HEADS);
    if let Some(heads) = statement.and_then(|bytes| read_heads(bytes, &keys, notes)) {
        roots.hold(&heads.checkpoint(), HEADS, notes);
        check_heads(&heads, items, record, notes);
    }
}

/// The ledger recorded exactly these files as handed over, before they left.
fn check_entry(files: &Files<'_>, items: &BundleItems, record: &Record, notes: &mut Notes) {
    let recorded = items.export.and_then(|index| record.get(index));
    let Some(recorded) = recorded.filter(|r| r.entry.kind == EventKind::BundleExported) else {
        let message = "The ledger's entry for this hand-over is not in the bundle.";
        return notes.note(Code::ExportMissing, Class::Record, ITEMS, message);
    };
    let (Some(digest), Some(manifest)) =
        (recorded.value(field::BUNDLE_DIGEST), files.get(MANIFEST))
    else {
        let message = "The ledger's entry for this hand-over does not disclose which files it was.";
        return notes.note(Code::ExportMissing, Class::Record, ITEMS, message);
    };
    if digest != manifest.digests.sha256.to_string() {
        let message = format!(
            "{MANIFEST} does not list the files that the ledger recorded for this hand-over."
        );
        notes.note(Code::ExportDiffers, Class::Record, MANIFEST, message);
    }
}

/// Keys that an entry in a trusted ledger publishes for signing bundles, but for those that were replaced before this
/// hand-over.
fn published_keys(record: &Record, export: Option<LeafIndex>) -> Vec<VerifierKey> {
    let earlier = record.entries.iter().filter(|(index, recorded)| {
        let before = export.is_some_and(|export| **index < export);
        before
            && recorded.standing == Outcome::Match
            && recorded.entry.kind == EventKind::KeyRotated
    });
    let retired: Vec<Rotation> = earlier.filter_map(|(_, r)| rotations::read_entry(r)).collect();
    let is_retired = |key: &VerifierKey| {
        retired.iter().any(|rotation| rotation.role == KeyRole::Bundle && rotation.old == *key)
    };
    let for_bundles = record.entries.values().filter(|recorded| {
        recorded.standing == Outcome::Match
            && recorded.entry.kind == EventKind::KeyPublished
            && recorded.entry.public.get(PUBLIC_ROLE).is_some_and(|role| role == BUNDLE_KEY_ROLE)
    });
    let keys = for_bundles.filter_map(|r| VerifierKey::parse(r.entry.public.get(PUBLIC_KEY)?).ok());
    keys.filter(|key| key.key_type() == KeyType::Ed25519 && !is_retired(key)).collect()
}

fn check_signature(files: &Files<'_>, keys: &[VerifierKey], notes: &mut Notes) {
    let mut add = |code, message: String| notes.note(code, Class::Signature, SIGNATURE, message);
    let Some(armour) = files.content(SIGNATURE) else {
        return add(Code::SignatureMissing, "The list of files is not signed.".to_owned());
    };
    let signature = match SshSignature::parse(armour) {
        Ok(signature) => signature,
        Err(error) => {
            return add(Code::SignatureMalformed, format!("{SIGNATURE} cannot be read: {error}."));
        }
    };
    let Some(list) = files.content(TAG_MANIFEST) else { return };
    if !signature.fits(list) {
        let message =
            format!("The signature does not fit {TAG_MANIFEST}: the list was signed otherwise.");
        return add(Code::SignatureFails, message);
    }
    if keys.is_empty() {
        let message = "The key that signed the list of files is not shown here to be the force's.";
        add(Code::SignatureUnknownKey, message.to_owned());
    } else if !keys.iter().any(|key| key.public_key() == signature.public_key()) {
        let message = "The list of files is signed by another key than the one the ledger publishes for bundles.";
        add(Code::SignatureOtherKey, message.to_owned());
    }
}

/// With a completeness statement, every entry of the subjects it lists must be here.
fn check_heads(heads: &Heads, items: &BundleItems, record: &Record, notes: &mut Notes) {
    if record.accepted.as_ref().is_some_and(|accepted| *accepted != heads.checkpoint()) {
        let message = "The completeness statement is not for the bundle's checkpoint.";
        notes.note(Code::HeadsDiffer, Class::Record, HEADS, message);
    }
    for item in &items.items {
        if !heads.subjects().contains_key(&item.item.into()) {
            let message = format!("The completeness statement does not cover {}.", item.path);
            notes.note(Code::HeadsDiffer, Class::Record, HEADS, message);
        }
    }
    let present = present_entries(record);
    for (subject, head) in heads.subjects() {
        check_sequence(subject, head, present.get(subject), notes);
    }
}

fn read_heads(bytes: &[u8], keys: &[VerifierKey], notes: &mut Notes) -> Option<Heads> {
    let heads = verify_heads(bytes, keys);
    heads.map_err(|(code, message)| notes.note(code, Class::Record, HEADS, message)).ok()
}

fn verify_heads(bytes: &[u8], keys: &[VerifierKey]) -> Result<Heads, (Code, String)> {
    let malformed = |error| {
        (Code::HeadsMalformed, format!("The completeness statement cannot be read: {error}."))
    };
    let note = SignedNote::parse(bytes).map_err(malformed)?;
    Heads::verify(&note, keys).map_err(|error| match error {
        NoteError::Malformed(error) => malformed(error),
        NoteError::BadSignature { .. } => (
            Code::HeadsMalformed,
            "The completeness statement's signature does not fit.".to_owned(),
        ),
        _ => {
            let message = "No key shown to be the force's signed the completeness statement.";
            (Code::HeadsUntrusted, message.to_owned())
        }
    })
}

/// Per subject: which entry has which number, and which one came before.
type Present<'a> = BTreeMap<&'a SubjectId, BTreeMap<u64, (LeafIndex, Option<LeafIndex>)>>;

fn present_entries(record: &Record) -> Present<'_> {
    let mut present: Present<'_> = BTreeMap::new();
    for (index, recorded) in &record.entries {
        for subject in &recorded.entry.subjects {
            present.entry(&subject.id).or_default().insert(subject.seq, (*index, subject.prev));
        }
    }
    present
}

fn check_sequence(
    subject: &SubjectId,
    head: &Head,
    present: Option<&BTreeMap<u64, (LeafIndex, Option<LeafIndex>)>>,
    notes: &mut Notes,
) {
    let empty = BTreeMap::new();
    let present = present.unwrap_or(&empty);
    // Walk back from the last entry; the first that is missing ends the walk, so a huge count costs nothing.
    let mut expected = Some(head.last);
    for seq in (0..head.count).rev() {
        let found = present.get(&seq).filter(|(index, _)| Some(*index) == expected);
        let Some((_, prev)) = found else {
            notes.checked(Check::Gap, false);
            let message = format!(
                "Entry number {seq} of {subject} is counted by the completeness statement and is not here."
            );
            return notes.note(Code::Gap, Class::Record, HEADS, message);
        };
        expected = *prev;
    }
    let more = present.keys().any(|seq| *seq >= head.count);
    notes.checked(Check::Gap, !more);
    if more {
        let message =
            format!("{subject} has more entries here than the completeness statement counts.");
        notes.note(Code::HeadsDiffer, Class::Record, HEADS, message);
    }
}

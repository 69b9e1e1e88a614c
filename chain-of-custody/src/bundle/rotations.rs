//! Replaced keys: the notes in `key.rotated` entries, or as files beside a ledger's tiles (docs/formats/rotation.md).

use std::collections::BTreeMap;

use super::PUBLIC_ROLE;
use super::layout::ENTRIES;
use super::record::Recorded;
use crate::event::EventKind;
use crate::ids::LeafIndex;
use crate::report::{Class, Code, Notes};
use crate::rotation::{PUBLIC_NOTE, Rotation, Succession};

/// What the notes in the entries say, after each was checked. They speak for themselves: whoever lets one of two keys
/// follow the other has both signatures in the note, so nothing else needs to be believed yet.
pub(super) fn of_entries(entries: &BTreeMap<LeafIndex, Recorded>, notes: &mut Notes) -> Succession {
    let rotated = entries.iter().filter(|(_, r)| r.entry.kind == EventKind::KeyRotated);
    let mut held = Vec::new();
    for (index, recorded) in rotated {
        match read_entry(recorded) {
            Some(rotation) => held.push(rotation),
            None => {
                let message = format!(
                    "Entry {index} says that a key was replaced, and its note is not signed by both keys."
                );
                notes.note(Code::RotationFails, Class::Signature, ENTRIES, message);
            }
        }
    }
    together(held, ENTRIES, notes)
}

/// The same of notes as files; `place` is where they lie.
pub(super) fn of_notes(files: &[Vec<u8>], place: &str, notes: &mut Notes) -> Succession {
    let mut held = Vec::new();
    for (number, bytes) in files.iter().enumerate() {
        match Rotation::read(bytes) {
            Ok(rotation) => held.push(rotation),
            Err(error) => {
                let path = format!("{place}{number}");
                let message = format!("{path} does not show that a key was replaced: {error}.");
                notes.note(Code::RotationFails, Class::Signature, &path, message);
            }
        }
    }
    together(held, place, notes)
}

/// The rotation in a `key.rotated` entry, if its note holds.
pub(super) fn read_entry(recorded: &Recorded) -> Option<Rotation> {
    let public = &recorded.entry.public;
    let rotation = Rotation::read(public.get(PUBLIC_NOTE)?.as_bytes()).ok()?;
    (public.get(PUBLIC_ROLE)? == rotation.role.as_str()).then_some(rotation)
}

fn together(held: Vec<Rotation>, place: &str, notes: &mut Notes) -> Succession {
    let succession = Succession::of(held);
    if let Some(key) = succession.contradicted().first() {
        let message = format!(
            "Two notes name different keys in the place of {}+{}: neither is followed.",
            key.name(),
            key.id()
        );
        notes.note(Code::RotationContradicted, Class::Signature, place, message);
    }
    succession
}

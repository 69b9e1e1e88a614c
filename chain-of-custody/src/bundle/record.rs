//! The record in a bundle: entries, their proofs under a checkpoint, and the openings disclosed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Files;
use super::growth::{Growth, Tiles, growth};
use super::layout::{CHECKPOINT, ENTRIES, OPENINGS, PROOFS};
use super::roots::Roots;
use super::trust::Trusted;
use crate::canonical;
use crate::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use crate::entry::{Entry, Opening};
use crate::ids::{LeafIndex, SubjectId};
use crate::merkle::leaf_hash;
use crate::policy::{AcceptedCheckpoint, PolicyRefusal};
use crate::proof::TlogProof;
use crate::report::{Check, Class, Code, Finding, Notes, Outcome};

/// The most entries one bundle carries.
pub(super) const MAX_ENTRIES: usize = 200_000;

/// An entry of the bundle, with what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub(super) bytes: Vec<u8>,
    pub(super) entry: Entry,
    /// Only openings that really open their field.
    openings: BTreeMap<String, String>,
    /// Whether it is shown to be in a ledger that the reader trusts.
    pub(super) standing: Outcome,
}

impl Recorded {
    /// An entry whose openings were tried; those that fail are returned by name.
    pub(super) fn new(bytes: Vec<u8>, entry: Entry) -> Self {
        Self { bytes, entry, openings: BTreeMap::new(), standing: Outcome::CannotTell }
    }

    /// Takes an opening if it opens its field.
    pub(super) fn open(&mut self, opening: &Opening) -> bool {
        let opens = self.entry.opens(opening);
        if opens {
            self.openings.insert(opening.name.to_string(), opening.value.clone());
        }
        opens
    }

    /// The opened value of a field; none when it is withheld or not there.
    pub(super) fn value(&self, field: &str) -> Option<&str> {
        self.openings.get(field).map(String::as_str)
    }

    pub(super) fn touches(&self, subject: &SubjectId) -> bool {
        self.entry.subjects.iter().any(|touched| touched.id == *subject)
    }

    fn withheld(&self) -> u64 {
        let hidden =
            self.entry.fields.keys().filter(|name| !self.openings.contains_key(name.as_str()));
        hidden.count() as u64
    }
}

/// All entries of the bundle.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) entries: BTreeMap<LeafIndex, Recorded>,
    /// The head that the bundle's proofs rest on, if the policy accepts it.
    pub(super) accepted: Option<Checkpoint>,
    /// The ledger that the bundle's checkpoint names, believed or not.
    pub(super) origin: Option<Origin>,
}

impl Record {
    pub(super) fn get(&self, index: LeafIndex) -> Option<&Recorded> {
        self.entries.get(&index)
    }
}

/// One line of `entries.jsonl`.
pub fn entry_line(index: LeafIndex, entry: &Entry) -> Result<String, crate::entry::BadEntry> {
    let bytes = entry.to_bytes()?;
    let value = json!({"entry": canonical::parse(&bytes)?, "index": index.0});
    Ok(line(&value))
}

/// One line of `openings.jsonl`.
pub fn openings_line(index: LeafIndex, openings: &[Opening]) -> String {
    let openings: Vec<Value> = openings.iter().map(Opening::to_json).collect();
    line(&json!({"index": index.0, "openings": openings}))
}

fn line(value: &Value) -> String {
    let bytes = canonical::to_bytes(value).expect("entries and openings have a canonical form");
    format!("{}\n", String::from_utf8(bytes).expect("canonical JSON is UTF-8"))
}

/// Reads openings, proofs and checkpoint, and holds `entries` against them and the policy.
pub(super) fn read(
    files: &Files<'_>,
    entries: BTreeMap<LeafIndex, Recorded>,
    judge: &mut Judge<'_>,
    roots: &mut Roots,
    notes: &mut Notes,
) -> Record {
    let mut record = Record { entries, ..Record::default() };
    read_openings(files, &mut record.entries, notes);
    let checkpoint = read_checkpoint(files, notes);
    if let Some(checkpoint) = &checkpoint {
        let standing = judge.standing(checkpoint, CHECKPOINT, notes);
        record.accepted = (standing == Outcome::Match).then(|| checkpoint.unverified().clone());
        record.origin = Some(checkpoint.unverified().origin.clone());
        roots.hold(checkpoint.unverified(), CHECKPOINT, notes);
    }
    let mut proofs = read_proofs(files, notes);
    for (path, proof) in proofs.values() {
        roots.hold(proof.checkpoint.unverified(), path, notes);
    }
    for (index, recorded) in &mut record.entries {
        let proof = proofs.remove(index);
        recorded.standing = prove(*index, recorded, proof, checkpoint.as_ref(), judge, notes);
        let withheld = recorded.withheld();
        (0..withheld).for_each(|_| notes.checked(Check::WithheldField, false));
    }
    for (index, (path, _)) in proofs {
        let message = format!("{path} proves entry {index}, which is not in this bundle.");
        notes.note(Code::ProofWithoutEntry, Class::Record, path, message);
    }
    record
}

/// The bundle's checkpoint, if a key in use signed it and the quorum confirmed it: what earlier ones are held against.
pub(super) fn accepted_head(files: &Files<'_>, trusted: Option<&Trusted>) -> Option<Checkpoint> {
    let checkpoint = SignedCheckpoint::parse(files.content(CHECKPOINT)?).ok()?;
    Some(trusted?.policy.accept(&checkpoint).ok()?.checkpoint)
}

pub(super) fn read_entries(files: &Files<'_>, notes: &mut Notes) -> BTreeMap<LeafIndex, Recorded> {
    let mut entries = BTreeMap::new();
    let Some(bytes) = files.required(ENTRIES, notes) else { return entries };
    for (number, line) in lines(bytes) {
        let Some((index, entry_bytes, entry)) = parse_entry_line(line) else {
            let message = format!("Line {number} of {ENTRIES} is not a ledger entry.");
            notes.note(Code::EntryMalformed, Class::Record, ENTRIES, message);
            continue;
        };
        if entries.len() >= MAX_ENTRIES {
            let message = format!("{ENTRIES} has more than {MAX_ENTRIES} entries.");
            notes.note(Code::TooLarge, Class::Record, ENTRIES, message);
            break;
        }
        if entries.insert(index, Recorded::new(entry_bytes, entry)).is_some() {
            let message = format!("Entry {index} is there twice.");
            notes.note(Code::EntryTwice, Class::Record, ENTRIES, message);
        }
    }
    entries
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let some = (!body.is_empty()).then(|| body.split(|byte| *byte == b'\n'));
    some.into_iter().flatten().enumerate().map(|(at, line)| (at + 1, line))
}

fn parse_entry_line(line: &[u8]) -> Option<(LeafIndex, Vec<u8>, Entry)> {
    let value = canonical::parse(line).ok()?;
    let map = value.as_object().filter(|map| map.len() == 2)?;
    let bytes = canonical::to_bytes(map.get("entry")?).ok()?;
    let entry = Entry::parse(&bytes).ok()?;
    Some((LeafIndex(map.get("index")?.as_u64()?), bytes, entry))
}

fn read_openings(
    files: &Files<'_>,
    entries: &mut BTreeMap<LeafIndex, Recorded>,
    notes: &mut Notes,
) {
    let Some(bytes) = files.required(OPENINGS, notes) else { return };
    for (number, line) in lines(bytes) {
        let Some((index, openings)) = parse_openings_line(line) else {
            let message = format!("Line {number} of {OPENINGS} is not a list of openings.");
            notes.note(Code::OpeningMalformed, Class::Record, OPENINGS, message);
            continue;
        };
        let Some(recorded) = entries.get_mut(&index) else {
            let message =
                format!("Openings are given for entry {index}, which is not in this bundle.");
            notes.note(Code::OpeningWithoutEntry, Class::Record, OPENINGS, message);
            continue;
        };
        for opening in openings.iter() {
            if !recorded.open(opening) {
                let message =
                    format!("The opening of '{}' does not fit entry {index}.", opening.name);
                notes.note(Code::OpeningFails, Class::Record, OPENINGS, message);
            }
        }
    }
}

fn parse_openings_line(line: &[u8]) -> Option<(LeafIndex, Vec<Opening>)> {
    let value = canonical::parse(line).ok()?;
    let map = value.as_object().filter(|map| map.len() == 2)?;
    let openings = map.get("openings")?.as_array()?.iter().map(Opening::from_json);
    Some((LeafIndex(map.get("index")?.as_u64()?), openings.collect::<Result<_, _>>().ok()?))
}

fn read_checkpoint(files: &Files<'_>, notes: &mut Notes) -> Option<SignedCheckpoint> {
    let checkpoint = SignedCheckpoint::parse(files.required(CHECKPOINT, notes)?);
    if let Err(error) = &checkpoint {
        let message = format!("The bundle's checkpoint cannot be read: {error}.");
        notes.note(Code::CheckpointMalformed, Class::Record, CHECKPOINT, message);
    }
    checkpoint.ok()
}

fn read_proofs<'a>(
    files: &Files<'a>,
    notes: &mut Notes,
) -> BTreeMap<LeafIndex, (&'a str, TlogProof)> {
    let mut proofs = BTreeMap::new();
    for file in files.under(PROOFS) {
        let parsed = TlogProof::parse(file.content.as_deref().unwrap_or_default());
        let named = |proof: &TlogProof| file.path == proof_path(proof.index);
        match parsed {
            Ok(proof) if named(&proof) => {
                proofs.insert(proof.index, (file.path.as_str(), proof));
            }
            Ok(proof) => {
                let message = format!("{} is a proof for entry {}.", file.path, proof.index);
                notes.note(Code::ProofMalformed, Class::Record, &file.path, message);
            }
            Err(error) => {
                let message = format!("{} cannot be read: {error}.", file.path);
                notes.note(Code::ProofMalformed, Class::Record, &file.path, message);
            }
        }
    }
    proofs
}

/// Where a bundle keeps the proof of an entry.
pub fn proof_path(index: LeafIndex) -> String {
    format!("{PROOFS}{index}.tlog-proof")
}

fn prove(
    index: LeafIndex,
    recorded: &Recorded,
    proof: Option<(&str, TlogProof)>,
    checkpoint: Option<&SignedCheckpoint>,
    judge: &mut Judge<'_>,
    notes: &mut Notes,
) -> Outcome {
    let Some((path, proof)) = proof else {
        let message = format!("Entry {index} comes without a proof that can be read.");
        notes.note(Code::ProofMissing, Class::Record, &proof_path(index), message);
        return Outcome::CannotTell;
    };
    let held = proof.verify_inclusion(&leaf_hash(&recorded.bytes)).is_ok();
    notes.checked(Check::Inclusion, held);
    if !held {
        let message =
            format!("The proof does not show this entry in the ledger at position {index}.");
        notes.note(Code::InclusionFails, Class::Record, path, message);
        return Outcome::Mismatch;
    }
    if checkpoint
        .is_some_and(|checkpoint| *checkpoint.unverified() != *proof.checkpoint.unverified())
    {
        let message = format!("{path} rests on another checkpoint than the bundle's own.");
        notes.note(Code::CheckpointDiffers, Class::Record, CHECKPOINT, message);
    }
    judge.standing(&proof.checkpoint, path, notes)
}

/// Holds checkpoints against the policy; each distinct one is judged, and reported, once.
pub(super) struct Judge<'a> {
    trusted: Option<&'a Trusted>,
    later: Option<(Checkpoint, &'a Tiles<'a>)>,
    seen: BTreeMap<String, Outcome>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(trusted: Option<&'a Trusted>) -> Self {
        Self { trusted, later: None, seen: BTreeMap::new() }
    }

    /// From here on checkpoints by keys that were replaced since are held against `head`, which was accepted.
    pub(super) fn set_later(&mut self, head: Checkpoint, tiles: &'a Tiles<'a>) {
        self.later = Some((head, tiles));
    }

    pub(super) fn standing(
        &mut self,
        checkpoint: &SignedCheckpoint,
        path: &str,
        notes: &mut Notes,
    ) -> Outcome {
        let Some(trusted) = self.trusted else { return Outcome::CannotTell };
        let text = checkpoint.to_string();
        if let Some(known) = self.seen.get(&text) {
            return *known;
        }
        let outcome = match trusted.policy.accept(checkpoint) {
            Ok(accepted) => believe(&accepted, notes),
            Err(PolicyRefusal::UnknownLog) => self.judge_earlier(trusted, checkpoint, path, notes),
            Err(refusal) => refuse(&refusal, path, notes),
        };
        self.seen.insert(text, outcome);
        outcome
    }

    /// A checkpoint that no key of the policy signed counts if the quorum confirmed it, or if a key signed it that was
    /// replaced by one of the policy's and the ledger still begins with it.
    fn judge_earlier(
        &self,
        trusted: &Trusted,
        signed: &SignedCheckpoint,
        path: &str,
        notes: &mut Notes,
    ) -> Outcome {
        match trusted.policy.accept_by_quorum(signed) {
            Ok(accepted) => return believe(&accepted, notes),
            Err(refusal @ PolicyRefusal::BadSignature { .. }) => {
                return refuse(&refusal, path, notes);
            }
            Err(_) => {}
        }
        let key = match trusted.is_by_retired(signed) {
            Ok(key) => key,
            Err(refusal) => return refuse(&refusal, path, notes),
        };
        let (old, name) = (signed.unverified(), format!("{}+{}", key.name(), key.id()));
        match self.later.as_ref().map_or(Growth::Unshown, |later| grown(later, old)) {
            Growth::Extends => {
                notes.checked(Check::Consistency, true);
                notes.rests_on(format!(
                    "the force's earlier key ({name}), replaced since: the ledger under the key in use begins with the \
                     {} entries it signed",
                    old.size
                ));
                Outcome::Match
            }
            Growth::Contradicts => {
                notes.checked(Check::Consistency, false);
                let message = format!(
                    "{path} rests on a checkpoint of {} entries by the replaced key {name} that contradicts the ledger.",
                    old.size
                );
                notes.note(Code::RootsDiffer, Class::Record, path, message);
                Outcome::Mismatch
            }
            Growth::Unshown => {
                let message = format!(
                    "{path} rests on the key {name}, which was replaced since. Ask the force for a receipt or bundle \
                     under the key in use, or for its ledger as files, and give that with --ledger."
                );
                notes.note(Code::CheckpointRetired, Class::Signature, path, message);
                Outcome::CannotTell
            }
        }
    }
}

fn grown((head, tiles): &(Checkpoint, &Tiles<'_>), old: &Checkpoint) -> Growth {
    match old.origin == head.origin && old.size <= head.size {
        true => growth(head, old, *tiles),
        false => Growth::Unshown,
    }
}

fn believe(accepted: &AcceptedCheckpoint, notes: &mut Notes) -> Outcome {
    accepted.rests_on.sentences().into_iter().for_each(|sentence| notes.rests_on(sentence));
    Outcome::Match
}

fn refuse(refusal: &PolicyRefusal, path: &str, notes: &mut Notes) -> Outcome {
    let (code, more) = match refusal {
        PolicyRefusal::UnknownLog => (Code::CheckpointUntrusted, KEY_REPLACED),
        PolicyRefusal::BadSignature { .. } => (Code::CheckpointSignatureFails, ""),
        PolicyRefusal::QuorumNotMet { .. } => (Code::QuorumMissing, ""),
    };
    let message = format!("{path}: {refusal}.{more}");
    notes.add(Finding::at(code, Class::Signature, path, message));
    code.outcome()
}

/// What to do when it is only a matter of time.
const KEY_REPLACED: &str = " If the force has replaced its key since, ask it for its ledger as files or a later bundle, \
    and give that with --ledger.";

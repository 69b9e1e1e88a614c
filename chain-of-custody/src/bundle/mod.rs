//! Checking a bundle, as a pure function over facts that the caller gathered (docs/formats/bundle.md).
//!
//! Here: the layout, the lists of digests, the SSH signature, and every check of `exhibit-verify`. Not here: reading
//! folders and ZIPs, hashing, printing (`verify`), and making bundles (`portal`).
//! Invariant: a file of footage is a match only if its bytes have the digests that an opened entry holds, that entry
//! is proved under a checkpoint, and a policy that the reader confirmed accepts the checkpoint. Everything in the
//! bundle is a claim by its sender until then.

mod export;
mod files;
mod growth;
pub mod items;
pub mod layout;
pub mod lists;
mod programs;
mod receipts;
mod record;
mod roots;
mod rotations;
mod since;
pub mod sshsig;
mod stamps;
mod tiles;
mod trust;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;

pub use export::{PUBLIC_KEY, PUBLIC_ROLE};
pub use growth::{LaterLedger, Tiles};
pub use items::{BundleItem, BundleItems, DerivativeFile};
pub use receipts::{ReceiptFile, check_receipt};
pub use record::{entry_line, openings_line, proof_path};
pub use since::check_ledger;
pub use tiles::carried_tiles;
pub use trust::Trust;
pub use write::{Contents, ContentsError, DisclosedEntry, PayloadFile, payload_manifest, seal};

use record::Judge;
use roots::Roots;

use crate::digest::{Blake3, Digests};
use crate::event::EventKind;
use crate::report::{Code, Finding, Notes, Report};
use crate::rotation::PUBLIC_NOTE;
use crate::tile::TilePath;

/// The role of the key that signs bundles and completeness statements, as `key.published` names it.
pub const BUNDLE_KEY_ROLE: &str = "bundle";

/// One file of the bundle, as the caller read and hashed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFact {
    /// Relative to the bundle, with `/`.
    pub path: String,
    pub size_bytes: u64,
    pub digests: Digests,
    /// The bytes, for files that [`layout::is_read_whole`] names.
    pub content: Option<Vec<u8>>,
    /// For a front with its original behind it, as the list of items has it: one and the other.
    pub joined: Option<Joined>,
}

/// A file that is two, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    pub front_bytes: u64,
    pub front: Digests,
    pub original: Digests,
}

/// What the caller found before anything was believed.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub files: Vec<FileFact>,
    /// What the reader of the folder or ZIP found: links, names that lead out, two files of one name.
    pub findings: Vec<Finding>,
}

/// A file that differs from its record: asks the caller where the first difference lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect<'a> {
    pub path: &'a str,
    /// Where the bundle keeps the values of its 64 KiB groups.
    pub outboard_path: String,
    /// Size and digest as the ledger has them.
    pub size_bytes: u64,
    pub blake3: Blake3,
}

/// Where a suspect first differs from its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// In these bytes.
    Within(Range<u64>),
    /// It cannot be told: no list of group values, or the file could not be read again.
    Unknown,
    /// The list of group values does not add up to the recorded digest.
    Unusable,
}

/// Answers a [`Suspect`].
pub type Locate<'a> = dyn FnMut(&Suspect<'_>) -> Located + 'a;

/// Checks a bundle. The result is the same for whoever repeats it with the same facts and the same trust.
pub fn check(facts: &Facts, trust: &Trust, locate: &mut Locate<'_>) -> Report {
    check_since(facts, trust, None, locate)
}

/// The same, and whether the bundle's ledger contradicts a slip that the reader kept.
pub fn check_since(
    facts: &Facts,
    trust: &Trust,
    slip: Option<&[u8]>,
    locate: &mut Locate<'_>,
) -> Report {
    let mut notes = Notes::default();
    facts.findings.iter().for_each(|finding| notes.add(finding.clone()));
    let files = Files::new(&facts.files);
    if !lists::is_bag(&files, &mut notes) {
        return notes.finish();
    }
    let lists = lists::read(&files, &mut notes);
    let entries = record::read_entries(&files, &mut notes);
    let succession = rotations::of_entries(&entries, &mut notes);
    let claimed = files.content(layout::POLICY);
    let trusted = trust::resolve(trust, claimed, &succession, &mut notes);
    let trusted = trusted.as_ref();
    let tiles = |path: &TilePath| growth::tile_in(&files, path);
    let mut judge = Judge::new(trusted);
    if let Some(head) = record::accepted_head(&files, trusted) {
        judge.set_later(head, &tiles);
    }
    let mut roots = Roots::default();
    let record = record::read(&files, entries, &mut judge, &mut roots, &mut notes);
    if let (Some(slip), Some(checkpoint)) = (slip, files.content(layout::CHECKPOINT)) {
        since::check(checkpoint, slip, trusted, &tiles, &mut notes);
    }
    stamps::check(&files, trusted, record.accepted.as_ref(), &tiles, &mut notes);
    let items = items::read(&files, &mut notes);
    files::check(&files, &lists, &items, &record, &mut notes, locate);
    programs::check(&files, &mut notes);
    receipts::check(&files, &items, &record, &mut judge, &mut roots, &mut notes);
    export::check(&files, &items, &record, &mut roots, &mut notes);
    notes.finish()
}

/// What a bundle carries of its ledger, given to `use_it` as the later state of something earlier.
pub fn with_ledger_of<T>(facts: &Facts, use_it: impl FnOnce(&LaterLedger<'_>) -> T) -> Option<T> {
    let files = Files::new(&facts.files);
    let entries = record::read_entries(&files, &mut Notes::default());
    let note = |recorded: &record::Recorded| {
        let is_rotation = recorded.entry.kind == EventKind::KeyRotated;
        let note = recorded.entry.public.get(PUBLIC_NOTE).filter(|_| is_rotation);
        note.map(|note| note.as_bytes().to_vec())
    };
    let tiles = |path: &TilePath| growth::tile_in(&files, path);
    let rotations = entries.values().filter_map(note).collect();
    let checkpoint = files.content(layout::CHECKPOINT)?;
    Some(use_it(&LaterLedger { checkpoint, rotations, tiles: &tiles }))
}

/// The files by path.
struct Files<'a>(BTreeMap<&'a str, &'a FileFact>);

impl<'a> Files<'a> {
    fn new(files: &'a [FileFact]) -> Self {
        Self(files.iter().map(|file| (file.path.as_str(), file)).collect())
    }

    fn get(&self, path: &str) -> Option<&'a FileFact> {
        self.0.get(path).copied()
    }

    /// A file's bytes, for those that the caller read whole.
    fn content(&self, path: &str) -> Option<&'a [u8]> {
        self.get(path)?.content.as_deref()
    }

    fn under<'s>(&'s self, folder: &'s str) -> impl Iterator<Item = &'a FileFact> + 's {
        let below = self.0.range(folder..).map(|(_, file)| *file);
        below.take_while(move |file| file.path.starts_with(folder))
    }

    fn all(&self) -> impl Iterator<Item = &'a FileFact> {
        self.0.values().copied()
    }

    /// The bytes of a list that every bundle has, or a finding.
    fn required(&self, path: &'static str, notes: &mut Notes) -> Option<&'a [u8]> {
        let content = self.content(path);
        if content.is_none() {
            let message = format!("{path} is not there; without it not everything can be checked.");
            notes.note(Code::ListMissing, layout::class_of(path), path, message);
        }
        content
    }
}

//! The heads statement (`heads v1`): the last entry and the number of entries of each subject at one tree size.
//!
//! Here: its text, signing and checking. Not here: which subjects a bundle lists. Invariant: without such a
//! statement nothing is said about other entries; with it, each listed subject's sequence ends where it says.
//! Specified in `docs/formats/statements.md`.

use std::collections::BTreeMap;

use crate::checkpoint::{Checkpoint, Origin, parse_decimal};
use crate::ids::{LeafIndex, SubjectId, TreeSize};
use crate::malformed::Malformed;
use crate::merkle::Hash;
use crate::note::{NoteError, SignedNote, Signer, VerifierKey};
use crate::statement::{Reader, Writer};

/// Subjects in one statement at most.
pub const MAX_HEADS: usize = 4096;

const HEADS: &str = "heads v1";

/// Where a subject's sequence ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its last entry.
    pub last: LeafIndex,
    /// How many entries it has: its last `seq` + 1.
    pub count: u64,
}

/// The ends of the listed subjects' sequences under one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heads {
    origin: Origin,
    size: TreeSize,
    root: Hash,
    subjects: BTreeMap<SubjectId, Head>,
}

impl Heads {
    /// A statement under `checkpoint`; refused if a head cannot be.
    pub fn new(
        checkpoint: &Checkpoint,
        subjects: BTreeMap<SubjectId, Head>,
    ) -> Result<Self, Malformed> {
        let Checkpoint { origin, size, root } = checkpoint.clone();
        let heads = Self { origin, size, root, subjects };
        heads.check()?;
        Ok(heads)
    }

    /// The head of the ledger that it was made for.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { origin: self.origin.clone(), size: self.size, root: self.root }
    }

    pub fn subjects(&self) -> &BTreeMap<SubjectId, Head> {
        &self.subjects
    }

    /// The note text; subjects in the order of their texts' bytes.
    pub fn to_text(&self) -> String {
        let mut lines: Vec<String> = self
            .subjects
            .iter()
            .map(|(id, head)| format!("{id} {} {}", head.last, head.count))
            .collect();
        lines.sort_unstable();
        let writer = Writer::new(HEADS)
            .line("ledger", &self.origin)
            .line("size", self.size)
            .line("root", self.root);
        lines.iter().fold(writer, |writer, line| writer.line("subject", line)).finish()
    }

    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut lines = Reader::new(HEADS, text)?;
        let origin = lines.parsed("ledger")?;
        let size = TreeSize(lines.read("size", parse_decimal)?);
        let root = lines.read("root", |value| Hash::from_base64(value).ok())?;
        let mut subjects = BTreeMap::new();
        let mut before = "";
        while lines.has("subject") {
            let value = lines.value("subject")?;
            let (id, head) = parse_head(value).ok_or(Malformed::new(HEADS, "subject"))?;
            if before >= value || subjects.insert(id, head).is_some() {
                return Err(Malformed::new(HEADS, "the subjects are not in order, each once"));
            }
            before = value;
        }
        lines.end()?;
        let heads = Self { origin, size, root, subjects };
        heads.check()?;
        Ok(heads)
    }

    pub fn sign(&self, signer: &dyn Signer) -> Result<SignedNote, NoteError> {
        SignedNote::sign(&self.to_text(), &[signer])
    }

    /// Reads a signed heads statement and checks it against the keys the caller trusts for this role.
    pub fn verify(note: &SignedNote, trusted: &[VerifierKey]) -> Result<Self, NoteError> {
        Ok(Self::parse(note.verify(trusted)?.text)?)
    }

    fn check(&self) -> Result<(), Malformed> {
        if self.subjects.len() > MAX_HEADS {
            return Err(Malformed::new(HEADS, "it lists too many subjects"));
        }
        // A subject has at least one entry, and not more than there are up to its last.
        let possible = |head: &Head| {
            self.size.covers(head.last) && head.count >= 1 && head.count - 1 <= head.last.0
        };
        if self.subjects.values().all(possible) {
            Ok(())
        } else {
            Err(Malformed::new(HEADS, "a head cannot be in a tree of this size"))
        }
    }
}

fn parse_head(value: &str) -> Option<(SubjectId, Head)> {
    let mut words = value.split(' ');
    let id = words.next()?.parse().ok()?;
    let last = LeafIndex(parse_decimal(words.next()?)?);
    let count = parse_decimal(words.next()?)?;
    words.next().is_none().then_some((id, Head { last, count }))
}

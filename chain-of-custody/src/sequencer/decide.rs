//! Deciding commands: which become entries, at which index, and which are refused.
//!
//! Called inside the transaction that writes the entries, with the facts that this transaction read: what is decided
//! here is true at that moment and at no other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::command::{Command, Guard, Refusal, SourceKey};
use crate::digest::Sha256;
use crate::entry::{BadEntry, Entry, EntrySubject, FieldName, Opening};
use crate::event::{EventKind, field};
use crate::ids::{DeviceId, EventId, ItemId, LeafIndex, SubjectId, TreeSize};
use crate::time::Timestamp;

/// The state in which an item counts as held; the other is `quarantined`.
pub const STATE_STORED: &str = "stored";
/// What stands in a field for something that is not known.
pub const NOT_KNOWN: &str = "-";

/// What the database must answer before these commands can be decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Questions {
    pub events: BTreeSet<EventId>,
    pub subjects: BTreeSet<SubjectId>,
    pub sources: Vec<SourceKey>,
    /// Are they revoked?
    pub devices: BTreeSet<DeviceId>,
}

/// The answers. What is missing does not exist.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub events: HashMap<EventId, LeafIndex>,
    pub heads: HashMap<SubjectId, Head>,
    pub sources: HashMap<SourceKey, Held>,
    pub revoked: HashSet<DeviceId>,
}

/// A subject's entries so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many entries touch the subject; its next `seq`.
    pub count: u64,
    /// The newest of them.
    pub last: LeafIndex,
}

/// The stored item that came from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub item: ItemId,
    /// The entry that says so.
    pub leaf_index: LeafIndex,
}

/// What became of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is the entry at this index, made now.
    Placed(LeafIndex),
    /// Its event was an entry already; this is where.
    Repeated(LeafIndex),
    /// It made no entry.
    Refused(Refusal),
}

/// An entry that has its place, with what opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedEntry {
    pub index: LeafIndex,
    pub entry: Entry,
    /// The canonical bytes of `entry`.
    pub bytes: Vec<u8>,
    pub openings: Vec<Opening>,
}

/// One decision per command, in their order, and the new entries in the order of the ledger.
#[derive(Debug, Clone, Default)]
pub struct Decided {
    pub decisions: Vec<Decision>,
    pub entries: Vec<PlacedEntry>,
}

impl Questions {
    /// All that [`decide`] will look at for `commands`.
    pub fn about<'a>(commands: impl IntoIterator<Item = &'a Command>) -> Self {
        let mut questions = Self::default();
        for command in commands {
            questions.events.insert(command.event);
            questions.subjects.extend(command.subjects.iter().cloned());
            for guard in &command.guards {
                match guard {
                    Guard::SubjectIsNew(id) | Guard::SubjectExists(id) => {
                        questions.subjects.insert(id.clone());
                    }
                    Guard::NoSuchSource(key) if !questions.sources.contains(key) => {
                        questions.sources.push(*key);
                    }
                    Guard::NoSuchSource(_) => {}
                    Guard::DeviceMaySend(id) => {
                        questions.devices.insert(*id);
                    }
                }
            }
        }
        questions
    }
}

/// Decides `commands` in their order; each sees what those before it did. The first entry gets index `from`.
pub fn decide<'a>(
    commands: impl IntoIterator<Item = &'a Command>,
    mut facts: Facts,
    from: TreeSize,
    at: Timestamp,
) -> Decided {
    let mut decided = Decided::default();
    for command in commands {
        let index = LeafIndex(from.0 + decided.entries.len() as u64);
        let decision = match facts.events.get(&command.event) {
            Some(first) => Decision::Repeated(*first),
            None => match place(command, &facts, index, at) {
                Ok(placed) => {
                    facts.learn(&placed);
                    decided.entries.push(placed);
                    Decision::Placed(index)
                }
                Err(refusal) => Decision::Refused(refusal),
            },
        };
        decided.decisions.push(decision);
    }
    decided
}

/// The source that an entry's openings describe, if they make an item held: what a later upload of the same
/// recording will be compared with.
pub fn source_of(kind: EventKind, openings: &[Opening]) -> Option<SourceKey> {
    let value = |name: &str| openings.iter().find(|o| o.name.as_str() == name).map(|o| &*o.value);
    let held = kind == EventKind::ItemReceived && value(field::STATE) == Some(STATE_STORED);
    let sha256: Sha256 = value(field::SHA256).filter(|_| held)?.parse().ok()?;
    let known = |name| value(name).unwrap_or(NOT_KNOWN);
    Some(SourceKey::new(
        known(field::DEVICE),
        known(field::CAMERA),
        known(field::RECORDING),
        &sha256,
    ))
}

fn place(
    command: &Command,
    facts: &Facts,
    index: LeafIndex,
    at: Timestamp,
) -> Result<PlacedEntry, Refusal> {
    command.guards.iter().try_for_each(|guard| facts.allow(guard))?;
    check_names(command)?;
    let entry = Entry {
        kind: command.kind,
        event: command.event,
        subjects: command.subjects.iter().map(|id| facts.next_of(id)).collect(),
        at,
        fields: command.commitments(),
        public: command.public.clone(),
    };
    let bytes = entry.to_bytes()?;
    // Evidential first, as they come back from the store: the same openings now and later.
    let mut openings = command.fields.clone();
    openings.sort_by_key(|opening| opening.name.class());
    Ok(PlacedEntry { index, entry, bytes, openings })
}

/// A field twice would leave one of its openings opening nothing; a public name must read back as one.
fn check_names(command: &Command) -> Result<(), BadEntry> {
    let mut seen = BTreeMap::new();
    let twice = command.fields.iter().find(|o| seen.insert(&o.name, ()).is_some());
    if let Some(opening) = twice {
        return Err(BadEntry::FieldName(opening.name.to_string()));
    }
    command.public.keys().try_for_each(|name| name.parse::<FieldName>().map(|_| ()))
}

impl Facts {
    fn allow(&self, guard: &Guard) -> Result<(), Refusal> {
        match guard {
            Guard::SubjectIsNew(id) if self.heads.contains_key(id) => {
                Err(Refusal::SubjectExists(id.clone()))
            }
            Guard::SubjectExists(id) if !self.heads.contains_key(id) => {
                Err(Refusal::UnknownSubject(id.clone()))
            }
            Guard::NoSuchSource(key) => match self.sources.get(key) {
                Some(held) => {
                    Err(Refusal::Duplicate { item: held.item, leaf_index: held.leaf_index })
                }
                None => Ok(()),
            },
            Guard::DeviceMaySend(id) if self.revoked.contains(id) => {
                Err(Refusal::DeviceRevoked(*id))
            }
            Guard::SubjectIsNew(_) | Guard::SubjectExists(_) | Guard::DeviceMaySend(_) => Ok(()),
        }
    }

    fn next_of(&self, id: &SubjectId) -> EntrySubject {
        let head = self.heads.get(id);
        EntrySubject {
            id: id.clone(),
            seq: head.map_or(0, |h| h.count),
            prev: head.map(|h| h.last),
        }
    }

    /// What later commands of the same batch must see.
    fn learn(&mut self, placed: &PlacedEntry) {
        self.events.insert(placed.entry.event, placed.index);
        for subject in &placed.entry.subjects {
            let head = Head { count: subject.seq + 1, last: placed.index };
            self.heads.insert(subject.id.clone(), head);
        }
        for device in placed.entry.subjects.iter().filter_map(|s| s.id.device()) {
            match placed.entry.kind {
                EventKind::DeviceRevoked => _ = self.revoked.insert(device),
                EventKind::DeviceEnrolled => _ = self.revoked.remove(&device),
                _ => {}
            }
        }
        let item = placed.entry.subjects.iter().find_map(|s| s.id.item());
        if let (Some(item), Some(key)) = (item, source_of(placed.entry.kind, &placed.openings)) {
            self.sources.entry(key).or_insert(Held { item, leaf_index: placed.index });
        }
    }
}

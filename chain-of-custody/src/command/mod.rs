//! A command: what somebody asks of the ledger, before the sequencer has made it an entry.
//!
//! It carries its event id, so that a repeat returns the first result, and its salts, so that nothing here is random.

mod stored;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::entry::{BadEntry, Commitment, FieldName, Opening, Salt};
use crate::event::EventKind;
use crate::ids::{DeviceId, EventId, ItemId, LeafIndex, SubjectId};

/// What somebody asks of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub kind: EventKind,
    pub event: EventId,
    /// All that the act touches, each once.
    pub subjects: Vec<SubjectId>,
    /// The fields to commit to, opened.
    pub fields: Vec<Opening>,
    pub public: BTreeMap<String, String>,
    /// What must hold at the moment the entry is made; else the command is refused and nothing is written.
    pub guards: Vec<Guard>,
}

/// A condition, decided inside the transaction that writes the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The subject has no entry yet.
    SubjectIsNew(SubjectId),
    /// The subject has at least one entry.
    SubjectExists(SubjectId),
    /// No stored item came from the same source with the same bytes.
    NoSuchSource(SourceKey),
    /// The device's access is not revoked.
    DeviceMaySend(DeviceId),
}

/// Why a command made no entry. A result, never an abort for others in the same batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0} exists already")]
    SubjectExists(SubjectId),
    #[error("{0} is not known")]
    UnknownSubject(SubjectId),
    #[error("the same recording is held already, as item {item} at entry {leaf_index}")]
    Duplicate { item: ItemId, leaf_index: LeafIndex },
    #[error("the access of device {0} was revoked")]
    DeviceRevoked(DeviceId),
    #[error("the entry cannot be written: {0}")]
    Malformed(#[from] BadEntry),
}

/// What makes two uploads the same recording: device, camera, recording and bytes. Bytes alone never do, so that
/// no reply reveals what others hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceKey(Sha256);

impl SourceKey {
    /// `-` stands for what is not known, as in the entry's fields.
    pub fn new(device: &str, camera: &str, recording: &str, sha256: &Sha256) -> Self {
        let parts =
            serde_json::json!(["exhibit/source/v1", device, camera, recording, sha256.to_string()]);
        let bytes =
            crate::canonical::to_bytes(&parts).expect("strings always have a canonical form");
        Self(Sha256::of(&bytes))
    }
}

impl std::fmt::Display for SourceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Command {
    /// A command without fields yet.
    pub fn new(kind: EventKind, event: EventId) -> Self {
        Self {
            kind,
            event,
            subjects: Vec::new(),
            fields: Vec::new(),
            public: BTreeMap::new(),
            guards: Vec::new(),
        }
    }

    /// Adds what the act touches.
    #[must_use]
    pub fn touching(mut self, subject: impl Into<SubjectId>) -> Self {
        self.subjects.push(subject.into());
        self
    }

    /// Adds a condition.
    #[must_use]
    pub fn provided(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// Adds a committed field under a salt from the caller.
    ///
    /// # Panics
    /// When `name` is not one of [`crate::event::field`]: our mistake, not the caller's data.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<String>, salt: Salt) -> Self {
        let known = crate::event::field::ALL.iter().any(|(known, _, _)| *known == name);
        assert!(known, "field '{name}' is not in event::field");
        let name: FieldName = name.parse().expect("the names in event::field are valid");
        self.fields.push(Opening { name, salt, value: value.into() });
        self
    }

    /// Adds what everybody with the entry may read. Never personal data.
    #[must_use]
    pub fn public(mut self, name: &str, value: impl Into<String>) -> Self {
        self.public.insert(name.to_owned(), value.into());
        self
    }

    /// The commitments to all fields.
    pub fn commitments(&self) -> BTreeMap<FieldName, Commitment> {
        let commit =
            |o: &Opening| (o.name.clone(), Commitment::to(self.event, &o.name, &o.salt, &o.value));
        self.fields.iter().map(commit).collect()
    }
}

/// The device an upload came from, as entries write it: its id, or `-` for a workstation at the console.
pub fn device_text(device: Option<DeviceId>) -> String {
    device.map_or_else(|| "-".to_owned(), |id| id.to_string())
}

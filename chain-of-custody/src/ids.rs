//! Names of things: UUIDs that differ by type, positions in the ledger, subjects.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Sha256;

/// Text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a valid {what}")]
pub struct BadId {
    /// What was expected, in glossary words.
    pub what: &'static str,
    /// What was found, at most [`BadId::SHOWN`] characters of it.
    pub text: String,
}

impl BadId {
    /// How much of a bad id is repeated in its error.
    const SHOWN: usize = 80;

    fn new(what: &'static str, text: &str) -> Self {
        Self { what, text: text.chars().take(Self::SHOWN).collect() }
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID chosen by the caller: this crate has no randomness.
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The sixteen bytes, as they enter a commitment.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The UUID itself.
            pub const fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        /// Accepts the hyphenated lower-case form only: one id, one text.
        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let id = Uuid::try_parse(text).map_err(|_| BadId::new($what, text))?;
                let canonical = id.hyphenated().to_string() == text;
                canonical.then_some(Self(id)).ok_or_else(|| BadId::new($what, text))
            }
        }
    };
}

uuid_id!(/// A custody event, chosen by whoever asks for the act, so that a repeat is recognised.
    EventId, "event id");
uuid_id!(/// Anything held.
    ItemId, "item id");
uuid_id!(/// A camera, dock, recorder or dock agent.
    DeviceId, "device id");
uuid_id!(/// One item on its way in.
    UploadId, "upload id");
uuid_id!(/// A person with an account: a random name, so that entries do not say who it is.
    UserId, "user id");
uuid_id!(/// An investigation.
    CaseId, "case id");

impl EventId {
    /// The id of an act that is one act however often, and by whomever, it is asked for: it follows from what the act is.
    pub fn of_act(act: &str) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::of(act.as_bytes()).as_bytes()[..16]);
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }
}

/// The position of an entry in the ledger, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeafIndex(pub u64);

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of entries in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TreeSize(pub u64);

impl TreeSize {
    /// Whether an entry at `index` is covered by a tree of this size.
    pub const fn covers(self, index: LeafIndex) -> bool {
        index.0 < self.0
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What kind of thing an entry touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectKind {
    Item,
    Case,
    Device,
    Grant,
    Key,
    Person,
    /// The force's own system: configuration, the ledger itself.
    Force,
}

impl SubjectKind {
    const ALL: [Self; 7] =
        [Self::Item, Self::Case, Self::Device, Self::Grant, Self::Key, Self::Person, Self::Force];

    /// The word before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::Case => "case",
            Self::Device => "device",
            Self::Grant => "grant",
            Self::Key => "key",
            Self::Person => "person",
            Self::Force => "force",
        }
    }
}

/// Something an entry touches, written `<kind>:<name>`; each has its own dense sequence of entries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectId {
    kind: SubjectKind,
    name: String,
}

impl SubjectId {
    /// The longest name after the colon.
    pub const MAX_NAME_BYTES: usize = 128;

    /// A subject of `kind` called `name` (`[A-Za-z0-9._+-]`, 1 to [`Self::MAX_NAME_BYTES`] bytes).
    ///
    /// # Errors
    /// [`BadId`] when the name has other characters or another length.
    pub fn new(kind: SubjectKind, name: &str) -> Result<Self, BadId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
        let good = (1..=Self::MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed);
        good.then(|| Self { kind, name: name.to_owned() })
            .ok_or_else(|| BadId::new("subject", name))
    }

    /// The kind before the colon.
    pub fn kind(&self) -> SubjectKind {
        self.kind
    }

    /// The name after the colon.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The item this is, if it is one.
    pub fn item(&self) -> Option<ItemId> {
        (self.kind == SubjectKind::Item).then(|| self.name.parse().ok()).flatten()
    }

    /// The device, if it is one.
    pub fn device(&self) -> Option<DeviceId> {
        (self.kind == SubjectKind::Device).then(|| self.name.parse().ok()).flatten()
    }
}

impl From<ItemId> for SubjectId {
    fn from(id: ItemId) -> Self {
        Self { kind: SubjectKind::Item, name: id.to_string() }
    }
}

impl From<DeviceId> for SubjectId {
    fn from(id: DeviceId) -> Self {
        Self { kind: SubjectKind::Device, name: id.to_string() }
    }
}

impl From<CaseId> for SubjectId {
    fn from(id: CaseId) -> Self {
        Self { kind: SubjectKind::Case, name: id.to_string() }
    }
}

impl From<UserId> for SubjectId {
    fn from(id: UserId) -> Self {
        Self { kind: SubjectKind::Person, name: id.to_string() }
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.name)
    }
}

impl FromStr for SubjectId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId::new("subject", text);
        let (kind, name) = text.split_once(':').ok_or_else(bad)?;
        let kind = SubjectKind::ALL.into_iter().find(|k| k.as_str() == kind).ok_or_else(bad)?;
        Self::new(kind, name).map_err(|_| bad())
    }
}

impl Serialize for SubjectId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SubjectId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_one_text() {
        let text = "0193a7c2-0000-7000-8000-000000000001";
        assert_eq!(text.parse::<ItemId>().unwrap().to_string(), text);
        assert!(text.to_uppercase().replace('0', "A").parse::<ItemId>().is_err());
        assert!("{0193a7c2-0000-7000-8000-000000000001}".parse::<ItemId>().is_err());
    }

    #[test]
    fn subjects_round_trip_and_refuse_paths() {
        let s: SubjectId = "device:cam-1".parse().unwrap();
        assert_eq!(s.to_string(), "device:cam-1");
        for bad in ["device:", "device:../x", "device:a b", "thing:x", "device", "device:\u{202e}x"]
        {
            assert!(bad.parse::<SubjectId>().is_err(), "{bad}");
        }
    }
}

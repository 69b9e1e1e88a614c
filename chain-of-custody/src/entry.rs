//! An entry: the ledger's record of one event, as the canonical JSON whose hash is a leaf.
//!
//! What identifies anybody or anything is committed, not written: HMAC-SHA256 under a random salt, opened by an
//! [`Opening`] that a bundle may carry or withhold field by field. Specified in `docs/formats/entries.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use hmac::{KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::canonical::{self, NotCanonical};
use crate::digest::write_hex;
use crate::event::{Class, EventKind, UnknownEvent, field};
use crate::ids::{BadId, EventId, LeafIndex, SubjectId};
use crate::time::{BadTimestamp, Timestamp};

/// The largest entry: an entry bundle writes its length as u16 (C2SP tlog-tiles).
pub const MAX_ENTRY_BYTES: usize = 65_535;
/// The most subjects one act may touch.
pub const MAX_SUBJECTS: usize = 256;
/// The most committed fields in one entry.
pub const MAX_FIELDS: usize = 64;
/// The longest field name.
pub const MAX_FIELD_NAME_BYTES: usize = 64;
/// The version of entry this crate writes, and the only one it reads so far.
pub const ENTRY_VERSION: u64 = 1;

const COMMITMENT_DOMAIN: &[u8] = b"exhibit/field/v1";

/// Why bytes are not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    #[error("entry of {0} bytes; at most {MAX_ENTRY_BYTES} are allowed")]
    TooLarge(usize),
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
    #[error("entry version {0} is not known here")]
    Version(String),
    #[error("entry has no valid '{0}'")]
    Key(&'static str),
    #[error("entry has a key that does not belong there: '{0}'")]
    UnknownKey(String),
    #[error(transparent)]
    Event(#[from] UnknownEvent),
    #[error(transparent)]
    Id(#[from] BadId),
    #[error(transparent)]
    Time(#[from] BadTimestamp),
    #[error("field name '{0}' does not match [a-z0-9-]{{1,64}}")]
    FieldName(String),
    #[error("too many {what}: {count}; at most {max}")]
    TooMany { what: &'static str, count: usize, max: usize },
    #[error("subject '{0}' appears twice")]
    SubjectTwice(SubjectId),
    /// Another server found it, and this is what it said.
    #[error("{0}")]
    AsTold(String),
}

/// The name of a committed field: `[a-z0-9-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct FieldName(String);

impl FieldName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether its opening may be erased.
    pub fn class(&self) -> Class {
        field::class_of(&self.0)
    }
}

impl FromStr for FieldName {
    type Err = BadEntry;

    fn from_str(text: &str) -> Result<Self, BadEntry> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good = (1..=MAX_FIELD_NAME_BYTES).contains(&text.len()) && text.bytes().all(allowed);
        let shown = || text.chars().take(MAX_FIELD_NAME_BYTES).collect();
        good.then(|| Self(text.to_owned())).ok_or_else(|| BadEntry::FieldName(shown()))
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! hex32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl $name {
            fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                let value = Self(bytes);
                (value.to_string() == text).then_some(value)
            }
        }
    };
}

hex32!(/// 32 random bytes that hide a field's value until it is opened.
    Salt);
hex32!(/// What an entry holds in place of a value.
    Commitment);

/// Salts are as secret as the values they hide.
impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({self})")
    }
}

impl Commitment {
    /// HMAC-SHA256(salt, "exhibit/field/v1" ‖ 0x00 ‖ event ‖ name ‖ 0x00 ‖ value).
    pub fn to(event: EventId, name: &FieldName, salt: &Salt, value: &str) -> Self {
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&salt.0)
            .expect("HMAC takes a key of any length");
        mac.update(COMMITMENT_DOMAIN);
        mac.update(&[0]);
        mac.update(event.as_bytes());
        mac.update(name.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        Self(mac.finalize().into_bytes().into())
    }
}

/// The salt and value that open one committed field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub name: FieldName,
    pub salt: Salt,
    /// The value's exact text.
    pub value: String,
}

impl Opening {
    /// The JSON form, `{name, salt, value}`.
    pub fn to_json(&self) -> Value {
        json!({"name": self.name.as_str(), "salt": self.salt.to_string(), "value": self.value})
    }

    /// The canonical JSON array of some openings.
    pub fn to_bytes<'a>(openings: impl IntoIterator<Item = &'a Self>) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        Self::write_array(&mut out, openings);
        out
    }

    pub(crate) fn write_array<'a>(out: &mut Vec<u8>, openings: impl IntoIterator<Item = &'a Self>) {
        let write = |out: &mut Vec<u8>, opening: &Self| {
            let mut object = canonical::Object::begin(out);
            object.text("name", opening.name.as_str());
            object.text("salt", &opening.salt.to_string());
            object.text("value", &opening.value);
            object.end();
            Ok(())
        };
        let written: Result<(), std::convert::Infallible> =
            canonical::write_array(out, openings, write);
        written.expect("strings always have a canonical form");
    }

    /// Reads the JSON form; other keys are refused.
    ///
    /// # Errors
    /// [`BadEntry`] naming the key at fault.
    pub fn from_json(value: &Value) -> Result<Self, BadEntry> {
        let map = value.as_object().ok_or(BadEntry::Key("opening"))?;
        only_keys(map, &["name", "salt", "value"])?;
        Ok(Self {
            name: text(map, "name")?.parse()?,
            salt: Salt::parse(text(map, "salt")?).ok_or(BadEntry::Key("salt"))?,
            value: text(map, "value")?.to_owned(),
        })
    }
}

/// A subject as an entry names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrySubject {
    pub id: SubjectId,
    /// How many entries this subject had before: dense from 0.
    pub seq: u64,
    /// The subject's previous entry; none for its first.
    pub prev: Option<LeafIndex>,
}

/// The ledger's record of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: EventKind,
    pub event: EventId,
    pub subjects: Vec<EntrySubject>,
    /// Server time; it orders nothing.
    pub at: Timestamp,
    pub fields: BTreeMap<FieldName, Commitment>,
    /// What everybody with the entry may read: published keys, never personal data.
    pub public: BTreeMap<String, String>,
}

impl Entry {
    /// The canonical bytes, whose leaf hash enters the tree.
    ///
    /// # Errors
    /// [`BadEntry`] when a limit is exceeded.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BadEntry> {
        self.check_limits()?;
        let mut bytes = Vec::with_capacity(1_024);
        let mut object = canonical::Object::begin(&mut bytes);
        object.text("at", &self.at.to_string());
        object.text("event", &self.event.to_string());
        let mut fields = canonical::Object::begin(object.key("fields"));
        for (name, commitment) in &self.fields {
            fields.text(name.as_str(), &commitment.to_string());
        }
        fields.end();
        canonical::write_value(object.key("public"), &json!(self.public))?;
        canonical::write_array(object.key("subjects"), &self.subjects, write_subject)?;
        object.text("type", self.kind.as_str());
        object.integer("v", ENTRY_VERSION)?;
        object.end();
        (bytes.len() <= MAX_ENTRY_BYTES).then_some(()).ok_or(BadEntry::TooLarge(bytes.len()))?;
        Ok(bytes)
    }

    /// Reads an entry that must be exactly what [`Entry::to_bytes`] writes.
    ///
    /// # Errors
    /// [`BadEntry`] naming what is wrong; never a partial entry.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadEntry> {
        (bytes.len() <= MAX_ENTRY_BYTES).then_some(()).ok_or(BadEntry::TooLarge(bytes.len()))?;
        let value = canonical::parse(bytes)?;
        let map = value.as_object().ok_or(BadEntry::Key("object"))?;
        only_keys(map, &["v", "type", "event", "subjects", "at", "fields", "public"])?;
        match map.get("v") {
            Some(v) if v.as_u64() == Some(ENTRY_VERSION) => {}
            other => return Err(BadEntry::Version(other.unwrap_or(&Value::Null).to_string())),
        }
        let entry = Self {
            kind: text(map, "type")?.parse()?,
            event: text(map, "event")?.parse()?,
            subjects: array(map, "subjects")?
                .iter()
                .map(parse_subject)
                .collect::<Result<_, _>>()?,
            at: text(map, "at")?.parse()?,
            fields: object(map, "fields")?.iter().map(parse_field).collect::<Result<_, _>>()?,
            public: object(map, "public")?.iter().map(parse_public).collect::<Result<_, _>>()?,
        };
        entry.check_limits()?;
        Ok(entry)
    }

    /// Whether `opening` opens the field of its name in this entry.
    pub fn opens(&self, opening: &Opening) -> bool {
        use subtle::ConstantTimeEq;
        self.fields.get(&opening.name).is_some_and(|committed| {
            let computed = Commitment::to(self.event, &opening.name, &opening.salt, &opening.value);
            committed.0.ct_eq(&computed.0).into()
        })
    }

    fn check_limits(&self) -> Result<(), BadEntry> {
        let within = |what, count, max| {
            (count <= max).then_some(()).ok_or(BadEntry::TooMany { what, count, max })
        };
        within("subjects", self.subjects.len(), MAX_SUBJECTS)?;
        within("fields", self.fields.len(), MAX_FIELDS)?;
        let mut seen = std::collections::BTreeSet::new();
        let twice = self.subjects.iter().find(|subject| !seen.insert(&subject.id));
        twice.map_or(Ok(()), |subject| Err(BadEntry::SubjectTwice(subject.id.clone())))
    }
}

fn write_subject(out: &mut Vec<u8>, subject: &EntrySubject) -> Result<(), NotCanonical> {
    let mut object = canonical::Object::begin(out);
    object.text("id", &subject.id.to_string());
    match subject.prev {
        Some(prev) => object.integer("prev", prev.0)?,
        None => object.key("prev").extend_from_slice(b"null"),
    }
    object.integer("seq", subject.seq)?;
    object.end();
    Ok(())
}

fn parse_subject(value: &Value) -> Result<EntrySubject, BadEntry> {
    let map = value.as_object().ok_or(BadEntry::Key("subjects"))?;
    only_keys(map, &["id", "seq", "prev"])?;
    let prev = match map.get("prev") {
        Some(Value::Null) => None,
        Some(number) => Some(LeafIndex(number.as_u64().ok_or(BadEntry::Key("prev"))?)),
        None => return Err(BadEntry::Key("prev")),
    };
    let seq = map.get("seq").and_then(Value::as_u64).ok_or(BadEntry::Key("seq"))?;
    // The first has no previous, every other has one.
    (prev.is_none() == (seq == 0)).then_some(()).ok_or(BadEntry::Key("prev"))?;
    Ok(EntrySubject { id: text(map, "id")?.parse()?, seq, prev })
}

fn parse_field((name, value): (&String, &Value)) -> Result<(FieldName, Commitment), BadEntry> {
    let commitment = value.as_str().and_then(Commitment::parse).ok_or(BadEntry::Key("fields"))?;
    Ok((name.parse()?, commitment))
}

fn parse_public((name, value): (&String, &Value)) -> Result<(String, String), BadEntry> {
    let _: FieldName = name.parse()?;
    Ok((name.clone(), value.as_str().ok_or(BadEntry::Key("public"))?.to_owned()))
}

pub(crate) type Map = serde_json::Map<String, Value>;

pub(crate) fn only_keys(map: &Map, known: &[&str]) -> Result<(), BadEntry> {
    let stranger = map.keys().find(|key| !known.contains(&key.as_str()));
    stranger.map_or(Ok(()), |key| Err(BadEntry::UnknownKey(key.chars().take(80).collect())))
}

pub(crate) fn text<'a>(map: &'a Map, key: &'static str) -> Result<&'a str, BadEntry> {
    map.get(key).and_then(Value::as_str).ok_or(BadEntry::Key(key))
}

pub(crate) fn array<'a>(map: &'a Map, key: &'static str) -> Result<&'a Vec<Value>, BadEntry> {
    map.get(key).and_then(Value::as_array).ok_or(BadEntry::Key(key))
}

pub(crate) fn object<'a>(map: &'a Map, key: &'static str) -> Result<&'a Map, BadEntry> {
    map.get(key).and_then(Value::as_object).ok_or(BadEntry::Key(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> (Entry, Opening) {
        let event: EventId = "0193a7c2-0000-7000-8000-000000000002".parse().unwrap();
        let opening = Opening {
            name: "name".parse().unwrap(),
            salt: Salt([7; 32]),
            value: "clip \u{202e}4pm.exe".to_owned(),
        };
        let commitment = Commitment::to(event, &opening.name, &opening.salt, &opening.value);
        let entry = Entry {
            kind: EventKind::ItemReceived,
            event,
            subjects: vec![EntrySubject {
                id: "item:x1".parse().unwrap(),
                seq: 1,
                prev: Some(LeafIndex(4)),
            }],
            at: Timestamp::from_unix_millis(1_700_000_000_000).unwrap(),
            fields: BTreeMap::from([(opening.name.clone(), commitment)]),
            public: BTreeMap::new(),
        };
        (entry, opening)
    }

    #[test]
    fn reads_back_what_it_wrote_and_opens() {
        let (entry, opening) = example();
        let read = Entry::parse(&entry.to_bytes().unwrap()).unwrap();
        assert_eq!(read, entry);
        assert!(read.opens(&opening));
        assert_eq!(Opening::from_json(&opening.to_json()).unwrap(), opening);
        let list = canonical::parse(&Opening::to_bytes([&opening, &opening])).unwrap();
        assert_eq!(list, json!([opening.to_json(), opening.to_json()]));
    }

    #[test]
    fn an_opening_opens_its_own_field_only() {
        let (entry, opening) = example();
        let other_value = Opening { value: "clip".into(), ..opening.clone() };
        let other_salt = Opening { salt: Salt([8; 32]), ..opening.clone() };
        let other_name = Opening { name: "by".parse().unwrap(), ..opening };
        for wrong in [other_value, other_salt, other_name] {
            assert!(!entry.opens(&wrong));
        }
    }

    #[test]
    fn the_commitment_binds_the_event_so_openings_do_not_travel() {
        let (mut entry, opening) = example();
        entry.event = "0193a7c2-0000-7000-8000-000000000003".parse().unwrap();
        assert!(!entry.opens(&opening));
    }

    #[test]
    fn malformed_entries_are_refused_by_name() {
        let good = String::from_utf8(example().0.to_bytes().unwrap()).unwrap();
        let cases = [
            ("unknown_key", good.replacen("\"at\"", "\"as\":\"\",\"at\"", 1)),
            ("version_2", good.replace("\"v\":1", "\"v\":2")),
            ("event_unknown", good.replace("item.received", "item.imagined")),
            ("seq_0_with_prev", good.replace("\"seq\":1", "\"seq\":0")),
            ("upper_case_uuid", good.replace("0193a7c2", "0193A7C2")),
            ("field_name_upper", good.replace("\"name\"", "\"NAME\"")),
            ("space_added", good.replace("\"v\":1", "\"v\": 1")),
            ("time_without_millis", good.replace(".000Z", "Z")),
        ];
        for (name, text) in cases {
            assert_ne!(text, good, "{name} changes nothing");
            assert!(Entry::parse(text.as_bytes()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_subject_twice_is_refused() {
        let (mut entry, _) = example();
        entry.subjects.push(entry.subjects[0].clone());
        assert!(matches!(entry.to_bytes(), Err(BadEntry::SubjectTwice(_))));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Entry::parse(&bytes);
        }

        #[test]
        fn any_flipped_bit_changes_the_entry_or_is_refused(bit in 0usize..8 * 300) {
            let (entry, _) = example();
            let mut bytes = entry.to_bytes().unwrap();
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(Entry::parse(&bytes).ok(), Some(entry));
        }
    }
}

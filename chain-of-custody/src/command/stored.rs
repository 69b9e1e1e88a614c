//! Commands and refusals as rows of a database: how several servers hand them to the one that writes.
//!
//! Working state between servers of one version or the next, never a format for others: it holds names and salts, and goes
//! once the command is answered. Canonical JSON; an unknown version is refused by name.

use serde_json::{Value, json};

use super::{Command, Guard, Refusal, SourceKey};
use crate::canonical;
use crate::entry::{BadEntry, Map, Opening, array, object, only_keys, text};
use crate::ids::LeafIndex;

const VERSION: u64 = 1;

impl Command {
    /// Its stored form.
    pub fn to_stored(&self) -> Vec<u8> {
        let subjects: Vec<_> = self.subjects.iter().map(ToString::to_string).collect();
        let value = json!({
            "v": VERSION,
            "type": self.kind.as_str(),
            "event": self.event.to_string(),
            "subjects": subjects,
            "fields": self.fields.iter().map(Opening::to_json).collect::<Vec<_>>(),
            "public": self.public,
            "guards": self.guards.iter().map(guard_to_json).collect::<Vec<_>>(),
        });
        canonical::to_bytes(&value).expect("strings and a small number have a canonical form")
    }

    /// Reads what [`Command::to_stored`] wrote.
    ///
    /// # Errors
    /// [`BadEntry`] naming the key at fault, or the version.
    pub fn from_stored(bytes: &[u8]) -> Result<Self, BadEntry> {
        let value = canonical::parse(bytes)?;
        let map = value.as_object().ok_or(BadEntry::Key("command"))?;
        match map.get("v") {
            Some(v) if v.as_u64() == Some(VERSION) => {}
            other => return Err(BadEntry::Version(other.unwrap_or(&Value::Null).to_string())),
        }
        only_keys(map, &["v", "type", "event", "subjects", "fields", "public", "guards"])?;
        let subject =
            |value: &Value| Ok(value.as_str().ok_or(BadEntry::Key("subjects"))?.parse()?);
        let public = |(name, value): (&String, &Value)| {
            Ok((name.clone(), value.as_str().ok_or(BadEntry::Key("public"))?.to_owned()))
        };
        Ok(Self {
            kind: text(map, "type")?.parse()?,
            event: text(map, "event")?.parse()?,
            subjects: array(map, "subjects")?
                .iter()
                .map(subject)
                .collect::<Result<_, BadEntry>>()?,
            fields: array(map, "fields")?
                .iter()
                .map(Opening::from_json)
                .collect::<Result<_, _>>()?,
            public: object(map, "public")?.iter().map(public).collect::<Result<_, BadEntry>>()?,
            guards: array(map, "guards")?.iter().map(guard_from_json).collect::<Result<_, _>>()?,
        })
    }
}

impl Refusal {
    /// Its stored form.
    pub fn to_stored(&self) -> String {
        let value = match self {
            Self::SubjectExists(id) => json!({"subject-exists": id.to_string()}),
            Self::UnknownSubject(id) => json!({"unknown-subject": id.to_string()}),
            Self::Duplicate { item, leaf_index } => {
                json!({"duplicate": item.to_string(), "entry": leaf_index.0})
            }
            Self::DeviceRevoked(id) => json!({"device-revoked": id.to_string()}),
            Self::Malformed(reason) => json!({"malformed": reason.to_string()}),
        };
        value.to_string()
    }

    /// Reads what [`Refusal::to_stored`] wrote. What was malformed comes back as its text alone.
    ///
    /// # Errors
    /// [`BadEntry`] naming the key at fault.
    pub fn from_stored(stored: &str) -> Result<Self, BadEntry> {
        let value: Value = serde_json::from_str(stored).map_err(|_| BadEntry::Key("refusal"))?;
        let map = value.as_object().ok_or(BadEntry::Key("refusal"))?;
        let has = |key: &'static str| map.contains_key(key).then(|| text(map, key));
        if let Some(id) = has("subject-exists") {
            return Ok(Self::SubjectExists(id?.parse()?));
        }
        if let Some(id) = has("unknown-subject") {
            return Ok(Self::UnknownSubject(id?.parse()?));
        }
        if let Some(item) = has("duplicate") {
            return Ok(Self::Duplicate { item: item?.parse()?, leaf_index: entry(map)? });
        }
        if let Some(id) = has("device-revoked") {
            return Ok(Self::DeviceRevoked(id?.parse()?));
        }
        let reason = has("malformed").ok_or(BadEntry::Key("refusal"))??;
        Ok(Self::Malformed(BadEntry::AsTold(reason.to_owned())))
    }
}

fn entry(map: &Map) -> Result<LeafIndex, BadEntry> {
    map.get("entry").and_then(Value::as_u64).map(LeafIndex).ok_or(BadEntry::Key("entry"))
}

fn guard_to_json(guard: &Guard) -> Value {
    match guard {
        Guard::SubjectIsNew(id) => json!(["subject-is-new", id.to_string()]),
        Guard::SubjectExists(id) => json!(["subject-exists", id.to_string()]),
        Guard::NoSuchSource(key) => json!(["no-such-source", key.to_string()]),
        Guard::DeviceMaySend(id) => json!(["device-may-send", id.to_string()]),
    }
}

fn guard_from_json(value: &Value) -> Result<Guard, BadEntry> {
    let words: Option<Vec<&str>> =
        value.as_array().and_then(|words| words.iter().map(Value::as_str).collect());
    let source = |key: &str| key.parse().map(SourceKey).map_err(|_| BadEntry::Key("guards"));
    Ok(match words.as_deref() {
        Some(["subject-is-new", id]) => Guard::SubjectIsNew(id.parse()?),
        Some(["subject-exists", id]) => Guard::SubjectExists(id.parse()?),
        Some(["no-such-source", key]) => Guard::NoSuchSource(source(key)?),
        Some(["device-may-send", id]) => Guard::DeviceMaySend(id.parse()?),
        _ => return Err(BadEntry::Key("guards")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;
    use crate::entry::Salt;
    use crate::event::{EventKind, field};
    use crate::ids::{DeviceId, ItemId, SubjectId};

    const DEVICE: &str = "0193a7c2-0000-7000-8000-000000000009";
    /// What this version writes, byte for byte: servers of the next one must read it.
    const WRITTEN: &str = r#"{"event":"0193a7c2-0000-7000-8000-000000000002","fields":[{"name":"by","salt":"0707070707070707070707070707070707070707070707070707070707070707","value":"PC \"Ö\"\u0000"}],"guards":[["subject-is-new","item:x1"],["subject-exists","case:c1"],["no-such-source","debf1b48f5476892b0137dc5b4f589641cf73c53b4d75d990292c4bbbd312c81"],["device-may-send","0193a7c2-0000-7000-8000-000000000009"]],"public":{"role":"log"},"subjects":["item:x1"],"type":"item.received","v":1}"#;

    fn device() -> DeviceId {
        DEVICE.parse().unwrap()
    }

    fn every_part() -> Command {
        let subject = |text: &str| text.parse::<SubjectId>().unwrap();
        let event = "0193a7c2-0000-7000-8000-000000000002".parse().unwrap();
        let source = SourceKey::new("d", "c", "r", &Sha256::of(b"bytes"));
        Command::new(EventKind::ItemReceived, event)
            .touching(subject("item:x1"))
            .field(field::BY, "PC \"Ö\"\0", Salt([7; 32]))
            .public("role", "log")
            .provided(Guard::SubjectIsNew(subject("item:x1")))
            .provided(Guard::SubjectExists(subject("case:c1")))
            .provided(Guard::NoSuchSource(source))
            .provided(Guard::DeviceMaySend(device()))
    }

    #[test]
    fn a_command_is_read_back_from_the_bytes_that_are_written_today() {
        let command = every_part();
        assert_eq!(String::from_utf8(command.to_stored()).unwrap(), WRITTEN);
        assert_eq!(Command::from_stored(WRITTEN.as_bytes()).unwrap(), command);
        let bare = Command::new(EventKind::Correction, command.event);
        assert_eq!(Command::from_stored(&bare.to_stored()).unwrap(), bare);
    }

    #[test]
    fn another_version_and_what_does_not_belong_are_refused() {
        let newer = WRITTEN.replace("\"v\":1", "\"v\":2");
        let refused = Command::from_stored(newer.as_bytes()).unwrap_err();
        assert_eq!(refused, BadEntry::Version("2".to_owned()));
        for (from, to) in [
            ("\"v\":1", "\"v\":1,\"w\":1"),
            ("subject-is-new", "subject-is-old"),
            ("\"item:x1\"],[", "\"item:x1\",\"more\"],["),
            ("\"item.received\"", "\"item.lost\""),
            ("[\"item:x1\"]", "[1]"),
            ("{\"role\":\"log\"}", "{\"role\":1}"),
        ] {
            let altered = WRITTEN.replacen(from, to, 1);
            assert_ne!(altered, WRITTEN, "{from}");
            assert!(Command::from_stored(altered.as_bytes()).is_err(), "{altered}");
        }
    }

    #[test]
    fn a_refusal_is_read_back() {
        let item: ItemId = DEVICE.parse().unwrap();
        let subject = "case:c1".parse::<SubjectId>().unwrap();
        for refusal in [
            Refusal::SubjectExists(subject.clone()),
            Refusal::UnknownSubject(subject),
            Refusal::Duplicate { item, leaf_index: LeafIndex(7) },
            Refusal::DeviceRevoked(device()),
        ] {
            assert_eq!(Refusal::from_stored(&refusal.to_stored()).unwrap(), refusal);
        }
        let malformed = Refusal::Malformed(BadEntry::TooLarge(70_000));
        let read = Refusal::from_stored(&malformed.to_stored()).unwrap();
        assert!(matches!(read, Refusal::Malformed(_)));
        assert_eq!(read.to_string(), malformed.to_string());
        assert!(Refusal::from_stored("{}").is_err());
    }
}

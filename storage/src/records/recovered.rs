//! The ledger's entries of one kind, what persons have confirmed about its head, and which keys were replaced.

use chain_of_custody::checkpoint::parse_decimal;
use chain_of_custody::entry::Entry;
use chain_of_custody::event::EventKind;
use chain_of_custody::ids::{LeafIndex, SubjectId, SubjectKind, TreeSize};
use chain_of_custody::note::VerifierKey;
use chain_of_custody::rotation::{MAX_ROTATIONS, PUBLIC_NOTE, Rotation};
use sqlx::Row;

use super::{Records, RecordsError, from_db};

/// In the public part of a `ledger.recovered` entry: the largest size of another history that a log witness named then,
/// 0 for none. What the person said is beside it; a number that nobody outside vouches for must open no door later.
pub const WITNESSED_SIZE: &str = "witnessed-size";

/// A `key.rotated` entry whose note holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationEntry {
    pub leaf_index: LeafIndex,
    pub rotation: Rotation,
    /// The signed note.
    pub note: String,
}

impl Records {
    /// The rotations that lead to `key`, the earliest first.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn rotations_to(
        &self,
        key: &VerifierKey,
    ) -> Result<Vec<RotationEntry>, RecordsError> {
        let mut found: Vec<RotationEntry> = Vec::new();
        let mut at = key.clone();
        while found.len() < MAX_ROTATIONS {
            let Some(entry) = self.rotation_to(&at).await? else { break };
            at = entry.rotation.old.clone();
            found.push(entry);
        }
        found.reverse();
        Ok(found)
    }

    /// The entry with which `key` took another's place.
    async fn rotation_to(&self, key: &VerifierKey) -> Result<Option<RotationEntry>, RecordsError> {
        let subject = SubjectId::new(SubjectKind::Key, &key.id().to_string());
        let subject = subject.expect("a key id is hexadecimal");
        let events = self.events_of(&subject).await?.into_iter();
        for event in events.filter(|event| event.kind == EventKind::KeyRotated.as_str()) {
            let next = TreeSize(event.leaf_index.0 + 1);
            let stored = self.entries(TreeSize(event.leaf_index.0), next).await?;
            let entry = stored.first().and_then(|stored| Entry::parse(&stored.bytes).ok());
            let Some(note) = entry.and_then(|mut entry| entry.public.remove(PUBLIC_NOTE)) else {
                continue;
            };
            match Rotation::read(note.as_bytes()) {
                Ok(rotation) if rotation.new == *key => {
                    return Ok(Some(RotationEntry {
                        leaf_index: event.leaf_index,
                        rotation,
                        note,
                    }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Every entry of a kind, in the ledger's order. For kinds of which there are few: it looks through all entries.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn entries_of(
        &self,
        kind: EventKind,
    ) -> Result<Vec<(LeafIndex, Entry)>, RecordsError> {
        let text = "SELECT leaf_index, entry FROM entries WHERE force = $1 AND type = $2 \
            ORDER BY leaf_index";
        let query = sqlx::query(text).bind(self.force()).bind(kind.as_str());
        let mut found = Vec::new();
        for row in query.fetch_all(self.pool()).await? {
            let bytes: Vec<u8> = row.try_get(1)?;
            let corrupt = |reason| RecordsError::Corrupt { table: "entries", reason };
            let entry = Entry::parse(&bytes).map_err(|e| corrupt(e.to_string()))?;
            found.push((LeafIndex(from_db(row.try_get(0)?, "entries")?), entry));
        }
        Ok(found)
    }

    /// The largest size that a log witness named for a `ledger.recovered` entry: up to there another history is known
    /// outside, and a person has confirmed ours. 0 when there is no such entry.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn confirmed_size(&self) -> Result<TreeSize, RecordsError> {
        let entries = self.entries_of(EventKind::LedgerRecovered).await?;
        let named = entries.iter().filter_map(|(_, entry)| {
            entry.public.get(WITNESSED_SIZE).and_then(|text| parse_decimal(text))
        });
        Ok(TreeSize(named.max().unwrap_or(0)))
    }
}

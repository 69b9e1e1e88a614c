//! The ledger's entries of one kind, and what persons have confirmed about its head.

use chain_of_custody::checkpoint::parse_decimal;
use chain_of_custody::entry::Entry;
use chain_of_custody::event::EventKind;
use chain_of_custody::ids::{LeafIndex, TreeSize};
use sqlx::Row;

use super::{Records, RecordsError, from_db};

/// In the public part of a `ledger.recovered` entry: the largest size of another history that a log witness named then,
/// 0 for none. What the person said is beside it; a number that nobody outside vouches for must open no door later.
pub const WITNESSED_SIZE: &str = "witnessed-size";

impl Records {
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

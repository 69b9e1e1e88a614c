//! What persons have confirmed about the ledger's own head.

use chain_of_custody::checkpoint::parse_decimal;
use chain_of_custody::entry::Entry;
use chain_of_custody::event::EventKind;
use chain_of_custody::ids::TreeSize;
use sqlx::Row;

use super::{Records, RecordsError};

/// In the public part of a `ledger.recovered` entry: the largest size of another history that is known outside.
pub const KNOWN_SIZE: &str = "known-size";

impl Records {
    /// The largest size that a `ledger.recovered` entry names: up to there another history is known outside, and a
    /// person has confirmed ours. 0 when there is no such entry.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn confirmed_size(&self) -> Result<TreeSize, RecordsError> {
        let text = "SELECT entry FROM entries WHERE force = $1 AND type = $2";
        let query = sqlx::query(text).bind(self.force()).bind(EventKind::LedgerRecovered.as_str());
        let mut confirmed = 0;
        for row in query.fetch_all(self.pool()).await? {
            let bytes: Vec<u8> = row.try_get(0)?;
            let corrupt = |reason| RecordsError::Corrupt { table: "entries", reason };
            let entry = Entry::parse(&bytes).map_err(|e| corrupt(e.to_string()))?;
            let named = entry.public.get(KNOWN_SIZE).and_then(|text| parse_decimal(text));
            confirmed = confirmed.max(named.unwrap_or(0));
        }
        Ok(TreeSize(confirmed))
    }
}

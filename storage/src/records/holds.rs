//! Holds, and until when items are kept.

use chain_of_custody::ids::{ItemId, LeafIndex, SubjectId};
use chain_of_custody::time::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::batch::{leaf, parse};
use super::items::timestamp;
use super::{Records, RecordsError};

const HOLDS: &str = "SELECT subject, leaf_index, set_at_ms, reason FROM holds WHERE force = $1";
/// On the item itself, or on a case that it is linked to.
const OF_ITEM: &str = "(subject = 'item:' || $2 OR subject IN (SELECT 'case:' || c.case_id FROM case_items c \
    WHERE c.force = $1 AND c.item = $2))";
const KEEP_UNTIL: &str = "SELECT keep_until_ms FROM retention WHERE force = $1 AND item = $2";
const ITEMS_OF_CASE: &str = "SELECT item FROM case_items WHERE force = $1 AND case_id = $2";

/// An order that suspends disposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HoldRecord {
    /// An item, or a case and with it everything that is linked to it.
    pub subject: SubjectId,
    /// The entry that set it.
    pub leaf_index: LeafIndex,
    pub set_at: Timestamp,
    pub reason: String,
}

impl Records {
    /// Every hold that stands, in the order in which they were set.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn holds(&self) -> Result<Vec<HoldRecord>, RecordsError> {
        let text = AssertSqlSafe(format!("{HOLDS} ORDER BY leaf_index"));
        let rows = sqlx::query(text).bind(self.force()).fetch_all(self.pool()).await?;
        rows.iter().map(hold_record).collect()
    }

    /// The hold on exactly this subject.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn hold(&self, subject: &SubjectId) -> Result<Option<HoldRecord>, RecordsError> {
        let text = AssertSqlSafe(format!("{HOLDS} AND subject = $2"));
        let query = sqlx::query(text).bind(self.force()).bind(subject.to_string());
        query.fetch_optional(self.pool()).await?.as_ref().map(hold_record).transpose()
    }

    /// What holds an item: a hold on it, and those on its cases.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn holds_on(&self, item: ItemId) -> Result<Vec<HoldRecord>, RecordsError> {
        let text = AssertSqlSafe(format!("{HOLDS} AND {OF_ITEM} ORDER BY leaf_index"));
        let query = sqlx::query(text).bind(self.force()).bind(item.to_string());
        query.fetch_all(self.pool()).await?.iter().map(hold_record).collect()
    }

    /// Until when an item is kept, as its newest review says; none when nobody has decided.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn keep_until(&self, item: ItemId) -> Result<Option<Timestamp>, RecordsError> {
        let query = sqlx::query(KEEP_UNTIL).bind(self.force()).bind(item.to_string());
        let row = query.fetch_optional(self.pool()).await?;
        row.map(|row| timestamp(row.try_get(0)?)).transpose()
    }

    /// The items that a subject of a hold stands for: itself, or everything that is linked to it.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn items_held_by(&self, subject: &SubjectId) -> Result<Vec<ItemId>, RecordsError> {
        if let Some(item) = subject.item() {
            return Ok(vec![item]);
        }
        let query = sqlx::query(ITEMS_OF_CASE).bind(self.force()).bind(subject.name().to_owned());
        let rows = query.fetch_all(self.pool()).await?;
        rows.iter().map(|row| parse(row, 0, "case_items")).collect()
    }
}

fn hold_record(row: &AnyRow) -> Result<HoldRecord, RecordsError> {
    Ok(HoldRecord {
        subject: parse(row, 0, "holds")?,
        leaf_index: leaf(row, 1, "holds")?,
        set_at: timestamp(row.try_get(2)?)?,
        reason: row.try_get(3)?,
    })
}

//! Cases, their members and items, and who may see what.
//!
//! The rule of visibility is written once, as [`VISIBLE`]: lists and single items are asked with the same text.

use chain_of_custody::ids::{CaseId, ItemId, LeafIndex, UserId};
use chain_of_custody::time::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::items::{ITEM_COLUMNS, Search, item_record, like_pattern, timestamp};
use super::people::{USER_COLUMNS, UserRecord, user_record};
use super::sql::{self, Value};
use super::{ItemRecord, MAX_SEARCH_LIMIT, Records, RecordsError, from_db, position_to_db};

/// Cases in one answer at most.
pub const MAX_CASES: u32 = 500;

/// What the investigator `$2` may see: what is in no case, or in one of theirs; and of restricted items only those
/// they are named for.
const VISIBLE: &str = "(NOT EXISTS (SELECT 1 FROM case_items c WHERE c.force = i.force AND c.item = i.item) \
    OR EXISTS (SELECT 1 FROM case_items c JOIN case_members m ON m.force = c.force AND m.case_id = c.case_id \
    WHERE c.force = i.force AND c.item = i.item AND m.user_id = $2)) \
    AND (i.restricted = 0 OR EXISTS (SELECT 1 FROM item_viewers v \
    WHERE v.force = i.force AND v.item = i.item AND v.user_id = $2))";
/// The two parts of [`VISIBLE`] as lists read them: `cases` says where to look, and is not trusted for the answer.
const IN_NO_CASE: &str = "items i WHERE i.force = $1 AND i.cases = 0";
const IN_THEIR_CASES: &str = "(SELECT DISTINCT c.item FROM case_members m \
    CROSS JOIN case_items c WHERE m.force = $1 AND m.user_id = $2 AND c.force = m.force AND c.case_id = m.case_id $CASE) t \
    CROSS JOIN items i WHERE i.force = $1 AND i.item = t.item";
const CASE_COLUMNS: &str =
    "k.case_id, k.leaf_index, k.reference, k.title, k.opened_by, k.opened_at_ms";

/// An investigation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseRecord {
    pub case: CaseId,
    /// Its `case.opened`; cases are listed by it.
    pub leaf_index: LeafIndex,
    /// URN.
    pub reference: String,
    pub title: String,
    /// None when it was opened at the console.
    pub opened_by: Option<UserId>,
    pub opened_at: Timestamp,
}

/// An item of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseItem {
    pub record: ItemRecord,
    /// Such as `JSM/1`, or empty.
    pub exhibit_reference: String,
}

/// How much is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    pub items: u64,
    pub quarantined: u64,
    pub size_bytes: u64,
    /// Items with a storage fault that stands.
    pub faults: u64,
}

impl Records {
    /// The items that an investigator may see, newest first.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn visible_items(
        &self,
        user: UserId,
        case: Option<CaseId>,
        search: &Search,
    ) -> Result<Vec<ItemRecord>, RecordsError> {
        let limit = match search.limit {
            0 => MAX_SEARCH_LIMIT,
            n => n.min(MAX_SEARCH_LIMIT),
        };
        let mut values: Vec<Value> = vec![
            self.force().into(),
            user.to_string().into(),
            search.after.map_or(i64::MAX, position_to_db).into(),
            i64::from(limit).into(),
        ];
        // Only what was asked for: each condition that is there is paid for with every row.
        let mut conditions = String::new();
        let mut also = |condition: &str, value: Value| {
            values.push(value);
            conditions += " AND ";
            conditions += &condition.replace("$?", &format!("${}", values.len()));
        };
        if let Some(device) = search.device {
            also("i.device = $?", device.to_string().into());
        }
        if let Some(from) = search.from {
            also("i.received_at_ms >= $?", from.unix_millis().into());
        }
        if let Some(to) = search.to {
            also("i.received_at_ms < $?", to.unix_millis().into());
        }
        if let Some(text) = search.text.as_deref().filter(|text| !text.is_empty()) {
            also("i.search LIKE $? ESCAPE '!'", like_pattern(text).into());
        }
        if let Some(handling) = search.handling {
            conditions += " AND ";
            conditions += handling.condition();
        }
        // In two parts, each of which reads what it gives and little more: what is in no case, and what is in theirs.
        let mut found = Vec::new();
        if case.is_none() {
            let text = page_of(IN_NO_CASE, &conditions);
            found = sql::fetch(self.pool(), text, values.clone()).await?;
        }
        let mut theirs = IN_THEIR_CASES.to_owned();
        if let Some(case) = case {
            values.push(case.to_string().into());
            theirs = theirs.replace("$CASE", &format!("AND m.case_id = ${}", values.len()));
        }
        let text = page_of(&theirs.replace("$CASE", ""), &conditions);
        found.extend(sql::fetch(self.pool(), text, values).await?);
        let mut items: Vec<ItemRecord> = found.iter().map(item_record).collect::<Result<_, _>>()?;
        items.sort_by_key(|record| std::cmp::Reverse(record.leaf_index));
        items.dedup_by_key(|record| record.leaf_index);
        items.truncate(limit as usize);
        Ok(items)
    }

    /// One item, if this investigator may see it.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn visible_item(
        &self,
        user: UserId,
        item: ItemId,
    ) -> Result<Option<ItemRecord>, RecordsError> {
        let text = format!(
            "SELECT {} FROM items i WHERE i.force = $1 AND i.item = $3 AND {VISIBLE}",
            item_columns()
        );
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(self.force())
            .bind(user.to_string())
            .bind(item.to_string());
        query.fetch_optional(self.pool()).await?.as_ref().map(item_record).transpose()
    }

    /// The items of a case that an investigator may see, in the order in which they were linked.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn case_items(
        &self,
        user: UserId,
        case: CaseId,
    ) -> Result<Vec<CaseItem>, RecordsError> {
        let text = format!(
            "SELECT {}, l.exhibit_reference FROM case_items l \
             JOIN items i ON i.force = l.force AND i.item = l.item \
             WHERE l.force = $1 AND l.case_id = $3 AND {VISIBLE} ORDER BY l.leaf_index LIMIT $4",
            item_columns()
        );
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(self.force())
            .bind(user.to_string())
            .bind(case.to_string())
            .bind(i64::from(MAX_SEARCH_LIMIT));
        let read = |row: &AnyRow| {
            let exhibit_reference = row.try_get("exhibit_reference")?;
            Ok(CaseItem { record: item_record(row)?, exhibit_reference })
        };
        query.fetch_all(self.pool()).await?.iter().map(read).collect()
    }

    /// The cases of an investigator, or all of them, newest first.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn cases(&self, member: Option<UserId>) -> Result<Vec<CaseRecord>, RecordsError> {
        let text = format!(
            "SELECT {CASE_COLUMNS} FROM cases k WHERE k.force = $1 AND ($2 = '' OR EXISTS \
             (SELECT 1 FROM case_members m WHERE m.force = k.force AND m.case_id = k.case_id AND m.user_id = $2)) \
             ORDER BY k.leaf_index DESC LIMIT $3"
        );
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(self.force())
            .bind(member.map(|user| user.to_string()).unwrap_or_default())
            .bind(i64::from(MAX_CASES));
        query.fetch_all(self.pool()).await?.iter().map(case_record).collect()
    }

    /// One case.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn case(&self, case: CaseId) -> Result<Option<CaseRecord>, RecordsError> {
        Ok(self.cases_where("k.case_id = $2", case.to_string()).await?.pop())
    }

    /// The cases of this reference (URN).
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn cases_by_reference(
        &self,
        reference: &str,
    ) -> Result<Vec<CaseRecord>, RecordsError> {
        self.cases_where("k.reference = $2", reference.to_owned()).await
    }

    async fn cases_where(
        &self,
        condition: &'static str,
        value: String,
    ) -> Result<Vec<CaseRecord>, RecordsError> {
        let text = format!(
            "SELECT {CASE_COLUMNS} FROM cases k WHERE k.force = $1 AND {condition} \
             ORDER BY k.leaf_index LIMIT $3"
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(self.force()).bind(value);
        let rows = query.bind(i64::from(MAX_CASES)).fetch_all(self.pool()).await?;
        rows.iter().map(case_record).collect()
    }

    /// The cases that an item is in.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn cases_of_item(&self, item: ItemId) -> Result<Vec<CaseRecord>, RecordsError> {
        let condition = "EXISTS (SELECT 1 FROM case_items c WHERE c.force = k.force \
            AND c.case_id = k.case_id AND c.item = $2)";
        self.cases_where(condition, item.to_string()).await
    }

    /// Who works on a case, in the order in which they joined.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn case_members(&self, case: CaseId) -> Result<Vec<UserRecord>, RecordsError> {
        self.named_in("case_members m", "m.case_id = $2", case.to_string()).await
    }

    /// Who is named for a restricted item, in the order in which they were.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn item_viewers(&self, item: ItemId) -> Result<Vec<UserRecord>, RecordsError> {
        self.named_in("item_viewers m", "m.item = $2", item.to_string()).await
    }

    async fn named_in(
        &self,
        table: &'static str,
        condition: &'static str,
        value: String,
    ) -> Result<Vec<UserRecord>, RecordsError> {
        let text = format!(
            "SELECT {USER_COLUMNS} FROM {table} JOIN users u ON u.force = m.force AND u.user_id = m.user_id \
             WHERE m.force = $1 AND {condition} ORDER BY m.leaf_index, u.user_id"
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(self.force()).bind(value);
        query.fetch_all(self.pool()).await?.iter().map(user_record).collect()
    }

    /// Whether somebody works on a case.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn is_member(&self, case: CaseId, user: UserId) -> Result<bool, RecordsError> {
        let text = "SELECT 1 FROM case_members WHERE force = $1 AND case_id = $2 AND user_id = $3";
        let query = sqlx::query(text).bind(self.force()).bind(case.to_string());
        Ok(query.bind(user.to_string()).fetch_optional(self.pool()).await?.is_some())
    }

    /// How much is held.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn counts(&self) -> Result<Counts, RecordsError> {
        let text = "SELECT COUNT(*), COUNT(CASE WHEN state = 'quarantined' THEN 1 END), \
            CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT), COUNT(CASE WHEN fault <> '' THEN 1 END) \
            FROM items WHERE force = $1";
        let row = sqlx::query(text).bind(self.force()).fetch_one(self.pool()).await?;
        let number =
            |column| -> Result<u64, RecordsError> { from_db(row.try_get(column)?, "items") };
        Ok(Counts {
            items: number(0)?,
            quarantined: number(1)?,
            size_bytes: number(2)?,
            faults: number(3)?,
        })
    }
}

fn page_of(part: &str, conditions: &str) -> String {
    format!(
        "SELECT {} FROM {part} AND i.leaf_index < $3{conditions} AND {VISIBLE} \
         ORDER BY i.leaf_index DESC LIMIT $4",
        item_columns()
    )
}

fn item_columns() -> String {
    format!("i.{}", ITEM_COLUMNS.replace(", ", ", i."))
}

fn case_record(row: &AnyRow) -> Result<CaseRecord, RecordsError> {
    let corrupt = |e: chain_of_custody::ids::BadId| RecordsError::Corrupt {
        table: "cases",
        reason: e.to_string(),
    };
    let (id, opened_by): (&str, &str) = (row.try_get(0)?, row.try_get(4)?);
    Ok(CaseRecord {
        case: id.parse().map_err(corrupt)?,
        leaf_index: LeafIndex(from_db(row.try_get(1)?, "cases")?),
        reference: row.try_get(2)?,
        title: row.try_get(3)?,
        opened_by: (!opened_by.is_empty())
            .then(|| opened_by.parse().map_err(corrupt))
            .transpose()?,
        opened_at: timestamp(row.try_get(5)?)?,
    })
}

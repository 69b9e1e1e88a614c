//! Questions about items: one, some, what happened to it, what was made from it.

use chain_of_custody::command::SourceKey;
use chain_of_custody::digest::{Blake3, Digests, Sha256};
use chain_of_custody::entry::Opening;
use chain_of_custody::event::field;
use chain_of_custody::ids::{DeviceId, ItemId, LeafIndex, SubjectId};
use chain_of_custody::time::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::batch::parse_openings;
use super::jobs::Making;
use super::{Records, RecordsError, from_db, position_to_db, sql, to_db};

/// Items in one answer at most.
pub const MAX_SEARCH_LIMIT: u32 = 1_000;

pub(super) const ITEM_COLUMNS: &str = "item, leaf_index, state, state_reason, name, size_bytes, sha256, \
    blake3, object, device, read_by, camera, recording, upload, captured_claimed, received_at_ms, \
    disclosure_status, restricted, verified_at_ms, fault";
const SELECT_EVENTS: &str = "SELECT e.leaf_index, e.type, e.at_ms, o.personal \
    FROM entry_subjects s \
    JOIN entries e ON e.force = s.force AND e.leaf_index = s.leaf_index \
    JOIN openings o ON o.force = s.force AND o.leaf_index = s.leaf_index \
    WHERE s.force = $1 AND s.subject = $2 ORDER BY s.seq";

const SELECT_EVENT: &str = "SELECT e.leaf_index, e.type, e.at_ms, o.evidential, o.personal \
    FROM entries e JOIN openings o ON o.force = e.force AND o.leaf_index = e.leaf_index";

/// An item as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemRecord {
    pub item: ItemId,
    /// The entry that says it was received.
    pub leaf_index: LeafIndex,
    /// `stored`, `quarantined` or `disposed`.
    pub state: String,
    /// A code of the documentation, or empty.
    pub state_reason: String,
    /// As given: data, never a path.
    pub name: String,
    pub size_bytes: u64,
    pub digests: Digests,
    /// Where the bytes rest, as canonical JSON. For programs, not for people.
    #[serde(skip)]
    pub object: String,
    /// `-` for a workstation at the console.
    pub device: String,
    pub read_by: String,
    pub camera: String,
    pub recording: String,
    pub upload: String,
    pub captured_claimed: String,
    pub received_at: Timestamp,
    pub disclosure_status: String,
    pub restricted: bool,
    pub verified_at: Option<Timestamp>,
    /// Code of a storage fault that stands, or empty.
    pub fault: String,
}

/// An item with what happened to it and what was made from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemView {
    #[serde(flatten)]
    pub record: ItemRecord,
    pub events: Vec<EventView>,
    pub derivatives: Vec<DerivativeView>,
    /// What could not be made.
    pub failures: Vec<FailureView>,
    /// Kinds of derivatives that are still to come.
    pub making: Vec<Making>,
}

/// One event of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventView {
    pub leaf_index: LeafIndex,
    #[serde(rename = "type")]
    pub kind: String,
    pub at: Timestamp,
    /// The actor; empty when that opening was erased.
    pub by: String,
}

/// One event of a subject with everything that opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    pub leaf_index: LeafIndex,
    pub kind: String,
    pub at: Timestamp,
    pub openings: Vec<Opening>,
}

impl EventRecord {
    /// The value of a field; none when it has none, or it was erased.
    pub fn opened(&self, name: &str) -> Option<&str> {
        let found = self.openings.iter().find(|opening| opening.name.as_str() == name);
        found.map(|opening| opening.value.as_str())
    }
}

/// That a derivative was made, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeOf {
    pub item: ItemId,
    pub kind: String,
    /// What the probe found, canonical JSON; empty for others.
    pub media: String,
}

/// What was computed from an original.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DerivativeView {
    pub kind: String,
    pub recipe_id: String,
    /// Canonical JSON.
    pub recipe: String,
    pub leaf_index: LeafIndex,
    pub size_bytes: u64,
    pub digests: Digests,
    /// Where the bytes rest, as canonical JSON.
    #[serde(skip)]
    pub object: String,
    /// What the probe found, canonical JSON, or empty.
    pub media: String,
}

impl DerivativeView {
    /// The newest probe among derivatives in the order of the ledger: a later version of it knows better.
    pub fn newest_probe(all: &[Self]) -> Option<&Self> {
        all.iter().rfind(|view| !view.media.is_empty())
    }
}

/// A derivative that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureView {
    pub kind: String,
    pub recipe_id: String,
    pub leaf_index: LeafIndex,
    pub reason_code: String,
    pub reason: String,
}

/// An item that is held from the same source with the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuplicateOf {
    pub item: ItemId,
    pub leaf_index: LeafIndex,
}

/// How an item is handled, as somebody looks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Held and used like any other: neither of the two below.
    Usual,
    Quarantined,
    Restricted,
}

impl Handling {
    pub(super) fn condition(self) -> &'static str {
        match self {
            Self::Usual => "i.state = 'stored' AND i.restricted = 0",
            Self::Quarantined => "i.state = 'quarantined'",
            Self::Restricted => "i.restricted <> 0",
        }
    }
}

/// Which items to list. All conditions must hold; none lists everything, newest first.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Part of the name, camera or recording, whatever its case.
    pub text: Option<String>,
    pub device: Option<DeviceId>,
    pub handling: Option<Handling>,
    /// Received at or after this.
    pub from: Option<Timestamp>,
    /// Received before this.
    pub to: Option<Timestamp>,
    /// At most [`MAX_SEARCH_LIMIT`]; 0 means that.
    pub limit: u32,
    /// Continue behind this item: the `leaf_index` of the last one of the page before.
    pub after: Option<LeafIndex>,
}

impl Records {
    /// The item of this id.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn item(&self, item: ItemId) -> Result<Option<ItemRecord>, RecordsError> {
        Ok(self.items_where("item = $2", item.to_string(), 1).await?.pop())
    }

    /// Items with these bytes, the first received first; several sources may have sent them.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn items_by_sha256(&self, sha256: Sha256) -> Result<Vec<ItemRecord>, RecordsError> {
        self.items_where("sha256 = $2", sha256.to_string(), MAX_SEARCH_LIMIT).await
    }

    /// As [`Records::items_by_sha256`].
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn items_by_blake3(&self, blake3: Blake3) -> Result<Vec<ItemRecord>, RecordsError> {
        self.items_where("blake3 = $2", blake3.to_string(), MAX_SEARCH_LIMIT).await
    }

    /// The stored item that came from this source, if any. Only the guard of a command decides; this is for an early
    /// answer.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn held_from(&self, source: SourceKey) -> Result<Option<DuplicateOf>, RecordsError> {
        let found = self.items_where("source_key = $2", source.to_string(), 1).await?.pop();
        Ok(found.map(|record| DuplicateOf { item: record.item, leaf_index: record.leaf_index }))
    }

    /// The item with its events, derivatives and failures.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn item_view(&self, item: ItemId) -> Result<Option<ItemView>, RecordsError> {
        let Some(record) = self.item(item).await? else { return Ok(None) };
        let making = self.making(&record).await?;
        let events = self.events_of(&item.into()).await?;
        let derivatives = self.derivatives(item).await?;
        let failures = self.failures(item).await?;
        Ok(Some(ItemView { record, events, derivatives, failures, making }))
    }

    /// Kinds of derivatives of an item that are still to come, a probe first. Where there are none, all that were made or failed
    /// are found by whoever looks after this.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn making(&self, record: &ItemRecord) -> Result<Vec<Making>, RecordsError> {
        let text = "SELECT \
            (SELECT COUNT(*) FROM derivatives WHERE force = $1 AND item = $2 AND kind = 'probe') + \
            (SELECT COUNT(*) FROM derivation_failures WHERE force = $1 AND item = $2 AND kind = 'probe')";
        let query = sqlx::query(text).bind(self.force()).bind(record.item.to_string());
        let probes: i64 = query.fetch_one(self.pool()).await?.try_get(0)?;
        // Of what is made in ranges, all of them count, also those that have ended.
        let text = "SELECT recipe_id, kind, state, permille, part_of FROM jobs WHERE force = $1 AND item = $2 \
            AND (state <> 'ended' OR part_of <> '') AND cancelled_by = '' ORDER BY kind, recipe_id";
        let query = sqlx::query(text).bind(self.force()).bind(record.item.to_string());
        let rows = query.fetch_all(self.pool()).await?;
        let rows = rows.iter().map(OpenJob::read).collect::<Result<Vec<_>, _>>()?;
        let whole = rows.iter().filter(|row| row.part_of.is_empty());
        let mut making: Vec<_> = whole.map(|whole| whole.making(&rows)).collect();
        let gets_some = record.state == "stored" && !record.restricted;
        if making.is_empty() && probes == 0 && gets_some {
            making.push(Making { kind: "probe".to_owned(), permille: None });
        }
        Ok(making)
    }

    /// Everything that happened to a subject, in the ledger's order.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn events_of(&self, subject: &SubjectId) -> Result<Vec<EventView>, RecordsError> {
        let query = sqlx::query(SELECT_EVENTS).bind(self.force()).bind(subject.to_string());
        query.fetch_all(self.pool()).await?.iter().map(event_view).collect()
    }

    /// The events of a subject behind `after`, in the ledger's order, at most `limit`.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn events_behind(
        &self,
        subject: &SubjectId,
        after: Option<LeafIndex>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, RecordsError> {
        let text = format!(
            "{SELECT_EVENT} JOIN entry_subjects s ON s.force = e.force AND s.leaf_index = e.leaf_index \
             WHERE s.force = $1 AND s.subject = $2 AND s.leaf_index > $3 ORDER BY s.seq LIMIT $4"
        );
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(self.force())
            .bind(subject.to_string())
            .bind(after.map_or(-1, position_to_db))
            .bind(i64::from(limit));
        query.fetch_all(self.pool()).await?.iter().map(event_record).collect()
    }

    /// The same of an item, with the attempts to reach it that were refused: their subject is not the item.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn item_events_behind(
        &self,
        item: ItemId,
        after: Option<LeafIndex>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, RecordsError> {
        let text = format!(
            "{SELECT_EVENT} JOIN (SELECT s.leaf_index FROM entry_subjects s \
             WHERE s.force = $1 AND s.subject = $2 AND s.leaf_index > $4 \
             UNION SELECT r.leaf_index FROM refused_attempts r \
             WHERE r.force = $1 AND r.asked = $3 AND r.leaf_index > $4) own ON own.leaf_index = e.leaf_index \
             WHERE e.force = $1 ORDER BY e.leaf_index LIMIT $5"
        );
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(self.force())
            .bind(SubjectId::from(item).to_string())
            .bind(item.to_string())
            .bind(after.map_or(-1, position_to_db))
            .bind(i64::from(limit));
        query.fetch_all(self.pool()).await?.iter().map(event_record).collect()
    }

    /// The event at an index.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn event_at(&self, index: LeafIndex) -> Result<Option<EventRecord>, RecordsError> {
        let text = format!("{SELECT_EVENT} WHERE e.force = $1 AND e.leaf_index = $2");
        let query = sqlx::query(AssertSqlSafe(text)).bind(self.force()).bind(to_db(index.0));
        query.fetch_optional(self.pool()).await?.as_ref().map(event_record).transpose()
    }

    /// Which derivatives some items have.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn made_of(&self, items: &[ItemId]) -> Result<Vec<MadeOf>, RecordsError> {
        let mut connection = self.pool().acquire().await?;
        let keys = items.iter().map(|item| item.to_string().into()).collect();
        let before = "SELECT item, kind, CASE WHEN kind = 'probe' THEN media ELSE '' END \
            FROM derivatives WHERE force = $1 AND item IN (";
        let rows = sql::select_in(&mut connection, before, ")", self.force(), keys).await?;
        let read = |row: &AnyRow| {
            let item: &str = row.try_get(0)?;
            let corrupt = |e: chain_of_custody::ids::BadId| RecordsError::Corrupt {
                table: "derivatives",
                reason: e.to_string(),
            };
            let item = item.parse().map_err(corrupt)?;
            Ok(MadeOf { item, kind: row.try_get(1)?, media: row.try_get(2)? })
        };
        rows.iter().map(read).collect()
    }

    /// What was made from an item.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn derivatives(&self, item: ItemId) -> Result<Vec<DerivativeView>, RecordsError> {
        let text = "SELECT kind, recipe_id, recipe, leaf_index, size_bytes, sha256, blake3, \
            object, media FROM derivatives WHERE force = $1 AND item = $2 ORDER BY leaf_index";
        let query = sqlx::query(text).bind(self.force()).bind(item.to_string());
        query.fetch_all(self.pool()).await?.iter().map(derivative_view).collect()
    }

    /// What could not be made from an item.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn failures(&self, item: ItemId) -> Result<Vec<FailureView>, RecordsError> {
        let text = "SELECT kind, recipe_id, leaf_index, reason_code, reason \
            FROM derivation_failures AS failed WHERE force = $1 AND item = $2 AND NOT EXISTS (\
            SELECT 1 FROM derivatives AS made WHERE made.force = failed.force AND made.item = failed.item \
            AND made.recipe_id = failed.recipe_id) ORDER BY leaf_index";
        let query = sqlx::query(text).bind(self.force()).bind(item.to_string());
        let read = |row: &AnyRow| {
            Ok(FailureView {
                kind: row.try_get(0)?,
                recipe_id: row.try_get(1)?,
                leaf_index: LeafIndex(from_db(row.try_get(2)?, "derivation_failures")?),
                reason_code: row.try_get(3)?,
                reason: row.try_get(4)?,
            })
        };
        query.fetch_all(self.pool()).await?.iter().map(read).collect()
    }

    /// Items, newest first.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn search(&self, search: &Search) -> Result<Vec<ItemRecord>, RecordsError> {
        let limit = match search.limit {
            0 => MAX_SEARCH_LIMIT,
            n => n.min(MAX_SEARCH_LIMIT),
        };
        let handling = search.handling.map_or("TRUE", Handling::condition);
        // An absent condition is a value that every row meets, so there is one text.
        let text = format!(
            "SELECT {ITEM_COLUMNS} FROM items i WHERE force = $1 AND leaf_index < $2 AND {handling} \
             AND ($3 = '' OR device = $3) AND received_at_ms >= $4 AND received_at_ms < $5 \
             AND search LIKE $6 ESCAPE '!' ORDER BY leaf_index DESC LIMIT $7"
        );
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(self.force())
            .bind(search.after.map_or(i64::MAX, position_to_db))
            .bind(search.device.map(|id| id.to_string()).unwrap_or_default())
            .bind(search.from.map_or(i64::MIN, Timestamp::unix_millis))
            .bind(search.to.map_or(i64::MAX, Timestamp::unix_millis))
            .bind(like_pattern(search.text.as_deref().unwrap_or_default()))
            .bind(i64::from(limit));
        query.fetch_all(self.pool()).await?.iter().map(item_record).collect()
    }

    async fn items_where(
        &self,
        condition: &'static str,
        value: String,
        limit: u32,
    ) -> Result<Vec<ItemRecord>, RecordsError> {
        let text = format!(
            "SELECT {ITEM_COLUMNS} FROM items WHERE force = $1 AND {condition} \
             ORDER BY leaf_index LIMIT $3"
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(self.force()).bind(value);
        let rows = query.bind(i64::from(limit)).fetch_all(self.pool()).await?;
        rows.iter().map(item_record).collect()
    }
}

/// What somebody typed is text, not a pattern.
pub(super) fn like_pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.to_lowercase().chars().filter(|c| *c != '\0') {
        if "!%_".contains(character) {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

pub(super) fn item_record(row: &AnyRow) -> Result<ItemRecord, RecordsError> {
    Ok(ItemRecord {
        item: parse(row, "item")?,
        leaf_index: LeafIndex(from_db(row.try_get("leaf_index")?, "items")?),
        state: row.try_get("state")?,
        state_reason: row.try_get("state_reason")?,
        name: row.try_get("name")?,
        size_bytes: from_db(row.try_get("size_bytes")?, "items")?,
        digests: digests(row)?,
        object: row.try_get("object")?,
        device: row.try_get("device")?,
        read_by: row.try_get("read_by")?,
        camera: row.try_get("camera")?,
        recording: row.try_get("recording")?,
        upload: row.try_get("upload")?,
        captured_claimed: row.try_get("captured_claimed")?,
        received_at: timestamp(row.try_get("received_at_ms")?)?,
        disclosure_status: row.try_get("disclosure_status")?,
        restricted: row.try_get::<i64, _>("restricted")? != 0,
        verified_at: row.try_get::<Option<i64>, _>("verified_at_ms")?.map(timestamp).transpose()?,
        fault: row.try_get("fault")?,
    })
}

/// A job that is not decided, or a range.
struct OpenJob {
    recipe_id: String,
    kind: String,
    part_of: String,
    /// `None` while it waits.
    permille: Option<u16>,
}

/// All of it.
const ALL_PERMILLE: u16 = 1000;

impl OpenJob {
    fn read(row: &AnyRow) -> Result<Self, RecordsError> {
        let permille = match row.try_get::<&str, _>("state")? {
            "waiting" => None,
            "ended" => Some(ALL_PERMILLE),
            _ => u16::try_from(from_db(row.try_get("permille")?, "jobs")?).ok(),
        };
        let (recipe_id, kind) = (row.try_get("recipe_id")?, row.try_get("kind")?);
        Ok(Self { recipe_id, kind, part_of: row.try_get("part_of")?, permille })
    }

    /// How far it is, over its ranges where it has some.
    fn making(&self, rows: &[Self]) -> Making {
        let of = |row: &&Self| row.part_of == self.recipe_id;
        let ranges: Vec<_> = rows.iter().filter(of).map(|row| row.permille).collect();
        let read: u64 = ranges.iter().flatten().map(|permille| u64::from(*permille)).sum();
        let permille = match ranges.len() {
            0 => self.permille,
            _ if ranges.iter().all(Option::is_none) => None,
            count => u16::try_from(read / count as u64).ok(),
        };
        Making { kind: self.kind.clone(), permille }
    }
}

fn derivative_view(row: &AnyRow) -> Result<DerivativeView, RecordsError> {
    Ok(DerivativeView {
        kind: row.try_get("kind")?,
        recipe_id: row.try_get("recipe_id")?,
        recipe: row.try_get("recipe")?,
        leaf_index: LeafIndex(from_db(row.try_get("leaf_index")?, "derivatives")?),
        size_bytes: from_db(row.try_get("size_bytes")?, "derivatives")?,
        digests: digests(row)?,
        object: row.try_get("object")?,
        media: row.try_get("media")?,
    })
}

fn event_view(row: &AnyRow) -> Result<EventView, RecordsError> {
    let personal = parse_openings(row.try_get(3)?)?;
    let by = personal.into_iter().find(|opening| opening.name.as_str() == field::BY);
    Ok(EventView {
        leaf_index: LeafIndex(from_db(row.try_get(0)?, "entries")?),
        kind: row.try_get(1)?,
        at: timestamp(row.try_get(2)?)?,
        by: by.map(|opening| opening.value).unwrap_or_default(),
    })
}

fn event_record(row: &AnyRow) -> Result<EventRecord, RecordsError> {
    let mut openings = parse_openings(row.try_get(3)?)?;
    openings.extend(parse_openings(row.try_get(4)?)?);
    Ok(EventRecord {
        leaf_index: LeafIndex(from_db(row.try_get(0)?, "entries")?),
        kind: row.try_get(1)?,
        at: timestamp(row.try_get(2)?)?,
        openings,
    })
}

fn digests(row: &AnyRow) -> Result<Digests, RecordsError> {
    Ok(Digests { sha256: parse(row, "sha256")?, blake3: parse(row, "blake3")? })
}

pub(super) fn timestamp(unix_ms: i64) -> Result<Timestamp, RecordsError> {
    let corrupt = |_| RecordsError::Corrupt { table: "entries", reason: "a time".to_owned() };
    Timestamp::from_unix_millis(unix_ms).map_err(corrupt)
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    row: &AnyRow,
    column: &'static str,
) -> Result<T, RecordsError> {
    let text: &str = row.try_get(column)?;
    text.parse()
        .map_err(|e: T::Err| RecordsError::Corrupt { table: "items", reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_types_is_no_pattern() {
        assert_eq!(like_pattern("50%_A!"), "%50!%!_a!!%");
    }
}

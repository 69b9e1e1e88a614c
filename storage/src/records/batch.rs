//! The ledger's own tables: the transactions of the sequencer's steps 1, 3 and 5, and reading back what they wrote.

use std::collections::HashMap;

use chain_of_custody::canonical;
use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::command::{Command, SourceKey};
use chain_of_custody::entry::Opening;
use chain_of_custody::event::Class;
use chain_of_custody::ids::{EventId, LeafIndex, SubjectId, TreeSize};
use chain_of_custody::sequencer::{
    Decided, Epoch, Facts, Head, Held, PlacedEntry, Questions, decide,
};
use chain_of_custody::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::commands::{CommandRow, Outcome};
use super::items::timestamp;
use super::migrate::NEWEST;
use super::rebuild::StoredEntry;
use super::sql::{self, Table, Value};
use super::{Dialect, Records, RecordsError, apply, from_db, lease, to_db};
use crate::failpoint;

const ENTRIES: Table = Table {
    name: "entries",
    columns: &["leaf_index", "event", "type", "at_ms", "entry"],
    on_conflict: "",
};
const OPENINGS: Table =
    Table { name: "openings", columns: &["leaf_index", "evidential", "personal"], on_conflict: "" };
const ENTRY_SUBJECTS: Table =
    Table { name: "entry_subjects", columns: &["subject", "seq", "leaf_index"], on_conflict: "" };
const SUBJECTS: Table = Table {
    name: "subjects",
    columns: &["subject", "entries", "last_leaf"],
    on_conflict: "ON CONFLICT (force, subject) DO UPDATE SET entries = excluded.entries, \
        last_leaf = excluded.last_leaf",
};
const CHECKPOINTS: Table = Table {
    name: "checkpoints",
    columns: &["size", "note"],
    on_conflict: "ON CONFLICT (force, size) DO NOTHING",
};

/// Takes the row's lock and tells whether this epoch still writes at this size.
const GUARD: &str =
    "UPDATE sequencer SET size = size WHERE force = $1 AND epoch = $2 AND size = $3";
const GROW: &str = "UPDATE sequencer SET size = $2, published_size = $3 WHERE force = $1";
const SET_PUBLISHED: &str = "UPDATE sequencer SET published_size = $4 \
    WHERE force = $1 AND epoch = $2 AND size = $3";
const SELECT_ENTRIES: &str = "SELECT e.leaf_index, e.entry, o.evidential, o.personal \
    FROM entries e JOIN openings o ON o.force = e.force AND o.leaf_index = e.leaf_index \
    WHERE e.force = $1 AND e.leaf_index >= $2 AND e.leaf_index < $3 ORDER BY e.leaf_index";

/// SQLite's result code for "no room on the device".
const SQLITE_FULL: &str = "13";

/// How a step's transaction ended when it did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// It was given up before its COMMIT was sent: nothing is written.
    #[error("{0}")]
    NotWritten(RecordsError),
    /// Another holder has opened the ledger, or it grew without us. Nothing is written.
    #[error("another process has taken the ledger over")]
    Fenced,
    /// Its COMMIT failed: it may be written or not.
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(sqlx::Error),
}

impl CommitError {
    /// Of a COMMIT that failed. SQLite says "full" before the page that would make it count is written: nothing is.
    fn of_commit(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            Some(SQLITE_FULL) => Self::NotWritten(error.into()),
            _ => Self::Unknown(error),
        }
    }
}

impl<E: Into<RecordsError>> From<E> for CommitError {
    fn from(error: E) -> Self {
        Self::NotWritten(error.into())
    }
}

/// How far the ledger is, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerState {
    pub(crate) epoch: Epoch,
    pub(crate) size: TreeSize,
    pub(crate) recorded: TreeSize,
    /// The newest signed checkpoint.
    pub(crate) signed: Option<(TreeSize, String)>,
}

impl Records {
    /// Takes the ledger over: raises the epoch, which fences every earlier holder, and tells where it stands.
    pub(crate) async fn take_over(&self, holder: &str) -> Result<LedgerState, RecordsError> {
        let mut transaction = self.begin().await?;
        let text = "INSERT INTO sequencer (force, epoch, holder, size, published_size) \
            VALUES ($1, 1, $2, 0, 0) ON CONFLICT (force) DO UPDATE SET \
            epoch = sequencer.epoch + 1, holder = excluded.holder";
        sql::execute(&mut transaction, text, vec![(&*self.force).into(), holder.into()]).await?;
        let state = self.state(&mut transaction).await?;
        transaction.commit().await?;
        Ok(state)
    }

    /// Where the ledger stands.
    pub(super) async fn state(
        &self,
        connection: &mut AnyConnection,
    ) -> Result<LedgerState, RecordsError> {
        let text = "SELECT epoch, size, published_size FROM sequencer WHERE force = $1";
        let row = sqlx::query(text).bind(&*self.force).fetch_one(&mut *connection).await?;
        let text = "SELECT size, note FROM checkpoints WHERE force = $1 ORDER BY size DESC LIMIT 1";
        let newest = sqlx::query(text).bind(&*self.force).fetch_optional(connection).await?;
        let signed = newest.map(|row| -> Result<_, RecordsError> {
            Ok((TreeSize(from_db(row.try_get(0)?, "checkpoints")?), row.try_get(1)?))
        });
        Ok(LedgerState {
            epoch: Epoch(from_db(row.try_get(0)?, "sequencer")?),
            size: TreeSize(from_db(row.try_get(1)?, "sequencer")?),
            recorded: TreeSize(from_db(row.try_get(2)?, "sequencer")?),
            signed: signed.transpose()?,
        })
    }

    /// Step 1: decides `commands` and writes what they make, in one transaction. If they make anything, `from` is recorded
    /// as published in it. For those that came from the table of commands, `rows` says by position where they stand there:
    /// their outcomes are written in it too.
    pub(crate) async fn commit_batch(
        &self,
        epoch: Epoch,
        from: TreeSize,
        commands: &[Command],
        rows: &[(usize, CommandRow)],
        at: Timestamp,
    ) -> Result<Decided, CommitError> {
        let mut transaction = self.begin().await?;
        self.guard(&mut transaction, epoch, from).await?;
        let facts = self.facts(&mut transaction, Questions::about(commands)).await?;
        let decided = decide(commands, facts, from, at);
        if !decided.entries.is_empty() {
            self.write_entries(&mut transaction, &decided.entries).await?;
            let size = to_db(from.0 + decided.entries.len() as u64);
            let values = vec![(&*self.force).into(), size.into(), to_db(from.0).into()];
            sql::execute(&mut transaction, GROW, values).await?;
        }
        let outcome = |at: usize| Outcome::Decided(decided.decisions[at].clone());
        let outcomes: Vec<_> = rows.iter().map(|(at, row)| (row, outcome(*at))).collect();
        self.write_outcomes(&mut transaction, &outcomes).await?;
        failpoint::hit("entries-written");
        transaction.commit().await.map_err(CommitError::of_commit)?;
        Ok(decided)
    }

    /// Step 3: keeps the one signed checkpoint of this size, and returns the one that is kept.
    pub(crate) async fn store_checkpoint(
        &self,
        epoch: Epoch,
        size: TreeSize,
        note: &str,
    ) -> Result<String, CommitError> {
        let mut transaction = self.begin().await?;
        self.guard(&mut transaction, epoch, size).await?;
        let row = vec![to_db(size.0).into(), note.into()];
        sql::insert(&mut transaction, CHECKPOINTS, &self.force, vec![row]).await?;
        let text = "SELECT note FROM checkpoints WHERE force = $1 AND size = $2";
        let query = sqlx::query(text).bind(&*self.force).bind(to_db(size.0));
        let kept = query.fetch_one(&mut *transaction).await?.try_get(0)?;
        transaction.commit().await.map_err(CommitError::of_commit)?;
        Ok(kept)
    }

    /// Keeps a checkpoint that was published already, for a database made again from the store.
    pub(super) async fn adopt_checkpoint(
        &self,
        published: &SignedCheckpoint,
    ) -> Result<(), RecordsError> {
        let mut transaction = self.begin().await?;
        let size = to_db(published.unverified().size.0);
        let row = vec![size.into(), published.to_string().into()];
        sql::insert(&mut transaction, CHECKPOINTS, &self.force, vec![row]).await?;
        let text = "UPDATE sequencer SET published_size = $2 WHERE force = $1";
        sql::execute(&mut transaction, text, vec![(&*self.force).into(), size.into()]).await?;
        Ok(transaction.commit().await?)
    }

    /// Step 5 by itself.
    pub(crate) async fn record_published(
        &self,
        epoch: Epoch,
        size: TreeSize,
    ) -> Result<(), CommitError> {
        let mut connection = self.pool.acquire().await?;
        let size = to_db(size.0);
        let values = vec![(&*self.force).into(), to_db(epoch.0).into(), size.into(), size.into()];
        // One statement is its own transaction, so its failure leaves the outcome unknown.
        let changed = sql::execute(&mut connection, SET_PUBLISHED, values)
            .await
            .map_err(CommitError::Unknown)?;
        (changed == 1).then_some(()).ok_or(CommitError::Fenced)
    }

    /// Entries `from..to` with their openings, in order. Fails unless all of them are there.
    pub async fn entries(
        &self,
        from: TreeSize,
        to: TreeSize,
    ) -> Result<Vec<StoredEntry>, RecordsError> {
        let query = sqlx::query(SELECT_ENTRIES).bind(&*self.force);
        let rows = query.bind(to_db(from.0)).bind(to_db(to.0)).fetch_all(&self.pool).await?;
        let stored: Vec<StoredEntry> =
            rows.iter().map(stored_entry).collect::<Result<_, RecordsError>>()?;
        let expected = from.0..to.0;
        let dense = stored.iter().map(|entry| entry.index.0).eq(expected);
        let reason = || format!("entries {} to {} are not all there", from.0, to.0);
        dense
            .then_some(stored)
            .ok_or_else(|| RecordsError::Corrupt { table: "entries", reason: reason() })
    }

    /// The time in the newest entry.
    pub(crate) async fn newest_time(&self) -> Result<Option<Timestamp>, RecordsError> {
        let text = "SELECT at_ms FROM entries WHERE force = $1 ORDER BY leaf_index DESC LIMIT 1";
        let row = sqlx::query(text).bind(&*self.force).fetch_optional(&self.pool).await?;
        row.map(|row| timestamp(row.try_get(0)?)).transpose()
    }

    /// Where an event became an entry, if it did.
    pub async fn entry_of_event(&self, event: EventId) -> Result<Option<LeafIndex>, RecordsError> {
        let text = "SELECT leaf_index FROM entries WHERE force = $1 AND event = $2";
        let query = sqlx::query(text).bind(&*self.force).bind(event.to_string());
        let row = query.fetch_optional(&self.pool).await?;
        row.map(|row| Ok(LeafIndex(from_db(row.try_get(0)?, "entries")?))).transpose()
    }

    /// Everything that entries say, in the ledger's own tables and in the records.
    pub(super) async fn write_entries(
        &self,
        connection: &mut AnyConnection,
        entries: &[PlacedEntry],
    ) -> Result<(), RecordsError> {
        let mut openings = Vec::with_capacity(entries.len());
        for placed in entries {
            openings.push(opening_row(placed)?);
        }
        let force = &*self.force;
        sql::insert(connection, ENTRIES, force, entries.iter().map(entry_row).collect()).await?;
        sql::insert(connection, OPENINGS, force, openings).await?;
        let touched = entries.iter().flat_map(subject_rows).collect();
        sql::insert(connection, ENTRY_SUBJECTS, force, touched).await?;
        sql::insert(connection, SUBJECTS, force, head_rows(entries)).await?;
        Ok(apply::apply(connection, force, entries).await?)
    }

    async fn guard(
        &self,
        connection: &mut AnyConnection,
        epoch: Epoch,
        size: TreeSize,
    ) -> Result<(), CommitError> {
        let mut values = vec![(&*self.force).into(), to_db(epoch.0).into(), to_db(size.0).into()];
        let guard = match self.dialect {
            Dialect::Sqlite => GUARD,
            Dialect::Postgres => {
                values.push(NEWEST.into());
                lease::GUARD
            }
        };
        let held = sql::execute(connection, guard, values).await?;
        (held == 1).then_some(()).ok_or(CommitError::Fenced)
    }

    async fn facts(
        &self,
        connection: &mut AnyConnection,
        questions: Questions,
    ) -> Result<Facts, RecordsError> {
        let mut facts = Facts::default();
        let force = &*self.force;
        let keys = questions.events.iter().map(|event| event.to_string().into()).collect();
        let before = "SELECT event, leaf_index FROM entries WHERE force = $1 AND event IN (";
        for row in sql::select_in(connection, before, ")", force, keys).await? {
            facts.events.insert(parse(&row, 0, "entries")?, leaf(&row, 1, "entries")?);
        }
        let keys = questions.subjects.iter().map(|id| id.to_string().into()).collect();
        let before =
            "SELECT subject, entries, last_leaf FROM subjects WHERE force = $1 AND subject IN (";
        for row in sql::select_in(connection, before, ")", force, keys).await? {
            let count = from_db(row.try_get(1)?, "subjects")?;
            let head = Head { count, last: leaf(&row, 2, "subjects")? };
            facts.heads.insert(parse::<SubjectId>(&row, 0, "subjects")?, head);
        }
        facts.sources = held(connection, force, &questions.sources).await?;
        let keys = questions.devices.iter().map(|id| id.to_string().into()).collect();
        let before = "SELECT device FROM devices \
            WHERE force = $1 AND revoked_at_ms IS NOT NULL AND device IN (";
        for row in sql::select_in(connection, before, ")", force, keys).await? {
            facts.revoked.insert(parse(&row, 0, "devices")?);
        }
        Ok(facts)
    }
}

/// Which of `sources` are held already; the first item of a source is the one that counts.
async fn held(
    connection: &mut AnyConnection,
    force: &str,
    sources: &[SourceKey],
) -> Result<HashMap<SourceKey, Held>, RecordsError> {
    let by_text: HashMap<String, SourceKey> =
        sources.iter().map(|key| (key.to_string(), *key)).collect();
    let keys = by_text.keys().map(|text| text.clone().into()).collect();
    let before =
        "SELECT source_key, item, leaf_index FROM items WHERE force = $1 AND source_key IN (";
    let rows = sql::select_in(connection, before, ") ORDER BY leaf_index", force, keys).await?;
    let mut found = HashMap::new();
    for row in rows {
        let text: String = row.try_get(0)?;
        if let Some(key) = by_text.get(&text) {
            let held = Held { item: parse(&row, 1, "items")?, leaf_index: leaf(&row, 2, "items")? };
            found.entry(*key).or_insert(held);
        }
    }
    Ok(found)
}

fn entry_row(placed: &PlacedEntry) -> Vec<Value> {
    vec![
        to_db(placed.index.0).into(),
        placed.entry.event.to_string().into(),
        placed.entry.kind.as_str().into(),
        placed.entry.at.unix_millis().into(),
        placed.bytes.clone().into(),
    ]
}

fn opening_row(placed: &PlacedEntry) -> Result<Vec<Value>, RecordsError> {
    let of = |class| Opening::to_bytes(placed.openings_of(class));
    Ok(vec![to_db(placed.index.0).into(), of(Class::Evidential).into(), of(Class::Personal).into()])
}

fn subject_rows(placed: &PlacedEntry) -> impl Iterator<Item = Vec<Value>> {
    let index = to_db(placed.index.0);
    placed
        .entry
        .subjects
        .iter()
        .map(move |s| vec![s.id.to_string().into(), to_db(s.seq).into(), index.into()])
}

/// One row per subject of the batch: a statement may change a row only once.
fn head_rows(entries: &[PlacedEntry]) -> Vec<Vec<Value>> {
    let mut heads = std::collections::BTreeMap::new();
    for placed in entries {
        for subject in &placed.entry.subjects {
            heads.insert(subject.id.to_string(), (subject.seq + 1, placed.index.0));
        }
    }
    heads
        .into_iter()
        .map(|(id, (count, last))| vec![id.into(), to_db(count).into(), to_db(last).into()])
        .collect()
}

/// Reads what [`Opening::to_bytes`] wrote.
pub(super) fn parse_openings(bytes: &[u8]) -> Result<Vec<Opening>, RecordsError> {
    let corrupt = |reason: String| RecordsError::Corrupt { table: "openings", reason };
    let value = canonical::parse(bytes).map_err(|e| corrupt(e.to_string()))?;
    let values = value.as_array().ok_or_else(|| corrupt("not an array".to_owned()))?;
    values.iter().map(|v| Opening::from_json(v).map_err(|e| corrupt(e.to_string()))).collect()
}

fn stored_entry(row: &AnyRow) -> Result<StoredEntry, RecordsError> {
    Ok(StoredEntry {
        index: leaf(row, 0, "entries")?,
        bytes: row.try_get(1)?,
        evidential: parse_openings(row.try_get(2)?)?,
        personal: parse_openings(row.try_get(3)?)?,
    })
}

pub(super) fn leaf(
    row: &AnyRow,
    column: usize,
    table: &'static str,
) -> Result<LeafIndex, RecordsError> {
    Ok(LeafIndex(from_db(row.try_get(column)?, table)?))
}

/// A column whose text only we have written.
pub(super) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    row: &AnyRow,
    column: usize,
    table: &'static str,
) -> Result<T, RecordsError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|e: T::Err| RecordsError::Corrupt { table, reason: e.to_string() })
}

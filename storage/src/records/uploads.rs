//! Uploads on their way in: working state, and the account of every byte a device began to send (I6).
//!
//! An offset moves only together with the writer's state at that offset, and every change of state together with the
//! device's totals. All changes are guarded by what they expect to find: a loser is told, and changes nothing.

use chain_of_custody::command::device_text;
use chain_of_custody::digest::Digests;
use chain_of_custody::ids::{DeviceId, EventId, ItemId, LeafIndex, UploadId};
use chain_of_custody::time::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Dialect, Records, RecordsError, from_db, to_db};

const TABLE: &str = "uploads";

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal $why:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $(#[doc = $why] $variant),+ }

        impl $name {
            /// The word in the column.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            fn parse(text: &str) -> Result<Self, RecordsError> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(RecordsError::Corrupt { table: TABLE, reason: format!("'{text}'") }),
                }
            }
        }
    };
}

words! {
    /// What an upload is to become.
    UploadShape {
        Whole = "whole" "an item",
        Partial = "partial" "a part of a concatenation",
        Final = "final" "a concatenation of partials: an item",
    }
}

words! {
    /// How far an upload is.
    UploadState {
        Receiving = "receiving" "more bytes are expected",
        Finishing = "finishing" "all bytes are here and sealed; the answer is not yet",
        Finished = "finished" "the answer stands",
        Composed = "composed" "a partial whose bytes belong to a final now",
        Ended = "ended" "ended by its client, or expired",
    }
}

words! {
    /// What became of the bytes of a finished upload.
    Outcome {
        Stored = "stored" "they are a new item",
        Duplicate = "duplicate" "the same recording is held already; these bytes were let go",
        Quarantined = "quarantined" "kept as an item that only a person opens, because a claim failed",
    }
}

/// What is chosen when an upload begins.
#[derive(Debug, Clone)]
pub struct NewUpload {
    pub upload: UploadId,
    /// None for a workstation.
    pub device: Option<DeviceId>,
    pub by: String,
    pub read_by: String,
    pub shape: UploadShape,
    /// None while the client has not said.
    pub length_bytes: Option<u64>,
    pub item: ItemId,
    pub event: EventId,
    pub duplicate_event: EventId,
    /// JSON.
    pub claims: String,
    /// The header as sent.
    pub metadata: String,
    /// Of a final: its partials in their order.
    pub parts: Vec<UploadId>,
}

/// An upload as it stands.
#[derive(Debug, Clone)]
pub struct UploadRow {
    pub upload: UploadId,
    pub device: Option<DeviceId>,
    pub by: String,
    pub read_by: String,
    pub shape: UploadShape,
    pub state: UploadState,
    pub length_bytes: Option<u64>,
    /// Durable.
    pub offset_bytes: u64,
    pub item: ItemId,
    pub event: EventId,
    pub duplicate_event: EventId,
    pub claims: String,
    pub metadata: String,
    pub parts: Vec<UploadId>,
    /// The dock manifest's signed note.
    pub manifest: Option<String>,
    /// The writer's state at the offset: JSON.
    pub writer: Option<String>,
    /// All bytes, sealed: JSON, and their digests.
    pub sealed: Option<(String, Digests)>,
    pub ending: Option<UploadEnding>,
    pub touched_at: Timestamp,
    /// Whose turn it was when this was read: what is written of the upload names it.
    pub turn: u64,
}

/// How a finished upload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadEnding {
    pub outcome: Outcome,
    /// The item that holds the bytes.
    pub item: ItemId,
    /// The entry that the receipt is for.
    pub leaf_index: LeafIndex,
    /// Of a quarantine.
    pub reason_code: String,
}

/// What became of every byte a device began to send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByteAccount {
    pub begun: u64,
    pub stored: u64,
    pub duplicate: u64,
    pub quarantined: u64,
    pub abandoned: u64,
    /// Durable bytes of uploads that have not ended.
    pub in_flight: u64,
}

impl ByteAccount {
    /// Whether no byte is missing (I6).
    pub fn balances(&self) -> bool {
        let ended = self.stored + self.duplicate + self.quarantined + self.abandoned;
        self.begun == ended + self.in_flight
    }
}

/// An update that found something else than it expected: somebody was faster. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Moved {
    Yes,
    SomebodyWasFaster,
}

const COLUMNS: &str = "upload, device, by_whom, read_by, shape, state, length_bytes, offset_bytes, item, event, \
    duplicate_event, claims, metadata, parts, manifest, writer, sealed, sha256, blake3, outcome, outcome_item, \
    outcome_leaf, reason_code, touched_at_ms, turn";

/// States in which bytes are still on their way.
const OPEN: &str = "('receiving', 'finishing')";

impl Records {
    /// Writes down a new upload at offset 0.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn begin_upload(&self, new: &NewUpload, now: Timestamp) -> Result<(), RecordsError> {
        let parts = serde_json::to_string(&new.parts).expect("ids have a JSON form");
        let now = now.unix_millis();
        sqlx::query(
            "INSERT INTO uploads (force, upload, device, by_whom, read_by, shape, state, length_bytes, offset_bytes, \
             item, event, duplicate_event, claims, metadata, parts, manifest, writer, sealed, sha256, blake3, \
             outcome, outcome_item, outcome_leaf, reason_code, created_at_ms, touched_at_ms) VALUES ($1, $2, $3, $4, $5, $6, 'receiving', \
             $7, 0, $8, $9, $10, $11, $12, $13, '', '', '', '', '', '', '', NULL, '', $14, $15)",
        )
        .bind(self.force())
        .bind(new.upload.to_string())
        .bind(device_text(new.device))
        .bind(&new.by)
        .bind(&new.read_by)
        .bind(new.shape.as_str())
        .bind(new.length_bytes.map(to_db))
        .bind(new.item.to_string())
        .bind(new.event.to_string())
        .bind(new.duplicate_event.to_string())
        .bind(&new.claims)
        .bind(&new.metadata)
        .bind(parts)
        .bind(now)
        .bind(now)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// The upload, if there is one of that id.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn upload(&self, upload: UploadId) -> Result<Option<UploadRow>, RecordsError> {
        let text = format!("SELECT {COLUMNS} FROM uploads WHERE force = $1 AND upload = $2");
        let row = sqlx::query(AssertSqlSafe(text))
            .bind(self.force())
            .bind(upload.to_string())
            .fetch_optional(self.pool())
            .await?;
        row.as_ref().map(read_row).transpose()
    }

    /// The same, and takes its turn: among several servers nothing more is written of it by one that had the turn before. One
    /// server alone keeps its own turns.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn take_upload(&self, upload: UploadId) -> Result<Option<UploadRow>, RecordsError> {
        if self.dialect() == Dialect::Sqlite {
            return self.upload(upload).await;
        }
        let text = format!(
            "UPDATE uploads SET turn = turn + 1 WHERE force = $1 AND upload = $2 RETURNING {COLUMNS}"
        );
        let row = sqlx::query(AssertSqlSafe(text))
            .bind(self.force())
            .bind(upload.to_string())
            .fetch_optional(self.pool())
            .await?;
        row.as_ref().map(read_row).transpose()
    }

    /// Up to `most` uploads in `state` that nobody has touched since `before`, the oldest first.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn uploads_untouched(
        &self,
        state: UploadState,
        before: Timestamp,
        most: u32,
    ) -> Result<Vec<UploadRow>, RecordsError> {
        let text = format!(
            "SELECT {COLUMNS} FROM uploads WHERE force = $1 AND state = $2 AND touched_at_ms <= $3 \
             ORDER BY touched_at_ms, upload LIMIT $4"
        );
        let rows = sqlx::query(AssertSqlSafe(text))
            .bind(self.force())
            .bind(state.as_str())
            .bind(before.unix_millis())
            .bind(i64::from(most))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(read_row).collect()
    }

    /// How many uploads are unfinished: of `device`, and of all.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn open_uploads(&self, device: Option<DeviceId>) -> Result<(u64, u64), RecordsError> {
        let text = format!(
            "SELECT COUNT(CASE WHEN device = $1 THEN 1 END), COUNT(*) FROM uploads WHERE force = $2 AND state IN {OPEN}"
        );
        let row = sqlx::query(AssertSqlSafe(text))
            .bind(device_text(device))
            .bind(self.force())
            .fetch_one(self.pool())
            .await?;
        Ok((from_db(row.try_get(0)?, TABLE)?, from_db(row.try_get(1)?, TABLE)?))
    }

    /// The client says how long an upload is of which it had not said so.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn set_upload_length(
        &self,
        row: &UploadRow,
        length_bytes: u64,
    ) -> Result<Moved, RecordsError> {
        let done = sqlx::query(
            "UPDATE uploads SET length_bytes = $1 WHERE force = $2 AND upload = $3 AND state = 'receiving' \
             AND length_bytes IS NULL AND turn = $4",
        )
        .bind(to_db(length_bytes))
        .bind(self.force())
        .bind(row.upload.to_string())
        .bind(to_db(row.turn))
        .execute(self.pool())
        .await?;
        Ok(moved(done.rows_affected()))
    }

    /// Keeps the dock manifest that came with the last bytes.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn set_upload_manifest(
        &self,
        row: &UploadRow,
        note: &str,
    ) -> Result<Moved, RecordsError> {
        let done = sqlx::query(
            "UPDATE uploads SET manifest = $1 WHERE force = $2 AND upload = $3 AND state = 'receiving' AND turn = $4",
        )
        .bind(note)
        .bind(self.force())
        .bind(row.upload.to_string())
        .bind(to_db(row.turn))
        .execute(self.pool())
        .await?;
        Ok(moved(done.rows_affected()))
    }

    /// Moves the offset: from here on everything below `to` is acknowledged. `writer` is the state of the store's
    /// writer at exactly that offset.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn advance_upload(
        &self,
        row: &UploadRow,
        to: u64,
        writer: &str,
        now: Timestamp,
    ) -> Result<Moved, RecordsError> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query(
            "UPDATE uploads SET offset_bytes = $1, writer = $2, touched_at_ms = $3 WHERE force = $4 AND upload = $5 \
             AND state = 'receiving' AND offset_bytes = $6 AND turn = $7",
        )
        .bind(to_db(to))
        .bind(writer)
        .bind(now.unix_millis())
        .bind(self.force())
        .bind(row.upload.to_string())
        .bind(to_db(row.offset_bytes))
        .bind(to_db(row.turn))
        .execute(&mut *transaction)
        .await?;
        if moved(done.rows_affected()) == Moved::SomebodyWasFaster {
            return Ok(Moved::SomebodyWasFaster);
        }
        let begun = to.saturating_sub(row.offset_bytes);
        self.add_to_total(&mut transaction, row.device, "begun_bytes", begun).await?;
        transaction.commit().await?;
        Ok(Moved::Yes)
    }

    /// All bytes are here and sealed: nothing more is taken in. A final takes its partials' bytes with it.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn seal_upload(
        &self,
        row: &UploadRow,
        length_bytes: u64,
        sealed: &str,
        digests: &Digests,
        now: Timestamp,
    ) -> Result<Moved, RecordsError> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query(
            "UPDATE uploads SET state = 'finishing', offset_bytes = $1, length_bytes = $2, sealed = $3, sha256 = $4, \
             blake3 = $5, touched_at_ms = $6 WHERE force = $7 AND upload = $8 AND state = 'receiving' \
             AND offset_bytes = $9 AND turn = $10",
        )
        .bind(to_db(length_bytes))
        .bind(to_db(length_bytes))
        .bind(sealed)
        .bind(digests.sha256.to_string())
        .bind(digests.blake3.to_string())
        .bind(now.unix_millis())
        .bind(self.force())
        .bind(row.upload.to_string())
        .bind(to_db(row.offset_bytes))
        .bind(to_db(row.turn))
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() != 1 {
            return Ok(Moved::SomebodyWasFaster);
        }
        for part in &row.parts {
            if !self.compose(&mut transaction, *part, now).await? {
                return Ok(Moved::SomebodyWasFaster);
            }
        }
        if row.shape != UploadShape::Final {
            let begun = length_bytes.saturating_sub(row.offset_bytes);
            self.add_to_total(&mut transaction, row.device, "begun_bytes", begun).await?;
        }
        transaction.commit().await?;
        Ok(Moved::Yes)
    }

    /// The answer stands. Of a partial there is none but that it may be composed now.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn finish_upload(
        &self,
        row: &UploadRow,
        ending: Option<&UploadEnding>,
        now: Timestamp,
    ) -> Result<Moved, RecordsError> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query(
            "UPDATE uploads SET state = 'finished', outcome = $1, outcome_item = $2, outcome_leaf = $3, \
             reason_code = $4, touched_at_ms = $5 WHERE force = $6 AND upload = $7 AND state = 'finishing' AND turn = $8",
        )
        .bind(ending.map_or("", |e| e.outcome.as_str()))
        .bind(ending.map_or_else(String::new, |e| e.item.to_string()))
        .bind(ending.map(|e| to_db(e.leaf_index.0)))
        .bind(ending.map_or("", |e| e.reason_code.as_str()))
        .bind(now.unix_millis())
        .bind(self.force())
        .bind(row.upload.to_string())
        .bind(to_db(row.turn))
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() != 1 {
            return Ok(Moved::SomebodyWasFaster);
        }
        if let Some(ending) = ending {
            let total = match ending.outcome {
                Outcome::Stored => "stored_bytes",
                Outcome::Duplicate => "duplicate_bytes",
                Outcome::Quarantined => "quarantined_bytes",
            };
            self.add_to_total(&mut transaction, row.device, total, row.offset_bytes).await?;
        }
        transaction.commit().await?;
        Ok(Moved::Yes)
    }

    /// Ends an unfinished upload, or a partial that was never composed: its bytes count as abandoned.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn end_upload(&self, row: &UploadRow, now: Timestamp) -> Result<Moved, RecordsError> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query(
            "UPDATE uploads SET state = 'ended', touched_at_ms = $1 WHERE force = $2 AND upload = $3 AND state = $4 \
             AND turn = $5",
        )
        .bind(now.unix_millis())
        .bind(self.force())
        .bind(row.upload.to_string())
        .bind(row.state.as_str())
        .bind(to_db(row.turn))
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() != 1 {
            return Ok(Moved::SomebodyWasFaster);
        }
        let bytes = row.offset_bytes;
        self.add_to_total(&mut transaction, row.device, "abandoned_bytes", bytes).await?;
        transaction.commit().await?;
        Ok(Moved::Yes)
    }

    /// Forgets an upload whose answer has been there long enough.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn forget_upload(&self, upload: UploadId) -> Result<(), RecordsError> {
        sqlx::query(
            "DELETE FROM uploads WHERE force = $1 AND upload = $2 AND state IN ('finished', 'composed', 'ended')",
        )
        .bind(self.force())
        .bind(upload.to_string())
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// What became of every byte that `device` began to send.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn byte_account(
        &self,
        device: Option<DeviceId>,
    ) -> Result<ByteAccount, RecordsError> {
        let mut snapshot = self.begin().await?;
        let totals = sqlx::query(
            "SELECT begun_bytes, stored_bytes, duplicate_bytes, quarantined_bytes, abandoned_bytes FROM upload_totals \
             WHERE force = $1 AND device = $2",
        )
        .bind(self.force())
        .bind(device_text(device))
        .fetch_optional(&mut *snapshot)
        .await?;
        // A partial that waits to be composed has ended for its client, not for its bytes.
        let flying = sqlx::query(
            "SELECT CAST(COALESCE(SUM(offset_bytes), 0) AS BIGINT) FROM uploads WHERE force = $1 AND device = $2 AND \
             (state IN ('receiving', 'finishing') OR (state = 'finished' AND shape = 'partial'))",
        )
        .bind(self.force())
        .bind(device_text(device))
        .fetch_one(&mut *snapshot)
        .await?;
        let mut account = ByteAccount {
            in_flight: from_db(flying.try_get(0)?, TABLE)?,
            ..ByteAccount::default()
        };
        if let Some(row) = totals {
            let total = |column: usize| from_db(row.try_get(column)?, "upload_totals");
            account = ByteAccount {
                begun: total(0)?,
                stored: total(1)?,
                duplicate: total(2)?,
                quarantined: total(3)?,
                abandoned: total(4)?,
                ..account
            };
        }
        Ok(account)
    }

    /// A finished partial's bytes belong to a final now.
    async fn compose(
        &self,
        connection: &mut AnyConnection,
        upload: UploadId,
        now: Timestamp,
    ) -> Result<bool, RecordsError> {
        let done = sqlx::query(
            "UPDATE uploads SET state = 'composed', touched_at_ms = $1 WHERE force = $2 AND upload = $3 \
             AND state = 'finished'",
        )
        .bind(now.unix_millis())
        .bind(self.force())
        .bind(upload.to_string())
        .execute(connection)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// `column` is one of ours, never from outside.
    async fn add_to_total(
        &self,
        connection: &mut AnyConnection,
        device: Option<DeviceId>,
        column: &'static str,
        bytes: u64,
    ) -> Result<(), RecordsError> {
        let value = |name| if name == column { to_db(bytes) } else { 0 };
        let text = format!(
            "INSERT INTO upload_totals (force, device, begun_bytes, stored_bytes, duplicate_bytes, \
             quarantined_bytes, abandoned_bytes) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (force, device) \
             DO UPDATE SET {column} = upload_totals.{column} + excluded.{column}"
        );
        sqlx::query(AssertSqlSafe(text))
            .bind(self.force())
            .bind(device_text(device))
            .bind(value("begun_bytes"))
            .bind(value("stored_bytes"))
            .bind(value("duplicate_bytes"))
            .bind(value("quarantined_bytes"))
            .bind(value("abandoned_bytes"))
            .execute(connection)
            .await?;
        Ok(())
    }
}

fn moved(rows: u64) -> Moved {
    if rows == 1 { Moved::Yes } else { Moved::SomebodyWasFaster }
}

fn read_row(row: &AnyRow) -> Result<UploadRow, RecordsError> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let filled = |column: &str| text(column).map(|text| (!text.is_empty()).then_some(text));
    let device = text("device")?;
    let length: Option<i64> = row.try_get("length_bytes")?;
    let touched_at = Timestamp::from_unix_millis(row.try_get("touched_at_ms")?);
    Ok(UploadRow {
        upload: id(&text("upload")?)?,
        device: if device == "-" { None } else { Some(id(&device)?) },
        by: text("by_whom")?,
        read_by: text("read_by")?,
        shape: UploadShape::parse(&text("shape")?)?,
        state: UploadState::parse(&text("state")?)?,
        length_bytes: length.map(|bytes| from_db(bytes, TABLE)).transpose()?,
        offset_bytes: from_db(row.try_get("offset_bytes")?, TABLE)?,
        item: id(&text("item")?)?,
        event: id(&text("event")?)?,
        duplicate_event: id(&text("duplicate_event")?)?,
        claims: text("claims")?,
        metadata: text("metadata")?,
        parts: serde_json::from_str(&text("parts")?).map_err(corrupt)?,
        manifest: filled("manifest")?,
        writer: filled("writer")?,
        sealed: read_sealed(row)?,
        ending: read_ending(row)?,
        touched_at: touched_at.map_err(corrupt)?,
        turn: from_db(row.try_get("turn")?, TABLE)?,
    })
}

fn read_sealed(row: &AnyRow) -> Result<Option<(String, Digests)>, RecordsError> {
    let sealed: String = row.try_get("sealed")?;
    if sealed.is_empty() {
        return Ok(None);
    }
    let digest = |column: &str| row.try_get::<String, _>(column);
    let digests = Digests {
        sha256: digest("sha256")?.parse().map_err(corrupt)?,
        blake3: digest("blake3")?.parse().map_err(corrupt)?,
    };
    Ok(Some((sealed, digests)))
}

fn read_ending(row: &AnyRow) -> Result<Option<UploadEnding>, RecordsError> {
    let outcome: String = row.try_get("outcome")?;
    let leaf: Option<i64> = row.try_get("outcome_leaf")?;
    let Some(leaf) = leaf.filter(|_| !outcome.is_empty()) else { return Ok(None) };
    Ok(Some(UploadEnding {
        outcome: Outcome::parse(&outcome)?,
        item: id(&row.try_get::<String, _>("outcome_item")?)?,
        leaf_index: LeafIndex(from_db(leaf, TABLE)?),
        reason_code: row.try_get("reason_code")?,
    }))
}

fn id<T: std::str::FromStr<Err = chain_of_custody::ids::BadId>>(
    text: &str,
) -> Result<T, RecordsError> {
    text.parse().map_err(corrupt)
}

fn corrupt(reason: impl std::fmt::Display) -> RecordsError {
    RecordsError::Corrupt { table: TABLE, reason: reason.to_string() }
}

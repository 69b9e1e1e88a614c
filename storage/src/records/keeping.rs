//! What `status`, backup and scrub ask and remember. Counts and times only; nothing here is a record.

use chain_of_custody::ids::{TreeSize, UploadId};
use chain_of_custody::time::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Records, RecordsError, from_db, sql, to_db};
use crate::scrub::Finding;

/// A folder that was backed up to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BackupRow {
    pub folder: String,
    pub entries: TreeSize,
    pub verified_at_ms: i64,
    /// When every byte of it was read last.
    pub read_at_ms: Option<i64>,
    pub faults: u64,
}

/// How far the scrub is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrubRow {
    /// Of the one under way, if one is.
    pub started_at_ms: Option<i64>,
    /// Of the one under way: entries before it were gone through.
    pub next_leaf: u64,
    pub findings: Vec<Finding>,
    /// Of the last that came to its end.
    pub ended_at_ms: Option<i64>,
    pub objects: u64,
    pub ended_findings: Vec<Finding>,
}

/// A device that may send, and when it last did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DeviceSeen {
    pub device: String,
    pub enrolled_at_ms: i64,
    /// None: never.
    pub seen_at_ms: Option<i64>,
}

/// Counts for one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    pub items: u64,
    pub quarantined_items: u64,
    /// Items with a storage fault that stands.
    pub faulty_items: u64,
    pub open_uploads: u64,
    pub oldest_open_upload_ms: Option<i64>,
    /// Jobs that wait because this machine failed them.
    pub troubled_jobs: u64,
    pub waiting_jobs: u64,
    /// Derivatives that could not be made.
    pub derivation_failures: u64,
    pub entries: u64,
    /// Entries not yet recorded as published.
    pub unpublished_entries: u64,
    /// Time of the newest entry.
    pub last_entry_ms: Option<i64>,
    /// Bytes of items received since the time asked about.
    pub recent_bytes: u64,
    /// When the first item of all was received.
    pub first_item_ms: Option<i64>,
}

impl Records {
    /// Remembers that the backup in `folder` was verified now.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn note_backup(
        &self,
        folder: &str,
        entries: TreeSize,
        faults: u64,
        read: bool,
        now: Timestamp,
    ) -> Result<(), RecordsError> {
        let now = now.unix_millis();
        let text = "INSERT INTO backups (force, folder, entries, verified_at_ms, read_at_ms, faults) \
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (force, folder) DO UPDATE SET \
            entries = excluded.entries, verified_at_ms = excluded.verified_at_ms, \
            read_at_ms = COALESCE(excluded.read_at_ms, backups.read_at_ms), faults = excluded.faults";
        let read_at = read.then_some(now);
        let values = vec![
            self.force().into(),
            folder.into(),
            to_db(entries.0).into(),
            now.into(),
            read_at.into(),
            to_db(faults).into(),
        ];
        let mut connection = self.pool().acquire().await?;
        sql::execute(&mut connection, text, values).await?;
        Ok(())
    }

    /// Forgets a folder: the next backup there begins anew.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn forget_backup(&self, folder: &str) -> Result<(), RecordsError> {
        let text = "DELETE FROM backups WHERE force = $1 AND folder = $2";
        sqlx::query(text).bind(self.force()).bind(folder).execute(self.pool()).await?;
        Ok(())
    }

    /// Every folder that was backed up to, the newest first.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn backups(&self) -> Result<Vec<BackupRow>, RecordsError> {
        let text = "SELECT folder, entries, verified_at_ms, read_at_ms, faults FROM backups \
            WHERE force = $1 ORDER BY verified_at_ms DESC, folder";
        let rows = sqlx::query(text).bind(self.force()).fetch_all(self.pool()).await?;
        rows.iter().map(backup_row).collect()
    }

    /// How far the scrub is.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn scrub(&self) -> Result<ScrubRow, RecordsError> {
        let text = "SELECT started_at_ms, next_leaf, findings, ended_at_ms, objects, ended_findings \
            FROM scrubs WHERE force = $1";
        let row = sqlx::query(text).bind(self.force()).fetch_optional(self.pool()).await?;
        let Some(row) = row else { return Ok(ScrubRow::default()) };
        let findings = |text: String| {
            serde_json::from_str(&text)
                .map_err(|e| RecordsError::Corrupt { table: "scrubs", reason: e.to_string() })
        };
        Ok(ScrubRow {
            started_at_ms: row.try_get(0)?,
            next_leaf: from_db(row.try_get(1)?, "scrubs")?,
            findings: findings(row.try_get(2)?)?,
            ended_at_ms: row.try_get(3)?,
            objects: from_db(row.try_get(4)?, "scrubs")?,
            ended_findings: findings(row.try_get(5)?)?,
        })
    }

    /// Remembers how far the scrub is.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn keep_scrub(&self, row: &ScrubRow) -> Result<(), RecordsError> {
        let text = "INSERT INTO scrubs (force, started_at_ms, next_leaf, findings, ended_at_ms, \
            objects, ended_findings) VALUES ($1, $2, $3, $4, $5, $6, $7) \
            ON CONFLICT (force) DO UPDATE SET started_at_ms = excluded.started_at_ms, \
            next_leaf = excluded.next_leaf, findings = excluded.findings, \
            ended_at_ms = excluded.ended_at_ms, objects = excluded.objects, \
            ended_findings = excluded.ended_findings";
        let json = |findings: &[Finding]| {
            serde_json::to_string(findings).expect("findings are plain data")
        };
        let values = vec![
            self.force().into(),
            row.started_at_ms.into(),
            to_db(row.next_leaf).into(),
            json(&row.findings).into(),
            row.ended_at_ms.into(),
            to_db(row.objects).into(),
            json(&row.ended_findings).into(),
        ];
        let mut connection = self.pool().acquire().await?;
        sql::execute(&mut connection, text, values).await?;
        Ok(())
    }

    /// Every device that may send, and when bytes of it came last.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn devices_seen(&self) -> Result<Vec<DeviceSeen>, RecordsError> {
        let text = "SELECT d.device, d.enrolled_at_ms, \
            (SELECT MAX(u.touched_at_ms) FROM uploads u \
             WHERE u.force = d.force AND u.device = d.device), \
            (SELECT i.received_at_ms FROM items i WHERE i.force = d.force AND i.device = d.device \
             ORDER BY i.leaf_index DESC LIMIT 1) \
            FROM devices d WHERE d.force = $1 AND d.revoked_at_ms IS NULL ORDER BY d.enrolled_leaf";
        let rows = sqlx::query(text).bind(self.force()).fetch_all(self.pool()).await?;
        let seen = |row: &AnyRow| -> Result<_, RecordsError> {
            let (upload, item): (Option<i64>, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
            Ok(DeviceSeen {
                device: row.try_get(0)?,
                enrolled_at_ms: row.try_get(1)?,
                seen_at_ms: upload.max(item),
            })
        };
        rows.iter().map(seen).collect()
    }

    /// Whether a row of this upload is there.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn upload_is_known(&self, upload: UploadId) -> Result<bool, RecordsError> {
        let text = "SELECT 1 FROM uploads WHERE force = $1 AND upload = $2";
        let row = sqlx::query(text).bind(self.force()).bind(upload.to_string());
        Ok(row.fetch_optional(self.pool()).await?.is_some())
    }

    /// Counts for `status`; `recent_bytes` since `since`.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn standing(&self, since: Timestamp) -> Result<Standing, RecordsError> {
        let open = "state IN ('receiving', 'finishing')";
        let one = |text: String| async move {
            let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(self.force());
            row.fetch_one(self.pool()).await
        };
        let number = |row: AnyRow| -> Result<u64, RecordsError> {
            from_db(row.try_get::<Option<i64>, _>(0)?.unwrap_or(0), "standing")
        };
        let count = |table: &str, condition: &str| {
            one(format!("SELECT COUNT(*) FROM {table} WHERE force = $1 AND {condition}"))
        };
        let recent = format!(
            "SELECT CAST(SUM(size_bytes) AS BIGINT) FROM items WHERE force = $1 AND received_at_ms >= {}",
            since.unix_millis()
        );
        let ledger = "SELECT size, published_size FROM sequencer WHERE force = $1";
        let ledger = sqlx::query(ledger).bind(self.force()).fetch_optional(self.pool()).await?;
        let (entries, published) = match ledger {
            Some(row) => {
                (from_db(row.try_get(0)?, "sequencer")?, from_db(row.try_get(1)?, "sequencer")?)
            }
            None => (0, 0),
        };
        Ok(Standing {
            items: number(count("items", "1 = 1").await?)?,
            quarantined_items: number(count("items", "state = 'quarantined'").await?)?,
            faulty_items: number(count("items", "fault <> ''").await?)?,
            open_uploads: number(count("uploads", open).await?)?,
            oldest_open_upload_ms: one(format!(
                "SELECT MIN(created_at_ms) FROM uploads WHERE force = $1 AND {open}"
            ))
            .await?
            .try_get(0)?,
            troubled_jobs: number(count("jobs", "troubles > 0 AND state <> 'ended'").await?)?,
            waiting_jobs: number(count("jobs", "state <> 'ended'").await?)?,
            derivation_failures: number(count("derivation_failures", "1 = 1").await?)?,
            entries,
            unpublished_entries: entries.saturating_sub(published),
            last_entry_ms: one("SELECT MAX(at_ms) FROM entries WHERE force = $1 AND leaf_index = \
                 (SELECT MAX(leaf_index) FROM entries WHERE force = $1)"
                .to_owned())
            .await?
            .try_get(0)?,
            recent_bytes: number(one(recent).await?)?,
            first_item_ms: one("SELECT MIN(received_at_ms) FROM items WHERE force = $1".to_owned())
                .await?
                .try_get(0)?,
        })
    }
}

fn backup_row(row: &AnyRow) -> Result<BackupRow, RecordsError> {
    Ok(BackupRow {
        folder: row.try_get(0)?,
        entries: TreeSize(from_db(row.try_get(1)?, "backups")?),
        verified_at_ms: row.try_get(2)?,
        read_at_ms: row.try_get(3)?,
        faults: from_db(row.try_get(4)?, "backups")?,
    })
}

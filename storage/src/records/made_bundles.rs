//! Bundles that were made for download and lie there still: working state. That one was handed over is a record.

use chain_of_custody::ids::{CaseId, EventId, LeafIndex, UserId};
use chain_of_custody::time::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::items::timestamp;
use super::{Records, RecordsError, from_db, to_db};

/// A bundle that can be downloaded by whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeBundle {
    /// That of the hand-over.
    pub event: EventId,
    pub user: UserId,
    pub leaf_index: LeafIndex,
    pub name: String,
    pub case: Option<CaseId>,
    pub size_bytes: u64,
    pub made_at: Timestamp,
}

impl Records {
    /// Notes a bundle that was made. Making it again changes nothing.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn add_made_bundle(&self, made: &MadeBundle) -> Result<(), RecordsError> {
        sqlx::query(
            "INSERT INTO made_bundles (force, event, user_id, leaf_index, name, case_id, size_bytes, made_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (force, event) DO NOTHING",
        )
        .bind(self.force())
        .bind(made.event.to_string())
        .bind(made.user.to_string())
        .bind(to_db(made.leaf_index.0))
        .bind(&made.name)
        .bind(made.case.map(|case| case.to_string()).unwrap_or_default())
        .bind(to_db(made.size_bytes))
        .bind(made.made_at.unix_millis())
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// What somebody made, the newest first.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn made_bundles(&self, user: UserId) -> Result<Vec<MadeBundle>, RecordsError> {
        let text = "SELECT event, user_id, leaf_index, name, case_id, size_bytes, made_at_ms \
            FROM made_bundles WHERE force = $1 AND user_id = $2 ORDER BY leaf_index DESC LIMIT 500";
        let query = sqlx::query(text).bind(self.force()).bind(user.to_string());
        query.fetch_all(self.pool()).await?.iter().map(made_bundle).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn made_bundle(&self, event: EventId) -> Result<Option<MadeBundle>, RecordsError> {
        let text = "SELECT event, user_id, leaf_index, name, case_id, size_bytes, made_at_ms \
            FROM made_bundles WHERE force = $1 AND event = $2";
        let query = sqlx::query(text).bind(self.force()).bind(event.to_string());
        query.fetch_optional(self.pool()).await?.as_ref().map(made_bundle).transpose()
    }

    /// Forgets what was made at or before `until`, and says which.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn forget_made_bundles(
        &self,
        until: Timestamp,
    ) -> Result<Vec<EventId>, RecordsError> {
        let text = "SELECT event, user_id, leaf_index, name, case_id, size_bytes, made_at_ms \
            FROM made_bundles WHERE force = $1 AND made_at_ms <= $2";
        let query = sqlx::query(text).bind(self.force()).bind(until.unix_millis());
        let rows = query.fetch_all(self.pool()).await?;
        let gone: Vec<MadeBundle> = rows.iter().map(made_bundle).collect::<Result<_, _>>()?;
        let text = "DELETE FROM made_bundles WHERE force = $1 AND event = $2";
        for made in &gone {
            let query = sqlx::query(text).bind(self.force()).bind(made.event.to_string());
            query.execute(self.pool()).await?;
        }
        Ok(gone.into_iter().map(|made| made.event).collect())
    }
}

fn made_bundle(row: &AnyRow) -> Result<MadeBundle, RecordsError> {
    let corrupt = |e: chain_of_custody::ids::BadId| RecordsError::Corrupt {
        table: "made_bundles",
        reason: e.to_string(),
    };
    let (event, user, case): (&str, &str, &str) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(4)?);
    Ok(MadeBundle {
        event: event.parse().map_err(corrupt)?,
        user: user.parse().map_err(corrupt)?,
        leaf_index: LeafIndex(from_db(row.try_get(2)?, "made_bundles")?),
        name: row.try_get(3)?,
        case: (!case.is_empty()).then(|| case.parse().map_err(corrupt)).transpose()?,
        size_bytes: from_db(row.try_get(5)?, "made_bundles")?,
        made_at: timestamp(row.try_get(6)?)?,
    })
}

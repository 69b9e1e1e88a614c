//! People with an account, their one-time links and their sessions. Of tokens only SHA-256 is kept: they are 256 random
//! bits, so no slower hash is needed, and looking one up by its hash tells nothing by its time.

use chain_of_custody::digest::Sha256;
use chain_of_custody::ids::UserId;
use chain_of_custody::time::Timestamp;
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::items::timestamp;
use super::{Records, RecordsError};

pub(super) const USER_COLUMNS: &str =
    "u.user_id, u.name, u.number, u.role, u.added_at_ms, u.removed_at_ms";

/// A person with an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserRecord {
    pub user: UserId,
    pub name: String,
    /// Collar or staff number.
    pub number: String,
    /// `operator` or `investigator`.
    pub role: String,
    pub added_at: Timestamp,
    /// None while they may sign in.
    pub removed_at: Option<Timestamp>,
}

/// A one-time link that is kept, used or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRow {
    pub user: UserRecord,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
}

/// Somebody signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    pub user: UserRecord,
    pub expires_at: Timestamp,
    pub seen_at: Timestamp,
}

impl UserRecord {
    /// Whether they may sign in.
    pub fn is_active(&self) -> bool {
        self.removed_at.is_none()
    }
}

impl Records {
    /// Everybody, in the order in which they were added.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn users(&self) -> Result<Vec<UserRecord>, RecordsError> {
        let text =
            format!("SELECT {USER_COLUMNS} FROM users u WHERE u.force = $1 ORDER BY u.added_leaf");
        let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(self.force());
        query.fetch_all(self.pool()).await?.iter().map(user_record).collect()
    }

    /// One person.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn user(&self, user: UserId) -> Result<Option<UserRecord>, RecordsError> {
        self.user_where("u.user_id = $2", user.to_string()).await
    }

    /// The person of this number who may sign in.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn active_user(&self, number: &str) -> Result<Option<UserRecord>, RecordsError> {
        let condition = "u.removed_at_ms IS NULL AND u.number = $2";
        self.user_where(condition, number.to_owned()).await
    }

    async fn user_where(
        &self,
        condition: &'static str,
        value: String,
    ) -> Result<Option<UserRecord>, RecordsError> {
        let text = format!(
            "SELECT {USER_COLUMNS} FROM users u WHERE u.force = $1 AND {condition} LIMIT 1"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(self.force()).bind(value);
        query.fetch_optional(self.pool()).await?.as_ref().map(user_record).transpose()
    }

    /// Keeps a link for `user`; those they had stop working, and links that are over are forgotten.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn add_link(
        &self,
        token: &Sha256,
        user: UserId,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), RecordsError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "DELETE FROM sign_in_links WHERE force = $1 \
             AND (expires_at_ms <= $2 OR (user_id = $3 AND used_at_ms IS NULL))",
        )
        .bind(self.force())
        .bind(now.unix_millis())
        .bind(user.to_string())
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO sign_in_links (force, token_sha256, user_id, expires_at_ms, used_at_ms) \
             VALUES ($1, $2, $3, $4, NULL)",
        )
        .bind(self.force())
        .bind(token.to_string())
        .bind(user.to_string())
        .bind(expires_at.unix_millis())
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// The link whose token has this hash.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn link(&self, token: &Sha256) -> Result<Option<LinkRow>, RecordsError> {
        let text = format!(
            "SELECT {USER_COLUMNS}, l.expires_at_ms, l.used_at_ms FROM sign_in_links l \
             JOIN users u ON u.force = l.force AND u.user_id = l.user_id \
             WHERE l.force = $1 AND l.token_sha256 = $2"
        );
        let query =
            sqlx::query(sqlx::AssertSqlSafe(text)).bind(self.force()).bind(token.to_string());
        let Some(row) = query.fetch_optional(self.pool()).await? else { return Ok(None) };
        Ok(Some(LinkRow {
            user: user_record(&row)?,
            expires_at: timestamp(row.try_get(6)?)?,
            used_at: row.try_get::<Option<i64>, _>(7)?.map(timestamp).transpose()?,
        }))
    }

    /// Turns a link into a session, once: false when somebody was faster, or it is over.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn use_link(
        &self,
        link: &Sha256,
        session: &Sha256,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, RecordsError> {
        let mut transaction = self.begin().await?;
        let used = sqlx::query(
            "UPDATE sign_in_links SET used_at_ms = $3 WHERE force = $1 AND token_sha256 = $2 \
             AND used_at_ms IS NULL AND expires_at_ms > $3",
        )
        .bind(self.force())
        .bind(link.to_string())
        .bind(now.unix_millis())
        .execute(&mut *transaction)
        .await?;
        if used.rows_affected() != 1 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO sessions (force, token_sha256, user_id, expires_at_ms, seen_at_ms) \
             SELECT force, $3, user_id, $4, $5 FROM sign_in_links \
             WHERE force = $1 AND token_sha256 = $2",
        )
        .bind(self.force())
        .bind(link.to_string())
        .bind(session.to_string())
        .bind(expires_at.unix_millis())
        .bind(now.unix_millis())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The session whose token has this hash, if its user still has an account.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn session(&self, token: &Sha256) -> Result<Option<SessionRow>, RecordsError> {
        let text = format!(
            "SELECT {USER_COLUMNS}, s.expires_at_ms, s.seen_at_ms FROM sessions s \
             JOIN users u ON u.force = s.force AND u.user_id = s.user_id \
             WHERE s.force = $1 AND s.token_sha256 = $2 AND u.removed_at_ms IS NULL"
        );
        let query =
            sqlx::query(sqlx::AssertSqlSafe(text)).bind(self.force()).bind(token.to_string());
        let Some(row) = query.fetch_optional(self.pool()).await? else { return Ok(None) };
        Ok(Some(SessionRow {
            user: user_record(&row)?,
            expires_at: timestamp(row.try_get(6)?)?,
            seen_at: timestamp(row.try_get(7)?)?,
        }))
    }

    /// Notes that a session is in use.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn touch_session(&self, token: &Sha256, now: Timestamp) -> Result<(), RecordsError> {
        sqlx::query("UPDATE sessions SET seen_at_ms = $3 WHERE force = $1 AND token_sha256 = $2")
            .bind(self.force())
            .bind(token.to_string())
            .bind(now.unix_millis())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Ends a session. One that is not there has ended already.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn end_session(&self, token: &Sha256) -> Result<(), RecordsError> {
        sqlx::query("DELETE FROM sessions WHERE force = $1 AND token_sha256 = $2")
            .bind(self.force())
            .bind(token.to_string())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Ends every session and link of a person.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn end_access(&self, user: UserId) -> Result<(), RecordsError> {
        let mut transaction = self.begin().await?;
        for text in [
            "DELETE FROM sessions WHERE force = $1 AND user_id = $2",
            "DELETE FROM sign_in_links WHERE force = $1 AND user_id = $2",
        ] {
            let query = sqlx::query(text).bind(self.force()).bind(user.to_string());
            query.execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Forgets sessions that are over, or were last seen at or before `idle_since`.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn forget_sessions(
        &self,
        idle_since: Timestamp,
        now: Timestamp,
    ) -> Result<(), RecordsError> {
        sqlx::query(
            "DELETE FROM sessions WHERE force = $1 AND (expires_at_ms <= $2 OR seen_at_ms <= $3)",
        )
        .bind(self.force())
        .bind(now.unix_millis())
        .bind(idle_since.unix_millis())
        .execute(self.pool())
        .await?;
        Ok(())
    }
}

pub(super) fn user_record(row: &AnyRow) -> Result<UserRecord, RecordsError> {
    let id: &str = row.try_get(0)?;
    let corrupt = |e: chain_of_custody::ids::BadId| RecordsError::Corrupt {
        table: "users",
        reason: e.to_string(),
    };
    Ok(UserRecord {
        user: id.parse().map_err(corrupt)?,
        name: row.try_get(1)?,
        number: row.try_get(2)?,
        role: row.try_get(3)?,
        added_at: timestamp(row.try_get(4)?)?,
        removed_at: row.try_get::<Option<i64>, _>(5)?.map(timestamp).transpose()?,
    })
}

//! Device tokens: secrets, of which only SHA-256 is kept. A token is 256 random bits, so no slower hash is needed.

use chain_of_custody::digest::Sha256;
use chain_of_custody::ids::DeviceId;
use chain_of_custody::time::Timestamp;
use sqlx::Row;

use super::{Records, RecordsError};

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOwner {
    /// The door, for this device.
    Device(DeviceId),
    /// Nothing any more.
    Revoked(DeviceId),
}

impl Records {
    /// Whose token has this hash; none when nobody's has.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn token_owner(&self, token: &Sha256) -> Result<Option<TokenOwner>, RecordsError> {
        let row = sqlx::query(
            "SELECT device, revoked_at_ms FROM device_tokens WHERE force = $1 AND token_sha256 = $2",
        )
        .bind(self.force())
        .bind(token.to_string())
        .fetch_optional(self.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let device: String = row.try_get(0)?;
        let device = device.parse().map_err(|e: chain_of_custody::ids::BadId| {
            RecordsError::Corrupt { table: "device_tokens", reason: e.to_string() }
        })?;
        let revoked: Option<i64> = row.try_get(1)?;
        Ok(Some(if revoked.is_some() {
            TokenOwner::Revoked(device)
        } else {
            TokenOwner::Device(device)
        }))
    }

    /// From now on this token opens the door for `device`.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn add_token(
        &self,
        token: &Sha256,
        device: DeviceId,
        credential_id: &str,
        now: Timestamp,
    ) -> Result<(), RecordsError> {
        sqlx::query(
            "INSERT INTO device_tokens (force, token_sha256, device, credential_id, issued_at_ms, revoked_at_ms) \
             VALUES ($1, $2, $3, $4, $5, NULL)",
        )
        .bind(self.force())
        .bind(token.to_string())
        .bind(device.to_string())
        .bind(credential_id)
        .bind(now.unix_millis())
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// From now on no token of `device` opens anything, but for the one called `keep`, if any. Repeating it is harmless.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn revoke_tokens(
        &self,
        device: DeviceId,
        keep: Option<&str>,
        now: Timestamp,
    ) -> Result<(), RecordsError> {
        sqlx::query(
            "UPDATE device_tokens SET revoked_at_ms = $1 WHERE force = $2 AND device = $3 AND revoked_at_ms IS NULL \
             AND credential_id <> $4",
        )
        .bind(now.unix_millis())
        .bind(self.force())
        .bind(device.to_string())
        .bind(keep.unwrap_or_default())
        .execute(self.pool())
        .await?;
        Ok(())
    }
}

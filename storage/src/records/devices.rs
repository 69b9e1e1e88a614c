//! Questions about devices and published keys.

use chain_of_custody::ids::{DeviceId, LeafIndex};
use chain_of_custody::time::Timestamp;
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::items::timestamp;
use super::{Records, RecordsError, from_db};

const DEVICE_COLUMNS: &str =
    "device, name, credential_id, enrolled_leaf, enrolled_at_ms, revoked_at_ms";

/// A camera, dock, recorder or dock agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceRecord {
    pub device: DeviceId,
    pub name: String,
    /// Id of its credential, never the credential.
    pub credential_id: String,
    pub enrolled_leaf: LeafIndex,
    pub enrolled_at: Timestamp,
    /// None while it may send.
    pub revoked_at: Option<Timestamp>,
}

/// A key that counts from its entry on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishedKey {
    pub leaf_index: LeafIndex,
    /// `log`, `receipt`, `bundle`, `dock-agent` …
    pub role: String,
    /// C2SP verifier key.
    pub vkey: String,
    /// The device it belongs to, if it does to one.
    pub device: Option<DeviceId>,
}

impl DeviceRecord {
    /// Whether it may send.
    pub fn is_active(&self) -> bool {
        self.revoked_at.is_none()
    }
}

impl Records {
    /// All devices, in the order of their enrolment.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn devices(&self) -> Result<Vec<DeviceRecord>, RecordsError> {
        let text =
            format!("SELECT {DEVICE_COLUMNS} FROM devices WHERE force = $1 ORDER BY enrolled_leaf");
        let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(self.force());
        query.fetch_all(self.pool()).await?.iter().map(device_record).collect()
    }

    /// One device.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn device(&self, device: DeviceId) -> Result<Option<DeviceRecord>, RecordsError> {
        let text = format!("SELECT {DEVICE_COLUMNS} FROM devices WHERE force = $1 AND device = $2");
        let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(self.force());
        let row = query.bind(device.to_string()).fetch_optional(self.pool()).await?;
        row.as_ref().map(device_record).transpose()
    }

    /// All published keys, in the ledger's order; a later one of the same role and device replaces an earlier one only
    /// by a `key.rotated`.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn published_keys(&self) -> Result<Vec<PublishedKey>, RecordsError> {
        let text = "SELECT leaf_index, role, vkey, subject FROM published_keys \
            WHERE force = $1 ORDER BY leaf_index";
        let query = sqlx::query(text).bind(self.force());
        query.fetch_all(self.pool()).await?.iter().map(published_key).collect()
    }

    /// The published keys of a device.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn keys_of_device(
        &self,
        device: DeviceId,
    ) -> Result<Vec<PublishedKey>, RecordsError> {
        let text = "SELECT leaf_index, role, vkey, subject FROM published_keys \
            WHERE force = $1 AND subject = $2 ORDER BY leaf_index";
        let query = sqlx::query(text).bind(self.force()).bind(device.to_string());
        query.fetch_all(self.pool()).await?.iter().map(published_key).collect()
    }
}

fn device_record(row: &AnyRow) -> Result<DeviceRecord, RecordsError> {
    let revoked: Option<i64> = row.try_get("revoked_at_ms")?;
    Ok(DeviceRecord {
        device: device_id(row.try_get("device")?)?,
        name: row.try_get("name")?,
        credential_id: row.try_get("credential_id")?,
        enrolled_leaf: LeafIndex(from_db(row.try_get("enrolled_leaf")?, "devices")?),
        enrolled_at: timestamp(row.try_get("enrolled_at_ms")?)?,
        revoked_at: revoked.map(timestamp).transpose()?,
    })
}

fn published_key(row: &AnyRow) -> Result<PublishedKey, RecordsError> {
    let subject: &str = row.try_get("subject")?;
    Ok(PublishedKey {
        leaf_index: LeafIndex(from_db(row.try_get("leaf_index")?, "published_keys")?),
        role: row.try_get("role")?,
        vkey: row.try_get("vkey")?,
        device: (!subject.is_empty()).then(|| device_id(subject)).transpose()?,
    })
}

fn device_id(text: &str) -> Result<DeviceId, RecordsError> {
    let corrupt = |e: chain_of_custody::ids::BadId| RecordsError::Corrupt {
        table: "devices",
        reason: e.to_string(),
    };
    text.parse().map_err(corrupt)
}

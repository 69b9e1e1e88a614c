//! What is there: for the audit, the scrub, and for finding what nobody knows of.

use super::error::StoreError;
use super::name::ObjectName;
use super::store::ObjectStore;

/// A file in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub name: ObjectName,
    /// As it lies there, encrypted or not.
    pub file_bytes: u64,
}

impl ObjectStore {
    /// All files below `folder` (as in `originals`), by name. Files whose names the store does not write are left out.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn scan(&self, folder: &str) -> Result<Vec<Found>, StoreError> {
        let folder = folder.parse()?;
        self.run(move |medium| medium.scan(&folder)).await
    }
}

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

/// A version of a file; a folder has one of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundVersion {
    pub name: ObjectName,
    pub version: Option<String>,
    /// It says that the file was deleted, and the versions before it are there.
    pub is_marker: bool,
}

impl ObjectStore {
    /// The versions of all files below `folder`, of each file the newest first.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn scan_versions(&self, folder: &str) -> Result<Vec<FoundVersion>, StoreError> {
        let folder = folder.parse()?;
        self.run(move |medium| medium.scan_versions(&folder)).await
    }

    /// All files below `folder` (as in `originals`), by name. Files whose names the store does not write are left out.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn scan(&self, folder: &str) -> Result<Vec<Found>, StoreError> {
        let folder = folder.parse()?;
        self.run(move |medium| medium.scan(&folder)).await
    }
}

//! What is there: for the audit, the scrub, and for finding what nobody knows of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain_of_custody::ids::UploadId;

use super::blocking;
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
    /// When a folder cannot be read.
    pub async fn scan(&self, folder: &str) -> Result<Vec<Found>, StoreError> {
        let (shared, folder) = (Arc::clone(&self.shared), folder.parse::<ObjectName>()?);
        blocking::run(move || {
            let mut found = Vec::new();
            walk(&shared.file(folder.as_str()), folder.as_str(), &mut found)?;
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        })
        .await
    }

    /// The uploads that have a folder: under way, sealed, or left over.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn uploads(&self) -> Result<Vec<UploadId>, StoreError> {
        let uploads = self.shared.uploads();
        blocking::run(move || {
            let mut found: Vec<UploadId> =
                entries(&uploads)?.iter().filter_map(|path| name_of(path)?.parse().ok()).collect();
            found.sort_unstable();
            Ok(found)
        })
        .await
    }
}

fn walk(folder: &Path, name: &str, found: &mut Vec<Found>) -> Result<(), StoreError> {
    for path in entries(folder)? {
        let Some(name) =
            name_of(&path).and_then(|n| format!("{name}/{n}").parse::<ObjectName>().ok())
        else {
            continue;
        };
        let kind = fs::symlink_metadata(&path).map_err(|e| StoreError::io(&path, e))?;
        if kind.is_dir() {
            walk(&path, name.as_str(), found)?;
        } else if kind.is_file() {
            found.push(Found { name, file_bytes: kind.len() });
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let fail = |e| StoreError::io(folder, e);
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(fail(error)),
        Ok(entries) => entries.map(|entry| entry.map(|e| e.path()).map_err(fail)).collect(),
    }
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

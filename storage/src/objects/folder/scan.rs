//! What is there: for the audit, the scrub, and for finding what nobody knows of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chain_of_custody::ids::UploadId;

use super::FolderStore;
use crate::objects::error::StoreError;
use crate::objects::name::ObjectName;
use crate::objects::scan::Found;

/// All files below `folder`, by name.
pub(crate) fn below(store: &FolderStore, folder: &ObjectName) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    walk(&store.file(folder.as_str()), folder.as_str(), &mut found)?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The uploads that have a folder.
pub(crate) fn uploads(store: &FolderStore) -> Result<Vec<UploadId>, StoreError> {
    let entries = entries(&store.uploads_folder())?;
    let mut found: Vec<UploadId> =
        entries.iter().filter_map(|path| name_of(path)?.parse().ok()).collect();
    found.sort_unstable();
    Ok(found)
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

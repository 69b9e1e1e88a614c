//! The operating system's lock on a data folder. It goes when its holder dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::protocol::Failure;

const LOCK_NAME: &str = "exhibit.lock";

/// Proof that this process owns the data folder.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Takes the lock, creating the folder if it is not there; `None` when another process holds it.
    pub(crate) fn take(data: &Path) -> Result<Option<Self>, Failure> {
        create_private_folder(data)?;
        let path = data.join(LOCK_NAME);
        let cannot = |e: std::io::Error| {
            Failure::new("data-folder", format!("{}: {e}", path.display()))
                .advice("check that you may write to the data folder")
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(cannot(e)),
        }
    }
}

impl DataLock {
    /// Whether a process holds the lock of `data`, without making or keeping anything.
    pub(crate) fn is_held(data: &Path) -> bool {
        let file = File::open(data.join(LOCK_NAME));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

fn create_private_folder(data: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|e| Failure::new("data-folder", format!("{}: {e}", data.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_a_dead_holder_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataLock::take(folder.path()).unwrap();
        assert!(held.is_some());
        assert!(DataLock::take(folder.path()).unwrap().is_none());
        drop(held);
        assert!(DataLock::take(folder.path()).unwrap().is_some());
    }
}

//! Backups: a folder that holds what the ledger names, made step by step, and the way back.
//!
//! What lives here: taking a backup (`take`), looking whether one holds (`check`), restoring one (`restore`), and its manifest.
//! What does not: the force's key and the signing keys (never in a backup), when it is done, the log key's use.
//!
//! A backup is an object store of its own, with the names and the encryption of the first (docs/formats/backup.md). Objects
//! are immutable and the ledger names all of them, so a backup follows the ledger, and each can be checked from within.
//!
//! The one invariant to keep: the manifest is replaced last, in one step, over files that are durable and were compared.
//! Whatever goes wrong before leaves the backup before as it was.

mod check;
mod folder;
mod restore;
mod take;

use std::path::PathBuf;

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::ids::TreeSize;
use serde::{Deserialize, Serialize};

use crate::ledger::LedgerError;
use crate::objects::{StoreError, StoredObject};
use crate::records::RecordsError;
use crate::scrub::Finding;

pub use check::{Checked, check};
pub use folder::{BackupFolder, MANIFEST};
pub use restore::{Restored, refuse_occupied, restore};
pub use take::{Source, Taken, take};

/// Objects copied or read at once.
const AT_ONCE: usize = 4;

/// Where steps are told: what is done, how much of it, of how much.
pub type Progress<'a> = &'a mut (dyn FnMut(&str, u64, u64) + Send);

/// What a backup says of itself: encrypted and authenticated under the force's key, so nobody else can write one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub version: ManifestVersion,
    /// The ledger's name.
    pub origin: String,
    /// The log's verifier key when it was made.
    pub log_key: String,
    /// Of the program that made it.
    pub program: String,
    pub made_at_ms: i64,
    /// The newest signed checkpoint in `records`, a signed note: the same is published in the backup.
    pub checkpoint: String,
    /// Entries in `records`; those beyond the checkpoint were on their way.
    pub entries: u64,
    /// The database.
    pub records: StoredObject,
    /// `exhibit.toml` as it was, or empty.
    pub settings: String,
    /// What could not be copied because it is damaged where it was copied from.
    pub faults: Vec<Finding>,
}

/// The one version of [`Manifest`] there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManifestVersion {
    #[serde(rename = "exhibit/backup/v1")]
    V1,
}

impl Manifest {
    /// Its checkpoint.
    ///
    /// # Errors
    /// When it is not one: not a manifest of ours.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint, BackupError> {
        let unreadable = |e: chain_of_custody::malformed::Malformed| BackupError::Altered {
            what: format!("its manifest has no checkpoint: {e}"),
        };
        SignedCheckpoint::parse(self.checkpoint.as_bytes()).map_err(unreadable)
    }
}

/// Why a backup was not taken, checked or restored, by what a person can do about it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{} is not there: is its disk mounted? A folder for backups is made by hand, once", .path.display())]
    Gone { path: PathBuf },
    #[error(
        "{} is empty, but {entries} entries were backed up there before: is its disk mounted? If the backup is meant to begin anew, say so with --anew",
        .path.display()
    )]
    Emptied { path: PathBuf, entries: TreeSize },
    #[error("{} holds other files and no backup: name an empty folder", .path.display())]
    Occupied { path: PathBuf },
    #[error("{} holds no finished backup", .path.display())]
    Nothing { path: PathBuf },
    #[error("another backup or restore is using {}", .path.display())]
    InUse { path: PathBuf },
    #[error("{} is a backup of another ledger ({found}); this one is {ours}", .path.display())]
    OtherLedger { path: PathBuf, found: String, ours: String },
    #[error(
        "{} was made under another force's key, or its manifest was altered: it does not open with this key",
        .path.display()
    )]
    OtherKey { path: PathBuf },
    #[error("the backup was altered or damaged: {what}")]
    Altered { what: String },
    #[error(
        "the backup holds {backup} entries and this ledger {ledger}: an older copy of the ledger is running; do not go on before it is known why"
    )]
    Ahead { backup: TreeSize, ledger: TreeSize },
    #[error(
        "what the backup holds is not the beginning of this ledger: one of the two has another history"
    )]
    OtherHistory,
    #[error("the disk of {} is full", .path.display())]
    Full { path: PathBuf },
    #[error("{} is not empty: restore into a new folder, with nothing but its keys", .path.display())]
    NotEmpty { path: PathBuf },
    #[error(
        "the records are in PostgreSQL: back them up with its own tools; only the embedded database is copied here"
    )]
    OtherDatabase,
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Store(StoreError),
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl BackupError {
    fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }

    /// A full disk keeps its folder's name.
    fn named(self, folder: &std::path::Path) -> Self {
        match self {
            Self::Store(StoreError::Full) | Self::Ledger(LedgerError::Store(StoreError::Full)) => {
                Self::Full { path: folder.to_owned() }
            }
            other => other,
        }
    }
}

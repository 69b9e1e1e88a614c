//! A store moved to another place: what the ledger names is counted, brought over, and counted again there.
//!
//! What lives here: the move ([`move_store`]), its inventories ([`Inventory`]), and what is told of each object
//! ([`Line`], docs/formats/move-report.md). What does not: which place it is, and whether a server runs.
//!
//! The one invariant to keep: whatever did not arrive is named by its item, and the numbers add up: what is named was copied,
//! was there before, is missing or is damaged. Nothing at the source is changed.

mod inventory;
mod run;

use chain_of_custody::checkpoint::Origin;
use chain_of_custody::digest::Sha256;
use chain_of_custody::ids::{ItemId, TreeSize};
use chain_of_custody::note::VerifierKey;
use serde::{Deserialize, Serialize};

use crate::ledger::LedgerError;
use crate::objects::{Crc64, ObjectStore, StoreError};
use crate::records::{Records, RecordsError};
use crate::scrub::{FaultCode, Finding};

pub use inventory::Inventory;
pub use run::move_store;

/// What is moved, and where to.
#[derive(Debug)]
pub struct Move<'a> {
    pub records: &'a Records,
    pub from: &'a ObjectStore,
    pub to: &'a ObjectStore,
    pub origin: Origin,
    pub log_key: VerifierKey,
    /// What lies at the destination afterwards is read, not only looked at.
    pub read_again: bool,
}

/// Where lines are told, in their order. An error of it ends the move.
pub type Tell<'a> = &'a mut (dyn FnMut(&Line) -> std::io::Result<()> + Send);

/// The version of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportVersion {
    #[serde(rename = "exhibit/move-report/v1")]
    V1,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum Line {
    /// The first: what the ledger names at the source.
    Before {
        version: ReportVersion,
        origin: String,
        entries: TreeSize,
        inventory: Inventory,
    },
    Object(ObjectLine),
    /// A file of the ledger at the source that is missing or damaged. The ledger stays where it is then.
    Ledger(Finding),
    /// An object that arrived and is not there, or not as it was written, when it was looked at again.
    Differs(Finding),
    /// A file at the source that no entry names. It is not moved.
    Surplus {
        name: String,
    },
    /// The last. Without it a move did not come to its end.
    Summary(Summary),
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLine {
    /// The entry that names it.
    pub leaf_index: u64,
    pub item: ItemId,
    /// Of a derivative: the digest of its recipe.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recipe_id: Option<String>,
    /// Its name in the store.
    pub object: String,
    /// As received.
    pub size_bytes: u64,
    /// Of the bytes as received, as the entry has it.
    pub sha256: Option<Sha256>,
    pub parts: Vec<PartLine>,
    pub outcome: Outcome,
    /// Of what is missing or damaged: why, what was seen, and the cases that the item is linked to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<FaultCode>,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub message: String,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub cases: Vec<String>,
}

/// One encrypted file of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartLine {
    pub file: String,
    pub file_bytes: u64,
    /// Of the file, as recorded.
    pub crc64nvme: Crc64,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Copied,
    /// An earlier run had brought it.
    ThereBefore,
    /// A file of it, or its key, is not at the source.
    Missing,
    /// It is at the source, and not as it was written.
    Damaged,
}

impl Outcome {
    fn of(code: FaultCode) -> Self {
        match code {
            FaultCode::Missing | FaultCode::KeyMissing => Self::Missing,
            _ => Self::Damaged,
        }
    }
}

/// The numbers of a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub version: ReportVersion,
    /// Everything that the ledger names is at the destination as it was written, the ledger too, and nothing is newer.
    pub complete: bool,
    pub entries: TreeSize,
    /// Objects that the ledger names; the next four add up to it.
    pub named: u64,
    pub copied: u64,
    pub there_before: u64,
    pub missing: u64,
    pub damaged: u64,
    /// Bytes of files written at the destination, keys and outboards included.
    pub copied_bytes: u64,
    /// The ledger's files are at the destination, its checkpoint published.
    pub ledger_moved: bool,
    /// Time stamps and the like that lie beside the ledger.
    pub ledger_kept_files: u64,
    /// Files of the ledger at the source that are missing or damaged.
    pub ledger_faults: u64,
    pub surplus: u64,
    /// Objects that were looked at again and are not as they should be.
    pub differing: u64,
    /// Every byte at the destination was read, not only looked at.
    pub read_again: bool,
    /// Entries that somebody made at the source meanwhile.
    pub newer_entries: u64,
    pub before: Inventory,
    /// What was found at the destination of what arrived.
    pub after: Inventory,
}

/// Why a store was not moved, by what a person can do about it.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("{entries} entries are in the database and {published} are published in the store")]
    Unpublished { entries: TreeSize, published: TreeSize },
    #[error(
        "the ledger at the destination has {there} entries and this one {ours}: somebody goes on there already"
    )]
    Ahead { there: TreeSize, ours: TreeSize },
    #[error("the ledger at the destination has another history than this one")]
    OtherHistory,
    /// Reading or writing failed in a way that says nothing about what is stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ledger(LedgerError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error("the report cannot be written: {0}")]
    Report(#[from] std::io::Error),
}

impl From<LedgerError> for MoveError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Store(error) => Self::Store(error),
            other => Self::Ledger(other),
        }
    }
}

//! The scrub: everything that the ledger says is held, looked for and read again in the object store.
//!
//! What lives here: walking the ledger as the store alone has it ([`Walk`]), and the exact list of what is missing or
//! damaged ([`Finding`]). What does not: events and alarms about it, repairs.
//!
//! The one invariant to keep (I18): the list follows from hash tiles, entries, evidential openings and object store alone.
//! No database is asked.

mod orphans;
mod pace;
mod walk;

use chain_of_custody::digest::Sha256;
use chain_of_custody::ids::{ItemId, LeafIndex};
use serde::{Deserialize, Serialize};

use crate::objects::{StoreError, StoredObject};

pub use orphans::{absent, orphans};
pub use pace::Pace;
pub use walk::Walk;
pub(crate) use walk::held_by;

/// An object that an entry names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The entry that names it.
    pub leaf_index: LeafIndex,
    pub item: ItemId,
    /// Of a derivative: the digest of its recipe. None for an original.
    pub recipe_id: Option<String>,
    /// Of the bytes as received or made.
    pub sha256: Option<Sha256>,
    pub object: StoredObject,
}

/// Something that the ledger names and the store does not hold as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub code: FaultCode,
    /// The entry concerned, if one is.
    pub leaf_index: Option<u64>,
    /// The item whose object it is, if it is one's.
    pub item: Option<ItemId>,
    /// Of a derivative: the digest of its recipe.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recipe_id: Option<String>,
    /// The object's name, or the file of the ledger.
    pub name: String,
    pub message: String,
}

/// Reason codes of `storage.fault` (docs/formats/entries.md), and those of the ledger's own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultCode {
    /// A file of the object is not there.
    Missing,
    /// Other bytes than were written.
    Damaged,
    /// The object's wrapped key is not there.
    KeyMissing,
    /// The wrapped key does not open with the force's key.
    KeyUnusable,
    /// The device fails to give the bytes.
    Unreadable,
    /// A file of the ledger is missing, damaged or not what the checkpoint covers.
    Ledger,
}

impl FaultCode {
    /// The code as entries and answers write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::KeyMissing => "key-missing",
            Self::KeyUnusable => "key-unusable",
            Self::Unreadable => "unreadable",
            Self::Ledger => "ledger",
        }
    }

    /// What an error of reading says about what is stored; none when the object may be whole.
    pub fn of(error: &StoreError) -> Option<Self> {
        match error {
            StoreError::NotFound { .. } => Some(Self::Missing),
            StoreError::KeyGone { .. } => Some(Self::KeyMissing),
            StoreError::WrongKey { .. } => Some(Self::KeyUnusable),
            StoreError::Damaged { .. } | StoreError::DigestMismatch => Some(Self::Damaged),
            StoreError::Device { .. } | StoreError::ReadBack { .. } => Some(Self::Unreadable),
            StoreError::AlreadyExists { .. }
            | StoreError::Full
            | StoreError::Away { .. }
            | StoreError::BadName { .. }
            | StoreError::Range { .. }
            | StoreError::TooManyParts { .. }
            | StoreError::Stopped => None,
        }
    }
}

impl Finding {
    /// What `error`, met while reading what `held` names, says; none when the object may be whole.
    pub fn about(held: &Held, error: &StoreError) -> Option<Self> {
        Some(Self {
            code: FaultCode::of(error)?,
            leaf_index: Some(held.leaf_index.0),
            item: Some(held.item),
            recipe_id: held.recipe_id.clone(),
            name: held.object.name.to_string(),
            message: error.to_string(),
        })
    }

    pub(crate) fn of_ledger(leaf_index: Option<LeafIndex>, name: String, message: String) -> Self {
        let leaf_index = leaf_index.map(|index| index.0);
        Self { code: FaultCode::Ledger, leaf_index, item: None, recipe_id: None, name, message }
    }
}

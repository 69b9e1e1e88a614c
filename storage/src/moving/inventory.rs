//! What a ledger names, in numbers that two stores can be compared by.

use std::fmt;

use chain_of_custody::digest::Sha256;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::PartLine;
use crate::objects::StoredObject;
use crate::scrub::Held;

/// Objects counted in the ledger's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    pub objects: u64,
    pub originals: u64,
    pub derivatives: u64,
    /// As received.
    pub bytes: u64,
    /// Of encrypted files, outboards apart.
    pub file_bytes: u64,
    /// Files, each with a key of its own.
    pub files: u64,
    /// Of those, the ones that were not there when they were looked at.
    pub absent: u64,
    /// SHA-256 over a line of JSON for each object that was there: entry, item, and the object with its parts.
    pub digest: Sha256,
}

/// An inventory that is being taken.
#[derive(Default)]
pub(super) struct Counting {
    objects: u64,
    originals: u64,
    bytes: u64,
    file_bytes: u64,
    files: u64,
    absent: u64,
    hasher: sha2::Sha256,
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counting").field("objects", &self.objects).finish_non_exhaustive()
    }
}

impl Counting {
    /// The next object, and whether it is there.
    pub(super) fn add(&mut self, held: &Held, is_there: bool) {
        if !is_there {
            self.absent += 1;
            return;
        }
        self.objects += 1;
        self.originals += u64::from(held.recipe_id.is_none());
        self.bytes += held.object.size_bytes;
        let parts = parts(&held.object);
        self.files += parts.len() as u64;
        self.file_bytes += parts.iter().map(|part| part.file_bytes).sum::<u64>();
        let line = (held.leaf_index.0, held.item, held.object.name.as_str(), parts);
        let line = serde_json::to_vec(&line).expect("a line is plain data");
        self.hasher.update(line);
        self.hasher.update(b"\n");
    }

    pub(super) fn done(self) -> Inventory {
        let Self { objects, originals, bytes, file_bytes, files, absent, hasher } = self;
        let digest = Sha256(hasher.finalize().into());
        let derivatives = objects - originals;
        Inventory { objects, originals, derivatives, bytes, file_bytes, files, absent, digest }
    }
}

/// The encrypted files of an object, without the versions that a bucket gives them.
pub(super) fn parts(object: &StoredObject) -> Vec<PartLine> {
    let line = |part: &crate::objects::StoredPart| PartLine {
        file: part.file.to_string(),
        file_bytes: part.layout().ciphertext_bytes(),
        crc64nvme: part.crc64nvme,
    };
    object.parts.iter().map(line).collect()
}

//! One ledger of one size has one root. Every checkpoint in a bundle is held against the others: two that the log's key
//! signed may each hold by themselves, and only side by side show that the log told two stories.

use std::collections::BTreeMap;

use crate::checkpoint::{Checkpoint, Origin};
use crate::ids::TreeSize;
use crate::merkle::Hash;
use crate::report::{Class, Code, Notes};

/// The roots seen so far. Unverified: a contradiction needs no key to be one.
#[derive(Debug, Default)]
pub(super) struct Roots(BTreeMap<(Origin, TreeSize), Hash>);

impl Roots {
    /// Remembers a checkpoint, or reports that it contradicts one seen before.
    pub(super) fn hold(&mut self, checkpoint: &Checkpoint, path: &str, notes: &mut Notes) {
        let Checkpoint { origin, size, root } = checkpoint;
        let known = self.0.entry((origin.clone(), *size)).or_insert(*root);
        if known != root {
            let message = format!(
                "{path} rests on a checkpoint of {origin} with {size} entries that contradicts another of that size in \
                 this bundle."
            );
            notes.note(Code::RootsDiffer, Class::Record, path, message);
        }
    }
}

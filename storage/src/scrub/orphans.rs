//! A look at names: files that no entry names, and objects whose files are not there.

use std::collections::{HashMap, HashSet};

use chain_of_custody::ids::TreeSize;

use super::{Finding, held_by};
use crate::ledger::LedgerError;
use crate::objects::{FoundVersion, ObjectStore, StoredObject};
use crate::records::Records;

/// Entries read at once.
const PAGE: u64 = 4096;

/// What lies below `originals` and `derivatives` and belongs to no object of the records: files, and in a bucket also
/// versions that somebody put over an object's and markers that somebody's delete has left. An upload that is being
/// finished at this moment may be among them.
///
/// # Errors
/// [`LedgerError`].
pub async fn orphans(store: &ObjectStore, records: &Records) -> Result<Vec<String>, LedgerError> {
    // Files first: what becomes an object in between is named by then.
    let mut found = store.scan_versions("originals").await?;
    found.extend(store.scan_versions("derivatives").await?);
    let mut known = Known::default();
    let (mut at, size) = (0, records.size().await?.0);
    while at < size {
        let next = (at + PAGE).min(size);
        for held in held_by(records.entries(TreeSize(at), TreeSize(next)).await?) {
            known.add(&held.object);
        }
        at = next;
    }
    known.settle(&found);
    // The earliest of each first: where no version is recorded, it is the one that was written.
    let mut surplus: Vec<String> = found.iter().rev().filter_map(|f| known.surplus(f)).collect();
    surplus.reverse();
    Ok(surplus)
}

/// Files of objects, each with its recorded version if it has one, until it is met.
#[derive(Default)]
struct Known(HashMap<String, Expected>);

enum Expected {
    Version(String),
    /// None is recorded: the first that is met.
    First,
    Met,
}

impl Known {
    fn add(&mut self, object: &StoredObject) {
        let outboard = object.name.outboard().map(|name| name.to_string());
        self.0.extend(outboard.into_iter().map(|name| (name, Expected::First)));
        self.0.extend(object.parts.iter().map(|part| {
            let version = part.version.clone().map_or(Expected::First, Expected::Version);
            (part.file.to_string(), version)
        }));
    }

    /// Of an object that was moved here from another place the recorded version is not there: the earliest is its.
    fn settle(&mut self, found: &[FoundVersion]) {
        let there: HashSet<_> =
            found.iter().filter_map(|f| Some((f.name.as_str(), f.version.as_deref()?))).collect();
        for (name, expected) in &mut self.0 {
            if let Expected::Version(recorded) = expected
                && !there.contains(&(name.as_str(), recorded.as_str()))
            {
                *expected = Expected::First;
            }
        }
    }

    /// What is said of a file that is not an object's.
    fn surplus(&mut self, found: &FoundVersion) -> Option<String> {
        let FoundVersion { name, version, is_marker } = found;
        let Some(expected) = self.0.get_mut(name.as_str()) else { return Some(name.to_string()) };
        let version = version.as_deref().unwrap_or("-");
        if *is_marker {
            return Some(format!("{name}: a delete marker, version {version}"));
        }
        let ours = match expected {
            Expected::Version(recorded) => recorded == version,
            Expected::First => {
                *expected = Expected::Met;
                true
            }
            Expected::Met => false,
        };
        (!ours).then(|| format!("{name}: another version, {version}"))
    }
}

/// What the records name and the store does not have with the right lengths: a look at names, not a reading.
///
/// # Errors
/// [`LedgerError`].
pub async fn absent(store: &ObjectStore, records: &Records) -> Result<Vec<Finding>, LedgerError> {
    let (mut at, size) = (0, records.size().await?.0);
    let mut findings = Vec::new();
    while at < size {
        let next = (at + PAGE).min(size);
        let held = held_by(records.entries(TreeSize(at), TreeSize(next)).await?);
        let objects = held.iter().map(|held| held.object.clone()).collect();
        let looked = store.glance_at_all(objects).await?;
        findings.extend(held.iter().zip(looked).filter_map(|(held, looked)| {
            let error = looked.err()?;
            Finding::about(held, &error)
        }));
        at = next;
    }
    Ok(findings)
}

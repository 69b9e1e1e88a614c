//! A look at names: files that no entry names, and objects whose files are not there.

use std::collections::HashSet;

use chain_of_custody::ids::TreeSize;

use super::{Finding, held_by};
use crate::ledger::LedgerError;
use crate::objects::ObjectStore;
use crate::records::Records;

/// Entries read at once.
const PAGE: u64 = 4096;

/// The names of files below `originals` and `derivatives` that belong to no object of the records. An upload that is
/// being finished at this moment may be among them.
///
/// # Errors
/// [`LedgerError`].
pub async fn orphans(store: &ObjectStore, records: &Records) -> Result<Vec<String>, LedgerError> {
    // Files first: what becomes an object in between is named by then.
    let mut found = store.scan("originals").await?;
    found.extend(store.scan("derivatives").await?);
    let mut known = HashSet::new();
    let (mut at, size) = (0, records.size().await?.0);
    while at < size {
        let next = (at + PAGE).min(size);
        for held in held_by(records.entries(TreeSize(at), TreeSize(next)).await?) {
            known.extend(held.object.name.outboard().map(|name| name.to_string()));
            known.extend(held.object.parts.iter().map(|part| part.file.to_string()));
        }
        at = next;
    }
    let names = found.into_iter().map(|found| found.name.to_string());
    Ok(names.filter(|name| !known.contains(name)).collect())
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

//! Locks of the store follow the ledger: an original that is linked to a case is locked for longer, and a hold on it is a legal
//! hold on every version that makes it up.
//!
//! What does not live here: who may link or hold, and the first lock, which an original gets when it is completed. Every act
//! may be repeated: a lock never becomes shorter, and a hold is on or off. So each server follows for itself.
//!
//! The one invariant to keep: the ledger is followed in order, and an entry is passed over only when the store has done what
//! follows from it.

use std::time::Duration;

use chain_of_custody::event::EventKind;
use chain_of_custody::ids::{ItemId, LeafIndex};

use crate::ledger::{Followed, Ledger, LedgerError};
use crate::objects::{ObjectStore, Protection, StoreError, StoredObject};
use crate::records::RecordsError;

/// The follower's name in the records.
const FOLLOWER: &str = "locks";
/// Before an entry is tried again whose lock could not be set.
const PAUSE: Duration = Duration::from_secs(5);
/// How many entries without any meaning here are passed over before the place is remembered.
const REMEMBER_EVERY: u64 = 256;

/// Why an entry's lock could not be set.
#[derive(Debug, thiserror::Error)]
enum LockError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// Follows until the ledger is closed. `linked_s` is for how long, in seconds from then on, an original is locked that is
/// linked to a case.
pub async fn follow(ledger: Ledger, objects: ObjectStore, linked_s: i64) {
    let from = loop {
        match ledger.records().follower_position(FOLLOWER).await {
            Ok(from) => break from,
            Err(error) => tracing::error!("the place of locks cannot be read: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    let mut follower = ledger.follow(from);
    loop {
        match follower.next().await {
            Ok(entry) => protect(&ledger, &objects, &entry, linked_s).await,
            Err(LedgerError::Closed) => return,
            Err(error) => {
                tracing::error!(next = follower.position().0, "the ledger cannot be read: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Does what follows from an entry, however long the store takes.
async fn protect(ledger: &Ledger, objects: &ObjectStore, entry: &Followed, linked_s: i64) {
    while let Err(error) = try_to_protect(ledger, objects, entry, linked_s).await {
        tracing::error!(entry = entry.index.0, "a lock could not be set: {error}");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn try_to_protect(
    ledger: &Ledger,
    objects: &ObjectStore,
    entry: &Followed,
    linked_s: i64,
) -> Result<(), LockError> {
    let protection = match entry.entry.kind {
        EventKind::ItemLinked => {
            Some(Protection::Until(jiff::Timestamp::now().as_second() + linked_s))
        }
        EventKind::HoldSet => Some(Protection::Held(true)),
        EventKind::HoldReleased => Some(Protection::Held(false)),
        _ => None,
    };
    if let Some(protection) = protection {
        for item in entry.entry.subjects.iter().filter_map(|subject| subject.id.item()) {
            protect_item(ledger, objects, item, protection).await?;
        }
    }
    if protection.is_some() || entry.index.0.is_multiple_of(REMEMBER_EVERY) {
        let next = LeafIndex(entry.index.0 + 1);
        ledger.records().take_note(FOLLOWER, next, &[]).await?;
    }
    Ok(())
}

async fn protect_item(
    ledger: &Ledger,
    objects: &ObjectStore,
    item: ItemId,
    protection: Protection,
) -> Result<(), LockError> {
    let Some(record) = ledger.records().item(item).await? else { return Ok(()) };
    let Ok(object) = serde_json::from_str::<StoredObject>(&record.object) else { return Ok(()) };
    match objects.protect(&object, protection).await {
        // What is not there cannot be locked; the scrub says that it is not there.
        Err(StoreError::NotFound { path }) => {
            tracing::warn!(%item, path = %path.display(), "is missing and was not locked");
            Ok(())
        }
        done => Ok(done?),
    }
}

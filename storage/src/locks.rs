//! Locks of the store follow the ledger: an original that is linked to a case is locked for longer, one that is to be kept until
//! a day is locked until then, and a hold on it or on a case of it is a legal hold on every version that makes it up.
//!
//! What does not live here: who may link, hold or review, and the first lock, which an original gets when it is completed. Every
//! act may be repeated: a lock never becomes shorter, and whether an item is held is asked anew each time. So each server
//! follows for itself.
//!
//! The one invariant to keep: the ledger is followed in order, and an entry is passed over only when the store has done what
//! follows from it.

use std::time::Duration;

use chain_of_custody::event::EventKind;
use chain_of_custody::ids::{ItemId, LeafIndex, SubjectId};
use chain_of_custody::time::Timestamp;

use crate::ledger::{Followed, Ledger, LedgerError};
use crate::objects::{ObjectStore, Protection, StoreError, StoredObject};
use crate::records::{Records, RecordsError};

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
    let store = Locks { records: ledger.records(), objects };
    let subjects = || entry.entry.subjects.iter().map(|subject| &subject.id);
    let means_something = match entry.entry.kind {
        EventKind::ItemLinked => {
            for item in subjects().filter_map(SubjectId::item) {
                store.lengthen(item, linked_s).await?;
                store.follow_holds(item).await?;
            }
            true
        }
        EventKind::ItemUnlinked => {
            for item in subjects().filter_map(SubjectId::item) {
                store.follow_holds(item).await?;
            }
            true
        }
        EventKind::RetentionReviewed => {
            for item in subjects().filter_map(SubjectId::item) {
                store.keep(item).await?;
            }
            true
        }
        EventKind::HoldSet | EventKind::HoldReleased => {
            for subject in subjects() {
                for item in store.records.items_held_by(subject).await? {
                    store.follow_holds(item).await?;
                }
            }
            true
        }
        _ => false,
    };
    if means_something || entry.index.0.is_multiple_of(REMEMBER_EVERY) {
        let next = LeafIndex(entry.index.0 + 1);
        ledger.records().take_note(FOLLOWER, next, &[]).await?;
    }
    Ok(())
}

struct Locks<'a> {
    records: &'a Records,
    objects: &'a ObjectStore,
}

impl Locks<'_> {
    /// From now on for so many seconds, and never beyond what a review has decided.
    async fn lengthen(&self, item: ItemId, linked_s: i64) -> Result<(), LockError> {
        let linked = now_s() + linked_s;
        let decided = self.records.keep_until(item).await?.map(Timestamp::unix_seconds);
        self.lock(item, decided.map_or(linked, |until| until.min(linked))).await
    }

    /// As a review has decided.
    async fn keep(&self, item: ItemId) -> Result<(), LockError> {
        match self.records.keep_until(item).await? {
            Some(until) => self.lock(item, until.unix_seconds()).await,
            None => Ok(()),
        }
    }

    /// Nothing can be locked until a moment that is past.
    async fn lock(&self, item: ItemId, until_s: i64) -> Result<(), LockError> {
        match until_s > now_s() {
            true => self.protect(item, Protection::Until(until_s)).await,
            false => Ok(()),
        }
    }

    /// Whether it is held now, whatever it was when the entry was made; and again, until nothing has changed meanwhile: of two
    /// servers that follow, none leaves behind what it saw before the other.
    async fn follow_holds(&self, item: ItemId) -> Result<(), LockError> {
        let mut held = self.is_held(item).await?;
        loop {
            self.protect(item, Protection::Held(held)).await?;
            let now = self.is_held(item).await?;
            if now == held {
                return Ok(());
            }
            held = now;
        }
    }

    async fn is_held(&self, item: ItemId) -> Result<bool, RecordsError> {
        Ok(!self.records.holds_on(item).await?.is_empty())
    }

    async fn protect(&self, item: ItemId, protection: Protection) -> Result<(), LockError> {
        let Some(record) = self.records.item(item).await? else { return Ok(()) };
        let Ok(object) = serde_json::from_str::<StoredObject>(&record.object) else {
            return Ok(());
        };
        match self.objects.protect(&object, protection).await {
            // What is not there cannot be locked; the scrub says that it is not there.
            Err(StoreError::NotFound { path }) => {
                tracing::warn!(%item, path = %path.display(), "is missing and was not locked");
                Ok(())
            }
            done => Ok(done?),
        }
    }
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

//! One request at a time per upload: a new one ends a stale one, whose client is usually long gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chain_of_custody::ids::UploadId;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// Who works on which upload. Uploads nobody works on take no room here.
#[derive(Debug, Default)]
pub(super) struct Turns {
    uploads: Mutex<HashMap<UploadId, Arc<Turn>>>,
}

#[derive(Debug, Default)]
struct Turn {
    busy: Arc<tokio::sync::Mutex<()>>,
    /// Of whoever came last; cancelled when the next one comes.
    latest: Mutex<CancellationToken>,
}

/// The right to work on one upload, until dropped.
#[derive(Debug)]
pub(super) struct Held {
    turns: Arc<Turns>,
    upload: UploadId,
    /// Cancelled when somebody else wants the turn: stop taking bytes, make durable what came, and let go.
    pub(super) wanted: CancellationToken,
    turn: Option<(Arc<Turn>, OwnedMutexGuard<()>)>,
}

impl Turns {
    /// Asks whoever works on `upload` to let go, and waits until they have.
    pub(super) async fn take(self: &Arc<Self>, upload: UploadId) -> Held {
        let wanted = CancellationToken::new();
        let turn = {
            let mut uploads = lock(&self.uploads);
            let turn = Arc::clone(uploads.entry(upload).or_default());
            std::mem::replace(&mut *lock(&turn.latest), wanted.clone()).cancel();
            turn
        };
        // Made before waiting, so that a waiter who gives up cleans up as well.
        let mut held = Held { turns: Arc::clone(self), upload, wanted, turn: None };
        let guard = Arc::clone(&turn.busy).lock_owned().await;
        held.turn = Some((turn, guard));
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut uploads = lock(&self.turns.uploads);
        drop(self.turn.take());
        // The map's own reference is the last one: nobody works on it and nobody waits.
        if uploads.get(&self.upload).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            uploads.remove(&self.upload);
        }
    }
}

/// What these locks guard is replaced whole, so a panic elsewhere leaves nothing half-done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload() -> UploadId {
        "0193a7c2-0000-7000-8000-000000000001".parse().unwrap()
    }

    #[tokio::test]
    async fn a_new_request_ends_a_stale_one_and_waits_for_it() {
        let turns = Arc::new(Turns::default());
        let first = turns.take(upload()).await;
        let second = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take(upload()).await }
        });
        first.wanted.cancelled().await;
        assert!(!second.is_finished(), "both had the turn");
        drop(first);
        let second = second.await.unwrap();
        assert!(!second.wanted.is_cancelled());
        drop(second);
        assert!(lock(&turns.uploads).is_empty(), "a place was kept for nobody");
    }

    #[tokio::test]
    async fn of_two_who_wait_the_earlier_is_told_at_once() {
        let turns = Arc::new(Turns::default());
        let first = turns.take(upload()).await;
        let wait = || {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { turns.take(upload()).await.wanted.is_cancelled() })
        };
        let second = wait();
        tokio::task::yield_now().await;
        let third = wait();
        tokio::task::yield_now().await;
        drop(first);
        assert!(second.await.unwrap(), "the earlier waiter was not told");
        assert!(!third.await.unwrap());
    }

    #[tokio::test]
    async fn a_waiter_that_gives_up_leaves_nothing_behind() {
        let turns = Arc::new(Turns::default());
        let first = turns.take(upload()).await;
        let waiting = turns.take(upload());
        let gave_up = tokio::time::timeout(std::time::Duration::from_millis(10), waiting).await;
        assert!(gave_up.is_err());
        drop(first);
        assert!(lock(&turns.uploads).is_empty());
    }
}

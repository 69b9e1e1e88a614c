//! Where bytes are hashed: away from the threads that move them, and on no more threads than there are cores.
//!
//! Every transfer has at most one batch here, and transfers are limited: so are those that wait. A thread that has
//! nothing to hash sleeps: one that looks around for work would take a tenth of the time that hashing takes.

use std::sync::Arc;
use std::thread::available_parallelism;

use bytes::Bytes;
use chain_of_custody::digest::{ContentHasher, GroupCv};
use tokio::sync::Semaphore;

use super::ReceiveError;

/// Room for as many hashing jobs as there are cores.
#[derive(Debug, Clone)]
pub(super) struct HashPool(Arc<Semaphore>);

impl HashPool {
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        Self(Arc::new(Semaphore::new(cores)))
    }

    /// Takes a batch into the hasher; gives it back with the chaining values of the groups that are complete now.
    pub(super) async fn update(
        &self,
        mut hasher: ContentHasher,
        frames: Vec<Bytes>,
    ) -> Result<(ContentHasher, Vec<GroupCv>), ReceiveError> {
        self.run(move || {
            let groups = frames.iter().flat_map(|frame| hasher.update(frame)).collect();
            (hasher, groups)
        })
        .await
    }

    /// Runs `job` when a core is free for it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ReceiveError> {
        let core = Arc::clone(&self.0).acquire_owned().await.expect("it is never closed");
        let job = move || {
            let result = job();
            drop(core);
            result
        };
        let done = tokio::task::spawn_blocking(job).await;
        done.map_err(|_| ReceiveError::Internal("a hashing job panicked".to_owned()))
    }
}

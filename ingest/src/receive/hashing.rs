//! The bounded pool where bytes are hashed, away from the threads that move them.
//!
//! Every transfer has at most one batch here, and transfers are limited: so is the queue.

use std::sync::Arc;

use bytes::Bytes;
use chain_of_custody::digest::{ContentHasher, GroupCv};

use super::ReceiveError;

/// Threads that do nothing but hash.
#[derive(Debug, Clone)]
pub(super) struct HashPool(Arc<rayon::ThreadPool>);

impl HashPool {
    /// One thread per core.
    pub(super) fn new() -> Result<Self, ReceiveError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("hash-{i}"))
            .panic_handler(|_| tracing::error!("a hashing job panicked"))
            .build()
            .map_err(|e| ReceiveError::Internal(format!("hash pool: {e}")))?;
        Ok(Self(Arc::new(pool)))
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

    /// Runs `job` on the pool.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ReceiveError> {
        let (done, result) = tokio::sync::oneshot::channel();
        self.0.spawn_fifo(move || {
            // Nobody waits any more: the transfer failed elsewhere.
            let _ = done.send(job());
        });
        result.await.map_err(|_| ReceiveError::Internal("a hashing job panicked".to_owned()))
    }
}

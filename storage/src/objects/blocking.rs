//! Blocking work beside the runtime.

use tokio::task::{JoinError, JoinHandle};

use super::error::StoreError;

/// Runs `work` on the runtime's threads for blocking work.
pub(crate) async fn run<T, F>(work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
{
    join(&mut tokio::task::spawn_blocking(work)).await
}

/// The result of such work. A panic in it goes on here; a runtime that is going down stops the writer.
pub(crate) async fn join<T>(work: &mut JoinHandle<Result<T, StoreError>>) -> Result<T, StoreError> {
    match work.await.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_cancelled)) => Err(StoreError::Stopped),
    }
}

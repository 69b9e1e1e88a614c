//! How fast a scrub reads: a store that others pay for by the byte, or share, is read slowly.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::time::{Instant, sleep_until};

use crate::objects::{ObjectStore, StoreError, StoredObject};

/// At most so many bytes a second, over all that is read with it.
#[derive(Debug)]
pub struct Pace {
    bytes_per_s: Option<u64>,
    /// When the next byte may be read.
    next: Instant,
}

impl Pace {
    /// None: as fast as it goes.
    pub fn new(bytes_per_s: Option<u64>) -> Self {
        Self { bytes_per_s, next: Instant::now() }
    }

    /// Every byte of `object`, as [`ObjectStore::read_through`], no faster than this.
    ///
    /// # Errors
    /// The same.
    pub async fn read_through(
        &mut self,
        store: &ObjectStore,
        object: &StoredObject,
    ) -> Result<(), StoreError> {
        let opened = store.open_object(object).await?;
        let mut pieces = Box::pin(opened.stream(0..opened.size_bytes())?);
        while let Some(piece) = pieces.try_next().await? {
            self.wait(piece.len() as u64).await;
        }
        Ok(())
    }

    /// So many bytes were read: waits for as long as they may take. Time that was not used is not saved up.
    async fn wait(&mut self, bytes: u64) {
        let Some(bytes_per_s) = self.bytes_per_s else { return };
        let took = Duration::from_secs_f64(bytes as f64 / bytes_per_s as f64);
        self.next = self.next.max(Instant::now()) + took;
        sleep_until(self.next).await;
    }
}

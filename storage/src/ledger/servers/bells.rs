//! What other servers ring for, as this one hears it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::records::{Ear, Records, Ring};

/// Between two attempts at listening.
const PAUSE: Duration = Duration::from_millis(100);

/// One bell for each who waits. A ring is kept until it is heard, so that none is lost between two looks.
#[derive(Debug, Default)]
pub(super) struct Bells {
    /// Commands wait in the table.
    pub(super) asked: Notify,
    /// Commands have outcomes, or more is published.
    pub(super) answered: Notify,
    /// Nobody writes.
    pub(super) freed: Notify,
}

impl Bells {
    /// Rings them from now on, in `tasks`.
    pub(super) fn hang(records: &Records, tasks: &mut JoinSet<()>) -> Arc<Self> {
        let bells = Arc::new(Self::default());
        tasks.spawn(Arc::clone(&bells).ring(records.clone()));
        bells
    }

    async fn ring(self: Arc<Self>, records: Records) {
        loop {
            match records.listen().await {
                Ok(ear) => self.ring_what_is_heard(ear).await,
                Err(error) => tracing::warn!("not listening to other servers: {error}"),
            }
            sleep(PAUSE).await;
        }
    }

    /// Until the connection fails.
    async fn ring_what_is_heard(&self, mut ear: Ear) {
        self.ring_all();
        loop {
            match ear.hear().await {
                Ok(Some(Ring::Asked)) => self.asked.notify_one(),
                Ok(Some(Ring::Decided | Ring::Published)) => self.answered.notify_one(),
                Ok(Some(Ring::Freed)) => self.freed.notify_one(),
                Ok(None) => self.ring_all(),
                Err(error) => return tracing::warn!("not listening to other servers: {error}"),
            }
        }
    }

    fn ring_all(&self) {
        for bell in [&self.asked, &self.answered, &self.freed] {
            bell.notify_one();
        }
    }
}

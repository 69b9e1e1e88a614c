//! While this server writes: what waits in the table of commands, handed to the task like what is asked here.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::bells::Bells;
use super::{Lease, closes};
use crate::ledger::task::{Hurry, Reply, Request};
use crate::records::{CommandRow, Records, RecordsError, WaitingCommand};

/// How often it looks though nothing rang.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Outcomes older than this are of servers that are gone; how often those are removed.
const GONE_AFTER_MS: i64 = 60_000;
const SWEEP_EVERY: Duration = Duration::from_secs(20);

/// Feeds one task until it takes no more.
pub(super) struct Feed {
    pub(super) records: Records,
    pub(super) bells: Arc<Bells>,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) lease: Arc<Lease>,
    pub(super) closing: watch::Receiver<bool>,
}

impl Feed {
    pub(super) async fn run(mut self) {
        let mut taken = HashSet::new();
        let mut swept = None::<Instant>;
        while !*self.closing.borrow() {
            match self.look(&taken).await {
                Ok(Some(under_way)) => taken = under_way,
                Ok(None) => return,
                Err(error) => tracing::warn!("commands of other servers are not seen: {error}"),
            }
            if swept.is_none_or(|swept| swept.elapsed() > SWEEP_EVERY) {
                swept = Some(Instant::now());
                if let Err(error) = self.records.sweep_commands(GONE_AFTER_MS).await {
                    tracing::warn!("outcomes that nobody fetches stay: {error}");
                }
            }
            tokio::select! {
                // A ring or the time: either way it looks.
                _ = timeout(LOOK_EVERY, self.bells.asked.notified()) => {}
                () = closes(&mut self.closing) => {}
                reason = self.lease.lost() => {
                    // The task may have ended already.
                    let _ = self.requests.send(Request::GiveWay { reason }).await;
                    return;
                }
            }
        }
        let (done, _) = oneshot::channel();
        // The task may have ended already.
        let _ = self.requests.send(Request::Close { done }).await;
    }

    /// Hands over what waits and was not taken before; says what is under way, or nothing when the task takes no more.
    async fn look(
        &self,
        taken: &HashSet<CommandRow>,
    ) -> Result<Option<HashSet<CommandRow>>, RecordsError> {
        let mut there = HashSet::new();
        for WaitingCommand { row, hurry, command } in self.records.waiting_commands().await? {
            there.insert(row.clone());
            if taken.contains(&row) {
                continue;
            }
            let command = match command {
                Ok(command) => Box::new(command),
                Err(error) => {
                    let reason = format!("the server that writes cannot read it: {error}");
                    self.records.give_up_commands(&[row], &reason).await?;
                    continue;
                }
            };
            let hurry = if hurry { Hurry::Now } else { Hurry::CanWait };
            let request = Request::Submit { command, reply: Reply::Row(row), hurry };
            if self.requests.send(request).await.is_err() {
                return Ok(None);
            }
        }
        Ok(Some(there))
    }
}

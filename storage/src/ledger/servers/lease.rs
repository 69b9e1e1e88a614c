//! Holding on to the lease while this server writes, and noticing at once when it does not hold it any more.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chain_of_custody::sequencer::Epoch;
use sqlx::Any;
use sqlx::pool::PoolConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::ANSWERS_WITHIN;
use crate::records::{LEASE, Records, RecordsError};

/// How long after it was renewed last it is renewed again. What is committed renews it too.
const RENEWED_EVERY: Duration = Duration::from_millis(150);
/// After a renewal that failed.
const PAUSE: Duration = Duration::from_millis(25);

const OVER: &str = "the lease on the ledger ran out before it could be renewed";
const TAKEN: &str = "another process has taken the ledger over";

/// The lease, as long as [`Lease::keep`] is under way.
#[derive(Debug)]
pub(in crate::ledger) struct Lease {
    records: Records,
    epoch: Epoch,
    /// By this machine's counting of seconds, when the database was asked for it last with success: it began no earlier.
    since: Mutex<Instant>,
    /// Why it is lost, once it is.
    lost: watch::Sender<Option<String>>,
}

impl Lease {
    /// Of an epoch that was taken after `since`.
    pub(super) fn new(records: Records, epoch: Epoch, since: Instant) -> Arc<Self> {
        let (since, lost) = (Mutex::new(since), watch::Sender::new(None));
        Arc::new(Self { records, epoch, since, lost })
    }

    /// Does `work`, which is what the lease is for, and renews it beside that, in the same task: when the work is stuck, so is
    /// the lease. Work that goes on when it is lost hears of it by itself.
    pub(super) async fn keep<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = self.renew() => {}
        }
        work.await
    }

    /// Why nothing may be published any more, if so.
    pub(in crate::ledger) fn is_over(&self) -> Option<String> {
        let lost = self.lost.borrow().clone();
        let ran_out = || (self.since().elapsed() >= LEASE).then(|| OVER.to_owned());
        lost.or_else(ran_out)
    }

    /// Waits until it is lost, and says why.
    pub(super) async fn lost(&self) -> String {
        let mut lost = self.lost.subscribe();
        let lost = lost.wait_for(Option::is_some).await;
        lost.ok().and_then(|lost| lost.clone()).unwrap_or_else(|| OVER.to_owned())
    }

    /// Lets another server write at once.
    pub(super) async fn give_up(&self) -> Result<(), RecordsError> {
        self.records.give_up_lease(self.epoch).await
    }
}

/// Sees a step of the database through, unless the lease is lost first or it takes too long: then nobody knows what became of it. Without a lease
/// there is nothing to lose.
pub(in crate::ledger) async fn held_through<T, E>(
    lease: Option<&Lease>,
    step: impl Future<Output = Result<T, E>>,
) -> Result<Result<T, E>, String> {
    let Some(lease) = lease else { return Ok(step.await) };
    let begun = Instant::now();
    tokio::select! {
        biased;
        done = step => {
            if done.is_ok() {
                lease.renewed(begun);
            }
            Ok(done)
        }
        lost = lease.lost() => Err(lost),
        () = sleep(ANSWERS_WITHIN) => Err("the database does not answer".to_owned()),
    }
}

impl Lease {
    fn since(&self) -> Instant {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renewed(&self, since: Instant) {
        let mut held = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        *held = since.max(*held);
    }

    /// Renews it until it is lost.
    async fn renew(&self) {
        let mut line = None;
        let reason = loop {
            let since = self.since();
            sleep_until(since + RENEWED_EVERY).await;
            if self.since() > since {
                continue;
            }
            let (begun, over) = (Instant::now(), since + LEASE);
            match timeout_at(over, self.renew_once(&mut line)).await {
                Ok(Ok(true)) => self.renewed(begun),
                Ok(Ok(false)) => break TAKEN.to_owned(),
                Ok(Err(error)) if Instant::now() >= over => break format!("{OVER}: {error}"),
                Ok(Err(_)) => {
                    line = None;
                    sleep(PAUSE).await;
                }
                // Or it waited for a commit of ours, which has renewed it.
                Err(_) if self.since() > since => {}
                Err(_) => break OVER.to_owned(),
            }
        };
        self.lost.send_replace(Some(reason));
    }

    /// On a connection that is kept for it: it never waits behind what others ask of the database.
    async fn renew_once(
        &self,
        line: &mut Option<PoolConnection<Any>>,
    ) -> Result<bool, RecordsError> {
        let connection = match line {
            Some(connection) => connection,
            None => line.insert(self.records.pool().acquire().await?),
        };
        self.records.renew_lease(connection, self.epoch).await
    }
}

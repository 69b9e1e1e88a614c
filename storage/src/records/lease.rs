//! The lease on writing the ledger, among several servers on one PostgreSQL. One server on SQLite needs none.
//!
//! Times are those of the database's clock: servers' clocks may differ as they like. A lease only says who begins; what
//! fences is the epoch, which every durable step names.

use std::time::Duration;

use chain_of_custody::sequencer::Epoch;
use sqlx::{AnyConnection, Row as _};

use super::batch::LedgerState;
use super::bell::Ring;
use super::migrate::NEWEST;
use super::{Dialect, Records, RecordsError, from_db, sql, to_db};

macro_rules! lease_ms {
    () => {
        600
    };
}

/// How long a lease lasts from when it was taken, renewed, or written under.
pub const LEASE: Duration = Duration::from_millis(lease_ms!());

/// Milliseconds since 1970 by the database's clock.
macro_rules! now_ms {
    () => {
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
    };
}
pub(super) use now_ms;

macro_rules! lease_end {
    () => {
        concat!(now_ms!(), " + ", lease_ms!())
    };
}

/// Whoever is stopped in the middle of a transaction loses it, and with it the lock on the row, when the lease is over.
macro_rules! loses_its_locks {
    () => {
        concat!(
            "set_config('idle_in_transaction_session_timeout', '",
            lease_ms!(),
            "', true) IS NOT NULL"
        )
    };
}

/// What is lost with a crash of the database is the lease, which would have run out anyway: no sync for it.
macro_rules! without_sync {
    () => {
        "set_config('synchronous_commit', 'off', true) IS NOT NULL"
    };
}
pub(super) use without_sync;

/// As the guard on SQLite, and renews the lease.
pub(super) const GUARD: &str = concat!(
    "UPDATE sequencer SET size = size, leased_until_ms = ",
    lease_end!(),
    " WHERE force = $1 AND epoch = $2 AND size = $3 AND writes_from <= $4 AND ",
    loses_its_locks!()
);
const LOOK: &str = concat!(
    "SELECT leased_until_ms, leased_until_ms - ",
    now_ms!(),
    ", writes_from FROM sequencer WHERE force = $1 AND ",
    loses_its_locks!()
);
const HOLDER: &str =
    concat!("SELECT holder FROM sequencer WHERE force = $1 AND leased_until_ms > ", now_ms!());
const TAKE: &str = concat!(
    "INSERT INTO sequencer (force, epoch, holder, size, published_size, writes_from, leased_until_ms) VALUES ($1, 1, $2, 0, 0, $3, ",
    lease_end!(),
    ") ON CONFLICT (force) DO UPDATE SET epoch = sequencer.epoch + 1, holder = excluded.holder, \
        leased_until_ms = excluded.leased_until_ms \
        WHERE sequencer.writes_from <= $3 AND sequencer.leased_until_ms <= ",
    now_ms!()
);
/// From now on no program writes that knows less than this one.
const CLAIM_TO_WRITE: &str =
    "UPDATE sequencer SET writes_from = $2 WHERE force = $1 AND writes_from < $2";
const RENEW: &str = concat!(
    "UPDATE sequencer SET leased_until_ms = ",
    lease_end!(),
    " WHERE force = $1 AND epoch = $2 AND writes_from <= $3 AND ",
    without_sync!()
);
const GIVE_UP: &str = "UPDATE sequencer SET leased_until_ms = 0 WHERE force = $1 AND epoch = $2";

/// Somebody else holds the lease, or may hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Until when, by the database's clock: later each time it is renewed.
    pub(crate) until_ms: i64,
    /// How long that is from now.
    pub(crate) left: Duration,
    /// The migration that a program has to know which writes, when this one does not know it.
    pub(crate) by_newer: Option<i64>,
}

impl Records {
    /// Takes the ledger over if nobody holds it: raises the epoch, which fences every earlier holder, and tells where the
    /// ledger stands. Else says how long somebody else holds it.
    pub(crate) async fn take_lease(
        &self,
        holder: &str,
    ) -> Result<Result<LedgerState, Held>, RecordsError> {
        let mut transaction = self.begin().await?;
        let look = sqlx::query(LOOK).bind(self.force());
        if let Some(row) = look.fetch_optional(&mut *transaction).await? {
            let (until_ms, left_ms): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            let by_newer = Some(row.try_get(2)?).filter(|writes_from| *writes_from > NEWEST);
            if left_ms > 0 || by_newer.is_some() {
                // One that nobody of theirs holds is looked at again as if it had just been renewed.
                let left_ms = if left_ms > 0 { left_ms } else { lease_ms!() };
                let left = Duration::from_millis(from_db(left_ms, "sequencer")?);
                return Ok(Err(Held { until_ms, left, by_newer }));
            }
        }
        let values = vec![self.force().into(), holder.into(), NEWEST.into()];
        if sql::execute(&mut transaction, TAKE, values).await? == 0 {
            // Somebody was faster, and its lease is as new as can be.
            return Ok(Err(Held { until_ms: i64::MIN, left: LEASE, by_newer: None }));
        }
        let state = self.state(&mut transaction).await?;
        transaction.commit().await?;
        Ok(Ok(state))
    }

    /// Has programs that know less than this one write no more: a server of theirs that does gives way at its next step. What this
    /// one is asked may be something whose rows they cannot make.
    pub(crate) async fn claim_to_write(&self) -> Result<(), RecordsError> {
        let mut connection = self.pool().acquire().await?;
        let values = vec![self.force().into(), NEWEST.into()];
        sql::execute(&mut connection, CLAIM_TO_WRITE, values).await?;
        Ok(())
    }

    /// Who holds the lease now; none where nobody does, and on SQLite, which has none. Changes nothing.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn lease_holder(&self) -> Result<Option<String>, RecordsError> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(None);
        }
        let row = sqlx::query(HOLDER).bind(self.force()).fetch_optional(self.pool()).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Holds on to the lease. False when the epoch is over: somebody else has taken the ledger, or a newer program is going to.
    pub(crate) async fn renew_lease(
        &self,
        connection: &mut AnyConnection,
        epoch: Epoch,
    ) -> Result<bool, RecordsError> {
        let values = vec![self.force().into(), to_db(epoch.0).into(), NEWEST.into()];
        Ok(sql::execute(connection, RENEW, values).await? == 1)
    }

    /// Lets go of the lease, and tells those who would write.
    pub(crate) async fn give_up_lease(&self, epoch: Epoch) -> Result<(), RecordsError> {
        let mut connection = self.pool().acquire().await?;
        let values = vec![self.force().into(), to_db(epoch.0).into()];
        sql::execute(&mut connection, GIVE_UP, values).await?;
        self.ring(&mut connection, Ring::Freed).await
    }
}

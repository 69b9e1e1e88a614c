//! How servers on one PostgreSQL wake each other: NOTIFY and LISTEN. A ring may be missed; whoever waits for one also looks
//! by itself now and then.

use sqlx::AnyConnection;
use sqlx::postgres::PgListener;

use super::{Records, RecordsError};

const CHANNEL: &str = "exhibit_ledger";
const RING: &str = "SELECT CAST(1 AS BIGINT) FROM pg_notify('exhibit_ledger', $1)";

/// What there is to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ring {
    /// Commands wait in the table.
    Asked,
    /// Commands in the table have outcomes.
    Decided,
    /// The published checkpoint is another one.
    Published,
    /// Nobody holds the lease.
    Freed,
}

impl Ring {
    const ALL: [Self; 4] = [Self::Asked, Self::Decided, Self::Published, Self::Freed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Decided => "decided",
            Self::Published => "published",
            Self::Freed => "freed",
        }
    }
}

/// Listens for one ledger's rings. Dropped, it hears nothing any more.
#[derive(Debug)]
pub(crate) struct Ear {
    listener: PgListener,
    force: String,
}

impl Records {
    /// Tells every server of this ledger; within a transaction, once it is committed.
    pub(crate) async fn ring(
        &self,
        connection: &mut AnyConnection,
        ring: Ring,
    ) -> Result<(), RecordsError> {
        let text = format!("{} {}", ring.as_str(), self.force());
        sqlx::query(RING).bind(text).fetch_optional(connection).await?;
        Ok(())
    }

    /// The same, by itself.
    pub(crate) async fn ring_now(&self, ring: Ring) -> Result<(), RecordsError> {
        let mut connection = self.pool().acquire().await?;
        self.ring(&mut connection, ring).await
    }

    /// Begins to listen, on a connection of its own. Only on PostgreSQL.
    pub(crate) async fn listen(&self) -> Result<Ear, RecordsError> {
        let pool = self.listening.as_ref().ok_or(sqlx::Error::PoolClosed)?;
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Ear { listener, force: self.force().to_owned() })
    }
}

impl Ear {
    /// What rang; nothing when the connection was lost and made again: any ring may have been missed.
    pub(crate) async fn hear(&mut self) -> Result<Option<Ring>, RecordsError> {
        loop {
            let Some(heard) = self.listener.try_recv().await? else { return Ok(None) };
            let rang = heard.payload().split_once(' ').filter(|(_, force)| *force == self.force);
            let ring =
                rang.and_then(|(word, _)| Ring::ALL.into_iter().find(|r| r.as_str() == word));
            if ring.is_some() {
                return Ok(ring);
            }
        }
    }
}

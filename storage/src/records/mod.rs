//! The records: what the database knows, on SQLite or PostgreSQL with one text of SQL.
//!
//! What lives here: opening a database, its schema, the transaction that writes a batch of entries, the projection of
//! events onto rows (`apply`), and the questions others ask. What does not: deciding commands (the sequencer in
//! `chain-of-custody`), files, keys.
//!
//! The one invariant to keep: rows of kind *records* change only by [`apply`], in the transaction of the entry that
//! says so, from that entry and its openings alone. So a rebuild from the object store equals them row by row (I12).

mod apply;
mod batch;
mod bell;
mod cases;
mod commands;
mod devices;
mod holds;
mod items;
mod jobs;
mod keeping;
mod lease;
mod made_bundles;
mod migrate;
mod people;
mod rebuild;
mod recovered;
mod snapshot;
mod sql;
mod tokens;
mod uploads;

use std::path::Path;
use std::time::Duration;

use chain_of_custody::ids::LeafIndex;
use sqlx::any::AnyPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Any, AnyConnection, AnyPool, Connection as _, PgPool, Transaction};

pub(crate) use batch::{CommitError, LedgerState};
pub(crate) use bell::{Ear, Ring};
pub use cases::{CaseItem, CaseRecord, Counts, MAX_CASES};
pub(crate) use commands::{CommandRow, Outcome as CommandOutcome, WaitingCommand};
pub use devices::{DeviceRecord, PublishedKey};
pub use holds::HoldRecord;
pub use items::{
    DerivativeView, DuplicateOf, EventRecord, EventView, FailureView, Handling, ItemRecord,
    ItemView, MAX_SEARCH_LIMIT, MadeOf, Search,
};
pub use jobs::{Asked, JOB_CLAIM, JobAttempt, JobRow, Making, NewJob, RangeRow};
pub use keeping::{BackupRow, DeviceSeen, ScrubRow, Standing};
pub(crate) use lease::Held;
pub use lease::LEASE;
pub use made_bundles::MadeBundle;
use migrate::Allowed;
pub use people::{LinkRow, SessionRow, UserRecord};
pub use rebuild::{StoredEntry, Table};
pub use recovered::{RotationEntry, WITNESSED_SIZE};
pub use tokens::TokenOwner;
pub use uploads::{
    ByteAccount, Moved, NewUpload, Outcome, UploadEnding, UploadRow, UploadShape, UploadState,
};

/// Connections to SQLite: one writes at a time, the others read beside it (WAL).
const SQLITE_CONNECTIONS: u32 = 8;
/// Connections to PostgreSQL from one server.
const POSTGRES_CONNECTIONS: u32 = 16;
/// How long a question waits for a connection or a lock before it is an error.
const WAIT: Duration = Duration::from_secs(10);
/// What every SQLite connection begins with. FULL: a commit is on the device before it returns.
const SQLITE_PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384; \
    PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF";

/// What every PostgreSQL connection begins with, whatever is set for the role, the database or the server: a commit is on
/// the device before it returns. And a statement is planned each time: a plan that was made while a ledger was small reads all of
/// a table that has grown since, until the table is analysed.
const POSTGRES_SETTINGS: &str =
    "SET synchronous_commit = on; SET plan_cache_mode = force_custom_plan";

/// What went wrong with the records, by what a caller can do.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The database refused or is away. Nothing was changed by this call.
    #[error("the database cannot be used now: {}", said(.0))]
    Database(#[from] sqlx::Error),
    /// Use the newer program.
    #[error("the database was made by a newer version (schema {found}; this one knows {known})")]
    NewerSchema { found: i64, known: i64 },
    /// Of servers with different versions, those with the newest write.
    #[error(
        "the ledger is written by a newer version (schema {found}), and none of its servers runs: start one, or bring this one to that version"
    )]
    NewerWrites { found: i64 },
    /// A row that our own code cannot have written.
    #[error("a row of {table} is not readable: {reason}")]
    Corrupt { table: &'static str, reason: String },
    /// Rebuild into an empty one.
    #[error("the database is not empty; rebuild into a new one")]
    NotEmpty,
    /// Several servers may be at work on it, so that it is changed on purpose only.
    #[error("the database was made by an older version; run: exhibit migrate (it adds {})", .missing.join(", "))]
    OlderSchema { missing: Vec<&'static str> },
}

/// A pool that waited for a connection does not say what for.
fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::PoolTimedOut => format!(
            "no connection within {} s: it is away, it has none free (max_connections), or all of ours are busy",
            WAIT.as_secs()
        ),
        error => error.to_string(),
    }
}

/// Which database it is: the one place where they differ is said where this is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// A database with our schema, for one force. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Records {
    pool: AnyPool,
    /// For listening to other servers; on PostgreSQL only.
    listening: Option<PgPool>,
    force: String,
    dialect: Dialect,
}

impl Records {
    /// Opens, or makes, the SQLite file at `path`.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn sqlite(path: &Path, force: &str) -> Result<Self, RecordsError> {
        Self::connect(&sqlite_url(path, "rwc"), force).await
    }

    /// Opens the database at `url`: `sqlite://PATH?mode=rwc` or `postgres://…`.
    ///
    /// `force` is the origin of its ledger, and stands in every row.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn connect(url: &str, force: &str) -> Result<Self, RecordsError> {
        Ok(Self::open(url, force, Allowed::Making).await?.0)
    }

    /// The same, bringing the schema of a PostgreSQL to this version; gives the names of what was applied. SQLite's follows
    /// at every start.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn migrate(
        url: &str,
        force: &str,
    ) -> Result<(Self, Vec<&'static str>), RecordsError> {
        Self::open(url, force, Allowed::Everything).await
    }

    async fn open(
        url: &str,
        force: &str,
        allowed: Allowed,
    ) -> Result<(Self, Vec<&'static str>), RecordsError> {
        sqlx::any::install_default_drivers();
        let dialect = if url.starts_with("sqlite:") { Dialect::Sqlite } else { Dialect::Postgres };
        let connections = match dialect {
            Dialect::Sqlite => SQLITE_CONNECTIONS,
            Dialect::Postgres => POSTGRES_CONNECTIONS,
        };
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(WAIT)
            .after_release(|connection, _| Box::pin(is_at_rest(connection)))
            .after_connect(move |connection, _| Box::pin(prepare(connection, dialect)))
            .connect(url)
            .await;
        let pool = match pool {
            Err(sqlx::Error::PoolTimedOut) => return Err(why_not(url).await.into()),
            pool => pool?,
        };
        let listening = match dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some(PgPoolOptions::new().max_connections(1).connect_lazy(url)?),
        };
        let mut connection = pool.acquire().await?;
        let applied = migrate::migrate(&mut connection, dialect, allowed).await?;
        drop(connection);
        Ok((Self { pool, listening, force: force.to_owned(), dialect }, applied))
    }

    /// The origin of the ledger, as it stands in every row.
    pub fn force(&self) -> &str {
        &self.force
    }

    /// For tables of kind *working state* and *secrets*, which other rooms keep. Rows of kind *records* are never
    /// written through it.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins a transaction, in a task of its own, which nobody who asks for it can give up half-way: sqlx forgets a `BEGIN` whose
    /// future is dropped before PostgreSQL has answered (its issue 4393), and whoever has the connection next writes into a transaction
    /// that nobody commits.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        let pool = self.pool.clone();
        #[expect(clippy::disallowed_methods, reason = "this is where it is allowed")]
        let begun = tokio::spawn(async move { pool.begin().await }).await;
        // The runtime ends, and the pool with it.
        begun.unwrap_or(Err(sqlx::Error::PoolClosed))
    }

    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The migrations this version knows, by number and name.
    pub fn known_migrations() -> Vec<(i64, &'static str)> {
        migrate::known()
    }

    /// Whether the database answers now.
    ///
    /// # Errors
    /// [`RecordsError::Database`].
    pub async fn ping(&self) -> Result<(), RecordsError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Ends all connections; on SQLite this also folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.pool.close().await;
        if let Some(listening) = &self.listening {
            listening.close().await;
        }
    }
}

/// The pool goes on trying while a server is full or starting, and then says only that it waited: this is what it was told.
async fn why_not(url: &str) -> sqlx::Error {
    AnyConnection::connect(url).await.err().unwrap_or(sqlx::Error::PoolTimedOut)
}

/// Whether a connection may be used again. After a COMMIT that failed, sqlx believes that a transaction is open where
/// SQLite has ended it; from then on its "rollback" of the next one would only go back to a savepoint, and keep the lock
/// on the database while the connection is idle.
async fn is_at_rest(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // A rollback may be on its way.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

async fn prepare(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), sqlx::Error> {
    let text = match dialect {
        Dialect::Sqlite => SQLITE_PRAGMAS,
        Dialect::Postgres => POSTGRES_SETTINGS,
    };
    sqlx::raw_sql(text).execute(connection).await?;
    Ok(())
}

fn sqlite_url(path: &Path, mode: &str) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_encoded_bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"/-._~".contains(byte);
        if plain { url.push(char::from(*byte)) } else { url += &format!("%{byte:02X}") }
    }
    format!("{url}?mode={mode}")
}

/// Sizes, indexes and counts fit: nothing reaches 2⁶³.
pub(crate) fn to_db(value: u64) -> i64 {
    i64::try_from(value).expect("no index, size or count of ours reaches 2^63")
}

/// A position as somebody sent it: one that no ledger reaches stands behind all of them.
pub(crate) fn position_to_db(index: LeafIndex) -> i64 {
    i64::try_from(index.0).unwrap_or(i64::MAX)
}

/// The reverse of [`to_db`], for a column that holds no negative value.
pub(crate) fn from_db(value: i64, table: &'static str) -> Result<u64, RecordsError> {
    let reason = || format!("a negative number ({value})");
    u64::try_from(value).map_err(|_| RecordsError::Corrupt { table, reason: reason() })
}

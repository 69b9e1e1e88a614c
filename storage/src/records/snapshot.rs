//! The database copied in one moment, and read without writing: for backups, checks and a look from outside.

use std::path::Path;

use chain_of_custody::checkpoint::SignedCheckpoint;
use sqlx::Row;
use sqlx::any::AnyPoolOptions;

use super::{Dialect, Records, RecordsError, Table, WAIT, sqlite_url};

impl Records {
    /// Writes the whole database, as it is at this moment, to a new file. SQLite only; others go on reading and writing.
    ///
    /// # Errors
    /// [`RecordsError::Database`], also when the file is there already.
    pub async fn snapshot_to(&self, path: &Path) -> Result<(), RecordsError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        // SQLite takes an empty file for a new one; its mode stays.
        let made = options.write(true).create_new(true).mode(0o600).open(path);
        made.map_err(|e| RecordsError::Database(sqlx::Error::Io(e)))?;
        let path = path.to_string_lossy().into_owned();
        sqlx::query("VACUUM INTO $1").bind(path).execute(self.pool()).await?;
        Ok(())
    }

    /// Opens the SQLite file at `path` for reading; its schema is taken as it is.
    ///
    /// # Errors
    /// [`RecordsError::Database`].
    pub async fn read_only(path: &Path, force: &str) -> Result<Self, RecordsError> {
        Self::as_it_is(&sqlite_url(path, "ro"), force).await
    }

    /// Opens the database at `url` without bringing its schema to this version.
    ///
    /// # Errors
    /// [`RecordsError::Database`].
    pub async fn as_it_is(url: &str, force: &str) -> Result<Self, RecordsError> {
        sqlx::any::install_default_drivers();
        let dialect = if url.starts_with("sqlite:") { Dialect::Sqlite } else { Dialect::Postgres };
        let pool = AnyPoolOptions::new().max_connections(1).acquire_timeout(WAIT).connect(url);
        Ok(Self { pool: pool.await?, listening: None, force: force.to_owned(), dialect })
    }

    /// The newest checkpoint that was signed, whether it is published or not.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn newest_checkpoint(&self) -> Result<Option<SignedCheckpoint>, RecordsError> {
        let text = "SELECT note FROM checkpoints WHERE force = $1 ORDER BY size DESC LIMIT 1";
        let row = sqlx::query(text).bind(self.force()).fetch_optional(self.pool()).await?;
        let Some(row) = row else { return Ok(None) };
        let note: String = row.try_get(0)?;
        let corrupt = |e: chain_of_custody::malformed::Malformed| RecordsError::Corrupt {
            table: "checkpoints",
            reason: e.to_string(),
        };
        SignedCheckpoint::parse(note.as_bytes()).map(Some).map_err(corrupt)
    }

    /// Which migrations the database has, by number.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn migrations(&self) -> Result<Vec<i64>, RecordsError> {
        let rows = sqlx::query("SELECT number FROM schema_history ORDER BY number");
        let rows = rows.fetch_all(self.pool()).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// The columns of a table, as SQL names them; empty where it is not there. SQLite only.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn columns(&self, table: Table) -> Result<String, RecordsError> {
        let text = "SELECT name FROM pragma_table_info($1) ORDER BY cid";
        let rows = sqlx::query(text).bind(table.name).fetch_all(self.pool()).await?;
        let names: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        Ok(names.join(", "))
    }

    /// What SQLite says is wrong with the file; empty when nothing is.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn file_faults(&self) -> Result<Vec<String>, RecordsError> {
        let rows = sqlx::query("PRAGMA quick_check(20)").fetch_all(self.pool()).await?;
        let lines: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }
}

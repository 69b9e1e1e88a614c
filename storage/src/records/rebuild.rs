//! Making the records again from entries and openings alone (I12), and comparing two databases row by row.

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::digest::Sha256;
use chain_of_custody::entry::{Entry, Opening};
use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::sequencer::PlacedEntry;
use futures_util::TryStreamExt as _;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::{Dialect, Records, RecordsError, from_db, sql, to_db};

/// Entries per transaction of a rebuild.
const REBUILD_BATCH: usize = 1_000;
const SIZE: &str = "SELECT size FROM sequencer WHERE force = $1";

/// An entry as it lies in the store: its bytes, and its openings as far as they are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    pub index: LeafIndex,
    pub bytes: Vec<u8>,
    pub evidential: Vec<Opening>,
    pub personal: Vec<Opening>,
}

impl StoredEntry {
    /// Reads the entry's bytes. Openings come evidential first; their order within a class is kept.
    ///
    /// # Errors
    /// [`RecordsError::Corrupt`] for bytes that are not an entry.
    pub fn parse(self) -> Result<PlacedEntry, RecordsError> {
        let corrupt = |e: chain_of_custody::entry::BadEntry| RecordsError::Corrupt {
            table: "entries",
            reason: format!("entry {}: {e}", self.index),
        };
        let entry = Entry::parse(&self.bytes).map_err(corrupt)?;
        let mut openings = self.evidential;
        openings.extend(self.personal);
        Ok(PlacedEntry { index: self.index, entry, bytes: self.bytes, openings })
    }
}

/// A table of kind *records*: its name and the order that makes two dumps comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    order: &'static str,
}

impl Table {
    /// Every table of kind *records*.
    pub const RECORDS: &'static [Self] = &[
        Self { name: "entries", order: "leaf_index" },
        Self { name: "openings", order: "leaf_index" },
        Self { name: "entry_subjects", order: "subject, seq" },
        Self { name: "subjects", order: "subject" },
        Self { name: "items", order: "item" },
        Self { name: "duplicates", order: "leaf_index" },
        Self { name: "derivatives", order: "item, recipe_id" },
        Self { name: "derivation_failures", order: "item, recipe_id" },
        Self { name: "devices", order: "device" },
        Self { name: "published_keys", order: "leaf_index" },
        Self { name: "bundles", order: "leaf_index" },
        Self { name: "users", order: "user_id" },
        Self { name: "cases", order: "case_id" },
        Self { name: "case_members", order: "case_id, user_id" },
        Self { name: "case_items", order: "case_id, item" },
        Self { name: "item_viewers", order: "item, user_id" },
        Self { name: "refused_attempts", order: "leaf_index" },
        Self { name: "holds", order: "subject" },
        Self { name: "retention", order: "item" },
    ];
}

impl Records {
    /// Fills this empty database from `entries`, which must begin at 0 and leave none out, and goes on from
    /// `published`, the checkpoint over all of them. They are believed: whoever calls has checked them against it, and
    /// opening the ledger compares its root with the stored tiles.
    ///
    /// # Errors
    /// [`RecordsError::NotEmpty`]; [`RecordsError::Corrupt`] for entries that do not follow each other.
    pub async fn rebuild(
        &self,
        entries: impl IntoIterator<Item = StoredEntry>,
        published: &SignedCheckpoint,
    ) -> Result<TreeSize, RecordsError> {
        let size = self.fill(entries).await?;
        if published.unverified().size != size {
            let reason =
                format!("{size} entries for a checkpoint of {}", published.unverified().size);
            return Err(RecordsError::Corrupt { table: "entries", reason });
        }
        self.adopt_checkpoint(published).await?;
        Ok(size)
    }

    /// The same without a checkpoint: for a look, no ledger opens on it.
    pub(crate) async fn fill(
        &self,
        entries: impl IntoIterator<Item = StoredEntry>,
    ) -> Result<TreeSize, RecordsError> {
        if self.size().await?.0 > 0 {
            return Err(RecordsError::NotEmpty);
        }
        let mut size = TreeSize(0);
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let batch: Vec<PlacedEntry> = entries
                .by_ref()
                .take(REBUILD_BATCH)
                .map(StoredEntry::parse)
                .collect::<Result<_, _>>()?;
            size = self.rebuild_batch(size, batch).await?;
        }
        Ok(size)
    }

    /// How many entries the database holds.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn size(&self) -> Result<TreeSize, RecordsError> {
        let row = sqlx::query(SIZE).bind(self.force()).fetch_optional(self.pool()).await?;
        let size = row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
        Ok(TreeSize(from_db(size, "sequencer")?))
    }

    /// Every row of a table of kind *records*, as text, in an order of its own.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn dump(&self, table: Table) -> Result<Vec<String>, RecordsError> {
        let text = self.in_order(table, "*");
        let query = sqlx::query(AssertSqlSafe(text)).bind(self.force());
        let rows = query.fetch_all(self.pool()).await?;
        Ok(rows.iter().map(row_text).collect())
    }

    /// SHA-256 over every row of a table of kind *records*, in an order of its own: two databases compared without
    /// holding either.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn digest(&self, table: Table) -> Result<Sha256, RecordsError> {
        self.digest_of(table, "*").await
    }

    /// The same over some columns, as SQL names them: two databases with other schemas compared by what both have.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn digest_of(&self, table: Table, columns: &str) -> Result<Sha256, RecordsError> {
        let mut connection = self.pool().acquire().await?;
        self.digest_by(&mut connection, table, columns).await
    }

    /// How many entries the database holds, and the digest of each table of kind *records*, all of one moment, whoever
    /// writes meanwhile.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn digests(&self) -> Result<(TreeSize, Vec<Sha256>), RecordsError> {
        let mut moment = self.begin().await?;
        if self.dialect() == Dialect::Postgres {
            let frozen = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
            sqlx::query(frozen).execute(&mut *moment).await?;
        }
        let size = sqlx::query(SIZE).bind(self.force()).fetch_optional(&mut *moment).await?;
        let size = size.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
        let mut digests = Vec::with_capacity(Table::RECORDS.len());
        for table in Table::RECORDS {
            digests.push(self.digest_by(&mut moment, *table, "*").await?);
        }
        moment.commit().await?;
        Ok((TreeSize(from_db(size, "sequencer")?), digests))
    }

    async fn digest_by(
        &self,
        connection: &mut AnyConnection,
        table: Table,
        columns: &str,
    ) -> Result<Sha256, RecordsError> {
        let text = self.in_order(table, columns);
        let mut rows = sqlx::query(AssertSqlSafe(text)).bind(self.force()).fetch(connection);
        let mut hasher: sha2::Sha256 = sha2::Digest::new();
        while let Some(row) = rows.try_next().await? {
            sha2::Digest::update(&mut hasher, row_text(&row));
            sha2::Digest::update(&mut hasher, "\n");
        }
        Ok(Sha256(sha2::Digest::finalize(hasher).into()))
    }

    /// A table in an order that is the same on both databases, whatever language one of them sorts by.
    fn in_order(&self, table: Table, columns: &str) -> String {
        let bytewise = match self.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => " COLLATE \"C\"",
        };
        let order =
            table.order.split(", ").map(|column| format!("CAST({column} AS TEXT){bytewise}"));
        let order = order.collect::<Vec<_>>().join(", ");
        format!("SELECT {columns} FROM {} WHERE force = $1 ORDER BY {order}", table.name)
    }

    async fn rebuild_batch(
        &self,
        from: TreeSize,
        batch: Vec<PlacedEntry>,
    ) -> Result<TreeSize, RecordsError> {
        let expected = from.0..;
        let dense = batch.iter().map(|placed| placed.index.0).zip(expected).all(|(a, b)| a == b);
        if !dense {
            let reason = format!("entries after {from} do not follow each other");
            return Err(RecordsError::Corrupt { table: "entries", reason });
        }
        let mut transaction = self.begin().await?;
        self.write_entries(&mut transaction, &batch).await?;
        let size = TreeSize(from.0 + batch.len() as u64);
        let text = "INSERT INTO sequencer (force, epoch, holder, size, published_size) \
            VALUES ($1, 0, 'rebuild', $2, 0) ON CONFLICT (force) DO UPDATE SET size = excluded.size";
        let values = vec![self.force().into(), to_db(size.0).into()];
        sql::execute(&mut transaction, text, values).await?;
        transaction.commit().await?;
        Ok(size)
    }
}

fn row_text(row: &AnyRow) -> String {
    let values = (0..row.columns().len()).map(|column| {
        let number = row.try_get::<Option<i64>, _>(column).map(|n| format!("{n:?}"));
        let text = || row.try_get::<Option<String>, _>(column).map(|t| format!("{t:?}"));
        let bytes = || row.try_get::<Option<Vec<u8>>, _>(column).map(|b| format!("{b:?}"));
        number.or_else(|_| text()).or_else(|_| bytes()).unwrap_or_else(|e| e.to_string())
    });
    values.collect::<Vec<_>>().join(" | ")
}

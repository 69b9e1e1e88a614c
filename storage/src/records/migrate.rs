//! Applies the schema files, each once, in their order.
//!
//! The files are documents; one text serves both databases. The only word that differs is the type of bytes.

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use super::{Dialect, RecordsError};

struct Migration {
    number: i64,
    name: &'static str,
    text: &'static str,
    /// The oldest program that works on what this leaves, by the newest migration that it knows. One that only adds names an earlier
    /// number; what a program cannot do without is taken away a version after the one that does without it.
    works_from: i64,
}

/// Append only: a file that was released is never edited, a later one mends it.
const MIGRATIONS: &[Migration] = &[
    needed(1, "records_and_ledger", include_str!("../../migrations/0001_records_and_ledger.sql")),
    needed(2, "uploads", include_str!("../../migrations/0002_uploads.sql")),
    needed(3, "jobs", include_str!("../../migrations/0003_jobs.sql")),
    needed(4, "people_and_cases", include_str!("../../migrations/0004_people_and_cases.sql")),
    needed(6, "keeping", include_str!("../../migrations/0006_keeping.sql")),
    needed(7, "find_quickly", include_str!("../../migrations/0007_find_quickly.sql")),
    needed(8, "refused_attempts", include_str!("../../migrations/0008_refused_attempts.sql")),
    needed(9, "commands", include_str!("../../migrations/0009_commands.sql")),
    needed(10, "turns", include_str!("../../migrations/0010_turns.sql")),
    needed(11, "holds", include_str!("../../migrations/0011_holds.sql")),
    Migration {
        number: 12,
        name: "jobs_asked_for",
        text: include_str!("../../migrations/0012_jobs_asked_for.sql"),
        works_from: 11,
    },
    // One that does not know it leaves a job that joins, and its ranges, to others: it knows neither recipe.
    Migration {
        number: 13,
        name: "ranges",
        text: include_str!("../../migrations/0013_ranges.sql"),
        works_from: 11,
    },
];

const CREATE_HISTORY: &str = "CREATE TABLE IF NOT EXISTS schema_history \
    (number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL)";

/// One that no program does without which does not know it.
const fn needed(number: i64, name: &'static str, text: &'static str) -> Migration {
    Migration { number, name, text, works_from: number }
}

/// The newest that this program knows.
pub(super) const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].number;
/// Since this one the database says which programs it works with.
const SAYS_WORKS_FROM: i64 = 11;

/// Number and name of each.
pub(super) fn known() -> Vec<(i64, &'static str)> {
    MIGRATIONS.iter().map(|m| (m.number, m.name)).collect()
}

/// Servers that start at the same moment on one PostgreSQL take turns. SQLite has one server. The number is any; ours.
const LOCK: &str = "SELECT CAST(1 AS BIGINT) FROM pg_advisory_lock(4996205771)";
const UNLOCK: &str = "SELECT CAST(1 AS BIGINT) FROM pg_advisory_unlock(4996205771)";

/// What may be done to a schema that other servers use too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Making it where there is none.
    Making,
    Everything,
}

/// Brings the schema to this version; gives the names of what was applied.
///
/// # Errors
/// [`RecordsError::NewerSchema`] when a later version of Exhibit has changed the schema to one that this one does not work on.
pub(super) async fn migrate(
    connection: &mut AnyConnection,
    dialect: Dialect,
    allowed: Allowed,
) -> Result<Vec<&'static str>, RecordsError> {
    if dialect == Dialect::Sqlite {
        return migrate_alone(connection, dialect, Allowed::Everything).await;
    }
    sqlx::query(LOCK).fetch_one(&mut *connection).await?;
    let migrated = migrate_alone(connection, dialect, allowed).await;
    // A connection that ends gives it up too.
    sqlx::query(UNLOCK).fetch_one(&mut *connection).await?;
    migrated
}

async fn migrate_alone(
    connection: &mut AnyConnection,
    dialect: Dialect,
    allowed: Allowed,
) -> Result<Vec<&'static str>, RecordsError> {
    sqlx::query(CREATE_HISTORY).execute(&mut *connection).await?;
    let rows = sqlx::query("SELECT number FROM schema_history").fetch_all(&mut *connection).await?;
    let applied: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    if let Some(found) = applied.iter().copied().find(|number| *number > NEWEST) {
        let works_from = "SELECT MAX(works_from) FROM schema_history";
        let works_from: i64 =
            sqlx::query(works_from).fetch_one(&mut *connection).await?.try_get(0)?;
        // One server alone would have to write.
        if dialect == Dialect::Sqlite || works_from > NEWEST {
            return Err(RecordsError::NewerSchema { found, known: NEWEST });
        }
    }
    let missing: Vec<_> = MIGRATIONS.iter().filter(|m| !applied.contains(&m.number)).collect();
    if allowed == Allowed::Making && !applied.is_empty() && !missing.is_empty() {
        let missing = missing.iter().map(|m| m.name).collect();
        return Err(RecordsError::OlderSchema { missing });
    }
    for migration in &missing {
        apply(connection, dialect, migration).await?;
    }
    Ok(missing.iter().map(|m| m.name).collect())
}

async fn apply(
    connection: &mut AnyConnection,
    dialect: Dialect,
    migration: &Migration,
) -> Result<(), RecordsError> {
    #[expect(clippy::disallowed_methods, reason = "a start that is given up closes its connection")]
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(AssertSqlSafe(in_dialect(migration.text, dialect)))
        .execute(&mut *transaction)
        .await?;
    sqlx::query("INSERT INTO schema_history (number, name) VALUES ($1, $2)")
        .bind(migration.number)
        .bind(migration.name)
        .execute(&mut *transaction)
        .await?;
    if migration.number >= SAYS_WORKS_FROM {
        sqlx::query("UPDATE schema_history SET works_from = $2 WHERE number = $1")
            .bind(migration.number)
            .bind(migration.works_from)
            .execute(&mut *transaction)
            .await?;
    }
    Ok(transaction.commit().await?)
}

/// PostgreSQL calls bytes BYTEA.
fn in_dialect(text: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Sqlite => text.to_owned(),
        Dialect::Postgres => text.replace(" BLOB ", " BYTEA "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_types_are_the_three() {
        assert!(MIGRATIONS.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert!(MIGRATIONS.iter().all(|m| m.works_from <= m.number));
        for Migration { name, text, .. } in MIGRATIONS {
            for line in text.lines().filter(|line| line.starts_with("    ")) {
                let words: Vec<_> = line.split_whitespace().collect();
                let first = words[0];
                let column =
                    first.chars().all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c));
                if column {
                    let kind = words[1].trim_end_matches(',');
                    assert!(["BIGINT", "TEXT", "BLOB"].contains(&kind), "{name}: {line}");
                    assert!(kind != "BLOB" || line.contains(" BLOB "), "{name}: {line}");
                }
            }
        }
    }
}

//! Rows in bulk: one statement writes or asks about many of them.
//!
//! Statement texts come in a few sizes only, so that the prepared ones are found again.

use std::fmt::Write as _;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, AnyConnection, AnyPool, Arguments as _, AssertSqlSafe, Encode, Type};

/// Rows per INSERT: the largest that fits is taken, so a batch needs few statements and few texts.
const INSERT_SIZES: [usize; 5] = [256, 64, 16, 4, 1];
/// Keys per SELECT: the smallest that holds all of them; the last key is repeated to fill it.
const SELECT_SIZES: [usize; 3] = [1, 8, 64];

/// Rows per VALUES list: the smallest that holds all of them.
const LIST_SIZES: [usize; 4] = [1, 8, 64, 256];

/// What sqlx calls SQLite.
const SQLITE: &str = "SQLite";

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Int(i64),
    MaybeInt(Option<i64>),
    Text(String),
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::MaybeInt(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

/// A table as `INSERT` names it: columns after `force`, and what to do about a row that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Columns in the order of each row's values, without `force`, which comes first.
    pub(crate) columns: &'static [&'static str],
    /// `""`, or an `ON CONFLICT` clause.
    pub(crate) on_conflict: &'static str,
}

/// Writes `rows`, all of them or an error.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    table: Table,
    force: &str,
    rows: Vec<Vec<Value>>,
) -> Result<(), sqlx::Error> {
    let numbered = connection.backend_name() != SQLITE;
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let fits = |size: &&usize| **size <= rows.len();
        let count = INSERT_SIZES.iter().find(fits).copied().unwrap_or(1);
        let mut arguments = AnyArguments::default();
        for row in rows.by_ref().take(count) {
            debug_assert_eq!(row.len(), table.columns.len(), "{}", table.name);
            bind(&mut arguments, force)?;
            row.into_iter().try_for_each(|value| bind_value(&mut arguments, value))?;
        }
        let text = insert_text(table, count, numbered);
        sqlx::query_with(AssertSqlSafe(text), arguments).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Runs one statement with `values` as `$1`, `$2` …; returns how many rows it changed.
pub(crate) async fn execute(
    connection: &mut AnyConnection,
    text: impl Into<String>,
    values: Vec<Value>,
) -> Result<u64, sqlx::Error> {
    let mut arguments = AnyArguments::default();
    values.into_iter().try_for_each(|value| bind_value(&mut arguments, value))?;
    Ok(sqlx::query_with(AssertSqlSafe(text.into()), arguments)
        .execute(connection)
        .await?
        .rows_affected())
}

/// Runs `before (…), (…) after` with the values of `fixed` as `$1`, `$2` … and `rows` as the rows of a VALUES list. The last
/// row is repeated to fill a size, so a repeated row must change nothing.
pub(crate) async fn execute_with_rows(
    connection: &mut AnyConnection,
    (before, after): (&str, &str),
    fixed: &[Value],
    rows: Vec<Vec<Value>>,
) -> Result<(), sqlx::Error> {
    for rows in rows.chunks(LIST_SIZES[LIST_SIZES.len() - 1]) {
        let fits = |size: &&usize| **size >= rows.len();
        let count = *LIST_SIZES.iter().find(fits).expect("chunks are no larger than the last");
        let last = rows.last().expect("chunks are never empty");
        let filled = (0..count).flat_map(|at| rows.get(at).unwrap_or(last));
        let mut arguments = AnyArguments::default();
        for value in fixed.iter().chain(filled) {
            bind_value(&mut arguments, value.clone())?;
        }
        let places = |row: usize| {
            let first = fixed.len() + 1 + row * last.len();
            let places: Vec<_> = (first..first + last.len()).map(|n| format!("${n}")).collect();
            format!("({})", places.join(", "))
        };
        let list: Vec<String> = (0..count).map(places).collect();
        let text = format!("{before}{}{after}", list.join(", "));
        sqlx::query_with(AssertSqlSafe(text), arguments).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Asks one question with `values` as `$1`, `$2` …
pub(crate) async fn fetch(
    pool: &AnyPool,
    text: String,
    values: Vec<Value>,
) -> Result<Vec<AnyRow>, sqlx::Error> {
    let mut arguments = AnyArguments::default();
    values.into_iter().try_for_each(|value| bind_value(&mut arguments, value))?;
    sqlx::query_with(AssertSqlSafe(text), arguments).fetch_all(pool).await
}

/// Asks `before $2, $3, … after`, with `force` as `$1`, for all of `keys`. `before` ends with `IN (`.
pub(crate) async fn select_in(
    connection: &mut AnyConnection,
    before: &str,
    after: &str,
    force: &str,
    keys: Vec<Value>,
) -> Result<Vec<AnyRow>, sqlx::Error> {
    let mut found = Vec::new();
    for keys in keys.chunks(SELECT_SIZES[SELECT_SIZES.len() - 1]) {
        let fits = |size: &&usize| **size >= keys.len();
        let count = *SELECT_SIZES.iter().find(fits).expect("chunks are no larger than the last");
        let mut arguments = AnyArguments::default();
        bind(&mut arguments, force)?;
        for position in 0..count {
            let key = keys.get(position).or(keys.last()).expect("chunks are never empty");
            bind_value(&mut arguments, key.clone())?;
        }
        let places: Vec<String> = (2..count + 2).map(|n| format!("${n}")).collect();
        let text = format!("{before}{}{after}", places.join(", "));
        let query = sqlx::query_with(AssertSqlSafe(text), arguments);
        found.extend(query.fetch_all(&mut *connection).await?);
    }
    Ok(found)
}

/// With `$1`, `$2` … as PostgreSQL asks for them, or with `?`: the driver looks each name up in SQLite, which goes through
/// all names for each.
fn insert_text(table: Table, rows: usize, numbered: bool) -> String {
    let width = table.columns.len() + 1;
    let mut text =
        format!("INSERT INTO {} (force, {}) VALUES ", table.name, table.columns.join(", "));
    for place in 1..=rows * width {
        text += match place % width {
            1 if place == 1 => "(",
            1 => "), (",
            _ => ", ",
        };
        match numbered {
            true => write!(text, "${place}").expect("writing to memory cannot fail"),
            false => text.push('?'),
        }
    }
    text + ") " + table.on_conflict
}

fn bind_value(arguments: &mut AnyArguments, value: Value) -> Result<(), sqlx::Error> {
    match value {
        Value::Int(n) => bind(arguments, n),
        Value::MaybeInt(n) => bind(arguments, n),
        Value::Text(text) => bind(arguments, text),
        Value::Bytes(bytes) => bind(arguments, bytes),
    }
}

fn bind<'t, T: Encode<'t, Any> + Type<Any>>(
    arguments: &mut AnyArguments,
    value: T,
) -> Result<(), sqlx::Error> {
    arguments.add(value).map_err(sqlx::Error::Encode)
}

//! Commands on their way between servers on one PostgreSQL, and their outcomes. Working state.

use chain_of_custody::command::{Command, Refusal};
use chain_of_custody::entry::BadEntry;
use chain_of_custody::ids::LeafIndex;
use chain_of_custody::sequencer::Decision;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::bell::Ring;
use super::lease::{now_ms, without_sync};
use super::sql::{self, Value};
use super::{Records, RecordsError, from_db, to_db};

const TABLE: &str = "commands";
/// Commands taken from the table at once.
const PAGE: i64 = 1_024;

/// No sync: what a crash of the database loses here, its server puts there again.
const PUT: (&str, &str) = (
    concat!(
        "INSERT INTO commands (force, server, number, asked_at_ms, hurry, command, outcome, leaf_index, reason) \
         SELECT $1, $2, v.column1, ",
        now_ms!(),
        ", v.column2, v.column3, '', NULL, '' FROM (VALUES "
    ),
    concat!(") AS v WHERE ", without_sync!(), " ON CONFLICT (force, server, number) DO NOTHING"),
);
const DECIDE: (&str, &str) = (
    "UPDATE commands SET outcome = v.column3, leaf_index = v.column4, reason = v.column5 FROM (VALUES ",
    ") AS v WHERE commands.force = $1 AND commands.server = v.column1 AND commands.number = v.column2 \
     AND commands.outcome = ''",
);
const FORGET: (&str, &str) = (
    "DELETE FROM commands USING (VALUES ",
    concat!(
        ") AS v WHERE commands.force = $1 AND commands.server = $2 AND commands.number = v.column1 AND ",
        without_sync!()
    ),
);
const WAITING: &str = "SELECT server, number, hurry, command FROM commands \
    WHERE force = $1 AND outcome = '' ORDER BY asked_at_ms, server, number LIMIT $2";
const OUTCOMES: &str = "SELECT number, outcome, leaf_index, reason FROM commands \
    WHERE force = $1 AND server = $2";
const SWEEP: &str = concat!(
    "DELETE FROM commands WHERE force = $1 AND outcome <> '' AND asked_at_ms < ",
    now_ms!(),
    " - $2"
);

/// A command's place in the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CommandRow {
    /// Who was asked.
    pub(crate) server: String,
    pub(crate) number: u64,
}

/// A command that waits in the table.
#[derive(Debug)]
pub(crate) struct WaitingCommand {
    pub(crate) row: CommandRow,
    /// Whether somebody waits for it.
    pub(crate) hurry: bool,
    /// Or why it cannot be read: a newer server asked.
    pub(crate) command: Result<Command, BadEntry>,
}

/// What became of a command in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Decided(Decision),
    /// Nothing was written, for this reason; it may be asked again.
    GivenUp(String),
}

impl Records {
    /// Puts commands there for whoever writes, by number, and wakes it. Those that are there already stay.
    pub(crate) async fn put_commands(
        &self,
        server: &str,
        commands: impl IntoIterator<Item = (u64, bool, Vec<u8>)>,
    ) -> Result<(), RecordsError> {
        let row = |(number, hurry, stored): (u64, bool, Vec<u8>)| {
            vec![to_db(number).into(), i64::from(hurry).into(), stored.into()]
        };
        let rows = commands.into_iter().map(row).collect();
        let mut transaction = self.begin().await?;
        let fixed = [self.force().into(), server.into()];
        sql::execute_with_rows(&mut transaction, PUT, &fixed, rows).await?;
        self.ring(&mut transaction, Ring::Asked).await?;
        Ok(transaction.commit().await?)
    }

    /// The commands that wait, in the order in which they were asked.
    pub(crate) async fn waiting_commands(&self) -> Result<Vec<WaitingCommand>, RecordsError> {
        let query = sqlx::query(WAITING).bind(self.force()).bind(PAGE);
        query.fetch_all(self.pool()).await?.iter().map(read_waiting).collect()
    }

    /// What became of `server`'s commands: every row of it, with its outcome if it has one.
    pub(crate) async fn outcomes(
        &self,
        server: &str,
    ) -> Result<Vec<(u64, Option<Outcome>)>, RecordsError> {
        let query = sqlx::query(OUTCOMES).bind(self.force()).bind(server);
        query.fetch_all(self.pool()).await?.iter().map(read_outcome).collect()
    }

    /// Removes answered commands of `server`.
    pub(crate) async fn forget_commands(
        &self,
        server: &str,
        numbers: &[u64],
    ) -> Result<(), RecordsError> {
        let rows = numbers.iter().map(|number| vec![to_db(*number).into()]).collect();
        let mut connection = self.pool().acquire().await?;
        let fixed = [self.force().into(), server.into()];
        Ok(sql::execute_with_rows(&mut connection, FORGET, &fixed, rows).await?)
    }

    /// Removes outcomes that nobody has fetched for `age_ms`: their servers are gone.
    pub(crate) async fn sweep_commands(&self, age_ms: i64) -> Result<(), RecordsError> {
        let mut connection = self.pool().acquire().await?;
        let values = vec![self.force().into(), age_ms.into()];
        sql::execute(&mut connection, SWEEP, values).await?;
        Ok(())
    }

    /// Says of commands that they were given up, and wakes their servers.
    pub(crate) async fn give_up_commands(
        &self,
        rows: &[CommandRow],
        reason: &str,
    ) -> Result<(), RecordsError> {
        let given_up = Outcome::GivenUp(reason.to_owned());
        let outcomes: Vec<_> = rows.iter().map(|row| (row, given_up.clone())).collect();
        let mut transaction = self.begin().await?;
        self.write_outcomes(&mut transaction, &outcomes).await?;
        Ok(transaction.commit().await?)
    }

    /// Writes outcomes in the transaction that made them; their servers hear of it once it is committed.
    pub(super) async fn write_outcomes(
        &self,
        connection: &mut AnyConnection,
        outcomes: &[(&CommandRow, Outcome)],
    ) -> Result<(), RecordsError> {
        if outcomes.is_empty() {
            return Ok(());
        }
        let rows = outcomes.iter().map(|(row, outcome)| outcome_values(row, outcome)).collect();
        sql::execute_with_rows(connection, DECIDE, &[self.force().into()], rows).await?;
        self.ring(connection, Ring::Decided).await
    }
}

fn outcome_values(row: &CommandRow, outcome: &Outcome) -> Vec<Value> {
    let (word, leaf, reason) = match outcome {
        Outcome::Decided(Decision::Placed(leaf)) => ("placed", Some(leaf), String::new()),
        Outcome::Decided(Decision::Repeated(leaf)) => ("repeated", Some(leaf), String::new()),
        Outcome::Decided(Decision::Refused(refusal)) => ("refused", None, refusal.to_stored()),
        Outcome::GivenUp(reason) => ("given-up", None, reason.clone()),
    };
    let leaf = leaf.map(|leaf| to_db(leaf.0));
    vec![
        row.server.clone().into(),
        to_db(row.number).into(),
        word.into(),
        leaf.into(),
        reason.into(),
    ]
}

fn read_waiting(row: &AnyRow) -> Result<WaitingCommand, RecordsError> {
    let number = from_db(row.try_get(1)?, TABLE)?;
    let hurry: i64 = row.try_get(2)?;
    let stored: &[u8] = row.try_get(3)?;
    Ok(WaitingCommand {
        row: CommandRow { server: row.try_get(0)?, number },
        hurry: hurry != 0,
        command: Command::from_stored(stored),
    })
}

fn read_outcome(row: &AnyRow) -> Result<(u64, Option<Outcome>), RecordsError> {
    let corrupt = |reason: String| RecordsError::Corrupt { table: TABLE, reason };
    let (word, reason): (&str, &str) = (row.try_get(1)?, row.try_get(3)?);
    let leaf = || -> Result<LeafIndex, RecordsError> {
        Ok(LeafIndex(from_db(row.try_get::<i64, _>(2)?, TABLE)?))
    };
    let outcome = match word {
        "" => None,
        "placed" => Some(Outcome::Decided(Decision::Placed(leaf()?))),
        "repeated" => Some(Outcome::Decided(Decision::Repeated(leaf()?))),
        "refused" => {
            let refusal = Refusal::from_stored(reason).map_err(|e| corrupt(e.to_string()))?;
            Some(Outcome::Decided(Decision::Refused(refusal)))
        }
        "given-up" => Some(Outcome::GivenUp(reason.to_owned())),
        other => return Err(corrupt(format!("the outcome '{other}' is not known"))),
    };
    Ok((from_db(row.try_get(0)?, TABLE)?, outcome))
}

//! Jobs and followers: working state, which may be lost. A follower then reads the ledger again from its start.

use std::time::Duration;

use chain_of_custody::ids::{ItemId, LeafIndex, UploadId};
use chain_of_custody::time::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row, Transaction};

use super::lease::now_ms;
use super::sql::{self, Value};
use super::{Dialect, Records, RecordsError, from_db, to_db};

const COLUMNS: &str = "item, recipe_id, kind, recipe, asked_by, reason, crashes, troubles, upload, object, claims, part_of";

/// How long a job is a server's after it was claimed or kept, by the database's clock; on SQLite as long as it lives.
pub const JOB_CLAIM: Duration = Duration::from_secs(60);

/// Jobs are taken in the order of when they are due; this is earlier than any.
const BEFORE_ALL_OTHERS_MS: i64 = -1;

macro_rules! claim_end {
    () => {
        concat!(now_ms!(), " + 60000")
    };
}

macro_rules! due {
    () => {
        concat!(
            "((state = 'waiting' AND not_before_ms <= $2) OR (state = 'running' AND claimed_until_ms < ",
            now_ms!(),
            "))"
        )
    };
}

/// A job that joins waits for its ranges.
macro_rules! has_all_ranges {
    () => {
        "NOT EXISTS (SELECT 1 FROM jobs AS part WHERE part.force = $1 AND part.item = jobs.item \
            AND part.part_of = jobs.recipe_id AND part.state <> 'ended')"
    };
}

/// How to claim what is next: what is due of one item but for ranges, or one range. Of what has the same turn ranges come last, because
/// they take longest.
macro_rules! claim_next {
    ($until:expr, $due:expr) => {
        concat!(
            "WITH next AS (SELECT item, recipe_id, part_of FROM jobs WHERE force = $1 AND (kind = $3 OR $3 = '') AND ",
            $due,
            " AND ",
            has_all_ranges!(),
            " ORDER BY not_before_ms, turn, part_of <> '', item, recipe_id LIMIT 1) \
            UPDATE jobs SET state = 'running', claims = claims + 1, permille = 0, claimed_until_ms = ",
            $until,
            " WHERE force = $1 AND (kind = $3 OR $3 = '') AND ",
            $due,
            " AND ",
            has_all_ranges!(),
            " AND item = (SELECT item FROM next) AND (recipe_id = (SELECT recipe_id FROM next) \
            OR (part_of = '' AND (SELECT part_of FROM next) = ''))"
        )
    };
}

/// On SQLite there is one server, whose claims do not lapse while it lives.
const CLAIM_SQLITE: &str = claim_next!("0", "state = 'waiting' AND not_before_ms <= $2");
/// Also what a server has left that is gone.
const CLAIM_POSTGRES: &str = claim_next!(claim_end!(), due!());
const KEEP_SQLITE: &str = "UPDATE jobs SET permille = $5, claimed_until_ms = 0";
const KEEP_POSTGRES: &str =
    concat!("UPDATE jobs SET permille = $5, claimed_until_ms = ", claim_end!());
/// Adds a job that is not there yet, of the device that sent its item, and with its turn.
const INSERT: &str = "INSERT INTO jobs (force, item, recipe_id, kind, recipe, asked_by, reason, state, crashes, troubles, \
    not_before_ms, upload, object, device, turn) SELECT $1, $2, $3, $4, $5, $6, $7, 'waiting', 0, 0, 0, '', '', \
    COALESCE(sent.device, ''), COALESCE(\
    (SELECT MIN(turn) FROM jobs WHERE force = $1 AND item = $2 AND state = 'waiting'), \
    (SELECT MAX(turn) FROM (\
    SELECT MIN(turn) AS turn FROM jobs WHERE force = $1 AND state = 'waiting' UNION ALL \
    SELECT MAX(turn) + 1 FROM jobs WHERE force = $1 AND device = sent.device AND state IN ('waiting', 'running') AND item <> $2\
    ) AS turns), 0) \
    FROM (SELECT (SELECT device FROM items WHERE force = $1 AND item = $2) AS device) AS sent \
    WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE force = $1 AND item = $2 AND recipe_id = $3)";
/// Adds a range of what a job joins, beside it.
const INSERT_RANGE: &str = "INSERT INTO jobs (force, item, recipe_id, kind, recipe, asked_by, reason, state, crashes, troubles, \
    not_before_ms, upload, object, device, turn, part_of) \
    SELECT force, item, $4, $5, $6, asked_by, reason, 'waiting', 0, 0, not_before_ms, '', '', device, turn, recipe_id \
    FROM jobs AS whole WHERE force = $1 AND item = $2 AND recipe_id = $3 \
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE force = $1 AND item = $2 AND recipe_id = $4)";
const LAPSED_POSTGRES: &str = concat!(" AND claimed_until_ms < ", now_ms!());
/// Whoever changes several jobs waits for others who do: two that lock the same rows in another order would wait for
/// each other. The number is the key of this lock alone; beside it stands the force.
const TURN_POSTGRES: &str =
    "SELECT CAST(1 AS BIGINT) FROM pg_advisory_xact_lock(499620578, hashtext($1))";
/// What is written of a job names the claim: whoever lost it writes nothing.
const CLAIMED: &str =
    "WHERE force = $1 AND item = $2 AND recipe_id = $3 AND state = 'running' AND claims = $4";

/// A derivative to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    pub item: ItemId,
    /// Digest of the recipe as asked for.
    pub recipe_id: String,
    pub kind: String,
    /// Canonical JSON.
    pub recipe: String,
    /// Who asked for it and why, where somebody did.
    pub asked: Option<Asked>,
}

/// Who asked for a derivative, as entries name them, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub by: String,
    pub reason: String,
}

/// A derivative that is still to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Making {
    pub kind: String,
    /// How much of the original has been read for it, in thousandths; `None` while it waits.
    pub permille: Option<u16>,
}

/// A job that somebody works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    pub job: NewJob,
    /// Of a range: `recipe_id` of the job that joins it.
    pub part_of: Option<String>,
    /// Times the worker died of it.
    pub crashes: u64,
    /// Times this machine was to blame.
    pub troubles: u64,
    /// Where the last attempt wrote, if one began.
    pub attempt: Option<JobAttempt>,
    /// How often it was claimed: a later claim ends this one.
    pub claim: u64,
}

/// Where an attempt writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAttempt {
    pub upload: UploadId,
    /// The name of the derivative in the object store.
    pub object: String,
}

/// A range of what another job joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeRow {
    pub row: JobRow,
    /// What came of it, as [`Records::end_range`] was told; empty while it is waiting or running.
    pub made: String,
}

impl Records {
    /// The first entry that follower `name` has not taken note of.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn follower_position(&self, name: &str) -> Result<LeafIndex, RecordsError> {
        let row = sqlx::query("SELECT next_leaf FROM followers WHERE force = $1 AND name = $2")
            .bind(self.force())
            .bind(name)
            .fetch_optional(self.pool())
            .await?;
        let next = row.map(|row| row.try_get::<i64, _>(0)).transpose()?.unwrap_or(0);
        Ok(LeafIndex(from_db(next, "followers")?))
    }

    /// Adds `jobs` that are not there yet and moves the follower on, both or neither.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn take_note(
        &self,
        name: &str,
        next: LeafIndex,
        jobs: &[NewJob],
    ) -> Result<(), RecordsError> {
        let mut transaction = self.turn().await?;
        insert(&mut transaction, self.force(), jobs).await?;
        let text = "INSERT INTO followers (force, name, next_leaf) VALUES ($1, $2, $3) \
            ON CONFLICT (force, name) DO UPDATE SET next_leaf = excluded.next_leaf";
        sqlx::query(text)
            .bind(self.force())
            .bind(name)
            .bind(to_db(next.0))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Adds `jobs` that are not there yet.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn add_jobs(&self, jobs: &[NewJob]) -> Result<(), RecordsError> {
        let mut transaction = self.turn().await?;
        insert(&mut transaction, self.force(), jobs).await?;
        Ok(transaction.commit().await?)
    }

    /// A transaction that may change several jobs.
    async fn turn(&self) -> Result<Transaction<'static, Any>, RecordsError> {
        let mut transaction = self.begin().await?;
        if self.dialect() == Dialect::Postgres {
            sqlx::query(TURN_POSTGRES).bind(self.force()).execute(&mut *transaction).await?;
        }
        Ok(transaction)
    }

    /// Takes the waiting jobs of one item that are due, of one kind or (with an empty `kind`) of all: what is made of one
    /// original is made together. Or one range, alone. Two who ask never get the same job. On PostgreSQL also those whose server is gone.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn claim_jobs(
        &self,
        kind: &str,
        now: Timestamp,
    ) -> Result<Vec<JobRow>, RecordsError> {
        let claim = match self.dialect() {
            Dialect::Sqlite => CLAIM_SQLITE,
            Dialect::Postgres => CLAIM_POSTGRES,
        };
        let mut transaction = self.turn().await?;
        let rows = sqlx::query(AssertSqlSafe(format!("{claim} RETURNING {COLUMNS}")))
            .bind(self.force())
            .bind(now.unix_millis())
            .bind(kind)
            .fetch_all(&mut *transaction)
            .await?;
        transaction.commit().await?;
        rows.iter().map(read).collect()
    }

    /// Somebody waits for what is made of an item: its waiting jobs come before those of items that nobody looks at. What waits
    /// after trouble goes on waiting.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn hurry_jobs(&self, item: ItemId) -> Result<(), RecordsError> {
        let text = "UPDATE jobs SET not_before_ms = $3 WHERE force = $1 AND item = $2 AND state = 'waiting' AND not_before_ms = 0";
        let query = sqlx::query(text).bind(self.force()).bind(item.to_string());
        let mut transaction = self.turn().await?;
        query.bind(BEFORE_ALL_OTHERS_MS).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Goes on with a job, before [`JOB_CLAIM`] is over, and says how much of the original has been read, in thousandths. False
    /// when it is somebody else's now, or decided.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn keep_job(&self, row: &JobRow, permille: u16) -> Result<bool, RecordsError> {
        let keep = match self.dialect() {
            Dialect::Sqlite => KEEP_SQLITE,
            Dialect::Postgres => KEEP_POSTGRES,
        };
        self.write_claimed(row, keep, vec![i64::from(permille).into()]).await
    }

    /// Remembers where an attempt writes, before it writes. False when the job is somebody else's now.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn begin_attempt(
        &self,
        row: &JobRow,
        attempt: &JobAttempt,
    ) -> Result<bool, RecordsError> {
        let values = vec![attempt.upload.to_string().into(), (&*attempt.object).into()];
        self.write_claimed(row, "UPDATE jobs SET upload = $5, object = $6", values).await
    }

    /// The job is decided: made, failed, or not wanted any more. False when it is somebody else's now.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn end_job(&self, row: &JobRow) -> Result<bool, RecordsError> {
        let text = "UPDATE jobs SET state = 'ended', upload = '', object = ''";
        self.write_claimed(row, text, vec![]).await
    }

    /// The job waits again, with its counts as given, until `not_before`. Where its attempt wrote stays known. False when it is
    /// somebody else's now.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn put_back_job(
        &self,
        row: &JobRow,
        not_before: Timestamp,
    ) -> Result<bool, RecordsError> {
        let text =
            "UPDATE jobs SET state = 'waiting', crashes = $5, troubles = $6, not_before_ms = $7";
        let (crashes, troubles) = (to_db(row.crashes), to_db(row.troubles));
        let values = vec![crashes.into(), troubles.into(), not_before.unix_millis().into()];
        self.write_claimed(row, text, values).await
    }

    /// Runs `change`, with `values` from `$5` on, on a job that is still claimed as `row` says.
    async fn write_claimed(
        &self,
        row: &JobRow,
        change: &str,
        values: Vec<Value>,
    ) -> Result<bool, RecordsError> {
        let claim = [
            self.force().into(),
            row.job.item.to_string().into(),
            (&*row.job.recipe_id).into(),
            to_db(row.claim).into(),
        ];
        let values = claim.into_iter().chain(values).collect();
        let mut connection = self.pool().acquire().await?;
        Ok(sql::execute(&mut connection, format!("{change} {CLAIMED}"), values).await? == 1)
    }

    /// Asks for a job, also for one that was decided: it waits again, for `asked`, before those that nobody asked for. One that is
    /// being worked on goes on.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn ask_for(&self, job: &NewJob, asked: &Asked) -> Result<(), RecordsError> {
        let mut transaction = self.turn().await?;
        insert(&mut transaction, self.force(), std::slice::from_ref(job)).await?;
        let text = "UPDATE jobs SET state = 'waiting', crashes = 0, troubles = 0, not_before_ms = $6, cancelled_by = '', \
            asked_by = $4, reason = $5 WHERE force = $1 AND item = $2 AND recipe_id = $3 AND state <> 'running'";
        let query = sqlx::query(text).bind(self.force()).bind(job.item.to_string());
        let query = query.bind(&job.recipe_id).bind(&asked.by).bind(&asked.reason);
        query.bind(BEFORE_ALL_OTHERS_MS).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Claims one job, if nobody has it, it is not decided, and all its ranges are there.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn claim_job(&self, job: &NewJob) -> Result<Option<JobRow>, RecordsError> {
        self.claim_one(job, concat!("recipe_id = $3 AND ", has_all_ranges!())).await
    }

    /// Claims one range of what `job` joins, if there is one that nobody has.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn claim_range(&self, job: &NewJob) -> Result<Option<JobRow>, RecordsError> {
        let first = "recipe_id = (SELECT MIN(recipe_id) FROM jobs WHERE force = $1 AND item = $2 AND part_of = $3 AND state = 'waiting')";
        self.claim_one(job, first).await
    }

    async fn claim_one(
        &self,
        job: &NewJob,
        which: &'static str,
    ) -> Result<Option<JobRow>, RecordsError> {
        let text = format!(
            "UPDATE jobs SET state = 'running', claims = claims + 1, permille = 0, claimed_until_ms = {} \
            WHERE force = $1 AND item = $2 AND state = 'waiting' AND {which} RETURNING {COLUMNS}",
            match self.dialect() {
                Dialect::Sqlite => "0",
                Dialect::Postgres => claim_end!(),
            }
        );
        let mut transaction = self.turn().await?;
        let query = sqlx::query(AssertSqlSafe(text)).bind(self.force()).bind(job.item.to_string());
        let row = query.bind(&job.recipe_id).fetch_optional(&mut *transaction).await?;
        transaction.commit().await?;
        row.as_ref().map(read).transpose()
    }

    /// Whether a job is waiting or being worked on.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn is_open(&self, item: ItemId, recipe_id: &str) -> Result<bool, RecordsError> {
        let text = "SELECT COUNT(*) FROM jobs WHERE force = $1 AND item = $2 AND recipe_id = $3 AND state <> 'ended'";
        let query = sqlx::query(text).bind(self.force()).bind(item.to_string());
        let row = query.bind(recipe_id).fetch_one(self.pool()).await?;
        Ok(row.try_get::<i64, _>(0)? > 0)
    }

    /// Adds the ranges of what a claimed job joins, each a kind and a recipe, in their order; those that are there stay as they are.
    /// They have the turn of that job. False when the job is somebody else's now.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn add_ranges(
        &self,
        row: &JobRow,
        ranges: &[(String, String)],
    ) -> Result<bool, RecordsError> {
        let mut transaction = self.turn().await?;
        if !is_claimed(&mut transaction, self.force(), row).await? {
            return Ok(false);
        }
        for (at, (kind, recipe)) in ranges.iter().enumerate() {
            sqlx::query(INSERT_RANGE)
                .bind(self.force())
                .bind(row.job.item.to_string())
                .bind(&row.job.recipe_id)
                .bind(format!("{}/{at:04}", row.job.recipe_id))
                .bind(kind)
                .bind(recipe)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The ranges of what a job joins, in their order.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn ranges(&self, job: &NewJob) -> Result<Vec<RangeRow>, RecordsError> {
        let text = format!(
            "SELECT {COLUMNS}, made FROM jobs WHERE force = $1 AND item = $2 AND part_of = $3 ORDER BY recipe_id"
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(self.force()).bind(job.item.to_string());
        let rows = query.bind(&job.recipe_id).fetch_all(self.pool()).await?;
        let range = |row| Ok(RangeRow { row: read(row)?, made: row.try_get("made")? });
        rows.iter().map(range).collect()
    }

    /// A range is made, or failed, as `made` says; where its attempt wrote stays known. False when it is somebody else's now.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn end_range(&self, row: &JobRow, made: &str) -> Result<bool, RecordsError> {
        let text = "UPDATE jobs SET state = 'ended', made = $5";
        self.write_claimed(row, text, vec![made.into()]).await
    }

    /// A range is wanted no more, and nothing is left of its attempts.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn forget_range(&self, row: &JobRow) -> Result<(), RecordsError> {
        let text = "DELETE FROM jobs WHERE force = $1 AND item = $2 AND recipe_id = $3 AND claims = $4 AND part_of <> ''";
        let query = sqlx::query(text).bind(self.force()).bind(row.job.item.to_string());
        let query = query.bind(&row.job.recipe_id).bind(to_db(row.claim));
        query.execute(self.pool()).await?;
        Ok(())
    }

    /// The other ranges of what `part_of` joins are wanted no more, by `by`. Whoever has one, or takes it next, sees that.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn cancel_ranges(
        &self,
        item: ItemId,
        part_of: &str,
        by: &str,
    ) -> Result<(), RecordsError> {
        let text = "UPDATE jobs SET cancelled_by = $4, not_before_ms = $5 \
            WHERE force = $1 AND item = $2 AND part_of = $3 AND state <> 'ended'";
        let mut transaction = self.turn().await?;
        let query = sqlx::query(text).bind(self.force()).bind(item.to_string()).bind(part_of);
        query.bind(by).bind(BEFORE_ALL_OTHERS_MS).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// What of an item is waiting or being worked on is wanted no more, by `by`; how many derivatives that are. Whoever has such a job,
    /// or takes it next, enters that.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn cancel_jobs(&self, item: ItemId, by: &str) -> Result<u64, RecordsError> {
        let text = "UPDATE jobs SET cancelled_by = $3, not_before_ms = $4 \
            WHERE force = $1 AND item = $2 AND state <> 'ended' RETURNING part_of";
        let mut transaction = self.turn().await?;
        let query = sqlx::query(text).bind(self.force()).bind(item.to_string()).bind(by);
        let done = query.bind(BEFORE_ALL_OTHERS_MS).fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        let is_whole = |row: &AnyRow| Ok(row.try_get::<&str, _>("part_of")?.is_empty());
        let whole = done.iter().map(is_whole).collect::<Result<Vec<_>, RecordsError>>()?;
        Ok(whole.into_iter().filter(|is_whole| *is_whole).count() as u64)
    }

    /// Who wants a job no more, if somebody does.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn cancelled_by(&self, row: &JobRow) -> Result<Option<String>, RecordsError> {
        let text =
            "SELECT cancelled_by FROM jobs WHERE force = $1 AND item = $2 AND recipe_id = $3";
        let query = sqlx::query(text).bind(self.force()).bind(row.job.item.to_string());
        let found = query.bind(&row.job.recipe_id).fetch_optional(self.pool()).await?;
        let by = found.map(|found| found.try_get::<String, _>(0)).transpose()?;
        Ok(by.filter(|by| !by.is_empty()))
    }

    /// Decided jobs of an item wait again: what stood in their way has gone.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn reopen_jobs(&self, item: ItemId) -> Result<(), RecordsError> {
        let text = "UPDATE jobs SET state = 'waiting', crashes = 0, troubles = 0, \
            not_before_ms = 0 WHERE force = $1 AND item = $2 AND state = 'ended' AND part_of = ''";
        let query = sqlx::query(text).bind(self.force()).bind(item.to_string());
        let mut transaction = self.turn().await?;
        query.execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Jobs that were being worked on when a server ended: on SQLite this process's predecessor, on PostgreSQL any that has
    /// not kept them.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn cut_off_jobs(&self) -> Result<Vec<JobRow>, RecordsError> {
        let lapsed = match self.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => LAPSED_POSTGRES,
        };
        let text =
            format!("SELECT {COLUMNS} FROM jobs WHERE force = $1 AND state = 'running'{lapsed}");
        let query = sqlx::query(AssertSqlSafe(text)).bind(self.force());
        query.fetch_all(self.pool()).await?.iter().map(read).collect()
    }

    /// Whether `upload` is what an attempt of a job writes, or wrote and has not cleared away yet.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn is_an_attempt(&self, upload: UploadId) -> Result<bool, RecordsError> {
        let text = "SELECT COUNT(*) FROM jobs WHERE force = $1 AND upload = $2";
        let query = sqlx::query(text).bind(self.force()).bind(upload.to_string());
        let row = query.fetch_one(self.pool()).await?;
        Ok(row.try_get::<i64, _>(0)? > 0)
    }

    /// How many jobs are waiting or being worked on.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn open_jobs(&self) -> Result<u64, RecordsError> {
        let row = sqlx::query("SELECT COUNT(*) FROM jobs WHERE force = $1 AND state <> 'ended'")
            .bind(self.force())
            .fetch_one(self.pool())
            .await?;
        from_db(row.try_get(0)?, "jobs")
    }
}

/// Whether a job is still claimed as `row` says, and stays so until the end of this transaction.
async fn is_claimed(
    connection: &mut AnyConnection,
    force: &str,
    row: &JobRow,
) -> Result<bool, RecordsError> {
    let query = sqlx::query(AssertSqlSafe(format!("UPDATE jobs SET claims = claims {CLAIMED}")));
    let query = query.bind(force).bind(row.job.item.to_string());
    let query = query.bind(&row.job.recipe_id).bind(to_db(row.claim));
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

async fn insert(
    connection: &mut AnyConnection,
    force: &str,
    jobs: &[NewJob],
) -> Result<(), RecordsError> {
    for job in jobs {
        let asked = job.asked.as_ref();
        sqlx::query(INSERT)
            .bind(force)
            .bind(job.item.to_string())
            .bind(&job.recipe_id)
            .bind(&job.kind)
            .bind(&job.recipe)
            .bind(asked.map_or("", |asked| &asked.by))
            .bind(asked.map_or("", |asked| &asked.reason))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn read(row: &AnyRow) -> Result<JobRow, RecordsError> {
    let corrupt = |reason: String| RecordsError::Corrupt { table: "jobs", reason };
    let item: String = row.try_get("item")?;
    let upload: String = row.try_get("upload")?;
    let object: String = row.try_get("object")?;
    let attempt = match upload.as_str() {
        "" => None,
        text => {
            let upload = text.parse().map_err(|e| corrupt(format!("{e}")))?;
            Some(JobAttempt { upload, object })
        }
    };
    let asked = Asked { by: row.try_get("asked_by")?, reason: row.try_get("reason")? };
    Ok(JobRow {
        job: NewJob {
            item: item.parse().map_err(|e| corrupt(format!("{e}")))?,
            recipe_id: row.try_get("recipe_id")?,
            kind: row.try_get("kind")?,
            recipe: row.try_get("recipe")?,
            asked: Some(asked).filter(|asked| !asked.by.is_empty()),
        },
        part_of: Some(row.try_get::<String, _>("part_of")?).filter(|of| !of.is_empty()),
        crashes: from_db(row.try_get("crashes")?, "jobs")?,
        troubles: from_db(row.try_get("troubles")?, "jobs")?,
        attempt,
        claim: from_db(row.try_get("claims")?, "jobs")?,
    })
}

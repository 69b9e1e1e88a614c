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

const COLUMNS: &str =
    "item, recipe_id, kind, recipe, asked_by, reason, crashes, troubles, upload, object, claims";

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

/// How to claim what is due of one item: on SQLite there is one server, whose claims do not lapse while it lives.
const CLAIM_SQLITE: &str = "UPDATE jobs SET state = 'running', claims = claims + 1, permille = 0 \
    WHERE force = $1 AND state = 'waiting' AND not_before_ms <= $2 AND (kind = $3 OR $3 = '') \
    AND item = (SELECT item FROM jobs WHERE force = $1 AND state = 'waiting' AND not_before_ms <= $2 \
    AND (kind = $3 OR $3 = '') ORDER BY not_before_ms, turn, item LIMIT 1)";
/// Also what a server has left that is gone.
const CLAIM_POSTGRES: &str = concat!(
    "UPDATE jobs SET state = 'running', claims = claims + 1, permille = 0, claimed_until_ms = ",
    claim_end!(),
    " WHERE force = $1 AND (kind = $3 OR $3 = '') AND ",
    due!(),
    " AND item = (SELECT item FROM jobs WHERE force = $1 AND (kind = $3 OR $3 = '') AND ",
    due!(),
    " ORDER BY not_before_ms, turn, item LIMIT 1)"
);
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
        let mut transaction = self.pool().begin().await?;
        if self.dialect() == Dialect::Postgres {
            sqlx::query(TURN_POSTGRES).bind(self.force()).execute(&mut *transaction).await?;
        }
        Ok(transaction)
    }

    /// Takes the waiting jobs of one item that are due, of one kind or (with an empty `kind`) of all: what is made of one
    /// original is made together. Two who ask never get the same job. On PostgreSQL also those whose server is gone.
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

    /// Claims one job, if nobody has it and it is not decided.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn claim_job(&self, job: &NewJob) -> Result<Option<JobRow>, RecordsError> {
        let text = format!(
            "UPDATE jobs SET state = 'running', claims = claims + 1, permille = 0, claimed_until_ms = {} \
            WHERE force = $1 AND item = $2 AND recipe_id = $3 AND state = 'waiting' RETURNING {COLUMNS}",
            match self.dialect() {
                Dialect::Sqlite => "0",
                Dialect::Postgres => claim_end!(),
            }
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(self.force()).bind(job.item.to_string());
        let row = query.bind(&job.recipe_id).fetch_optional(self.pool()).await?;
        row.as_ref().map(read).transpose()
    }

    /// Whether a job is waiting or being worked on.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn is_open(&self, job: &NewJob) -> Result<bool, RecordsError> {
        let text = "SELECT COUNT(*) FROM jobs WHERE force = $1 AND item = $2 AND recipe_id = $3 AND state <> 'ended'";
        let query = sqlx::query(text).bind(self.force()).bind(job.item.to_string());
        let row = query.bind(&job.recipe_id).fetch_one(self.pool()).await?;
        Ok(row.try_get::<i64, _>(0)? > 0)
    }

    /// What of an item is waiting or being worked on is wanted no more, by `by`; how many jobs that are. Whoever has such a job, or
    /// takes it next, enters that.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn cancel_jobs(&self, item: ItemId, by: &str) -> Result<u64, RecordsError> {
        let text = "UPDATE jobs SET cancelled_by = $3, not_before_ms = $4 \
            WHERE force = $1 AND item = $2 AND state <> 'ended'";
        let mut transaction = self.turn().await?;
        let query = sqlx::query(text).bind(self.force()).bind(item.to_string()).bind(by);
        let done = query.bind(BEFORE_ALL_OTHERS_MS).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected())
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
            not_before_ms = 0 WHERE force = $1 AND item = $2 AND state = 'ended'";
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
        crashes: from_db(row.try_get("crashes")?, "jobs")?,
        troubles: from_db(row.try_get("troubles")?, "jobs")?,
        attempt,
        claim: from_db(row.try_get("claims")?, "jobs")?,
    })
}

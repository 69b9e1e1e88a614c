//! From jobs to entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use chain_of_custody::command::{Command, Guard};
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::EventId;
use chain_of_custody::time::Timestamp;
use storage::failpoint;
use storage::ledger::{Placed, SubmitError};
use storage::records::{DerivativeView, FailureView, ItemRecord, JOB_CLAIM, JobRow, NewJob};

use super::attempt::{self, Made, Setback};
use super::follow::new_job;
use super::in_ranges::{self, Ranges};
use super::{JobsError, LOOK_EVERY, Shared, TROUBLE_PAUSE};
use crate::Failure;
use crate::failure::CANCELLED;
use crate::recipe::{self, Recipe};

/// Who acts in the entries.
pub(super) const ACTOR: &str = "exhibit-transcode";
/// A worker may die once of an original; the second time is a failure.
const CRASHES_ALLOWED: u64 = 1;
/// After trouble of this machine a job waits this long, then twice as long, …
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// … up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Work that goes on is looked after this often: whether it is wanted, and how far it is.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Steps in which it is told how far it is.
const ALL_READ_PERMILLE: u16 = 1000;
const PROGRESS_STEP_PERMILLE: u16 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// What became of a job.
pub(super) enum Decision {
    Made(Box<Made>),
    Failed(Failure),
    /// Nothing is wanted: it is there already, or the item may not have it.
    NotWanted,
}

/// Works on jobs until the process stops: on those of one kind, or (with an empty `kind`) on all.
pub(super) async fn run_jobs(shared: Arc<Shared>, kind: &'static str) {
    while !shared.stopping.load(Ordering::Relaxed) {
        let woken = shared.wake.notified();
        match shared.records().claim_jobs(kind, shared.clock.now()).await {
            Ok(rows) if rows.is_empty() => {
                let _ = tokio::time::timeout(LOOK_EVERY, woken).await;
            }
            Ok(rows) => run_claimed(&shared, rows).await,
            Err(error) => {
                tracing::error!("no job could be taken: {error}");
                tokio::time::sleep(TROUBLE_PAUSE).await;
            }
        }
    }
}

/// Works on the jobs of one item: first on what is there at once, then on what is made in ranges, because others can begin with them;
/// then together, but for those of which a worker died, so that one that kills it takes no other along again, and for those that are not
/// made of the whole.
pub(super) async fn run_claimed(shared: &Shared, rows: Vec<JobRow>) {
    let (first, rows): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| recipe::comes_first(&row.job.kind));
    if !first.is_empty() {
        run_together(shared, first).await;
        say_decided(shared);
    }
    let is_in_ranges = |row: &JobRow| recipe::is_in_ranges(&row.job.recipe);
    let (in_ranges, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_in_ranges);
    for row in in_ranges {
        in_ranges::run(shared, row).await;
        say_decided(shared);
    }
    let goes_along = |row: &JobRow| row.crashes == 0 && !recipe::is_made_alone(&row.job.kind);
    let (together, alone): (Vec<_>, Vec<_>) = rows.into_iter().partition(goes_along);
    let alone = alone.into_iter().map(|row| vec![row]);
    let groups = std::iter::once(together).chain(alone);
    for rows in groups.filter(|rows| !rows.is_empty()) {
        run_together(shared, rows).await;
        say_decided(shared);
    }
}

fn say_decided(shared: &Shared) {
    shared.job_decided();
    shared.wake.notify_waiters();
}

async fn run_together(shared: &Shared, rows: Vec<JobRow>) {
    let (mut asked, mut of) = (Vec::with_capacity(rows.len()), None);
    for row in rows {
        if let Some((row, record, recipe)) = begin(shared, row).await {
            of = Some(record);
            asked.push((row, recipe));
        }
    }
    let Some(record) = of else { return };
    let read = AtomicU16::new(0);
    let stop = cancelled(shared, &asked);
    let made = tokio::select! {
        made = attempt::make_of_original(shared, &asked, &record, &read, stop) => made,
        () = lost(shared, &asked, &read) => Err(Setback::Trouble(JobsError::Lost)),
    };
    end_all(shared, asked, made).await;
}

/// Makes a job out of ranges that are there.
pub(super) async fn run_joining(
    shared: &Shared,
    (row, record): (JobRow, ItemRecord),
    ranges: Ranges,
) {
    let asked = vec![(row, ranges.recipe())];
    let read = AtomicU16::new(0);
    let stop = cancelled(shared, &asked);
    let made = tokio::select! {
        made = attempt::make(shared, &asked, &record, ranges.source(), &read, stop) => made,
        () = lost(shared, &asked, &read) => Err(Setback::Trouble(JobsError::Lost)),
    };
    let with_account = |made: Result<Made, Setback>| made.map(|made| ranges.account(made));
    let made = made.map(|made| made.into_iter().map(with_account).collect());
    end_all(shared, asked, made).await;
}

/// Clears away what an earlier attempt at a job left, and ends the job if nobody wants it.
pub(super) async fn begin(shared: &Shared, row: JobRow) -> Option<(JobRow, ItemRecord, Recipe)> {
    attempt::clear_away(shared, &row).await;
    if let Ok(Some(by)) = shared.records().cancelled_by(&row).await {
        end(shared, row, Ok(Decision::Failed(Failure::Cancelled { by }))).await;
        return None;
    }
    match wanted(shared, &row).await {
        Ok(Some((record, recipe))) => return Some((row, record, recipe)),
        Ok(None) => end(shared, row, Ok(Decision::NotWanted)).await,
        Err(error) => end(shared, row, Err(Setback::Trouble(error))).await,
    }
    None
}

/// Decides about jobs that were made together.
async fn end_all(
    shared: &Shared,
    asked: Vec<(JobRow, Recipe)>,
    made: Result<Vec<Result<Made, Setback>>, Setback>,
) {
    let of_several = asked.len() > 1;
    let rows = asked.into_iter().map(|(row, _)| row);
    match made {
        Ok(made) => {
            for (row, made) in rows.zip(made) {
                let judged = judge(&row, of_several, made);
                end(shared, row, judged).await;
            }
        }
        // What stopped all of them stopped each.
        Err(Setback::Worker(failure)) => {
            for row in rows {
                let judged = judge(&row, of_several, Err(Setback::Worker(failure.clone())));
                end(shared, row, judged).await;
            }
        }
        Err(Setback::Trouble(error)) => {
            for row in rows {
                tracing::error!(item = %row.job.item, kind = row.job.kind, "a derivative has to wait: {error}");
                put_back(shared, row, true).await;
            }
        }
    }
}

/// Keeps jobs as long as they are worked on, and says how far they are; returns when one is somebody else's.
async fn lost(shared: &Shared, asked: &[(JobRow, Recipe)], read: &AtomicU16) {
    let (mut kept, mut said) = (tokio::time::Instant::now(), 0);
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let now = read.load(Ordering::Relaxed);
        if kept.elapsed() < JOB_CLAIM / 4 && now < said + PROGRESS_STEP_PERMILLE {
            continue;
        }
        (kept, said) = (tokio::time::Instant::now(), now);
        for (row, _) in asked {
            match shared.records().keep_job(row, now).await {
                Ok(true) => {}
                Ok(false) => return,
                // It may be kept in time yet; and whatever is written of it names the claim.
                Err(error) => tracing::warn!("a job could not be kept: {error}"),
            }
        }
    }
}

/// Resolves when somebody wants one of the jobs no more: they go together.
async fn cancelled(shared: &Shared, asked: &[(JobRow, Recipe)]) -> Failure {
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        for (row, _) in asked {
            if let Ok(Some(by)) = shared.records().cancelled_by(row).await {
                return Failure::Cancelled { by };
            }
        }
    }
}

/// Enters what was decided about a job, or puts it back.
pub(super) async fn end(shared: &Shared, row: JobRow, decision: Result<Decision, Setback>) {
    let (item, kind) = (row.job.item, row.job.kind.clone());
    let outcome = match decision {
        Ok(decision) if row.part_of.is_some() => {
            in_ranges::settle(shared, &row, decision).await.map_err(Setback::Trouble)
        }
        Ok(decision) => settle(shared, &row, decision).await.map_err(Setback::Trouble),
        Err(setback) => Err(setback),
    };
    match outcome {
        Ok(()) => {}
        Err(Setback::Worker(failure)) => {
            tracing::error!(%item, kind, code = failure.code(), "a derivative is tried again");
            put_back(shared, row, !failure.is_about_the_footage()).await;
        }
        Err(Setback::Trouble(error)) => {
            tracing::error!(%item, kind, "a derivative has to wait: {error}");
            put_back(shared, row, true).await;
        }
    }
}

/// What becomes of an attempt. Only what is worth another one is a setback: a crash, and a limit that was reached by several
/// together, of which each is tried alone then.
fn judge(row: &JobRow, of_several: bool, made: Result<Made, Setback>) -> Result<Decision, Setback> {
    match made {
        Ok(made) => Ok(Decision::Made(Box::new(made))),
        Err(Setback::Worker(failure)) => {
            let is_anybodys = of_several && matches!(failure, Failure::LimitReached { .. });
            let is_worth_it = is_anybodys || failure.is_worth_another_attempt();
            let again = is_worth_it && row.crashes < CRASHES_ALLOWED;
            if failure.is_about_the_footage() && !again {
                Ok(Decision::Failed(failure))
            } else {
                Err(Setback::Worker(failure))
            }
        }
        Err(trouble) => Err(trouble),
    }
}

/// The item and recipe of a job, unless it is done already or the item may have no derivatives.
async fn wanted(shared: &Shared, row: &JobRow) -> Result<Option<(ItemRecord, Recipe)>, JobsError> {
    let (records, job) = (shared.records(), &row.job);
    let Some(record) = records.item(job.item).await?.filter(may_have_derivatives) else {
        return Ok(None);
    };
    if let Some(whole) = &row.part_of {
        let is_wanted = records.is_open(job.item, whole).await?;
        let recipe = recipe::parse(&job.recipe).ok_or(JobsError::UnknownRecipe)?;
        return Ok(is_wanted.then_some((record, recipe)));
    }
    let made = records.derivatives(job.item).await?;
    let failed = records.failures(job.item).await?;
    // Who asks for it themselves has it tried again.
    let decided = made.iter().any(|d| d.recipe_id == job.recipe_id)
        || (job.asked.is_none() && failed.iter().any(|f| f.recipe_id == job.recipe_id));
    if decided {
        follow_up(shared, job, &made).await?;
        return Ok(None);
    }
    match recipe::parse(&job.recipe) {
        Some(recipe) => Ok(Some((record, recipe))),
        None if recipe::is_superseded(&job.recipe) => {
            if job.kind == recipe::first().kind() {
                records.add_jobs(&[new_job(job.item, &recipe::first())]).await?;
            }
            follow_up(shared, job, &made).await?;
            Ok(None)
        }
        None => Err(JobsError::UnknownRecipe),
    }
}

/// The jobs that follow from a probe that was entered before: a process ended between the two, or asked for them in an older way.
async fn follow_up(
    shared: &Shared,
    job: &NewJob,
    made: &[DerivativeView],
) -> Result<(), JobsError> {
    let Some(probe) = DerivativeView::newest_probe(made) else { return Ok(()) };
    add_next(shared, job, &probe.media).await
}

/// Adds the jobs that follow from what a probe found; where a front could not be made, a viewing copy is.
async fn add_next(shared: &Shared, job: &NewJob, media: &str) -> Result<(), JobsError> {
    let small = recipe::small_copy_of(media).filter(|_| shared.small_copies);
    let failures = shared.records().failures(job.item).await?;
    let is_without = |f: &FailureView| f.kind == recipe::FRONT && f.reason_code != CANCELLED;
    let next = match failures.iter().any(is_without) {
        true => recipe::after_without_front(media),
        false => recipe::after(media),
    };
    let next = next.into_iter().chain(small);
    let jobs: Vec<_> = next.map(|recipe| new_job(job.item, &recipe)).collect();
    Ok(shared.records().add_jobs(&jobs).await?)
}

pub(super) fn may_have_derivatives(record: &ItemRecord) -> bool {
    record.state == "stored" && !record.restricted
}

/// Enters what became of the job; then it is decided.
async fn settle(shared: &Shared, row: &JobRow, decision: Decision) -> Result<(), JobsError> {
    let job = &row.job;
    // What this attempt has made may have been cleared away by whoever has the job now.
    if !shared.records().keep_job(row, ALL_READ_PERMILLE).await? {
        return Err(JobsError::Lost);
    }
    // The item may have been restricted meanwhile.
    let record = shared.records().item(job.item).await?.filter(may_have_derivatives);
    match (decision, record) {
        (Decision::Made(made), Some(record)) => {
            let media = made.probe.as_ref().map(recipe::media_text);
            let placed = submit(shared, derived(row, &record, &made, media.as_deref())).await?;
            if placed.repeated {
                forget_unless_entered(shared, &made, &placed).await?;
            }
            failpoint::hit("transcode.derived");
            if let Some(media) = &media {
                add_next(shared, job, media).await?;
            }
        }
        (Decision::Made(made), None) => {
            shared.objects.dispose(&made.object).await?;
        }
        (Decision::Failed(failure), Some(record)) => {
            submit(shared, failed(row, &record, &failure)).await?;
            let is_cancelled = matches!(failure, Failure::Cancelled { .. });
            if job.kind == recipe::FRONT && !is_cancelled {
                follow_up(shared, job, &shared.records().derivatives(job.item).await?).await?;
            }
        }
        _ => {}
    }
    // Whoever is killed from here on does it again: the job is not ended.
    in_ranges::dispose(shared, job).await?;
    if !shared.records().end_job(row).await? {
        tracing::warn!(item = %job.item, "another server decides about it");
    }
    Ok(())
}

/// Another server was faster: what the entry names is its derivative, and ours is nobody's.
async fn forget_unless_entered(
    shared: &Shared,
    made: &Made,
    placed: &Placed,
) -> Result<(), JobsError> {
    let name = made.object.name.as_str();
    let object = placed.openings.iter().find(|opening| opening.name.as_str() == field::OBJECT);
    let entered = object.is_none_or(|object| object.value.contains(name));
    if !entered {
        shared.objects.dispose(&made.object).await?;
    }
    Ok(())
}

fn derived(row: &JobRow, record: &ItemRecord, made: &Made, media: Option<&str>) -> Command {
    let recipe = recipe::parse(&row.job.recipe).expect("it was parsed before it was made");
    let object = serde_json::to_value(&made.object).expect("a stored object is plain data");
    let object = chain_of_custody::canonical::to_bytes(&object);
    let object = object.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let command = about(EventKind::ItemDerived, &row.job, record, "")
        .field(field::RECIPE, recipe::made_text(&recipe, &made.report, made.program), salt())
        .field(field::SHA256, made.digests.sha256.to_string(), salt())
        .field(field::BLAKE3, made.digests.blake3.to_string(), salt())
        .field(field::SIZE_BYTES, made.object.size_bytes.to_string(), salt())
        .field(field::OBJECT, object.expect("checksums are kept as canonical JSON"), salt());
    let command = match media {
        Some(media) => command.field(field::MEDIA, media, salt()),
        None => command,
    };
    match &row.job.asked {
        Some(asked) => {
            let command = command.field(field::BY, asked.by.clone(), salt());
            command.field(field::REASON, asked.reason.clone(), salt())
        }
        None => command.field(field::BY, ACTOR, salt()),
    }
}

/// What is asked for again may fail again.
fn failed(row: &JobRow, record: &ItemRecord, failure: &Failure) -> Command {
    let job = &row.job;
    let attempt = job.asked.as_ref().map_or(String::new(), |_| format!("\n{}", row.claim));
    let by = match (failure, &job.asked) {
        (Failure::Cancelled { by }, _) => by,
        (_, Some(asked)) => &asked.by,
        (_, None) => ACTOR,
    };
    about(EventKind::ItemDerivationFailed, job, record, &attempt)
        .field(field::RECIPE, job.recipe.clone(), salt())
        .field(field::REASON_CODE, failure.code(), salt())
        .field(field::REASON, failure.to_string(), salt())
        .field(field::BY, by, salt())
}

/// One act, whichever server asks for it: two servers that both believe that the job is theirs make one entry.
fn about(kind: EventKind, job: &NewJob, record: &ItemRecord, attempt: &str) -> Command {
    let act = format!("exhibit/job/v1\n{kind}\n{}\n{}{attempt}", job.item, job.recipe_id);
    Command::new(kind, EventId::of_act(&act))
        .touching(job.item)
        .provided(Guard::SubjectExists(job.item.into()))
        .field(field::KIND, job.kind.clone(), salt())
        .field(field::RECIPE_ID, job.recipe_id.clone(), salt())
        .field(field::ORIGINAL_SHA256, record.digests.sha256.to_string(), salt())
}

fn salt() -> Salt {
    Salt(rand::random())
}

/// Asks until the command is decided; the event id makes a repeat harmless.
async fn submit(shared: &Shared, command: Command) -> Result<Placed, JobsError> {
    loop {
        match shared.ledger.submit_in_background(command.clone()).await {
            Ok(placed) => return Ok(placed),
            Err(SubmitError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) async fn put_back(shared: &Shared, mut row: JobRow, trouble: bool) {
    let now = shared.clock.now();
    let not_before = if trouble {
        row.troubles += 1;
        later(now, row.troubles)
    } else {
        row.crashes += 1;
        now
    };
    if let Err(error) = shared.records().put_back_job(&row, not_before).await {
        // It stays "running" and is taken up by the next start.
        tracing::error!(item = %row.job.item, "a job could not be put back: {error}");
    }
}

fn later(now: Timestamp, troubles: u64) -> Timestamp {
    let doublings = u32::try_from(troubles.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let wait = (FIRST_WAIT * 2u32.pow(doublings)).min(LONGEST_WAIT);
    let wait_ms = i64::try_from(wait.as_millis()).expect("ten minutes at most");
    Timestamp::from_unix_millis(now.unix_millis() + wait_ms).unwrap_or(now)
}

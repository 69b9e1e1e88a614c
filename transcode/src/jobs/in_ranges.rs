//! What is made in ranges ([`crate::ranges`]): each range is a job that whoever is free takes, and the job they belong to joins them.
//!
//! That job has its ranges added the first time it is taken, and nobody takes it again before all of them have ended. What a range gives
//! rests in the object store like an attempt: the jobs table alone knows of it, no entry names it, and it is removed before the job that
//! joins is ended.

use serde::{Deserialize, Serialize};
use storage::failpoint;
use storage::objects::{StoreError, StoredObject, VerifiedObject};
use storage::records::{JobRow, NewJob};

use super::attempt::{self, Made, Setback};
use super::run::{self, ACTOR, Decision};
use super::{JobsError, Shared};
use crate::Failure;
use crate::failure::CANCELLED;
use crate::protocol::Report;
use crate::ranges::{self, OneBehindTheOther};
use crate::recipe::{self, Recipe};

/// What came of a range, as the jobs table remembers it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ended {
    Made { object: StoredObject, report: Box<Report>, program: Option<String> },
    Failed { code: String, message: String },
}

/// What is known of the ranges of a job.
enum Found {
    /// All are there.
    Ranges(Ranges),
    /// Some are to be made, or made anew.
    Missing,
    Failed(Failure),
}

/// Ranges that are there, in their order.
pub(super) struct Ranges {
    objects: OneBehindTheOther<VerifiedObject>,
    reports: Vec<Report>,
    /// Digest of the program that made all of them; empty where it was more than one, or is not known.
    program: String,
}

/// Joins the ranges of a job; or adds those that are to be made, and leaves the job until they are.
pub(super) async fn run(shared: &Shared, row: JobRow) {
    let Some((row, record, recipe)) = run::begin(shared, row).await else { return };
    let found = match find(shared, &row.job, &recipe).await {
        Ok(found) => found,
        Err(error) => return run::end(shared, row, Err(Setback::Trouble(error))).await,
    };
    match found {
        Found::Ranges(ranges) => run::run_joining(shared, (row, record), ranges).await,
        Found::Failed(failure) => run::end(shared, row, Ok(Decision::Failed(failure))).await,
        Found::Missing => {
            if let Err(error) = wait_for_all(shared, &row, &recipe).await {
                run::end(shared, row, Err(Setback::Trouble(error))).await;
            }
        }
    }
}

/// Adds what is missing, and puts the job back.
async fn wait_for_all(shared: &Shared, row: &JobRow, recipe: &Recipe) -> Result<(), JobsError> {
    let each = |range: &Recipe| (range.kind().to_owned(), recipe::canonical_text(range));
    let ranges: Vec<_> = ranges::of(recipe).iter().map(each).collect();
    shared.records().add_ranges(row, &ranges).await?;
    failpoint::hit("ranges.added");
    shared.records().put_back_job(row, shared.clock.now()).await?;
    Ok(())
}

async fn find(shared: &Shared, job: &NewJob, recipe: &Recipe) -> Result<Found, JobsError> {
    let rows = shared.records().ranges(job).await?;
    let read = |made: &str| serde_json::from_str::<Ended>(made).ok();
    let ended: Vec<_> = rows.iter().map(|range| read(&range.made)).collect();
    let failed = ended.iter().flatten().filter_map(|ended| match ended {
        Ended::Failed { code, message } if code != CANCELLED => Some((code, message)),
        _ => None,
    });
    if let Some((code, message)) = failed.into_iter().next() {
        return Ok(Found::Failed(Failure::of_range(code, message.clone())));
    }
    let mut made = Vec::with_capacity(rows.len());
    for one in ended {
        // One that is cancelled belongs to an attempt that was given up.
        let Some(Ended::Made { object, report, program }) = one else { break };
        match shared.objects.open_object(&object).await {
            Ok(object) => made.push((object, *report, program.unwrap_or_default())),
            Err(StoreError::NotFound { .. } | StoreError::KeyGone { .. }) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if made.len() == ranges::of(recipe).len() && made.len() == rows.len() {
        return Ok(Found::Ranges(Ranges::new(made)));
    }
    if !rows.is_empty() {
        tracing::warn!(item = %job.item, kind = job.kind, "ranges are made anew");
        dispose(shared, job).await?;
    }
    Ok(Found::Missing)
}

impl Ranges {
    fn new(made: Vec<(VerifiedObject, Report, String)>) -> Self {
        let (mut objects, mut reports, mut programs) = (Vec::new(), Vec::new(), Vec::new());
        for (object, report, program) in made {
            objects.push(object);
            reports.push(report);
            programs.push(program);
        }
        programs.dedup();
        let program = if programs.len() == 1 { programs.remove(0) } else { String::new() };
        Self { objects: OneBehindTheOther(objects), reports, program }
    }

    pub(super) fn source(&self) -> &OneBehindTheOther<VerifiedObject> {
        &self.objects
    }

    /// What a worker is asked for.
    pub(super) fn recipe(&self) -> Recipe {
        ranges::joined(&self.objects)
    }

    /// What was joined, with the account of its ranges.
    pub(super) fn account(&self, made: Made) -> Made {
        let program = made.program.filter(|program| program.to_string() == self.program);
        Made { report: ranges::account(made.report, &self.reports), program, ..made }
    }
}

/// Remembers what became of a range, if that is still wanted.
pub(super) async fn settle(
    shared: &Shared,
    row: &JobRow,
    decision: Decision,
) -> Result<(), JobsError> {
    let (records, item) = (shared.records(), row.job.item);
    let Some(whole) = &row.part_of else { return Ok(()) };
    let record = records.item(item).await?.filter(run::may_have_derivatives);
    let is_wanted = record.is_some() && records.is_open(item, whole).await?;
    match decision {
        Decision::Made(made) => {
            let object = made.object.clone();
            let is_ours = is_wanted && records.end_range(row, &Ended::of(*made)).await?;
            failpoint::hit("ranges.one-ended");
            if !is_ours {
                shared.objects.dispose(&object).await?;
            }
        }
        Decision::Failed(failure) if is_wanted => {
            let (code, message) = (failure.code().to_owned(), failure.to_string());
            records.end_range(row, &text(&Ended::Failed { code, message })).await?;
            // Nothing comes of the others.
            records.cancel_ranges(item, whole, ACTOR).await?;
        }
        Decision::Failed(_) | Decision::NotWanted => {}
    }
    if is_wanted { Ok(()) } else { Ok(records.forget_range(row).await?) }
}

impl Ended {
    fn of(Made { object, report, program, .. }: Made) -> String {
        let (report, program) = (Box::new(report), program.map(|digest| digest.to_string()));
        text(&Self::Made { object, report, program })
    }
}

fn text(ended: &Ended) -> String {
    serde_json::to_string(ended).expect("plain data with string keys is always JSON")
}

/// Removes what the ranges of a job gave, and forgets them. One that somebody still works on removes its own.
pub(super) async fn dispose(shared: &Shared, job: &NewJob) -> Result<(), JobsError> {
    for range in shared.records().ranges(job).await? {
        if range.made.is_empty() {
            shared.records().cancel_ranges(job.item, &job.recipe_id, ACTOR).await?;
            continue;
        }
        if let Some(attempt) = &range.row.attempt {
            attempt::remove(shared, attempt).await?;
        }
        failpoint::hit("ranges.one-removed");
        shared.records().forget_range(&range.row).await?;
    }
    Ok(())
}

//! What somebody asks for: made at once, in this process, unless another has begun it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use storage::clock::Clock;
use storage::ledger::Ledger;
use storage::objects::ObjectStore;
use storage::records::{Asked, DerivativeView, FailureView, ItemRecord, JobRow, NewJob};

use super::follow::new_job;
use super::{JobsError, Shared, TROUBLE_PAUSE, run};
use crate::recipe::Recipe;
use crate::supervise::Supervisor;

/// How often it is looked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After so many troubles of this machine whoever asked hears of it.
const TROUBLES_ALLOWED: u64 = 3;

/// Makes what somebody asks for. Running [`super::Jobs`] are not needed and not in the way.
#[derive(Debug)]
pub struct Asker {
    shared: Shared,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Made(DerivativeView),
    Failed(FailureView),
    /// Nobody may have derivatives of this item: it is restricted, quarantined or gone.
    NotAllowed,
}

impl Asker {
    /// `free_space_kept_bytes` as in [`super::JobOptions`].
    pub fn new(
        ledger: Ledger,
        objects: ObjectStore,
        supervisor: Supervisor,
        clock: Arc<dyn Clock>,
        free_space_kept_bytes: u64,
    ) -> Self {
        Self { shared: Shared::new(ledger, objects, supervisor, clock, free_space_kept_bytes) }
    }

    /// Makes `recipes` of an item, all that can be in one pass, but for those that are there already; what came of each, in their
    /// order. One that failed before is tried again. `progress` hears thousandths.
    ///
    /// # Errors
    /// Troubles of this machine. The jobs are not lost: a server goes on with them.
    pub async fn ask(
        &self,
        record: &ItemRecord,
        recipes: &[Recipe],
        asked: &Asked,
        progress: &(dyn Fn(u16) + Sync),
    ) -> Result<Vec<Answer>, JobsError> {
        if !run::may_have_derivatives(record) {
            return Ok(vec![Answer::NotAllowed; recipes.len()]);
        }
        let (records, item) = (self.shared.records(), record.item);
        let jobs: Vec<_> = recipes.iter().map(|recipe| new_job(item, recipe)).collect();
        let made = records.derivatives(item).await?;
        for job in jobs.iter().filter(|job| !made.iter().any(|d| d.recipe_id == job.recipe_id)) {
            records.ask_for(job, asked).await?;
        }
        tokio::select! {
            done = self.work(&jobs) => done?,
            () = self.report(record, &jobs, progress) => {}
        }
        let made = records.derivatives(item).await?;
        let failures = records.failures(item).await?;
        let answer = |job: &NewJob| {
            let made = made.iter().find(|derivative| derivative.recipe_id == job.recipe_id);
            let failed = failures.iter().rfind(|failure| failure.recipe_id == job.recipe_id);
            let failed = failed.cloned().map_or(Answer::NotAllowed, Answer::Failed);
            made.cloned().map_or(failed, Answer::Made)
        };
        Ok(jobs.iter().map(answer).collect())
    }

    /// Works on what nobody else has until all is decided.
    async fn work(&self, jobs: &[NewJob]) -> Result<(), JobsError> {
        let records = self.shared.records();
        loop {
            let (mut claimed, mut is_any_open) = (Vec::new(), false);
            for job in jobs {
                is_any_open |= records.is_open(job.item, &job.recipe_id).await?;
                claimed.extend(records.claim_job(job).await?);
            }
            if !is_any_open {
                return Ok(());
            }
            if !claimed.is_empty() {
                self.run(claimed).await?;
            } else if !self.run_ranges(jobs).await? {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Works on `claimed`, after a pause where there was trouble with it, and not for ever.
    async fn run(&self, claimed: Vec<JobRow>) -> Result<(), JobsError> {
        let troubles = claimed.iter().map(|row| row.troubles).max().unwrap_or(0);
        if troubles >= TROUBLES_ALLOWED {
            for row in claimed {
                self.shared.records().put_back_job(&row, self.shared.clock.now()).await?;
            }
            return Err(JobsError::Waits);
        }
        if troubles > 0 {
            tokio::time::sleep(TROUBLE_PAUSE).await;
        }
        run::run_claimed(&self.shared, claimed).await;
        Ok(())
    }

    /// Works on ranges of `jobs` that nobody else has, by a worker for each core; whether there were any.
    async fn run_ranges(&self, jobs: &[NewJob]) -> Result<bool, JobsError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = (0..cores).map(|_| async {
            let mut has_any = false;
            for job in jobs {
                while let Some(row) = self.shared.records().claim_range(job).await? {
                    self.run(vec![row]).await?;
                    has_any = true;
                }
            }
            Ok::<_, JobsError>(has_any)
        });
        Ok(try_join_all(workers).await?.contains(&true))
    }

    /// For as long as it is worked on.
    async fn report(&self, record: &ItemRecord, jobs: &[NewJob], progress: &(dyn Fn(u16) + Sync)) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            // Whoever asked can do without; the work tells of trouble.
            let making = self.shared.records().making(record).await.unwrap_or_default();
            let is_ours = |kind: &str| jobs.iter().any(|job| job.kind == kind);
            let ours = making.iter().filter(|one| is_ours(&one.kind));
            if let Some(permille) = ours.filter_map(|one| one.permille).max() {
                progress(permille);
            }
        }
    }
}

//! What somebody asks for: made at once, in this process, unless another has begun it.

use std::sync::Arc;
use std::time::Duration;

use storage::clock::Clock;
use storage::ledger::Ledger;
use storage::objects::ObjectStore;
use storage::records::{Asked, DerivativeView, FailureView, ItemRecord, NewJob};

use super::follow::new_job;
use super::{JobsError, Shared, TROUBLE_PAUSE, run};
use crate::recipe::Recipe;
use crate::supervise::Supervisor;

/// How often it is looked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After so many troubles of this machine whoever asked hears of it.
const TROUBLES_ALLOWED: u32 = 3;

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

    /// Makes `recipe` of an item, unless it is there already. One that failed before is tried again. `progress` hears thousandths.
    ///
    /// # Errors
    /// Troubles of this machine. The job is not lost: a server goes on with it.
    pub async fn ask(
        &self,
        record: &ItemRecord,
        recipe: &Recipe,
        asked: &Asked,
        progress: &(dyn Fn(u16) + Sync),
    ) -> Result<Answer, JobsError> {
        if !run::may_have_derivatives(record) {
            return Ok(Answer::NotAllowed);
        }
        let job = new_job(record.item, recipe);
        if let Some(made) = self.made(&job).await? {
            return Ok(Answer::Made(made));
        }
        let records = self.shared.records();
        records.ask_for(&job, asked).await?;
        let mut troubles = 0;
        while records.is_open(&job).await? {
            if let Some(row) = records.claim_job(&job).await? {
                tokio::select! {
                    () = run::run_claimed(&self.shared, vec![row]) => {}
                    never = self.report(record, &job, progress) => match never? {},
                }
                troubles += 1;
            } else {
                self.look(record, &job, progress).await?;
                continue;
            }
            if records.is_open(&job).await? {
                if troubles == TROUBLES_ALLOWED {
                    return Err(JobsError::Waits);
                }
                tokio::time::sleep(TROUBLE_PAUSE).await;
            }
        }
        if let Some(made) = self.made(&job).await? {
            return Ok(Answer::Made(made));
        }
        let failures = records.failures(record.item).await?;
        let failure = failures.into_iter().rfind(|failure| failure.recipe_id == job.recipe_id);
        Ok(failure.map_or(Answer::NotAllowed, Answer::Failed))
    }

    async fn made(&self, job: &NewJob) -> Result<Option<DerivativeView>, JobsError> {
        let made = self.shared.records().derivatives(job.item).await?;
        Ok(made.into_iter().find(|derivative| derivative.recipe_id == job.recipe_id))
    }

    async fn report(
        &self,
        record: &ItemRecord,
        job: &NewJob,
        progress: &(dyn Fn(u16) + Sync),
    ) -> Result<std::convert::Infallible, JobsError> {
        loop {
            self.look(record, job, progress).await?;
        }
    }

    async fn look(
        &self,
        record: &ItemRecord,
        job: &NewJob,
        progress: &(dyn Fn(u16) + Sync),
    ) -> Result<(), JobsError> {
        tokio::time::sleep(LOOK_EVERY).await;
        let making = self.shared.records().making(record).await?;
        if let Some(permille) =
            making.iter().find(|one| one.kind == job.kind).and_then(|one| one.permille)
        {
            progress(permille);
        }
        Ok(())
    }
}

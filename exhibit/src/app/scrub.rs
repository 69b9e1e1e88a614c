//! The scrub as a whole: everything is read again, faults and their end become entries, and a backup mends what it can.

use chain_of_custody::command::{Command, Guard};
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::ItemId;
use serde_json::{Value, json};
use storage::backup::BackupFolder;
use storage::failpoint;
use storage::objects::ObjectStore;
use storage::records::ScrubRow;
use storage::scrub::{FaultCode, Finding, Held, Pace, Walk};

use super::App;
use super::keep::backup_failure;
use super::open::{failed, new_event, random_salt};
use crate::control::{Actor, Failure, ProgressSender, ScrubRequest};

/// Of findings, so many are remembered; more have one cause.
const MAX_FINDINGS: usize = 10_000;
/// After each bundle of entries the scrub rests for as long as it read, up to this, so that uploads come first.
const LONGEST_REST: std::time::Duration = std::time::Duration::from_secs(5);

impl App {
    /// Reads everything that the ledger names, from where the last scrub was cut off.
    pub(super) async fn scrub(
        &self,
        actor: &Actor,
        asked: &ScrubRequest,
        progress: ProgressSender,
    ) -> Result<Value, Failure> {
        let _one_at_a_time = self.parts.scrubbing.try_lock().map_err(|_| {
            Failure::new("scrub", "a scrub is under way")
                .advice("exhibit status shows the last one")
        })?;
        let repair = self.backup_to_repair_from(asked).await?;
        let mut pace = Pace::new(asked.bytes_per_s);
        let mut repaired = Vec::new();
        let records = &self.parts.records;
        let cannot = |e: storage::records::RecordsError| failed("records", &e);
        let mut state = records.scrub().await.map_err(cannot)?;
        if state.started_at_ms.is_none() {
            let now = self.parts.clock.now().unix_millis();
            state =
                ScrubRow { started_at_ms: Some(now), next_leaf: 0, findings: Vec::new(), ..state };
        }
        let resumed_at = state.next_leaf;
        let origin = self.parts.ledger.latest().unverified().origin.clone();
        let walk = Walk::begin(&self.parts.objects, &origin, &self.parts.keys.log.vkey()).await;
        let mut walk = walk.map_err(|e| failed("ledger", &e))?;
        let (size, mut objects) = (walk.size(), 0);
        while let Some((at, held)) = walk.next().await.map_err(|e| failed("ledger", &e))? {
            if at.0 <= resumed_at {
                continue;
            }
            let began = std::time::Instant::now();
            for held in held.iter().filter(|held| held.leaf_index.0 >= resumed_at) {
                objects += 1;
                let mut found = self.scrub_one(held, &mut pace, actor).await?;
                if let (Some(backup), Some(fault)) = (&repair, &found)
                    && self.repair(backup.objects(), held, fault, actor).await?
                {
                    repaired.extend(found.take());
                }
                let room = state.findings.len() < MAX_FINDINGS;
                state.findings.extend(found.filter(|_| room));
                progress.report("reading what is held", held.leaf_index.0, size.0);
            }
            state.next_leaf = at.0;
            records.keep_scrub(&state).await.map_err(cannot)?;
            failpoint::hit("scrub.kept");
            if !asked.full_speed && asked.bytes_per_s.is_none() {
                tokio::time::sleep(began.elapsed().min(LONGEST_REST)).await;
            }
        }
        state.findings.extend(walk.finish().await.map_err(|e| failed("ledger", &e))?);
        let orphans = self.orphans().await?;
        let findings = self.with_cases(&state.findings).await?;
        let ended = ScrubRow {
            started_at_ms: None,
            next_leaf: 0,
            findings: Vec::new(),
            ended_at_ms: Some(self.parts.clock.now().unix_millis()),
            objects,
            ended_findings: state.findings,
        };
        records.keep_scrub(&ended).await.map_err(cannot)?;
        Ok(json!({
            "result": if ended.ended_findings.is_empty() { "match" } else { "mismatch" },
            "entries": size.0,
            "resumed_at": resumed_at,
            "objects": objects,
            "findings": findings,
            "repaired": repaired,
            "orphans": orphans,
        }))
    }

    /// Findings, each with the cases that its item is linked to: whom it concerns.
    async fn with_cases(&self, findings: &[Finding]) -> Result<Vec<Value>, Failure> {
        let mut answers = Vec::with_capacity(findings.len());
        for finding in findings {
            let cases = match finding.item {
                Some(item) => self.parts.records.cases_of_item(item).await,
                None => Ok(Vec::new()),
            };
            let cases = cases.map_err(|e| failed("records", &e))?;
            let references: Vec<_> = cases.into_iter().map(|case| case.reference).collect();
            let mut answer = serde_json::to_value(finding).expect("a finding is plain data");
            answer["cases"] = references.into();
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Reads one object whole. What is wrong with an original becomes an entry, once; what was wrong and is not any
    /// more, too.
    async fn scrub_one(
        &self,
        held: &Held,
        pace: &mut Pace,
        actor: &Actor,
    ) -> Result<Option<Finding>, Failure> {
        let read = pace.read_through(&self.parts.objects, &held.object).await;
        let finding = match &read {
            Ok(()) => None,
            Err(error) => match Finding::about(held, error) {
                Some(finding) => Some(finding),
                // It could not be looked at: that is no finding, and no whole object.
                None => return Err(failed("storage", error)),
            },
        };
        if held.recipe_id.is_some() {
            // A derivative can be made again; its item is not at fault.
            return Ok(finding);
        }
        let item = self.parts.records.item(held.item).await.map_err(|e| failed("records", &e))?;
        let standing = item.map_or_else(String::new, |item| item.fault);
        match &finding {
            Some(found) if found.code.as_str() != standing => {
                tracing::error!(item = %held.item, code = found.code.as_str(), "an original is not as it was received");
                self.record_fault(held.item, found.code, actor).await?;
            }
            None if !standing.is_empty() => self.record_whole(held.item, actor).await?,
            _ => {}
        }
        Ok(finding)
    }

    async fn backup_to_repair_from(
        &self,
        asked: &ScrubRequest,
    ) -> Result<Option<BackupFolder>, Failure> {
        let Some(folder) = &asked.repair_from else { return Ok(None) };
        let origin = self.parts.ledger.latest().unverified().origin.clone();
        let opened = BackupFolder::for_reading(folder, self.parts.keys.kek.clone(), &origin).await;
        opened.map(Some).map_err(|e| backup_failure(&e))
    }

    /// Brings a good copy back, where the backup has one; that the fault is over becomes an entry. False when it could not.
    async fn repair(
        &self,
        backup: &ObjectStore,
        held: &Held,
        fault: &Finding,
        actor: &Actor,
    ) -> Result<bool, Failure> {
        if let Err(error) = self.parts.objects.mend(backup, &held.object).await {
            tracing::warn!(object = fault.name, "could not be repaired: {error}");
            return Ok(false);
        }
        failpoint::hit("scrub.mended");
        tracing::info!(object = fault.name, code = fault.code.as_str(), "repaired from a backup");
        if held.recipe_id.is_none() {
            self.record_whole(held.item, actor).await?;
        }
        Ok(true)
    }

    async fn record_fault(&self, item: ItemId, code: FaultCode, by: &Actor) -> Result<(), Failure> {
        let command = about(EventKind::StorageFault, item, by);
        self.submit(command.field(field::REASON_CODE, code.as_str(), random_salt())).await
    }

    async fn record_whole(&self, item: ItemId, by: &Actor) -> Result<(), Failure> {
        self.submit(about(EventKind::ItemVerified, item, by)).await
    }

    async fn submit(&self, command: Command) -> Result<(), Failure> {
        let placed = self.parts.ledger.submit(command).await;
        placed.map(drop).map_err(|e| failed("ledger", &e))
    }

    /// Files in the store that no entry names: nothing is missing, something is too much.
    async fn orphans(&self) -> Result<Vec<String>, Failure> {
        let found = storage::scrub::orphans(&self.parts.objects, &self.parts.records).await;
        found.map_err(|e| failed("storage", &e))
    }
}

fn about(kind: EventKind, item: ItemId, by: &Actor) -> Command {
    Command::new(kind, new_event())
        .touching(item)
        .provided(Guard::SubjectExists(item.into()))
        .field(field::BY, by.as_str(), random_salt())
}

//! What keeping asks of whoever holds the data folder: backups, the scrub, how it is.

use std::net::SocketAddr;
use std::path::Path;

use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Extension, Router};
use chain_of_custody::command::{Command, Guard};
use chain_of_custody::digest::Sha256;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{ItemId, TreeSize};
use serde_json::{Value, json};
use storage::backup::{self, BackupError, Source};
use storage::failpoint;
use storage::records::ScrubRow;
use storage::scrub::{FaultCode, Finding, Held, Walk};

use super::open::{failed, new_event, random_salt};
use super::{App, Parts};
use crate::config;
use crate::control::{Actor, Failure, ProgressSender};
use crate::keeping::{Live, Look, alerts, measure};

/// The database's copy during a backup, in the data folder.
pub(crate) const SCRATCH: &str = "records.backup";
/// Of findings, so many are remembered; more have one cause.
const MAX_FINDINGS: usize = 10_000;
/// After each bundle of entries the scrub rests for as long as it read, up to this, so that uploads come first.
const LONGEST_REST: std::time::Duration = std::time::Duration::from_secs(5);

impl App {
    /// What only this process knows.
    pub(crate) fn live(&self) -> Live {
        let log_witnesses = self.parts.ledger.log_witnesses();
        let newest = log_witnesses.iter().filter_map(|w| w.cosigned.map(|c| c.time_unix_s)).max();
        Live {
            stopped: self.parts.ledger.stop_reason(),
            resident_bytes: resident_bytes(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cosigned_unix_s: newest.and_then(|at| i64::try_from(at).ok()),
            log_witnesses: log_witnesses.len() as u64,
            log_witness_troubles: log_witnesses
                .into_iter()
                .filter_map(|w| Some(format!("{}: {}", w.name, w.trouble?.reason)))
                .collect(),
        }
    }

    /// `/metrics`, for who may ask: see [`may_ask`].
    pub(super) fn metrics(&self) -> Router {
        let app = self.clone();
        Router::new().route(
            "/metrics",
            get(
                move |Extension(ConnectInfo(peer)): Extension<ConnectInfo<SocketAddr>>,
                      headers: HeaderMap| {
                    let app = app.clone();
                    async move {
                        if !may_ask(&app.parts.config.server, peer, &headers) {
                            return StatusCode::NOT_FOUND.into_response();
                        }
                        let Parts { data, config, records, .. } = &*app.parts;
                        let objects = app.parts.objects.clone();
                        let records = records.clone();
                        let look =
                            Look::from_inside(data, config, app.live(), records, objects).await;
                        match measure(&look).await {
                            Ok(measured) => {
                                let kind = (header::CONTENT_TYPE, "text/plain; version=0.0.4");
                                ([kind], alerts::metrics(&measured)).into_response()
                            }
                            Err(error) => {
                                tracing::error!(%error, "metrics");
                                StatusCode::SERVICE_UNAVAILABLE.into_response()
                            }
                        }
                    }
                },
            ),
        )
    }

    /// Brings the backup in `to` up to this moment.
    pub(super) async fn backup(
        &self,
        to: &Path,
        read_again: bool,
        anew: bool,
        progress: ProgressSender,
    ) -> Result<Value, Failure> {
        let records = &self.parts.records;
        let folder = to.display().to_string();
        let cannot = |e: storage::records::RecordsError| failed("records", &e);
        if anew {
            records.forget_backup(&folder).await.map_err(cannot)?;
        }
        let known = records.backups().await.map_err(cannot)?;
        let before = known.iter().find(|row| row.folder == folder).map(|row| row.entries);
        let source = Source {
            records,
            objects: &self.parts.objects,
            origin: self.parts.ledger.latest().unverified().origin.clone(),
            log_key: self.parts.keys.log.vkey(),
            scratch: self.parts.data.join(SCRATCH),
            settings: self.parts.settings.clone(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            now_ms: self.parts.clock.now().unix_millis(),
            before,
        };
        let mut step = |what: &str, done, of| progress.report(what, done, of);
        let taken = backup::take(&source, to, read_again, &mut step).await;
        let taken = taken.map_err(|e| backup_failure(&e))?;
        let faults = taken.faults.len() as u64;
        self.note_backup(&folder, taken.entries, faults, read_again).await?;
        let mut answer = serde_json::to_value(&taken).expect("what was taken is plain data");
        answer["folder"] = json!(folder);
        Ok(answer)
    }

    /// A backup was read through elsewhere.
    pub(super) async fn note_backup(
        &self,
        folder: &str,
        entries: TreeSize,
        faults: u64,
        read: bool,
    ) -> Result<Value, Failure> {
        let (records, now) = (&self.parts.records, self.parts.clock.now());
        let noted = records.note_backup(folder, entries, faults, read, now).await;
        noted.map_err(|e| failed("records", &e))?;
        Ok(json!({"folder": folder}))
    }

    /// Reads everything that the ledger names, from where the last scrub was cut off.
    pub(super) async fn scrub(
        &self,
        actor: &Actor,
        full_speed: bool,
        progress: ProgressSender,
    ) -> Result<Value, Failure> {
        let _one_at_a_time = self.parts.scrubbing.try_lock().map_err(|_| {
            Failure::new("scrub", "a scrub is under way")
                .advice("exhibit status shows the last one")
        })?;
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
                let found = self.scrub_one(held, actor).await?;
                let room = state.findings.len() < MAX_FINDINGS;
                state.findings.extend(found.filter(|_| room));
                progress.report("reading what is held", held.leaf_index.0, size.0);
            }
            state.next_leaf = at.0;
            records.keep_scrub(&state).await.map_err(cannot)?;
            failpoint::hit("scrub.kept");
            if !full_speed {
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
    async fn scrub_one(&self, held: &Held, actor: &Actor) -> Result<Option<Finding>, Failure> {
        let read = self.parts.objects.read_through(&held.object).await;
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

/// Programs on this machine, unless a proxy stands in front: then everybody seems to be on this machine, and only who
/// has the token may ask. Counts and ages are no secret of anybody's, but how a force's disk fills is none of a stranger's business.
fn may_ask(config: &config::Server, peer: SocketAddr, headers: &HeaderMap) -> bool {
    if peer.ip().is_loopback() && !config.behind_proxy {
        return true;
    }
    let token = std::fs::read_to_string(&config.metrics_token_file).unwrap_or_default();
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let sent = sent.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let same = Sha256::of(token.trim().as_bytes()) == Sha256::of(sent.as_bytes());
    !token.trim().is_empty() && same
}

fn about(kind: EventKind, item: ItemId, by: &Actor) -> Command {
    Command::new(kind, new_event())
        .touching(item)
        .provided(Guard::SubjectExists(item.into()))
        .field(field::BY, by.as_str(), random_salt())
}

/// What went wrong with a backup, and what to do.
pub(crate) fn backup_failure(error: &BackupError) -> Failure {
    let failure = failed("backup", error);
    match error {
        BackupError::Full { .. } => failure.advice(
            "the backup before is as it was and stays good: make room or name a larger folder, then run it again",
        ),
        BackupError::Altered { .. } | BackupError::OtherHistory | BackupError::Ahead { .. } => {
            failure.advice(
                "nothing was written there: keep that folder as it is, find out who or what changed it, and back up into a new one",
            )
        }
        BackupError::OtherKey { .. } => {
            failure.advice("bring back the force's key that was in use then, from the escrow")
        }
        BackupError::Ledger(_) | BackupError::Store(_) | BackupError::Records(_) => {
            failure.advice("the backup before is as it was; exhibit doctor looks for the cause")
        }
        _ => failure,
    }
}

/// Memory of this process, from /proc.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    kib * 1024
}

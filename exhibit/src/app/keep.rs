//! What keeping asks of whoever holds the data folder: backups, how it is.

use std::net::SocketAddr;
use std::path::Path;

use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Extension, Router};
use chain_of_custody::digest::Sha256;
use chain_of_custody::ids::TreeSize;
use serde_json::{Value, json};
use storage::backup::{self, BackupError, Source};

use super::open::failed;
use super::{App, Parts};
use crate::config;
use crate::control::{Failure, ProgressSender};
use crate::keeping::{Live, Look, alerts, measure};

/// The database's copy during a backup, in the data folder.
pub(crate) const SCRATCH: &str = "records.backup";
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

//! The ledger's log witnesses over HTTP, and what a person says when one of them knows more than we do.

use std::sync::Arc;
use std::time::Duration;

use chain_of_custody::command::Command;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{SubjectId, SubjectKind, TreeSize};
use chain_of_custody::log_witness::{Answer, MAX_ANSWER_BYTES};
use chain_of_custody::note::VerifierKey;
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use storage::ledger::{Ledger, LedgerError, LogWitness, LogWitnesses};
use storage::records::WITNESSED_SIZE;

use super::App;
use super::open::{failed, new_event, random_salt};
use crate::config::{self, ConfiguredWitness};
use crate::control::{Actor, Failure};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest size known outside, as the person said.
const KNOWN_SIZE: &str = "known-size";
/// How many entries were published here when another history was confirmed to be known outside.
const PUBLISHED_SIZE: &str = "published-size";

/// A person's word that a larger ledger is known outside and that ours goes on all the same.
#[derive(Debug, Clone)]
pub(crate) struct Recovery {
    /// The largest size known outside.
    pub(crate) known: TreeSize,
    pub(crate) reason: String,
    /// The folder was restored from a backup: its head is confirmed also where nothing is missing.
    pub(crate) restored: bool,
}

/// The configured log witnesses and their keys.
pub(super) fn configured(
    config: &config::Ledger,
    recovery: Option<&Recovery>,
) -> Result<(LogWitnesses, Vec<VerifierKey>), Failure> {
    let wrong =
        |text: String| Failure::new("configuration", format!("setting ledger.witnesses: {text}"));
    let witnesses = config.log_witnesses().map_err(wrong)?;
    let keys = witnesses.iter().map(|witness| witness.key.clone()).collect();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|e| failed("log-witness", &e))?;
    let way = |witness: ConfiguredWitness| -> Arc<dyn LogWitness> {
        Arc::new(OverHttp { client: client.clone(), witness })
    };
    let ways = witnesses.into_iter().map(way).collect();
    Ok((LogWitnesses { ways, confirmed: recovery.map(|r| r.known) }, keys))
}

/// What a person can do when the ledger does not open.
pub(super) fn not_opened(error: &LedgerError) -> Failure {
    let failure = failed("ledger", error);
    match error {
        LedgerError::HeadNotConfirmed { known, .. } => failure.advice(format!(
            "if nothing newer exists anywhere, the entries after it are lost and somebody has to answer for it:\n         exhibit ledger recover --size {known} --reason TEXT"
        )),
        _ => failure,
    }
}

impl App {
    /// Records that a person confirmed this ledger although a larger one is known outside.
    pub(crate) async fn record_recovery(
        &self,
        recovery: &Recovery,
        actor: &Actor,
    ) -> Result<Value, Failure> {
        let published = self.parts.ledger.latest().unverified().size;
        if recovery.known <= published && !recovery.restored {
            let text = format!("{published} entries are published here: nothing is missing");
            return Err(Failure::new("ledger", text)
                .advice("--size is the largest size that was ever seen"));
        }
        let witnessed = self.parts.ledger.known_outside().unwrap_or(TreeSize(0));
        let mut command = Command::new(EventKind::LedgerRecovered, new_event())
            .public(WITNESSED_SIZE, witnessed.to_string())
            .public(KNOWN_SIZE, recovery.known.to_string())
            .public(PUBLISHED_SIZE, published.to_string())
            .field(field::REASON, recovery.reason.as_str(), random_salt())
            .field(field::BY, actor.as_str(), random_salt());
        // An origin need not be a subject's name; the entry itself is what counts.
        if let Ok(force) = SubjectId::new(SubjectKind::Force, &self.parts.config.force.ledger) {
            command = command.touching(force);
        }
        let placed = self.parts.ledger.submit(command).await.map_err(|e| failed("ledger", &e))?;
        Ok(json!({
            "leaf_index": placed.leaf_index.0,
            "known_size": recovery.known.0,
            "witnessed_size": witnessed.0,
            "published_size": published.0,
        }))
    }
}

/// The checkpoint as published, and how it stands with each log witness.
pub(super) fn checkpoint(ledger: &Ledger) -> Value {
    json!({"checkpoint": ledger.latest().to_string(), "log_witnesses": ledger.log_witnesses()})
}

/// A log witness at an address.
#[derive(Debug)]
struct OverHttp {
    client: reqwest::Client,
    witness: ConfiguredWitness,
}

impl LogWitness for OverHttp {
    fn key(&self) -> &VerifierKey {
        &self.witness.key
    }

    fn add_checkpoint(&self, body: String) -> BoxFuture<'_, Result<Answer, String>> {
        let url = format!("{}/add-checkpoint", self.witness.url);
        let request = self.client.post(url).body(body);
        async move {
            let unreachable = |e: reqwest::Error| format!("it cannot be reached: {}", cause(&e));
            let answer = request.send().await.map_err(unreachable)?;
            let status = answer.status().as_u16();
            let content_type = answer.headers().get(CONTENT_TYPE);
            let content_type = content_type.and_then(|v| v.to_str().ok()).map(str::to_owned);
            let mut body = Vec::new();
            let mut pieces = answer.bytes_stream();
            while let Some(piece) = pieces.next().await {
                body.extend_from_slice(&piece.map_err(unreachable)?);
                if body.len() > MAX_ANSWER_BYTES {
                    return Err("its answer is too long".to_owned());
                }
            }
            Ok(Answer { status, content_type, body })
        }
        .boxed()
    }
}

/// The innermost cause: the others only repeat the address.
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

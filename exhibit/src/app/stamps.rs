//! Time stamps: the published checkpoint, dated by authorities outside the force (RFC 3161), daily and before an export.

use std::path::Path;
use std::time::Duration;

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::command::Command;
use chain_of_custody::digest::Sha256;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{SubjectId, SubjectKind};
use chain_of_custody::stamp::{MAX_STAMP_BYTES, Stamp, StampRequest};
use futures_util::StreamExt as _;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use storage::ledger::{STAMP_SIZE, STAMP_TSR_SHA256};

use super::App;
use super::open::{failed, new_event, random_salt};
use crate::control::Failure;

/// How long one authority may take.
const AUTHORITY_TIMEOUT: Duration = Duration::from_secs(10);
/// The published checkpoint is stamped when the last stamp is older than this.
const STAMP_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// In the public part of a `checkpoint.timestamped` entry.
const AUTHORITY: &str = "authority";
const TIME: &str = "time";

impl App {
    /// Stamps the published checkpoint once a day, until the process ends. Does nothing without authorities.
    pub(crate) fn start_stamping(&self) {
        if self.parts.config.ledger.timestamp_authorities.is_empty() {
            return;
        }
        let app = self.clone();
        tokio::spawn(async move {
            loop {
                if app.is_stamp_due().await
                    && let Err(failure) = app.stamp("exhibit").await
                {
                    tracing::error!("the checkpoint was not time-stamped: {}", failure.message);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
    }

    async fn is_stamp_due(&self) -> bool {
        let stamps = self.parts.records.entries_of(EventKind::CheckpointTimestamped).await;
        let newest = stamps.ok().and_then(|stamps| stamps.last().map(|(_, entry)| entry.at));
        let now = self.parts.clock.now().unix_seconds();
        newest.is_none_or(|at| now - at.unix_seconds() >= STAMP_EVERY.as_secs().cast_signed())
    }

    /// Has every configured authority stamp the published checkpoint; keeps each answer and records it. One authority
    /// that does not answer does not keep the others from it.
    pub(super) async fn stamp(&self, by: &str) -> Result<Value, Failure> {
        let authorities = &self.parts.config.ledger.timestamp_authorities;
        if authorities.is_empty() {
            return Err(Failure::new("configuration", "no time-stamp authority is configured")
                .advice(
                    "setting ledger.timestamp_authorities, for example [\"http://tsa.example/\"]",
                ));
        }
        let checkpoint = self.parts.ledger.latest();
        let size = checkpoint.unverified().size.0;
        let imprint = Sha256::of(checkpoint.to_string().as_bytes());
        let (mut stamps, mut missed) = (Vec::new(), Vec::new());
        for url in authorities {
            match obtain(url, imprint).await {
                Ok((answer, stamp)) => {
                    stamps.push(self.keep(url, &checkpoint, &answer, stamp, by).await?);
                }
                Err(reason) => {
                    tracing::warn!(authority = url, "no time stamp: {reason}");
                    missed.push(format!("{url}: {reason}"));
                }
            }
        }
        if stamps.is_empty() {
            return Err(Failure::new("time-stamp", missed.join("; ")));
        }
        Ok(json!({"size": size, "stamps": stamps, "missed": missed}))
    }

    /// The answer and what was stamped become files, then the entry says so.
    async fn keep(
        &self,
        url: &str,
        checkpoint: &SignedCheckpoint,
        answer: &[u8],
        stamp: Stamp,
        by: &str,
    ) -> Result<Value, Failure> {
        let kept = self.parts.ledger.keep_stamp(checkpoint, answer).await;
        kept.map_err(|e| failed("storage", &e))?;
        let (size, digest) = (checkpoint.unverified().size, Sha256::of(answer).to_string());
        let mut command = Command::new(EventKind::CheckpointTimestamped, new_event())
            .public(STAMP_SIZE, size.to_string())
            .public(AUTHORITY, url)
            .public(TIME, stamp.time.to_string())
            .public(STAMP_TSR_SHA256, &digest)
            .field(field::BY, by, random_salt());
        // An origin need not be a subject's name; the entry itself is what counts.
        if let Ok(force) = SubjectId::new(SubjectKind::Force, &self.parts.config.force.ledger) {
            command = command.touching(force);
        }
        let placed = self.parts.ledger.submit(command).await.map_err(|e| failed("ledger", &e))?;
        Ok(json!({
            "authority": url,
            "time": stamp.time.to_string(),
            "tsr_sha256": digest,
            "leaf_index": placed.leaf_index.0,
        }))
    }

    /// Writes every stamp and the checkpoint it is for into `folder/stamps`. Says how many.
    pub(super) async fn export_stamps(&self, folder: &Path) -> Result<usize, Failure> {
        let ledger = &self.parts.ledger;
        let stamps = ledger.stamps().await.map_err(|e| failed("ledger", &e))?;
        for stamp in &stamps {
            let files = ledger.stamp_files(stamp).await.map_err(|e| failed("ledger", &e))?;
            for (name, bytes) in files {
                let path = folder.join(name);
                let above = path.parent().unwrap_or(folder);
                tokio::fs::create_dir_all(above).await.map_err(|e| failed("path", &e))?;
                tokio::fs::write(path, bytes).await.map_err(|e| failed("path", &e))?;
            }
        }
        Ok(stamps.len())
    }
}

/// Asks one authority; the answer is for exactly these bytes and this request.
async fn obtain(url: &str, imprint: Sha256) -> Result<(Vec<u8>, Stamp), String> {
    let request = StampRequest { imprint, nonce: rand::random() };
    let answer = async {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let sent = client.post(url).header(CONTENT_TYPE, "application/timestamp-query");
        let answer = sent.body(request.to_der()).send().await?.error_for_status()?;
        let (mut body, mut pieces) = (Vec::new(), answer.bytes_stream());
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece?);
            if body.len() > MAX_STAMP_BYTES {
                break;
            }
        }
        Ok::<_, reqwest::Error>(body)
    };
    let answer = tokio::time::timeout(AUTHORITY_TIMEOUT, answer).await;
    let answer = answer.map_err(|_| "it does not answer in time".to_owned())?;
    let answer = answer.map_err(|e| e.without_url().to_string())?;
    let stamp = request.read(&answer).map_err(|e| e.to_string())?;
    Ok((answer, stamp))
}

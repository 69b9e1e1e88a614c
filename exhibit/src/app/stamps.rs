//! Time stamps: the published checkpoint, dated by authorities outside the force (RFC 3161), daily and before an export.

use std::path::Path;
use std::time::Duration;

use chain_of_custody::command::Command;
use chain_of_custody::digest::Sha256;
use chain_of_custody::entry::Entry;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{SubjectId, SubjectKind};
use chain_of_custody::stamp::{MAX_STAMP_BYTES, Stamp, StampRequest};
use futures_util::StreamExt as _;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

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
const SIZE: &str = "size";
const AUTHORITY: &str = "authority";
const TIME: &str = "time";
const TSR_SHA256: &str = "tsr-sha256";

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
        let bytes = checkpoint.to_string().into_bytes();
        let (mut stamps, mut missed) = (Vec::new(), Vec::new());
        for url in authorities {
            match obtain(url, &bytes).await {
                Ok((answer, stamp)) => {
                    stamps.push(self.keep(url, size, &bytes, answer, stamp, by).await?);
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
        size: u64,
        checkpoint: &[u8],
        answer: Vec<u8>,
        stamp: Stamp,
        by: &str,
    ) -> Result<Value, Failure> {
        let digest = Sha256::of(&answer).to_string();
        for (ending, bytes) in [("checkpoint", checkpoint), ("tsr", &answer)] {
            let name = self.stamp_file(size, &digest, ending);
            let kept = self.parts.objects.put_new(&name, bytes.to_vec()).await;
            kept.map_err(|e| failed("storage", &e))?;
        }
        let mut command = Command::new(EventKind::CheckpointTimestamped, new_event())
            .public(SIZE, size.to_string())
            .public(AUTHORITY, url)
            .public(TIME, stamp.time.to_string())
            .public(TSR_SHA256, &digest)
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

    fn stamp_file(&self, size: u64, tsr_sha256: &str, ending: &str) -> String {
        let origin = &self.parts.config.force.ledger;
        format!("ledger/{origin}/stamps/{}", file_name(size, tsr_sha256, ending))
    }

    /// Writes every stamp and the checkpoint it is for into `folder/stamps`. Says how many.
    pub(super) async fn export_stamps(&self, folder: &Path) -> Result<usize, Failure> {
        let stamps = self.parts.records.entries_of(EventKind::CheckpointTimestamped).await;
        let stamps = stamps.map_err(|e| failed("records", &e))?;
        let folder = folder.join("stamps");
        for (_, entry) in &stamps {
            let Some((size, digest)) = named(entry) else { continue };
            tokio::fs::create_dir_all(&folder).await.map_err(|e| failed("path", &e))?;
            for ending in ["checkpoint", "tsr"] {
                let bytes = self.parts.objects.get(&self.stamp_file(size, digest, ending)).await;
                let bytes = bytes.map_err(|e| failed("storage", &e))?;
                let path = folder.join(file_name(size, digest, ending));
                tokio::fs::write(path, bytes).await.map_err(|e| failed("path", &e))?;
            }
        }
        Ok(stamps.len())
    }
}

/// A stamp is named by the size it is for and by its own digest.
fn file_name(size: u64, tsr_sha256: &str, ending: &str) -> String {
    let id: String = tsr_sha256.chars().take(16).collect();
    format!("{size}-{id}.{ending}")
}

fn named(entry: &Entry) -> Option<(u64, &str)> {
    Some((entry.public.get(SIZE)?.parse().ok()?, entry.public.get(TSR_SHA256)?))
}

/// Asks one authority; the answer is for exactly these bytes and this request.
async fn obtain(url: &str, bytes: &[u8]) -> Result<(Vec<u8>, Stamp), String> {
    let request = StampRequest { imprint: Sha256::of(bytes), nonce: rand::random() };
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

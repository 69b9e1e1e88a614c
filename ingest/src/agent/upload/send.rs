//! Sending a clip: from wherever the server stands to its last byte.
//!
//! Invariants: the manifest is on the disk before it is sent; what the server says it holds is in the journal before
//! more is sent.

use std::io;

use bytes::Bytes;
use chain_of_custody::claim::GivenName;
use chain_of_custody::digest::Digests;
use chain_of_custody::manifest::{DockManifest, SignedManifest};
use chain_of_custody::note::SignedNote;
use chain_of_custody::receipt::ProgressReceipt;
use futures_util::StreamExt as _;
use reqwest::Body;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::body::{body_of, pump};
use super::{Journey, Stop, facts};
use crate::agent::AgentError;
use crate::agent::journal::{Journal, Record};
use crate::agent::observe::ClipEvent;
use crate::agent::reading::ReadError;
use crate::agent::report::Standing;
use crate::agent::retry::Trouble;
use crate::agent::server::{Activity, At, Finished};

/// The end of a file that travels with the manifest: it is in memory while the last digests are computed.
const TAIL_BYTES: u64 = 4 * 1024 * 1024;
/// One PATCH: after each, the server's word for what it holds is in the journal.
const PATCH_BYTES: u64 = 64 * 1024 * 1024;
/// Blocks read ahead of the line, per upload.
const READ_AHEAD_BLOCKS: usize = 3;
/// How often a progress receipt is asked for.
const PROGRESS_RECEIPT_EVERY_BYTES: u64 = 256 * 1024 * 1024;

impl Journey<'_> {
    /// From wherever the server stands to the receipt, once.
    pub(super) async fn attempt(&mut self) -> Result<Standing, Stop> {
        self.agent.register().await?;
        let mut at = self.ask().await?;
        if let Some(finished) = at.finished {
            return self.settle(finished).await;
        }
        if at.offset > self.size_bytes {
            let reason = "the server claims to hold more than there is".to_owned();
            return Err(Trouble::Refused { status: 200, reason }.into());
        }
        self.moved_to(at.offset);
        self.go_to(at.offset).await?;
        let tail = self.size_bytes.saturating_sub(TAIL_BYTES);
        while at.offset < tail {
            let end = tail.min(at.offset + PATCH_BYTES);
            self.send_body(at.offset, end).await?;
            at.offset = end;
        }
        let finished = self.send_tail(at.offset).await?;
        self.settle(finished).await
    }

    /// Where the server stands; begins the upload if there is none.
    async fn ask(&mut self) -> Result<At, Stop> {
        if let Some(upload) = &self.upload {
            return Ok(self.agent.server.at(upload).await?);
        }
        let manifest = if self.size_bytes == 0 { Some(self.manifest().await?) } else { None };
        let note = manifest.map(|manifest| manifest.to_string());
        let metadata = facts::metadata(self.path, self.seq, &self.claims);
        let created = self.agent.server.create(self.size_bytes, &metadata, note.as_deref()).await?;
        let (upload, at) = created;
        self.upload = Some(upload.clone());
        self.agent.record(Record::Opened { agent_seq: self.seq, upload }).await?;
        Ok(at)
    }

    /// Streams `offset..end`, reading and hashing as the line takes it.
    async fn send_body(&mut self, offset: u64, end: u64) -> Result<(), Stop> {
        let agent = self.agent;
        let upload = self.upload.clone().expect("asked before sending");
        let reader = self.reader.take().expect("one task at a time has it");
        let (blocks, ahead) = mpsc::channel(READ_AHEAD_BLOCKS);
        let (activity, stop) = (Activity::new(), CancellationToken::new());
        let body = body_of(ahead, activity.clone());
        let send = async {
            let reply = agent.server.patch(&upload, offset, (end - offset, body), None, &activity);
            let reply = reply.await;
            stop.cancel();
            reply
        };
        let sent = |offset| agent.observer.clip(self.path, &ClipEvent::Sent { offset });
        let (reply, (reader, read)) = tokio::join!(send, pump(reader, end, blocks, &stop, sent));
        self.reader = Some(reader);
        read?;
        let at = reply?;
        if at.offset != end || self.reader().position() != end {
            return Err(Trouble::Offset { status: 204 }.into());
        }
        self.acknowledged(end).await?;
        let crossed = end / PROGRESS_RECEIPT_EVERY_BYTES > offset / PROGRESS_RECEIPT_EVERY_BYTES;
        if crossed { self.progress_receipt(&upload).await } else { Ok(()) }
    }

    /// The server holds everything up to here: into the journal, with the digests so far.
    async fn acknowledged(&mut self, offset: u64) -> Result<(), AgentError> {
        self.moved_to(offset);
        self.reader().acknowledge();
        let digests = self.reader().digests();
        let agent_seq = self.seq;
        self.agent.record(Record::Acknowledged { agent_seq, offset, digests }).await
    }

    /// Sends the last bytes with the manifest, which is on the disk before.
    async fn send_tail(&mut self, offset: u64) -> Result<Finished, Stop> {
        let upload = self.upload.clone().expect("asked before sending");
        let size_bytes = self.size_bytes;
        let read = self.with_reader(move |reader| {
            let mut blocks = Vec::new();
            while reader.position() < size_bytes {
                blocks.push(reader.read_block(size_bytes)?);
            }
            Ok::<_, ReadError>(blocks)
        });
        let blocks = read.await?;
        let manifest = self.manifest().await?.to_string();
        let activity = Activity::new();
        let length = size_bytes - offset;
        let feed = activity.clone();
        let blocks = futures_util::stream::iter(blocks).map(move |block| {
            feed.touch();
            Ok::<Bytes, io::Error>(block)
        });
        let body = (length, Body::wrap_stream(blocks));
        let at = self.agent.server.patch(&upload, offset, body, Some(&manifest), &activity).await?;
        self.moved_to(at.offset);
        self.observe(&ClipEvent::Sent { offset: size_bytes });
        // A success without a receipt is none (I7): ask again.
        at.finished.ok_or(Stop::Trouble(Trouble::Faulty { status: 204 }))
    }

    /// The signed manifest of the clip, read to its end: the one kept, or a new one, kept before it is used.
    async fn manifest(&mut self) -> Result<SignedManifest, Stop> {
        let digests = self.read_to_end().await?;
        let seq = self.seq;
        let kept = self.agent.with_state(move |state| state.manifest(seq)).await?;
        let manifest = match kept {
            Some(kept) if kept.unverified().digests == digests => kept,
            Some(_) => return Err(ReadError::Changed("its bytes are not those read before").into()),
            None => self.sign_manifest(digests).await?,
        };
        let manifest_sha256 = manifest.sha256();
        let note_it = move |journal: &mut Journal| {
            let noted = journal.clip(seq).and_then(|clip| clip.manifested);
            if noted == Some((digests, manifest_sha256)) {
                return Ok(());
            }
            journal.append(Record::Manifested { agent_seq: seq, digests, manifest_sha256 })
        };
        self.agent.with_journal(note_it).await?;
        Ok(manifest)
    }

    async fn sign_manifest(&self, digests: Digests) -> Result<SignedManifest, AgentError> {
        let name = GivenName::new(&facts::name(self.path))
            .expect("a file has a name, and it is cut to length");
        let manifest = DockManifest {
            name,
            size_bytes: self.size_bytes,
            digests,
            camera: self.claims.camera.clone(),
            recording: self.claims.recording.clone(),
            captured_claimed: self.claims.captured,
            agent_seq: self.seq.0,
            source_seq: self.claims.source_seq.clone(),
        };
        let key = self.agent.state.key();
        let signed = manifest.sign(key).expect("a key in memory signs any statement of ours");
        let (seq, note) = (self.seq, signed.to_string());
        self.agent.with_state(move |state| state.keep_manifest(seq, &note)).await?;
        Ok(signed)
    }

    /// Keeps the server's statement of what it holds so far, if it gives one. It must be what we read.
    async fn progress_receipt(&mut self, upload: &str) -> Result<(), Stop> {
        let Ok(bytes) = self.agent.server.progress_receipt(upload).await else {
            tracing::debug!(agent_seq = %self.seq, "no progress receipt this time");
            return Ok(());
        };
        let Some((note, receipt)) = parse_progress(&bytes) else {
            tracing::warn!(agent_seq = %self.seq, "a progress receipt that is none");
            return Ok(());
        };
        let offset = self.reader().position();
        if receipt.held_bytes == offset && receipt.digests != self.reader().digests() {
            return Err(Trouble::Altered.into());
        }
        self.agent.record(Record::Progress { agent_seq: self.seq, note }).await?;
        self.observe(&ClipEvent::ProgressReceipt { offset: receipt.held_bytes });
        Ok(())
    }
}

fn parse_progress(bytes: &[u8]) -> Option<(String, ProgressReceipt)> {
    let note = SignedNote::parse(bytes).ok()?;
    let receipt = ProgressReceipt::parse(note.text()).ok()?;
    Some((note.to_string(), receipt))
}

//! One clip's way from the camera to a verified receipt.
//!
//! Here: the order of the steps, and what each failure means for the clip. Not here: HTTP (`server`), the retry rules
//! (`retry`), the checks of a receipt (`check`).
//! Invariant: every step is in the journal before the next one that relies on it, so a death between any two of them
//! costs time and nothing else; bytes of two states of a file never end in one upload.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chain_of_custody::claim::{GivenName, MAX_NAME_BYTES};
use chain_of_custody::digest::Digests;
use chain_of_custody::manifest::{DockManifest, SignedManifest};
use chain_of_custody::note::SignedNote;
use chain_of_custody::receipt::ProgressReceipt;
use futures_util::StreamExt as _;
use reqwest::Body;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::check::{Expected, Proven, Unproven, check_receipt};
use super::config::Source;
use super::journal::{AgentSeq, Claims, Clip, Ending, Journal, Record};
use super::observe::ClipEvent;
use super::reading::{ClipReader, ReadError};
use super::report::{ClipReport, Problem, Safe, Standing};
use super::retry::{Next, Retry, Trouble};
use super::server::{Activity, At, Finished, UploadPath, metadata, printable};
use super::{Agent, AgentError, blocking};

/// The end of a file that travels with the manifest: it is in memory while the last digests are computed.
const TAIL_BYTES: u64 = 4 * 1024 * 1024;
/// One PATCH: after each, the server's word for what it holds is in the journal.
const PATCH_BYTES: u64 = 64 * 1024 * 1024;
/// Blocks read ahead of the line, per upload.
const READ_AHEAD_BLOCKS: usize = 3;
/// How often a progress receipt is asked for.
const PROGRESS_RECEIPT_EVERY_BYTES: u64 = 256 * 1024 * 1024;
/// The longest file name that travels; names on cameras are shorter.
const MAX_SENT_NAME_BYTES: usize = if MAX_NAME_BYTES < 255 { MAX_NAME_BYTES } else { 255 };

const STOPPED: &str = "stopped before it was finished";

/// Brings one clip in, as far as patience and the server allow.
///
/// # Errors
/// [`AgentError`] when the agent's own folder fails: then no clip can be called safe.
pub(super) async fn bring_in(agent: &Agent<'_>, source: &Source) -> Result<ClipReport, AgentError> {
    let path = source.path.clone();
    let (size_bytes, standing) = match blocking(move || ClipReader::open(&path)).await {
        Err(error) => (0, problem(Problem::Unreadable { reason: error.to_string() })),
        Ok(reader) => {
            let size_bytes = reader.clip().size_bytes;
            agent.observer.clip(&source.path, &ClipEvent::Began { size_bytes });
            let standing = tokio::select! {
                biased;
                () = agent.config.stop.cancelled() => Standing::Waiting { reason: STOPPED.into() },
                standing = take_on(agent, source, reader) => standing?,
            };
            (size_bytes, standing)
        }
    };
    agent.observer.clip(&source.path, &ClipEvent::Settled(standing.clone()));
    Ok(ClipReport { path: source.path.clone(), size_bytes, standing })
}

fn problem(problem: Problem) -> Standing {
    Standing::Problem(problem)
}

/// Goes on with what the journal knows of this file, or begins.
async fn take_on(
    agent: &Agent<'_>,
    source: &Source,
    reader: ClipReader,
) -> Result<Standing, AgentError> {
    let file = reader.clip().clone();
    let claims = source.claims.clone();
    let known = agent.with_journal(move |journal| {
        let other = journal.unfinished_other(&file).map(|clip| clip.agent_seq);
        Ok((journal.latest(&file, &claims).cloned(), other))
    });
    let (known, changed) = known.await?;
    if let Some(agent_seq) = changed {
        agent.observer.clip(&source.path, &ClipEvent::ChangedSinceBegun);
        let reason = "another size or time at the next run".to_owned();
        let ending = Ending::Changed { reason };
        agent.record(Record::Ended { agent_seq, ending }).await?;
    }
    let mut journey = Journey::new(agent, &source.path, reader);
    match known {
        Some(Clip { ending: Some(Ending::Quarantined { reason }), .. }) => {
            return Ok(problem(Problem::Quarantined { reason }));
        }
        Some(Clip { ending: Some(Ending::Changed { .. }), .. }) | None => {
            journey.begin(source.claims.clone()).await?;
        }
        Some(clip) => match journey.resume(clip).await? {
            Resumed::Settled(standing) => return Ok(standing),
            Resumed::GoOn => {}
            Resumed::OtherBytes => {
                agent.observer.clip(&source.path, &ClipEvent::ChangedSinceBegun);
                journey.begin(source.claims.clone()).await?;
            }
        },
    }
    journey.run().await
}

enum Resumed {
    Settled(Standing),
    GoOn,
    /// Same name, size and time; other bytes.
    OtherBytes,
}

/// Why an attempt ended early.
#[derive(Debug)]
enum Stop {
    Trouble(Trouble),
    Read(ReadError),
    Agent(AgentError),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<AgentError> for Stop {
    fn from(error: AgentError) -> Self {
        Self::Agent(error)
    }
}

struct Journey<'a> {
    agent: &'a Agent<'a>,
    path: &'a Path,
    /// Taken while a blocking task has it.
    reader: Option<ClipReader>,
    size_bytes: u64,
    seq: AgentSeq,
    claims: Claims,
    upload: Option<UploadPath>,
    retry: Retry,
    /// The furthest offset of this upload, and when it was reached.
    furthest: u64,
    moved: Instant,
}

impl<'a> Journey<'a> {
    fn new(agent: &'a Agent<'a>, path: &'a Path, reader: ClipReader) -> Self {
        Self {
            agent,
            path,
            size_bytes: reader.clip().size_bytes,
            reader: Some(reader),
            seq: AgentSeq(0),
            claims: Claims::default(),
            upload: None,
            retry: Retry::new(agent.config.patience),
            furthest: 0,
            moved: Instant::now(),
        }
    }

    /// Takes the clip on under a number of its own.
    async fn begin(&mut self, claims: Claims) -> Result<(), AgentError> {
        self.reader().forget();
        let (file, sent) = (self.reader().clip().clone(), claims.clone());
        self.seq = self.agent.with_journal(move |journal| journal.begin(file, sent)).await?;
        self.claims = claims;
        Ok(())
    }

    /// Takes up what an earlier run left. What it read is held against what is read now.
    async fn resume(&mut self, clip: Clip) -> Result<Resumed, AgentError> {
        self.seq = clip.agent_seq;
        self.claims = clip.claims;
        self.upload = clip.upload;
        if let Some((offset, digests)) = clip.acknowledged {
            self.observe(&ClipEvent::Resumed { offset });
            self.reader().expect(offset, digests);
        }
        let Some((digests, _)) = clip.manifested else { return Ok(Resumed::GoOn) };
        let size_bytes = self.size_bytes;
        self.reader().expect(size_bytes, digests);
        let Some(Ending::Safe { item, receipt, .. }) = clip.ending else {
            return Ok(Resumed::GoOn);
        };
        match self.read_to_end().await {
            Err(ReadError::Changed(_)) => return Ok(Resumed::OtherBytes),
            Err(ReadError::Io(error)) => {
                let reason = error.to_string();
                return Ok(Resumed::Settled(problem(Problem::Unreadable { reason })));
            }
            Ok(_) => {}
        }
        let name = receipt.clone();
        let Some(bytes) = self.agent.with_state(move |state| state.receipt(&name)).await? else {
            return Ok(Resumed::GoOn);
        };
        let Some(expected) = self.expected(item).await? else { return Ok(Resumed::GoOn) };
        Ok(match check_receipt(&bytes, &self.agent.policy, &expected) {
            Ok(proven) => Resumed::Settled(self.safe(proven, &receipt)),
            // What lies here is spoilt; the server can give it again.
            Err(_) => Resumed::GoOn,
        })
    }

    /// Tries until it is settled, refused, or patience is over.
    async fn run(mut self) -> Result<Standing, AgentError> {
        loop {
            let trouble = match self.attempt().await {
                Ok(standing) => return Ok(standing),
                Err(Stop::Agent(error)) => return Err(error),
                Err(Stop::Read(error)) => return self.unreadable(error).await,
                Err(Stop::Trouble(trouble)) => trouble,
            };
            match self.retry.after(&trouble, self.moved.elapsed(), rand::random()) {
                Next::Retry(wait) => self.wait(&trouble, wait).await,
                Next::StartAnew(wait) => {
                    self.upload = None;
                    self.furthest = 0;
                    self.wait(&trouble, wait).await;
                }
                Next::LeaveForLater => {
                    return Ok(Standing::Waiting { reason: trouble.to_string() });
                }
                Next::GiveUp => {
                    let reason = trouble.to_string();
                    self.end(Ending::Refused { reason: reason.clone() }).await?;
                    return Ok(problem(Problem::Refused { reason }));
                }
            }
        }
    }

    /// From wherever the server stands to the receipt, once.
    async fn attempt(&mut self) -> Result<Standing, Stop> {
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
        let metadata = self.metadata();
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
        let name =
            GivenName::new(&self.name()).expect("a file has a name, and it is cut to length");
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

    /// Fetches the receipt, checks it, keeps it.
    async fn settle(&mut self, finished: Finished) -> Result<Standing, Stop> {
        // In an earlier run, perhaps: the file must still be what was read then.
        self.read_to_end().await?;
        let Some(expected) = self.expected(finished.item).await? else {
            let check = "the upload was finished without a manifest of ours".to_owned();
            return Ok(self.unproven(check).await?);
        };
        let proof = self.document(&finished.receipt).await?;
        let proven = match check_receipt(&proof, &self.agent.policy, &expected) {
            Ok(proven) => proven,
            Err(Unproven::Quarantined { reason }) => {
                let reason = printable(&reason);
                self.end(Ending::Quarantined { reason: reason.clone() }).await?;
                return Ok(problem(Problem::Quarantined { reason }));
            }
            Err(unproven) => return Ok(self.unproven(printable(&unproven.to_string())).await?),
        };
        // For people only; the proof is enough without it.
        let text = self.agent.server.get(&beside(&finished.receipt)).await.ok();
        let receipt = self.keep(&proven, proof, text).await?;
        Ok(self.safe(proven, &receipt))
    }

    /// Receipt first, then the journal's word for it.
    async fn keep(
        &mut self,
        proven: &Proven,
        proof: Vec<u8>,
        text: Option<Vec<u8>>,
    ) -> Result<String, AgentError> {
        let Proven { item, entry, duplicate, device, .. } = *proven;
        let first_sight = self.agent.device().replace(device).is_none();
        let kept = self.agent.with_state(move |state| {
            if first_sight || state.pinned_device()?.is_none() {
                state.pin_device(device)?;
            }
            state.keep_receipt(item, entry, &proof, text.as_deref())
        });
        let receipt = kept.await?;
        self.end(Ending::Safe { item, entry, duplicate, receipt: receipt.clone() }).await?;
        Ok(receipt)
    }

    fn safe(&self, proven: Proven, receipt: &str) -> Standing {
        Standing::Safe(Safe {
            item: proven.item,
            entry: proven.entry,
            duplicate: proven.duplicate,
            copies: proven.copies,
            receipt: self.agent.state.receipt_path(receipt),
            rests_on: proven.rests_on,
        })
    }

    /// What a receipt is held against; nothing if no manifest of ours was ever made.
    async fn expected(
        &self,
        item: chain_of_custody::ids::ItemId,
    ) -> Result<Option<Expected>, AgentError> {
        let seq = self.seq;
        let manifested = self
            .agent
            .with_journal(move |journal| Ok(journal.clip(seq).and_then(|clip| clip.manifested)));
        let device = *self.agent.device();
        Ok(manifested.await?.map(|(digests, manifest_sha256)| Expected {
            size_bytes: self.size_bytes,
            digests,
            manifest_sha256,
            item,
            device,
        }))
    }

    /// A small document of an item that is there: "unknown" is the server's fault here, not a lost upload.
    async fn document(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        self.agent.server.get(path).await.map_err(|trouble| match trouble {
            Trouble::Gone => Trouble::Faulty { status: 404 },
            other => other,
        })
    }

    async fn unproven(&self, check: String) -> Result<Standing, AgentError> {
        tracing::error!(agent_seq = %self.seq, %check, "a receipt proves nothing");
        self.end(Ending::Unproven { check: check.clone() }).await?;
        Ok(problem(Problem::Unproven { check }))
    }

    async fn unreadable(&self, error: ReadError) -> Result<Standing, AgentError> {
        Ok(problem(match error {
            // It may be readable next time: the clip stays open.
            ReadError::Io(error) => Problem::Unreadable { reason: error.to_string() },
            ReadError::Changed(reason) => {
                let reason = reason.to_owned();
                self.end(Ending::Changed { reason: reason.clone() }).await?;
                Problem::Changed { reason }
            }
        }))
    }

    async fn end(&self, ending: Ending) -> Result<(), AgentError> {
        self.agent.record(Record::Ended { agent_seq: self.seq, ending }).await
    }

    async fn wait(&self, trouble: &Trouble, wait: Duration) {
        let reason = trouble.to_string();
        tracing::info!(agent_seq = %self.seq, ?wait, "trying again");
        self.observe(&ClipEvent::Retrying { reason, wait });
        tokio::time::sleep(wait).await;
    }

    fn moved_to(&mut self, offset: u64) {
        if offset > self.furthest {
            self.furthest = offset;
            self.moved = Instant::now();
            self.retry.progressed();
        }
        self.observe(&ClipEvent::Acknowledged { offset });
    }

    async fn go_to(&mut self, offset: u64) -> Result<(), ReadError> {
        if offset != self.reader().position() {
            self.observe(&ClipEvent::ReadAgain { offset });
        }
        self.with_reader(move |reader| reader.go_to(offset)).await
    }

    /// The digests of the whole file, reading what was not read yet.
    async fn read_to_end(&mut self) -> Result<Digests, ReadError> {
        let size_bytes = self.size_bytes;
        if self.reader().position() < size_bytes {
            self.observe(&ClipEvent::ReadAgain { offset: size_bytes });
        }
        self.with_reader(move |reader| {
            while reader.position() < size_bytes {
                reader.read_block(size_bytes)?;
            }
            reader.finish()
        })
        .await
    }

    async fn with_reader<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut ClipReader) -> T + Send + 'static,
    ) -> T {
        let mut reader = self.reader.take().expect("one task at a time has it");
        let (reader, out) = blocking(move || {
            let out = act(&mut reader);
            (reader, out)
        })
        .await;
        self.reader = Some(reader);
        out
    }

    fn reader(&mut self) -> &mut ClipReader {
        self.reader.as_mut().expect("one task at a time has it")
    }

    fn observe(&self, event: &ClipEvent) {
        self.agent.observer.clip(self.path, event);
    }

    /// The file's name as text: data for people, never a path.
    fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy();
        let mut end = name.len().min(MAX_SENT_NAME_BYTES);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name[..end].to_owned()
    }

    fn metadata(&self) -> String {
        let claims = &self.claims;
        let name = self.name();
        let optional = [
            ("camera", claims.camera.as_ref().map(ToString::to_string)),
            ("recording", claims.recording.as_ref().map(ToString::to_string)),
            ("captured", claims.captured.as_ref().map(ToString::to_string)),
            ("source-seq", claims.source_seq.as_ref().map(ToString::to_string)),
            ("restricted", claims.restricted.then(|| "true".to_owned())),
        ];
        let optional = optional.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let always = [
            ("filetype", media_type(&name).to_owned()),
            ("agent-seq", self.seq.to_string()),
            ("filename", name),
        ];
        metadata(always.into_iter().chain(optional))
    }
}

/// Reads blocks up to `end` into the channel, until the request is over.
async fn pump(
    mut reader: ClipReader,
    end: u64,
    blocks: mpsc::Sender<io::Result<Bytes>>,
    stop: &CancellationToken,
    sent: impl Fn(u64),
) -> (ClipReader, Result<(), ReadError>) {
    while reader.position() < end && !stop.is_cancelled() {
        let (back, block) = blocking(move || {
            let block = reader.read_block(end);
            (reader, block)
        })
        .await;
        reader = back;
        let block = match block {
            Ok(block) => block,
            Err(error) => {
                // Cuts the request off: a part of a changed file must not look like a whole one.
                let _ = blocks.try_send(Err(io::ErrorKind::InvalidData.into()));
                return (reader, Err(error));
            }
        };
        let taken = tokio::select! {
            taken = blocks.send(Ok(block)) => taken.is_ok(),
            () = stop.cancelled() => false,
        };
        if !taken {
            break;
        }
        sent(reader.position());
    }
    (reader, Ok(()))
}

/// A request body from the channel; every block taken shows that the line moves.
fn body_of(blocks: mpsc::Receiver<io::Result<Bytes>>, activity: Activity) -> Body {
    let next = move |mut blocks: mpsc::Receiver<io::Result<Bytes>>| {
        let activity = activity.clone();
        async move {
            let block = blocks.recv().await?;
            activity.touch();
            Some((block, blocks))
        }
    };
    Body::wrap_stream(futures_util::stream::unfold(blocks, next))
}

fn parse_progress(bytes: &[u8]) -> Option<(String, ProgressReceipt)> {
    let note = SignedNote::parse(bytes).ok()?;
    let receipt = ProgressReceipt::parse(note.text()).ok()?;
    Some((note.to_string(), receipt))
}

/// `…/receipt?entry=7` → `…/receipt.txt?entry=7`
fn beside(receipt: &str) -> String {
    match receipt.split_once('?') {
        Some((path, query)) => format!("{path}.txt?{query}"),
        None => format!("{receipt}.txt"),
    }
}

/// What the name's ending suggests; the server looks for itself.
fn media_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("mp4" | "m4v") => "video/mp4",
        Some("mov") => "video/quicktime",
        Some("mkv") => "video/x-matroska",
        Some("avi") => "video/x-msvideo",
        Some("ts" | "m2ts") => "video/mp2t",
        Some("wav") => "audio/wav",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

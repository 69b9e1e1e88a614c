//! One attempt at derivatives: from the verified original through one worker into the object store.
//!
//! Where each is written is remembered before that, so that what a killed process left is cleared away.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use chain_of_custody::digest::{ContentHasher, Digests, Sha256};
use chain_of_custody::ids::UploadId;
use storage::failpoint;
use storage::objects::{
    Crc64, ObjectName, ObjectWriter, StoreError, StoredObject, StoredPart, VerifiedObject,
};
use storage::records::{ItemRecord, JobAttempt, JobRow, NewJob};
use uuid::Uuid;

use super::{JobsError, Shared};
use crate::Failure;
use crate::protocol::{MAX_JSON_BYTES, OriginalDigests, Probe, Report};
use crate::recipe::Recipe;
use crate::source::{OutputSink, RangeSource};
use crate::supervise::Wanted;

/// A derivative that is stored.
pub(super) struct Made {
    pub(super) report: Report,
    /// Digest of the worker program, where it is known which one it was.
    pub(super) program: Option<Sha256>,
    pub(super) digests: Digests,
    pub(super) object: StoredObject,
    /// Of the probe recipe only.
    pub(super) probe: Option<Probe>,
}

/// Why an attempt came to nothing.
pub(super) enum Setback {
    /// The worker, or what it was given, or no room for what it makes.
    Worker(Failure),
    /// This machine.
    Trouble(JobsError),
}

impl<E: Into<JobsError>> From<E> for Setback {
    fn from(error: E) -> Self {
        match error.into() {
            JobsError::Store(StoreError::Full) => Self::Worker(Failure::NoRoom),
            error => Self::Trouble(error),
        }
    }
}

/// What the writer holds back before it goes to the disk, with its checksums: room for it is asked for ahead.
const HELD_BACK_BYTES: u64 = 2 << 20;
/// So much of a recipe's id names a folder.
const NAMED_BY_CHARS: usize = 16;
/// A derivative is one part, with its head before it another.
const PARTS_MAX: usize = 2;

/// Makes what `rows` ask for of one original, as [`make`] does.
pub(super) async fn make_of_original(
    shared: &Shared,
    rows: &[(JobRow, Recipe)],
    record: &ItemRecord,
    read: &AtomicU16,
    stop: impl Future<Output = Failure>,
) -> Result<Vec<Result<Made, Setback>>, Setback> {
    let original = stored_object(record)?;
    let source = shared.objects.open_object(&original).await?;
    make(shared, rows, record, &source, read, stop).await
}

/// Makes what `rows` ask for, all of them out of `source`; what became of each, in their order. Ends with the failure that `stop`
/// gives, if it does. `read` says how much of the source has been read, in thousandths.
///
/// # Errors
/// Where nothing came of any.
pub(super) async fn make(
    shared: &Shared,
    rows: &[(JobRow, Recipe)],
    record: &ItemRecord,
    source: &impl RangeSource,
    read: &AtomicU16,
    stop: impl Future<Output = Failure>,
) -> Result<Vec<Result<Made, Setback>>, Setback> {
    check_room(shared, 0)?;
    let digests = OriginalDigests {
        sha256: record.digests.sha256.to_string(),
        blake3: record.digests.blake3.to_string(),
    };
    let mut wanted = Vec::with_capacity(rows.len());
    for (row, recipe) in rows {
        let attempt = begin(shared, row, recipe).await?;
        let sink = Sink::new(shared, attempt, recipe, read).await?;
        wanted.push(Wanted { recipe: recipe.clone(), sink });
    }
    let outcome = tokio::select! {
        outcome = shared.supervisor.run(digests, source, &mut wanted) => outcome,
        failure = stop => Err(failure),
    };
    let sinks = wanted.into_iter().map(|one| one.sink);
    let kept = match outcome {
        Ok(finished) => match shared.keep_program(finished.program).await {
            Ok(()) => Ok(finished),
            Err(error) => Err(error.into()),
        },
        Err(failure) => Err(Setback::Worker(failure)),
    };
    let finished = match kept {
        Ok(finished) => finished,
        Err(setback) => {
            for sink in sinks {
                sink.writer.discard().await?;
            }
            return Err(setback);
        }
    };
    let mut made = Vec::with_capacity(rows.len());
    for (sink, ended) in sinks.zip(finished.ended) {
        made.push(keep(sink, ended, finished.program).await);
    }
    failpoint::hit("transcode.derivative-stored");
    Ok(made)
}

/// Keeps what was made, or throws away what was begun.
async fn keep(
    sink: Sink<'_>,
    ended: Result<Report, Failure>,
    program: Option<Sha256>,
) -> Result<Made, Setback> {
    match ended.and_then(|report| Ok((report, sink.probe()?))) {
        Ok((report, probe)) => {
            let (digests, object) = sink.finish().await?;
            Ok(Made { report, program, digests, object, probe })
        }
        Err(failure) => {
            sink.writer.discard().await?;
            Err(Setback::Worker(failure))
        }
    }
}

/// Removes what an attempt that was cut off has left. Nothing refers to it: the caller has seen to that, or does not
/// know, in which case it stays.
pub(super) async fn clear_away(shared: &Shared, row: &JobRow) {
    let Some(attempt) = &row.attempt else { return };
    let derived = shared.records().derivatives(row.job.item).await;
    let refers = |object: &str| object.contains(&attempt.object);
    match derived {
        Ok(derived) if !derived.iter().any(|d| refers(&d.object)) => {}
        _ => return,
    }
    if let Err(error) = remove(shared, attempt).await {
        tracing::warn!(item = %row.job.item, kind = row.job.kind, "a cut-off attempt was not cleared away: {error}");
    }
}

/// Removes what an attempt has written, finished or not.
pub(super) async fn remove(shared: &Shared, attempt: &JobAttempt) -> Result<(), StoreError> {
    match shared.objects.discard(attempt.upload).await {
        Err(StoreError::NotFound { .. }) | Ok(()) => {}
        Err(error) => return Err(error),
    }
    let name: ObjectName = attempt.object.parse()?;
    let part = |at| {
        let file = name.part(at)?;
        Ok(StoredPart { file, size_bytes: 0, crc64nvme: Crc64(0), version: None })
    };
    let parts = (0..PARTS_MAX).map(part).collect::<Result<_, StoreError>>()?;
    let object = StoredObject { parts, size_bytes: 0, blake3: Digests::of(b"").blake3, name };
    shared.objects.dispose(&object).await
}

fn stored_object(record: &ItemRecord) -> Result<StoredObject, JobsError> {
    serde_json::from_str(&record.object).map_err(|_| JobsError::Record {
        item: record.item.to_string(),
        what: "where its bytes rest",
    })
}

/// Every attempt has a name of its own, so that none is in the way of the next.
async fn begin(shared: &Shared, row: &JobRow, recipe: &Recipe) -> Result<JobAttempt, JobsError> {
    let upload = Uuid::now_v7();
    let attempt = JobAttempt {
        upload: UploadId::from_uuid(upload),
        object: object_name(&row.job, recipe, upload),
    };
    let ours = shared.records().begin_attempt(row, &attempt).await?;
    ours.then_some(attempt).ok_or(JobsError::Lost)
}

fn object_name(job: &NewJob, recipe: &Recipe, attempt: Uuid) -> String {
    let NewJob { item, recipe_id, kind, .. } = job;
    let id = recipe_id.get(..NAMED_BY_CHARS).unwrap_or(recipe_id);
    format!("derivatives/{item}/{kind}-{id}/{}/{}", attempt.simple(), recipe.output_name())
}

/// Hashes what the worker sends and writes it, encrypted; keeps a probe besides, because the next jobs follow from it.
struct Sink<'a> {
    shared: &'a Shared,
    name: ObjectName,
    writer: ObjectWriter,
    beginning: Beginning,
    kept: Option<Vec<u8>>,
    read: &'a AtomicU16,
}

/// Digests count from the beginning.
enum Beginning {
    /// Of what came so far.
    Here(Box<ContentHasher>),
    /// It comes last: what is stored is read once more then.
    Last(Bytes),
}

impl<'a> Sink<'a> {
    async fn new(
        shared: &'a Shared,
        attempt: JobAttempt,
        recipe: &Recipe,
        read: &'a AtomicU16,
    ) -> Result<Self, StoreError> {
        let (objects, upload) = (&shared.objects, attempt.upload);
        let name: ObjectName = attempt.object.parse()?;
        let (writer, beginning) = if recipe.head_comes_last() {
            (objects.begin_piece(upload, name.clone()).await?, Beginning::Last(Bytes::new()))
        } else {
            (objects.begin(upload, name.clone()).await?, Beginning::Here(Box::default()))
        };
        let kept = matches!(recipe, Recipe::Probe(_)).then(Vec::new);
        Ok(Self { shared, name, writer, beginning, kept, read })
    }

    /// Of the probe recipe: what it found.
    fn probe(&self) -> Result<Option<Probe>, Failure> {
        let Some(kept) = &self.kept else { return Ok(None) };
        let broken = || Failure::Misbehaved { what: "its probe is not well-formed".to_owned() };
        Probe::parse(kept).map(Some).ok_or_else(broken)
    }

    async fn finish(mut self) -> Result<(Digests, StoredObject), JobsError> {
        let objects = &self.shared.objects;
        let (digests, sealed) = match self.beginning {
            Beginning::Here(hasher) => {
                let (digests, last_group) = hasher.finish();
                self.writer.append_groups(&[last_group]).await?;
                (digests, self.writer.seal().await?)
            }
            Beginning::Last(head) => {
                let sealed = self.writer.seal_behind(head).await?;
                let whole = objects.compose(vec![sealed]).await?;
                (whole.digests, whole.sealed)
            }
        };
        Ok((digests, objects.complete(sealed, self.name, digests.blake3).await?))
    }
}

/// Refuses when the space kept free would be touched by `more_bytes` and what is held back.
pub(super) fn check_room(shared: &Shared, more_bytes: u64) -> Result<(), StoreError> {
    let left = shared.objects.free_bytes()?.saturating_sub(more_bytes + HELD_BACK_BYTES);
    if left < shared.free_space_kept_bytes { Err(StoreError::Full) } else { Ok(()) }
}

/// A full disk keeps its name through the seam.
fn not_written(error: StoreError) -> io::Error {
    match error {
        StoreError::Full => io::ErrorKind::StorageFull.into(),
        other => io::Error::other(other),
    }
}

impl OutputSink for Sink<'_> {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        check_room(self.shared, bytes.len() as u64).map_err(not_written)?;
        // One longer than any footage gives is cut here, and no probe any more.
        if let Some(kept) = self.kept.as_mut().filter(|kept| kept.len() < MAX_JSON_BYTES) {
            kept.extend_from_slice(&bytes);
        }
        let groups = match &mut self.beginning {
            Beginning::Here(hasher) => hasher.update(&bytes),
            Beginning::Last(_) => Vec::new(),
        };
        self.writer.write(bytes).await.map_err(not_written)?;
        self.writer.append_groups(&groups).await.map_err(not_written)
    }

    async fn head(&mut self, bytes: Bytes) -> io::Result<()> {
        self.beginning = Beginning::Last(bytes);
        Ok(())
    }

    fn progress(&mut self, permille: u16) {
        self.read.store(permille, Ordering::Relaxed);
    }
}

impl RangeSource for VerifiedObject {
    fn size_bytes(&self) -> u64 {
        self.size_bytes()
    }

    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.read(range).await.map_err(io::Error::other)
    }
}

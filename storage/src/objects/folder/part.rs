//! One encrypted file under way: fill a segment, seal and write it, read back and sync what was written.
//!
//! Three steps run beside each other: the caller fills a segment while the one before is sealed and written, while an
//! earlier range is read back. Whole segments go to the device without passing the page cache, where the file system can
//! do that, so that nothing piles up to be synced at the end. Memory: the segment being filled, one on its way to the
//! device, and the read-back's buffer. No thread is held by an upload that waits for its client.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::disk::{AlignedBuffer, Disk, DiskFile};
use crate::objects::blocking;
use crate::objects::crc::{Crc64, RunningCrc};
use crate::objects::error::StoreError;
use crate::objects::kek::ObjectKey;
use crate::objects::tink::{
    End, HEADER_BYTES, Header, Layout, Purpose, SEGMENT_BYTES, Stream, TAG_BYTES,
};
use crate::objects::upload::{OpenPart, Reread};

/// How much is written before it is read back: what may still be unchecked when the last byte comes is two or three
/// times this.
const CHECK_EVERY_BYTES: u64 = 2 << 20;

/// Bytes of the file that are written and not yet compared with what the device gives back.
#[derive(Debug, Clone, Copy)]
struct Unchecked {
    from: u64,
    to: u64,
}

/// Whether a check leaves the file durable, or only compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    OnTheWay,
    Durable,
}

/// Bytes written, and the checksum with them.
type Written = (u64, RunningCrc);

/// Segment buffers that no part needs at the moment. A part keeps one to fill, and a second only while a segment is on
/// its way to the device, which only so many are at once: many uploads at once need little more than one each.
#[derive(Debug)]
pub(crate) struct Spares {
    buffers: Mutex<Vec<AlignedBuffer>>,
    on_their_way: Arc<Semaphore>,
}

/// Segments that are sealed and written at once, of all uploads: more only wait for the processor or the device.
const MAX_ON_THEIR_WAY: usize = 16;

impl Default for Spares {
    fn default() -> Self {
        let on_their_way = Arc::new(Semaphore::new(MAX_ON_THEIR_WAY));
        Self { buffers: Mutex::default(), on_their_way }
    }
}

impl Spares {
    /// Leave to have a segment on its way.
    async fn leave(&self) -> OwnedSemaphorePermit {
        let leave = Arc::clone(&self.on_their_way).acquire_owned().await;
        leave.expect("it is never closed")
    }

    fn take(&self) -> AlignedBuffer {
        let spare = self.lock().pop();
        spare.unwrap_or_else(|| AlignedBuffer::with_capacity(SEGMENT_BYTES))
    }

    fn put(&self, buffer: AlignedBuffer) {
        let mut spares = self.lock();
        if spares.len() < MAX_ON_THEIR_WAY {
            spares.push(buffer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<AlignedBuffer>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes one part.
#[derive(Debug)]
pub(crate) struct PartWriter {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<DiskFile>,
    stream: Arc<Stream>,
    /// The segment being filled: the header if it is the first, then plaintext.
    filling: AlignedBuffer,
    spares: Arc<Spares>,
    /// Whole segments written, and their checksums.
    progress: OpenPart,
    /// The next segment's number: those written, and the one being written.
    next: u32,
    unchecked: Unchecked,
    /// The checksum of everything that was compared.
    checked: RunningCrc,
    /// Everything written is synced.
    durable: bool,
    writing: Option<JoinHandle<Result<Written, StoreError>>>,
    checking: Option<JoinHandle<Result<RunningCrc, StoreError>>>,
}

impl PartWriter {
    /// Goes on writing the file at `path` after the whole segments of `progress`.
    pub(crate) fn open(
        (disk, spares): (Arc<dyn Disk>, Arc<Spares>),
        path: &Path,
        key: &ObjectKey,
        progress: OpenPart,
        reread: Reread,
    ) -> Result<Self, StoreError> {
        let file = disk.open(path).map_err(|e| StoreError::io(path, e))?;
        let file = if reread == Reread::Soon { file.keep_cached() } else { file };
        let written = u64::from(progress.segments) * SEGMENT_BYTES as u64;
        Ok(Self {
            disk,
            path: path.to_owned(),
            file: Arc::new(file),
            stream: Arc::new(Stream::new(key, progress.header, Purpose::Object)),
            filling: beginning(spares.take(), &progress.header, progress.segments),
            spares,
            progress,
            next: progress.segments,
            unchecked: Unchecked { from: written, to: written },
            checked: RunningCrc::after(progress.crc),
            durable: true,
            writing: None,
            checking: None,
        })
    }

    /// Takes plaintext. A full segment waits until another byte follows: only then is it known not to be the last.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            if self.room() == 0 {
                self.write_segment(End::More).await?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.room()));
            self.filling.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Bytes taken.
    pub(crate) fn size_bytes(&self) -> u64 {
        Layout::plain_start(self.next) + self.tail().len() as u64
    }

    /// The plaintext after the last whole segment.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.filling.as_slice()[plain_from(self.next)..]
    }

    /// Returns once all whole segments are durable and compared.
    pub(crate) async fn settle(&mut self) -> Result<OpenPart, StoreError> {
        self.finish_writing().await?;
        self.start_check(Check::Durable).await?;
        self.finish_check().await?;
        Ok(self.progress)
    }

    /// Seals what is left as the last segment; returns size and checksum once everything is durable and compared.
    pub(crate) async fn seal(mut self) -> Result<(u64, Crc64), StoreError> {
        let size_bytes = self.size_bytes();
        self.write_segment(End::Last).await?;
        let progress = self.settle().await?;
        Ok((size_bytes, progress.crc))
    }

    fn room(&self) -> usize {
        SEGMENT_BYTES - TAG_BYTES - self.filling.len()
    }

    async fn write_segment(&mut self, end: End) -> Result<(), StoreError> {
        self.finish_writing().await?;
        let leave = self.spares.leave().await;
        let index = self.next;
        self.next = index.checked_add(1).ok_or(StoreError::Full)?;
        let next_buffer = match end {
            End::More => self.spares.take(),
            End::Last => AlignedBuffer::default(),
        };
        let mut segment = std::mem::replace(&mut self.filling, next_buffer);
        let (disk, file) = (Arc::clone(&self.disk), Arc::clone(&self.file));
        let (stream, path) = (Arc::clone(&self.stream), self.path.clone());
        let spares = Arc::clone(&self.spares);
        let mut crc = RunningCrc::after(self.progress.crc);
        self.durable = false;
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let tag = stream.seal(index, end, &mut segment.as_mut_slice()[plain_from(index)..]);
            segment.extend_from_slice(&tag);
            let offset = u64::from(index) * SEGMENT_BYTES as u64;
            let written = disk.write_at(&file, segment.as_slice(), offset);
            written.map_err(|e| StoreError::io(&path, e))?;
            crc.update(segment.as_slice());
            let length = segment.len() as u64;
            segment.clear();
            spares.put(segment);
            drop(leave);
            Ok((length, crc))
        }));
        Ok(())
    }

    async fn finish_writing(&mut self) -> Result<(), StoreError> {
        let Some(writing) = self.writing.as_mut() else { return Ok(()) };
        let written = blocking::join(writing).await;
        self.writing = None;
        let (length, crc) = written?;
        self.unchecked.to += length;
        self.progress.crc_before_last = self.progress.crc;
        self.progress.crc = crc.value();
        self.progress.segments += 1;
        if self.unchecked.to - self.unchecked.from >= CHECK_EVERY_BYTES {
            self.start_check(Check::OnTheWay).await?;
        }
        Ok(())
    }

    /// Reads back what was written since the last check, beside whatever comes next.
    async fn start_check(&mut self, check: Check) -> Result<(), StoreError> {
        self.finish_check().await?;
        // What went through the page cache must leave it before it can be read back.
        let sync = !self.durable && (check == Check::Durable || !self.file.writes_directly());
        let Unchecked { from, to } = self.unchecked;
        if from == to && !sync {
            return Ok(());
        }
        self.unchecked.from = to;
        self.durable |= sync;
        let (disk, file, path) =
            (Arc::clone(&self.disk), Arc::clone(&self.file), self.path.clone());
        let (checked, expected) = (self.checked, self.progress.crc);
        self.checking = Some(tokio::task::spawn_blocking(move || {
            if sync {
                disk.sync(&file).map_err(|e| device(&path, e))?;
            }
            compare(disk.as_ref(), &file, &path, from..to, checked, expected)
        }));
        Ok(())
    }

    async fn finish_check(&mut self) -> Result<(), StoreError> {
        let Some(checking) = self.checking.as_mut() else { return Ok(()) };
        let checked = blocking::join(checking).await;
        self.checking = None;
        self.checked = checked?;
        Ok(())
    }
}

/// The buffer of segment `index` before any plaintext.
fn beginning(mut segment: AlignedBuffer, header: &Header, index: u32) -> AlignedBuffer {
    segment.extend_from_slice(&header.0[..plain_from(index)]);
    segment
}

/// Where the plaintext of a segment begins in its buffer: behind the header in the first one.
fn plain_from(index: u32) -> usize {
    if index == 0 { HEADER_BYTES } else { 0 }
}

/// Makes a range durable and compares what the device gives back with what was written (invariant I1).
pub(crate) fn sync_and_compare(
    disk: &dyn Disk,
    file: &DiskFile,
    path: &Path,
    range: Range<u64>,
    expected: Crc64,
) -> Result<(), StoreError> {
    disk.sync(file).map_err(|e| device(path, e))?;
    compare(disk, file, path, range, RunningCrc::after(Crc64::default()), expected).map(drop)
}

/// Goes on from the checksum of what was compared before to that of everything.
fn compare(
    disk: &dyn Disk,
    file: &DiskFile,
    path: &Path,
    range: Range<u64>,
    checked: RunningCrc,
    expected: Crc64,
) -> Result<RunningCrc, StoreError> {
    let found = disk.read_back(file, range, checked).map_err(|e| device(path, e))?;
    let same = found.value() == expected;
    same.then_some(found).ok_or_else(|| StoreError::ReadBack { path: path.to_owned() })
}

fn device(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Device { path: path.to_owned(), source }
}

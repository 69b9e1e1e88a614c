//! One encrypted file under way: fill a segment, seal and write it, sync and read back what was written.
//!
//! Three steps run beside each other: the caller fills a segment while the one before is sealed and written, while an
//! earlier range is synced and read back. Memory: two segments, and the read-back's buffer. No thread is held by an
//! upload that waits for its client.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::blocking;
use super::disk::{Crc64, Disk};
use super::error::StoreError;
use super::kek::ObjectKey;
use super::tink::{End, HEADER_BYTES, Header, Layout, Purpose, SEGMENT_BYTES, Stream, TAG_BYTES};
use super::upload::OpenPart;

/// How much is written before it is synced and read back: what may still be unchecked when the last byte comes is two
/// or three times this.
const CHECK_EVERY_BYTES: u64 = 4 << 20;

/// Bytes of the file on their way to being durable and compared.
#[derive(Debug, Clone, Copy, Default)]
struct Unchecked {
    from: u64,
    to: u64,
    crc: Crc64,
}

type Written = (Vec<u8>, Crc64);

/// Writes one part.
#[derive(Debug)]
pub(crate) struct PartWriter {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<File>,
    stream: Arc<Stream>,
    /// The segment being filled: the header if it is the first, then plaintext.
    filling: Vec<u8>,
    spare: Vec<u8>,
    /// Whole segments written, and their checksums.
    progress: OpenPart,
    /// The next segment's number: those written, and the one being written.
    next: u32,
    unchecked: Unchecked,
    writing: Option<JoinHandle<Result<Written, StoreError>>>,
    checking: Option<JoinHandle<Result<(), StoreError>>>,
}

impl PartWriter {
    /// Goes on writing the file at `path` after the whole segments of `progress`.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        path: &Path,
        key: &ObjectKey,
        progress: OpenPart,
    ) -> Result<Self, StoreError> {
        let file =
            OpenOptions::new().write(true).open(path).map_err(|e| StoreError::io(path, e))?;
        let written = u64::from(progress.segments) * SEGMENT_BYTES as u64;
        Ok(Self {
            disk,
            path: path.to_owned(),
            file: Arc::new(file),
            stream: Arc::new(Stream::new(key, progress.header, Purpose::Object)),
            filling: beginning(&progress.header, progress.segments),
            spare: Vec::new(),
            progress,
            next: progress.segments,
            unchecked: Unchecked { from: written, to: written, crc: Crc64::default() },
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
        &self.filling[if self.next == 0 { HEADER_BYTES } else { 0 }..]
    }

    /// Returns once all whole segments are durable and compared.
    pub(crate) async fn settle(&mut self) -> Result<OpenPart, StoreError> {
        self.finish_writing().await?;
        self.start_check().await?;
        self.finish_check().await?;
        Ok(self.progress)
    }

    /// Seals what is left as the last segment; returns size and checksum once everything is durable and compared.
    pub(crate) async fn seal(mut self) -> Result<(u64, Crc64), StoreError> {
        let size_bytes = self.size_bytes();
        let last_bytes = (self.filling.len() + TAG_BYTES) as u64;
        self.write_segment(End::Last).await?;
        let progress = self.settle().await?;
        Ok((size_bytes, progress.crc_before_last.then(progress.crc_last, last_bytes)))
    }

    fn room(&self) -> usize {
        SEGMENT_BYTES - TAG_BYTES - self.filling.len()
    }

    async fn write_segment(&mut self, end: End) -> Result<(), StoreError> {
        self.finish_writing().await?;
        let index = self.next;
        self.next = index.checked_add(1).ok_or(StoreError::Full)?;
        let next_buffer = std::mem::take(&mut self.spare);
        let mut segment = std::mem::replace(&mut self.filling, next_buffer);
        if self.filling.capacity() == 0 && end == End::More {
            self.filling.reserve_exact(SEGMENT_BYTES);
        }
        let (disk, file) = (Arc::clone(&self.disk), Arc::clone(&self.file));
        let (stream, path) = (Arc::clone(&self.stream), self.path.clone());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let from = if index == 0 { HEADER_BYTES } else { 0 };
            stream.seal(index, end, &mut segment, from);
            let offset = u64::from(index) * SEGMENT_BYTES as u64;
            disk.write_at(&file, &segment, offset).map_err(|e| StoreError::io(&path, e))?;
            let crc = Crc64::of(&segment);
            Ok((segment, crc))
        }));
        Ok(())
    }

    async fn finish_writing(&mut self) -> Result<(), StoreError> {
        let Some(writing) = self.writing.as_mut() else { return Ok(()) };
        let written = blocking::join(writing).await;
        self.writing = None;
        let (mut segment, crc) = written?;
        let length = segment.len() as u64;
        segment.clear();
        self.spare = segment;
        self.progress.crc_before_last =
            self.progress.crc_before_last.then(self.progress.crc_last, self.last_bytes());
        self.progress.crc_last = crc;
        self.progress.segments += 1;
        self.unchecked.to += length;
        self.unchecked.crc = self.unchecked.crc.then(crc, length);
        if self.unchecked.to - self.unchecked.from >= CHECK_EVERY_BYTES {
            self.start_check().await?;
        }
        Ok(())
    }

    /// The length of the last whole segment so far.
    fn last_bytes(&self) -> u64 {
        if self.progress.segments == 0 { 0 } else { SEGMENT_BYTES as u64 }
    }

    /// Syncs and reads back what was written since the last check, beside whatever comes next.
    async fn start_check(&mut self) -> Result<(), StoreError> {
        self.finish_check().await?;
        let Unchecked { from, to, crc } = self.unchecked;
        if from == to {
            return Ok(());
        }
        self.unchecked = Unchecked { from: to, to, crc: Crc64::default() };
        let (disk, file, path) =
            (Arc::clone(&self.disk), Arc::clone(&self.file), self.path.clone());
        self.checking = Some(tokio::task::spawn_blocking(move || {
            sync_and_compare(disk.as_ref(), &file, &path, from..to, crc)
        }));
        Ok(())
    }

    async fn finish_check(&mut self) -> Result<(), StoreError> {
        let Some(checking) = self.checking.as_mut() else { return Ok(()) };
        let checked = blocking::join(checking).await;
        self.checking = None;
        checked
    }
}

/// The buffer of segment `index` before any plaintext.
fn beginning(header: &Header, index: u32) -> Vec<u8> {
    let mut segment = Vec::with_capacity(SEGMENT_BYTES);
    if index == 0 {
        segment.extend_from_slice(&header.0);
    }
    segment
}

/// Makes a range durable and compares what the device gives back with what was written (invariant I1).
pub(crate) fn sync_and_compare(
    disk: &dyn Disk,
    file: &File,
    path: &Path,
    range: std::ops::Range<u64>,
    expected: Crc64,
) -> Result<(), StoreError> {
    let device = |source| StoreError::Device { path: path.to_owned(), source };
    disk.sync(file).map_err(device)?;
    let found = disk.read_back(path, range).map_err(device)?;
    if found == expected { Ok(()) } else { Err(StoreError::ReadBack { path: path.to_owned() }) }
}

//! Pieces: what goes to the store at once, sealed in place, and the memory that all uploads share for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::objects::crc::Crc64;
use crate::objects::tink::{End, HEADER_BYTES, Header, SEGMENT_BYTES, Stream, TAG_BYTES};

/// Segments in a piece.
const PIECE_SEGMENTS: usize = 8;
/// The size of every piece but the last of a part: above the 5 MiB that S3 asks for at least.
pub(crate) const PIECE_BYTES: usize = PIECE_SEGMENTS * SEGMENT_BYTES;
/// So many pieces make the largest object that the smallest store takes (10,000 parts): what follows is a part of its own.
pub(crate) const PIECES_MAX: u32 = if cfg!(test) { 2 } else { 10_000 };

/// Uploads that at once keep what is in an unfinished piece beside themselves, or take it back: each has a few copies of it.
const COPIES_AT_ONCE: usize = 4;

/// Pieces of memory that are kept when a surge is over.
const SPARES: usize = 8;

/// Memory for pieces, of all uploads together. When there is none left, nobody reads from a socket.
#[derive(Debug)]
pub(crate) struct PieceMemory {
    permits: Arc<Semaphore>,
    /// Whoever keeps waits for nothing else, and so gives its piece back; whoever takes back may wait for a piece.
    keeping: Arc<Semaphore>,
    taking_back: Arc<Semaphore>,
    spares: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl PieceMemory {
    pub(crate) fn new(pieces: usize) -> Self {
        let copies = || Arc::new(Semaphore::new(COPIES_AT_ONCE));
        Self {
            permits: Arc::new(Semaphore::new(pieces)),
            keeping: copies(),
            taking_back: copies(),
            spares: Arc::default(),
        }
    }

    /// Whether somebody may be waiting for memory.
    pub(crate) fn is_used_up(&self) -> bool {
        self.permits.available_permits() == 0
    }

    pub(crate) async fn leave_to_keep(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.keeping).acquire_owned().await.expect("it is never closed")
    }

    pub(crate) async fn leave_to_take_back(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.taking_back).acquire_owned().await.expect("it is never closed")
    }

    /// Waits, first come first served, until there is memory for one more piece.
    pub(crate) async fn take(&self, header: Option<Header>) -> Piece {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("it is never closed");
        let spare = lock(&self.spares).pop();
        let mut memory = spare.unwrap_or_else(|| Vec::with_capacity(PIECE_BYTES));
        if let Some(header) = &header {
            memory.extend_from_slice(&header.0);
        }
        let memory = Memory { bytes: memory, spares: Arc::clone(&self.spares), _permit: permit };
        Piece { memory, has_header: header.is_some() }
    }
}

/// Goes back, empty, when nobody holds it any more.
#[derive(Debug)]
struct Memory {
    bytes: Vec<u8>,
    spares: Arc<Mutex<Vec<Vec<u8>>>>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut spares = lock(&self.spares);
        if spares.len() < SPARES {
            spares.push(bytes);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A piece being filled: plaintext, with room for the tag behind each segment's.
#[derive(Debug)]
pub(crate) struct Piece {
    memory: Memory,
    has_header: bool,
}

/// A piece as it goes to the store.
#[derive(Debug, Clone)]
pub(crate) struct SealedPiece {
    pub(crate) bytes: Bytes,
    pub(crate) crc: Crc64,
}

impl Piece {
    /// Whether another byte needs another piece.
    pub(crate) fn is_full(&self) -> bool {
        self.memory.bytes.len() + TAG_BYTES == PIECE_BYTES
    }

    /// Plaintext taken.
    pub(crate) fn plain_bytes(&self) -> usize {
        let header = if self.has_header { HEADER_BYTES } else { 0 };
        let length = self.memory.bytes.len();
        length - length / SEGMENT_BYTES * TAG_BYTES - header
    }

    /// Takes as much of `bytes` as there is room for; gives what is left.
    pub(crate) fn fill<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while !bytes.is_empty() && !self.is_full() {
            let memory = &mut self.memory.bytes;
            let room = SEGMENT_BYTES - TAG_BYTES - memory.len() % SEGMENT_BYTES;
            if room == 0 {
                // Only now is it known that this segment is not the last.
                memory.extend_from_slice(&[0; TAG_BYTES]);
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room));
            memory.extend_from_slice(now);
            bytes = later;
        }
        bytes
    }

    /// The plaintext of each segment.
    pub(crate) fn plain(&self) -> impl Iterator<Item = &[u8]> {
        let from = |index| if index == 0 && self.has_header { HEADER_BYTES } else { 0 };
        let segments = self.memory.bytes.chunks(SEGMENT_BYTES).enumerate();
        segments.map(move |(index, segment)| {
            &segment[from(index)..segment.len().min(SEGMENT_BYTES - TAG_BYTES)]
        })
    }

    /// Seals every segment in place. `first` is the number of the first one in its stream; `end` says of the last one
    /// whether it ends the stream.
    pub(crate) fn seal(mut self, stream: &Stream, first: u32, end: End) -> SealedPiece {
        let memory = &mut self.memory.bytes;
        memory.extend_from_slice(&[0; TAG_BYTES]);
        let last = (memory.len() - 1) / SEGMENT_BYTES;
        for (index, segment) in memory.chunks_mut(SEGMENT_BYTES).enumerate() {
            let from = if index == 0 && self.has_header { HEADER_BYTES } else { 0 };
            let (plain, tag) = segment.split_at_mut(segment.len() - TAG_BYTES);
            let end = if index == last { end } else { End::More };
            tag.copy_from_slice(&stream.seal(first + index as u32, end, &mut plain[from..]));
        }
        let crc = Crc64::of(memory);
        SealedPiece { bytes: Bytes::from_owner(self.memory), crc }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::kek::ObjectKey;
    use crate::objects::tink::{self, Layout, Purpose};

    /// Pieces one after another are the stream that Tink makes, whatever the size of what comes in.
    #[tokio::test]
    async fn pieces_are_a_stream() {
        let (key, header) = (ObjectKey::random(), Header::random());
        let stream = Stream::new(&key, header, Purpose::Object);
        let memory = PieceMemory::new(2);
        let full = Layout { size_bytes: 0 };
        assert_eq!(full.segments(), 1);
        for size in [0, 1, SEGMENT_BYTES - 56, SEGMENT_BYTES - 55, PIECE_BYTES, 2 * PIECE_BYTES + 7]
        {
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let (mut sealed, mut rest, mut first) = (Vec::new(), bytes.as_slice(), 0);
            let mut piece = memory.take(Some(header)).await;
            loop {
                for some in rest.chunks(100_003) {
                    rest = &rest[some.len() - piece.fill(some).len()..];
                    if piece.is_full() {
                        break;
                    }
                }
                let end = if rest.is_empty() { End::Last } else { End::More };
                let plain: usize = piece.plain().map(<[u8]>::len).sum();
                assert_eq!(plain, piece.plain_bytes());
                let done = piece.seal(&stream, first, end);
                assert_eq!(done.crc, Crc64::of(&done.bytes));
                sealed.extend_from_slice(&done.bytes);
                if end == End::Last {
                    break;
                }
                assert_eq!(done.bytes.len(), PIECE_BYTES);
                first += PIECE_SEGMENTS as u32;
                piece = memory.take(None).await;
            }
            let opened = tink::open_all(&key, Purpose::Object, &sealed).unwrap();
            assert!(*opened == bytes, "size {size}");
        }
    }
}

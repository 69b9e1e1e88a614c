//! Reading: every byte passes authentication (AES-GCM) and the BLAKE3 tree before anybody sees it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chain_of_custody::digest::{GROUP_BYTES, Outboard, VerifiedOutboard};
use futures_util::{Stream as AsyncStream, stream};

use super::blocking;
use super::complete::outboard_file;
use super::error::{Damage, StoreError};
use super::folder::load_key;
use super::kek::ObjectKey;
use super::store::{ObjectStore, Shared};
use super::tink::{self, HEADER_BYTES, Header, Layout, Purpose, Stream};
use super::upload::{StoredObject, StoredPart};

/// The longest range of one [`VerifiedObject::read`]; longer ones go through [`VerifiedObject::stream`].
pub const READ_MAX_BYTES: u64 = 16 << 20;
/// What a stream gives at a time.
const PIECE_BYTES: u64 = 1 << 20;
const GROUP: u64 = GROUP_BYTES as u64;

/// An object whose outboard adds up to its recorded digest. Cheap to clone; holds no open file.
#[derive(Debug, Clone)]
pub struct VerifiedObject {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    source: Source,
    outboard: VerifiedOutboard,
    path: PathBuf,
    /// The segment decrypted last: neighbouring reads share it.
    cache: Mutex<Option<Segment>>,
}

impl ObjectStore {
    /// Opens an object for reading: its keys, its outboard, the length of its files.
    ///
    /// # Errors
    /// [`StoreError::KeyGone`] after disposal, [`StoreError::NotFound`], [`StoreError::WrongKey`], or
    /// [`StoreError::Damaged`] when outboard and recorded digest do not fit.
    pub async fn open_object(&self, object: &StoredObject) -> Result<VerifiedObject, StoreError> {
        let (shared, object) = (Arc::clone(&self.shared), object.clone());
        blocking::run(move || open(&shared, &object)).await
    }
}

pub(crate) fn open(shared: &Shared, object: &StoredObject) -> Result<VerifiedObject, StoreError> {
    let path = shared.file(object.name.as_str());
    let source = Source::of_parts(shared, &object.parts)?;
    source.check_lengths()?;
    let total = source.size_bytes();
    let Some(first) = source.parts.first().filter(|_| total == object.size_bytes) else {
        return Err(StoreError::damaged(&path, Damage::Form));
    };
    let outboard = load_outboard(shared, object, &first.key)?;
    let cache = Mutex::new(None);
    Ok(VerifiedObject { inner: Arc::new(Inner { source, outboard, path, cache }) })
}

fn load_outboard(
    shared: &Shared,
    object: &StoredObject,
    key: &ObjectKey,
) -> Result<VerifiedOutboard, StoreError> {
    let path = outboard_file(shared, &object.name);
    let sealed = std::fs::read(&path).map_err(|e| StoreError::io(&path, e))?;
    let damaged = |what| StoreError::damaged(&path, what);
    let flat = tink::open_all(key, Purpose::Outboard, &sealed).map_err(damaged)?;
    Outboard::from_bytes(object.size_bytes, &flat)
        .and_then(|outboard| outboard.verify(&object.blake3))
        .map_err(|what| damaged(what.into()))
}

impl VerifiedObject {
    /// The size of the object.
    pub fn size_bytes(&self) -> u64 {
        self.inner.outboard.size_bytes()
    }

    /// Its group values, for proving a part without the whole.
    pub fn outboard(&self) -> &Outboard {
        self.inner.outboard.outboard()
    }

    /// Exactly the bytes of `range`, as they were received.
    ///
    /// # Errors
    /// [`StoreError::Range`] when it ends beyond the object or is longer than [`READ_MAX_BYTES`];
    /// [`StoreError::Damaged`] when anything of what is stored differs from what was written. Never other bytes.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.check(&range, READ_MAX_BYTES)?;
        let inner = Arc::clone(&self.inner);
        blocking::run(move || inner.read(range)).await
    }

    /// The bytes of `range` in pieces of up to 1 MiB, each checked before it is given; an error ends the stream.
    ///
    /// # Errors
    /// [`StoreError::Range`] at once; the pieces' errors are those of [`Self::read`].
    pub fn stream(
        &self,
        range: Range<u64>,
    ) -> Result<impl AsyncStream<Item = Result<Bytes, StoreError>> + Send + use<>, StoreError> {
        self.check(&range, u64::MAX)?;
        let object = self.clone();
        Ok(stream::try_unfold(range, move |Range { start, end }| {
            let object = object.clone();
            async move {
                if start == end {
                    return Ok(None);
                }
                let next = (start / PIECE_BYTES + 1) * PIECE_BYTES;
                let piece = object.read(start..next.min(end)).await?;
                Ok(Some((piece, next.min(end)..end)))
            }
        }))
    }

    fn check(&self, range: &Range<u64>, longest: u64) -> Result<(), StoreError> {
        let (start, end, size_bytes) = (range.start, range.end, self.size_bytes());
        let good = start <= end && end <= size_bytes && end - start <= longest;
        good.then_some(()).ok_or(StoreError::Range { start, end, size_bytes })
    }
}

impl Inner {
    /// Whole groups are read and checked; then what was not asked for is cut off.
    fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        let first = range.start / GROUP;
        let start = first * GROUP;
        let end = range.end.next_multiple_of(GROUP).min(self.outboard.size_bytes());
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner).take();
        let bytes = self.source.read(start..end.max(start), &mut cache)?;
        *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = cache;
        for (index, group) in (first..).zip(bytes.chunks(GROUP_BYTES)) {
            let checked = self.outboard.verify_group(index, group);
            checked.map_err(|what| StoreError::damaged(&self.path, what))?;
        }
        let (from, to) = ((range.start - start) as usize, (range.end - start) as usize);
        Ok(Bytes::from(bytes).slice(from..to))
    }
}

/// The encrypted files that make up one plaintext, in order. Authenticated reading only: the tree comes on top.
#[derive(Debug)]
pub(crate) struct Source {
    parts: Vec<SourcePart>,
}

pub(crate) struct SourcePart {
    path: PathBuf,
    key: ObjectKey,
    layout: Layout,
    /// Where its plaintext begins in the whole.
    start: u64,
}

impl std::fmt::Debug for SourcePart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourcePart({}, {} bytes)", self.path.display(), self.layout.size_bytes)
    }
}

/// A segment in plaintext.
#[derive(Debug)]
pub(crate) struct Segment {
    part: usize,
    index: u32,
    plain: Vec<u8>,
}

impl Source {
    /// From file, key file and plaintext size of each part.
    pub(crate) fn new(
        shared: &Shared,
        parts: impl IntoIterator<Item = (PathBuf, PathBuf, u64)>,
    ) -> Result<Self, StoreError> {
        let mut start = 0;
        let parts = parts.into_iter().map(|(path, key, size_bytes)| {
            let layout = Layout { size_bytes };
            let part = SourcePart { path, key: load_key(&shared.kek, &key)?, layout, start };
            start += size_bytes;
            Ok(part)
        });
        Ok(Self { parts: parts.collect::<Result<_, StoreError>>()? })
    }

    fn of_parts(shared: &Shared, parts: &[StoredPart]) -> Result<Self, StoreError> {
        Self::new(
            shared,
            parts.iter().map(|part| {
                let name = part.file.as_str();
                (shared.file(name), shared.key_file(name), part.layout().size_bytes)
            }),
        )
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.start + part.layout.size_bytes)
    }

    fn check_lengths(&self) -> Result<(), StoreError> {
        self.parts.iter().try_for_each(|part| part.open().map(drop))
    }

    /// Every segment, in order: its part and its number there.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (usize, u32)> {
        let parts = self.parts.iter().enumerate();
        parts.flat_map(|(part, source)| (0..source.layout.segments()).map(move |n| (part, n)))
    }

    /// The plaintext of a segment, in memory that is needed no more.
    pub(crate) fn segment(
        &self,
        (part, index): (usize, u32),
        memory: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        self.parts[part].segment(index, memory)
    }

    /// The plaintext of `range`.
    pub(crate) fn read(
        &self,
        range: Range<u64>,
        cache: &mut Option<Segment>,
    ) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        let mut at = range.start;
        while at < range.end {
            let part = self.parts.partition_point(|part| part.start + part.layout.size_bytes <= at);
            let source = &self.parts[part];
            let index = Layout::segment_at(at - source.start);
            let segment = match cache.take().filter(|s| (s.part, s.index) == (part, index)) {
                Some(segment) => segment,
                None => Segment { part, index, plain: source.segment(index, Vec::new())? },
            };
            let from = (at - source.start - Layout::plain_start(index)) as usize;
            let length = (segment.plain.len() - from).min((range.end - at) as usize);
            assert!(length > 0, "the layout names the segment that holds byte {at}");
            bytes.extend_from_slice(&segment.plain[from..from + length]);
            at += length as u64;
            *cache = Some(segment);
        }
        Ok(bytes)
    }
}

impl SourcePart {
    /// The file, if it has the length it should have.
    fn open(&self) -> Result<File, StoreError> {
        let file = File::open(&self.path).map_err(|e| StoreError::io(&self.path, e))?;
        let found = file.metadata().map_err(|e| StoreError::io(&self.path, e))?.len();
        let expected = self.layout.ciphertext_bytes();
        if found == expected {
            return Ok(file);
        }
        Err(StoreError::damaged(&self.path, Damage::Length { found, expected }))
    }

    fn segment(&self, index: u32, mut segment: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let file = self.open()?;
        let range = self.layout.ciphertext_of(index);
        let mut header = [0; HEADER_BYTES];
        segment.resize((range.end - range.start) as usize, 0);
        let read = file.read_exact_at(&mut header, 0);
        read.and_then(|()| file.read_exact_at(&mut segment, range.start))
            .map_err(|e| self.cut(e))?;
        let damaged = |what| StoreError::damaged(&self.path, what);
        let stream =
            Stream::new(&self.key, Header::parse(&header).map_err(damaged)?, Purpose::Object);
        let length = stream.open(index, self.layout.end(index), &mut segment).map_err(damaged)?;
        segment.truncate(length);
        Ok(segment)
    }

    /// A file cut short between two reads is damaged, not a failing device.
    fn cut(&self, error: io::Error) -> StoreError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return StoreError::damaged(&self.path, Damage::Form);
        }
        StoreError::io(&self.path, error)
    }
}

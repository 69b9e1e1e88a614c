//! Reading: every byte passes authentication (AES-GCM) and the BLAKE3 tree before anybody sees it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use chain_of_custody::digest::{GROUP_BYTES, Outboard, VerifiedOutboard};
use futures_util::{Stream as AsyncStream, stream};

use super::blocking;
use super::error::{Damage, StoreError};
use super::kek::ObjectKey;
use super::medium::{Medium, StoredFile};
use super::store::ObjectStore;
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
        let object = object.clone();
        self.run(move |medium| open(medium.as_ref(), &object)).await
    }
}

pub(crate) fn open(
    medium: &dyn Medium,
    object: &StoredObject,
) -> Result<VerifiedObject, StoreError> {
    let path = medium.path(object.name.as_str());
    let source = Source::of_parts(medium, &object.parts)?;
    source.check_lengths()?;
    let total = source.size_bytes();
    let Some(first) = source.parts.first().filter(|_| total == object.size_bytes) else {
        return Err(StoreError::damaged(&path, Damage::Form));
    };
    let outboard = load_outboard(medium, object, &first.key)?;
    let cache = Mutex::new(None);
    Ok(VerifiedObject { inner: Arc::new(Inner { source, outboard, path, cache }) })
}

fn load_outboard(
    medium: &dyn Medium,
    object: &StoredObject,
    key: &ObjectKey,
) -> Result<VerifiedOutboard, StoreError> {
    let name = object.name.outboard()?;
    let path = medium.path(name.as_str());
    let open = |sealed: &[u8]| {
        let flat = tink::open_all(key, Purpose::Outboard, sealed)?;
        let outboard = Outboard::from_bytes(object.size_bytes, &flat)?;
        Ok(outboard.verify(&object.blake3)?)
    };
    let opened = open(&medium.get(&name)?).or_else(|what: Damage| {
        // Somebody may have put something else over it. It proves itself, so any version that does is the one.
        let written = medium.versions(&name).unwrap_or_default();
        written.iter().find_map(|sealed| open(sealed).ok()).ok_or(what)
    });
    opened.map_err(|what| StoreError::damaged(&path, what))
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

struct SourcePart {
    file: Box<dyn StoredFile>,
    key: ObjectKey,
    layout: Layout,
    /// Where its plaintext begins in the whole.
    start: u64,
    /// Of its stream, once it was read.
    stream: OnceLock<Stream>,
}

/// A file, its key, and what is in it.
pub(crate) type SourceFile = (Box<dyn StoredFile>, ObjectKey, Layout);

impl std::fmt::Debug for SourcePart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourcePart({:?}, {} bytes)", self.file, self.layout.size_bytes)
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
    pub(crate) fn new(files: Vec<SourceFile>) -> Self {
        let mut start = 0;
        let parts = files.into_iter().map(|(file, key, layout)| {
            let part = SourcePart { file, key, layout, start, stream: OnceLock::new() };
            start += layout.size_bytes;
            part
        });
        Self { parts: parts.collect() }
    }

    fn of_parts(medium: &dyn Medium, parts: &[StoredPart]) -> Result<Self, StoreError> {
        let files = parts
            .iter()
            .map(|part| Ok((medium.part(part), medium.key(&part.file)?, part.layout())));
        Ok(Self::new(files.collect::<Result<_, StoreError>>()?))
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.start + part.layout.size_bytes)
    }

    fn check_lengths(&self) -> Result<(), StoreError> {
        let check = |p: &SourcePart| p.file.check_length(p.layout.ciphertext_bytes());
        self.parts.iter().try_for_each(check)
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
    fn segment(&self, index: u32, mut segment: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let range = self.layout.ciphertext_of(index);
        segment.resize((range.end - range.start) as usize, 0);
        let stream = self.stream()?;
        self.file.read_at(&mut segment, range.start)?;
        let plain = stream.open(index, self.layout.end(index), &mut segment);
        let length = plain.map_err(|what| StoreError::damaged(self.file.path(), what))?;
        segment.truncate(length);
        Ok(segment)
    }

    fn stream(&self) -> Result<&Stream, StoreError> {
        if let Some(stream) = self.stream.get() {
            return Ok(stream);
        }
        let mut header = [0; HEADER_BYTES];
        self.file.read_at(&mut header, 0)?;
        let damaged = |what| StoreError::damaged(self.file.path(), what);
        let header = Header::parse(&header).map_err(damaged)?;
        Ok(self.stream.get_or_init(|| Stream::new(&self.key, header, Purpose::Object)))
    }
}

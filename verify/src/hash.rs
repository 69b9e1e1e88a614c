//! Hashing: every file once, SHA-256 and BLAKE3 on cores of their own, small files kept for the check.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use chain_of_custody::bundle::{BundleItems, Facts, FileFact, Joined, layout};
use chain_of_custody::digest::{Blake3, Digests, Sha256};
use chain_of_custody::report::{Code, Finding};
use sha2::Digest as _;

use crate::gather::{Gathered, Place, shown};
use crate::limits::{MAX_RECORD_BYTES, MAX_RECORDS_BYTES};

/// Bytes read at a time: enough for BLAKE3's widest instructions; all buffers together stay in a core's cache, which
/// halves the cost of reading.
const BUFFER_BYTES: usize = 64 * 1024;
/// Buffers between the reader and SHA-256 of one file.
const BUFFERS: usize = 8;
/// How often the progress line changes.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Hashes everything that was gathered.
pub(crate) fn facts(gathered: &Gathered) -> Facts {
    let work = Work {
        places: by_size(gathered),
        next: AtomicUsize::new(0),
        fronts: fronts(gathered),
        whole_bytes: AtomicU64::new(0),
        progress: Progress::new(gathered),
        facts: Mutex::new(Facts { files: Vec::new(), findings: gathered.findings.clone() }),
    };
    std::thread::scope(|scope| {
        // Each lane has a thread that reads and computes BLAKE3, and one for SHA-256.
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        (0..cores.div_ceil(2)).for_each(|_| {
            scope.spawn(|| work.lane());
        });
    });
    work.progress.done();
    let mut facts = work.facts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    facts.files.sort_by(|a, b| a.path.cmp(&b.path));
    facts
}

/// One file that is not in a bundle.
pub(crate) fn single(file: &Path) -> io::Result<FileFact> {
    let size_bytes = std::fs::metadata(file)?.len();
    let path = shown(&file.to_string_lossy());
    let place = Place { path, file: file.to_owned(), offset: 0, size_bytes };
    let (digests, size_bytes) = hash(&place, &|_| {})?;
    Ok(FileFact { path: place.path, size_bytes, digests, content: None, joined: None })
}

/// Largest first, so that no lane is left alone with a long file at the end.
fn by_size(gathered: &Gathered) -> Vec<&Place> {
    let mut places: Vec<&Place> = gathered.places.iter().collect();
    places.sort_by_key(|place| std::cmp::Reverse(place.size_bytes));
    places
}

struct Work<'a> {
    places: Vec<&'a Place>,
    next: AtomicUsize,
    /// How much comes before the original in files that are two.
    fronts: BTreeMap<String, u64>,
    whole_bytes: AtomicU64,
    progress: Progress,
    facts: Mutex<Facts>,
}

impl Work<'_> {
    fn lane(&self) {
        while let Some(place) = self.places.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let fact = self.fact(place);
            let mut facts = self.facts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match fact {
                Ok(fact) => facts.files.push(fact),
                Err(finding) => facts.findings.push(*finding),
            }
        }
    }

    fn fact(&self, place: &Place) -> Result<FileFact, Box<Finding>> {
        let unreadable =
            |error: io::Error| find(Code::Unreadable, place, format!("Cannot be read: {error}."));
        if !layout::is_read_whole(&place.path) {
            let (digests, size_bytes) =
                hash(place, &|bytes| self.progress.add(bytes)).map_err(unreadable)?;
            let front = self.fronts.get(&place.path).filter(|bytes| **bytes <= place.size_bytes);
            let joined =
                front.map(|bytes| joined(place, *bytes)).transpose().map_err(unreadable)?;
            let path = place.path.clone();
            return Ok(FileFact { path, size_bytes, digests, content: None, joined });
        }
        let whole =
            self.whole_bytes.fetch_add(place.size_bytes, Ordering::Relaxed) + place.size_bytes;
        if place.size_bytes > MAX_RECORD_BYTES || whole > MAX_RECORDS_BYTES {
            let message = format!(
                "The record is larger than {MAX_RECORD_BYTES} bytes a file or {MAX_RECORDS_BYTES} in all."
            );
            return Err(find(Code::TooLarge, place, message));
        }
        let mut content = Vec::new();
        place.open().and_then(|mut reader| reader.read_to_end(&mut content)).map_err(unreadable)?;
        self.progress.add(content.len() as u64);
        let digests = Digests::of(&content);
        let (path, size_bytes) = (place.path.clone(), content.len() as u64);
        Ok(FileFact { path, size_bytes, digests, content: Some(content), joined: None })
    }
}

/// Which files are a front and the original behind it, as the list of items says; it is believed only in where to look.
fn fronts(gathered: &Gathered) -> BTreeMap<String, u64> {
    let place = |path: &str| gathered.places.iter().find(|place| place.path == path);
    let list = place(layout::ITEMS).filter(|list| list.size_bytes <= MAX_RECORD_BYTES);
    let mut bytes = Vec::new();
    let read = list.map(|list| list.open().and_then(|mut list| list.read_to_end(&mut bytes)));
    let items = read.and_then(|_| BundleItems::parse(&bytes).ok()).unwrap_or_default();
    let mut found = BTreeMap::new();
    for item in &items.items {
        let Some(original) = place(&item.path) else { continue };
        for derivative in item.derivatives.iter().filter(|d| d.is_before_original) {
            let front = place(&derivative.path);
            let bytes = front.and_then(|front| front.size_bytes.checked_sub(original.size_bytes));
            found.extend(bytes.map(|bytes| (derivative.path.clone(), bytes)));
        }
    }
    found
}

/// Digests of the first bytes of a file, and of the rest.
fn joined(place: &Place, front_bytes: u64) -> io::Result<Joined> {
    let part = |offset, size_bytes| {
        let (path, file) = (place.path.clone(), place.file.clone());
        hash(&Place { path, file, offset: place.offset + offset, size_bytes }, &|_| {})
    };
    let (front, _) = part(0, front_bytes)?;
    let (original, _) = part(front_bytes, place.size_bytes - front_bytes)?;
    Ok(Joined { front_bytes, front, original })
}

fn find(code: Code, place: &Place, message: String) -> Box<Finding> {
    Box::new(Finding::at(code, layout::class_of(&place.path), &place.path, message))
}

/// Reads a file once. The reader's thread computes BLAKE3 and hands each buffer on to SHA-256, which hands it back.
fn hash(place: &Place, progress: &dyn Fn(u64)) -> io::Result<(Digests, u64)> {
    let mut reader = place.open()?;
    let mut blake3 = blake3::Hasher::new();
    let mut size_bytes = 0;
    std::thread::scope(|scope| {
        let (to_sha256, buffers) = sync_channel::<(Vec<u8>, usize)>(BUFFERS);
        let (give_back, empty) = sync_channel::<Vec<u8>>(BUFFERS);
        (0..BUFFERS).try_for_each(|_| give_back.send(vec![0; BUFFER_BYTES]).ok());
        let sha256 = scope.spawn(move || {
            let mut sha256 = sha2::Sha256::new();
            for (buffer, length) in buffers {
                sha256.update(&buffer[..length]);
                // The reader has gone only when it failed; its error is what counts.
                let _ = give_back.send(buffer);
            }
            Sha256(sha256.finalize().into())
        });
        while let Ok(mut buffer) = empty.recv() {
            let length = fill(&mut reader, &mut buffer)?;
            if length == 0 {
                break;
            }
            size_bytes += length as u64;
            progress(length as u64);
            blake3.update(&buffer[..length]);
            if to_sha256.send((buffer, length)).is_err() {
                break;
            }
        }
        drop(to_sha256);
        let sha256 = sha256.join().map_err(|_| io::Error::other("the hashing thread stopped"))?;
        Ok((Digests { sha256, blake3: Blake3(*blake3.finalize().as_bytes()) }, size_bytes))
    })
}

/// Reads until the buffer is full or the file ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// A line on the terminal; nothing when nobody looks.
struct Progress {
    total_bytes: u64,
    done_bytes: AtomicU64,
    shown: Option<Mutex<Instant>>,
}

impl Progress {
    fn new(gathered: &Gathered) -> Self {
        let total_bytes = gathered.places.iter().map(|place| place.size_bytes).sum();
        let shown = io::stderr().is_terminal().then(|| Mutex::new(Instant::now()));
        Self { total_bytes, done_bytes: AtomicU64::new(0), shown }
    }

    fn add(&self, bytes: u64) {
        let done = self.done_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let Some(Ok(mut last)) = self.shown.as_ref().map(Mutex::try_lock) else { return };
        if last.elapsed() >= PROGRESS_EVERY {
            *last = Instant::now();
            let percent = done * 100 / self.total_bytes.max(1);
            let _ = write!(
                io::stderr(),
                "\rReading {percent} % of {} MB ",
                self.total_bytes / 1_000_000
            );
        }
    }

    fn done(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

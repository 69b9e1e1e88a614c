//! The index in front of a fragmented MP4, which is known only at its end.
//!
//! libav writes head and fragments in order. The head (`ftyp`, `moov`) is held back here, the fragments pass through and
//! are counted, and in the end head and `sidx` are given out together: whoever plays the file reads where everything is
//! once, in place of asking for each fragment's own head. Memory is bounded: when there are many fragments, neighbours
//! share a line of the index.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::channel::OutputWriter;

/// Lines of the index: four and a half hours of fragments of two seconds each, in 96 KiB.
const MAX_LINES: usize = 8192;
/// The longest box that is looked at as a whole: a head, or the head of a fragment of some hundred thousand samples.
const MAX_BOX_BYTES: u64 = 8 << 20;
/// Length and kind of a box; a length that needs 64 bits comes after them.
const BOX_HEADER_BYTES: usize = 8;
const LONG_HEADER_BYTES: usize = 16;
/// ISO/IEC 14496-12: each line begins with a picture that needs none before it.
const STARTS_WITH_SAP_TYPE_1: u32 = 0x9000_0000;

/// The track whose times the index gives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reference {
    pub(crate) track_id: u32,
    /// Of its clock, in one second.
    pub(crate) ticks: u32,
}

/// Passes an MP4 on, without its head. Cloned, it is the same one.
#[derive(Clone)]
pub(crate) struct Indexer(Arc<Mutex<Inner>>);

struct Inner {
    output: OutputWriter,
    boxes: Boxes,
    head: Vec<u8>,
    reference: Option<Reference>,
    lines: Vec<Line>,
}

/// One line of the index: a fragment, or several that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    start: u64,
    end: u64,
    bytes: u64,
}

impl Indexer {
    pub(crate) fn new(output: OutputWriter) -> Self {
        let (boxes, head, lines) = (Boxes::default(), Vec::new(), Vec::new());
        Self(Arc::new(Mutex::new(Inner { output, boxes, head, reference: None, lines })))
    }

    /// Says whose times count, before the first fragment.
    pub(crate) fn count_by(&self, reference: Reference) {
        self.lock().reference = Some(reference);
    }

    /// What belongs before everything that was passed on; `None` where that is nothing.
    pub(crate) fn head(&self) -> Option<Vec<u8>> {
        let inner = self.lock();
        let reference = inner.reference.filter(|_| !inner.lines.is_empty())?;
        Some([&inner.head[..], &sidx(reference, &inner.lines)].concat())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("a panic ends the program")
    }
}

impl Write for Indexer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let inner = &mut *self.lock();
        let mut rest = data;
        while let Some(step) = inner.boxes.take(&mut rest)? {
            inner.step(step)?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inner {
    fn step(&mut self, step: Step<'_>) -> io::Result<()> {
        let (kind, bytes) = match &step {
            Step::Whole(kind, bytes) => (*kind, &bytes[..]),
            Step::Passing(bytes) => (*b"mdat", *bytes),
        };
        if kind == *b"moof" {
            self.fragment(bytes);
        }
        let Some(line) = self.lines.last_mut() else {
            self.head.extend_from_slice(bytes);
            return Ok(());
        };
        line.bytes += bytes.len() as u64;
        self.output.write_all(bytes)
    }

    /// A fragment in which nothing of the counted track begins belongs to the line before.
    fn fragment(&mut self, moof: &[u8]) {
        let times = self.reference.and_then(|track| times(moof, track.track_id));
        let (start, end) = match (times, self.lines.last()) {
            (Some(times), _) => times,
            (None, None) => (0, 0),
            (None, Some(_)) => return,
        };
        if self.lines.len() == MAX_LINES {
            self.lines = self.lines.chunks(2).map(Line::joined).collect();
        }
        self.lines.push(Line { start, end, bytes: 0 });
    }
}

impl Line {
    fn joined(neighbours: &[Self]) -> Self {
        let (first, last) = (neighbours[0], neighbours[neighbours.len() - 1]);
        let bytes = neighbours.iter().map(|line| line.bytes).sum();
        Self { start: first.start, end: last.end, bytes }
    }
}

/// The box that says where each fragment is and when (ISO/IEC 14496-12, 8.16.3), version 1.
fn sidx(reference: Reference, lines: &[Line]) -> Vec<u8> {
    let count = u16::try_from(lines.len()).expect("fewer than MAX_LINES");
    let mut body = vec![1, 0, 0, 0];
    body.extend(reference.track_id.to_be_bytes());
    body.extend(reference.ticks.to_be_bytes());
    body.extend(lines[0].start.to_be_bytes());
    body.extend(0u64.to_be_bytes());
    body.extend([0, 0]);
    body.extend(count.to_be_bytes());
    for (at, line) in lines.iter().enumerate() {
        let until = lines.get(at + 1).map_or(line.end, |next| next.start);
        // 31 bits of length; no fragment comes near.
        let bytes = u32::try_from(line.bytes).unwrap_or(u32::MAX) & 0x7fff_ffff;
        let ticks = u32::try_from(until.saturating_sub(line.start)).unwrap_or(u32::MAX);
        body.extend(bytes.to_be_bytes());
        body.extend(ticks.to_be_bytes());
        body.extend(STARTS_WITH_SAP_TYPE_1.to_be_bytes());
    }
    let length = u32::try_from(BOX_HEADER_BYTES + body.len()).expect("twelve bytes a line");
    [&length.to_be_bytes()[..], b"sidx", &body].concat()
}

/// Tells boxes apart in bytes that come in any pieces.
#[derive(Default)]
struct Boxes {
    /// Of the box under way, as far as it is here.
    begun: Vec<u8>,
    /// Bytes still to come of a box that passes by.
    passing_bytes: u64,
}

enum Step<'a> {
    /// A box as a whole, or the header of one whose bytes pass by next.
    Whole([u8; 4], Vec<u8>),
    Passing(&'a [u8]),
}

impl Boxes {
    /// The next of what has come; `None` when more is needed.
    fn take<'a>(&mut self, rest: &mut &'a [u8]) -> io::Result<Option<Step<'a>>> {
        if rest.is_empty() {
            return Ok(None);
        }
        if self.passing_bytes > 0 {
            let here =
                usize::try_from(self.passing_bytes).map_or(rest.len(), |n| n.min(rest.len()));
            let (bytes, later) = rest.split_at(here);
            self.passing_bytes -= here as u64;
            *rest = later;
            return Ok(Some(Step::Passing(bytes)));
        }
        if !self.fill(rest, BOX_HEADER_BYTES) {
            return Ok(None);
        }
        let long = number(&self.begun, 0) == Some(1);
        let header_bytes = if long { LONG_HEADER_BYTES } else { BOX_HEADER_BYTES };
        if !self.fill(rest, header_bytes) {
            return Ok(None);
        }
        let kind: [u8; 4] = self.begun[4..8].try_into().expect("four bytes are four bytes");
        let length =
            if long { long_number(&self.begun, 8) } else { number(&self.begun, 0).map(u64::from) };
        let length = length.filter(|n| *n >= header_bytes as u64);
        let length = length.ok_or_else(|| io::Error::other("a box without a length"))?;
        if kind == *b"mdat" {
            self.passing_bytes = length - header_bytes as u64;
        } else if length > MAX_BOX_BYTES {
            return Err(io::Error::other("a box too long to look at"));
        } else if !self.fill(rest, usize::try_from(length).expect("a few MiB")) {
            return Ok(None);
        }
        Ok(Some(Step::Whole(kind, std::mem::take(&mut self.begun))))
    }

    /// Whether so many bytes of the box are here, taking what is missing.
    fn fill(&mut self, rest: &mut &[u8], bytes: usize) -> bool {
        let missing = bytes.saturating_sub(self.begun.len()).min(rest.len());
        let (taken, later) = rest.split_at(missing);
        self.begun.extend_from_slice(taken);
        *rest = later;
        self.begun.len() >= bytes
    }
}

/// When a track begins and ends in a fragment, by its own clock; `None` where the fragment has nothing of it.
fn times(moof: &[u8], track_id: u32) -> Option<(u64, u64)> {
    let own = |traf: &&[u8]| child(traf, b"tfhd").and_then(|b| number(b, 4)) == Some(track_id);
    let traf = children(moof.get(BOX_HEADER_BYTES..)?)
        .filter_map(|(kind, body)| (kind == *b"traf").then_some(body))
        .find(own)?;
    let tfdt = child(traf, b"tfdt")?;
    let start = match tfdt.first()? {
        0 => number(tfdt, 4).map(u64::from),
        _ => long_number(tfdt, 4),
    }?;
    let usual = default_duration(child(traf, b"tfhd")?);
    let runs = children(traf).filter(|(kind, _)| kind == b"trun");
    let ticks = runs.map(|(_, run)| run_duration(run, usual)).sum::<Option<u64>>()?;
    Some((start, start.checked_add(ticks)?))
}

/// What a sample of the fragment lasts unless it says otherwise.
fn default_duration(tfhd: &[u8]) -> u32 {
    let flags = number(tfhd, 0).unwrap_or(0);
    let before = [(0x1, 8), (0x2, 4)].iter().filter(|(flag, _)| flags & flag != 0);
    let at = 8 + before.map(|(_, bytes)| bytes).sum::<usize>();
    let there = (flags & 0x8 != 0).then(|| number(tfhd, at)).flatten();
    there.unwrap_or(0)
}

fn run_duration(trun: &[u8], usual: u32) -> Option<u64> {
    let (flags, samples) = (number(trun, 0)?, number(trun, 4)?);
    if flags & 0x100 == 0 {
        return Some(u64::from(samples) * u64::from(usual));
    }
    let bits = |mask: u32| (flags & mask).count_ones() as usize;
    let (first, step) = (8 + 4 * bits(0x5), 4 * bits(0xf00));
    (0..samples as usize).map(|at| number(trun, first + at * step).map(u64::from)).sum()
}

fn child<'a>(body: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    children(body).find_map(|(kind, body)| (kind == *wanted).then_some(body))
}

/// The boxes inside a box, without their headers.
fn children(mut body: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::try_from(number(body, 0)?).ok()?;
        let kind = body.get(4..8)?.try_into().ok()?;
        let inside = body.get(BOX_HEADER_BYTES..length)?;
        body = &body[length..];
        Some((kind, inside))
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

fn long_number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|eight| u64::from_be_bytes(*eight))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(BOX_HEADER_BYTES + body.len()).unwrap();
        [&length.to_be_bytes()[..], kind, body].concat()
    }

    fn numbers(all: &[u32]) -> Vec<u8> {
        all.iter().flat_map(|n| n.to_be_bytes()).collect()
    }

    /// A fragment's head: track 7 at 1,000 ticks, three samples of 40, 40 and 50.
    fn moof() -> Vec<u8> {
        let tfhd = boxed(b"tfhd", &numbers(&[0x2_0038, 7, 40, 0, 0]));
        let tfdt = boxed(b"tfdt", &numbers(&[0x0100_0000, 0, 1000]));
        let trun = boxed(b"trun", &numbers(&[0x301, 3, 0, 40, 9, 40, 9, 50, 9]));
        let traf = boxed(b"traf", &[tfhd, tfdt, trun].concat());
        boxed(b"moof", &[boxed(b"mfhd", &numbers(&[0, 1])), traf].concat())
    }

    #[test]
    fn times_of_a_fragment_are_read() {
        assert_eq!(times(&moof(), 7), Some((1000, 1130)));
        assert_eq!(times(&moof(), 8), None);
        assert_eq!(run_duration(&numbers(&[0x1, 3, 0]), 40), Some(120));
    }

    #[test]
    fn boxes_are_told_apart_in_any_pieces() {
        let long = [&numbers(&[1])[..], b"mdat", &20u64.to_be_bytes(), b"long"].concat();
        let file = [boxed(b"ftyp", b"isom"), moof(), boxed(b"mdat", b"pictures"), long].concat();
        for piece in [1, 3, 7, 64, file.len()] {
            let (mut boxes, mut seen, mut all) = (Boxes::default(), Vec::new(), Vec::new());
            for mut rest in file.chunks(piece) {
                while let Some(step) = boxes.take(&mut rest).unwrap() {
                    match step {
                        Step::Whole(kind, bytes) => {
                            seen.push(kind);
                            all.extend(bytes);
                        }
                        Step::Passing(bytes) => all.extend_from_slice(bytes),
                    }
                }
            }
            assert_eq!(seen, [*b"ftyp", *b"moof", *b"mdat", *b"mdat"], "pieces of {piece}");
            assert_eq!(all, file);
        }
        for bad in [numbers(&[7]), numbers(&[0])] {
            let bytes = [&bad[..], b"mdat"].concat();
            assert!(Boxes::default().take(&mut &bytes[..]).is_err());
        }
    }

    #[test]
    fn neighbours_share_a_line() {
        let lines = [(0, 5, 10), (6, 9, 20)].map(|(start, end, bytes)| Line { start, end, bytes });
        assert_eq!(Line::joined(&lines), Line { start: 0, end: 9, bytes: 30 });
        assert_eq!(Line::joined(&lines[..1]), lines[0]);
    }
}

//! Groups of pictures that go into a redaction as they are coded, because nothing in them is covered: each begins with a picture
//! before which everything is forgotten (H.264, *IDR*), so none needs what lies outside of it.
//!
//! The original is read once to find them, and nothing is decoded. Of a group only the coded pictures go along, and what decoders need
//! before all else; whatever a camera says beside them (SEI) does not. Where anything is not as it should be, all is encoded anew.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Packet, Rational, Rescale, ffi};
use transcode_protocol::RedactionParameters;
use transcode_protocol::probe::StreamKind;

use crate::avc::{Avc, Why};
use crate::channel::SharedChannel;
use crate::input::{self, Next, Reader, changes_decoding, configuration, is_left_out};
use crate::jumps::Joiner;
use crate::part::Ticks;
use crate::pass::{best, start_us};
use crate::scan::MICROSECONDS;
use crate::video::CLOCK;

/// Most pictures that may be read before one that is shown before them (ITU-T H.264, `max_num_reorder_frames`).
const MOST_BEFORE: usize = 16;
/// They are put before each group.
const MOST_SETS_BYTES: usize = 4096;
const MILLISECOND: i64 = CLOCK.1 as i64 / 1000;
/// What the first pictures are read earlier by, each than the next.
const READ_AHEAD: i64 = MILLISECOND;
/// A report has lines of 300 letters, and 64 of them.
const LINE_CHARS: usize = 290;
const MOST_LINES: usize = 48;

/// The groups that go along as they are.
pub(crate) struct Groups {
    avc: Avc,
    base: Rational,
    start: i64,
    groups: Vec<Group>,
    /// In how many places a picture is read before others that are shown before it.
    depth: usize,
}

/// From its first picture to the next group, in [`CLOCK`] from the start of the file.
#[derive(Debug, Clone, Copy)]
struct Group {
    from: i64,
    to: i64,
    last: i64,
    goes_along: bool,
}

/// One group while it is read.
struct Begun {
    /// When its pictures are shown, sorted.
    times: Vec<i64>,
    depth: usize,
    is_whole: bool,
}

/// All groups while they are read.
struct Finding {
    avc: Avc,
    index: usize,
    base: Rational,
    start: i64,
    configuration: Vec<u8>,
    /// With how deep each is nested.
    found: Vec<(Group, usize)>,
    begun: Option<Begun>,
    /// When the last of the pictures before the first group is shown.
    before: Option<i64>,
}

impl Groups {
    /// Those of the original behind `channel` in which `parameters` cover nothing, or why there are none.
    pub(crate) fn find(
        channel: &SharedChannel,
        parameters: &RedactionParameters,
    ) -> Result<Self, Why> {
        let mut input = input::open(channel).map_err(|_| "it could not be read twice")?.input;
        let mut finding = Finding::open(&input)?;
        let (mut reader, mut joiner) = (Reader::default(), Joiner::new(&input));
        let is_clean = loop {
            let mut packet = match reader.next(&mut input) {
                Next::Packet(packet) => packet,
                Next::End { clean } => break clean && reader.errors == 0,
            };
            joiner.place(&mut packet, &input);
            if packet.stream() == finding.index {
                finding.take(&packet)?;
            }
        };
        if !is_clean {
            return Err("a part of it is damaged or cut off");
        }
        if joiner.jumps() > 0 {
            return Err("its time stamps jump");
        }
        finding.end(parameters)
    }

    /// The time of a coded picture, in [`CLOCK`] from the start of the file, if it goes along as it is.
    pub(crate) fn time(&self, packet: &Packet) -> Option<i64> {
        let time = packet.pts()?.rescale(self.base, CLOCK) - self.start;
        let at = self.groups.partition_point(|group| group.from <= time).checked_sub(1)?;
        self.groups[at].goes_along.then_some(time)
    }

    /// What of a coded picture goes along, with start codes (annex B), and whether a group begins with it.
    pub(crate) fn bare(&self, packet: &Packet) -> Option<(Vec<u8>, bool)> {
        self.avc.bare(packet.data()?)
    }

    /// In which order its pictures are read among all others.
    pub(crate) fn order(&self) -> Order {
        Order { depth: self.depth, shown: BinaryHeap::new(), given: 0 }
    }

    /// For people: which parts of the recording were not encoded anew.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut parts: Vec<(i64, i64)> = Vec::new();
        for group in self.groups.iter().filter(|group| group.goes_along) {
            let to = if group.to == i64::MAX { group.last } else { group.to };
            match parts.last_mut() {
                Some((_, end)) if *end == group.from => *end = to,
                _ => parts.push((group.from, to)),
            }
        }
        let count = self.groups.iter().filter(|group| group.goes_along).count();
        let all = self.groups.len();
        in_words(
            &format!("groups of pictures as they are coded, not encoded anew: {count} of {all}"),
            &parts,
        )
    }
}

/// `what`, and the parts that it is about, in as many lines as it takes.
fn in_words(what: &str, parts: &[(i64, i64)]) -> Vec<String> {
    let mut lines = vec![what.to_owned()];
    for (at, (from, to)) in parts.iter().enumerate() {
        let part = format!("{} to {} ms", from / MILLISECOND, to / MILLISECOND);
        let count = lines.len();
        match lines.last_mut().filter(|line| line.len() + part.len() < LINE_CHARS) {
            Some(line) => line.extend([if at == 0 { ": " } else { ", " }, &part]),
            None if count == MOST_LINES => {
                lines.push(format!("and {} parts more", parts.len() - at));
                break;
            }
            None => lines.push(format!("and {part}")),
        }
    }
    lines
}

impl Finding {
    fn open(input: &Input) -> Result<Self, Why> {
        let stream = best(input, StreamKind::Video).ok_or("it has no picture")?;
        if stream.parameters().id() != ffmpeg::codec::Id::H264 {
            return Err("the picture is not H.264");
        }
        if !looks_as_encoded(&stream) {
            return Err("it is not 8 bits of 4:2:0 in the usual range, picture by picture");
        }
        let configuration = configuration(&stream);
        let avc = Avc::read(&configuration)?;
        if avc.sets_bytes() > MOST_SETS_BYTES {
            return Err("what is needed to decode it is too long");
        }
        Ok(Self {
            avc,
            index: stream.index(),
            base: stream.time_base(),
            start: start_us(input).rescale(MICROSECONDS, CLOCK),
            configuration,
            found: Vec::new(),
            begun: None,
            before: None,
        })
    }

    fn take(&mut self, packet: &Packet) -> Result<(), Why> {
        let shown = packet.pts().ok_or("its pictures have no times")?;
        let time = shown.rescale(self.base, CLOCK) - self.start;
        let data = packet.data().unwrap_or_default();
        if changes_decoding(packet, &self.configuration) || self.avc.changes_in(data) {
            return Err("what is needed to decode it changes in the middle");
        }
        let begins = self.avc.bare(data).map(|(_, begins)| begins);
        let is_whole = begins.is_some()
            && !packet.is_corrupt()
            && !is_left_out(packet)
            && self.avc.check(data).is_ok();
        if begins == Some(true) {
            if self.before.is_some_and(|before| time <= before) {
                return Err("the times of its pictures are not in order");
            }
            self.close(time)?;
            self.begun = Some(Begun { times: vec![time], depth: 0, is_whole });
            return Ok(());
        }
        // What comes before the first group is decoded.
        let Some(begun) = &mut self.begun else {
            self.before = self.before.max(Some(time));
            return Ok(());
        };
        let at = begun.times.partition_point(|earlier| *earlier < time);
        if at == 0 || begun.times.get(at) == Some(&time) {
            return Err("the times of its pictures are not in order");
        }
        begun.depth = begun.depth.max(begun.times.len() - at);
        if begun.depth > MOST_BEFORE {
            return Err("the times of its pictures are not in order");
        }
        begun.times.insert(at, time);
        begun.is_whole &= is_whole;
        Ok(())
    }

    /// The group that was begun ends before `to`.
    fn close(&mut self, to: i64) -> Result<(), Why> {
        let Some(Begun { times, depth, is_whole }) = self.begun.take() else { return Ok(()) };
        let (Some(from), Some(last)) = (times.first(), times.last()) else { return Ok(()) };
        if *last >= to {
            return Err("the times of its pictures are not in order");
        }
        self.found.push((Group { from: *from, to, last: *last, goes_along: is_whole }, depth));
        Ok(())
    }

    fn end(mut self, parameters: &RedactionParameters) -> Result<Groups, Why> {
        self.close(i64::MAX)?;
        let keep = Ticks::of(parameters.keep, CLOCK);
        let areas: Vec<_> =
            parameters.areas.iter().map(|area| Ticks::of(area.span(), CLOCK)).collect();
        let mut found = mem::take(&mut self.found);
        let is_clear = |(group, _): &(Group, usize)| {
            let is_covered = areas.iter().any(|at| at.from < group.to && group.from < at.to);
            keep.has(group.from) && keep.has(group.last) && !is_covered
        };
        let clear: Vec<_> = found.iter().map(is_clear).collect();
        for (at, (group, _)) in found.iter_mut().enumerate() {
            // Its last pictures may stay on show into the next group, where that is damaged or times are not what they say.
            group.goes_along &= clear[at] && clear.get(at + 1).copied().unwrap_or(true);
        }
        let along = found.iter().filter(|(group, _)| group.goes_along);
        let depth = along.map(|(_, depth)| *depth).max();
        let depth = depth.ok_or(
            "no group of pictures is whole, kept, and has nothing covered in it and in the next",
        )?;
        let groups = found.into_iter().map(|(group, _)| group).collect();
        Ok(Groups { avc: self.avc, base: self.base, start: self.start, groups, depth })
    }
}

/// Whether pictures are of the kind that the encoder makes, so that both can follow each other.
fn looks_as_encoded(stream: &ffmpeg::Stream<'_>) -> bool {
    use ffi::{AVColorRange, AVFieldOrder, AVPixelFormat};
    // SAFETY: reads numbers of a stream of an open context.
    let (format, range, fields) = unsafe {
        let parameters = &*(*stream.as_ptr()).codecpar;
        (parameters.format, parameters.color_range, parameters.field_order)
    };
    format == AVPixelFormat::AV_PIX_FMT_YUV420P as i32
        && range != AVColorRange::AVCOL_RANGE_JPEG
        && matches!(fields, AVFieldOrder::AV_FIELD_PROGRESSIVE | AVFieldOrder::AV_FIELD_UNKNOWN)
}

/// When coded pictures are read that are shown in another order: each when the one is shown that comes so many places before it in the
/// order of times.
pub(crate) struct Order {
    depth: usize,
    /// Times at which nothing is read yet.
    shown: BinaryHeap<Reverse<i64>>,
    given: usize,
}

impl Order {
    /// When the next picture is read, which is shown at `time`.
    pub(crate) fn read(&mut self, time: i64) -> i64 {
        self.shown.push(Reverse(time));
        self.given += 1;
        if self.given <= self.depth {
            let first = self.shown.peek().map_or(time, |first| first.0);
            return first - (self.depth + 1 - self.given) as i64 * READ_AHEAD;
        }
        self.shown.pop().map_or(time, |first| first.0)
    }

    /// How much earlier than the first is shown it is read, in microseconds.
    pub(crate) fn delay_us(&self) -> i64 {
        (self.depth as i64 * READ_AHEAD).rescale(CLOCK, MICROSECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_room_for_what_is_said() {
        assert_eq!(
            in_words("all", &[(0, 90_000), (180_000, 270_045)]),
            ["all: 0 to 1000 ms, 2000 to 3000 ms"]
        );
        let second = |n: i64| (n * 180_000, n * 180_000 + 90_000);
        let lines = in_words("many", &(0..301).map(second).collect::<Vec<_>>());
        assert_eq!(lines.join(", ").matches(" ms").count(), 301);
        let lines = in_words("too many", &(0..100_000).map(second).collect::<Vec<_>>());
        assert!(lines.len() <= 49 && lines.iter().all(|line| line.len() <= 300));
        assert!(lines.last().unwrap().ends_with("parts more"), "{lines:?}");
    }

    fn read(depth: usize, shown: &[i64]) -> Vec<i64> {
        let mut order = Order { depth, shown: BinaryHeap::new(), given: 0 };
        shown.iter().map(|time| order.read(*time)).collect()
    }

    #[test]
    fn pictures_are_read_one_after_the_other_and_before_they_are_shown() {
        assert_eq!(read(0, &[0, 10, 20]), [0, 10, 20]);
        // Shown as 0 4000 8000 12000 16000, two of them behind one that is read before.
        let shown = [0, 12_000, 8_000, 4_000, 16_000];
        let read = read(2, &shown);
        assert_eq!(read, [-180, -90, 0, 4_000, 8_000]);
        assert!(read.iter().zip(shown).all(|(read, shown)| *read <= shown));
    }
}

//! A range of a viewing copy: what one worker makes of a long recording, while others make the rest; and where such ranges may begin.
//!
//! Which pictures a range has is decided by their times alone, so it does not depend on where decoding began. It begins one group of
//! pictures earlier: what the first pictures of the range are made of (lines of the one before, pictures of an open group) is there then.
//! Pictures that come after the first of the next range in the file, and are shown before it, are this range's.
//!
//! The sound is no range's: it is encoded in one, by one worker.

use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Packet, Rational, Rescale, codec, frame};
use transcode_protocol::probe::StreamKind;
use transcode_protocol::{
    FailureCode, Frame, MAX_RANGES, ProxyParameters, ProxyRangeParameters, Range, Report,
};

use crate::channel::SharedChannel;
use crate::failure::JobFailure;
use crate::input::{self, Next, Reader, permille};
use crate::jumps::Joiner;
use crate::part::{Approach, Ticks};
use crate::pass::{Decoders, Maker as _, Seen, best, start_us};
use crate::proxy::{Of, Proxy};
use crate::report::report;
use crate::scan::MICROSECONDS;
use crate::video::{CLOCK, Pictures, open_decoder};

/// Ranges are about so long …
const RANGE: i64 = 300 * CLOCK.1 as i64;
/// … the last one not less than this …
const LAST: i64 = RANGE / 2;
/// … and a recording that is shorter has none.
const SHORTEST: i64 = 2 * RANGE;
/// How long before its range a worker looks for a picture to begin at, one after the other, until there is one. In formats with an index the
/// first try arrives at it.
const LOOKS_BEFORE: [i64; 3] = [0, 15 * CLOCK.1 as i64, 120 * CLOCK.1 as i64];
/// Of these it is known from the coded picture itself whether it needs others before it, or recorders say so.
const CODECS: [codec::Id; 9] = [
    codec::Id::H264,
    codec::Id::HEVC,
    codec::Id::MPEG1VIDEO,
    codec::Id::MPEG2VIDEO,
    codec::Id::MPEG4,
    codec::Id::MJPEG,
    codec::Id::VP8,
    codec::Id::VP9,
    codec::Id::AV1,
];
/// In place of sound that there is not: a box with nothing in it.
pub(crate) const NO_SOUND: [u8; 8] = *b"\0\0\0\x08free";
const PROGRESS_STEP: u16 = 10;

/// Makes `proxy-range.mp4`.
pub(crate) fn make(
    channel: &SharedChannel,
    name: &'static str,
    ProxyRangeParameters { copy, range }: &ProxyRangeParameters,
) -> Result<Report, JobFailure> {
    let Range::Pictures { from_90k, to_90k } = *range else { return sound(channel, name, copy) };
    let ticks = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    let (from, to) = (from_90k.map_or(i64::MIN, ticks), to_90k.map_or(i64::MAX, ticks));
    let part = Ticks { from, to };
    // The first range needs no seeking; where it leads nowhere, the file is read from its start.
    let looks = LOOKS_BEFORE.iter().filter(|_| from_90k.is_some()).map(|before| Some(*before));
    for looks_before in looks.chain([None]) {
        if let Some(made) = pictures(channel, name, copy, part, looks_before)? {
            return Ok(made);
        }
    }
    Err(nothing())
}

/// Makes the pictures of `part`, sought so long before it, or read from the start of the file. `None` where seeking did not lead to a
/// picture before it that needs none before, or the first picture is not the one that was named: nothing was sent then.
fn pictures(
    channel: &SharedChannel,
    name: &'static str,
    copy: &ProxyParameters,
    part: Ticks,
    looks_before: Option<i64>,
) -> Result<Option<Report>, JobFailure> {
    let mut input = input::open(channel)?.input;
    let is_sought = looks_before.is_some();
    let mut made = InRange::open(&input, channel, name, copy, part, is_sought)?;
    let (index, start) = (made.pictures.index, start_us(&input));
    if let Some(looks_before) = looks_before {
        let base = input.stream(index).map_or(CLOCK, |stream| stream.time_base());
        let time = part.from - looks_before + start.rescale(MICROSECONDS, CLOCK);
        if input::seek(&mut input, index, time.rescale(CLOCK, base) - 1).is_err() {
            return Ok(None);
        }
    }
    // To the last picture before the range that needs none before it.
    let before_us = part.from.saturating_sub(1).rescale(CLOCK, MICROSECONDS);
    let (mut reader, mut approach) = (Reader::default(), Approach::to(index, start, before_us));
    let mut step = Step::On;
    while step == Step::On {
        let next = reader.next(&mut input);
        let is_end = matches!(next, Next::End { .. });
        let packets = match next {
            Next::Packet(packet) => approach.step(packet, &input),
            Next::End { .. } => approach.begin(),
        };
        if is_sought && approach.is_there() && !approach.has_passed_key {
            return Ok(None);
        }
        let packets = packets.iter().filter(|packet| packet.stream() == index);
        for packet in packets.map(Some).chain(is_end.then_some(None)) {
            step = made.feed(packet)?;
            if step != Step::On {
                break;
            }
        }
        if is_end && step == Step::On {
            step = Step::Past;
        }
    }
    if step == Step::Missed { Ok(None) } else { made.finish(&input).map(Some) }
}

/// The pictures of one range on their way out.
struct InRange {
    channel: SharedChannel,
    pictures: Pictures,
    proxy: Proxy,
    part: Ticks,
    /// When the last of it is shown, as far as that is known.
    until: i64,
    is_sought: bool,
    is_given: bool,
    said: u16,
}

/// What came of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    On,
    /// All of the range is there.
    Past,
    /// It does not begin with the picture that was named.
    Missed,
}

impl InRange {
    fn open(
        input: &Input,
        channel: &SharedChannel,
        name: &'static str,
        copy: &ProxyParameters,
        part: Ticks,
        is_sought: bool,
    ) -> Result<Self, JobFailure> {
        let Decoders { pictures, tracks, .. } = Decoders::open(input, true)?;
        let pictures = pictures.ok_or_else(nothing)?;
        let proxy = Proxy::open_some(&tracks, channel.clone(), name, copy, Of::Pictures)?;
        let length = input.duration().max(0).rescale(MICROSECONDS, CLOCK);
        let until = if part.to == i64::MAX { length } else { part.to };
        let channel = channel.clone();
        Ok(Self { channel, pictures, proxy, part, until, is_sought, is_given: false, said: 0 })
    }

    /// Takes a packet, or the end.
    fn feed(&mut self, packet: Option<&Packet>) -> Result<Step, JobFailure> {
        self.pictures.feed(packet);
        while let Some(picture) = self.pictures.next()? {
            let step = self.take(&picture)?;
            if step != Step::On {
                return Ok(step);
            }
        }
        Ok(Step::On)
    }

    fn take(&mut self, picture: &frame::Video) -> Result<Step, JobFailure> {
        let time = picture.pts().unwrap_or_default();
        if time >= self.part.to {
            return Ok(Step::Past);
        }
        if time < self.part.from {
            return Ok(Step::On);
        }
        if !self.is_given && self.is_sought && time != self.part.from {
            return Ok(Step::Missed);
        }
        if !self.is_given && self.is_sought {
            self.pictures.count_anew();
        }
        self.is_given = true;
        self.proxy.picture(picture)?;
        self.say(time);
        Ok(Step::On)
    }

    fn say(&mut self, time: i64) {
        let from = self.part.from.max(0);
        let done = time.saturating_sub(from).saturating_mul(1000) / (self.until - from).max(1);
        let done = u16::try_from(done.clamp(0, 1000)).unwrap_or(1000);
        if done >= self.said + PROGRESS_STEP {
            self.said = done;
            self.channel.send(&Frame::Progress { permille: done });
        }
    }

    fn finish(self, input: &Input) -> Result<Report, JobFailure> {
        if !self.is_given {
            return Err(nothing());
        }
        Box::new(self.proxy).finish(&Seen::of_pictures(input, &self.pictures))
    }
}

fn nothing() -> JobFailure {
    JobFailure::new(FailureCode::NothingToMake, "A range of the recording has no picture.")
}

/// Makes the sound of all of it; where there is none, a box that says so.
fn sound(
    channel: &SharedChannel,
    name: &'static str,
    copy: &ProxyParameters,
) -> Result<Report, JobFailure> {
    let mut input = input::open(channel)?.input;
    let Decoders { sound, tracks, .. } = Decoders::open(&input, true)?;
    let Some(mut sound) = sound else {
        return Ok(no_sound(channel, name, &Seen::of_sound(&input, None, Vec::new())));
    };
    let mut proxy = Proxy::open_some(&tracks, channel.clone(), name, copy, Of::Sound)?;
    let (mut reader, mut joiner) = (Reader::default(), Joiner::new(&input));
    let (mut taken, mut said) = (Ok(()), 0);
    let mut give = |piece: &frame::Audio| {
        if taken.is_ok() {
            taken = proxy.sound(piece);
        }
    };
    while let Next::Packet(mut packet) = reader.next(&mut input) {
        joiner.place(&mut packet, &input);
        if packet.stream() == sound.index {
            sound.feed(Some(&packet), &mut give)?;
        }
        let read = permille(&packet, channel.size_bytes());
        if let Some(now) = read.filter(|now| *now >= said + PROGRESS_STEP) {
            said = now;
            channel.send(&Frame::Progress { permille: now });
        }
    }
    sound.feed(None, &mut give)?;
    taken?;
    let seen = Seen::of_sound(&input, Some(&sound), joiner.notes(start_us(&input)));
    match seen.sounds {
        0 => Ok(no_sound(channel, name, &seen)),
        _ => Box::new(proxy).finish(&seen),
    }
}

fn no_sound(channel: &SharedChannel, name: &str, seen: &Seen) -> Report {
    channel.output(name, &NO_SOUND);
    channel.send(&Frame::Head { name: name.to_owned(), data: NO_SOUND.to_vec() });
    report([], 1, seen.notes())
}

/// Looks, packet by packet, for pictures at which a range may begin.
pub(crate) struct Beginnings {
    index: usize,
    base: Rational,
    start: i64,
    /// As [`crate::video::Pictures`] counts.
    from: Vec<i64>,
    length: i64,
    last_read: Option<i64>,
    last_shown: Option<i64>,
    /// Times go on step by step, and no packet is damaged.
    is_steady: bool,
}

impl Beginnings {
    /// `None` where there are no pictures to be encoded in ranges.
    pub(crate) fn new(input: &Input) -> Option<Self> {
        let stream = best(input, StreamKind::Video)?;
        if !CODECS.contains(&stream.parameters().id()) || open_decoder(&stream, 1).is_err() {
            return None;
        }
        let start = start_us(input).rescale(MICROSECONDS, CLOCK);
        Some(Self::of(stream.index(), stream.time_base(), start))
    }

    fn of(index: usize, base: Rational, start: i64) -> Self {
        let (last_read, last_shown) = (None, None);
        let (from, length, is_steady) = (Vec::new(), RANGE, true);
        Self { index, base, start, from, length, last_read, last_shown, is_steady }
    }

    pub(crate) fn look(&mut self, packet: &Packet) {
        if packet.stream() != self.index {
            return;
        }
        let Some((shown, read)) = packet.pts().zip(packet.dts()) else {
            self.is_steady = false;
            return;
        };
        self.is_steady &= self.last_read.is_none_or(|last| last < read) && !packet.is_corrupt();
        self.last_read = Some(read);
        self.look_at(shown.rescale(self.base, CLOCK) - self.start, packet.is_key());
    }

    /// A range begins behind all that came before in the file, or it would not be known which pictures are its own.
    fn look_at(&mut self, time: i64, is_key: bool) {
        let begins = is_key && self.last_shown.is_none_or(|last| last < time);
        self.last_shown = self.last_shown.max(Some(time));
        if begins && time - self.from.last().copied().unwrap_or(0) >= self.length {
            self.from.push(time);
            if self.from.len() == MAX_RANGES {
                self.length *= 2;
                self.thin_out();
            }
        }
    }

    /// Those that are left, where `is_whole`: nothing was met that a range would have to know of what lies before it.
    pub(crate) fn found(mut self, is_whole: bool) -> Vec<u64> {
        let end = self.last_shown.unwrap_or(0);
        self.from.retain(|from| end - from >= LAST);
        let are_some = is_whole && self.is_steady && end >= SHORTEST;
        self.from.into_iter().filter(|_| are_some).filter_map(|from| from.try_into().ok()).collect()
    }

    fn thin_out(&mut self) {
        let (mut last, length) = (0, self.length);
        self.from.retain(|from| {
            let stays = from - last >= length;
            last = if stays { *from } else { last };
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = CLOCK.1 as i64;

    /// Where ranges begin of a recording of so many seconds, a picture each, every second of which needs none before it.
    fn found(seconds: i64, is_whole: bool) -> Vec<u64> {
        let mut beginnings = Beginnings::of(0, CLOCK, 0);
        (0..seconds).for_each(|second| beginnings.look_at(second * SECOND, second % 2 == 0));
        beginnings.found(is_whole)
    }

    #[test]
    fn a_recording_has_ranges_of_five_minutes_from_ten_on() {
        assert_eq!(found(599, true), [0; 0]);
        assert_eq!(found(601, true), [300 * 90_000]);
        assert_eq!(found(1250, true), [300, 600, 900].map(|second| second * 90_000));
        assert_eq!(found(800, true), [300, 600].map(|second| second * 90_000));
        assert_eq!(found(1250, false), [0; 0]);
    }

    #[test]
    fn a_recording_of_days_has_longer_ranges() {
        let from = found(4 * 86_400, true);
        assert!(from.len() < MAX_RANGES && from.len() > MAX_RANGES / 2, "{}", from.len());
        assert!(transcode_protocol::probe::are_ranges(&from));
        let steps: Vec<_> = from.windows(2).map(|two| two[1] - two[0]).collect();
        let step = 8 * RANGE as u64;
        assert!(steps.iter().all(|one| *one == step), "{steps:?}");
    }

    #[test]
    fn a_picture_that_is_shown_before_others_begins_nothing() {
        let mut beginnings =
            Beginnings { last_shown: Some(400 * SECOND), ..Beginnings::of(0, CLOCK, 0) };
        beginnings.look_at(399 * SECOND, true);
        assert_eq!(beginnings.from, [0; 0]);
        beginnings.look_at(401 * SECOND, true);
        assert_eq!(beginnings.from, [401 * SECOND]);
    }
}

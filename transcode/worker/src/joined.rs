//! The viewing copy out of its ranges: coded pictures and sound are put one behind the other, as they are.

use std::ops::Range;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Packet, Rational, Rescale, ffi};
use transcode_protocol::{FailureCode, Frame, JoinedParameters, MAX_RANGES, Report};

use crate::channel::SharedChannel;
use crate::failure::JobFailure;
use crate::input::{self, Next, Reader, configuration};
use crate::mux::{Mp4, Track};
use crate::range::NO_SOUND;
use crate::report::report;
use crate::scan::MICROSECONDS;

/// Coded pictures or sound that a worker made, one packet after the other.
struct Made {
    input: Input,
    reader: Reader,
    base: Rational,
    next: Option<Packet>,
}

/// The viewing copy on its way out.
struct Join {
    mp4: Mp4,
    pictures: Track,
    sound: Option<(Made, Track)>,
    /// When the last picture has to be read.
    last: Option<i64>,
}

/// Makes `proxy.mp4`.
pub(crate) fn make(
    channel: &SharedChannel,
    name: &'static str,
    JoinedParameters { ranges_bytes }: &JoinedParameters,
) -> Result<Report, JobFailure> {
    let ranges = places(ranges_bytes, channel.size_bytes()).ok_or_else(no_ranges)?;
    let Some((sound, pictures)) = ranges.split_last() else { return Err(no_ranges()) };
    let mut first = Made::open(channel, &pictures[0])?;
    let mut mp4 = Mp4::new(channel, name)?;
    // The picture first: fragments begin with its keyframes.
    let track = mp4.add_copy(&first.stream()?)?;
    let sound = match sound.end - sound.start <= 2 * NO_SOUND.len() as u64 {
        true => None,
        false => {
            let sound = Made::open(channel, sound)?;
            let track = mp4.add_copy(&sound.stream()?)?;
            Some((sound, track))
        }
    };
    mp4.begin(true)?;
    let mut join = Join { mp4, pictures: track, sound, last: None };
    for (at, range) in pictures.iter().enumerate() {
        match at {
            0 => join.take(&mut first)?,
            _ => {
                let mut next = Made::open(channel, range)?;
                if !first.is_coded_as(&next)? {
                    return Err(other("The ranges of the recording are not coded alike."));
                }
                join.take(&mut next)?;
            }
        }
        let done = (at + 1) * 1000 / pictures.len();
        channel.send(&Frame::Progress { permille: u16::try_from(done).unwrap_or(1000) });
    }
    join.finish(channel)?;
    Ok(report([], 1, Vec::new()))
}

/// Where each lies, if they fill all of it.
fn places(ranges_bytes: &[u64], size_bytes: u64) -> Option<Vec<Range<u64>>> {
    let mut end = 0u64;
    let places = ranges_bytes.iter().map(|bytes| {
        let start = end;
        end = start.checked_add(*bytes)?;
        Some(start..end)
    });
    let places: Vec<_> = places.collect::<Option<_>>()?;
    let fits = end == size_bytes && (2..=MAX_RANGES + 1).contains(&places.len());
    fits.then_some(places)
}

impl Join {
    /// Writes the pictures of a range, and the sound up to each.
    fn take(&mut self, range: &mut Made) -> Result<(), JobFailure> {
        while let Some(picture) = range.next()? {
            let read = picture.dts().ok_or_else(|| other("A coded picture has no time."))?;
            if self.last.is_some_and(|last| read <= last) {
                return Err(other(
                    "A range of the recording begins before the one ahead of it ends.",
                ));
            }
            self.last = Some(read);
            self.sound_until(Some(read.rescale(range.base, MICROSECONDS)))?;
            self.mp4.write(&self.pictures, picture)?;
        }
        Ok(())
    }

    /// All of it where no end is named.
    fn sound_until(&mut self, end_us: Option<i64>) -> Result<(), JobFailure> {
        let Some((sound, track)) = &mut self.sound else { return Ok(()) };
        loop {
            let read = sound.peek().and_then(Packet::dts);
            let read_us = read.map(|read| read.rescale(sound.base, MICROSECONDS));
            if end_us.is_some_and(|end| read_us.is_some_and(|read| read > end)) {
                return Ok(());
            }
            let Some(packet) = sound.next()? else { return Ok(()) };
            self.mp4.write(track, packet)?;
        }
    }

    fn finish(mut self, channel: &SharedChannel) -> Result<(), JobFailure> {
        self.sound_until(None)?;
        self.mp4.finish(channel)
    }
}

impl Made {
    fn open(channel: &SharedChannel, bytes: &Range<u64>) -> Result<Self, JobFailure> {
        let input = input::open_made(channel, bytes.clone())?;
        let base = input.stream(0).ok_or_else(no_ranges)?.time_base();
        let mut made = Self { input, reader: Reader::default(), base, next: None };
        made.step()?;
        Ok(made)
    }

    fn stream(&self) -> Result<ffmpeg::Stream<'_>, JobFailure> {
        self.input.stream(0).ok_or_else(no_ranges)
    }

    fn peek(&self) -> Option<&Packet> {
        self.next.as_ref()
    }

    fn next(&mut self) -> Result<Option<Packet>, JobFailure> {
        let next = self.next.take();
        if next.is_some() {
            self.step()?;
        }
        Ok(next)
    }

    fn step(&mut self) -> Result<(), JobFailure> {
        self.next = match self.reader.next(&mut self.input) {
            Next::Packet(packet) => Some(packet),
            Next::End { clean: true } if self.reader.errors == 0 => None,
            Next::End { .. } => return Err(other("A range of the recording cannot be read.")),
        };
        Ok(())
    }

    /// Whether one head serves both.
    fn is_coded_as(&self, other: &Self) -> Result<bool, JobFailure> {
        let coded = |stream: &ffmpeg::Stream<'_>| {
            // SAFETY: reads numbers of a stream of an open context.
            let ffi::AVCodecParameters { width, height, .. } =
                unsafe { *(*stream.as_ptr()).codecpar };
            (width, height, configuration(stream))
        };
        Ok(self.base == other.base && coded(&self.stream()?) == coded(&other.stream()?))
    }
}

fn no_ranges() -> JobFailure {
    other("The ranges of the recording are not there.")
}

fn other(message: &str) -> JobFailure {
    JobFailure::new(FailureCode::Internal, message)
}

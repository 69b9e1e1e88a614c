//! A part of a recording: what lies before it is not decoded if it need not be, what lies outside is not given on.

use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Packet, Rational, Rescale, frame};
use transcode_protocol::{FailureCode, Report, Span};

use crate::audio::SOUND_RATE;
use crate::failure::JobFailure;
use crate::pass::{Maker, Seen};
use crate::video::CLOCK;

const MILLISECONDS: Rational = Rational(1, 1000);
/// Sound is decoded from so long before its first picture, because it builds on what was before.
const SOUND_BEFORE: i64 = 18_000;
/// Most that is held back of a group of pictures. A longer one is decoded from its start.
const MAX_HELD_BYTES: usize = 256 << 20;

/// A part, in ticks of some clock from the start of the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Ticks {
    /// `span` in ticks of `clock`.
    pub(crate) fn of(span: Span, clock: Rational) -> Self {
        let ticks = |ms: u64| (ms.min(Span::END_MS) as i64).rescale(MILLISECONDS, clock);
        Self { from: ticks(span.from_ms), to: ticks(span.to_ms) }
    }

    pub(crate) fn has(self, time: i64) -> bool {
        (self.from..self.to).contains(&time)
    }
}

/// Gives a maker the part only, timed from its own start: pictures that begin in it, and sound that lies wholly in it, which is
/// all of it but for less than a piece ([`crate::audio`]) at either end.
pub(crate) struct PartOf {
    maker: Box<dyn Maker>,
    span: Span,
    given: bool,
    /// Whether pictures, and sound, are past its end.
    past: (bool, bool),
}

impl PartOf {
    /// `tracks` says whether there are pictures, and sound.
    pub(crate) fn new(maker: Box<dyn Maker>, span: Span, tracks: (bool, bool)) -> Self {
        Self { maker, span, given: false, past: (!tracks.0, !tracks.1) }
    }
}

impl Maker for PartOf {
    fn picture(&mut self, picture: &frame::Video) -> Result<(), JobFailure> {
        let part = Ticks::of(self.span, CLOCK);
        let time = picture.pts().unwrap_or_default();
        self.past.0 = time >= part.to;
        if !part.has(time) {
            return Ok(());
        }
        self.given = true;
        let mut picture = crate::video::held(picture)
            .map_err(|error| JobFailure::av("holding a picture", error))?;
        picture.set_pts(Some(time - part.from));
        self.maker.picture(&picture)
    }

    fn carries(&self, packet: &Packet) -> bool {
        self.maker.carries(packet)
    }

    /// It lies in the part, or it would not go on as it is.
    fn carry(&mut self, packet: &Packet) -> Result<(), JobFailure> {
        self.given = true;
        self.maker.carry(packet)
    }

    fn sound(&mut self, piece: &frame::Audio) -> Result<(), JobFailure> {
        let part = Ticks::of(self.span, Rational(1, SOUND_RATE as i32));
        let time = piece.pts().unwrap_or_default();
        let end = time + piece.samples() as i64;
        self.past.1 = end > part.to;
        if time < part.from || end > part.to {
            return Ok(());
        }
        self.given = true;
        let mut piece = crate::audio::held(piece)
            .map_err(|error| JobFailure::av("holding the sound", error))?;
        piece.set_pts(Some(time - part.from));
        self.maker.sound(&piece)
    }

    fn is_done(&self) -> bool {
        self.past == (true, true)
    }

    fn finish(self: Box<Self>, seen: &Seen) -> Result<Report, JobFailure> {
        if self.given { self.maker.finish(seen) } else { Err(nothing_between(self.span)) }
    }
}

/// Nothing of the recording lies in the part.
pub(crate) fn nothing_between(span: Span) -> JobFailure {
    let Span { from_ms, to_ms } = span;
    let message = format!("The recording has nothing between {from_ms} ms and {to_ms} ms.");
    JobFailure::new(FailureCode::NothingToMake, message)
}

/// Holds packets back until it is known where to begin: at the last picture that needs none before it, at or before the start of
/// the part. Without pictures, at the sound that is on then.
pub(crate) struct Approach {
    /// The stream that decides.
    index: usize,
    from_us: i64,
    start_us: i64,
    held: Vec<Packet>,
    held_bytes: usize,
    is_there: bool,
    /// Whether there was such a picture.
    pub(crate) has_passed_key: bool,
}

impl Approach {
    pub(crate) fn new(index: usize, start_us: i64, span: Option<Span>) -> Self {
        let part = span.map(|span| Ticks::of(span, crate::scan::MICROSECONDS));
        Self::to(index, start_us, part.map_or(0, |part| part.from))
    }

    /// To a time from the start of the file.
    pub(crate) fn to(index: usize, start_us: i64, from_us: i64) -> Self {
        let (held, held_bytes, is_there) = (Vec::new(), 0, from_us <= 0);
        Self { index, from_us, start_us, held, held_bytes, is_there, has_passed_key: false }
    }

    /// Whether it is known where to begin.
    pub(crate) fn is_there(&self) -> bool {
        self.is_there
    }

    /// Takes a packet; what can be worked on now, in order.
    pub(crate) fn step(&mut self, packet: Packet, input: &Input) -> Vec<Packet> {
        if self.is_there {
            return vec![packet];
        }
        let Some((shown, read)) = self.times(&packet, input) else {
            // What has no time is counted from the first.
            return self.arrive(packet);
        };
        if packet.stream() == self.index {
            if packet.is_key() && shown <= self.from_us {
                self.has_passed_key = true;
                self.forget_before(shown, input);
            } else if read > self.from_us {
                return self.arrive(packet);
            }
        }
        self.held_bytes += packet.size();
        self.held.push(packet);
        if self.held_bytes > MAX_HELD_BYTES { self.begin() } else { Vec::new() }
    }

    /// What is still held back, at the end of the file.
    pub(crate) fn begin(&mut self) -> Vec<Packet> {
        self.is_there = true;
        std::mem::take(&mut self.held)
    }

    fn arrive(&mut self, packet: Packet) -> Vec<Packet> {
        let mut held = self.begin();
        held.push(packet);
        held
    }

    fn forget_before(&mut self, key_us: i64, input: &Input) {
        let before = SOUND_BEFORE.rescale(CLOCK, crate::scan::MICROSECONDS);
        let held = std::mem::take(&mut self.held);
        let stays = |packet: &Packet| {
            packet.stream() != self.index
                && self.times(packet, input).is_some_and(|(shown, _)| shown >= key_us - before)
        };
        self.held = held.into_iter().filter(stays).collect();
        self.held_bytes = self.held.iter().map(Packet::size).sum();
    }

    /// When a packet is shown, and when it has to be read, in microseconds from the start of the file.
    fn times(&self, packet: &Packet, input: &Input) -> Option<(i64, i64)> {
        let base = input.stream(packet.stream())?.time_base();
        let us = |time: i64| time.rescale(base, crate::scan::MICROSECONDS) - self.start_us;
        let shown = packet.pts().or(packet.dts())?;
        Some((us(shown), us(packet.dts().unwrap_or(shown))))
    }
}

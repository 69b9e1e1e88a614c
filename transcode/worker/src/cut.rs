//! An extract whose pictures are not encoded anew: coded pictures and sound are copied as they are.

use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Packet, Rational, Rescale};
use transcode_protocol::probe::StreamKind;
use transcode_protocol::{FailureCode, Report, Span};

use crate::channel::SharedChannel;
use crate::failure::{JobFailure, While as _};
use crate::input::{self, Next, Reader};
use crate::jumps::Joiner;
use crate::mux::{Mp4, Track};
use crate::part::{Approach, Ticks, nothing_between};
use crate::pass::{best, start_us};
use crate::report::report;
use crate::scan::MICROSECONDS;
use crate::unframe::Unframer;

/// Sound may lie in the file so long after the picture that it belongs to.
const SOUND_BEHIND_US: i64 = 10_000_000;

/// One stream that is copied.
struct Copied {
    index: usize,
    base: Rational,
    track: Track,
    codec: String,
    unframer: Option<Unframer>,
}

/// The extract on its way out. Times are microseconds from the start of the file.
struct Cutter {
    mp4: Mp4,
    picture: Option<Copied>,
    sound: Option<Copied>,
    part: Ticks,
    start_us: i64,
    /// When the first picture is shown, and the first that is not in it any more.
    first_us: Option<i64>,
    end_us: Option<i64>,
    /// Until when the last of what was copied is shown.
    shown_until_us: i64,
    /// How far the file was read, and whether its sound is past the end.
    read_us: i64,
    is_sound_past: bool,
    left_out: u64,
}

/// Copies `part` of the original behind `channel`.
pub(crate) fn make(
    channel: &SharedChannel,
    name: &'static str,
    part: Span,
) -> Result<Report, JobFailure> {
    let mut input = input::open(channel)?.input;
    let mut cutter = Cutter::open(&input, channel, name, part)?;
    let decides = cutter.picture.as_ref().or(cutter.sound.as_ref()).map_or(0, |one| one.index);
    let mut approach = Approach::new(decides, cutter.start_us, Some(part));
    let (mut reader, mut joiner) = (Reader::default(), Joiner::new(&input));
    while !cutter.is_done() {
        let (packets, is_end) = match reader.next(&mut input) {
            Next::Packet(mut packet) => {
                joiner.place(&mut packet, &input);
                (approach.step(packet, &input), false)
            }
            Next::End { .. } => (approach.begin(), true),
        };
        for packet in packets {
            cutter.take(packet)?;
        }
        if is_end {
            break;
        }
    }
    let notes = joiner.notes(cutter.start_us);
    cutter.finish(channel, part, notes)
}

impl Cutter {
    fn open(
        input: &Input,
        channel: &SharedChannel,
        name: &'static str,
        part: Span,
    ) -> Result<Self, JobFailure> {
        let mut mp4 = Mp4::new(channel, name)?;
        let picture = Copied::best(input, StreamKind::Video, &mut mp4)?;
        let sound = Copied::best(input, StreamKind::Audio, &mut mp4)?;
        let taken = u64::from(picture.is_some()) + u64::from(sound.is_some());
        if taken == 0 {
            let message = "The file has neither picture nor sound.";
            return Err(JobFailure::new(FailureCode::NothingToMake, message));
        }
        mp4.begin_copy(picture.is_some())?;
        Ok(Self {
            mp4,
            picture,
            sound,
            part: Ticks::of(part, MICROSECONDS),
            start_us: start_us(input),
            first_us: None,
            end_us: None,
            shown_until_us: 0,
            read_us: 0,
            is_sound_past: false,
            left_out: u64::from(input.nb_streams()) - taken,
        })
    }

    /// The sound may come after the picture that ends it.
    fn is_done(&self) -> bool {
        let waits = self.picture.is_some() && self.sound.is_some() && !self.is_sound_past;
        self.end_us.is_some_and(|end| !waits || self.read_us > end + SOUND_BEHIND_US)
    }

    fn take(&mut self, mut packet: Packet) -> Result<(), JobFailure> {
        let is = |one: &&mut Copied| one.index == packet.stream();
        let decides_alone = self.picture.is_none();
        let (picture, sound) = (self.picture.as_mut().filter(is), self.sound.as_mut().filter(is));
        let (is_picture, is_sound) = (picture.is_some(), sound.is_some());
        let Some(one) = picture.or(sound) else { return Ok(()) };
        let decides = is_picture || decides_alone;
        let us = |time: i64| time.rescale(one.base, MICROSECONDS) - self.start_us;
        let shown = packet.pts().or(packet.dts()).ok_or_else(no_times)?;
        let (time, read) = (us(shown), us(packet.dts().unwrap_or(shown)));
        self.read_us = self.read_us.max(read);
        if decides && packet.is_key() {
            if self.first_us.is_none() {
                self.first_us = Some(time);
                self.mp4.delay((time - read).max(0));
            }
            if time >= self.part.to && self.end_us.is_none() {
                self.end_us = Some(time);
            }
        }
        let Some(first) = self.first_us else { return Ok(()) };
        // What is read after the picture that ends it may build on that one, whenever it is shown.
        let is_past = self.end_us.is_some_and(|end| is_picture || time >= end);
        self.is_sound_past |= is_past && is_sound;
        // Pictures shown before the first build on what is not there.
        if is_past || time < first {
            return Ok(());
        }
        let length = packet.duration().max(0).rescale(one.base, MICROSECONDS);
        self.shown_until_us = self.shown_until_us.max(time + length);
        let first = (first + self.start_us).rescale(MICROSECONDS, one.base);
        packet.set_pts(Some(shown - first));
        packet.set_dts(packet.dts().map(|dts| dts - first));
        let packet = match &mut one.unframer {
            Some(unframer) => unframer.take(packet).while_doing("reading the sound's headers")?,
            None => packet,
        };
        self.mp4.write(&one.track, packet)
    }

    fn finish(
        self,
        channel: &SharedChannel,
        part: Span,
        on_times: Vec<String>,
    ) -> Result<Report, JobFailure> {
        let first = self.first_us.filter(|_| self.shown_until_us > self.part.from);
        let first = first.ok_or_else(|| nothing_between(part))?;
        self.mp4.finish(channel)?;
        let (from, until) = (first / 1000, self.end_us.unwrap_or(self.shown_until_us) / 1000);
        let mut notes = vec![format!(
            "not encoded anew: from {from} ms, a picture that needs none before it, to {until} ms, the end or another such picture"
        )];
        notes.extend(on_times);
        if self.left_out > 0 {
            notes.push(format!("{} other streams were left out", self.left_out));
        }
        let codecs = [("video", self.picture), ("audio", self.sound)];
        let codecs = codecs.into_iter().filter_map(|(kind, one)| Some((kind, one?.codec)));
        Ok(report(codecs, 1, notes))
    }
}

impl Copied {
    fn best(input: &Input, kind: StreamKind, mp4: &mut Mp4) -> Result<Option<Self>, JobFailure> {
        let Some(stream) = best(input, kind) else { return Ok(None) };
        let track = mp4.add_copy(&stream)?;
        let codec = format!("copy of {}", stream.parameters().id().name());
        let unframer = Unframer::of(&stream).while_doing("reading the sound's headers")?;
        let (index, base) = (stream.index(), stream.time_base());
        Ok(Some(Self { index, base, track, codec, unframer }))
    }
}

fn no_times() -> JobFailure {
    let message = "The coded pictures have no times: only an exact extract can be made of them.";
    JobFailure::new(FailureCode::NothingToMake, message)
}

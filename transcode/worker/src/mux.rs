//! Writes a fragmented MP4 straight to the server: nothing is ever sought back, so nothing needs a file. Its head goes last,
//! with an index of the fragments in it.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::{Output, StreamIo};
use ffmpeg_next::{Dictionary, Rescale};
use transcode_protocol::{FailureCode, Frame};

use crate::channel::SharedChannel;
use crate::failure::{JobFailure, While};
use crate::index::{Indexer, Reference};
use crate::scan::MICROSECONDS;

/// `frag_discont`: a track that starts later than the other says so, or sound and picture would drift apart.
/// `skip_trailer`: libav's own index would lie at the end, and a second one is one too many.
const FLAGS: &str = "frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer";
/// Without a picture there are no keyframes: fragments of this length.
const SOUND_FRAGMENT_US: &str = "2000000";
const IO_BUFFER_BYTES: usize = 256 << 10;

/// Said in the file itself, wherever it ends up.
fn title(name: &str) -> String {
    let what = match name.split_once('.') {
        Some(("extract", _)) => "Extract",
        Some(("redaction", _)) => "Redaction",
        _ => "Viewing copy",
    };
    format!("{what} – not for comparison, measurement or identification")
}

/// From one packet of a track to the next, in ticks of its clock: ISO/IEC 14496-12 has 32 bits for it, and libav takes 31.
const LONGEST_STEP: i64 = i32::MAX as i64;

/// An MP4 on its way out.
pub(crate) struct Mp4 {
    name: &'static str,
    output: Output,
    indexer: Indexer,
    /// When the last packet of each track is read.
    last: Vec<Option<i64>>,
    /// Added to every time, so that the encoder's priming before the first sound is not before zero: the muxer
    /// would move packets by itself, but only those after the first.
    delay_us: i64,
}

/// A stream of it, with the clock that its packets are counted in.
pub(crate) struct Track {
    index: usize,
    clock: ffmpeg::Rational,
}

impl Mp4 {
    /// An MP4, or where its name ends so, its elder QuickTime.
    pub(crate) fn new(channel: &SharedChannel, name: &'static str) -> Result<Self, JobFailure> {
        let indexer = Indexer::new(channel.writer(name));
        let io = StreamIo::from_write_with_capacity(indexer.clone(), IO_BUFFER_BYTES);
        let format = if name.ends_with(".mov") { "mov" } else { "mp4" };
        let output = io.and_then(|io| ffmpeg::format::output_to_stream(io, None, Some(format)));
        Ok(Self {
            name,
            output: output.while_doing("starting the MP4")?,
            indexer,
            last: Vec::new(),
            delay_us: 0,
        })
    }

    /// Adds the stream that `encoder` will feed.
    pub(crate) fn add(&mut self, encoder: &ffmpeg::codec::Context) -> Result<Track, JobFailure> {
        let clock = encoder.time_base();
        let mut stream = self.output.add_stream_with(encoder).while_doing("adding a stream")?;
        stream.set_time_base(clock);
        // SAFETY: reads one number of the stream just added.
        let index = unsafe { (*stream.as_ptr()).index } as usize;
        Ok(Track { index, clock })
    }

    /// What decoders need before all else may change in the middle of a stream of H.264: its own stands in the pictures (ISO/IEC 14496-15,
    /// *avc3*).
    pub(crate) fn changes_in_the_middle(&mut self, track: &Track) {
        if let Some(mut stream) = self.output.stream_mut(track.index) {
            // SAFETY: sets one number of a stream of ours, whose head is not written yet.
            unsafe { (*(*stream.as_mut_ptr()).codecpar).codec_tag = u32::from_le_bytes(*b"avc3") }
        }
    }

    /// Adds a stream whose packets come as they are in `stream`.
    pub(crate) fn add_copy(&mut self, stream: &ffmpeg::Stream<'_>) -> Result<Track, JobFailure> {
        let clock = stream.time_base();
        let codec = ffmpeg::encoder::find(stream.parameters().id());
        let mut added = self.output.add_stream(codec).while_doing("adding a stream")?;
        added.set_parameters(stream.parameters());
        added.set_time_base(clock);
        // SAFETY: sets one number of the stream just added, and reads another: the tag is another container's.
        let index = unsafe {
            (*(*added.as_mut_ptr()).codecpar).codec_tag = 0;
            (*added.as_ptr()).index
        };
        Ok(Track { index: index as usize, clock })
    }

    /// Makes room for what an encoder puts before the first moment.
    pub(crate) fn delay(&mut self, us: i64) {
        self.delay_us = self.delay_us.max(us);
    }

    /// Before the first packet of what was encoded here.
    pub(crate) fn begin(&mut self, has_picture: bool) -> Result<(), JobFailure> {
        let mut options = Dictionary::new();
        options.set("movflags", FLAGS);
        self.write_head(has_picture, options)
    }

    /// Before the first packet of what is copied: how it has to be read is known only from the packets.
    pub(crate) fn begin_copy(&mut self, has_picture: bool) -> Result<(), JobFailure> {
        let mut options = Dictionary::new();
        options.set("movflags", &format!("{FLAGS}+delay_moov"));
        options.set("use_editlist", "0");
        self.write_head(has_picture, options)
    }

    fn write_head(
        &mut self,
        has_picture: bool,
        mut options: Dictionary<'_>,
    ) -> Result<(), JobFailure> {
        let mut metadata = Dictionary::new();
        metadata.set("title", &title(self.name));
        self.output.set_metadata(metadata);
        options.set("avoid_negative_ts", "disabled");
        if !has_picture {
            options.set("frag_duration", SOUND_FRAGMENT_US);
        }
        self.output.write_header_with(options).while_doing("writing the head of the MP4")?;
        self.count_by_the_first_track();
        Ok(())
    }

    /// The picture where there is one: it is added first, and fragments begin with its keyframes. libav numbers tracks from 1.
    fn count_by_the_first_track(&self) {
        let clock = self.output.stream(0).map(|stream| stream.time_base());
        if let Some(ticks) = clock.and_then(|clock| u32::try_from(clock.denominator()).ok()) {
            self.indexer.count_by(Reference { track_id: 1, ticks });
        }
    }

    pub(crate) fn write(
        &mut self,
        track: &Track,
        mut packet: ffmpeg::Packet,
    ) -> Result<(), JobFailure> {
        let clock = self.output.stream(track.index).map_or(track.clock, |s| s.time_base());
        packet.set_stream(track.index);
        packet.rescale_ts(track.clock, clock);
        let delay = self.delay_us.rescale(MICROSECONDS, clock);
        packet.set_pts(packet.pts().map(|time| time + delay));
        packet.set_dts(packet.dts().map(|time| time + delay));
        self.check_step(track.index, packet.dts(), clock)?;
        packet.set_position(-1);
        packet.write_interleaved(&mut self.output).while_doing("writing the MP4")
    }

    /// A recorder may have slept for longer than a viewing copy can say.
    fn check_step(
        &mut self,
        track: usize,
        read: Option<i64>,
        clock: ffmpeg::Rational,
    ) -> Result<(), JobFailure> {
        if self.last.len() <= track {
            self.last.resize(track + 1, None);
        }
        let last = std::mem::replace(&mut self.last[track], read);
        let step = read.zip(last).map_or(0, |(read, last)| read.saturating_sub(last));
        if step <= LONGEST_STEP {
            return Ok(());
        }
        let hours = |ticks: i64| ticks as f64 * f64::from(clock) / 3600.0;
        let message = format!(
            "No viewing copy can be made: the recording has a gap of {:.1} hours, and a copy can have one of {:.1} at most.",
            hours(step),
            hours(LONGEST_STEP)
        );
        Err(JobFailure::new(FailureCode::NothingToMake, message))
    }

    /// Ends it, and sends its head.
    pub(crate) fn finish(mut self, channel: &SharedChannel) -> Result<(), JobFailure> {
        self.output.write_trailer().while_doing("finishing the MP4")?;
        let data = self.indexer.head().ok_or_else(|| {
            let message = "Nothing of the file could be decoded.";
            JobFailure::new(FailureCode::NotDecodable, message)
        })?;
        channel.send(&Frame::Head { name: self.name.to_owned(), data });
        Ok(())
    }
}

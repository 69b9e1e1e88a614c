//! Sound: decode, bring to one rate and at most two channels, fill gaps so that it stays with the picture, encode.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::{Packet, Rational, Rescale, ffi, filter, frame};
use transcode_protocol::ProxyParameters;

use crate::failure::{JobFailure, While};
use crate::mux::{Mp4, Track};
use crate::scan::MICROSECONDS;
use crate::video::open_decoder;

/// Sound is brought to this many samples a second.
pub(crate) const SOUND_RATE: u32 = 48_000;
/// … and given on in pieces of this many: what AAC takes at once.
const PIECE_SAMPLES: u32 = 1024;
/// Sound that strays from its time stamps by more than this many seconds is put back, by silence or a cut. Less is the rounding of
/// containers, and nobody sees it at somebody's lips.
const STRAYS_S: &str = "0.03";
/// Silence that is worth a word, in microseconds.
const SILENCE_US: i64 = 100_000;
/// A longer silence is not made sample by sample: what comes after it comes later. A few bytes can claim years of it.
const LONGEST_SILENCE_US: i64 = 600 * 1_000_000;

/// Decodes one stream of sound, and gives it on as [`SOUND_RATE`] floats, one or two channels, without gaps but for very
/// long ones.
pub(crate) struct Sound {
    decoder: ffmpeg::decoder::Audio,
    graph: Option<(Shape, filter::Graph)>,
    time_base: Rational,
    start_us: i64,
    next: Option<i64>,
    channels: i32,
    /// In the middle, where there is no sound.
    silence_us: i64,
    pub(crate) stereo: bool,
    pub(crate) index: usize,
    pub(crate) decoded: u64,
}

/// Who is given the sound.
pub(crate) type Taker<'t> = &'t mut dyn FnMut(&frame::Audio);

/// What a filter graph was built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    rate: i32,
    format: i32,
    layout: u64,
    channels: i32,
}

impl Sound {
    /// Nothing where the sound cannot be decoded: the picture is still worth having.
    pub(crate) fn open(stream: &ffmpeg::Stream<'_>, start_us: i64) -> Option<Self> {
        let decoder = open_decoder(stream, 1).and_then(|opened| opened.audio()).ok()?;
        // SAFETY: reads one number of a stream of an open context.
        let channels = unsafe { (*(*stream.as_ptr()).codecpar).ch_layout.nb_channels };
        Some(Self {
            decoder,
            graph: None,
            time_base: stream.time_base(),
            start_us,
            next: None,
            channels,
            silence_us: 0,
            stereo: channels != 1,
            index: stream.index(),
            decoded: 0,
        })
    }

    /// What whoever hears what was made of it should know.
    pub(crate) fn notes(&self) -> Vec<String> {
        let (channels, silence) = (self.channels, self.silence_us as f64 / 1e6);
        let notes = [
            (self.decoded == 0, "the sound could not be decoded and is missing".to_owned()),
            (channels > 2, format!("sound of {channels} channels was mixed to two")),
            (self.silence_us > 0, format!("gaps in the sound, silent: {silence:.1} s")),
        ];
        notes.into_iter().filter(|(applies, _)| *applies).map(|(_, note)| note).collect()
    }

    /// Takes a packet, or the end.
    pub(crate) fn feed(
        &mut self,
        packet: Option<&Packet>,
        taker: Taker<'_>,
    ) -> Result<(), JobFailure> {
        // Damaged sound is left out, and the gap filled with silence.
        let _ = match packet {
            Some(packet) => self.decoder.send_packet(packet),
            None => self.decoder.send_eof(),
        };
        let mut sound = frame::Audio::empty();
        loop {
            match self.decoder.receive_frame(&mut sound) {
                Ok(()) => self.filter(&mut sound, taker)?,
                Err(ffmpeg::Error::InvalidData) => {}
                Err(_) => break,
            }
        }
        if packet.is_none() { self.flush_graph(taker) } else { Ok(()) }
    }

    fn filter(&mut self, sound: &mut frame::Audio, taker: Taker<'_>) -> Result<(), JobFailure> {
        // SAFETY: reads numbers of a decoded frame.
        let shape = unsafe {
            let raw = &*sound.as_ptr();
            let layout = match raw.ch_layout.order {
                ffi::AVChannelOrder::AV_CHANNEL_ORDER_NATIVE => raw.ch_layout.u.mask,
                _ => 0,
            };
            Shape {
                rate: raw.sample_rate,
                format: raw.format,
                layout,
                channels: raw.ch_layout.nb_channels,
            }
        };
        if shape.rate <= 0 || shape.channels <= 0 || sound.samples() == 0 {
            return Ok(());
        }
        if self.graph.as_ref().is_some_and(|(built_for, _)| *built_for != shape) {
            self.flush_graph(taker)?;
        }
        let own = Rational(1, shape.rate);
        let stamped = sound
            .timestamp()
            .map(|t| t.rescale(self.time_base, own))
            .map(|t| t.saturating_sub(self.start_us.rescale(MICROSECONDS, own)));
        let time = stamped.or(self.next).unwrap_or(0);
        let end = time.saturating_add(sound.samples() as i64);
        let gap_us =
            self.next.map_or(0, |next| time.saturating_sub(next).rescale(own, MICROSECONDS));
        if gap_us > SILENCE_US {
            self.silence_us = self.silence_us.saturating_add(gap_us);
        }
        if gap_us > LONGEST_SILENCE_US {
            self.flush_graph(taker)?;
        }
        self.next = Some(end);
        // Before the start of the file there is only priming, or damage.
        if end <= 0 {
            return Ok(());
        }
        sound.set_pts(Some(time));
        self.decoded += 1;
        let mut graph = match self.graph.take() {
            Some((_, graph)) => graph,
            None => self.build(shape).while_doing("preparing the sound filter")?,
        };
        let added = graph.get("in").ok_or(ffmpeg::Error::FilterNotFound);
        added.and_then(|mut input| input.source().add(sound)).while_doing("filtering the sound")?;
        drain(&mut graph, taker)?;
        self.graph = Some((shape, graph));
        Ok(())
    }

    fn flush_graph(&mut self, taker: Taker<'_>) -> Result<(), JobFailure> {
        if let Some((_, mut graph)) = self.graph.take() {
            let input = graph.get("in").ok_or(ffmpeg::Error::FilterNotFound);
            input.and_then(|mut input| input.source().flush()).while_doing("ending the sound")?;
            drain(&mut graph, taker)?;
        }
        Ok(())
    }

    fn build(&self, shape: Shape) -> Result<filter::Graph, ffmpeg::Error> {
        let missing = ffmpeg::Error::FilterNotFound;
        let mut graph = filter::Graph::new();
        // SAFETY: sets a number of a graph that has no filters yet.
        unsafe { (*graph.as_mut_ptr()).nb_threads = 1 };
        let layout = match shape.layout {
            0 => format!("channels={}", shape.channels),
            layout => format!("channel_layout=0x{layout:x}"),
        };
        let arguments = format!(
            "time_base=1/{rate}:sample_rate={rate}:sample_fmt={}:{layout}",
            shape.format,
            rate = shape.rate
        );
        graph.add(&filter::find("abuffer").ok_or(missing)?, "in", &arguments)?;
        graph.add(&filter::find("abuffersink").ok_or(missing)?, "out", "")?;
        // async=1: gaps are filled with silence and overlaps trimmed, never stretched.
        let steps = format!(
            "aresample={SOUND_RATE}:async=1:min_hard_comp={STRAYS_S},aformat=sample_fmts=fltp:channel_layouts={}",
            if self.stereo { "stereo" } else { "mono" }
        );
        graph.output("in", 0)?.input("out", 0)?.parse(&steps)?;
        graph.validate()?;
        graph.get("out").ok_or(missing)?.sink().set_frame_size(PIECE_SAMPLES);
        Ok(graph)
    }
}

fn drain(graph: &mut filter::Graph, taker: Taker<'_>) -> Result<(), JobFailure> {
    let output = graph.get("out").ok_or(ffmpeg::Error::FilterNotFound);
    let mut output = output.while_doing("filtering the sound")?;
    loop {
        let mut ready = frame::Audio::empty();
        if output.sink().frame(&mut ready).is_err() {
            return Ok(());
        }
        taker(&ready);
    }
}

/// The same piece for later, without a copy of its samples.
pub(crate) fn held(piece: &frame::Audio) -> Result<frame::Audio, ffmpeg::Error> {
    let mut held = frame::Audio::empty();
    // SAFETY: the first is an empty frame of our own, the second one that a filter gave; its samples are counted, not copied.
    match unsafe { ffi::av_frame_ref(held.as_mut_ptr(), piece.as_ptr()) } {
        0 => Ok(held),
        error => Err(error.into()),
    }
}

/// The same piece, with samples of its own.
pub(crate) fn copied(piece: &frame::Audio) -> Result<frame::Audio, ffmpeg::Error> {
    let mut copied = held(piece)?;
    // SAFETY: copies the samples where somebody else may hold them too.
    match unsafe { ffi::av_frame_make_writable(copied.as_mut_ptr()) } {
        0 => Ok(copied),
        error => Err(error.into()),
    }
}

/// Encodes sound as AAC.
pub(crate) struct AacEncoder {
    encoder: ffmpeg::encoder::audio::Encoder,
    pub(crate) how: String,
}

/// The same, into an MP4.
pub(crate) struct SoundEncoder {
    aac: AacEncoder,
    track: Track,
}

impl AacEncoder {
    pub(crate) fn open(stereo: bool, bit_rate: u32) -> Result<Self, JobFailure> {
        let encoder = open_encoder(stereo, bit_rate).while_doing("starting the AAC encoder")?;
        let channels = if stereo { 2 } else { 1 };
        let how = format!("aac b={bit_rate} rate={SOUND_RATE} channels={channels}");
        Ok(Self { encoder, how })
    }

    /// What decoders need before all else (AudioSpecificConfig).
    pub(crate) fn configuration(&self) -> Vec<u8> {
        // SAFETY: the configuration is that of an open context, and its length its own.
        unsafe {
            let context = &*self.encoder.as_ptr();
            let length = usize::try_from(context.extradata_size).unwrap_or(0);
            match context.extradata.is_null() {
                true => Vec::new(),
                false => std::slice::from_raw_parts(context.extradata, length).to_vec(),
            }
        }
    }

    /// Encodes sound, or the end, and gives on what comes of it.
    pub(crate) fn feed(
        &mut self,
        sound: Option<&frame::Audio>,
        taker: &mut dyn FnMut(Packet) -> Result<(), JobFailure>,
    ) -> Result<(), JobFailure> {
        match sound {
            Some(sound) => self.encoder.send_frame(sound),
            None => self.encoder.send_eof(),
        }
        .while_doing("encoding the sound")?;
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => taker(packet)?,
                Err(ffmpeg::Error::Eof) => return Ok(()),
                Err(ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(JobFailure::av("encoding the sound", error)),
            }
        }
    }
}

impl SoundEncoder {
    pub(crate) fn open(
        stereo: bool,
        parameters: &ProxyParameters,
        mp4: &mut Mp4,
    ) -> Result<Self, JobFailure> {
        let aac = AacEncoder::open(stereo, bit_rate(stereo, parameters))?;
        let track = mp4.add(&aac.encoder)?;
        mp4.delay(priming_us(&aac.encoder));
        Ok(Self { aac, track })
    }

    /// Delays what is in `mp4` as it would be with the sound beside it.
    pub(crate) fn only_delay(
        stereo: bool,
        parameters: &ProxyParameters,
        mp4: &mut Mp4,
    ) -> Result<(), JobFailure> {
        let encoder = open_encoder(stereo, bit_rate(stereo, parameters));
        mp4.delay(priming_us(&encoder.while_doing("starting the AAC encoder")?));
        Ok(())
    }

    /// Encodes sound, or the end, and writes what comes of it.
    pub(crate) fn feed(
        &mut self,
        sound: Option<&frame::Audio>,
        mp4: &mut Mp4,
    ) -> Result<(), JobFailure> {
        self.aac.feed(sound, &mut |packet| mp4.write(&self.track, packet))
    }

    pub(crate) fn how(self) -> String {
        self.aac.how
    }
}

fn bit_rate(stereo: bool, parameters: &ProxyParameters) -> u32 {
    if stereo { parameters.audio_bit_rate } else { parameters.audio_bit_rate / 2 }
}

/// What the encoder puts before the first moment.
fn priming_us(encoder: &ffmpeg::encoder::audio::Encoder) -> i64 {
    // SAFETY: reads one number of an open context.
    let priming = i64::from(unsafe { (*encoder.as_ptr()).initial_padding });
    priming.rescale(encoder.time_base(), MICROSECONDS)
}

fn open_encoder(
    stereo: bool,
    bit_rate: u32,
) -> Result<ffmpeg::encoder::audio::Encoder, ffmpeg::Error> {
    let codec = ffmpeg::encoder::find_by_name("aac").ok_or(ffmpeg::Error::EncoderNotFound)?;
    let layout = if stereo { ffmpeg::ChannelLayout::STEREO } else { ffmpeg::ChannelLayout::MONO };
    let mut encoder = ffmpeg::codec::Context::new_with_codec(codec).encoder().audio()?;
    encoder.set_rate(SOUND_RATE as i32);
    encoder.set_channel_layout(layout);
    encoder.set_channels(layout.channels());
    encoder.set_format(ffmpeg::format::Sample::F32(ffmpeg::format::sample::Type::Planar));
    encoder.set_bit_rate(bit_rate as usize);
    encoder.set_time_base(Rational(1, SOUND_RATE as i32));
    encoder.set_flags(ffmpeg::codec::Flags::GLOBAL_HEADER);
    encoder.open_as(codec)
}

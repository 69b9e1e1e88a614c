//! Sound: decode, bring to one rate and at most two channels, fill gaps so that it stays with the picture, encode.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::{Packet, Rational, Rescale, ffi, filter, frame};
use transcode_protocol::ProxyParameters;

use crate::failure::{JobFailure, While};
use crate::mux::{Mp4, Track};
use crate::scan::MICROSECONDS;
use crate::video::open_decoder;

/// Sound from one stream to AAC.
pub(crate) struct Sound {
    decoder: ffmpeg::decoder::Audio,
    encoder: ffmpeg::encoder::audio::Encoder,
    track: Track,
    graph: Option<(Shape, filter::Graph)>,
    time_base: Rational,
    start_us: i64,
    next: Option<i64>,
    stereo: bool,
    frame_samples: u32,
    pub(crate) index: usize,
    pub(crate) decoded: u64,
    pub(crate) how: String,
}

/// What a filter graph was built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    rate: i32,
    format: i32,
    layout: u64,
    channels: i32,
}

impl Sound {
    /// `Ok(None)` where the sound cannot be decoded: the picture is still worth having.
    pub(crate) fn open(
        stream: &ffmpeg::Stream<'_>,
        start_us: i64,
        parameters: &ProxyParameters,
        mp4: &mut Mp4,
    ) -> Result<Option<Self>, JobFailure> {
        let Ok(decoder) = open_decoder(stream, 1).and_then(|opened| opened.audio()) else {
            return Ok(None);
        };
        // SAFETY: reads one number of a stream of an open context.
        let stereo = unsafe { (*(*stream.as_ptr()).codecpar).ch_layout.nb_channels } != 1;
        let (encoder, frame_samples) =
            open_encoder(stereo, parameters).while_doing("starting the AAC encoder")?;
        let track = mp4.add(&encoder)?;
        // SAFETY: reads one number of an open context.
        let priming = i64::from(unsafe { (*encoder.as_ptr()).initial_padding });
        mp4.delay(priming.rescale(encoder.time_base(), MICROSECONDS));
        let how = format!(
            "aac b={} rate={} channels={}",
            bit_rate(stereo, parameters),
            parameters.audio_rate_hz,
            if stereo { 2 } else { 1 }
        );
        Ok(Some(Self {
            decoder,
            encoder,
            track,
            graph: None,
            time_base: stream.time_base(),
            start_us,
            next: None,
            stereo,
            frame_samples,
            index: stream.index(),
            decoded: 0,
            how,
        }))
    }

    /// Takes a packet, or the end, through to the MP4.
    pub(crate) fn feed(
        &mut self,
        packet: Option<&Packet>,
        mp4: &mut Mp4,
    ) -> Result<(), JobFailure> {
        // Damaged sound is left out, and the gap filled with silence.
        let _ = match packet {
            Some(packet) => self.decoder.send_packet(packet),
            None => self.decoder.send_eof(),
        };
        let mut sound = frame::Audio::empty();
        loop {
            match self.decoder.receive_frame(&mut sound) {
                Ok(()) => self.filter(&mut sound, mp4)?,
                Err(ffmpeg::Error::InvalidData) => {}
                Err(_) => break,
            }
        }
        if packet.is_none() {
            self.flush_graph(mp4)?;
            self.encode(None, mp4)?;
        }
        Ok(())
    }

    fn filter(&mut self, sound: &mut frame::Audio, mp4: &mut Mp4) -> Result<(), JobFailure> {
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
            self.flush_graph(mp4)?;
        }
        let own = Rational(1, shape.rate);
        let stamped = sound
            .timestamp()
            .map(|t| t.rescale(self.time_base, own) - self.start_us.rescale(MICROSECONDS, own));
        let time = stamped.or(self.next).unwrap_or(0);
        let end = time + sound.samples() as i64;
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
        self.drain(&mut graph, mp4)?;
        self.graph = Some((shape, graph));
        Ok(())
    }

    fn flush_graph(&mut self, mp4: &mut Mp4) -> Result<(), JobFailure> {
        if let Some((_, mut graph)) = self.graph.take() {
            let input = graph.get("in").ok_or(ffmpeg::Error::FilterNotFound);
            input.and_then(|mut input| input.source().flush()).while_doing("ending the sound")?;
            self.drain(&mut graph, mp4)?;
        }
        Ok(())
    }

    fn drain(&mut self, graph: &mut filter::Graph, mp4: &mut Mp4) -> Result<(), JobFailure> {
        let mut output = graph
            .get("out")
            .ok_or(ffmpeg::Error::FilterNotFound)
            .while_doing("filtering the sound")?;
        loop {
            let mut ready = frame::Audio::empty();
            if output.sink().frame(&mut ready).is_err() {
                return Ok(());
            }
            self.encode(Some(&ready), mp4)?;
        }
    }

    fn encode(&mut self, sound: Option<&frame::Audio>, mp4: &mut Mp4) -> Result<(), JobFailure> {
        match sound {
            Some(sound) => self.encoder.send_frame(sound),
            None => self.encoder.send_eof(),
        }
        .while_doing("encoding the sound")?;
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => mp4.write(&self.track, packet)?,
                Err(ffmpeg::Error::Eof) => return Ok(()),
                Err(ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(JobFailure::av("encoding the sound", error)),
            }
        }
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
            "aresample={}:async=1,aformat=sample_fmts=fltp:channel_layouts={}",
            self.encoder.rate(),
            if self.stereo { "stereo" } else { "mono" }
        );
        graph.output("in", 0)?.input("out", 0)?.parse(&steps)?;
        graph.validate()?;
        graph.get("out").ok_or(missing)?.sink().set_frame_size(self.frame_samples);
        Ok(graph)
    }
}

fn bit_rate(stereo: bool, parameters: &ProxyParameters) -> u32 {
    if stereo { parameters.audio_bit_rate } else { parameters.audio_bit_rate / 2 }
}

fn open_encoder(
    stereo: bool,
    parameters: &ProxyParameters,
) -> Result<(ffmpeg::encoder::audio::Encoder, u32), ffmpeg::Error> {
    let codec = ffmpeg::encoder::find_by_name("aac").ok_or(ffmpeg::Error::EncoderNotFound)?;
    let rate = i32::try_from(parameters.audio_rate_hz).map_err(|_| ffmpeg::Error::InvalidData)?;
    let layout = if stereo { ffmpeg::ChannelLayout::STEREO } else { ffmpeg::ChannelLayout::MONO };
    let mut encoder = ffmpeg::codec::Context::new_with_codec(codec).encoder().audio()?;
    encoder.set_rate(rate);
    encoder.set_channel_layout(layout);
    encoder.set_channels(layout.channels());
    encoder.set_format(ffmpeg::format::Sample::F32(ffmpeg::format::sample::Type::Planar));
    encoder.set_bit_rate(bit_rate(stereo, parameters) as usize);
    encoder.set_time_base(Rational(1, rate));
    encoder.set_flags(ffmpeg::codec::Flags::GLOBAL_HEADER);
    let opened = encoder.open_as(codec)?;
    let samples = opened.frame_size();
    Ok((opened, samples))
}

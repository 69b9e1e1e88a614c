//! Reads every packet without decoding, and counts what is there. A file cut short still opens at its full length:
//! only its packets tell.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Rescale, ffi};
use transcode_protocol::Frame;

use crate::avc::Why;
use crate::channel::SharedChannel;
use crate::front::Judge;
use crate::input::{Next, Reader, permille};
use crate::jumps::Joiner;
use crate::nal::{Codec, Signatures};
use crate::range::Beginnings;

/// Microseconds, as every time in a probe.
pub(crate) const MICROSECONDS: ffmpeg::Rational = ffmpeg::Rational(1, 1_000_000);

/// What was counted in one stream.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counted {
    pub(crate) packets: u64,
    pub(crate) keyframes: u64,
    pub(crate) damaged: u64,
    pub(crate) bytes: u64,
    pub(crate) first_us: Option<i64>,
    pub(crate) end_us: Option<i64>,
    /// Of streams that may have some.
    pub(crate) signatures: Option<Signatures>,
    last: Option<i64>,
    shortest_step: Option<i64>,
    longest_step: Option<i64>,
    longest_step_us: i64,
}

/// What was counted in all.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) streams: Vec<Counted>,
    pub(crate) errors: u64,
    pub(crate) read_to_end: bool,
    /// Between two packets of one stream.
    pub(crate) longest_step_us: i64,
    /// Of time stamps; times are counted as joined.
    pub(crate) jumps: usize,
    /// How many pictures can be played where they lie, or why they cannot.
    pub(crate) lying: Result<u64, Why>,
    /// Where ranges may begin, in 1/90000 s.
    pub(crate) ranges_from: Vec<u64>,
}

/// Reads `input` to its end.
pub(crate) fn scan(input: &mut Input, channel: &SharedChannel) -> Scanned {
    let mut streams = vec![Counted::default(); input.nb_streams() as usize];
    let mut judge = Judge::new(input, channel);
    let mut reader = Reader::default();
    let mut joiner = Joiner::new(input);
    let mut beginnings = Beginnings::new(input);
    let mut said = 0;
    loop {
        match reader.next(input) {
            Next::End { clean } => {
                let steps = streams.iter().map(|counted| counted.longest_step_us);
                let (errors, jumps) = (reader.errors, joiner.jumps());
                let is_whole = clean && errors == 0 && jumps == 0;
                let found = beginnings.map(|beginnings| beginnings.found(is_whole));
                return Scanned {
                    longest_step_us: steps.max().unwrap_or(0),
                    streams,
                    errors,
                    read_to_end: clean,
                    jumps,
                    ranges_from: found.unwrap_or_default(),
                    lying: judge.end(&joiner),
                };
            }
            Next::Packet(mut packet) => {
                let index = packet.stream();
                // Formats such as MPEG-TS announce streams late.
                if index >= streams.len() {
                    streams.resize(index + 1, Counted::default());
                }
                joiner.place(&mut packet, input);
                judge.take(&packet);
                if let Some(beginnings) = &mut beginnings {
                    beginnings.look(&packet);
                }
                let stream = input.stream(index);
                let counted = &mut streams[index];
                if counted.packets == 0 {
                    counted.signatures = stream.as_ref().and_then(signatures);
                }
                counted.count(&packet, stream.map(|s| s.time_base()));
                if let Some(now) =
                    permille(&packet, channel.size_bytes()).filter(|p| *p >= said + 10)
                {
                    said = now;
                    channel.send(&Frame::Progress { permille: now });
                }
            }
        }
    }
}

/// Looks for signatures in a stream of pictures that may have some.
fn signatures(stream: &ffmpeg::Stream<'_>) -> Option<Signatures> {
    // SAFETY: the configuration is that of a stream of an open context, and its length its own.
    unsafe {
        let parameters = &*(*stream.as_ptr()).codecpar;
        let codec = match parameters.codec_id {
            ffi::AVCodecID::AV_CODEC_ID_H264 => Codec::H264,
            ffi::AVCodecID::AV_CODEC_ID_HEVC => Codec::Hevc,
            _ => return None,
        };
        let length = usize::try_from(parameters.extradata_size).unwrap_or(0);
        let configuration = match parameters.extradata.is_null() {
            true => &[][..],
            false => std::slice::from_raw_parts(parameters.extradata, length),
        };
        Some(Signatures::new(codec, configuration))
    }
}

impl Counted {
    fn count(&mut self, packet: &ffmpeg::Packet, time_base: Option<ffmpeg::Rational>) {
        self.packets += 1;
        self.keyframes += u64::from(packet.is_key());
        self.damaged += u64::from(packet.is_corrupt());
        self.bytes += packet.size() as u64;
        if let Some((signatures, data)) = self.signatures.as_mut().zip(packet.data()) {
            signatures.look(data);
        }
        let Some((time, base)) = packet.pts().or(packet.dts()).zip(time_base) else { return };
        let us = |ticks: i64| ticks.rescale(base, MICROSECONDS);
        let end = us(time.saturating_add(packet.duration().max(0)));
        self.first_us = Some(self.first_us.map_or(us(time), |first| first.min(us(time))));
        self.end_us = Some(self.end_us.map_or(end, |last| last.max(end)));
        self.note_step(packet.dts().unwrap_or(time));
        self.longest_step_us = self.longest_step.map_or(0, us);
    }

    fn note_step(&mut self, time: i64) {
        let step = self.last.map(|last| time.saturating_sub(last)).filter(|step| *step > 0);
        self.last = Some(time);
        if let Some(step) = step {
            self.shortest_step = Some(self.shortest_step.map_or(step, |s| s.min(step)));
            self.longest_step = Some(self.longest_step.map_or(step, |s| s.max(step)));
        }
    }

    /// Whether steps between packets differ by more than rounding.
    pub(crate) fn is_variable(&self) -> bool {
        match (self.shortest_step, self.longest_step) {
            (Some(shortest), Some(longest)) => longest - shortest > 1.max(shortest / 20),
            _ => false,
        }
    }
}

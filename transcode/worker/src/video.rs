//! Pictures: decode, make whole, turn upright, scale, and encode with the timestamps they came with.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::{Dictionary, Packet, Rational, Rescale, ffi, filter, frame};
use transcode_protocol::{FailureCode, ProxyParameters};

use crate::avc;
use crate::failure::{JobFailure, While};
use crate::groups::Order;
use crate::interlaced::Deinterlacer;
use crate::mux::{Mp4, Track};
use crate::probe::rotation;

/// Every picture is timed in 1/90000 s: exact for the rates that cameras use.
pub(crate) const CLOCK: Rational = Rational(1, 90_000);
/// No camera makes larger pictures; a file that claims one is not given the memory.
const MAX_PIXELS: i64 = 8192 * 4608;
/// Assumed where a file does not say how often a picture comes.
const DEFAULT_RATE: Rational = Rational(25, 1);
const MAX_RATE: f64 = 240.0;

/// Decodes one stream of pictures.
pub(crate) struct Pictures {
    decoder: ffmpeg::decoder::Video,
    time_base: Rational,
    /// Start of the whole file, in [`CLOCK`]: sound and picture count from the same moment.
    start: i64,
    rate: Rational,
    last: Option<i64>,
    deinterlacer: Deinterlacer,
    pub(crate) index: usize,
    pub(crate) counts: Counts,
}

/// What was met among the pictures of a stream.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) decoded: u64,
    /// Given on as they are coded.
    pub(crate) carried: u64,
    damaged: u64,
    interlaced: u64,
    /// Of high dynamic range.
    bright: u64,
    /// Without a time of their own.
    untimed: u64,
    /// With the time of the one before, or an earlier one.
    late: u64,
}

/// The size of pictures as they are shown: upright, with square pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) width: u32,
    pub(crate) height: u32,
    rotation: u32,
    /// As they lie in the file.
    stored: (u32, u32),
}

impl Pictures {
    /// `makes_whole` says what becomes of interlaced pictures.
    pub(crate) fn open(
        stream: &ffmpeg::Stream<'_>,
        start_us: i64,
        makes_whole: bool,
    ) -> Result<Self, JobFailure> {
        let decoder = open_decoder(stream, 1).and_then(|opened| opened.video());
        let decoder = decoder.map_err(|error| not_decodable("picture", error))?;
        Ok(Self {
            decoder,
            time_base: stream.time_base(),
            start: start_us.rescale(crate::scan::MICROSECONDS, CLOCK),
            rate: frame_rate(stream),
            last: None,
            deinterlacer: Deinterlacer::new(makes_whole),
            index: stream.index(),
            counts: Counts::default(),
        })
    }

    /// Hands over a packet, or the end.
    pub(crate) fn feed(&mut self, packet: Option<&Packet>) {
        let fed = match packet {
            Some(packet) => self.decoder.send_packet(packet),
            None => self.decoder.send_eof(),
        };
        // A damaged picture is left out; the rest may be good.
        self.counts.damaged += u64::from(fed.is_err());
    }

    /// The next picture, its time in [`CLOCK`] from the start of the file and later than the one before.
    pub(crate) fn next(&mut self) -> Result<Option<frame::Video>, JobFailure> {
        loop {
            if let Some(picture) = self.deinterlacer.next() {
                return Ok(Some(picture));
            }
            let mut picture = frame::Video::empty();
            match self.decoder.receive_frame(&mut picture) {
                Ok(()) => self.take(picture)?,
                Err(ffmpeg::Error::InvalidData) => self.counts.damaged += 1,
                Err(error @ ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM }) => {
                    return Err(JobFailure::av("decoding the picture", error));
                }
                Err(ffmpeg::Error::Eof) => {
                    self.deinterlacer.flush().while_doing("ending the picture")?;
                    return Ok(self.deinterlacer.next());
                }
                Err(_) => return Ok(None),
            }
        }
    }

    fn take(&mut self, mut picture: frame::Video) -> Result<(), JobFailure> {
        let step = 1i64.rescale(self.rate.invert(), CLOCK).max(1);
        let earliest = self.last.map_or(i64::MIN, |last| last + 1);
        let expected = self.last.map_or(0, |last| last + step);
        let own = picture.timestamp().map(|t| t.rescale(self.time_base, CLOCK) - self.start);
        let time = own.unwrap_or(expected).max(earliest);
        self.last = Some(time);
        picture.set_pts(Some(time));
        self.counts.decoded += 1;
        self.counts.untimed += u64::from(own.is_none());
        self.counts.late += u64::from(own.is_some_and(|own| own < time));
        self.counts.bright += u64::from(Brightness::of(&picture).is_some());
        self.deinterlacer.take(picture).while_doing("making interlaced pictures whole")?;
        self.counts.interlaced = self.deinterlacer.interlaced;
        Ok(())
    }

    /// Goes on behind coded pictures that were not decoded, after the end was handed over and the last picture given.
    pub(crate) fn begin_anew(&mut self) {
        self.decoder.flush();
    }

    /// What was met so far counts no more: it is another range's.
    pub(crate) fn count_anew(&mut self) {
        (self.counts, self.deinterlacer.interlaced) = (Counts::default(), 0);
    }

    /// What whoever looks at what was made of them should know.
    pub(crate) fn notes(&self) -> Vec<String> {
        let Counts { decoded, damaged, interlaced, bright, untimed, late, .. } = self.counts;
        let untimed_at =
            format!("pictures without a time, shown {:.2} a second", f64::from(self.rate));
        let left_out = (damaged > 0).then(|| format!("damaged pictures left out: {damaged}"));
        let counted = [
            (interlaced, self.deinterlacer.in_words()),
            (bright, "pictures of high dynamic range mapped to the usual range"),
            (untimed, &untimed_at),
            (late, "pictures with no later time than the one before, shown right after it"),
        ];
        let in_words = |(count, what): (u64, &str)| match count {
            count if count == decoded => format!("{what}: all"),
            count => format!("{what}: {count}"),
        };
        let counted = counted.into_iter().filter(|(count, _)| *count > 0).map(in_words);
        left_out.into_iter().chain(counted).collect()
    }
}

/// Opens the decoder of any stream.
pub(crate) fn open_decoder(
    stream: &ffmpeg::Stream<'_>,
    threads: u32,
) -> Result<ffmpeg::decoder::Opened, ffmpeg::Error> {
    let mut context = ffmpeg::codec::Context::from_parameters(stream.parameters())?;
    // SAFETY: sets numbers of a context that is not open yet.
    unsafe {
        let raw = context.as_mut_ptr();
        (*raw).thread_count = i32::try_from(threads).unwrap_or(1);
        (*raw).max_pixels = MAX_PIXELS;
        (*raw).pkt_timebase = stream.time_base().into();
    }
    // SAFETY: the id comes from libav itself; the decoder found is static.
    let codec = unsafe {
        let found = ffi::avcodec_find_decoder((*context.as_ptr()).codec_id);
        if found.is_null() {
            return Err(ffmpeg::Error::DecoderNotFound);
        }
        ffmpeg::Codec::wrap(found)
    };
    context.decoder().open_as(codec)
}

pub(crate) fn not_decodable(what: &str, error: ffmpeg::Error) -> JobFailure {
    match error {
        ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM } => {
            JobFailure::av("opening the decoder", error)
        }
        // A decoder's threads need memory for their stacks; without it they cannot be started.
        ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN } => {
            let message = format!("There is no memory for the threads that decode the {what}.");
            JobFailure::new(FailureCode::OutOfMemory, message)
        }
        _ => {
            let message = format!("The {what} cannot be decoded: {error}.");
            JobFailure::new(FailureCode::NotDecodable, message)
        }
    }
}

/// Pictures a second, as far as the file says.
pub(crate) fn frame_rate(stream: &ffmpeg::Stream<'_>) -> Rational {
    [stream.avg_frame_rate(), stream.rate()]
        .into_iter()
        .find(|rate| rate.0 > 0 && rate.1 > 0 && f64::from(*rate) <= MAX_RATE)
        .unwrap_or(DEFAULT_RATE)
}

/// Size as shown of the pictures of `stream`; `None` where it does not say.
pub(crate) fn shown(stream: &ffmpeg::Stream<'_>) -> Option<Shown> {
    // SAFETY: reads numbers of a stream of an open context.
    let (width, height, aspect) = unsafe {
        let parameters = &*(*stream.as_ptr()).codecpar;
        let aspect = ffi::av_guess_sample_aspect_ratio(
            std::ptr::null_mut(),
            stream.as_ptr().cast_mut(),
            std::ptr::null_mut(),
        );
        (parameters.width, parameters.height, aspect)
    };
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    if width == 0 || height == 0 || i64::from(width) * i64::from(height) > MAX_PIXELS {
        return None;
    }
    let square = match (u64::try_from(aspect.num), u64::try_from(aspect.den)) {
        // Aspect ratios beyond 1:4 and 4:1 are damage.
        (Ok(num @ 1..), Ok(den @ 1..)) if num <= den * 4 && den <= num * 4 => {
            (u64::from(width) * num / den) as u32
        }
        _ => width,
    };
    let (rotation, stored) = (rotation(stream), (width, height));
    let (width, height) =
        if rotation.is_multiple_of(180) { (square, height) } else { (height, square) };
    Some(Shown { width: width.max(2), height: height.max(2), rotation, stored })
}

impl Shown {
    /// As it lies there.
    pub(crate) fn upright(width: u32, height: u32) -> Self {
        Self { width, height, rotation: 0, stored: (width, height) }
    }

    /// Whether pictures become others when they are shown like `to`.
    pub(crate) fn is_shaped_to(self, to: Self) -> bool {
        self.rotation != 0 || self.stored != to.stored
    }

    /// What whoever sees it at `size` should know.
    pub(crate) fn notes(self, size: (u32, u32)) -> Vec<String> {
        let upright = (self.width, self.height);
        let level =
            if self.rotation.is_multiple_of(180) { upright } else { (upright.1, upright.0) };
        let (from, to) = (in_words(self.stored), in_words(level));
        let notes = [
            (level != self.stored, format!("pixels are not square: {from} is shown as {to}")),
            (self.rotation != 0, format!("turned by {} degrees clockwise", self.rotation)),
            (upright != size, format!("scaled from {} to {}", in_words(upright), in_words(size))),
        ];
        notes.into_iter().filter(|(applies, _)| *applies).map(|(_, note)| note).collect()
    }

    /// The largest even size within the limits and this size, with the same aspect ratio.
    pub(crate) fn fit(self, max_long: u32, max_short: u32) -> (u32, u32) {
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        let (long, short) = (width.max(height), width.min(height));
        let (max_long, max_short) = (u64::from(max_long), u64::from(max_short));
        // The scale as a fraction num/den, never above one.
        let (num, den) = [(1, 1), (max_long, long), (max_short, short)]
            .into_iter()
            .reduce(|a, b| if a.0 * b.1 <= b.0 * a.1 { a } else { b })
            .expect("the list is not empty");
        let even = |side: u64| (((side * num + den / 2) / den) / 2 * 2).max(2) as u32;
        (even(width), even(height))
    }
}

fn in_words((width, height): (u32, u32)) -> String {
    format!("{width}x{height}")
}

/// How pictures of high dynamic range keep brightness (ITU-R BT.2100).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brightness {
    PerceptualQuantizer,
    HybridLogGamma,
}

impl Brightness {
    fn of(picture: &frame::Video) -> Option<Self> {
        // SAFETY: reads one number of a decoded frame.
        Self::from(unsafe { (*picture.as_ptr()).color_trc })
    }

    fn from(transfer: ffi::AVColorTransferCharacteristic) -> Option<Self> {
        use ffi::AVColorTransferCharacteristic::*;
        match transfer {
            AVCOL_TRC_SMPTE2084 => Some(Self::PerceptualQuantizer),
            AVCOL_TRC_ARIB_STD_B67 => Some(Self::HybridLogGamma),
            _ => None,
        }
    }

    /// Filters that map it to the usual range (ITU-R BT.709), as it lies in a file (`tv`) or in a JPEG (`pc`). Up to 30 cd/m² stay
    /// as bright as they are where white is 100; from there to 1,000 and beyond it is pressed together.
    fn mapped(self, matrix: &str, range: &str) -> String {
        let transfer = match self {
            Self::PerceptualQuantizer => "smpte2084",
            Self::HybridLogGamma => "arib-std-b67",
        };
        format!(
            "zscale=pin=bt2020:min=bt2020nc:tin={transfer}:p=bt709:t=linear:npl=100:d=none,format=gbrpf32le,\
             tonemap=tonemap=mobius:peak=10:desat=0,zscale=t=bt709:m={matrix}:r={range}:d=none,"
        )
    }
}

/// Turns, scales and converts pictures to one size and format, whatever arrives.
pub(crate) struct Shaper {
    width: u32,
    height: u32,
    rotation: u32,
    look: Look,
    graph: Option<(Shape, filter::Graph)>,
}

/// What pictures are shaped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// A film.
    Film,
    /// A JPEG.
    Still,
    /// A program that looks at a few points.
    Points,
}

/// What a filter graph was built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    width: u32,
    height: u32,
    format: i32,
    brightness: Option<Brightness>,
}

impl Shape {
    pub(crate) fn of(picture: &frame::Video) -> Self {
        // SAFETY: reads one number of a decoded frame.
        let format = unsafe { (*picture.as_ptr()).format };
        let (width, height) = (picture.width(), picture.height());
        Self { width, height, format, brightness: Brightness::of(picture) }
    }
}

impl Shaper {
    /// For people to look at.
    pub(crate) fn new(shown: Shown, size: (u32, u32), look: Look) -> Self {
        let (width, height) = size;
        Self { width, height, rotation: shown.rotation, look, graph: None }
    }

    /// One point of the picture for each of the result, as it lies there: cheap, and for a program to look at.
    pub(crate) fn points(size: (u32, u32)) -> Self {
        let (width, height) = size;
        Self { width, height, rotation: 0, look: Look::Points, graph: None }
    }

    /// The picture in its new shape, time kept.
    pub(crate) fn shape(&mut self, picture: &frame::Video) -> Result<frame::Video, JobFailure> {
        let shape = Shape::of(picture);
        let mut graph = match self.graph.take() {
            Some((built_for, graph)) if built_for == shape => graph,
            _ => {
                graph_from(shape, &self.steps(shape)).while_doing("preparing the picture filter")?
            }
        };
        let mut shaped = frame::Video::empty();
        let result = run(&mut graph, picture, &mut shaped);
        self.graph = Some((shape, graph));
        result.while_doing("scaling the picture")?;
        shaped.set_kind(ffmpeg::picture::Type::None);
        Ok(shaped)
    }

    fn steps(&self, shape: Shape) -> String {
        let turn = match self.rotation {
            90 => "transpose=clock,",
            180 => "hflip,vflip,",
            270 => "transpose=cclock,",
            _ => "",
        };
        let size = format!("{}:{}", self.width, self.height);
        let mapped =
            |matrix, range| shape.brightness.map(|b| b.mapped(matrix, range)).unwrap_or_default();
        let smooth = "flags=bicubic+accurate_rnd+bitexact";
        match self.look {
            // Without a range asked for, pictures of full range that need no other change would pass as they are.
            Look::Film => format!(
                "{turn}scale={size}:{smooth}:out_range=tv,{}setsar=1,format=yuv420p",
                mapped("bt709", "tv")
            ),
            // Readers of a JPEG take its colours to be of BT.601.
            Look::Still if shape.brightness.is_some() => format!(
                "{turn}scale={size}:{smooth},{}setsar=1,format=yuvj420p",
                mapped("470bg", "pc")
            ),
            Look::Still => format!(
                "{turn}scale={size}:{smooth}:out_color_matrix=bt601:out_range=pc,setsar=1,format=yuvj420p"
            ),
            Look::Points => format!("scale={size}:flags=neighbor+bitexact,setsar=1,format=gray"),
        }
    }
}

/// A graph that does `steps` to pictures of one shape, timed in [`CLOCK`]. One thread: same bytes everywhere.
pub(crate) fn graph_from(shape: Shape, steps: &str) -> Result<filter::Graph, ffmpeg::Error> {
    let missing = ffmpeg::Error::FilterNotFound;
    let mut graph = filter::Graph::new();
    // SAFETY: sets a number of a graph that has no filters yet.
    unsafe { (*graph.as_mut_ptr()).nb_threads = 1 };
    let arguments = format!(
        "video_size={}x{}:pix_fmt={}:time_base={}/{}:pixel_aspect=1/1",
        shape.width, shape.height, shape.format, CLOCK.0, CLOCK.1
    );
    graph.add(&filter::find("buffer").ok_or(missing)?, "in", &arguments)?;
    graph.add(&filter::find("buffersink").ok_or(missing)?, "out", "")?;
    graph.output("in", 0)?.input("out", 0)?.parse(steps)?;
    graph.validate()?;
    Ok(graph)
}

fn run(
    graph: &mut filter::Graph,
    picture: &frame::Video,
    shaped: &mut frame::Video,
) -> Result<(), ffmpeg::Error> {
    let missing = ffmpeg::Error::FilterNotFound;
    // The graph keeps what it is given.
    let picture = held(picture)?;
    graph.get("in").ok_or(missing)?.source().add(&picture)?;
    graph.get("out").ok_or(missing)?.sink().frame(shaped)
}

/// The same picture for later, without a copy of its pixels.
pub(crate) fn held(picture: &frame::Video) -> Result<frame::Video, ffmpeg::Error> {
    let mut held = frame::Video::empty();
    // SAFETY: the first is an empty frame of our own, the second a decoded one; its pixels are counted, not copied.
    match unsafe { ffi::av_frame_ref(held.as_mut_ptr(), picture.as_ptr()) } {
        0 => Ok(held),
        error => Err(error.into()),
    }
}

/// Encodes pictures as H.264.
pub(crate) struct Encoder {
    coding: Coding,
    encoder: ffmpeg::encoder::video::Encoder,
    /// It takes no more: the next picture has another one.
    is_ended: bool,
    track: Track,
    step: i64,
    pub(crate) how: String,
    /// Where coded pictures of the original lie between those that are encoded.
    among: Option<Order>,
}

/// How pictures are encoded.
struct Coding {
    size: (u32, u32),
    rate: Rational,
    keyframe_every: u32,
    colours: Colours,
    parameters: ProxyParameters,
}

impl Encoder {
    pub(crate) fn open(
        stream: &ffmpeg::Stream<'_>,
        size: (u32, u32),
        parameters: &ProxyParameters,
        among: Option<Order>,
        mp4: &mut Mp4,
    ) -> Result<Self, JobFailure> {
        let rate = frame_rate(stream);
        let keyframe_every = (f64::from(rate) * f64::from(parameters.keyframe_every_ms) / 1000.0)
            .round()
            .clamp(1.0, 600.0) as u32;
        let most = parameters.max_bit_rate.map(|rate| format!(" maxrate={rate}"));
        let how = format!(
            "libx264 preset={} crf={}{} bf=0 g={keyframe_every} size={}x{} pix_fmt=yuv420p threads={}",
            parameters.preset,
            parameters.crf,
            most.unwrap_or_default(),
            size.0,
            size.1,
            parameters.threads
        );
        let (colours, parameters) = (Colours::of(stream), parameters.clone());
        let coding = Coding { size, rate, keyframe_every, colours, parameters };
        let encoder = coding.open()?;
        let track = mp4.add(&encoder)?;
        if let Some(order) = &among {
            mp4.changes_in_the_middle(&track);
            mp4.delay(order.delay_us());
        }
        let step = 1i64.rescale(rate.invert(), CLOCK).max(1);
        Ok(Self { coding, encoder, is_ended: false, track, step, how, among })
    }

    /// Encodes a picture, or the end, and writes what comes of it.
    pub(crate) fn feed(
        &mut self,
        picture: Option<&frame::Video>,
        mp4: &mut Mp4,
    ) -> Result<(), JobFailure> {
        match picture {
            Some(picture) => {
                if std::mem::take(&mut self.is_ended) {
                    self.encoder = self.coding.open()?;
                }
                self.encoder.send_frame(picture)
            }
            None if self.is_ended => return Ok(()),
            None => {
                self.is_ended = true;
                self.encoder.send_eof()
            }
        }
        .while_doing("encoding the picture")?;
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {
                    if packet.duration() <= 0 {
                        packet.set_duration(self.step);
                    }
                    let packet = self.placed(packet);
                    mp4.write(&self.track, packet)?;
                }
                Err(ffmpeg::Error::Eof) => return Ok(()),
                Err(ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(JobFailure::av("encoding the picture", error)),
            }
        }
    }

    /// Writes a coded picture of the original, shown at `time`, behind what was encoded so far.
    pub(crate) fn carry(
        &mut self,
        (coded, begins): &(Vec<u8>, bool),
        time: i64,
        mp4: &mut Mp4,
    ) -> Result<(), JobFailure> {
        self.feed(None, mp4)?;
        let mut packet = Packet::copy(coded);
        packet.set_duration(self.step);
        packet.set_pts(Some(time));
        packet.set_dts(self.among.as_mut().map(|order| order.read(time)));
        if *begins {
            packet.set_flags(ffmpeg::codec::packet::Flags::KEY);
        }
        mp4.write(&self.track, packet)
    }

    /// A picture that was encoded here, among others that were not.
    fn placed(&mut self, packet: Packet) -> Packet {
        let (Some(order), Some(time)) = (&mut self.among, packet.pts()) else { return packet };
        let data = packet.data().unwrap_or_default();
        let before =
            if packet.is_key() { avc::sets(&said_before(&self.encoder)) } else { Vec::new() };
        let mut placed = Packet::copy(&[&before, data].concat());
        placed.set_flags(packet.flags());
        placed.set_duration(packet.duration());
        placed.set_pts(Some(time));
        placed.set_dts(Some(order.read(time)));
        placed
    }
}

/// What an encoder says to decoders before all else.
fn said_before(encoder: &ffmpeg::encoder::video::Encoder) -> Vec<u8> {
    // SAFETY: the bytes are those of an open context, and their length its own.
    unsafe {
        let raw = &*encoder.as_ptr();
        match (raw.extradata.is_null(), usize::try_from(raw.extradata_size)) {
            (false, Ok(length)) => std::slice::from_raw_parts(raw.extradata, length).to_vec(),
            _ => Vec::new(),
        }
    }
}

impl Coding {
    fn open(&self) -> Result<ffmpeg::encoder::video::Encoder, JobFailure> {
        self.try_open().while_doing("starting the H.264 encoder")
    }

    fn try_open(&self) -> Result<ffmpeg::encoder::video::Encoder, ffmpeg::Error> {
        let codec =
            ffmpeg::encoder::find_by_name("libx264").ok_or(ffmpeg::Error::EncoderNotFound)?;
        let mut encoder = ffmpeg::codec::Context::new_with_codec(codec).encoder().video()?;
        let parameters = &self.parameters;
        encoder.set_width(self.size.0);
        encoder.set_height(self.size.1);
        encoder.set_format(ffmpeg::format::Pixel::YUV420P);
        encoder.set_time_base(CLOCK);
        encoder.set_frame_rate(Some(self.rate));
        encoder.set_gop(self.keyframe_every);
        encoder.set_max_b_frames(0);
        encoder.set_flags(ffmpeg::codec::Flags::GLOBAL_HEADER);
        // SAFETY: sets numbers of a context that is not open yet.
        unsafe {
            let raw = encoder.as_mut_ptr();
            (*raw).thread_count = i32::try_from(parameters.threads).unwrap_or(1);
            self.colours.set(&mut *raw);
            (*raw).sample_aspect_ratio = Rational(1, 1).into();
            if let Some(rate) = parameters.max_bit_rate.and_then(|rate| i32::try_from(rate).ok()) {
                (*raw).rc_max_rate = rate.into();
                (*raw).rc_buffer_size = rate.saturating_mul(2);
            }
        }
        let mut options = Dictionary::new();
        options.set("preset", &parameters.preset);
        options.set("crf", &parameters.crf.to_string());
        encoder.open_as_with(codec, options)
    }
}

/// Colours as the pictures have them once they are shaped.
#[derive(Debug, Clone, Copy)]
struct Colours {
    primaries: ffi::AVColorPrimaries,
    transfer: ffi::AVColorTransferCharacteristic,
    space: ffi::AVColorSpace,
}

impl Colours {
    fn of(stream: &ffmpeg::Stream<'_>) -> Self {
        use ffi::{AVColorPrimaries, AVColorSpace, AVColorTransferCharacteristic};
        // SAFETY: reads numbers of a stream of an open context.
        let from = unsafe { &*(*stream.as_ptr()).codecpar };
        if Brightness::from(from.color_trc).is_some() {
            return Self {
                primaries: AVColorPrimaries::AVCOL_PRI_BT709,
                transfer: AVColorTransferCharacteristic::AVCOL_TRC_BT709,
                space: AVColorSpace::AVCOL_SPC_BT709,
            };
        }
        let space = match from.color_space {
            // What libswscale makes of red, green and blue unless it is told otherwise.
            AVColorSpace::AVCOL_SPC_RGB => AVColorSpace::AVCOL_SPC_SMPTE170M,
            other => other,
        };
        Self { primaries: from.color_primaries, transfer: from.color_trc, space }
    }

    fn set(self, to: &mut ffi::AVCodecContext) {
        to.color_range = ffi::AVColorRange::AVCOL_RANGE_MPEG;
        to.color_primaries = self.primaries;
        to.color_trc = self.transfer;
        to.colorspace = self.space;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_to_a_picture_is_said() {
        let shown = Shown { width: 576, height: 1024, rotation: 90, stored: (720, 576) };
        assert_eq!(
            shown.notes((404, 718)),
            [
                "pixels are not square: 720x576 is shown as 1024x576",
                "turned by 90 degrees clockwise",
                "scaled from 576x1024 to 404x718"
            ]
        );
        let plain = Shown { width: 320, height: 240, rotation: 0, stored: (320, 240) };
        assert_eq!(plain.notes((320, 240)), [""; 0]);
    }

    #[test]
    fn sizes_fit_keep_their_aspect_and_are_even() {
        let fit = |width, height| {
            Shown { width, height, rotation: 0, stored: (width, height) }.fit(1280, 720)
        };
        assert_eq!(fit(1920, 1080), (1280, 720));
        assert_eq!(fit(1080, 1920), (720, 1280), "upright");
        assert_eq!(fit(640, 480), (640, 480), "never enlarged");
        assert_eq!(fit(1600, 1200), (960, 720));
        assert_eq!(fit(3840, 1080), (1280, 360));
        assert_eq!(fit(321, 241), (320, 240), "even");
        assert_eq!(fit(2, 4000), (2, 1280), "never nothing");
    }
}

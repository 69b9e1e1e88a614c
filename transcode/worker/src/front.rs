//! A front: a small file that makes an MP4 of an original when it is put before it. Coded pictures are played where they lie.
//!
//! The original is read once (twice, where its sound turns out not to lie as MP4 could take it), and nothing is decoded but sound
//! that browsers do not play. Of a picture's place only what was found there is said: what cannot be had so is no front, and the
//! original is encoded anew.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Packet, Rational, ffi};
use transcode_protocol::probe::StreamKind;
use transcode_protocol::{FailureCode, Frame, FrontParameters, Report};

use crate::audio::{AacEncoder, SOUND_RATE, Sound};
use crate::avc::{Avc, Why};
use crate::channel::SharedChannel;
use crate::failure::JobFailure;
use crate::finder::Finder;
use crate::input::{self, Next, Reader, changes_decoding, configuration, is_left_out, permille};
use crate::jumps::Joiner;
use crate::pass::{best, left_out, start_us};
use crate::probe::rotation;
use crate::report::report;
use crate::table::{LEVEL, Medium, Sample, Samples, Track, boxed, full, index};
use crate::video::shown;

/// A larger part of the original, and a viewing copy would hardly be larger.
const LARGEST_PART: u64 = 4;
/// Of the tables, for a picture or a piece of sound; and of all the rest.
const LINE_BYTES: u64 = 28;
const FIXED_BYTES: u64 = 1200;
/// AAC of one piece.
const PIECE_SAMPLES: u32 = 1024;
/// Sound that is encoded anew is sent in boxes of about this size.
const SOUND_BOX_BYTES: usize = 128 << 10;
/// No configuration of AAC-LC is longer; an `esds` of one byte a length holds it.
const MOST_CONFIGURATION_BYTES: usize = 64;
/// ISO/IEC 14496-12, 4.3: what readers this file is for.
const BRANDS: &[u8] = b"isom\0\0\x02\0isomiso2avc1mp41";

/// Makes the front of the original behind `channel`.
pub(crate) fn make(
    channel: &SharedChannel,
    name: &'static str,
    parameters: &FrontParameters,
) -> Result<Report, JobFailure> {
    // Sound is taken where it lies, or else encoded.
    for may_lie in [true, false] {
        if let Some(report) = read(channel, name, parameters, may_lie)? {
            return Ok(report);
        }
    }
    Err(not_possible("its sound can be neither taken nor encoded"))
}

/// One reading. Nothing where sound was to be taken that does not lie so.
fn read(
    channel: &SharedChannel,
    name: &'static str,
    parameters: &FrontParameters,
    may_lie: bool,
) -> Result<Option<Report>, JobFailure> {
    let mut input = input::open(channel)?.input;
    let mut pictures = Lying::pictures(&input, channel).map_err(not_possible)?;
    let mut sound = Heard::open(&input, channel, name, parameters, may_lie)?;
    let (mut reader, mut joiner, mut said) = (Reader::default(), Joiner::new(&input), 0);
    while let Next::Packet(mut packet) = reader.next(&mut input) {
        joiner.place(&mut packet, &input);
        pictures.take(&packet).map_err(not_possible)?;
        if !sound.take(&packet)? {
            return Ok(None);
        }
        if let Some(now) = permille(&packet, channel.size_bytes()).filter(|p| *p >= said + 10) {
            said = now;
            channel.send(&Frame::Progress { permille: now });
        }
    }
    no_jumps(&joiner).map_err(not_possible)?;
    let start = start_us(&input);
    let Some(heard) = sound.end(start)? else { return Ok(None) };
    let cut_off = pictures.broken.map(|_| "the last picture is cut off and left out".to_owned());
    let picture = pictures.track(&input).map_err(not_possible)?;
    let notes = heard.notes.into_iter().chain(cut_off).chain(left_out(&input)).collect();
    let tracks: Vec<Track> = [picture].into_iter().chain(heard.track).collect();
    let begin = if heard.sent_bytes == 0 { beginning() } else { Vec::new() };
    let before = heard.sent_bytes + begin.len() as u64;
    let index = index(&tracks, start, before, channel.size_bytes());
    if !is_worth_it(before + index.len() as u64, channel.size_bytes()) {
        return Err(not_possible("it would be larger than a quarter of the original"));
    }
    channel.output(name, &[begin, index].concat());
    let codecs = [("video", "h264 as it lies in the original".to_owned())];
    Ok(Some(report(codecs.into_iter().chain(heard.how.map(|how| ("audio", how))), 1, notes)))
}

/// Whether a front of `bytes` is better than a viewing copy.
fn is_worth_it(bytes: u64, original_bytes: u64) -> bool {
    bytes <= original_bytes / LARGEST_PART
}

/// What the probe found of the sound.
pub(crate) enum Expected {
    Nothing,
    /// So many pieces, to be taken where they lie.
    Lies(u64),
    /// So long, to be encoded in one channel or two.
    Encoded {
        us: i64,
        stereo: bool,
    },
}

/// Looks at pictures for the probe: whether they can be played where they lie.
pub(crate) struct Judge(Result<Lying, Why>);

impl Judge {
    pub(crate) fn new(input: &Input, channel: &SharedChannel) -> Self {
        Self(Lying::pictures(input, channel))
    }

    pub(crate) fn take(&mut self, packet: &Packet) {
        if let Ok(lying) = &mut self.0
            && let Err(why) = lying.take(packet)
        {
            self.0 = Err(why);
        }
    }

    /// After the last packet: how many pictures there are, or why they cannot be.
    pub(crate) fn end(self, joiner: &Joiner) -> Result<u64, Why> {
        let lying = self.0?;
        no_jumps(joiner)?;
        Ok(lying.samples.into_pictures()?.len() as u64)
    }
}

/// Whether a front of so many pictures and this sound is worth making.
pub(crate) fn expect(pictures: u64, sound: &Expected, original_bytes: u64) -> Result<(), Why> {
    let parameters = FrontParameters::default();
    let sound_bytes = match *sound {
        Expected::Nothing => 0,
        Expected::Lies(pieces) => pieces * LINE_BYTES,
        Expected::Encoded { us, stereo } => {
            let bytes_per_second = u64::from(parameters.bit_rate(stereo)) / 8;
            u64::try_from(us).unwrap_or(0) / 1_000_000 * bytes_per_second
        }
    };
    match is_worth_it(FIXED_BYTES + pictures * LINE_BYTES + sound_bytes, original_bytes) {
        true => Ok(()),
        false => Err("a front would be larger than a quarter of it"),
    }
}

fn no_jumps(joiner: &Joiner) -> Result<(), Why> {
    if joiner.jumps() == 0 { Ok(()) } else { Err("its time stamps jump") }
}

/// A stream whose packets are played where they lie.
struct Lying {
    index: usize,
    start_us: i64,
    base: Rational,
    /// Of pictures.
    avc: Option<Avc>,
    configuration: Vec<u8>,
    finder: Finder,
    samples: Samples,
    /// The last one, if it is cut off: nothing may come after it.
    broken: Option<Why>,
}

impl Lying {
    fn pictures(input: &Input, channel: &SharedChannel) -> Result<Self, Why> {
        let stream = best(input, StreamKind::Video).ok_or("it has no picture")?;
        if stream.parameters().id() != ffmpeg::codec::Id::H264 {
            return Err("the picture is not H.264");
        }
        shown(&stream).ok_or("it does not say how large its picture is")?;
        let avc = Avc::read(&configuration(&stream))?;
        Ok(Self { avc: Some(avc), ..Self::of(&stream, input, channel) })
    }

    fn of(stream: &ffmpeg::Stream<'_>, input: &Input, channel: &SharedChannel) -> Self {
        Self {
            index: stream.index(),
            start_us: start_us(input),
            base: stream.time_base(),
            avc: None,
            configuration: configuration(stream),
            finder: Finder::new(channel.reader()),
            samples: Samples::new(stream.time_base()),
            broken: None,
        }
    }

    fn take(&mut self, packet: &Packet) -> Result<(), Why> {
        if packet.stream() != self.index {
            return Ok(());
        }
        if let Some(why) = self.broken {
            return Err(why);
        }
        match self.sample(packet) {
            Ok(sample) => self.samples.push(sample),
            Err(why) => {
                self.broken = Some(why);
                Ok(())
            }
        }
    }

    fn sample(&mut self, packet: &Packet) -> Result<Sample, Why> {
        let data = packet.data().ok_or("a coded picture is empty")?;
        if packet.is_corrupt() {
            return Err("a part of it is damaged or cut off");
        }
        if changes_decoding(packet, &self.configuration) {
            return Err("what is needed to decode it changes in the middle");
        }
        let time = match self.avc {
            Some(_) => packet.pts(),
            None => packet.pts().or(packet.dts()),
        };
        let time = time.ok_or("its pictures have no times")?;
        if is_left_out(packet) && (self.avc.is_some() || time >= self.start()) {
            return Err("the container leaves parts of it out");
        }
        if let Some(avc) = &self.avc {
            avc.check(data)?;
            if self.samples.len() == 0 && !packet.is_key() {
                return Err("its first picture needs others before it");
            }
        }
        let place =
            self.finder.find(packet).ok_or("its pictures do not lie in it in one run each")?;
        let bytes = u32::try_from(data.len()).map_err(|_| "a coded picture is too long")?;
        let length = packet.duration().max(0);
        Ok(Sample { place, bytes, time, length, is_key: packet.is_key() })
    }

    /// By the stream's own clock.
    fn start(&self) -> i64 {
        use ffmpeg::Rescale as _;
        self.start_us.rescale(crate::scan::MICROSECONDS, self.base)
    }

    fn track(self, input: &Input) -> Result<Track, Why> {
        let stream = input.stream(self.index).ok_or("it has no picture")?;
        let avc = self.avc.as_ref().ok_or("it has no picture")?;
        let medium = pictures_medium(&stream, avc)?;
        Ok(Track { medium, timed: self.samples.into_pictures()?, is_in_original: true })
    }
}

/// The sound of a front on its way.
enum Heard {
    Nothing { notes: Vec<String> },
    Lying { lying: Box<Lying>, rate: u32, channels: u32 },
    Encoded { sound: Box<Sound>, encoder: AacEncoder, written: Written },
}

/// What came of it.
#[derive(Default)]
struct Ended {
    track: Option<Track>,
    /// Bytes of the front that are sent already.
    sent_bytes: u64,
    how: Option<String>,
    notes: Vec<String>,
}

impl Heard {
    fn open(
        input: &Input,
        channel: &SharedChannel,
        name: &'static str,
        parameters: &FrontParameters,
        may_lie: bool,
    ) -> Result<Self, JobFailure> {
        let Some(stream) = best(input, StreamKind::Audio) else {
            return Ok(Self::Nothing { notes: Vec::new() });
        };
        if let Some((rate, channels)) = lies_as_in_mp4(&stream).filter(|_| may_lie) {
            let lying = Box::new(Lying::of(&stream, input, channel));
            return Ok(Self::Lying { lying, rate, channels });
        }
        let Some(sound) = Sound::open(&stream, start_us(input)) else {
            let notes = vec!["the sound cannot be decoded and is missing".to_owned()];
            return Ok(Self::Nothing { notes });
        };
        let encoder = AacEncoder::open(sound.stereo, parameters.bit_rate(sound.stereo))?;
        let written = Written::begin(channel, name);
        Ok(Self::Encoded { sound: Box::new(sound), encoder, written })
    }

    /// False where it does not lie as it would have to.
    fn take(&mut self, packet: &Packet) -> Result<bool, JobFailure> {
        match self {
            Self::Nothing { .. } => Ok(true),
            Self::Lying { lying, .. } => Ok(lying.take(packet).is_ok()),
            Self::Encoded { sound, encoder, written } if packet.stream() == sound.index => {
                encode(sound, encoder, written, Some(packet)).map(|()| true)
            }
            Self::Encoded { .. } => Ok(true),
        }
    }

    /// Nothing where it does not lie as it would have to.
    fn end(self, start_us: i64) -> Result<Option<Ended>, JobFailure> {
        match self {
            Self::Nothing { notes } => Ok(Some(Ended { notes, ..Ended::default() })),
            Self::Lying { lying, rate, channels } => {
                let Ok(timed) = lying.samples.into_sound(rate, PIECE_SAMPLES, start_us) else {
                    return Ok(None);
                };
                let medium = sound_medium(rate, channels, &lying.configuration);
                let track = Some(Track { medium, timed, is_in_original: true });
                let how = Some("aac as it lies in the original".to_owned());
                Ok(Some(Ended { track, how, ..Ended::default() }))
            }
            Self::Encoded { mut sound, mut encoder, mut written } => {
                encode(&mut sound, &mut encoder, &mut written, None)?;
                written.flush();
                let notes = sound.notes();
                if written.samples.len() == 0 {
                    let sent_bytes = written.sent_bytes;
                    return Ok(Some(Ended { notes, sent_bytes, ..Ended::default() }));
                }
                let channels = if sound.stereo { 2 } else { 1 };
                let timed = written.samples.into_sound(SOUND_RATE, PIECE_SAMPLES, 0);
                let medium = sound_medium(SOUND_RATE, channels, &encoder.configuration());
                let timed = timed.map_err(not_possible)?.moved_by(start_us);
                let track = Some(Track { medium, timed, is_in_original: false });
                let how = Some(encoder.how);
                Ok(Some(Ended { track, sent_bytes: written.sent_bytes, how, notes }))
            }
        }
    }
}

/// Sound that is encoded anew, sent as it comes: its places are known at once.
struct Written {
    channel: SharedChannel,
    name: &'static str,
    sent_bytes: u64,
    /// What the box under way holds, behind its header.
    held: Vec<u8>,
    samples: Samples,
}

impl Written {
    fn begin(channel: &SharedChannel, name: &'static str) -> Self {
        let (channel, beginning) = (channel.clone(), beginning());
        channel.output(name, &beginning);
        let sent_bytes = beginning.len() as u64;
        let samples = Samples::new(Rational(1, SOUND_RATE as i32));
        Self { channel, name, sent_bytes, held: Vec::new(), samples }
    }

    fn take(&mut self, packet: &Packet) -> Result<(), Why> {
        let (data, time) = (packet.data().unwrap_or_default(), packet.pts().unwrap_or(0));
        if self.held.len() + data.len() > SOUND_BOX_BYTES {
            self.flush();
        }
        let place = self.sent_bytes + HEADER_BYTES + self.held.len() as u64;
        self.held.extend_from_slice(data);
        let bytes = u32::try_from(data.len()).map_err(|_| "a piece of sound is too long")?;
        let length = i64::from(PIECE_SAMPLES);
        self.samples.push(Sample { place, bytes, time, length, is_key: true })
    }

    fn flush(&mut self) {
        if !self.held.is_empty() {
            let mdat = boxed(b"mdat", &[std::mem::take(&mut self.held)]);
            self.channel.output(self.name, &mdat);
            self.sent_bytes += mdat.len() as u64;
        }
    }
}

/// Length and kind of a box.
const HEADER_BYTES: u64 = 8;

fn beginning() -> Vec<u8> {
    boxed(b"ftyp", &[BRANDS.to_vec()])
}

/// Decodes a packet, or what is left in the end, and encodes it.
fn encode(
    sound: &mut Sound,
    encoder: &mut AacEncoder,
    written: &mut Written,
    packet: Option<&Packet>,
) -> Result<(), JobFailure> {
    let mut failed = None;
    let mut feed = |piece: Option<&ffmpeg::frame::Audio>| {
        let fed = encoder.feed(piece, &mut |packet| written.take(&packet).map_err(not_possible));
        if let Err(failure) = fed {
            failed.get_or_insert(failure);
        }
    };
    sound.feed(packet, &mut |piece| feed(Some(piece)))?;
    if packet.is_none() && sound.decoded > 0 {
        feed(None);
    }
    failed.map_or(Ok(()), Err)
}

/// Rate and channels of AAC that MP4 takes as it is: one simple configuration, and pieces without headers of their own.
fn lies_as_in_mp4(stream: &ffmpeg::Stream<'_>) -> Option<(u32, u32)> {
    const LOW_COMPLEXITY: u8 = 2;
    // SAFETY: reads numbers of a stream of an open context.
    let (rate, channels, profile) = unsafe {
        let parameters = &*(*stream.as_ptr()).codecpar;
        (parameters.sample_rate, parameters.ch_layout.nb_channels, parameters.profile)
    };
    let is_aac =
        stream.parameters().id() == ffmpeg::codec::Id::AAC && profile == ffi::FF_PROFILE_AAC_LOW;
    // ISO/IEC 14496-3, 1.6.2.1: kind (5 bits), rate (4, of which 15 is another form), channels (4, 0 is another form), length of pieces.
    let configuration = configuration(stream);
    let [first, second, ..] = configuration[..] else { return None };
    let (kind, rate_index) = (first >> 3, (first & 7) << 1 | second >> 7);
    let (layout, is_short) = (second >> 3 & 15, second >> 2 & 1);
    let is_plain = kind == LOW_COMPLEXITY && rate_index != 15 && layout != 0 && is_short == 0;
    let fits = is_aac && is_plain && configuration.len() <= MOST_CONFIGURATION_BYTES;
    let rate = u32::try_from(rate).ok().filter(|rate| (1..1 << 16).contains(rate))?;
    Some((rate, u32::try_from(channels).ok()?)).filter(|_| fits)
}

/// Sixteen bytes with which an entry of `stsd` begins, as far as all have them: its data lies in this file.
const ENTRY: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

fn pictures_medium(stream: &ffmpeg::Stream<'_>, avc: &Avc) -> Result<Medium, Why> {
    let shown = shown(stream).ok_or("it does not say how large its picture is")?;
    // SAFETY: reads numbers of a stream of an open context.
    let (stored, aspect, colours) = unsafe {
        let raw = stream.as_ptr().cast_mut();
        let parameters = &*(*raw).codecpar;
        let (of_file, of_picture) = (std::ptr::null_mut(), std::ptr::null_mut());
        let aspect = ffi::av_guess_sample_aspect_ratio(of_file, raw, of_picture);
        let colours = [
            parameters.color_primaries as u32,
            parameters.color_trc as u32,
            parameters.color_space as u32,
        ];
        let is_full = parameters.color_range == ffi::AVColorRange::AVCOL_RANGE_JPEG;
        ((parameters.width, parameters.height), aspect, (colours, is_full))
    };
    let side = |side: i32| u16::try_from(side).map_err(|_| "its picture is too large");
    let (width, height) = (side(stored.0)?, side(stored.1)?);
    let mut entry = [&ENTRY[..], &[0; 16], &width.to_be_bytes(), &height.to_be_bytes()].concat();
    // 72 dots an inch, one picture a sample, no name, 24 bits.
    entry.extend([0, 0x48, 0, 0, 0, 0x48, 0, 0, 0, 0, 0, 0, 0, 1]);
    entry.extend([0; 32]);
    entry.extend([0, 24, 0xff, 0xff]);
    entry.extend(boxed(b"avcC", &[avc.record().to_vec()]));
    if aspect.num > 0 && aspect.den > 0 {
        let sides = [aspect.num, aspect.den].map(i32::to_be_bytes).concat();
        entry.extend(boxed(b"pasp", &[sides]));
    }
    entry.extend(colr(colours.0, colours.1));
    let rotation = rotation(stream);
    let size = if rotation.is_multiple_of(180) {
        (shown.width, shown.height)
    } else {
        (shown.height, shown.width)
    };
    let entry = boxed(b"avc1", &[entry]);
    Ok(Medium { handler: *b"vide", entry, matrix: matrix(rotation, size), size })
}

/// As numbers of ITU-T H.273; nothing where none is known.
fn colr(numbers: [u32; 3], is_full: bool) -> Vec<u8> {
    const UNSPECIFIED: u32 = 2;
    if numbers.iter().all(|number| *number == UNSPECIFIED) && !is_full {
        return Vec::new();
    }
    let numbers = numbers.map(|number| u16::try_from(number).unwrap_or(2).to_be_bytes());
    boxed(b"colr", &[b"nclx".to_vec(), numbers.concat(), vec![u8::from(is_full) << 7]])
}

/// Turns a picture of this size clockwise, and moves it back to where it begins.
fn matrix(degrees: u32, (width, height): (u32, u32)) -> [i32; 9] {
    let one = 1 << 16;
    let (width, height) = ((width << 16) as i32, (height << 16) as i32);
    let ([a, b, c, d], [x, y]) = match degrees {
        90 => ([0, one, -one, 0], [height, 0]),
        180 => ([-one, 0, 0, -one], [width, height]),
        270 => ([0, -one, one, 0], [0, width]),
        _ => return LEVEL,
    };
    [a, b, 0, c, d, 0, x, y, 1 << 30]
}

fn sound_medium(rate: u32, channels: u32, configuration: &[u8]) -> Medium {
    let mut entry = [&ENTRY[..], &[0; 8]].concat();
    // 16 bits a sample, as all but quality says.
    entry.extend([channels as u16, 16, 0, 0].iter().flat_map(|n| n.to_be_bytes()));
    entry.extend((rate << 16).to_be_bytes());
    entry.extend(esds(configuration));
    Medium { handler: *b"soun", entry: boxed(b"mp4a", &[entry]), matrix: LEVEL, size: (0, 0) }
}

/// ISO/IEC 14496-1, 7.2.6: AAC, as it is configured.
fn esds(configuration: &[u8]) -> Vec<u8> {
    let descriptor = |kind: u8, body: &[u8]| [&[kind, body.len() as u8][..], body].concat();
    let specific = descriptor(5, configuration);
    // AAC, a stream of sound, buffer and bit rates unsaid.
    let decoder = descriptor(4, &[&[0x40, 0x15][..], &[0; 11], &specific].concat());
    let stream = descriptor(3, &[&[0, 0, 0][..], &decoder, &descriptor(6, &[2])].concat());
    full(b"esds", 0, &[stream])
}

fn not_possible(why: Why) -> JobFailure {
    JobFailure::new(
        FailureCode::NothingToMake,
        format!("It cannot be played where it lies: {why}."),
    )
}

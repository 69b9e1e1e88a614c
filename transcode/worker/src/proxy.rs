//! The proxy recipe: the viewing copy that a browser plays.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Input;
use transcode_protocol::probe::StreamKind;
use transcode_protocol::{FailureCode, Frame, Outcome, ProxyParameters, Report};

use crate::audio::Sound;
use crate::channel::SharedChannel;
use crate::failure::JobFailure;
use crate::input::{self, Next, Reader, permille};
use crate::mux::Mp4;
use crate::probe::{kind, original_is_proxy, probe};
use crate::report::report;
use crate::video::{Encoder, Pictures, Shaper, shown};

/// Stills that a browser shows as they are.
const BROWSER_STILLS: [&str; 2] = ["jpeg_pipe", "png_pipe"];

/// Pictures on their way from one stream to the MP4.
struct Picture {
    decoder: Pictures,
    shaper: Shaper,
    encoder: Encoder,
}

/// Makes `proxy.mp4`, or says that the original needs none.
pub(crate) fn make(
    channel: &SharedChannel,
    name: &'static str,
    parameters: &ProxyParameters,
) -> Result<Report, JobFailure> {
    let found = probe(channel)?;
    let still = BROWSER_STILLS.contains(&found.container.as_str());
    if still || original_is_proxy(&found, parameters) {
        let none = Vec::new();
        return Ok(report(Outcome::OriginalIsProxy, [], parameters.threads, none));
    }
    let mut input = input::open(channel)?.input;
    let mut mp4 = Mp4::new(channel, name)?;
    let mut picture = open_picture(&input, parameters, &mut mp4)?;
    let mut sound = open_sound(&input, parameters, &mut mp4)?;
    if picture.is_none() && sound.is_none() {
        return Err(nothing(&input));
    }
    mp4.begin(picture.is_some())?;
    transcode(&mut input, channel, &mut picture, &mut sound, &mut mp4)?;
    let report = account(&input, picture, sound, parameters)?;
    mp4.finish(channel)?;
    Ok(report)
}

fn open_picture(
    input: &Input,
    parameters: &ProxyParameters,
    mp4: &mut Mp4,
) -> Result<Option<Picture>, JobFailure> {
    let Some(stream) = best(input, StreamKind::Video) else { return Ok(None) };
    let shown = shown(&stream).ok_or_else(|| {
        JobFailure::new(
            FailureCode::NotDecodable,
            "The file does not say how large its picture is.",
        )
    })?;
    let size = shown.fit(parameters.max_long_side_px, parameters.max_short_side_px);
    Ok(Some(Picture {
        decoder: Pictures::open(&stream, start_us(input), parameters.threads)?,
        shaper: Shaper::new(shown, size, "yuv420p"),
        encoder: Encoder::open(&stream, size, parameters, mp4)?,
    }))
}

fn open_sound(
    input: &Input,
    parameters: &ProxyParameters,
    mp4: &mut Mp4,
) -> Result<Option<Sound>, JobFailure> {
    match best(input, StreamKind::Audio) {
        Some(stream) => Sound::open(&stream, start_us(input), parameters, mp4),
        None => Ok(None),
    }
}

/// The stream of a kind that libavformat thinks best; never a cover picture.
pub(crate) fn best(input: &Input, wanted: StreamKind) -> Option<ffmpeg::Stream<'_>> {
    let medium = match wanted {
        StreamKind::Audio => ffmpeg::media::Type::Audio,
        _ => ffmpeg::media::Type::Video,
    };
    input
        .streams()
        .best(medium)
        .filter(|stream| kind(stream) == wanted)
        .or_else(|| input.streams().find(|stream| kind(stream) == wanted))
}

/// Where the file's time begins.
pub(crate) fn start_us(input: &Input) -> i64 {
    // SAFETY: reads one number of an open context.
    let start = unsafe { (*input.as_ptr()).start_time };
    if start == ffmpeg::ffi::AV_NOPTS_VALUE { 0 } else { start }
}

fn transcode(
    input: &mut Input,
    channel: &SharedChannel,
    picture: &mut Option<Picture>,
    sound: &mut Option<Sound>,
    mp4: &mut Mp4,
) -> Result<(), JobFailure> {
    let mut reader = Reader::default();
    let mut said = 0;
    while let Next::Packet(packet) = reader.next(input) {
        let index = packet.stream();
        if let Some(picture) = picture.as_mut().filter(|p| p.decoder.index == index) {
            picture.feed(Some(&packet), mp4)?;
        } else if let Some(sound) = sound.as_mut().filter(|s| s.index == index) {
            sound.feed(Some(&packet), mp4)?;
        }
        if let Some(now) = permille(&packet, channel.size_bytes()).filter(|p| *p >= said + 10) {
            said = now;
            channel.send(&Frame::Progress { permille: now });
        }
    }
    if let Some(picture) = picture {
        picture.feed(None, mp4)?;
    }
    if let Some(sound) = sound {
        sound.feed(None, mp4)?;
    }
    Ok(())
}

impl Picture {
    fn feed(&mut self, packet: Option<&ffmpeg::Packet>, mp4: &mut Mp4) -> Result<(), JobFailure> {
        self.decoder.feed(packet);
        while let Some(decoded) = self.decoder.next()? {
            let shaped = self.shaper.shape(&decoded)?;
            self.encoder.feed(Some(&shaped), mp4)?;
        }
        if packet.is_none() { self.encoder.feed(None, mp4) } else { Ok(()) }
    }
}

fn account(
    input: &Input,
    picture: Option<Picture>,
    sound: Option<Sound>,
    parameters: &ProxyParameters,
) -> Result<Report, JobFailure> {
    if picture.as_ref().is_some_and(|p| p.decoder.decoded == 0) {
        let message = "Not one picture of the file could be decoded.";
        return Err(JobFailure::new(FailureCode::NotDecodable, message));
    }
    let mut notes = Vec::new();
    if let Some(damaged @ 1..) = picture.as_ref().map(|p| p.decoder.damaged) {
        notes.push(format!("{damaged} damaged pictures were left out"));
    }
    let silent = sound.as_ref().is_none_or(|s| s.decoded == 0);
    if silent && best(input, StreamKind::Audio).is_some() {
        notes.push("the sound could not be decoded and is missing".to_owned());
    }
    let codecs = picture
        .map(|p| ("video", p.encoder.how))
        .into_iter()
        .chain(sound.map(|s| ("audio", s.how)));
    Ok(report(Outcome::Made, codecs, parameters.threads, notes))
}

fn nothing(input: &Input) -> JobFailure {
    let message = match best(input, StreamKind::Audio) {
        Some(_) => "The file has no picture, and its sound cannot be decoded.",
        None => "The file has neither picture nor sound.",
    };
    JobFailure::new(FailureCode::NothingToMake, message)
}

//! The poster recipe: one picture from a little in, as JPEG.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Packet, Rescale, ffi, frame};
use transcode_protocol::probe::StreamKind;
use transcode_protocol::{FailureCode, Outcome, PosterParameters, Report};

use crate::channel::SharedChannel;
use crate::failure::{JobFailure, While};
use crate::input::{self, Next, Reader};
use crate::proxy::{best, start_us};
use crate::report::report;
use crate::scan::MICROSECONDS;
use crate::video::{CLOCK, Pictures, Shaper, shown};

/// The poster comes from no later than this part of the length.
const LATEST_PART: i64 = 10;

/// Makes `poster.jpg`.
pub(crate) fn make(
    channel: &SharedChannel,
    name: &str,
    parameters: &PosterParameters,
) -> Result<Report, JobFailure> {
    let mut input = input::open(channel)?.input;
    let stream = best(&input, StreamKind::Video)
        .ok_or_else(|| JobFailure::new(FailureCode::NothingToMake, "The file has no picture."))?;
    let index = stream.index();
    let shown = shown(&stream).ok_or_else(not_one)?;
    let mut decoder = Pictures::open(&stream, start_us(&input), 1)?;
    let at = moment(&input, parameters);
    let picture = picture_at(&mut input, &mut decoder, index, at)?.ok_or_else(not_one)?;
    let size = shown.fit(parameters.max_side_px, parameters.max_side_px);
    let shaped = Shaper::new(shown, size, "yuvj420p").shape(&picture)?;
    let jpeg = encode(&shaped, size, parameters.quality).while_doing("encoding the poster")?;
    channel.output(name, jpeg.data().unwrap_or_default());
    let how = format!("mjpeg q={} size={}x{}", parameters.quality, size.0, size.1);
    Ok(report(Outcome::Made, [("picture", how)], 1, Vec::new()))
}

fn not_one() -> JobFailure {
    let message = "Not one picture of the file could be decoded.";
    JobFailure::new(FailureCode::NotDecodable, message)
}

/// When, in [`CLOCK`]: far enough in that a lens cap is off, early enough for a short clip.
fn moment(input: &Input, parameters: &PosterParameters) -> i64 {
    let wanted = i64::from(parameters.at_ms) * 1000;
    let at_us = match input.duration() {
        duration @ 1.. => wanted.min(duration / LATEST_PART),
        _ => wanted,
    };
    at_us.rescale(MICROSECONDS, CLOCK)
}

/// The first picture at or after `at`, else the last there is. Decoded from the start: no seeking, always the same.
fn picture_at(
    input: &mut Input,
    decoder: &mut Pictures,
    index: usize,
    at: i64,
) -> Result<Option<frame::Video>, JobFailure> {
    let mut reader = Reader::default();
    let mut last = None;
    loop {
        let next = reader.next(input);
        match &next {
            Next::Packet(packet) if packet.stream() == index => decoder.feed(Some(packet)),
            Next::Packet(_) => continue,
            Next::End { .. } => decoder.feed(None),
        }
        while let Some(picture) = decoder.next()? {
            if picture.pts().is_some_and(|time| time >= at) {
                return Ok(Some(picture));
            }
            last = Some(picture);
        }
        if matches!(next, Next::End { .. }) {
            return Ok(last);
        }
    }
}

fn encode(picture: &frame::Video, size: (u32, u32), quality: u32) -> Result<Packet, ffmpeg::Error> {
    let codec = ffmpeg::encoder::find_by_name("mjpeg").ok_or(ffmpeg::Error::EncoderNotFound)?;
    let mut encoder = ffmpeg::codec::Context::new_with_codec(codec).encoder().video()?;
    encoder.set_width(size.0);
    encoder.set_height(size.1);
    encoder.set_format(ffmpeg::format::Pixel::YUVJ420P);
    encoder.set_time_base(CLOCK);
    // SAFETY: sets numbers of a context that is not open yet, and the quality of a frame of our own.
    let mut picture = picture.clone();
    unsafe {
        let lambda = ffi::FF_QP2LAMBDA * i32::try_from(quality.clamp(2, 31)).unwrap_or(31);
        let raw = encoder.as_mut_ptr();
        (*raw).flags |= ffi::AV_CODEC_FLAG_QSCALE as i32;
        (*raw).global_quality = lambda;
        (*raw).thread_count = 1;
        (*picture.as_mut_ptr()).quality = lambda;
    }
    let mut encoder = encoder.open_as(codec)?;
    encoder.send_frame(&picture)?;
    encoder.send_eof()?;
    let mut packet = Packet::empty();
    encoder.receive_packet(&mut packet)?;
    Ok(packet)
}

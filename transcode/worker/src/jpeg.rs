//! One picture as JPEG.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::{Packet, ffi, frame};
use transcode_protocol::FailureCode;

use crate::failure::JobFailure;
use crate::video::CLOCK;

/// Encodes a picture in `yuvj420p`. `quality` is 2 (best) to 31.
pub(crate) fn encode(picture: &mut frame::Video, quality: u32) -> Result<Vec<u8>, ffmpeg::Error> {
    let codec = ffmpeg::encoder::find_by_name("mjpeg").ok_or(ffmpeg::Error::EncoderNotFound)?;
    let mut encoder = ffmpeg::codec::Context::new_with_codec(codec).encoder().video()?;
    encoder.set_width(picture.width());
    encoder.set_height(picture.height());
    encoder.set_format(ffmpeg::format::Pixel::YUVJ420P);
    encoder.set_time_base(CLOCK);
    // SAFETY: sets numbers of a context that is not open yet, and the quality of a frame of our own.
    unsafe {
        let lambda = ffi::FF_QP2LAMBDA * i32::try_from(quality.clamp(2, 31)).unwrap_or(31);
        let raw = encoder.as_mut_ptr();
        (*raw).flags |= ffi::AV_CODEC_FLAG_QSCALE as i32;
        (*raw).global_quality = lambda;
        (*raw).thread_count = 1;
        (*picture.as_mut_ptr()).quality = lambda;
        // The same bytes on every machine.
        (*raw).flags |= ffi::AV_CODEC_FLAG_BITEXACT as i32;
    }
    let mut encoder = encoder.open_as(codec)?;
    encoder.send_frame(picture)?;
    encoder.send_eof()?;
    let mut packet = Packet::empty();
    encoder.receive_packet(&mut packet)?;
    Ok(packet.data().unwrap_or_default().to_vec())
}

/// When none was decoded.
pub(crate) fn missing() -> JobFailure {
    JobFailure::new(FailureCode::NotDecodable, "There is no picture to show.")
}

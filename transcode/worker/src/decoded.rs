//! The decoded recipe: what a file shows and sounds like, in two digests. Files whose bytes differ are the same to whoever looks
//! and listens where these are equal.

use std::ptr;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::{ffi, frame};
use serde_json::json;
use transcode_protocol::Report;

use crate::channel::SharedChannel;
use crate::failure::{JobFailure, While as _};
use crate::pass::{Maker, Seen};
use crate::report::report;

const SHA256_HEX_BYTES: usize = 2 * 32 + 1;

/// `decoded.json`, as it grows.
pub(crate) struct Decoded {
    channel: SharedChannel,
    name: &'static str,
    /// Of each picture: its time, size, format and pixels.
    pictures: Hash,
    /// Of each piece of sound: its time, and its samples by channel.
    sound: Hash,
    samples: u64,
}

impl Decoded {
    pub(crate) fn open(channel: SharedChannel, name: &'static str) -> Result<Self, JobFailure> {
        let hash = || Hash::new().while_doing("starting a digest");
        Ok(Self { channel, name, pictures: hash()?, sound: hash()?, samples: 0 })
    }
}

impl Maker for Decoded {
    fn picture(&mut self, picture: &frame::Video) -> Result<(), JobFailure> {
        // SAFETY: reads one number of a decoded frame.
        let format = unsafe { (*picture.as_ptr()).format };
        self.pictures.update(&picture.pts().unwrap_or_default().to_le_bytes());
        for number in [picture.width(), picture.height(), format.cast_unsigned()] {
            self.pictures.update(&number.to_le_bytes());
        }
        for plane in 0..picture.planes() {
            let wide = line_bytes(picture, plane);
            let lines = picture.data(plane).chunks(picture.stride(plane));
            for line in lines.take(picture.plane_height(plane) as usize) {
                self.pictures.update(&line[..wide.min(line.len())]);
            }
        }
        Ok(())
    }

    fn sound(&mut self, piece: &frame::Audio) -> Result<(), JobFailure> {
        self.sound.update(&piece.pts().unwrap_or_default().to_le_bytes());
        for plane in 0..piece.planes() {
            piece.plane::<f32>(plane).iter().for_each(|s| self.sound.update(&s.to_le_bytes()));
        }
        self.samples += piece.samples() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>, seen: &Seen) -> Result<Report, JobFailure> {
        let decoded = json!({
            "v": 1,
            "pictures": {"count": seen.pictures, "sha256": self.pictures.finish()},
            "sound": {"samples": self.samples, "sha256": self.sound.finish()},
        });
        self.channel.output(self.name, decoded.to_string().as_bytes());
        Ok(report([], 1, seen.notes_on_pictures()))
    }
}

/// Bytes of a line that belong to the picture; what comes after them is whatever was there.
fn line_bytes(picture: &frame::Video, plane: usize) -> usize {
    let (format, width) = (picture.format().into(), picture.width().cast_signed());
    // SAFETY: looks a number up.
    let bytes = unsafe { ffi::av_image_get_linesize(format, width, plane as i32) };
    usize::try_from(bytes).unwrap_or(0)
}

/// A SHA-256 by libavutil.
struct Hash(*mut ffi::AVHashContext);

impl Hash {
    fn new() -> Result<Self, ffmpeg::Error> {
        let mut hash = Self(ptr::null_mut());
        // SAFETY: makes the context and initialises it; it is freed when dropped.
        match unsafe { ffi::av_hash_alloc(&mut hash.0, c"SHA256".as_ptr()) } {
            0 => {
                unsafe { ffi::av_hash_init(hash.0) };
                Ok(hash)
            }
            error => Err(error.into()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        // SAFETY: the context is ours, the bytes outlive the call.
        unsafe { ffi::av_hash_update(self.0, bytes.as_ptr(), bytes.len()) }
    }

    /// Lower-case hex.
    fn finish(self) -> String {
        let mut hex = [0; SHA256_HEX_BYTES];
        // SAFETY: writes at most so many bytes, a zero last.
        unsafe { ffi::av_hash_final_hex(self.0, hex.as_mut_ptr(), SHA256_HEX_BYTES as i32) };
        String::from_utf8_lossy(&hex[..SHA256_HEX_BYTES - 1]).into_owned()
    }
}

impl Drop for Hash {
    fn drop(&mut self) {
        // SAFETY: it is ours, or null, which is nothing to free.
        unsafe { ffi::av_hash_freep(&mut self.0) }
    }
}

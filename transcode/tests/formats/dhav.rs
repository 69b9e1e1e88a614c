//! DHAV as recorders by Dahua and many others write it. `ffmpeg` reads it and does not write it, so its frames are made here.
//!
//! A frame is `DHAV`, a kind (fd: a picture that needs none before it, fc: one that does, f0: sound), three bytes, a number, its
//! length, a date in bit fields, milliseconds (16 bits), the length of what is added, a sum; then what is added (size, codec and
//! rate), the payload, and `dhav` with the length again. All numbers are little-endian.

use bytes::Bytes;

use super::clips::encode;

const HEADER_BYTES: usize = 24;
const TRAILER_BYTES: usize = 8;
const RATE: u32 = 25;
/// Two kHz of eight bits in the time of a picture.
const SOUND_BYTES: usize = 8000 / RATE as usize;
/// Second, minute, hour, day, month and years since 2000.
const DATE: u32 = 15 | 30 << 6 | 12 << 12 | 29 << 17 | 3 << 22 | 9 << 26;
/// 320 by 240; H.264 at 25 a second.
const PICTURE_ADDED: [u8; 12] = [0x82, 0, 0, 0, 64, 1, 240, 0, 0x81, 0, 2, RATE as u8];
/// One channel of A-law, 8 kHz.
const SOUND_ADDED: [u8; 4] = [0x83, 1, 0x0e, 2];

/// A recording of 25 pictures a second, and its sound.
pub(crate) fn recorded(picture: &str, sound: &str) -> Bytes {
    let arguments =
        "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 0 -g 25 -x264-params aud=1";
    let pictures = encode(&[picture], arguments, "h264");
    let sound = encode(&[sound], "-c:a pcm_alaw -ar 8000 -f alaw", "alaw");
    let mut file = Vec::new();
    for (at, (picture, sound)) in units(&pictures).zip(sound.chunks(SOUND_BYTES)).enumerate() {
        let kind = if has_key(picture) { 0xfd } else { 0xfc };
        let at = u32::try_from(at).unwrap();
        file.extend(frame(kind, at, &PICTURE_ADDED, picture));
        file.extend(frame(0xf0, at, &SOUND_ADDED, sound));
    }
    file.into()
}

fn frame(kind: u8, at: u32, added: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + added.len() + payload.len() + TRAILER_BYTES).unwrap();
    let milliseconds = u16::try_from(at * 1000 / RATE).unwrap();
    let date = DATE + at / RATE;
    let mut frame = b"DHAV".to_vec();
    frame.extend([kind, 0, 0, 0]);
    frame.extend([at, length, date].iter().flat_map(|number| number.to_le_bytes()));
    frame.extend(milliseconds.to_le_bytes());
    frame.push(u8::try_from(added.len()).unwrap());
    frame.push(frame.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
    frame.extend(added.iter().chain(payload));
    frame.extend(b"dhav");
    frame.extend(length.to_le_bytes());
    frame
}

/// The pictures of a stream in which each begins with a delimiter (ITU-T H.264, Annex B and 7.3.2.4).
fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    const DELIMITER: [u8; 5] = [0, 0, 0, 1, 9];
    let is_begin = |at: &usize| stream[*at..].starts_with(&DELIMITER);
    let begins: Vec<usize> = (0..stream.len()).filter(is_begin).chain([stream.len()]).collect();
    (1..begins.len()).map(move |at| &stream[begins[at - 1]..begins[at]])
}

fn has_key(picture: &[u8]) -> bool {
    picture.windows(4).any(|bytes| bytes[..3] == [0, 0, 1] && bytes[3] & 0x1f == 5)
}

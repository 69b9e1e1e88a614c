//! Clips as cameras, recorders and telephones write them: a second long, small, by Debian's ffmpeg.

use std::process::Command;

const SAMPLES: &str = "/usr/share/forensics-samples/original-files";
const CCTV: &str = "/usr/share/doc/opencv-doc/examples/data";

/// A clip that nothing was done to yet.
#[derive(Debug, Clone)]
pub struct Base {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// Name, what ffmpeg is told about codecs, and the container.
type Written = (&'static str, &'static str, &'static str);

/// Of a test picture and a tone.
const WRITTEN: &[Written] = &[
    ("mp4", "-c:v libx264 -c:a aac", "mp4"),
    ("mp4, index first", "-c:v libx264 -c:a aac -movflags +faststart", "mp4"),
    ("mp4, fragments", "-c:v libx264 -c:a aac -movflags frag_keyframe+empty_moov -g 4", "mp4"),
    ("mp4, hevc", "-c:v libx265 -x265-params log-level=none:pools=1 -tag:v hvc1 -an", "mp4"),
    ("mov", "-c:v mjpeg -c:a pcm_s16le", "mov"),
    ("mov, prores", "-c:v prores -c:a pcm_mulaw", "mov"),
    ("3gp", "-c:v h263 -s 176x144 -c:a aac", "3gp"),
    ("mkv", "-c:v libx264 -c:a libvorbis", "matroska"),
    ("webm", "-c:v libvpx -deadline realtime -c:a libopus", "webm"),
    ("webm, vp9", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -an", "webm"),
    ("avi", "-c:v mpeg4 -c:a mp2", "avi"),
    ("avi, mjpeg", "-c:v mjpeg -c:a pcm_s16le", "avi"),
    ("avi, huffyuv", "-c:v huffyuv -t 0.3 -an", "avi"),
    ("ts", "-c:v libx264 -c:a aac", "mpegts"),
    ("ts, hevc", "-c:v libx265 -x265-params log-level=none:pools=1 -c:a mp2", "mpegts"),
    ("ts, mpeg2", "-c:v mpeg2video -c:a ac3", "mpegts"),
    ("ps", "-c:v mpeg2video -c:a mp2", "vob"),
    ("ps, mpeg1", "-c:v mpeg1video -r 25 -c:a mp2", "mpeg"),
    ("h264", "-c:v libx264 -an", "h264"),
    ("h264, interlaced", "-c:v libx264 -x264-params tff=1 -an", "h264"),
    ("hevc", "-c:v libx265 -x265-params log-level=none:pools=1 -an", "hevc"),
    ("m4v", "-c:v mpeg4 -an", "m4v"),
    ("mjpeg", "-c:v mjpeg -an", "mjpeg"),
    ("jpeg", "-c:v mjpeg -frames:v 1 -an", "mjpeg"),
    ("png", "-c:v png -frames:v 1 -an", "image2pipe"),
    ("flv", "-c:v flv -c:a mp3 -ar 22050", "flv"),
    ("flv, h264", "-c:v libx264 -c:a aac", "flv"),
    ("asf", "-c:v wmv2 -c:a wmav2", "asf"),
    ("asf, msmpeg4", "-c:v msmpeg4 -an", "asf"),
    ("ogg", "-c:v libtheora -c:a libvorbis", "ogg"),
    ("mxf", "-c:v mpeg2video -r 25 -t 0.4 -c:a pcm_s16le -ar 48000", "mxf"),
    ("dv", "-c:v dvvideo -s 720x576 -pix_fmt yuv420p -r 25 -t 0.08 -an", "dv"),
    ("ivf", "-c:v libvpx -deadline realtime -an", "ivf"),
    ("wav", "-vn -c:a pcm_s16le -ar 8000", "wav"),
    ("wav, adpcm", "-vn -c:a adpcm_ima_wav", "wav"),
    ("mp3", "-vn -c:a libmp3lame", "mp3"),
    ("aac", "-vn -c:a aac", "adts"),
    ("flac", "-vn -c:a flac", "flac"),
    ("aiff", "-vn -c:a pcm_s16be -ar 8000", "aiff"),
];

/// Second for second as a real device wrote them.
const RECORDED: &[(&str, &str, &str, &str)] = &[
    ("webcam, mpeg", "movie2/movie-hello.mpeg", "-t 0.5 -c copy", "mpeg"),
    ("webcam, ogg", "movie2/movie-hello.ogg", "-t 0.5 -c copy", "ogg"),
    ("telephone, smaller", "movie1/VID_20191220_170832.mp4", "-t 0.5 -s 320x180 -c:a copy", "mp4"),
    ("fixed camera", "vtest.avi", "-t 0.6 -c copy", "avi"),
    ("cinepak", "tree.avi", "-t 0.5 -c copy", "avi"),
    ("photograph, smaller", "pic1/IMG_1054.JPG", "-s 320x240", "mjpeg"),
];

/// Same machine, same bytes.
const PLAIN: &str = "-map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -threads 1 -preset ultrafast";
const PICTURE: &str = "testsrc2=size=160x128:rate=10:duration=1";
const SOUND: &str = "sine=frequency=440:duration=1";

/// All of them. Takes seconds.
pub(super) fn all() -> Vec<Base> {
    let written = WRITTEN.iter().map(|(name, codecs, container)| {
        let from = format!("-f lavfi -i {PICTURE} -f lavfi -i {SOUND}");
        Base { name, bytes: ffmpeg(&from, codecs, container) }
    });
    let recorded = RECORDED.iter().map(|(name, path, codecs, container)| {
        let folder = if path.contains('/') { SAMPLES } else { CCTV };
        Base { name, bytes: ffmpeg(&format!("-i {folder}/{path}"), codecs, container) }
    });
    let mut all: Vec<Base> = written.chain(recorded).collect();
    let h264 = all.iter().find(|base| base.name == "h264").expect("it is in the list");
    let recorder = dhav(&h264.bytes);
    all.push(Base { name: "dhav", bytes: recorder });
    all
}

/// What ffmpeg writes of `from`; to a file, since containers go back to their beginning.
pub(super) fn ffmpeg(from: &str, codecs: &str, container: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let made = folder.path().join("made");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-y"]).args(from.split_whitespace());
    ffmpeg.args(PLAIN.split_whitespace()).args(codecs.split_whitespace());
    let ran = ffmpeg.args(["-f", container]).arg(&made).output();
    let ran = ran.expect("scripts/setup test installs ffmpeg");
    assert!(ran.status.success(), "{codecs}: {}", String::from_utf8_lossy(&ran.stderr));
    std::fs::read(made).expect("it was made")
}

/// Dahua's container, which ffmpeg reads and does not write: each access unit of a raw H.264 stream as one frame.
fn dhav(h264: &[u8]) -> Vec<u8> {
    const EXTENSION: [u8; 8] = [0x80, 0, 160 / 8, 128 / 8, 0x81, 0, 0x08, 10];
    let starts = h264.windows(5).enumerate();
    // A slice (types 1 and 5) ends a frame.
    let slices = starts.filter(|(_, w)| w[..4] == [0, 0, 0, 1] || w[..3] == [0, 0, 1]);
    let cuts: Vec<usize> = slices.map(|(at, _)| at).collect();
    let mut out = Vec::new();
    for (number, piece) in cuts.windows(2).enumerate() {
        let body = &h264[piece[0]..piece[1]];
        let whole = u32::try_from(24 + EXTENSION.len() + body.len() + 8).expect("a short frame");
        let number = u32::try_from(number).expect("few frames");
        out.extend(b"DHAV\xfd\0\0\0");
        out.extend(number.to_le_bytes());
        out.extend(whole.to_le_bytes());
        out.extend([0x4a, 0x1c, 0x7f, 0x69]);
        out.extend(u16::try_from(number * 100 % 60_000).expect("below the limit").to_le_bytes());
        out.extend([EXTENSION.len() as u8, 0]);
        out.extend(EXTENSION);
        out.extend(body);
        out.extend(b"dhav");
        out.extend(whole.to_le_bytes());
    }
    out
}

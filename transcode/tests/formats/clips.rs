//! The clips: how `ffmpeg` is asked for each, and what a person must get of it.

use std::process::Command;

use bytes::Bytes;

use crate::dhav;

/// Two seconds, 50 pictures.
const PICTURE: &str = "testsrc2=s=320x240:r=25:d=2";
const TONE: &str = "sine=f=440:r=48000:d=2";
/// The same as half pictures: of 50 moments a second.
const HALVES: &str = "testsrc2=s=320x240:r=50:d=2,tinterlace=interleave_top,fieldorder=tff";
/// So many bytes of AMR at 12.2 kbit/s are 20 ms, of which the first says so.
const AMR_FRAME: (usize, u8) = (32, 0x3c);

/// One row of the table.
pub(crate) struct Clip {
    pub(crate) name: &'static str,
    pub(crate) make: Box<dyn FnOnce() -> Bytes + Send>,
    pub(crate) gets: Gets,
}

/// What a person must get.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gets {
    pub(crate) what: What,
    /// None for sound alone.
    pub(crate) size: (u32, u32),
    /// None for as many as `ffprobe` decodes of the original.
    pub(crate) pictures: Option<u64>,
    pub(crate) seconds: f64,
    pub(crate) sound: bool,
    /// Whether it is the original itself that is played.
    pub(crate) as_it_came: bool,
    /// The same, behind a front.
    pub(crate) behind_front: bool,
    /// Begins of what must be noted.
    pub(crate) notes: &'static [&'static str],
    /// What cannot be made.
    pub(crate) fails: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Film,
    Sound,
    Still,
    /// Nothing, with the code of the reason.
    Nothing(&'static str),
}

const FILM: Gets = Gets {
    what: What::Film,
    size: (320, 240),
    pictures: Some(50),
    seconds: 2.0,
    sound: true,
    as_it_came: false,
    behind_front: false,
    notes: &[],
    fails: &[],
};
/// Pictures that are played where they lie.
const LIES: Gets = Gets { behind_front: true, ..FILM };
const SILENT: Gets = Gets { sound: false, ..FILM };
const SOUND: Gets = Gets { what: What::Sound, size: (0, 0), pictures: Some(0), ..FILM };
const STILL: Gets = Gets {
    what: What::Still,
    pictures: Some(1),
    seconds: 0.0,
    sound: false,
    as_it_came: true,
    ..FILM
};

/// Groups of rows, each with its heading.
pub(crate) fn groups() -> Vec<(&'static str, Vec<Clip>)> {
    vec![
        ("Containers and codecs", containers()),
        ("Sound alone, and stills", sound_and_stills()),
        ("Pictures that are not plain", pictures()),
        ("Times that are not plain", times()),
        ("Cut and damaged", damaged()),
    ]
}

/// A clip of the usual picture and tone.
fn usual(name: &'static str, arguments: &'static str, extension: &'static str) -> Clip {
    made(name, &[PICTURE, TONE], arguments, extension, FILM)
}

fn made(
    name: &'static str,
    inputs: &'static [&'static str],
    arguments: &'static str,
    extension: &'static str,
    gets: Gets,
) -> Clip {
    built(name, move || encode(inputs, arguments, extension), gets)
}

fn built(name: &'static str, make: impl FnOnce() -> Bytes + Send + 'static, gets: Gets) -> Clip {
    Clip { name, make: Box::new(make), gets }
}

impl Clip {
    fn gets(self, gets: Gets) -> Self {
        Self { gets, ..self }
    }
}

/// What Debian's `ffmpeg` makes of some sources.
pub(crate) fn encode(inputs: &[&str], arguments: &str, extension: &str) -> Bytes {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("clip").with_extension(extension);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error"]);
    for input in inputs {
        ffmpeg.args(["-f", "lavfi", "-i", input]);
    }
    ffmpeg.args(arguments.split_whitespace());
    ffmpeg.args(["-threads", "1", "-fflags", "+bitexact", "-strict", "experimental"]).arg(&target);
    let out = ffmpeg.output().unwrap();
    assert!(out.status.success(), "{ffmpeg:?}: {}", String::from_utf8_lossy(&out.stderr));
    std::fs::read(target).unwrap().into()
}

fn containers() -> Vec<Clip> {
    const H264: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25";
    let plays = Gets { as_it_came: true, ..FILM };
    let unknown = Gets {
        notes: &["the picture cannot be decoded and is missing"],
        fails: &["poster", "thumbnails", "frames", "scenes"],
        ..SOUND
    };
    let unplanned =
        Gets { notes: &["pictures without a time, shown 25.00 a second: all"], ..SILENT };
    vec![
        usual("MP4: H.264, AAC", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac", "mp4").gets(plays),
        usual("MP4, fragmented: H.264, AAC", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac -movflags frag_keyframe+empty_moov+default_base_moof", "mp4").gets(plays),
        usual("MP4: H.264, MP3", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a libmp3lame", "mp4").gets(LIES),
        usual("MP4: HEVC, AAC", "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1 -pix_fmt yuv420p -tag:v hvc1 -c:a aac", "mp4"),
        usual("MP4: MPEG-4, AAC", "-c:v mpeg4 -c:a aac", "mp4"),
        usual("MP4: MPEG-2, AAC", "-c:v mpeg2video -c:a aac", "mp4"),
        usual("MP4: AV1, Opus", "-c:v libsvtav1 -preset 12 -svtav1-params lp=1 -c:a libopus", "mp4"),
        usual("MOV: H.264, PCM", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a pcm_s16le", "mov").gets(LIES),
        usual("MOV: HEVC, AAC", "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1 -pix_fmt yuv420p -c:a aac", "mov"),
        usual("MOV: MJPEG, µ-law", "-c:v mjpeg -pix_fmt yuvj420p -c:a pcm_mulaw -ar 8000", "mov"),
        usual("3GP: H.264, AAC", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac", "3gp").gets(plays),
        built("3GP: H.263, AMR", telephone, Gets { size: (176, 144), ..FILM }),
        usual("MKV: H.264, PCM", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a pcm_s16le", "mkv").gets(LIES),
        usual("MKV: H.264, AAC", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac", "mkv").gets(LIES),
        usual("MOV: H.264, AAC", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac", "mov").gets(LIES),
        usual("MKV: HEVC, Opus", "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1 -pix_fmt yuv420p -c:a libopus", "mkv"),
        usual("MKV: MPEG-4, MP3", "-c:v mpeg4 -c:a libmp3lame", "mkv"),
        usual("MKV: MPEG-2, AC-3", "-c:v mpeg2video -c:a ac3", "mkv"),
        usual("MKV: MJPEG, A-law", "-c:v mjpeg -pix_fmt yuvj420p -c:a pcm_alaw -ar 8000", "mkv"),
        usual("WebM: VP8, Vorbis", "-c:v libvpx -deadline realtime -c:a libvorbis", "webm"),
        usual("WebM: VP9, Opus", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus", "webm"),
        usual("WebM: AV1, Opus", "-c:v libsvtav1 -preset 12 -svtav1-params lp=1 -c:a libopus", "webm"),
        usual("AVI: H.264, PCM", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 0 -c:a pcm_s16le", "avi"),
        usual("AVI: MPEG-4, MP3", "-c:v mpeg4 -vtag XVID -c:a libmp3lame", "avi"),
        usual("AVI: MS-MPEG4 v2, PCM", "-c:v msmpeg4v2 -c:a pcm_s16le", "avi"),
        usual("AVI: MS-MPEG4 v3, MP3", "-c:v msmpeg4 -c:a libmp3lame", "avi"),
        usual("AVI: MJPEG, µ-law", "-c:v mjpeg -pix_fmt yuvj420p -c:a pcm_mulaw -ar 8000", "avi"),
        usual("AVI: MJPEG, A-law", "-c:v mjpeg -pix_fmt yuvj422p -c:a pcm_alaw -ar 8000", "avi"),
        usual("AVI: MPEG-2, MP2", "-c:v mpeg2video -c:a mp2", "avi"),
        usual("AVI: uncompressed YUV, PCM", "-c:v rawvideo -pix_fmt yuyv422 -c:a pcm_u8", "avi"),
        // Asked to be exact, ffmpeg writes this under a name that it does not read.
        usual("AVI: a picture that nobody knows, PCM", "-c:v rawvideo -pix_fmt bgr24 -c:a pcm_u8", "avi").gets(unknown),
        usual("WMV (ASF): WMV 2, WMA 2", "-c:v wmv2 -c:a wmav2", "wmv"),
        usual("ASF: MS-MPEG4 v3, MP3", "-c:v msmpeg4 -c:a libmp3lame", "asf"),
        usual("MPEG-TS: H.264, AAC", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac", "ts"),
        usual("MPEG-TS: HEVC, AAC", "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1 -pix_fmt yuv420p -c:a aac", "ts"),
        usual("MPEG-TS: MPEG-2, MP2", "-c:v mpeg2video -c:a mp2", "ts"),
        usual("MPEG-TS (192 bytes): H.264, AC-3", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a ac3 -mpegts_m2ts_mode 1", "m2ts"),
        usual("MPEG-PS: MPEG-2, MP2", "-c:v mpeg2video -c:a mp2 -f vob", "vob"),
        usual("MPEG-PS: MPEG-1, MP2", "-c:v mpeg1video -c:a mp2 -f mpeg", "mpg"),
        usual("MPEG-PS: H.264, MP2", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a mp2 -f vob", "vob"),
        built("MPEG-PS behind a recorder's header (IMKH): H.264", || imkh(encode(&[PICTURE], &format!("{H264} -f vob"), "vob")), SILENT),
        usual("FLV: H.264, AAC", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac", "flv").gets(LIES),
        usual("FLV: Sorenson, MP3", "-c:v flv -c:a libmp3lame -ar 44100", "flv"),
        usual("FLV: H.264, A-law", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a pcm_alaw -ar 8000", "flv").gets(LIES),
        built("DHAV: H.264, A-law", || dhav::recorded(PICTURE, TONE), FILM),
        usual("Ogg: Theora, Vorbis", "-c:v libtheora -c:a libvorbis", "ogv"),
        usual("MXF: MPEG-2, PCM", "-c:v mpeg2video -c:a pcm_s16le", "mxf"),
        made("IVF: VP8", &[PICTURE], "-c:v libvpx -deadline realtime", "ivf", SILENT),
        made("raw H.264", &[PICTURE], "-c:v libx264 -preset ultrafast -pix_fmt yuv420p", "h264", unplanned),
        made("raw HEVC", &[PICTURE], "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1 -pix_fmt yuv420p", "hevc", unplanned),
        made("raw MPEG-4", &[PICTURE], "-c:v mpeg4", "m4v", SILENT),
        made("raw MPEG-2", &[PICTURE], "-c:v mpeg2video", "m2v", SILENT),
        made("raw MJPEG", &[PICTURE], "-c:v mjpeg -pix_fmt yuvj420p -f mjpeg", "mjpeg", SILENT),
    ]
}

fn sound_and_stills() -> Vec<Clip> {
    let sound = |name, arguments, extension| made(name, &[TONE], arguments, extension, SOUND);
    let still = |name, arguments, extension| {
        made(name, &["testsrc2=s=320x240:r=25:d=0.04"], arguments, extension, STILL)
    };
    let nothing = |code| Gets { what: What::Nothing(code), as_it_came: false, ..STILL };
    vec![
        sound("WAV: PCM", "-c:a pcm_s16le", "wav"),
        sound("WAV: µ-law", "-c:a pcm_mulaw -ar 8000", "wav"),
        sound("MP3", "-c:a libmp3lame", "mp3"),
        sound("AAC (ADTS)", "-c:a aac", "aac"),
        sound("M4A: AAC", "-c:a aac", "m4a"),
        sound("FLAC", "-c:a flac", "flac"),
        sound("Ogg: Opus", "-c:a libopus", "ogg"),
        sound("AIFF: PCM", "-c:a pcm_s16be", "aiff"),
        built("AMR", || amr().into(), SOUND),
        still("JPEG", "-c:v mjpeg -pix_fmt yuvj420p", "jpg"),
        still("PNG", "-c:v png", "png"),
        still("BMP", "-c:v bmp", "bmp").gets(nothing("format-refused")),
        still("TIFF", "-c:v tiff", "tiff").gets(nothing("format-refused")),
        still("WebP", "-c:v libwebp", "webp").gets(nothing("format-refused")),
    ]
}

fn pictures() -> Vec<Clip> {
    const WHOLE: &[&str] = &["interlaced pictures made whole: all"];
    const DIGITAL_VIDEO: &[&str] = &[
        "pixels are not square: 720x576 is shown as 768x576",
        "interlaced pictures made whole: all",
    ];
    const BRIGHT: &[&str] = &["pictures of high dynamic range mapped to the usual range: all"];
    let upright = Gets { size: (240, 320), notes: &["turned by 90 degrees clockwise"], ..FILM };
    let whole = Gets { notes: WHOLE, ..FILM };
    let bright = Gets { notes: BRIGHT, ..FILM };
    let sized = |size, notes| Gets { size, notes, ..SILENT };
    let of_size = |name, source: &'static [&'static str], arguments, extension, size, notes| {
        made(name, source, arguments, extension, sized(size, notes))
    };
    vec![
        built(
            "upright telephone: MP4, H.264, turned by 90 degrees",
            || turned("-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac", "mp4"),
            Gets { as_it_came: true, notes: &[], ..upright },
        ),
        built(
            "upright telephone: MOV, HEVC, turned by 90 degrees",
            || {
                turned(
                    "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1 -pix_fmt yuv420p -c:a aac",
                    "mov",
                )
            },
            upright,
        ),
        made(
            "interlaced: MPEG-TS, MPEG-2",
            &[HALVES, TONE],
            "-c:v mpeg2video -flags +ildct+ilme -top 1 -c:a mp2",
            "ts",
            whole,
        ),
        made(
            "interlaced: MP4, H.264",
            &[HALVES, TONE],
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -flags +ildct+ilme -x264-params tff=1 -c:a aac",
            "mp4",
            whole,
        ),
        made(
            "interlaced: AVI, DV",
            &["testsrc2=s=720x576:r=50:d=2,tinterlace=interleave_bottom", TONE],
            "-c:v dvvideo -pix_fmt yuv420p -aspect 4:3 -c:a pcm_s16le",
            "avi",
            Gets { size: (768, 576), notes: DIGITAL_VIDEO, ..FILM },
        ),
        of_size(
            "odd size: AVI, MJPEG, 321x241",
            &["testsrc=s=321x241:r=25:d=2"],
            "-c:v mjpeg -pix_fmt yuvj444p",
            "avi",
            (320, 240),
            &["scaled from 321x241 to 320x240"],
        ),
        of_size(
            "larger than the viewing copy: MKV, MPEG-4, 1920x1080",
            &["testsrc2=s=1920x1080:r=25:d=2"],
            "-c:v mpeg4",
            "mkv",
            (1280, 720),
            &["scaled from 1920x1080 to 1280x720"],
        ),
        of_size(
            "pixels not square: MPEG-PS, MPEG-2, 352x288 at 12:11",
            &["testsrc2=s=352x288:r=25:d=2,setsar=12/11"],
            "-c:v mpeg2video -f vob",
            "vob",
            (384, 288),
            &["pixels are not square: 352x288 is shown as 384x288"],
        ),
        of_size(
            "pixels not square: MP4, H.264, 352x288 at 12:11",
            &["testsrc2=s=352x288:r=25:d=2,setsar=12/11"],
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p",
            "mp4",
            (384, 288),
            &[],
        )
        .played_as_it_came(),
        made(
            "high dynamic range (PQ): MP4, HEVC, 10 bits",
            &[PICTURE, TONE],
            "-vf format=yuv420p10le -c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc -c:a aac",
            "mp4",
            bright,
        ),
        made(
            "high dynamic range (HLG): MOV, HEVC, 10 bits",
            &[PICTURE, TONE],
            "-vf format=yuv420p10le -c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc -c:a aac",
            "mov",
            bright,
        ),
        usual(
            "10 bits: MP4, H.264",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p10le -c:a aac",
            "mp4",
        ),
        usual(
            "colour at full resolution: MP4, H.264, 4:4:4",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv444p -c:a aac",
            "mp4",
        ),
        usual(
            "red, green, blue: MP4, H.264",
            "-c:v libx264rgb -preset ultrafast -pix_fmt rgb24 -c:a aac",
            "mp4",
        ),
        usual(
            "full range: MP4, H.264",
            "-c:v libx264 -preset ultrafast -pix_fmt yuvj420p -c:a aac",
            "mp4",
        )
        .played_as_it_came(),
        made(
            "no sound: MP4, H.264",
            &[PICTURE],
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p",
            "mp4",
            SILENT,
        )
        .played_as_it_came(),
        made(
            "two pictures: MKV, H.264",
            &[PICTURE, TONE, "testsrc=s=160x120:r=25:d=2"],
            "-map 0 -map 1 -map 2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a pcm_s16le",
            "mkv",
            Gets { notes: &["streams of pictures left out: 1"], ..LIES },
        ),
        made(
            "two pictures: MP4, H.264",
            &[PICTURE, TONE, "testsrc=s=160x120:r=25:d=2"],
            "-map 0 -map 1 -map 2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac",
            "mp4",
            Gets { notes: &["streams of pictures left out: 1"], ..LIES },
        ),
        made(
            "two sounds: MKV, H.264, PCM",
            &[PICTURE, TONE, "sine=f=880:r=48000:d=2"],
            "-map 0 -map 1 -map 2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a pcm_s16le",
            "mkv",
            Gets { notes: &["streams of sound left out: 1"], ..LIES },
        ),
        usual(
            "six channels: MKV, H.264, AC-3",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a ac3 -ac 6",
            "mkv",
        )
        .gets(Gets { notes: &["sound of 6 channels was mixed to two"], ..LIES }),
        built(
            "size changes in the middle: MPEG-TS, H.264",
            || {
                let arguments = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";
                let small = encode(&["testsrc2=s=320x240:r=25:d=1"], arguments, "ts");
                let large = encode(
                    &["testsrc2=s=640x480:r=25:d=1"],
                    &format!("{arguments} -output_ts_offset 1"),
                    "ts",
                );
                [small, large].concat().into()
            },
            SILENT,
        ),
    ]
}

impl Clip {
    fn played_as_it_came(mut self) -> Self {
        self.gets.as_it_came = true;
        self
    }
}

fn times() -> Vec<Clip> {
    let silent = |pictures, seconds| Gets { pictures: Some(pictures), seconds, ..SILENT };
    let jumps = Gets {
        pictures: Some(50),
        seconds: 2.0,
        notes: &["jumps of the time stamps, joined: 1"],
        ..FILM
    };
    vec![
        made(
            "1 picture a second: AVI, MJPEG",
            &["testsrc2=s=320x240:r=1:d=4"],
            "-c:v mjpeg -pix_fmt yuvj420p",
            "avi",
            silent(4, 4.0),
        ),
        made(
            "60 pictures a second: MKV, H.264",
            &["testsrc2=s=320x240:r=60:d=2"],
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p",
            "mkv",
            Gets { behind_front: true, ..silent(120, 2.0) },
        ),
        made(
            "variable rate: MKV, H.264",
            &["testsrc2=s=320x240:r=25:d=4,select='lt(mod(n\\,25)\\,5)+eq(mod(n\\,7)\\,0)'"],
            "-vsync vfr -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
            "mkv",
            Gets { behind_front: true, ..silent(32, 3.96) },
        ),
        usual(
            "starts at an hour: MPEG-TS, H.264, AAC",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac -output_ts_offset 3600",
            "ts",
        ),
        usual(
            "time stamps run over (33 bits): MPEG-TS, H.264, AAC",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac -output_ts_offset 95441.5",
            "ts",
        ),
        made(
            "sound starts a second after the picture: MKV, H.264, PCM",
            &[PICTURE, "sine=f=440:r=48000:d=1,asetpts=PTS+1/TB"],
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a pcm_s16le",
            "mkv",
            LIES,
        ),
        made(
            "picture starts a second after the sound: MKV, H.264, PCM",
            &["testsrc2=s=320x240:r=25:d=1,setpts=PTS+1/TB", TONE],
            "-vsync passthrough -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a pcm_s16le",
            "mkv",
            Gets { pictures: Some(25), ..LIES },
        ),
        built("jumps back by 100 s: MPEG-TS, H.264, AAC", || twice("100", "0", TS), jumps),
        built("jumps ahead by an hour: MPEG-TS, H.264, AAC", || twice("0", "3600", TS), jumps),
        built("jumps back by 100 s: MPEG-PS, MPEG-2, MP2", || twice("100", "0", PS), jumps),
        built(
            "starts anew twice: MPEG-TS, H.264, AAC",
            || [twice("200", "100", TS), twice("0", "50", TS)].concat().into(),
            Gets {
                pictures: Some(100),
                seconds: 4.0,
                notes: &["jumps of the time stamps, joined: 3"],
                ..FILM
            },
        ),
    ]
}

fn damaged() -> Vec<Clip> {
    const MP4: &str =
        "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 10 -c:a aac -movflags +faststart";
    let cut = |seconds| Gets { pictures: None, seconds, ..FILM };
    let half = |whole: Bytes| whole.slice(..whole.len() / 2);
    vec![
        built(
            "cut in half, index first: MP4, H.264, AAC",
            move || half(encode(&[PICTURE, TONE], MP4, "mp4")),
            Gets { behind_front: true, ..cut(1.0) },
        ),
        built(
            "cut in half, fragmented: MP4, H.264, AAC",
            move || {
                half(encode(
                    &[PICTURE, TONE],
                    "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 5 -c:a aac -movflags frag_keyframe+empty_moov+default_base_moof",
                    "mp4",
                ))
            },
            Gets { behind_front: true, ..cut(1.0) },
        ),
        built(
            "cut in half, index last: MP4, H.264, AAC",
            move || {
                half(encode(
                    &[PICTURE, TONE],
                    "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac",
                    "mp4",
                ))
            },
            Gets { what: What::Nothing("unreadable"), ..FILM },
        ),
        built(
            "cut in half: AVI, MJPEG, µ-law",
            move || {
                half(encode(
                    &[PICTURE, TONE],
                    "-c:v mjpeg -pix_fmt yuvj420p -c:a pcm_mulaw -ar 8000",
                    "avi",
                ))
            },
            cut(0.76),
        ),
        built(
            "cut in half: MKV, MJPEG, PCM",
            move || {
                half(encode(
                    &["testsrc2=s=320x240:r=25:d=4", "sine=f=440:r=48000:d=4"],
                    "-c:v mjpeg -pix_fmt yuvj420p -c:a pcm_s16le",
                    "mkv",
                ))
            },
            cut(1.9),
        ),
        built(
            "cut in half: MKV, H.264, PCM",
            move || {
                half(encode(
                    &[PICTURE, TONE],
                    "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a pcm_s16le",
                    "mkv",
                ))
            },
            Gets { behind_front: true, ..cut(1.0) },
        ),
        built(
            "cut in half: MPEG-TS, MPEG-2, MP2",
            move || half(encode(&[PICTURE, TONE], "-c:v mpeg2video -g 1 -c:a mp2", "ts")),
            cut(0.9),
        ),
        built(
            "a tenth zeroed in the middle: MPEG-TS, MPEG-2, MP2",
            || zeroed(&encode(&[PICTURE, TONE], "-c:v mpeg2video -g 5 -c:a mp2", "ts")),
            Gets { pictures: None, ..FILM },
        ),
    ]
}

const TS: (&str, &str) = ("-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac", "ts");
const PS: (&str, &str) = ("-c:v mpeg2video -c:a mp2 -f vob", "vob");

/// A second, and behind it another of which the clock begins elsewhere: what a recorder leaves that was started anew.
fn twice(first_s: &str, second_s: &str, (arguments, extension): (&str, &str)) -> Bytes {
    let one = |at: &str| {
        let sources = ["testsrc2=s=320x240:r=25:d=1", "sine=f=440:r=48000:d=1"];
        encode(&sources, &format!("{arguments} -output_ts_offset {at}"), extension)
    };
    [one(first_s), one(second_s)].concat().into()
}

fn turned(arguments: &str, extension: &str) -> Bytes {
    let level = encode(&[PICTURE, TONE], arguments, extension);
    let turn = ["-c", "copy", "-metadata:s:v:0", "rotate=270"];
    crate::support::ffmpeg(&level, &turn, extension)
}

/// A recorder's own 40 bytes in front of a program stream.
fn imkh(stream: Bytes) -> Bytes {
    let mut header = [0u8; 40];
    header[..4].copy_from_slice(b"IMKH");
    [&header[..], &stream].concat().into()
}

fn zeroed(whole: &Bytes) -> Bytes {
    let mut bytes = whole.to_vec();
    let (from, length) = (whole.len() / 2, whole.len() / 10);
    bytes[from..from + length].fill(0);
    bytes.into()
}

/// Two seconds of AMR (RFC 4867, section 5): `ffmpeg` here has no encoder, and any bits are some sound.
fn amr() -> Vec<u8> {
    let (length, header) = AMR_FRAME;
    let mut bits = 1u32;
    let mut frame = || {
        let noise = std::iter::repeat_with(|| {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (bits >> 24) as u8
        });
        std::iter::once(header).chain(noise.take(length - 1)).collect::<Vec<_>>()
    };
    let frames: Vec<u8> = (0..100).flat_map(|_| frame()).collect();
    [b"#!AMR\n".to_vec(), frames].concat()
}

/// An old telephone's.
fn telephone() -> Bytes {
    let picture = encode(&["testsrc2=s=176x144:r=25:d=2"], "-c:v h263", "3gp");
    let (picture, sound) = (crate::support::file(&picture), crate::support::file(&amr()));
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("clip.3gp");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(picture.path());
    ffmpeg.args(["-f", "amr", "-i"]).arg(sound.path()).args(["-c", "copy"]).arg(&target);
    let out = ffmpeg.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read(target).unwrap().into()
}

//! Opens the original: through our ranges only, as one of the formats in the list only.

use std::ffi::CStr;
use std::ops::Range;
use std::ptr;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::ffi;
use ffmpeg_next::format::context::{Input, StreamIo};
use ffmpeg_next::{Dictionary, Packet, Rescale};
use libc::{c_char, c_int};
use transcode_protocol::FailureCode;

use crate::channel::{RangeReader, SharedChannel};
use crate::failure::{JobFailure, While as _};
use crate::scan::MICROSECONDS;
use crate::structure::{self, Family, Structure};

/// Formats that are read: recorders, cameras, phones, stills. None of them names other files or hosts (the one
/// mechanism inside MP4 that does is off). Playlists, concatenations and image sequences are not in the list.
const FORMATS: &str = "mov,matroska,avi,mpeg,mpegts,mpegvideo,h264,hevc,m4v,mjpeg,ogg,asf,flv,mxf,\
    dhav,dv,ivf,wav,aiff,au,mp3,aac,ac3,flac,amr,jpeg_pipe,png_pipe";
/// What the worker itself makes.
const MADE_FORMATS: &str = "mov";
/// More streams than any recorder writes.
const MAX_STREAMS: &str = "32";
/// Errors in a row after which a demuxer is taken to be stuck.
const MAX_ERRORS_IN_A_ROW: u32 = 1000;
/// A time further from zero is damage: 2³² seconds, as an NTP clock counts. Sums of a few such times still fit, in any clock.
const LONGEST_US: u64 = (1 << 32) * 1_000_000;
const IO_BUFFER_BYTES: usize = 64 << 10;
/// libavformat looks at this much to name a format.
const GUESS_BYTES: usize = 64 << 10;

/// An opened original.
pub(crate) struct Original {
    pub(crate) input: Input,
    pub(crate) structure: Structure,
}

/// What reading a packet gave.
pub(crate) enum Next {
    Packet(Packet),
    /// The end; `clean` where the demuxer said so itself.
    End {
        clean: bool,
    },
}

/// Reads packets, stepping over damage.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) errors: u64,
    in_a_row: u32,
}

/// Opens the original behind `channel`.
pub(crate) fn open(channel: &SharedChannel) -> Result<Original, JobFailure> {
    if channel.size_bytes() == 0 {
        return Err(unreadable("The file is empty."));
    }
    let mut reader = channel.reader();
    let structure = structure::inspect(&mut reader);
    match open_input(channel.reader(), FORMATS) {
        Ok(input) => Ok(Original { input, structure }),
        Err(error) => Err(explain(error, &mut reader, &structure)),
    }
}

/// Opens what a worker made before, which lies at `bytes`.
pub(crate) fn open_made(channel: &SharedChannel, bytes: Range<u64>) -> Result<Input, JobFailure> {
    open_input(channel.reader_of(bytes), MADE_FORMATS).while_doing("opening a range")
}

/// Goes to where a picture or sound of a stream lies that comes at or before `time`, by the stream's clock; or somewhere near: whoever
/// reads on looks where that is.
pub(crate) fn seek(input: &mut Input, stream: usize, time: i64) -> Result<(), ffmpeg::Error> {
    let stream = c_int::try_from(stream).map_err(|_| ffmpeg::Error::StreamNotFound)?;
    // SAFETY: an open context, which looks the stream up by its number.
    match unsafe { ffi::av_seek_frame(input.as_mut_ptr(), stream, time, ffi::AVSEEK_FLAG_BACKWARD) }
    {
        error @ ..0 => Err(error.into()),
        _ => Ok(()),
    }
}

impl Reader {
    /// The next packet that can be read.
    pub(crate) fn next(&mut self, input: &mut Input) -> Next {
        loop {
            let mut packet = Packet::empty();
            match packet.read(input) {
                Ok(()) => {
                    self.in_a_row = 0;
                    forget_impossible_times(&mut packet, input);
                    return Next::Packet(packet);
                }
                Err(ffmpeg::Error::Eof) => return Next::End { clean: true },
                Err(ffmpeg::Error::InvalidData) if self.in_a_row < MAX_ERRORS_IN_A_ROW => {
                    self.errors += 1;
                    self.in_a_row += 1;
                }
                Err(_) => {
                    self.errors += 1;
                    return Next::End { clean: false };
                }
            }
        }
    }
}

/// Whether something can be recorded at this time, or last so long. What libav could not compute is neither.
pub(crate) fn is_possible(us: i64) -> bool {
    us.unsigned_abs() <= LONGEST_US
}

/// Times are arithmetic's from here on, and footage chooses them.
fn forget_impossible_times(packet: &mut Packet, input: &Input) {
    let Some(base) = input.stream(packet.stream()).map(|stream| stream.time_base()) else { return };
    let possible = |ticks: &i64| is_possible(ticks.rescale(base, MICROSECONDS));
    packet.set_pts(packet.pts().filter(possible));
    packet.set_dts(packet.dts().filter(possible));
    if !possible(&packet.duration()) {
        packet.set_duration(0);
    }
}

/// Whether the container says that it is not shown.
pub(crate) fn is_left_out(packet: &Packet) -> bool {
    use ffmpeg::packet::Ref as _;
    // SAFETY: reads one number of a packet.
    let flags = unsafe { (*packet.as_ptr()).flags };
    flags & ffi::AV_PKT_FLAG_DISCARD != 0
}

/// What decoders need before all else, as the container has it.
pub(crate) fn configuration(stream: &ffmpeg::Stream<'_>) -> Vec<u8> {
    // SAFETY: the configuration is that of a stream of an open context, and its length its own.
    unsafe {
        let parameters = &*(*stream.as_ptr()).codecpar;
        let length = usize::try_from(parameters.extradata_size).unwrap_or(0);
        match parameters.extradata.is_null() {
            true => Vec::new(),
            false => std::slice::from_raw_parts(parameters.extradata, length).to_vec(),
        }
    }
}

/// Whether what comes beside a packet says that it is to be decoded in another way than `configuration` says.
pub(crate) fn changes_decoding(packet: &Packet, configuration: &[u8]) -> bool {
    use ffmpeg::codec::packet::side_data::Type;
    packet.side_data().any(|beside| match beside.kind() {
        Type::NewExtraData => beside.data() != configuration,
        Type::ParamChange | Type::EncryptionInitInfo | Type::EncryptionInfo => true,
        _ => false,
    })
}

/// Position, as thousandths of the file.
pub(crate) fn permille(packet: &Packet, size_bytes: u64) -> Option<u16> {
    let position = u64::try_from(packet.position()).ok()?;
    u16::try_from(position.saturating_mul(1000) / size_bytes.max(1)).ok().map(|p| p.min(1000))
}

fn open_input(reader: RangeReader, formats: &str) -> Result<Input, ffmpeg::Error> {
    let mut io = StreamIo::from_read_seek_with_capacity(reader, IO_BUFFER_BYTES)?;
    let mut options = Dictionary::new();
    options.set("format_whitelist", formats);
    options.set("protocol_whitelist", "");
    options.set("max_streams", MAX_STREAMS);
    // SAFETY: the context is allocated here, given our IO before it is opened, and handed over to `Input`, which frees
    // it together with the IO; on failure libav frees it and `io` frees itself.
    unsafe {
        let mut context = ffi::avformat_alloc_context();
        if context.is_null() {
            return Err(ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM });
        }
        (*context).pb = io.as_mut_ptr();
        (*context).flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
        (*context).io_open = Some(refuse_to_open);
        let mut options = options.disown();
        let opened = ffi::avformat_open_input(&mut context, ptr::null(), ptr::null(), &mut options);
        drop(Dictionary::own(options));
        if opened < 0 {
            return Err(opened.into());
        }
        let read = ffi::avformat_find_stream_info(context, ptr::null_mut());
        let input = Input::wrap_with_custom_io(context, io);
        if read < 0 { Err(read.into()) } else { Ok(input) }
    }
}

/// What libav calls when footage names another file or host.
unsafe extern "C" fn refuse_to_open(
    _: *mut ffi::AVFormatContext,
    _: *mut *mut ffi::AVIOContext,
    _: *const c_char,
    _: c_int,
    _: *mut *mut ffi::AVDictionary,
) -> c_int {
    ffi::AVERROR(libc::EPERM)
}

/// Why the original could not be opened, in words that help the reader of a list of failures.
fn explain(error: ffmpeg::Error, reader: &mut RangeReader, structure: &Structure) -> JobFailure {
    if error == (ffmpeg::Error::Other { errno: libc::ENOMEM }) {
        return JobFailure::av("opening the file", error);
    }
    if structure.family == Family::Mp4 && !structure.has_index {
        return unreadable(&no_index(structure));
    }
    match guess(reader) {
        Some(name) if !is_in_list(&name) => JobFailure::new(
            FailureCode::FormatRefused,
            format!(
                "The file looks like '{name}', which is not among the formats read as footage."
            ),
        ),
        Some(name) => unreadable(&format!("The file looks like '{name}' but is damaged: {error}.")),
        None => unreadable("The file is in no format this program knows."),
    }
}

fn no_index(structure: &Structure) -> String {
    let missing = structure.missing_bytes.unwrap_or(0);
    let tail = if missing > 0 {
        format!(", and at least {missing} bytes are missing at the end")
    } else {
        String::new()
    };
    format!(
        "The index (moov) of this MP4 file is missing: it was cut off before it was complete. \
         {} bytes of media are there{tail}.",
        structure.media_bytes
    )
}

fn unreadable(message: &str) -> JobFailure {
    JobFailure::new(FailureCode::Unreadable, message)
}

fn is_in_list(name: &str) -> bool {
    name.split(',').any(|one| FORMATS.split(',').any(|known| known == one))
}

/// The name libavformat has for bytes like these, whether or not it is in our list.
fn guess(reader: &mut RangeReader) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};
    reader.seek(SeekFrom::Start(0)).ok()?;
    let mut start = vec![0; GUESS_BYTES];
    let mut filled = 0;
    while let Ok(count @ 1..) = reader.read(&mut start[filled..]) {
        filled += count;
    }
    start.truncate(filled);
    start.resize(filled + ffi::AVPROBE_PADDING_SIZE as usize, 0);
    let mut score = 0;
    let probe = ffi::AVProbeData {
        filename: c"".as_ptr(),
        buf: start.as_mut_ptr(),
        buf_size: c_int::try_from(filled).ok()?,
        mime_type: ptr::null(),
    };
    // SAFETY: the buffer is padded as libavformat asks, and outlives the call; the format is static.
    unsafe {
        let format = ffi::av_probe_input_format3(&probe, 1, &mut score);
        if format.is_null() {
            return None;
        }
        Some(CStr::from_ptr((*format).name).to_string_lossy().into_owned())
    }
}

//! The probe recipe: what a file is, and whether its packets cover what it declares.

use std::ffi::CStr;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Rescale, ffi};
use transcode_protocol::probe::{
    Audio, Browser, Coverage, Location, LocationSource, Probe, Scan, Signature, SignatureKind,
    Stream, StreamKind, Tag, Verdict, Video,
};
use transcode_protocol::{FailureCode, MAX_ENTRIES, MAX_TEXT_CHARS, Report};

use crate::avc::Why;
use crate::channel::SharedChannel;
use crate::failure::JobFailure;
use crate::front::{self, Expected};
use crate::input;
use crate::location::{self, PLACE_TAGS};
use crate::pass::best;
use crate::place::{Point, iso6709};
use crate::report::report;
use crate::scan::{Counted, MICROSECONDS, Scanned, scan};
use crate::structure::{Family, Structure};

/// A shorter difference between declared and covered length is rounding, an edit list or a last frame.
const TOLERANCE_US: i64 = 400_000;
/// … or this share of the declared length, or twice the longest step between pictures, whichever is most.
const TOLERANCE_PART: i64 = 100;

/// Stills that browsers show as they are.
const STILLS: [&str; 2] = ["jpeg_pipe", "png_pipe"];
/// A photograph may carry others behind it (smaller ones, depth, brightness); a recorder's pictures in a row are more.
const MOST_IN_A_STILL: u64 = 8;

/// Makes `probe.json`.
pub(crate) fn make(channel: &SharedChannel, name: &str) -> Result<Report, JobFailure> {
    let probe = probe(channel)?;
    let bytes = serde_json::to_vec_pretty(&probe).expect("plain data is always JSON");
    channel.output(name, &bytes);
    Ok(report([], 1, Vec::new()))
}

/// Looks at the whole original.
fn probe(channel: &SharedChannel) -> Result<Probe, JobFailure> {
    let mut original = input::open(channel)?;
    let declared_us = declared_duration(&original.input);
    let estimated = Some(original.input.duration()).filter(|duration| *duration > 0);
    let scanned = scan(&mut original.input, channel);
    let input = &original.input;
    let streams: Vec<Stream> = input
        .streams()
        .zip(&scanned.streams)
        .map(|(stream, counted)| describe(&stream, counted))
        .collect();
    if scanned.streams.iter().all(|counted| counted.packets == 0) {
        return Err(JobFailure::new(
            FailureCode::Unreadable,
            "The file opens, but nothing of what it declares can be read: it may be cut off.",
        ));
    }
    let coverage = coverage(&streams, &scanned, &original.structure, declared_us);
    // Where time stamps jump, the last of them is no length; and nothing is shorter than what was counted.
    let is_length = |us: &i64| scanned.jumps == 0 && coverage.covered_us <= Some(*us);
    let estimated = estimated.filter(is_length);
    let tags = tags(input);
    let location_claimed = find(&tags, &PLACE_TAGS).and_then(|text| place(&text));
    let mut location_from: Vec<LocationSource> =
        input.streams().filter_map(|stream| location::source(&stream)).collect();
    location_from.extend(location_claimed.map(|_| LocationSource::Container));
    location_from.sort_unstable();
    location_from.dedup();
    let container = container(input, &streams);
    let why_not = why_not(&original.structure, input, &container, &streams, &coverage);
    let size_bytes = channel.size_bytes();
    let front = why_not.map(|_| front(input, &streams, &scanned, &coverage, size_bytes));
    Ok(Probe {
        v: Probe::VERSION,
        size_bytes,
        brand: original.structure.brand.as_deref().map(shorten),
        duration_us: declared_us.or(estimated).or(coverage.covered_us),
        created_claimed: find(
            &tags,
            &["com.apple.quicktime.creationdate", "creation_time", "date"],
        ),
        location_claimed,
        location_from,
        signatures: signatures(&scanned),
        scan: Scan {
            packets: scanned.streams.iter().map(|s| s.packets).sum(),
            bytes: scanned.streams.iter().map(|s| s.bytes).sum(),
            read_to_end: scanned.read_to_end,
            errors: scanned.errors,
        },
        container,
        streams,
        coverage,
        browser: browser(why_not, front),
        tags,
        ranges_from_90k: scanned.ranges_from,
    })
}

/// What was found of each kind in each stream.
fn signatures(scanned: &Scanned) -> Vec<Signature> {
    let of_stream = |(at, counted): (usize, &Counted)| {
        let found = counted.signatures?;
        let kinds = [
            (SignatureKind::AxisSignedVideo, found.axis),
            (SignatureKind::OnvifMediaSigning, found.onvif),
        ];
        let there = kinds.into_iter().filter(|(_, units)| *units > 0);
        Some(there.map(move |(kind, units)| Signature { stream: at as u32, kind, units }))
    };
    scanned.streams.iter().enumerate().filter_map(of_stream).flatten().collect()
}

/// The demuxer's name; without `_pipe` where there are more pictures than in a still.
fn container(input: &Input, streams: &[Stream]) -> String {
    let format = input.format();
    let name = format.name();
    let is_still = streams.iter().all(|stream| stream.packets <= MOST_IN_A_STILL);
    if is_still { name } else { name.trim_end_matches("_pipe") }.to_owned()
}

/// The length that the container itself states; libav's estimates do not count, nor do whole seconds (DHAV).
fn declared_duration(input: &Input) -> Option<i64> {
    // SAFETY: reads two numbers of an open context.
    let (method, duration) = unsafe {
        let context = &*input.as_ptr();
        (context.duration_estimation_method, context.duration)
    };
    let stated = method == ffi::AVDurationEstimationMethod::AVFMT_DURATION_FROM_STREAM;
    let states_length = !matches!(input.format().name(), "mpeg" | "mpegts" | "ogg" | "dhav");
    (stated && states_length && duration > 0).then_some(duration)
}

fn describe(stream: &ffmpeg::Stream<'_>, counted: &Counted) -> Stream {
    let kind = kind(stream);
    let time_base = stream.time_base();
    let duration = stream.duration();
    let us = (duration > 0).then(|| duration.rescale(time_base, MICROSECONDS));
    Stream {
        index: stream.index() as u32,
        kind,
        codec: codec_name(stream),
        profile: profile_name(stream),
        video: matches!(kind, StreamKind::Video | StreamKind::Picture)
            .then(|| video(stream, counted)),
        audio: (kind == StreamKind::Audio).then(|| audio(stream)),
        declared_duration_us: us,
        declared_packets: declared_packets(stream),
        packets: counted.packets,
        keyframes: counted.keyframes,
        damaged_packets: counted.damaged,
        bytes: counted.bytes,
        first_us: counted.first_us,
        end_us: counted.end_us,
    }
}

/// What the index counts, where it counts packets: of plain samples it counts those, and a packet has many.
fn declared_packets(stream: &ffmpeg::Stream<'_>) -> Option<u64> {
    // SAFETY: reads one number of a stream of an open context; libavcodec answers for any id.
    let bits_of_a_sample =
        unsafe { ffi::av_get_bits_per_sample((*(*stream.as_ptr()).codecpar).codec_id) };
    let count = u64::try_from(stream.frames()).ok();
    count.filter(|count| *count > 0 && bits_of_a_sample == 0)
}

/// What kind of stream this is, a cover picture apart from footage.
pub(crate) fn kind(stream: &ffmpeg::Stream<'_>) -> StreamKind {
    use ffi::AVMediaType::*;
    // SAFETY: reads numbers of a stream of an open context.
    let (medium, disposition) =
        unsafe { ((*(*stream.as_ptr()).codecpar).codec_type, (*stream.as_ptr()).disposition) };
    match medium {
        AVMEDIA_TYPE_VIDEO if disposition & ffi::AV_DISPOSITION_ATTACHED_PIC != 0 => {
            StreamKind::Picture
        }
        AVMEDIA_TYPE_VIDEO => StreamKind::Video,
        AVMEDIA_TYPE_AUDIO => StreamKind::Audio,
        AVMEDIA_TYPE_SUBTITLE => StreamKind::Subtitle,
        AVMEDIA_TYPE_DATA => StreamKind::Data,
        _ => StreamKind::Other,
    }
}

/// What is watched or heard.
pub(crate) fn is_footage(stream: &ffmpeg::Stream<'_>) -> bool {
    matches!(kind(stream), StreamKind::Video | StreamKind::Audio)
}

fn codec_name(stream: &ffmpeg::Stream<'_>) -> String {
    // SAFETY: libavcodec returns static text for any id.
    let name =
        unsafe { CStr::from_ptr(ffi::avcodec_get_name((*(*stream.as_ptr()).codecpar).codec_id)) };
    name.to_string_lossy().into_owned()
}

fn profile_name(stream: &ffmpeg::Stream<'_>) -> Option<String> {
    // SAFETY: libavcodec returns static text or null for any pair.
    unsafe {
        let parameters = (*stream.as_ptr()).codecpar;
        let name = ffi::avcodec_profile_name((*parameters).codec_id, (*parameters).profile);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

fn video(stream: &ffmpeg::Stream<'_>, counted: &Counted) -> Video {
    // SAFETY: reads numbers of a stream of an open context.
    let (width, height, format) = unsafe {
        let parameters = &*(*stream.as_ptr()).codecpar;
        (parameters.width, parameters.height, parameters.format)
    };
    let rate =
        [stream.avg_frame_rate(), stream.rate()].into_iter().find(|rate| rate.0 > 0 && rate.1 > 0);
    Video {
        width: u32::try_from(width).unwrap_or(0),
        height: u32::try_from(height).unwrap_or(0),
        pixel_format: pixel_format_name(format),
        frame_rate: rate.map(|rate| format!("{}/{}", rate.0, rate.1)),
        variable_frame_rate: counted.is_variable(),
        rotation_degrees: rotation(stream),
    }
}

fn pixel_format_name(format: i32) -> String {
    // SAFETY: the descriptor is looked up by number and null for an unknown one; its name is static.
    unsafe {
        let mut descriptor = ffi::av_pix_fmt_desc_next(std::ptr::null());
        while !descriptor.is_null() {
            if ffi::av_pix_fmt_desc_get_id(descriptor) as i32 == format {
                return CStr::from_ptr((*descriptor).name).to_string_lossy().into_owned();
            }
            descriptor = ffi::av_pix_fmt_desc_next(descriptor);
        }
    }
    "unknown".to_owned()
}

/// Degrees clockwise that bring the picture upright, in quarter turns.
pub(crate) fn rotation(stream: &ffmpeg::Stream<'_>) -> u32 {
    let matrix = stream
        .side_data()
        .find(|data| data.kind() == ffmpeg::codec::packet::side_data::Type::DisplayMatrix);
    let Some(matrix) = matrix else { return 0 };
    let words: Vec<i32> = matrix
        .data()
        .chunks_exact(4)
        .map(|word| i32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
        .collect();
    if words.len() < 9 {
        return 0;
    }
    // SAFETY: nine words, as the function reads.
    let counterclockwise = unsafe { ffi::av_display_rotation_get(words.as_ptr()) };
    if !counterclockwise.is_finite() {
        return 0;
    }
    let quarter_turns = (-counterclockwise / 90.0).round() as i64;
    (quarter_turns.rem_euclid(4) * 90) as u32
}

fn audio(stream: &ffmpeg::Stream<'_>) -> Audio {
    // SAFETY: reads numbers of a stream of an open context.
    let (rate, channels) = unsafe {
        let parameters = &*(*stream.as_ptr()).codecpar;
        (parameters.sample_rate, parameters.ch_layout.nb_channels)
    };
    Audio {
        sample_rate_hz: u32::try_from(rate).unwrap_or(0),
        channels: u32::try_from(channels).unwrap_or(0),
    }
}

/// The longest stream of picture or sound, as counted.
fn covered(streams: &[Stream]) -> Option<i64> {
    streams
        .iter()
        .filter(|s| matches!(s.kind, StreamKind::Video | StreamKind::Audio))
        // Time before zero is priming, never shown.
        .filter_map(|s| Some(s.end_us? - s.first_us?.max(0)))
        .max()
}

fn coverage(
    streams: &[Stream],
    scanned: &Scanned,
    structure: &Structure,
    declared_us: Option<i64>,
) -> Coverage {
    let covered_us = covered(streams);
    let missing_us = declared_us
        .zip(covered_us)
        .map(|(declared, covered)| declared.saturating_sub(covered).max(0));
    let missing_packets = streams
        .iter()
        .filter_map(|s| Some(s.declared_packets?.saturating_sub(s.packets)))
        .reduce(|a, b| a + b)
        .filter(|_| structure.family == Family::Mp4 && !structure.fragmented);
    let mut reasons = Vec::new();
    if let Some(bytes @ 1..) = structure.missing_bytes {
        reasons.push(format!("the container declares {bytes} bytes beyond the end of the file"));
    }
    if let Some(packets @ 1..) = missing_packets {
        reasons.push(format!("{packets} packets of the index are not in the file"));
    }
    if let Some((missing, declared)) = missing_us.zip(declared_us)
        && missing > TOLERANCE_US.max(declared / TOLERANCE_PART).max(2 * scanned.longest_step_us)
    {
        let (missing, declared) = (seconds(missing), seconds(declared));
        reasons.push(format!("{missing} s of the declared {declared} s have no packets"));
    }
    if structure.family == Family::Ogg && !structure.has_index {
        reasons.push("the last page does not end the stream".into());
    }
    if !scanned.read_to_end {
        reasons.push("reading stopped at an error before the end".into());
    }
    let declares = structure.missing_bytes.is_some() || declared_us.is_some();
    let verdict = match (reasons.is_empty(), declares || structure.family == Family::Ogg) {
        (false, _) => Verdict::Truncated,
        (true, true) => Verdict::Complete,
        (true, false) => Verdict::CannotTell,
    };
    Coverage {
        verdict,
        declared_us,
        covered_us,
        missing_us,
        missing_bytes: structure.missing_bytes,
        missing_packets,
        reasons,
    }
}

fn seconds(us: i64) -> String {
    format!("{}.{}", us / 1_000_000, us % 1_000_000 / 100_000)
}

/// Whether current browsers play this as it is, or behind a front.
fn browser(why_not: Option<Why>, front: Option<Result<(), Why>>) -> Browser {
    Browser {
        plays: why_not.is_none(),
        why_not: why_not.map(str::to_owned),
        plays_behind_front: front == Some(Ok(())),
        why_no_front: front.and_then(Result::err).map(str::to_owned),
    }
}

/// Whether pictures can be played where they lie, with sound as it lies or encoded anew.
fn front(
    input: &Input,
    streams: &[Stream],
    scanned: &Scanned,
    coverage: &Coverage,
    size_bytes: u64,
) -> Result<(), Why> {
    let described = |kind| {
        let index = best(input, kind).map(|stream| stream.index());
        streams.iter().find(|stream| Some(stream.index as usize) == index)
    };
    let picture = best(input, StreamKind::Video).ok_or("it has no picture")?;
    if !described(StreamKind::Video).is_some_and(plays_picture) {
        return Err(NOT_PLAIN);
    }
    if is_interlaced(&picture) {
        return Err(INTERLACED);
    }
    let pictures = scanned.lying?;
    let sound = match described(StreamKind::Audio) {
        None => Expected::Nothing,
        Some(sound) if plays_sound(sound) => Expected::Lies(sound.packets),
        Some(sound) => Expected::Encoded {
            us: coverage.covered_us.unwrap_or(0),
            stereo: sound.audio.as_ref().is_some_and(|audio| audio.channels != 1),
        },
    };
    front::expect(pictures, &sound, size_bytes)
}

const NOT_PLAIN: Why = "the picture is not 8-bit H.264 4:2:0";
const INTERLACED: Why = "the picture is interlaced";

fn plays_picture(stream: &Stream) -> bool {
    let profile = stream.profile.as_deref().unwrap_or("");
    let format = stream.video.as_ref().map_or("", |video| &video.pixel_format);
    stream.codec == "h264"
        && matches!(format, "yuv420p" | "yuvj420p")
        && matches!(profile, "Baseline" | "Constrained Baseline" | "Main" | "High")
}

fn plays_sound(stream: &Stream) -> bool {
    stream.codec == "aac" && stream.profile.as_deref() == Some("LC")
}

fn why_not(
    structure: &Structure,
    input: &Input,
    container: &str,
    streams: &[Stream],
    coverage: &Coverage,
) -> Option<Why> {
    let of = |kind| streams.iter().filter(move |s| s.kind == kind);
    if STILLS.contains(&container) {
        None
    } else if !container.starts_with("mov") || structure.brand.as_deref() == Some("qt  ") {
        Some("not an MP4 file")
    } else if of(StreamKind::Video).count() != 1 {
        Some("not exactly one picture stream")
    } else if !of(StreamKind::Video).all(plays_picture) {
        Some(NOT_PLAIN)
    } else if input.streams().any(|stream| is_interlaced(&stream)) {
        Some(INTERLACED)
    } else if of(StreamKind::Audio).count() > 1 || !of(StreamKind::Audio).all(plays_sound) {
        Some("the sound is not one AAC stream")
    } else if coverage.verdict == Verdict::Truncated {
        Some("part of the file is missing")
    } else {
        None
    }
}

/// Browsers show interlaced pictures as combs.
fn is_interlaced(stream: &ffmpeg::Stream<'_>) -> bool {
    use ffi::AVFieldOrder::{AV_FIELD_PROGRESSIVE, AV_FIELD_UNKNOWN};
    // SAFETY: reads one number of a stream of an open context.
    let order = unsafe { (*(*stream.as_ptr()).codecpar).field_order };
    !matches!(order, AV_FIELD_PROGRESSIVE | AV_FIELD_UNKNOWN)
}

fn tags(input: &Input) -> Vec<Tag> {
    // SAFETY: an open context and its streams have a dictionary each, or null for an empty one.
    let dictionaries = unsafe {
        let container = (*input.as_ptr()).metadata;
        let streams: Vec<_> = input.streams().map(|stream| (*stream.as_ptr()).metadata).collect();
        std::iter::once(container).chain(streams)
    };
    let texts = dictionaries.flat_map(|dictionary| texts(dictionary));
    texts
        .map(|(name, value)| Tag { name: shorten(&name), value: shorten(&value) })
        .take(MAX_ENTRIES)
        .collect()
}

/// The texts of a dictionary. Footage chooses their bytes, and the bindings take them for UTF-8 unseen.
pub(crate) fn texts(dictionary: *const ffi::AVDictionary) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut entry = std::ptr::null();
    // SAFETY: the dictionary is there as long as its context; both texts of an entry end with a zero.
    unsafe {
        loop {
            entry = ffi::av_dict_get(dictionary, c"".as_ptr(), entry, ffi::AV_DICT_IGNORE_SUFFIX);
            if entry.is_null() {
                return found;
            }
            let own = |text| CStr::from_ptr(text).to_string_lossy().into_owned();
            found.push((own((*entry).key), own((*entry).value)));
        }
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

fn find(tags: &[Tag], names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| tags.iter().find(|t| t.name == *name)).map(|t| t.value.clone())
}

/// The place in a tag, if it can be one.
fn place(text: &str) -> Option<Location> {
    let point = Point::of(&iso6709(text)?, None)?;
    let millionths = |e7: i64| (e7 + 5 * e7.signum()) / 10;
    Some(Location {
        latitude_e6: millionths(point.latitude_e7),
        longitude_e6: millionths(point.longitude_e7),
    })
}

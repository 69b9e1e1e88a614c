//! The result of the probe recipe (`probe.json`). Integers only, so that it has a canonical form: times in
//! microseconds, coordinates in millionths of a degree, rates as fractions in text.

use serde::{Deserialize, Serialize};

use crate::job::{MAX_RANGES, Span};
use crate::report::{MAX_ENTRIES, MAX_TEXT_CHARS};

/// What a file is, and whether its packets cover what it declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Version of this format: 3.
    pub v: u32,
    pub size_bytes: u64,
    /// The demuxer that read it, as libavformat names it (`mov,mp4,m4a,3gp,3g2,mj2`). A name that ends in `_pipe` is a still; where such a
    /// demuxer found a recording, the ending is left out.
    pub container: String,
    /// Major brand of the MP4 family, where there is one.
    pub brand: Option<String>,
    pub duration_us: Option<i64>,
    /// When the device says that it recorded this; its clock may be wrong.
    pub created_claimed: Option<String>,
    /// Where the device says that it was.
    pub location_claimed: Option<Location>,
    /// What in the file says where it was recorded.
    pub location_from: Vec<LocationSource>,
    /// Signatures that the camera put into the recording itself. They are looked for, not checked.
    pub signatures: Vec<Signature>,
    pub streams: Vec<Stream>,
    pub scan: Scan,
    pub coverage: Coverage,
    /// Whether a browser plays it as it is, and if not, why not.
    pub browser: Browser,
    /// Tags of the container as found; hostile text, bounded.
    pub tags: Vec<Tag>,
    /// Of a long recording: where ranges of it may begin that are worked on alone, in 1/90000 s from the start of the file, each at a
    /// picture that needs none before it. The first range begins with the file, and is not named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges_from_90k: Vec<u64>,
}

/// Millionths of a degree, north and east positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    pub latitude_e6: i64,
    pub longitude_e6: i64,
}

/// What says where a recording was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocationSource {
    /// A GoPro's track of measurements.
    Gpmf,
    /// A track of the camera's motion, as Google specifies it.
    Camm,
    /// One place for all of the file, in its tags.
    Container,
}

/// Units of one signature in one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// `index` of the stream.
    pub stream: u32,
    pub kind: SignatureKind,
    pub units: u64,
}

/// Whose way of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureKind {
    /// Axis' signed-video-framework.
    AxisSignedVideo,
    OnvifMediaSigning,
}

/// One tag as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tag {
    pub name: String,
    pub value: String,
}

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamKind {
    Video,
    /// A cover picture, not footage.
    Picture,
    Audio,
    Subtitle,
    Data,
    Other,
}

/// One stream and what the packet scan counted in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    pub index: u32,
    pub kind: StreamKind,
    pub codec: String,
    pub profile: Option<String>,
    pub video: Option<Video>,
    pub audio: Option<Audio>,
    /// Declared by the container.
    pub declared_duration_us: Option<i64>,
    pub declared_packets: Option<u64>,
    /// Counted.
    pub packets: u64,
    pub keyframes: u64,
    pub damaged_packets: u64,
    pub bytes: u64,
    pub first_us: Option<i64>,
    pub end_us: Option<i64>,
}

/// Picture properties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    pub width: u32,
    pub height: u32,
    pub pixel_format: String,
    /// `30000/1001`, where known.
    pub frame_rate: Option<String>,
    /// The distance between frames is not always the same.
    pub variable_frame_rate: bool,
    /// Turn by this many degrees clockwise to see it upright.
    pub rotation_degrees: u32,
}

/// Sound properties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audio {
    pub sample_rate_hz: u32,
    pub channels: u32,
}

/// The packet scan as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    pub packets: u64,
    pub bytes: u64,
    /// False where reading stopped at an error before the end.
    pub read_to_end: bool,
    pub errors: u64,
}

/// Declared against found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    pub verdict: Verdict,
    pub declared_us: Option<i64>,
    pub covered_us: Option<i64>,
    pub missing_us: Option<i64>,
    /// Bytes that the container declares beyond the end of the file.
    pub missing_bytes: Option<u64>,
    pub missing_packets: Option<u64>,
    /// In words, for people.
    pub reasons: Vec<String>,
}

/// Whether anything is missing at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The packets cover what the container declares.
    Complete,
    Truncated,
    /// This kind of file does not declare its length.
    CannotTell,
}

/// Whether a browser plays the file as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Browser {
    pub plays: bool,
    pub why_not: Option<String>,
    /// Behind a front it plays it, where it does not play it as it is.
    pub plays_behind_front: bool,
    /// Why neither, where a front was thought of.
    pub why_no_front: Option<String>,
}

impl Browser {
    fn texts(&self) -> impl Iterator<Item = &String> {
        self.why_not.iter().chain(&self.why_no_front)
    }
}

/// Whether ranges may begin at these times: one after the other, and not too many.
pub fn are_ranges(from_90k: &[u64]) -> bool {
    from_90k.len() < MAX_RANGES
        && from_90k.first().is_none_or(|first| *first > 0)
        && from_90k.last().is_none_or(|last| *last <= Span::END_MS * 90)
        && from_90k.is_sorted_by(|one, next| one < next)
}

impl Probe {
    /// Version of the format this crate writes.
    pub const VERSION: u32 = 3;

    /// Reads a probe that a worker made: of this version, and every list within its limit.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let probe: Self = serde_json::from_slice(bytes).ok()?;
        let within = probe.v == Self::VERSION
            && probe.streams.len() <= MAX_ENTRIES
            && probe.tags.len() <= MAX_ENTRIES
            && probe.location_from.len() <= MAX_ENTRIES
            && probe.signatures.len() <= MAX_ENTRIES
            && probe.coverage.reasons.len() <= MAX_ENTRIES
            && are_ranges(&probe.ranges_from_90k)
            && probe.texts().all(|text| text.chars().count() <= MAX_TEXT_CHARS);
        within.then_some(probe)
    }

    /// Every text in it.
    fn texts(&self) -> impl Iterator<Item = &String> {
        let own = [&self.container].into_iter().chain(&self.brand).chain(&self.created_claimed);
        let streams = self.streams.iter().flat_map(|s| {
            let video = s.video.iter();
            let video = video.flat_map(|v| [&v.pixel_format].into_iter().chain(&v.frame_rate));
            [&s.codec].into_iter().chain(&s.profile).chain(video)
        });
        let tags = self.tags.iter().flat_map(|tag| [&tag.name, &tag.value]);
        own.chain(streams).chain(tags).chain(&self.coverage.reasons).chain(self.browser.texts())
    }

    /// Whether there is footage to see.
    pub fn has_video(&self) -> bool {
        self.streams.iter().any(|s| s.kind == StreamKind::Video)
    }

    /// Whether there is sound.
    pub fn has_audio(&self) -> bool {
        self.streams.iter().any(|s| s.kind == StreamKind::Audio)
    }
}

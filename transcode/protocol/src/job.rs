//! The job, its recipe, and how it may end.

use serde::{Deserialize, Serialize};

/// Most recipes of one job.
pub const MAX_RECIPES: usize = 16;
/// Most areas, and most mutes, of one redaction.
pub const MAX_REDACTIONS: usize = 300;
/// Most ranges that one recording is made in.
pub const MAX_RANGES: usize = 256;

/// What the worker is asked to do. The original itself stays with the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// What to make, each with an output name of its own: 1 to [`MAX_RECIPES`]. The original is decoded once for all of
    /// them, and each comes out as it would alone.
    pub recipes: Vec<Recipe>,
    /// Length of the original; no range beyond it is answered.
    pub size_bytes: u64,
    /// Digests of the original, so that the result can name what it was made from.
    pub original: OriginalDigests,
    pub limits: Limits,
    /// Walls that may be missing where the machine cannot lay them; without any other nothing is read.
    pub without: Vec<Wall>,
}

/// A part of the floor that some machines cannot lay, and that may be done without where somebody says so by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wall {
    /// The kernel's own list of what of the file system a process may reach: none of it. Behind it stands the list of system
    /// calls, on which opening is not.
    Landlock,
}

impl Wall {
    pub const ALL: [Self; 1] = [Self::Landlock];

    /// As settings and entries name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Landlock => "landlock",
        }
    }
}

/// Digests as `sha256sum` and `b3sum` print them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginalDigests {
    pub sha256: String,
    pub blake3: String,
}

/// What the worker allows itself before it looks at the first byte of footage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Address space (RLIMIT_AS).
    pub memory_bytes: u64,
    /// Processor time (RLIMIT_CPU).
    pub cpu_seconds: u64,
}

/// How a derivative is made. Same original, same recipe, same libraries: the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Recipe {
    /// What the file is, and whether its packets cover what it declares.
    Probe(ProbeParameters),
    /// What makes an MP4 of the original when it is put before it.
    Front(FrontParameters),
    /// The viewing copy that a browser plays.
    Proxy(ProxyParameters),
    /// A smaller one, for poor lines.
    ProxySmall(ProxyParameters),
    /// A range of a viewing copy, to be joined with the others; nothing that is kept.
    ProxyRange(ProxyRangeParameters),
    /// The viewing copy out of its ranges, which lie one behind the other in place of the original.
    Joined(JoinedParameters),
    /// One picture from a little in.
    Poster(PosterParameters),
    /// A sheet of small pictures, for looking along the recording.
    Thumbnails(ThumbnailsParameters),
    /// How loud it is when.
    Waveform(WaveformParameters),
    /// When each picture is shown, and which of them begin anew.
    Frames(FramesParameters),
    /// Where one picture is quite another than the one before.
    Scenes(ScenesParameters),
    /// Where the device says that it was.
    Location(LocationParameters),
    /// A part of it.
    Extract(ExtractParameters),
    /// What may be shown to others: pictures and sound that somebody named are not in it.
    Redaction(RedactionParameters),
    /// What it shows and sounds like, as digests: to compare two files, not for keeping.
    Decoded(DecodedParameters),
}

/// A part of a recording: from here until just before there, from the start of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    pub from_ms: u64,
    pub to_ms: u64,
}

/// Parameters of [`Recipe::Probe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeParameters {
    pub version: u32,
}

/// Parameters of [`Recipe::Front`]: of sound that is encoded anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontParameters {
    pub version: u32,
    /// Of one channel.
    pub mono_bit_rate: u32,
    /// Of two.
    pub stereo_bit_rate: u32,
}

/// Parameters of [`Recipe::Proxy`] and [`Recipe::ProxySmall`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyParameters {
    pub version: u32,
    /// The longer and the shorter side are at most these; never enlarged, always even.
    pub max_long_side_px: u32,
    pub max_short_side_px: u32,
    pub crf: u32,
    /// The picture takes no more than this a second, counted over two; none: what `crf` asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bit_rate: Option<u32>,
    pub preset: String,
    pub keyframe_every_ms: u32,
    /// Of two channels; of one, half of it.
    pub audio_bit_rate: u32,
    /// One channel, however many there are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mono: bool,
    /// Threads of the encoder: another number gives other bytes.
    pub threads: u32,
    /// When each range but the first begins, in 1/90000 s from the start of the file; none: made in one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges_from_90k: Vec<u64>,
}

/// Parameters of [`Recipe::ProxyRange`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyRangeParameters {
    /// How the viewing copy is made, without its ranges.
    pub copy: ProxyParameters,
    pub range: Range,
}

/// What of a viewing copy one worker makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Range {
    /// The pictures from here until just before there, in 1/90000 s from the start of the file, and no sound. The first and the last
    /// range have all that lies before and behind.
    Pictures { from_90k: Option<u64>, to_90k: Option<u64> },
    /// All of the sound, and no picture.
    Sound,
}

/// Parameters of [`Recipe::Joined`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinedParameters {
    /// How long each is: the pictures' ranges in their order, then the sound. At least two, at most [`MAX_RANGES`] and the sound.
    pub ranges_bytes: Vec<u64>,
}

/// Parameters of [`Recipe::Poster`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PosterParameters {
    pub version: u32,
    pub max_side_px: u32,
    /// Taken at this moment, or a tenth of the length in where that is earlier.
    pub at_ms: u32,
    /// JPEG quality scale, 2 (best) to 31.
    pub quality: u32,
}

/// Parameters of [`Recipe::Thumbnails`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThumbnailsParameters {
    pub version: u32,
    /// The longer side of one picture.
    pub max_side_px: u32,
    /// Pictures in a row of the sheet.
    pub columns: u32,
    /// Most pictures. Of a longer recording every second one is kept, and so on.
    pub max_pictures: u32,
    /// Pictures are at least so far apart.
    pub every_ms: u32,
    /// JPEG quality scale, 2 (best) to 31.
    pub quality: u32,
}

/// Parameters of [`Recipe::Waveform`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaveformParameters {
    pub version: u32,
    /// Points for each second of a short recording.
    pub points_per_second: u32,
    /// Most points. Of a longer recording two become one, and so on.
    pub max_points: u32,
}

/// Parameters of [`Recipe::Frames`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FramesParameters {
    pub version: u32,
}

/// Parameters of [`Recipe::Scenes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenesParameters {
    pub version: u32,
    /// How different a picture has to be, in thousandths of the whole range of brightness.
    pub threshold_permille: u32,
}

/// Parameters of [`Recipe::Location`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocationParameters {
    pub version: u32,
    /// Most points of one source, and the last. Of a longer track every second one is kept, and so on.
    pub max_points: u32,
}

/// Parameters of [`Recipe::Extract`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractParameters {
    pub version: u32,
    pub part: Span,
    pub cut: Cut,
}

/// How a part is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// Coded pictures and sound are copied as they are, into MP4: from the last picture that needs none before it at or before
    /// the start, to the first such at or after the end.
    KeyframesMp4,
    /// The same, into QuickTime: for what MP4 has no place for (PCM, A-law, older codecs of recorders).
    KeyframesMov,
    /// From one picture to another, encoded anew in the size they have.
    Exact,
}

/// Parameters of [`Recipe::Decoded`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodedParameters {
    pub version: u32,
}

/// Parameters of [`Recipe::Redaction`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedactionParameters {
    pub version: u32,
    /// The part that is shown at all.
    pub keep: Span,
    /// What is covered: at most [`MAX_REDACTIONS`].
    pub areas: Vec<Area>,
    /// When there is silence: at most [`MAX_REDACTIONS`].
    pub mutes: Vec<Span>,
}

/// A rectangle that is covered for a while, in pixels of the picture as it is shown: upright, with square pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    pub from_ms: u64,
    pub to_ms: u64,
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    pub cover: Cover,
}

impl Area {
    /// When it is covered.
    pub fn span(&self) -> Span {
        Span { from_ms: self.from_ms, to_ms: self.to_ms }
    }
}

/// What stands in place of what was there. Neither is made of anything that was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cover {
    /// Black.
    Box,
    /// A smooth surface between the colours around it.
    Blur,
}

impl Default for ProbeParameters {
    fn default() -> Self {
        // 2: signatures of cameras, and what says where it was recorded; times are counted as joined where they jump. 3: whether a
        // browser plays it behind a front.
        Self { version: 3 }
    }
}

impl Default for FrontParameters {
    fn default() -> Self {
        // A camera's 8 Mbit/s has a hundredth of 80,000.
        Self { version: 1, mono_bit_rate: 64_000, stereo_bit_rate: 96_000 }
    }
}

impl FrontParameters {
    /// Of sound in one channel or two.
    pub fn bit_rate(&self, stereo: bool) -> u32 {
        if stereo { self.stereo_bit_rate } else { self.mono_bit_rate }
    }
}

impl Default for ProxyParameters {
    fn default() -> Self {
        Self {
            // 2: an index of the fragments in front. 3: one thread; sound is always 48 kHz. 4: interlaced pictures are made
            // whole, high dynamic range is mapped, times that jump are joined; sound stays within 30 ms of its times.
            version: 4,
            max_long_side_px: 1280,
            max_short_side_px: 720,
            crf: 23,
            max_bit_rate: None,
            preset: "veryfast".into(),
            keyframe_every_ms: 2000,
            audio_bit_rate: 128_000,
            mono: false,
            threads: 1,
            ranges_from_90k: Vec::new(),
        }
    }
}

impl ProxyParameters {
    /// Of the smaller one: what a country road's mobile line carries, picture and sound.
    pub fn small() -> Self {
        Self {
            version: 1,
            max_long_side_px: 640,
            max_short_side_px: 360,
            crf: 28,
            max_bit_rate: Some(300_000),
            audio_bit_rate: 80_000,
            mono: true,
            ..Self::default()
        }
    }
}

impl Default for PosterParameters {
    fn default() -> Self {
        // 2: interlaced pictures are made whole, high dynamic range is mapped; colours as in a JPEG.
        Self { version: 2, max_side_px: 640, at_ms: 3000, quality: 4 }
    }
}

impl Default for ThumbnailsParameters {
    fn default() -> Self {
        Self {
            // 2: as of a poster, and times that jump are joined.
            version: 2,
            // Four in a row are as wide as the player on a page.
            max_side_px: 150,
            columns: 4,
            max_pictures: 100,
            every_ms: 1000,
            quality: 6,
        }
    }
}

impl Default for WaveformParameters {
    fn default() -> Self {
        // 2: times that jump are joined; sound stays within 30 ms of its times.
        Self { version: 2, points_per_second: 20, max_points: 36_000 }
    }
}

impl Default for FramesParameters {
    fn default() -> Self {
        // 2: times that jump are joined.
        Self { version: 2 }
    }
}

impl Default for ScenesParameters {
    fn default() -> Self {
        // 2: interlaced pictures are made whole, times that jump are joined.
        Self { version: 2, threshold_permille: 100 }
    }
}

impl Default for LocationParameters {
    fn default() -> Self {
        Self { version: 1, max_points: 10_000 }
    }
}

impl Span {
    /// Later than any recording ends: some thirty years.
    pub const END_MS: u64 = 1 << 40;
    /// All of it.
    pub const ALL: Self = Self { from_ms: 0, to_ms: Self::END_MS };

    /// Whether there is anything between its ends.
    pub fn is_some(self) -> bool {
        self.from_ms < self.to_ms && self.to_ms <= Self::END_MS
    }
}

impl Recipe {
    /// The one output this recipe makes.
    pub fn output_name(&self) -> &'static str {
        match self {
            Self::Probe(_) => "probe.json",
            Self::Front(_) => "front.mp4",
            Self::Proxy(_) | Self::Joined(_) => "proxy.mp4",
            Self::ProxySmall(_) => "proxy-small.mp4",
            Self::ProxyRange(_) => "proxy-range.mp4",
            Self::Poster(_) => "poster.jpg",
            Self::Thumbnails(_) => "thumbnails.jpg",
            Self::Waveform(_) => "waveform.json",
            Self::Frames(_) => "frames.json",
            Self::Scenes(_) => "scenes.json",
            Self::Location(_) => "location.geojson",
            Self::Extract(ExtractParameters { cut: Cut::KeyframesMov, .. }) => "extract.mov",
            Self::Extract(_) => "extract.mp4",
            Self::Redaction(_) => "redaction.mp4",
            Self::Decoded(_) => "decoded.json",
        }
    }

    /// Whether the beginning of the output is known, and comes, last.
    pub fn head_comes_last(&self) -> bool {
        matches!(
            self,
            Self::Proxy(_)
                | Self::ProxySmall(_)
                | Self::ProxyRange(_)
                | Self::Joined(_)
                | Self::Extract(_)
                | Self::Redaction(_)
        )
    }

    /// The part of the original that it is made of, where that is not all.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Extract(parameters) => Some(parameters.part),
            Self::Redaction(parameters) => Some(parameters.keep),
            _ => None,
        }
    }

    /// `probe`, `proxy`, `poster` and so on: the name of its output without the extension.
    pub fn kind(&self) -> &'static str {
        let name = self.output_name();
        name.split_once('.').map_or(name, |(kind, _)| kind)
    }
}

/// What the worker did to itself before the first hostile byte. The floor (limits, no new privileges, no new
/// descriptors, empty environment) is always laid, or the worker refuses to run; what is named here comes on top.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confinement {
    pub protocol: u8,
    /// Own user and network namespaces.
    pub own_user_namespace: bool,
    pub own_network_namespace: bool,
    /// A limit on threads and processes holds, as tried out. It cannot for root, nor outside an own user namespace.
    pub threads_limited: bool,
    /// Walls of the floor that this machine could not lay, each of which the job allowed to be missing.
    pub without: Vec<Wall>,
}

/// Why the worker made nothing, for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCode {
    /// Not a format this program reads, or too damaged to open.
    Unreadable,
    /// A format that may name other files or hosts, or any other outside the list.
    FormatRefused,
    /// Readable, but without what the recipe needs (no picture, no sound).
    NothingToMake,
    /// Opened, but not one frame could be decoded.
    NotDecodable,
    /// The memory limit was reached.
    OutOfMemory,
    /// The limits could not be laid: nothing was read.
    Unconfined,
    /// Anything else.
    Internal,
}

/// Why the worker made nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerFailure {
    pub code: FailureCode,
    /// For people; hostile until somebody has cleaned it.
    pub message: String,
}

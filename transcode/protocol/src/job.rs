//! The job, its recipe, and how it may end.

use serde::{Deserialize, Serialize};

/// What the worker is asked to do. The original itself stays with the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    pub recipe: Recipe,
    /// Length of the original; no range beyond it is answered.
    pub size_bytes: u64,
    /// Digests of the original, so that the result can name what it was made from.
    pub original: OriginalDigests,
    pub limits: Limits,
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
    /// The viewing copy that a browser plays.
    Proxy(ProxyParameters),
    /// One picture from a little in.
    Poster(PosterParameters),
}

/// Parameters of [`Recipe::Probe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeParameters {
    pub version: u32,
}

/// Parameters of [`Recipe::Proxy`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyParameters {
    pub version: u32,
    /// The longer and the shorter side are at most these; never enlarged, always even.
    pub max_long_side_px: u32,
    pub max_short_side_px: u32,
    pub crf: u32,
    pub preset: String,
    pub keyframe_every_ms: u32,
    pub audio_rate_hz: u32,
    pub audio_bit_rate: u32,
    /// Threads of decoder and encoder: another number gives other bytes.
    pub threads: u32,
    /// Up to this size a browser may be given the original as it is.
    pub original_is_proxy_max_bytes: u64,
}

/// Parameters of [`Recipe::Poster`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PosterParameters {
    pub version: u32,
    /// Neither side is larger; never enlarged, always even.
    pub max_side_px: u32,
    /// The picture is taken this far in, or at a tenth of the length if that is sooner.
    pub at_ms: u32,
    /// Quantiser of the JPEG, 2 (best) to 31.
    pub quality: u32,
}

impl Default for ProbeParameters {
    fn default() -> Self {
        Self { version: 1 }
    }
}

impl Default for ProxyParameters {
    fn default() -> Self {
        Self {
            // 2: an index of the fragments in front.
            version: 2,
            max_long_side_px: 1280,
            max_short_side_px: 720,
            crf: 23,
            preset: "veryfast".into(),
            keyframe_every_ms: 2000,
            audio_rate_hz: 48_000,
            audio_bit_rate: 128_000,
            threads: 2,
            original_is_proxy_max_bytes: 2 << 30,
        }
    }
}

impl Default for PosterParameters {
    fn default() -> Self {
        Self { version: 1, max_side_px: 640, at_ms: 3000, quality: 4 }
    }
}

impl Recipe {
    /// The one output this recipe makes.
    pub fn output_name(&self) -> &'static str {
        match self {
            Self::Probe(_) => "probe.json",
            Self::Proxy(_) => "proxy.mp4",
            Self::Poster(_) => "poster.jpg",
        }
    }

    /// Whether the beginning of the output is known, and comes, last.
    pub fn head_comes_last(&self) -> bool {
        matches!(self, Self::Proxy(_))
    }

    /// `probe`, `proxy` or `poster`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Probe(_) => "probe",
            Self::Proxy(_) => "proxy",
            Self::Poster(_) => "poster",
        }
    }

    /// Version of this kind of recipe: raised whenever the same parameters would give other bytes.
    pub fn version(&self) -> u32 {
        match self {
            Self::Probe(p) => p.version,
            Self::Proxy(p) => p.version,
            Self::Poster(p) => p.version,
        }
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

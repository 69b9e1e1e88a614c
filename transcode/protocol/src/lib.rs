//! What the server and its transcode worker say to each other.
//!
//! Here: frames and their limits, the job with its recipe, the codes of a failure. All of it is plain data and byte
//! encodings; nothing here reads or writes a socket, so the worker (which links a GPL libav) and the `transcode`
//! library share this crate and nothing else. Described for people in `docs/formats/worker-protocol.md`.
//!
//! Invariant: a frame that decodes is within every limit below; whoever reads a header checks it *before* it makes
//! room for the payload.

mod frame;
mod job;
pub mod probe;
mod report;

pub use frame::{Frame, FrameError, HEADER_BYTES, Header, Kind};
pub use job::{
    Area, Confinement, Cover, Cut, DecodedParameters, ExtractParameters, FailureCode,
    FramesParameters, FrontParameters, Job, JoinedParameters, Limits, LocationParameters,
    MAX_RANGES, MAX_RECIPES, MAX_REDACTIONS, OriginalDigests, PosterParameters, ProbeParameters,
    ProxyParameters, ProxyRangeParameters, Range, Recipe, RedactionParameters, ScenesParameters,
    Span, ThumbnailsParameters, Wall, WaveformParameters, WorkerFailure,
};
pub use probe::Probe;
pub use report::{Ended, MAX_ENTRIES, MAX_TEXT_CHARS, MadeWith, Report};

/// Version of the protocol; each side refuses any other by name.
pub const PROTOCOL_VERSION: u8 = 4;
/// Largest payload of any frame.
pub const MAX_PAYLOAD_BYTES: u32 = (1 << 20) + 64;
/// Largest range a worker may ask for at once, and largest piece of output it may send.
pub const MAX_CHUNK_BYTES: u32 = 1 << 20;
/// Largest JSON payload (job, report, failure).
pub const MAX_JSON_BYTES: usize = 256 << 10;
/// Longest name of an output.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest message of a failure that anybody keeps.
pub const MAX_MESSAGE_CHARS: usize = 400;
/// Output bytes a worker may send before the first credit arrives.
pub const INITIAL_CREDIT_BYTES: u64 = 4 << 20;

//! The log witness protocol (c2sp.org/tlog-witness): what is sent, what is decided, what is answered.
//!
//! Here: the request, the decision of a log witness, and the reading of its answer by a ledger. Not here: the network,
//! the store, the time: they are arguments. Invariant: a request is cosigned only if a trusted log key signed its
//! checkpoint and the tree that was cosigned last is the beginning of it; a cosignature is taken only if the
//! configured key made it over exactly this checkpoint. Specified in `docs/formats/log-witness.md`.

mod answer;
mod request;

pub use answer::{Answer, BadAnswer, Heard, MAX_ANSWER_BYTES, read_answer};
pub use request::{AddCheckpoint, MAX_PROOF_LINES, MAX_REQUEST_BYTES, Refused, decide};

/// The content type of an answer that names the size cosigned last.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

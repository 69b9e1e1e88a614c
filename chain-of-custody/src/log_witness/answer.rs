//! What a log witness answered, as a ledger reads it: nothing in it is believed before it is checked.

use super::SIZE_CONTENT_TYPE;
use crate::checkpoint::{SignedCheckpoint, parse_decimal};
use crate::ids::TreeSize;
use crate::malformed::Malformed;
use crate::note::{MAX_SIGNATURES, SignatureLine, VerifierKey};

/// Bytes of an answer that are read.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// An answer as it came over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

/// What an answer says, once it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The configured key cosigned this checkpoint.
    Cosigned { line: SignatureLine, time_unix_s: u64 },
    /// It cosigned a checkpoint of this size last: prove from there, unless it is above ours.
    Holds(TreeSize),
    /// It knows another history: what we sent does not extend what it cosigned.
    OtherHistory,
}

/// An answer that gives nothing. Ask again later; a person may have to look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    #[error("it refuses with status {0}{hint}", hint = hint(*.0))]
    Status(u16),
    #[error("it names the size that it holds in another form than the protocol's")]
    Size,
    #[error("its answer is not signature lines: {0}")]
    Malformed(#[from] Malformed),
    #[error("its cosignature does not fit the checkpoint")]
    BadSignature,
    #[error("its answer holds no cosignature of the configured key")]
    OtherKey,
}

fn hint(status: u16) -> &'static str {
    match status {
        403 => " (it trusts another log key)",
        404 => " (it does not know this ledger)",
        _ => "",
    }
}

/// Reads the answer to a request that proved from `old` to `checkpoint`.
///
/// # Errors
/// [`BadAnswer`]; nothing of it may be used.
pub fn read_answer(
    answer: &Answer,
    old: TreeSize,
    checkpoint: &SignedCheckpoint,
    key: &VerifierKey,
) -> Result<Heard, BadAnswer> {
    match answer.status {
        200 => cosigned(&answer.body, checkpoint, key),
        409 if answer.content_type.as_deref() == Some(SIZE_CONTENT_TYPE) => {
            let size = std::str::from_utf8(&answer.body).ok().and_then(|t| t.strip_suffix('\n'));
            let size = size.and_then(parse_decimal).map(TreeSize).ok_or(BadAnswer::Size)?;
            Ok(Heard::Holds(size))
        }
        // Version 1.0.0 of the specification answers so when the sizes are equal and the roots differ.
        409 if old == checkpoint.unverified().size => Ok(Heard::OtherHistory),
        422 => Ok(Heard::OtherHistory),
        status => Err(BadAnswer::Status(status)),
    }
}

fn cosigned(
    body: &[u8],
    checkpoint: &SignedCheckpoint,
    key: &VerifierKey,
) -> Result<Heard, BadAnswer> {
    let bad = |reason| BadAnswer::Malformed(Malformed::new("cosignatures", reason));
    let text = std::str::from_utf8(body).map_err(|_| bad("they are not UTF-8"))?;
    let lines = text.strip_suffix('\n').ok_or(bad("the last line has no newline"))?;
    if lines.split('\n').count() > MAX_SIGNATURES {
        return Err(bad("too many"));
    }
    for line in lines.split('\n') {
        let line = SignatureLine::parse(line)?;
        if key.is_named_by(&line) {
            let time_unix_s = checkpoint.cosigned_at(&line, key).ok_or(BadAnswer::BadSignature)?;
            return Ok(Heard::Cosigned { line, time_unix_s });
        }
    }
    Err(BadAnswer::OtherKey)
}

//! Why a job made nothing.

use std::sync::Arc;

use crate::protocol::{FailureCode, MAX_MESSAGE_CHARS};

/// The code of what somebody wanted no more.
pub(crate) const CANCELLED: &str = "cancelled";

/// Why a job made nothing. The first five say something about the footage or the worker, or that somebody wanted it no more, and
/// end as `item.derivation-failed`; the others are troubles of this machine, and the job is tried again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The worker looked and said why not.
    #[error("{message}")]
    Declined { code: FailureCode, message: String },
    /// The worker died or stopped in the middle.
    #[error("the transcoding program ended unexpectedly ({how})")]
    Crashed { how: String },
    /// A limit of ours was reached, and the worker was ended.
    #[error("stopped at the limit: {limit}")]
    LimitReached { limit: Limit },
    /// The worker broke the protocol; a decoder that has been taken over may do that.
    #[error("the transcoding program broke its protocol ({what}) and was stopped")]
    Misbehaved { what: String },
    /// Somebody wanted it no more.
    #[error("cancelled")]
    Cancelled {
        /// As entries name them.
        by: String,
    },
    /// What is made in ranges came to nothing with one of them.
    #[error("{message}")]
    OfRange { code: &'static str, message: String },
    /// A range of the original could not be read or did not verify.
    #[error("the original could not be read: {0}")]
    Source(#[source] Arc<std::io::Error>),
    /// What the worker made could not be kept.
    #[error("the derivative could not be stored: {0}")]
    Sink(#[source] Arc<std::io::Error>),
    /// The space kept free would be touched, or the store is full.
    #[error("there is no room for the derivative: it waits until there is")]
    NoRoom,
    /// The worker program could not be started.
    #[error("the transcoding program {program} could not be started: {error}")]
    Start {
        program: String,
        #[source]
        error: Arc<std::io::Error>,
    },
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    #[error("wall time of {0} s")]
    WallSeconds(u64),
    /// No whole frame from the worker, or none of ours taken by it.
    #[error("{0} s without a word")]
    IdleSeconds(u64),
    #[error("processor time of {0} s")]
    CpuSeconds(u64),
    #[error("{0} bytes of output")]
    OutputBytes(u64),
    #[error("{0} bytes read from the original")]
    ReadBytes(u64),
}

/// Of what somebody wanted no more.
pub(crate) const CANCELLED: &str = "cancelled";
/// Codes of the others that say something about the footage or the worker.
const ABOUT_THE_FOOTAGE: [&str; 9] = [
    "unreadable",
    "format-refused",
    "nothing-to-make",
    "not-decodable",
    "out-of-memory",
    INTERNAL,
    "crashed",
    "limit-reached",
    "misbehaved",
];
const INTERNAL: &str = "internal";

impl Failure {
    /// Of what a range came to.
    pub(crate) fn of_range(code: &str, message: String) -> Self {
        let known = ABOUT_THE_FOOTAGE.into_iter().find(|known| *known == code);
        Self::OfRange { code: known.unwrap_or(INTERNAL), message }
    }

    /// Of what a sink says.
    pub(crate) fn of_sink(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull => Self::NoRoom,
            _ => Self::Sink(Arc::new(error)),
        }
    }

    /// Whether this belongs in the ledger as `item.derivation-failed` (else the machine is to blame).
    pub fn is_about_the_footage(&self) -> bool {
        match self {
            Self::Declined { code, .. } => !matches!(code, FailureCode::Unconfined),
            Self::Crashed { .. }
            | Self::LimitReached { .. }
            | Self::Misbehaved { .. }
            | Self::Cancelled { .. }
            | Self::OfRange { .. } => true,
            Self::Source(_) | Self::Sink(_) | Self::NoRoom | Self::Start { .. } => false,
        }
    }

    /// Whether a second attempt may end otherwise: only a crash is tried once more.
    pub fn is_worth_another_attempt(&self) -> bool {
        matches!(self, Self::Crashed { .. })
    }

    /// One word for machines, as kept in the ledger.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Declined { code, .. } => match code {
                FailureCode::Unreadable => "unreadable",
                FailureCode::FormatRefused => "format-refused",
                FailureCode::NothingToMake => "nothing-to-make",
                FailureCode::NotDecodable => "not-decodable",
                FailureCode::OutOfMemory => "out-of-memory",
                FailureCode::Unconfined => "unconfined",
                FailureCode::Internal => INTERNAL,
            },
            Self::Crashed { .. } => "crashed",
            Self::LimitReached { .. } => "limit-reached",
            Self::Misbehaved { .. } => "misbehaved",
            Self::Cancelled { .. } => CANCELLED,
            Self::OfRange { code, .. } => code,
            Self::Source(_) => "original-unreadable",
            Self::Sink(_) => "not-stored",
            Self::NoRoom => "no-room",
            Self::Start { .. } => "not-started",
        }
    }
}

/// A message from the worker, made fit to show: one line, no control characters, bounded.
pub(crate) fn clean_message(message: &str) -> String {
    let cleaned: String = message
        .chars()
        .map(|c| if c.is_control() || is_bidi_control(c) { ' ' } else { c })
        .take(MAX_MESSAGE_CHARS)
        .collect();
    cleaned.trim().to_owned()
}

/// Characters that reorder what is printed after them.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_bounded_line() {
        let hostile = format!("moov\n\u{1b}[31mred\u{202e}{}", "x".repeat(10_000));
        let clean = clean_message(&hostile);
        assert_eq!(clean.chars().count(), MAX_MESSAGE_CHARS);
        assert!(!clean.chars().any(|c| c.is_control() || is_bidi_control(c)));
        assert!(clean.starts_with("moov  [31mred x"));
    }
}

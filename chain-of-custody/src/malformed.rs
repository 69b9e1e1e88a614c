//! The one error of every parser in this crate.
//!
//! Nothing else lives here. Invariant: a parser returns the value or names the format and the reason; it never
//! panics and never guesses.

/// Bytes that are not what their format says. The reason is a fixed sentence, so that each malformed form is a
/// named test case and no input text reaches a log through an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {format}: {reason}")]
pub struct Malformed {
    /// Which format was being read, e.g. `signed note`.
    pub format: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Malformed {
    /// A named fault of a named format.
    pub const fn new(format: &'static str, reason: &'static str) -> Self {
        Self { format, reason }
    }
}

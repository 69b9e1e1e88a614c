//! Things that cameras, docks and people claim, as they stand in statements and in entry fields.
//!
//! Here: their one text. Not here: whether they are true; nobody can tell.
//! Invariant: a claim fits one line of a statement, whatever a device sent.

use std::fmt;
use std::str::FromStr;

use crate::malformed::Malformed;
use crate::time::Timestamp;

/// Bytes of a label at most.
pub const MAX_LABEL_BYTES: usize = 200;
/// Bytes of a name as given at most.
pub const MAX_NAME_BYTES: usize = 1024;
/// What stands for a thing that is not known.
pub const UNKNOWN: &str = "-";

/// An identifier that a device gave itself (serial, recording, counter), or the name of a door: one line of
/// visible text, never `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    pub fn new(text: &str) -> Result<Self, Malformed> {
        let fault = |reason| Err(Malformed::new("label", reason));
        if text.is_empty() || text == UNKNOWN {
            return fault("it is empty");
        }
        if text.len() > MAX_LABEL_BYTES {
            return fault("it is too long");
        }
        if text.chars().any(is_invisible) {
            return fault("it holds a control or direction character");
        }
        if text.trim() != text {
            return fault("it begins or ends with a space");
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Label {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::new(text)
    }
}

/// Control characters, line and paragraph separators, and those that turn the direction of text.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A file name as it was given: data, never a path. Any text; a statement writes it as a JSON string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GivenName(String);

impl GivenName {
    pub fn new(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() || text.len() > MAX_NAME_BYTES {
            return Err(Malformed::new("name", "it is empty or too long"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name itself, unquoted.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The JSON string, with the escapes of RFC 8785.
impl fmt::Display for GivenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = serde_json::to_string(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&quoted)
    }
}

impl FromStr for GivenName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let bad = Malformed::new("name", "it is not one JSON string in its one spelling");
        let name: String = serde_json::from_str(text).map_err(|_| bad)?;
        let name = Self::new(&name)?;
        if name.to_string() == text { Ok(name) } else { Err(bad) }
    }
}

/// When the camera's clock says that the recording began and ended: `start/end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapturedClaimed {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl fmt::Display for CapturedClaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.start, self.end)
    }
}

impl FromStr for CapturedClaimed {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let bad = Malformed::new("capture times", "they are not start/end");
        let (start, end) = text.split_once('/').ok_or(bad)?;
        Ok(Self { start: start.parse().map_err(|_| bad)?, end: end.parse().map_err(|_| bad)? })
    }
}

/// What is known of a signature made inside the camera. Absent is common and no sign of alteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraSignature {
    Verified,
    Failed,
    Absent,
    NotCheckable,
}

impl CameraSignature {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::Absent => "absent",
            Self::NotCheckable => "not-checkable",
        }
    }
}

impl fmt::Display for CameraSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CameraSignature {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        [Self::Verified, Self::Failed, Self::Absent, Self::NotCheckable]
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or(Malformed::new(
                "camera signature",
                "it is none of verified, failed, absent, not-checkable",
            ))
    }
}

/// What is known of the server's clock at the moment of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClockState {
    /// Disciplined by `source` (`ntp`, `ptp`), within this error.
    Synchronised {
        source: Label,
        error_ms: u32,
    },
    Unchecked,
}

impl fmt::Display for ClockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Synchronised { source, error_ms } => {
                write!(f, "synchronised {source} ±{error_ms}ms")
            }
            Self::Unchecked => f.write_str("unchecked"),
        }
    }
}

impl FromStr for ClockState {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == "unchecked" {
            return Ok(Self::Unchecked);
        }
        let bad = Malformed::new("clock", "it is neither unchecked nor synchronised SOURCE ±Nms");
        let rest = text.strip_prefix("synchronised ").ok_or(bad)?;
        let (source, error) = rest.rsplit_once(" ±").ok_or(bad)?;
        let error_ms = error.strip_suffix("ms").ok_or(bad)?.parse().map_err(|_| bad)?;
        let state = Self::Synchronised { source: Label::new(source)?, error_ms };
        if state.to_string() == text { Ok(state) } else { Err(bad) }
    }
}

/// Writes what may be unknown.
pub(crate) fn or_unknown<T: fmt::Display>(value: Option<&T>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), T::to_string)
}

/// Reads what may be unknown; the outer `None` is a fault.
pub(crate) fn known<T: FromStr>(text: &str) -> Option<Option<T>> {
    if text == UNKNOWN { Some(None) } else { text.parse().ok().map(Some) }
}

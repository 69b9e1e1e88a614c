//! What a sender says of the bytes it sends: claims, kept as claims. None of them is ever part of a path.

use chain_of_custody::claim::{CapturedClaimed, GivenName, Label, UNKNOWN};
use chain_of_custody::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The claims that travel with an upload. What is not known is `None` and stands as `-` in entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The file's name as the sender had it.
    pub name: Option<String>,
    /// The media type that the sender gave.
    pub media_type: Option<String>,
    /// The camera's serial.
    pub camera: Option<String>,
    /// The recording's id.
    pub recording: Option<String>,
    /// Start and end by the camera's clock, `<RFC 3339>/<RFC 3339>`.
    pub captured: Option<String>,
    /// Whether the item may be privileged, intimate, covert or a third party's.
    pub restricted: bool,
    /// The dock agent's counter.
    pub agent_seq: Option<u64>,
    /// The camera's own counter or recording id.
    pub source_seq: Option<String>,
}

/// A claim that cannot be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct BadClaim {
    pub field: String,
    pub why: String,
}

impl Claims {
    /// Takes one claim under the name it has in `Upload-Metadata`. Names from other programs' vocabularies are
    /// passed over: they are echoed, not believed.
    ///
    /// # Errors
    /// [`BadClaim`] naming the field.
    pub fn set(&mut self, field: &str, value: &[u8]) -> Result<(), BadClaim> {
        let bad = |why: String| BadClaim { field: field.to_owned(), why };
        let text =
            || std::str::from_utf8(value).map_err(|_| bad("it is not UTF-8".into())).map(known);
        let label = || {
            let label = text()?.map(Label::new).transpose().map_err(|e| bad(e.to_string()))?;
            Ok::<_, BadClaim>(label.map(|label| label.to_string()))
        };
        match field {
            "filename" | "name" => {
                let name =
                    text()?.map(GivenName::new).transpose().map_err(|e| bad(e.to_string()))?;
                self.name = name.map(|name| name.as_str().to_owned());
            }
            "filetype" | "type" => self.media_type = label()?,
            "camera" => self.camera = label()?,
            "recording" => self.recording = label()?,
            "source-seq" => self.source_seq = label()?,
            "captured" => {
                let window = text()?.map(|text| window(text).ok_or_else(|| bad(WINDOW.into())));
                self.captured = window.transpose()?.map(|window| window.to_string());
            }
            "agent-seq" => {
                let number = text()?.map(|text| counter(text).ok_or_else(|| bad(COUNTER.into())));
                self.agent_seq = number.transpose()?;
            }
            "restricted" => {
                self.restricted =
                    flag(text()?).ok_or_else(|| bad("neither true nor false".into()))?;
            }
            _ => {}
        }
        Ok(())
    }
}

const WINDOW: &str = "not <start>/<end> in RFC 3339";
const COUNTER: &str = "not a decimal number";

/// `-` is how entries write what is not known.
fn known(text: &str) -> Option<&str> {
    (!text.is_empty() && text != UNKNOWN).then_some(text)
}

/// Any instant of RFC 3339 is taken; statements write it in their one form.
fn window(text: &str) -> Option<CapturedClaimed> {
    let instant = |text: &str| {
        let instant: jiff::Timestamp = text.parse().ok()?;
        Timestamp::from_unix_millis(instant.as_millisecond()).ok()
    };
    let (start, end) = text.split_once('/')?;
    Some(CapturedClaimed { start: instant(start)?, end: instant(end)? })
}

fn counter(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn flag(text: Option<&str>) -> Option<bool> {
    match text {
        Some("true" | "1") => Some(true),
        None | Some("false" | "0") => Some(false),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_as_given_whatever_they_look_like() {
        let mut claims = Claims::default();
        claims.set("filename", "../../etc/passwd\u{202e}\n".as_bytes()).unwrap();
        assert_eq!(claims.name.as_deref(), Some("../../etc/passwd\u{202e}\n"));
    }

    #[test]
    fn a_bad_claim_names_its_field() {
        let long = [b'a'; 1025];
        let cases: [(&str, &[u8]); 8] = [
            ("filename", b"\xff"),
            ("filename", &long),
            ("camera", b"a\nb"),
            ("recording", "a\u{202e}b".as_bytes()),
            ("captured", b"yesterday"),
            ("captured", b"2026-11-22T16:40:11Z"),
            ("agent-seq", b"+7"),
            ("restricted", b"perhaps"),
        ];
        for (field, value) in cases {
            let error = Claims::default().set(field, value).unwrap_err();
            assert_eq!(error.field, field);
        }
    }

    #[test]
    fn capture_times_have_one_form() {
        let mut claims = Claims::default();
        claims.set("captured", b"2026-11-22T16:40:11Z/2026-11-22T17:58:02.5+01:00").unwrap();
        let one_form = "2026-11-22T16:40:11.000Z/2026-11-22T16:58:02.500Z";
        assert_eq!(claims.captured.as_deref(), Some(one_form));
    }

    #[test]
    fn what_is_not_known_is_none() {
        let mut claims = Claims::default();
        for field in ["camera", "recording", "source-seq", "filename"] {
            claims.set(field, b"-").unwrap();
            claims.set(field, b"").unwrap();
        }
        assert_eq!(claims, Claims::default());
    }
}

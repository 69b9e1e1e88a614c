//! What a sender says of the bytes it sends: claims, kept as claims. None of them is ever part of a path.

use serde::{Deserialize, Serialize};

/// The longest name, camera, recording or other claim, in bytes.
pub const MAX_CLAIM_BYTES: usize = 255;

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
    pub why: &'static str,
}

impl Claims {
    /// Takes one claim under the name it has in `Upload-Metadata`. Names from other programs' vocabularies are
    /// passed over: they are echoed, not believed.
    ///
    /// # Errors
    /// [`BadClaim`] naming the field.
    pub fn set(&mut self, field: &str, value: &[u8]) -> Result<(), BadClaim> {
        let bad = |why| BadClaim { field: field.to_owned(), why };
        let text = || {
            let text = std::str::from_utf8(value).map_err(|_| bad("not UTF-8"))?;
            let fits = text.len() <= MAX_CLAIM_BYTES;
            fits.then(|| text.to_owned()).ok_or_else(|| bad("longer than 255 bytes"))
        };
        let word = || {
            let text = text()?;
            let plain = !text.chars().any(char::is_control);
            plain.then_some(known(text)).ok_or_else(|| bad("has control characters"))
        };
        match field {
            "filename" | "name" => self.name = known(text()?),
            "filetype" | "type" => self.media_type = word()?,
            "camera" => self.camera = word()?,
            "recording" => self.recording = word()?,
            "source-seq" => self.source_seq = word()?,
            "captured" => {
                self.captured = word()?.map(|c| window(c).ok_or_else(|| bad(WINDOW))).transpose()?
            }
            "agent-seq" => {
                self.agent_seq =
                    word()?.map(|n| counter(&n).ok_or_else(|| bad(COUNTER))).transpose()?
            }
            "restricted" => {
                self.restricted = flag(&text()?).ok_or_else(|| bad("neither true nor false"))?
            }
            _ => {}
        }
        Ok(())
    }
}

const WINDOW: &str = "not <start>/<end> in RFC 3339";
const COUNTER: &str = "not a decimal number";

/// `-` is how entries write what is not known.
fn known(text: String) -> Option<String> {
    (!text.is_empty() && text != "-").then_some(text)
}

fn window(text: String) -> Option<String> {
    let (start, end) = text.split_once('/')?;
    let good = start.parse::<jiff::Timestamp>().is_ok() && end.parse::<jiff::Timestamp>().is_ok();
    good.then_some(text)
}

fn counter(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" | "" => Some(false),
        _ => None,
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
        let long = [b'a'; MAX_CLAIM_BYTES + 1];
        let cases: [(&str, &[u8]); 7] = [
            ("filename", b"\xff"),
            ("filename", &long),
            ("camera", b"a\nb"),
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
    fn what_is_not_known_is_none() {
        let mut claims = Claims::default();
        for field in ["camera", "recording", "source-seq", "filename"] {
            claims.set(field, b"-").unwrap();
            claims.set(field, b"").unwrap();
        }
        assert_eq!(claims, Claims::default());
    }
}

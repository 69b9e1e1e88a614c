//! Canonical JSON (RFC 8785) over the values we sign: objects, arrays, strings, booleans, null and integers within
//! ±(2⁵³ − 1). Larger integers travel as decimal strings. Anything else is refused, never repaired.

use serde_json::Value;

/// The largest integer every JSON reader keeps exactly (RFC 7493, section 2.2).
pub const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// Why bytes or a value have no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("the number {0} is not an integer within ±(2^53-1)")]
    Number(String),
    #[error(
        "well-formed JSON, but not in canonical form (order, spacing, escapes or a repeated key)"
    )]
    Form,
}

/// The canonical bytes of `value`.
///
/// # Errors
/// [`NotCanonical::Number`] for fractions and integers beyond [`MAX_SAFE_INTEGER`].
pub fn to_bytes(value: &Value) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::with_capacity(512);
    write_value(&mut out, value)?;
    Ok(out)
}

/// Reads bytes that must be in canonical form already: what differs from its own re-encoding is refused, which
/// also catches repeated keys.
///
/// # Errors
/// [`NotCanonical`], naming what is wrong.
pub fn parse(bytes: &[u8]) -> Result<Value, NotCanonical> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|e| NotCanonical::NotJson(e.to_string()))?;
    let canonical = to_bytes(&value)? == bytes;
    canonical.then_some(value).ok_or(NotCanonical::Form)
}

pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value) -> Result<(), NotCanonical> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_integer(out, number)?,
        Value::String(text) => write_string(out, text),
        Value::Array(items) => write_array(out, items, write_value)?,
        Value::Object(map) => write_object(out, map)?,
    }
    Ok(())
}

fn write_integer(out: &mut Vec<u8>, number: &serde_json::Number) -> Result<(), NotCanonical> {
    let safe = |n: &i64| (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(n);
    let integer =
        number.as_i64().filter(safe).ok_or_else(|| NotCanonical::Number(number.to_string()))?;
    out.extend_from_slice(integer.to_string().as_bytes());
    Ok(())
}

/// serde_json escapes exactly what RFC 8785 section 3.2.2.2 asks for, with lower-case hex.
fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to memory cannot fail");
}

/// Keys are sorted by UTF-16 code units (RFC 8785 section 3.2.3).
fn write_object(
    out: &mut Vec<u8>,
    map: &serde_json::Map<String, Value>,
) -> Result<(), NotCanonical> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    let mut object = Object::begin(out);
    for (key, value) in entries {
        write_value(object.key(key), value)?;
    }
    object.end();
    Ok(())
}

/// Writes an object of a known shape key by key, without making a [`Value`] of it first. The keys must come in canonical
/// order; [`parse`] refuses what is written otherwise.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    /// Where the value of `key` is to be written.
    pub(crate) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        write_string(self.out, key);
        self.out.push(b':');
        self.out
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        write_string(self.key(key), value);
    }

    pub(crate) fn integer(&mut self, key: &str, value: u64) -> Result<(), NotCanonical> {
        write_integer(self.key(key), &value.into())
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// Writes an array of what `write` writes of each.
pub(crate) fn write_array<T, E>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T) -> Result<(), E>,
) -> Result<(), E> {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item)?;
    }
    out.push(b']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sorts_by_utf16_and_escapes_as_rfc_8785() {
        // U+10000 is D800 DC00 in UTF-16 and sorts before U+E000, though its code point is larger.
        let value = json!({"\u{e000}": 1, "\u{10000}": 2, "a": "\u{8}\t\n\u{c}\r\"\\\u{1f}/é"});
        let text = String::from_utf8(to_bytes(&value).unwrap()).unwrap();
        assert_eq!(
            text,
            "{\"a\":\"\\b\\t\\n\\f\\r\\\"\\\\\\u001f/é\",\"\u{10000}\":2,\"\u{e000}\":1}"
        );
    }

    #[test]
    fn refuses_everything_that_is_not_the_one_form() {
        let cases: [(&str, &[u8]); 11] = [
            ("space", b"{\"a\": 1}"),
            ("order", b"{\"b\":1,\"a\":2}"),
            ("key_twice", b"{\"a\":1,\"a\":1}"),
            ("fraction", b"1.5"),
            ("fraction_of_zero", b"1.0"),
            ("exponent", b"1e2"),
            ("minus_zero", b"-0"),
            ("beyond_2_53", b"9007199254740992"),
            ("upper_hex_escape", b"\"\\u001F\""),
            ("needless_escape", b"\"\\/\""),
            ("surrogate", b"\"\\ud800\""),
        ];
        for (name, bytes) in cases {
            assert!(parse(bytes).is_err(), "{name}");
        }
        assert!(parse(b"\"\xff\"").is_err(), "not_utf8");
        assert!(parse(b"9007199254740991").is_ok());
    }
}

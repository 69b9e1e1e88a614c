//! What people type into one line: visible text, of a length that has a name.

/// A text that is not what its field takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Malformed {
    /// The field at fault, as a request names it.
    pub field: &'static str,
    pub why: String,
}

impl Malformed {
    pub(crate) fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field, why: why.into() }
    }
}

/// One line of 1 to `most_chars` characters, without white space around it and without characters that nobody sees.
pub(crate) fn line(
    field: &'static str,
    text: &str,
    most_chars: usize,
) -> Result<String, Malformed> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Malformed::new(field, "it is empty"));
    }
    if text.chars().count() > most_chars {
        return Err(Malformed::new(field, format!("at most {most_chars} characters")));
    }
    if text.chars().any(is_invisible) {
        let why =
            "it holds a line break, a control character or one that turns the direction of text";
        return Err(Malformed::new(field, why));
    }
    Ok(text.to_owned())
}

/// Control characters, line and paragraph separators, those without width, and those that turn the direction of text.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_visible_and_of_limited_length() {
        assert_eq!(line("title", "  Öl & <b>  ", 10).unwrap(), "Öl & <b>");
        assert_eq!(line("title", &"é".repeat(10), 10).unwrap().chars().count(), 10);
        for bad in ["", " ", "a\nb", "a\u{202e}b", "a\u{200b}b", "a\0b", &"x".repeat(11)] {
            assert_eq!(line("title", bad, 10).unwrap_err().field, "title", "{bad:?}");
        }
    }
}

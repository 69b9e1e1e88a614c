//! The text of our own statements: a title with its version, then `name value` lines in one fixed order.
//!
//! Here: writing and reading such lines. Not here: what they mean. Invariant: one statement has one text; a line
//! that is missing, moved, repeated or unknown is refused by the name of the line expected.

use crate::malformed::Malformed;

/// Writes a statement's text line by line.
pub(crate) struct Writer(String);

impl Writer {
    pub(crate) fn new(title: &str) -> Self {
        Self(format!("{title}\n"))
    }

    /// Adds a line. Values come from types whose text holds no newline.
    pub(crate) fn line(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        let before = self.0.len();
        self.0.push_str(&format!("{name} {value}"));
        debug_assert!(!self.0[before..].contains('\n'), "a value holds a newline");
        self.0.push('\n');
        self
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// Reads a statement's text line by line.
pub(crate) struct Reader<'a> {
    format: &'static str,
    lines: std::iter::Peekable<std::str::Split<'a, char>>,
}

impl<'a> Reader<'a> {
    /// Begins with the title line; another title, or another version of it, is refused.
    pub(crate) fn new(format: &'static str, text: &'a str) -> Result<Self, Malformed> {
        let text =
            text.strip_suffix('\n').ok_or(Malformed::new(format, "no newline at the end"))?;
        let mut lines = text.split('\n').peekable();
        if lines.next() != Some(format) {
            return Err(Malformed::new(format, "the title or its version is another"));
        }
        Ok(Self { format, lines })
    }

    /// The value of the next line, which must be called `name` and not be empty.
    pub(crate) fn value(&mut self, name: &'static str) -> Result<&'a str, Malformed> {
        let line = self.lines.next_if(|line| line.split(' ').next() == Some(name));
        let value =
            line.and_then(|line| line.get(name.len() + 1..)).filter(|value| !value.is_empty());
        value.ok_or(Malformed::new(self.format, name_fault(name)))
    }

    /// The next line's value, read as a `T`.
    pub(crate) fn parsed<T: std::str::FromStr>(
        &mut self,
        name: &'static str,
    ) -> Result<T, Malformed> {
        self.value(name)?.parse().map_err(|_| Malformed::new(self.format, name_fault(name)))
    }

    /// The next line's value through a reader of the caller's.
    pub(crate) fn read<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Malformed> {
        read(self.value(name)?).ok_or(Malformed::new(self.format, name_fault(name)))
    }

    /// Whether another line called `name` follows.
    pub(crate) fn has(&mut self, name: &str) -> bool {
        self.lines.peek().is_some_and(|line| line.split(' ').next() == Some(name))
    }

    /// Nothing may be left.
    pub(crate) fn end(mut self) -> Result<(), Malformed> {
        match self.lines.next() {
            None => Ok(()),
            Some(_) => Err(Malformed::new(self.format, "a line too many or out of order")),
        }
    }
}

/// The reason for a line that is missing or wrong is that line's name.
fn name_fault(name: &'static str) -> &'static str {
    name
}

//! What people read: the one module of this program that prints.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the terminal's module")]

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::control::{Failure, Progress};

/// A line on standard output. A reader that has gone away is no failure of ours.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", visible(text));
}

/// Text exactly as it is, for output that other programs read.
pub(crate) fn exact(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// A line on standard error, for news that is not the answer.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", visible(text));
}

/// Whether a person is reading along.
pub(crate) fn is_watched() -> bool {
    std::io::stdout().is_terminal()
}

/// The answer in JSON.
pub(crate) fn answer(value: &Value) {
    exact(&format!("{value:#}\n"));
}

/// An error: what happened, then what to do.
pub(crate) fn failure(failure: &Failure, as_json: bool) {
    if as_json {
        let value = json!({"error": {"code": failure.code, "message": failure.message, "next": failure.next}});
        exact(&format!("{value}\n"));
    }
    note(&format!("exhibit: {}", failure.message));
    if let Some(next) = &failure.next {
        note(&format!("         {next}"));
    }
}

/// Control characters and text-direction overrides shown as what they are: names come from outside.
pub(crate) fn visible(text: &str) -> String {
    let hidden = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if hidden(c) { format!("\\u{{{:x}}}", c as u32) } else { c.to_string() })
        .collect()
}

/// A size as people say it.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// A progress bar on a terminal, nothing elsewhere.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(quiet: bool) -> Self {
        let bar = ProgressBar::no_length();
        if quiet || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.set_style(bar_style());
        Self(bar)
    }

    /// Counts steps in place of bytes.
    pub(crate) fn counting(quiet: bool) -> Self {
        let bar = Self::new(quiet);
        bar.0.set_style(counting_style());
        bar
    }

    pub(crate) fn show(&self, step: &Progress) {
        self.0.set_length(step.total_bytes);
        self.0.set_position(step.done_bytes);
        self.0.set_message(visible(&step.what));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// One line: what, how far, how fast, how long still.
pub(crate) fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{msg:30!} {wide_bar} {bytes:>10}/{total_bytes:<10} {binary_bytes_per_sec:>12} {eta:>4}",
    )
    .expect("the template is valid")
}

fn counting_style() -> ProgressStyle {
    ProgressStyle::with_template("{msg:30!} {wide_bar} {pos:>10}/{len:<10} {eta:>4}")
        .expect("the template is valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_rewrite_the_screen() {
        assert_eq!(visible("a\u{1b}[2Jb\u{202e}gpj"), "a\\u{1b}[2Jb\\u{202e}gpj");
        assert_eq!(visible("é ü 🎥"), "é ü 🎥");
    }
}

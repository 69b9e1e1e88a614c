//! `exhibit extract`, `exhibit redact`, `exhibit derive`, `exhibit cancel`.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::absolute;
use super::answers::{list, text};
use crate::control::{Derive as What, DeriveRequest, Failure, Request};
use crate::terminal::{line, size};

#[derive(Debug, Args)]
pub(crate) struct Extract {
    /// An item's id, sha256:HEX or blake3:HEX.
    #[arg(value_name = "ITEM")]
    item: String,
    /// Where it begins, from the start of the recording: seconds, MM:SS or HH:MM:SS, with decimals.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: u64,
    /// Where it ends.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: u64,
    /// Begin and end exactly there, and encode the pictures anew for it.
    #[arg(long)]
    exact: bool,
    #[command(flatten)]
    with: With,
}

#[derive(Debug, Args)]
pub(crate) struct Redact {
    /// An item's id, sha256:HEX or blake3:HEX.
    #[arg(value_name = "ITEM")]
    item: String,
    /// What must not be shown, as JSON.
    #[arg(long, value_name = "FILE")]
    list: PathBuf,
    #[command(flatten)]
    with: With,
}

#[derive(Debug, Args)]
struct With {
    /// Why; recorded.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Save a copy here; recorded as a download.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Derive {
    /// An item's id, sha256:HEX or blake3:HEX.
    #[arg(value_name = "ITEM")]
    item: String,
    /// Only this kind: proxy, poster, thumbnails, …
    #[arg(long, value_name = "KIND")]
    derivative: Option<String>,
    /// Why; recorded.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// An item's id, sha256:HEX or blake3:HEX.
    #[arg(value_name = "ITEM")]
    item: String,
}

impl Extract {
    pub(super) fn request(&self) -> Result<Request, Failure> {
        let what = What::Extract { from_ms: self.from, to_ms: self.to, exact: self.exact };
        self.with.request(&self.item, what)
    }
}

impl Redact {
    pub(super) fn request(&self) -> Result<Request, Failure> {
        let text = std::fs::read_to_string(&self.list)
            .map_err(|e| Failure::new("file", format!("{}: {e}", self.list.display())))?;
        self.with.request(&self.item, What::Redaction(text))
    }
}

impl With {
    fn request(&self, item: &str, what: What) -> Result<Request, Failure> {
        let output = self.output.as_deref().map(absolute).transpose()?;
        let (item, reason) = (item.to_owned(), self.reason.clone());
        Ok(Request::Derive(DeriveRequest { item, what, reason, output }))
    }
}

impl Derive {
    pub(super) fn request(&self) -> Request {
        let what = What::Standard(self.derivative.clone());
        let (item, reason) = (self.item.clone(), self.reason.clone());
        Request::Derive(DeriveRequest { item, what, reason, output: None })
    }
}

impl Cancel {
    pub(super) fn request(&self) -> Request {
        Request::Cancel { item: self.item.clone() }
    }

    pub(super) fn print(answer: &Value) {
        match answer["cancelled"].as_u64().unwrap_or(0) {
            0 => line("nothing was being made of it"),
            count => line(&format!(
                "{count} derivatives are wanted no more; whoever makes them stops, and records it"
            )),
        }
    }
}

pub(super) fn print(answer: &Value) {
    for made in list(answer, "derivatives") {
        let bytes = made["size_bytes"].as_u64().unwrap_or(0);
        line(&format!(
            "{:<10}  {:>10}  {}",
            text(made, "kind"),
            size(bytes),
            text(&made["digests"], "sha256")
        ));
        for note in list(made, "notes").iter().filter_map(Value::as_str) {
            line(&format!("            {note}"));
        }
    }
    if let Some(output) = answer["output"].as_str() {
        line(&format!("saved as {output}"));
    }
}

/// `12.5`, `1:02.5` or `1:02:03.5`, as milliseconds.
fn moment(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time: seconds, MM:SS or HH:MM:SS, as 12.5 or 1:02:03");
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number =
        |part: &str| (1..=6).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = whole.split(':').collect();
    if parts.len() > 3 || !parts.iter().all(|part| is_number(part)) {
        return Err(wrong());
    }
    let seconds = parts.iter().fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap_or(0));
    let decimals = match decimals.len() {
        0 if !text.contains('.') => 0,
        1..=3 if is_number(decimals) => {
            decimals.parse::<u64>().unwrap_or(0) * 10u64.pow(3 - decimals.len() as u32)
        }
        _ => return Err(wrong()),
    };
    Ok(seconds * 1000 + decimals)
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, ms) in [("0", 0), ("12.5", 12_500), ("1:02", 62_000), ("1:02:03.004", 3_723_004)]
        {
            assert_eq!(moment(text), Ok(ms), "{text}");
        }
        for wrong in ["", ".5", "1.", "-1", "1:2:3:4", "1.2345", "x", "1e3", "1::2"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}

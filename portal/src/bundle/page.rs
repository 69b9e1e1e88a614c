//! READ-ME-FIRST.html: the page that opens from a disc, without script, for people who did not ask for cryptography.

use askama::Template;
use chain_of_custody::time::Timestamp;

/// Where UK people are.
const UK: &str = "Europe/London";

/// The page. Every text is escaped; nothing in it is loaded from elsewhere.
#[derive(Debug, Template)]
#[template(path = "read-me-first.html")]
pub(super) struct Page<'a> {
    pub(super) force: &'a str,
    pub(super) contact: &'a str,
    pub(super) recipient: &'a str,
    pub(super) purpose: &'a str,
    pub(super) made_on: String,
    pub(super) case_reference: &'a str,
    pub(super) rows: Vec<Row>,
    pub(super) completeness: bool,
    /// The log witnesses that confirmed the ledger, in words; empty when nobody did.
    pub(super) confirmed_by: String,
    pub(super) bundle_key: String,
    pub(super) signer: String,
}

/// One item in the table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) reference: String,
    pub(super) description: String,
    /// By the camera's clock, in UK time; empty when not known.
    pub(super) recorded: String,
    pub(super) length: String,
    pub(super) received: String,
    pub(super) original: String,
    pub(super) size: String,
    /// What ▶ plays; none when there is no viewing copy.
    pub(super) plays: Option<String>,
    /// Browsers play the full-quality file as it is.
    pub(super) original_plays: bool,
    pub(super) poster: Option<String>,
    pub(super) sha256: String,
    pub(super) camera_signature: String,
}

/// `22 November 2026, 18:04:05 GMT (18:04:05 UTC)`.
pub(super) fn uk_time(at: Timestamp) -> String {
    let Ok(instant) = jiff::Timestamp::from_millisecond(at.unix_millis()) else {
        return at.to_string();
    };
    let Ok(zoned) = instant.in_tz(UK) else {
        // Without time zone data there is still the one time that is never wrong.
        return instant.strftime("%-d %B %Y, %H:%M:%S UTC").to_string();
    };
    format!("{} ({})", zoned.strftime("%-d %B %Y, %H:%M:%S %Z"), instant.strftime("%H:%M:%S UTC"))
}

/// `1:02:03`, whole seconds.
pub(super) fn length(duration_us: i64) -> String {
    let seconds = duration_us / 1_000_000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// `734 MB`, as disc labels count.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_words() {
        let summer = "2026-07-01T12:00:00.900Z".parse().unwrap();
        assert_eq!(uk_time(summer), "1 July 2026, 13:00:00 BST (12:00:00 UTC)");
        let winter = "2026-11-22T18:04:05.123Z".parse().unwrap();
        assert_eq!(uk_time(winter), "22 November 2026, 18:04:05 GMT (18:04:05 UTC)");
        assert_eq!((length(3_723_000_000), length(59_999_999)), ("1:02:03".into(), "0:59".into()));
        assert_eq!((size(734_003_200), size(1_500_000_000)), ("734 MB".into(), "1.5 GB".into()));
    }
}

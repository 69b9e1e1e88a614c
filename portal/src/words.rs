//! Times, lengths, sizes and marks as people read them, on pages and in bundles. Whole seconds, UK local time with BST or GMT, and UTC beside it.

use chain_of_custody::time::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Where UK people are.
const UK: &str = "Europe/London";

/// An instant in the three forms that a page needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UkTime {
    /// `22 November 2026, 18:04:05 GMT`.
    pub(crate) local: String,
    /// `18:04:05 UTC`; with its date where that is another.
    pub(crate) utc: String,
    /// For programs.
    pub(crate) iso: String,
}

impl From<Timestamp> for UkTime {
    fn from(at: Timestamp) -> Self {
        let iso = at.to_string();
        let Ok(instant) = jiff::Timestamp::from_millisecond(at.unix_millis()) else {
            return Self { local: iso.clone(), utc: String::new(), iso };
        };
        let utc = instant.to_zoned(TimeZone::UTC);
        // Without time zone data there is still the one time that is never wrong.
        let Ok(local) = instant.in_tz(UK) else {
            let local = utc.strftime("%-d %B %Y, %H:%M:%S UTC").to_string();
            return Self { local, utc: String::new(), iso };
        };
        let same_day = local.date() == utc.date();
        let form = if same_day { "%H:%M:%S UTC" } else { "%-d %B, %H:%M:%S UTC" };
        let utc = utc.strftime(form).to_string();
        Self { local: local.strftime("%-d %B %Y, %H:%M:%S %Z").to_string(), utc, iso }
    }
}

impl UkTime {
    /// On one line: `22 November 2026, 18:04:05 GMT (18:04:05 UTC)`.
    pub(crate) fn line(&self) -> String {
        if self.utc.is_empty() {
            self.local.clone()
        } else {
            format!("{} ({})", self.local, self.utc)
        }
    }
}

/// What a camera claims: when the recording began and, if it says so, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) start: UkTime,
    pub(crate) end: Option<UkTime>,
}

impl Recorded {
    /// Reads `start/end`; none when the camera says nothing that could be read.
    pub(crate) fn from_claim(claim: &str) -> Option<Self> {
        let (start, end) = claim.split_once('/').unwrap_or((claim, ""));
        let read = |text: &str| {
            let instant: jiff::Timestamp = text.trim().parse().ok()?;
            Timestamp::from_unix_millis(instant.as_millisecond()).ok().map(UkTime::from)
        };
        Some(Self { start: read(start)?, end: read(end) })
    }
}

/// The first instant of a day in the UK, as a date field sends it; `days_later` days on.
pub(crate) fn uk_day(text: &str, days_later: i64) -> Option<Timestamp> {
    let date: Date = text.parse().ok()?;
    let date = date.checked_add(jiff::Span::new().try_days(days_later).ok()?).ok()?;
    let start = date.in_tz(UK).ok()?.timestamp();
    Timestamp::from_unix_millis(start.as_millisecond()).ok()
}

/// The day that something which is kept until `end` is kept through: `3 May 2031`.
pub(crate) fn last_day(end: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(end.unix_millis() - 1) {
        Ok(last) => last.to_zoned(TimeZone::UTC).strftime("%-d %B %Y").to_string(),
        Err(_) => end.to_string(),
    }
}

/// `1:02:03`, whole seconds.
pub(crate) fn length(duration_us: i64) -> String {
    let seconds = duration_us / 1_000_000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// `734 MB`, as disc labels count.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10),
    }
}

/// A sentence that begins with a capital letter.
pub(crate) fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}

/// A mark beside a name: its words say it, its colour only repeats them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) words: &'static str,
    pub(crate) colour: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_say_their_zone() {
        let said = |text: &str| UkTime::from(text.parse::<Timestamp>().unwrap()).line();
        assert_eq!(
            said("2026-11-22T18:04:05.123Z"),
            "22 November 2026, 18:04:05 GMT (18:04:05 UTC)"
        );
        assert_eq!(said("2026-07-01T12:00:00.900Z"), "1 July 2026, 13:00:00 BST (12:00:00 UTC)");
        assert_eq!(
            said("2026-06-30T23:30:00.000Z"),
            "1 July 2026, 00:30:00 BST (30 June, 23:30:00 UTC)"
        );
    }

    #[test]
    fn claims_are_read_or_not_known() {
        let read = Recorded::from_claim("2026-07-01T12:00:00Z/2026-07-01T12:00:10Z").unwrap();
        assert_eq!(read.start.local, "1 July 2026, 13:00:00 BST");
        assert_eq!(read.end.unwrap().utc, "12:00:10 UTC");
        assert!(Recorded::from_claim("2026-07-01T12:00:00Z/-").unwrap().end.is_none());
        for unknown in ["-", "", "yesterday", "<b>/<b>"] {
            assert_eq!(Recorded::from_claim(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn days_begin_at_midnight_in_the_uk() {
        let day = |text, later| uk_day(text, later).map(|at| at.to_string());
        assert_eq!(day("2026-07-01", 0).as_deref(), Some("2026-06-30T23:00:00.000Z"));
        assert_eq!(day("2026-10-24", 1).as_deref(), Some("2026-10-24T23:00:00.000Z"));
        assert_eq!(day("2026-10-25", 1).as_deref(), Some("2026-10-26T00:00:00.000Z"));
        assert_eq!((day("1.7.2026", 0), day("", 0)), (None, None));
    }

    #[test]
    fn lengths_and_sizes() {
        assert_eq!((length(3_723_000_000), length(59_999_999)), ("1:02:03".into(), "0:59".into()));
        assert_eq!((size(734_003_200), size(1_500_000_000)), ("734 MB".into(), "1.5 GB".into()));
    }
}

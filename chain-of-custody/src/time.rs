//! Instants as they stand in statements: RFC 3339, UTC, exactly three decimals. The clock itself is the caller's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An instant in milliseconds since 1970-01-01T00:00:00Z. It orders nothing: order is the leaf index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(jiff::Timestamp);

/// Text that is not an instant in the one accepted form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an instant of the form 2026-11-22T18:04:05.123Z")]
pub struct BadTimestamp;

impl Timestamp {
    /// # Errors
    /// [`BadTimestamp`] outside the years that RFC 3339 can write (0000 to 9999).
    pub fn from_unix_millis(unix_ms: i64) -> Result<Self, BadTimestamp> {
        let instant = jiff::Timestamp::from_millisecond(unix_ms).map_err(|_| BadTimestamp)?;
        let year = instant.to_zoned(jiff::tz::TimeZone::UTC).year();
        (0..=9999).contains(&year).then_some(Self(instant)).ok_or(BadTimestamp)
    }

    /// Milliseconds since 1970.
    pub fn unix_millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// Whole seconds since 1970, rounded down.
    pub fn unix_seconds(self) -> i64 {
        self.0.as_millisecond().div_euclid(1000)
    }
}

/// The end of a day in UTC, written `2031-05-03`, in milliseconds since 1970: what is kept until that day is kept through it.
pub fn end_of_day_ms(date: &str) -> Option<i64> {
    let day: jiff::civil::Date = date.parse().ok()?;
    let next = day.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    (day.to_string() == date).then(|| next.timestamp().as_millisecond())
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        let instant: jiff::Timestamp = text.parse().map_err(|_| BadTimestamp)?;
        let parsed = Self::from_unix_millis(instant.as_millisecond())?;
        (parsed.to_string() == text).then_some(parsed).ok_or(BadTimestamp)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instant_one_text() {
        let t = Timestamp::from_unix_millis(1_700_000_000_120).unwrap();
        assert_eq!(t.to_string(), "2023-11-14T22:13:20.120Z");
        assert_eq!(t.to_string().parse::<Timestamp>().unwrap(), t);
        for bad in [
            "2023-11-14T22:13:20Z",
            "2023-11-14T22:13:20.1201Z",
            "2023-11-14T22:13:20.120+00:00",
            "now",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_day_ends_where_the_next_begins() {
        assert_eq!(end_of_day_ms("1970-01-01"), Some(86_400_000));
        assert_eq!(end_of_day_ms("2031-12-31"), Some(1_956_528_000_000));
        for bad in ["", "2031-02-30", "2031-5-3", "03/05/2031", "2031-05-03T00:00:00", "9999-12-31"]
        {
            assert_eq!(end_of_day_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn before_1970_and_the_edges() {
        assert_eq!(
            Timestamp::from_unix_millis(-1).unwrap().to_string(),
            "1969-12-31T23:59:59.999Z"
        );
        assert!(Timestamp::from_unix_millis(i64::MAX).is_err());
    }
}

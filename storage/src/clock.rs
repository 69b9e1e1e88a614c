//! The clock as an argument: what time it is, for those who may ask. It orders nothing.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use chain_of_custody::time::Timestamp;

/// Tells the time. Tests bring their own.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Now, UTC. May go backwards or be wrong by years: nothing may depend on its order.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let unix_ms = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        // A clock beyond the year 9999 is a broken one; the epoch says so in every entry and stops nothing.
        Timestamp::from_unix_millis(unix_ms)
            .or_else(|_| Timestamp::from_unix_millis(0))
            .expect("1970 is a year that RFC 3339 can write")
    }
}

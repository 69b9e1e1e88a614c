//! How often: a count per minute and key, with a limit that has a name.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests of one person. A player that seeks asks a few times a second.
pub(super) const REQUESTS_PER_PERSON_AND_MINUTE: Limit =
    Limit { name: "requests_per_person_and_minute", most: 3_000 };
/// Tries with a one-time link or an unknown session from one address: behind a proxy that is everybody's.
pub(super) const SIGN_INS_PER_ADDRESS_AND_MINUTE: Limit =
    Limit { name: "sign_ins_per_address_and_minute", most: 120 };
const MINUTE: Duration = Duration::from_secs(60);
/// Keys that are told apart; more share one count.
const MAX_KEYS: usize = 10_000;

/// A limit that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub name: &'static str,
    pub most: u32,
}

/// More often than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}: at most {} are allowed; try again in {} s", .limit.name, .limit.most, .retry_after.as_secs())]
pub struct TooMany {
    pub limit: Limit,
    pub retry_after: Duration,
}

/// Counts per key.
#[derive(Debug)]
pub(super) struct Rates<K> {
    limit: Limit,
    windows: Mutex<HashMap<Option<K>, Window>>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    count: u32,
}

impl<K: Eq + Hash> Rates<K> {
    pub(super) fn new(limit: Limit) -> Self {
        Self { limit, windows: Mutex::default() }
    }

    /// Counts one.
    pub(super) fn count(&self, key: K) -> Result<(), TooMany> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = Some(key);
        if windows.len() >= MAX_KEYS && !windows.contains_key(&key) {
            windows.retain(|_, window| window.since.elapsed() < MINUTE);
            if windows.len() >= MAX_KEYS {
                key = None;
            }
        }
        let fresh = || Window { since: Instant::now(), count: 0 };
        let window = windows.entry(key).or_insert_with(fresh);
        if window.since.elapsed() >= MINUTE {
            *window = fresh();
        }
        if window.count >= self.limit.most {
            let retry_after = MINUTE.saturating_sub(window.since.elapsed());
            let retry_after = Duration::from_secs(retry_after.as_secs() + 1);
            return Err(TooMany { limit: self.limit, retry_after });
        }
        window.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_is_limited_and_another_is_not() {
        let rates = Rates::new(Limit { name: "tries", most: 3 });
        for _ in 0..3 {
            rates.count("a").unwrap();
        }
        let refused = rates.count("a").unwrap_err();
        assert_eq!(refused.limit.name, "tries");
        assert!((1..=61).contains(&refused.retry_after.as_secs()));
        rates.count("b").unwrap();
    }
}

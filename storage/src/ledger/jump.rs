//! A clock that jumps: noticed against the machine's own counting of seconds, and made an entry.
//!
//! The clock orders nothing here; but a reader of the ledger has to be told from which entry on the times that stand
//! there are others than before.

use chain_of_custody::command::Command;
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{EventId, SubjectId, SubjectKind};
use chain_of_custody::time::Timestamp;
use rand::Rng as _;
use tokio::time::Instant;

/// What a clock that is being corrected may differ by between two batches.
const TOLERATED_MS: i64 = 60_000;

/// What the clock said last, and when that was.
#[derive(Debug)]
pub(super) struct ClockWatch {
    seen: Option<(Timestamp, Instant)>,
    /// The newest entry of an earlier process: time may have passed since, but cannot have gone back.
    newest: Option<Timestamp>,
}

impl ClockWatch {
    /// `newest` is the time in the ledger's last entry.
    pub(super) fn after(newest: Option<Timestamp>) -> Self {
        Self { seen: None, newest }
    }

    /// By how many seconds the clock is off from what was to be expected; none if it is not.
    pub(super) fn notice(&mut self, now: Timestamp, instant: Instant) -> Option<i64> {
        let now_ms = now.unix_millis();
        let expected_ms = match (self.seen.replace((now, instant)), self.newest.take()) {
            (Some((then, since)), _) => {
                let passed = instant.duration_since(since).as_millis();
                then.unix_millis().saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
            }
            // Since an earlier process any time may have passed: only the way back shows.
            (None, Some(newest)) => newest.unix_millis().max(now_ms),
            (None, None) => now_ms,
        };
        let off_ms = now_ms - expected_ms;
        (off_ms.abs() > TOLERATED_MS).then_some(off_ms / 1000)
    }
}

/// The entry about a jump of so many seconds.
pub(super) fn jumped(force: &str, seconds: i64) -> Option<Command> {
    let mut salts = [Salt([0; 32]), Salt([0; 32])];
    salts.iter_mut().for_each(|salt| rand::rng().fill_bytes(&mut salt.0));
    let [clock, by] = salts;
    let event = EventId::from_uuid(uuid::Uuid::now_v7());
    let force = SubjectId::new(SubjectKind::Force, force).ok()?;
    let command = Command::new(EventKind::ClockJumped, event)
        .touching(force)
        .field(field::CLOCK, format!("jumped by {seconds:+} s"), clock)
        .field(field::BY, "exhibit", by);
    Some(command)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TEN_YEARS_MS: i64 = 10 * 365 * 86_400_000;
    const START_MS: i64 = 1_800_000_000_000;

    fn at(unix_ms: i64) -> Timestamp {
        Timestamp::from_unix_millis(unix_ms).unwrap()
    }

    #[test]
    fn a_jump_is_noticed_once_and_the_passing_of_time_is_none() {
        let start = Instant::now();
        let mut watch = ClockWatch::after(None);
        assert_eq!(watch.notice(at(START_MS), start), None);
        let (day, later) = (86_400_000, start + Duration::from_secs(86_400));
        assert_eq!(watch.notice(at(START_MS + day), later), None, "a day without a batch");
        assert_eq!(watch.notice(at(START_MS + day + 59_000), later), None, "corrected");
        let jumped = START_MS + day + TEN_YEARS_MS;
        assert_eq!(watch.notice(at(jumped), later), Some(TEN_YEARS_MS / 1000 - 59));
        assert_eq!(watch.notice(at(jumped), later), None, "the new time is the time");
        assert_eq!(watch.notice(at(START_MS), later), Some(-(TEN_YEARS_MS + day) / 1000));
    }

    #[test]
    fn after_a_start_only_the_way_back_shows() {
        let now = Instant::now();
        let newest = Some(at(START_MS));
        assert_eq!(ClockWatch::after(newest).notice(at(START_MS + TEN_YEARS_MS), now), None);
        let back = ClockWatch::after(newest).notice(at(START_MS - TEN_YEARS_MS), now);
        assert_eq!(back, Some(-TEN_YEARS_MS / 1000));
    }
}

//! Whether the wall clock may be believed when it says that nobody has come back for too long.
//!
//! When it moves otherwise than time passes, every upload looks forgotten at once, and none is: their senders get the
//! whole time again, by the clock that only counts on. A jump while nothing runs cannot be seen, so that after a start
//! there is some time for senders to come back in any case.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chain_of_custody::time::Timestamp;

/// After a start nothing is taken for forgotten for so long, or for the time an upload has, if that is shorter.
const AFTER_START: Duration = Duration::from_secs(3600);
/// Clocks that differ by more than this between two looks do not drift: one was set, or the machine slept.
const JUMP: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Patience {
    state: Mutex<State>,
    ttl: Duration,
}

#[derive(Debug)]
struct State {
    looked_at: Instant,
    wall: Timestamp,
    /// Since when senders have their time, and how much.
    since: Instant,
    lasts: Duration,
}

impl Patience {
    pub(super) fn new(wall: Timestamp, ttl: Duration) -> Self {
        let now = Instant::now();
        let state = State { looked_at: now, wall, since: now, lasts: ttl.min(AFTER_START) };
        Self { state: Mutex::new(state), ttl }
    }

    /// Whether uploads that look forgotten by the wall clock, `wall`, are. To be asked regularly.
    pub(super) fn is_over(&self, wall: Timestamp) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let passed = i64::try_from((now - state.looked_at).as_millis()).unwrap_or(i64::MAX);
        let by_wall = wall.unix_millis().saturating_sub(state.wall.unix_millis());
        let jump_ms = by_wall.saturating_sub(passed);
        (state.looked_at, state.wall) = (now, wall);
        if u128::from(jump_ms.unsigned_abs()) > JUMP.as_millis() {
            tracing::error!(jump_ms, "the clock jumped: no upload is abandoned for a while");
            (state.since, state.lasts) = (now, self.ttl);
        }
        now - state.since >= state.lasts
    }
}

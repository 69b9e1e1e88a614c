//! When to try again, when to start anew, when to leave a clip for later, when to give up.
//!
//! A pure state machine: what happened, how long ago the last progress was and a random number are arguments.
//! Invariant: only a definite refusal ends a clip; everything that may be the line's or the server's passing trouble
//! is tried again, ever more slowly and never all docks at once, as long as patience lasts.

use std::time::Duration;

/// The first wait after a failure.
pub const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait of our own choosing.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait a server's `Retry-After` can ask for; a larger value counts as this one.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);
/// How often one clip may begin a new upload because the old one is lost or spoilt.
pub const MAX_STARTS: u32 = 5;

/// What went wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The connection could not be made, or broke.
    Broken,
    /// Whoever answers there cannot show a certificate that is trusted: trying again would give the token to nobody else.
    Untrusted { reason: String },
    /// Nothing moved for too long.
    Stalled,
    /// 429 or 503: the server asks for a pause.
    Busy { retry_after: Option<Duration> },
    /// 507: no room at present.
    Full,
    /// Another 5xx, or a reply that makes no sense.
    Faulty { status: u16 },
    /// 409, 423 or 460: the server holds another offset than we thought, or did not take the chunk.
    Offset { status: u16 },
    /// 404 or 410: the server does not know this upload (any more).
    Gone,
    /// What the server says it holds is not what was read: the line altered it.
    Altered,
    /// A definite refusal; the reason is the server's own, made printable.
    Refused { status: u16, reason: String },
}

impl Trouble {
    /// What a status that is not the expected success means. `reason` is asked for definite refusals only.
    pub fn from_status(
        status: u16,
        retry_after: Option<Duration>,
        reason: impl FnOnce() -> String,
    ) -> Self {
        match status {
            404 | 410 => Self::Gone,
            409 | 423 | 460 => Self::Offset { status },
            429 | 503 => Self::Busy { retry_after },
            507 => Self::Full,
            // The server waited in vain for our request: the line's trouble.
            408 => Self::Stalled,
            400..=499 => Self::Refused { status, reason: reason() },
            // 501 and 505 say "never": this server does not do what we ask for.
            501 | 505 => Self::Refused { status, reason: reason() },
            300..=399 => Self::Refused { status, reason: "the server sends us elsewhere".into() },
            _ => Self::Faulty { status },
        }
    }
}

/// In words for the person at the dock.
impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broken => f.write_str("no connection to the server"),
            Self::Untrusted { reason } => {
                write!(f, "the server's certificate is not trusted: {reason}")
            }
            Self::Stalled => f.write_str("the connection has stalled"),
            Self::Busy { .. } => f.write_str("the server is busy"),
            Self::Full => f.write_str("the server has no room"),
            Self::Faulty { status } => write!(f, "the server has a fault ({status})"),
            Self::Offset { status } => {
                write!(f, "the server asked to send a part again ({status})")
            }
            Self::Gone => f.write_str("the server no longer knows this upload"),
            Self::Altered => f.write_str("the server holds other bytes than were read"),
            Self::Refused { status, reason } => {
                write!(f, "the server refuses it ({status}): {reason}")
            }
        }
    }
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask for the offset and go on, after this wait.
    Retry(Duration),
    /// Begin a new upload of the same clip, after this wait.
    StartAnew(Duration),
    /// No progress for longer than patience allows: the clip waits for the next run.
    LeaveForLater,
    /// The server does not want it.
    GiveUp,
}

/// One clip's retries.
#[derive(Debug, Clone)]
pub struct Retry {
    patience: Duration,
    /// Failures since the last progress.
    failures: u32,
    starts: u32,
}

impl Retry {
    /// Leaves a clip for later once nothing has moved for `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { patience, failures: 0, starts: 0 }
    }

    /// The server's offset went forward, or a step is done: the next failure counts as a first one.
    pub fn progressed(&mut self) {
        self.failures = 0;
    }

    /// Decides after a failure. `since_progress` is the time since the offset last went forward; `chance` is uniform
    /// in 0..=u16::MAX, so that docks cut off together do not come back together.
    pub fn after(&mut self, trouble: &Trouble, since_progress: Duration, chance: u16) -> Next {
        if matches!(trouble, Trouble::Refused { .. }) {
            return Next::GiveUp;
        }
        if since_progress >= self.patience || matches!(trouble, Trouble::Untrusted { .. }) {
            return Next::LeaveForLater;
        }
        let wait = self.wait(trouble, chance);
        self.failures = self.failures.saturating_add(1);
        if !matches!(trouble, Trouble::Gone | Trouble::Altered) {
            return Next::Retry(wait);
        }
        self.starts += 1;
        if self.starts > MAX_STARTS { Next::LeaveForLater } else { Next::StartAnew(wait) }
    }

    /// Doubles with each failure; half of it fixed, half by chance. A server's wish is a lower bound.
    fn wait(&self, trouble: &Trouble, chance: u16) -> Duration {
        let doubled =
            FIRST_WAIT.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let own = doubled.min(LONGEST_WAIT);
        let spread = own / 2 * u32::from(chance) / u32::from(u16::MAX);
        match trouble {
            // The line works; only our idea of the offset was wrong.
            Trouble::Offset { .. } if self.failures == 0 => Duration::ZERO,
            Trouble::Busy { retry_after: Some(asked) } => {
                (*asked).min(LONGEST_RETRY_AFTER).max(own / 2) + spread
            }
            _ => own / 2 + spread,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Duration = Duration::from_secs(600);

    fn passing_trouble() -> impl Strategy<Value = Trouble> {
        prop_oneof![
            Just(Trouble::Broken),
            Just(Trouble::Stalled),
            Just(Trouble::Full),
            (500u16..600).prop_map(|status| Trouble::Faulty { status }),
            prop::option::of(0u64..10_000).prop_map(|seconds| Trouble::Busy {
                retry_after: seconds.map(Duration::from_secs)
            }),
            prop::sample::select(vec![409u16, 423, 460])
                .prop_map(|status| Trouble::Offset { status }),
        ]
    }

    proptest! {
        #[test]
        fn passing_trouble_is_tried_again_while_patience_lasts(
            troubles in prop::collection::vec((passing_trouble(), any::<u16>()), 1..200),
        ) {
            let mut retry = Retry::new(PATIENCE);
            for (trouble, chance) in troubles {
                let next = retry.after(&trouble, PATIENCE - Duration::from_millis(1), chance);
                let Next::Retry(wait) = next else { panic!("{trouble:?} gave {next:?}") };
                prop_assert!(wait <= LONGEST_RETRY_AFTER + LONGEST_WAIT);
                if let Trouble::Busy { retry_after: Some(asked) } = trouble {
                    prop_assert!(wait >= asked.min(LONGEST_RETRY_AFTER), "a server's wish is heard");
                }
            }
        }

        #[test]
        fn waits_grow_to_the_longest_and_progress_resets_them(
            chance in any::<u16>(), failures in 0u32..100,
        ) {
            let mut retry = Retry::new(PATIENCE);
            let mut last = Duration::ZERO;
            for _ in 0..failures {
                let Next::Retry(wait) = retry.after(&Trouble::Broken, Duration::ZERO, chance) else {
                    panic!("gave up on a broken line")
                };
                prop_assert!(wait >= last && wait <= LONGEST_WAIT);
                prop_assert!(wait >= FIRST_WAIT / 2, "no hammering");
                last = wait;
            }
            retry.progressed();
            let Next::Retry(wait) = retry.after(&Trouble::Broken, Duration::ZERO, chance) else {
                panic!("gave up on a broken line")
            };
            prop_assert!(wait <= FIRST_WAIT);
        }

        #[test]
        fn patience_ends_every_passing_trouble(trouble in passing_trouble(), chance in any::<u16>()) {
            let mut retry = Retry::new(PATIENCE);
            prop_assert_eq!(retry.after(&trouble, PATIENCE, chance), Next::LeaveForLater);
        }
    }

    #[test]
    fn every_status_has_one_meaning() {
        for status in 100..700 {
            let trouble = Trouble::from_status(status, None, || "no".into());
            let next = Retry::new(PATIENCE).after(&trouble, Duration::ZERO, 0);
            let passing = matches!(status, 404 | 408 | 409 | 410 | 423 | 429 | 460);
            let definite = (300..500).contains(&status) && !passing || matches!(status, 501 | 505);
            assert_eq!(matches!(next, Next::GiveUp), definite, "{status}");
            let lost = matches!(status, 404 | 410);
            assert_eq!(matches!(next, Next::StartAnew(_)), lost, "{status}");
        }
    }

    #[test]
    fn docks_cut_off_together_do_not_come_back_together() {
        let wait =
            |chance| match Retry::new(PATIENCE).after(&Trouble::Broken, Duration::ZERO, chance) {
                Next::Retry(wait) => wait,
                other => panic!("{other:?}"),
            };
        assert_eq!((wait(0), wait(u16::MAX)), (FIRST_WAIT / 2, FIRST_WAIT));
    }

    #[test]
    fn a_lost_upload_starts_anew_but_not_for_ever() {
        let mut retry = Retry::new(PATIENCE);
        for _ in 0..MAX_STARTS {
            let next = retry.after(&Trouble::Gone, Duration::ZERO, 0);
            assert!(matches!(next, Next::StartAnew(_)), "{next:?}");
            retry.progressed();
        }
        assert_eq!(retry.after(&Trouble::Gone, Duration::ZERO, 0), Next::LeaveForLater);
    }

    #[test]
    fn refusals_end_at_once_even_when_patience_is_over() {
        let refused = Trouble::from_status(401, None, || "token".into());
        assert_eq!(Retry::new(PATIENCE).after(&refused, PATIENCE * 2, 0), Next::GiveUp);
    }
}

//! Attempts at what is not one's own: recorded, without letting anybody flood the ledger.
//!
//! A person's first attempts in a minute become entries one by one; those beyond are counted, and become one entry
//! when the minute is over. What a count holds back is lost if the server is killed within that minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chain_of_custody::command::Command;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{CaseId, ItemId, SubjectId, SubjectKind, UserId};
use storage::ledger::SubmitError;

use super::{Access, Person};
use crate::{new_event, random_salt};

/// Attempts of one person within a minute that become entries of their own.
pub const MAX_REFUSALS_RECORDED_PER_MINUTE: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// What somebody tried to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// An item by id, whether there is one or not.
    Item(ItemId),
    /// A case by id, whether there is one or not.
    Case(CaseId),
    /// Something by an id that is none.
    Unknown,
    /// Something that their role never sees.
    Role,
}

impl Attempt {
    fn reason_code(self) -> &'static str {
        match self {
            Self::Item(_) => "item",
            Self::Case(_) => "case",
            Self::Unknown => "unknown",
            Self::Role => "role",
        }
    }

    /// The id as it was asked for; committed, like everything that says what exists.
    fn asked(self) -> String {
        match self {
            Self::Item(item) => item.to_string(),
            Self::Case(case) => case.to_string(),
            Self::Unknown | Self::Role => "-".to_owned(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Refusals {
    windows: Mutex<HashMap<UserId, Window>>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    recorded: u64,
    /// Not recorded yet.
    more: u64,
}

/// What is to be done about one attempt.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Record,
    /// Counted; the first of them sees to it that the count is recorded.
    Counted {
        first: bool,
    },
}

impl Access {
    /// Records that somebody tried to reach what is not theirs. The same work whether it exists or not.
    ///
    /// # Errors
    /// [`SubmitError`] when it cannot be recorded: then nothing may be answered but that.
    pub async fn refuse(&self, person: &Person, attempt: Attempt) -> Result<(), SubmitError> {
        match self.inner.refusals.next(person.user, Instant::now()) {
            Next::Record => {
                self.record_refusal(person, attempt.reason_code(), &attempt.asked(), 1).await
            }
            Next::Counted { first } => {
                if first {
                    let (access, person) = (self.clone(), person.clone());
                    tokio::spawn(async move {
                        tokio::time::sleep(MINUTE).await;
                        access.record_counted(&person).await;
                    });
                }
                Ok(())
            }
        }
    }

    /// Records what was counted of everybody: before a stop.
    pub async fn flush_refusals(&self) {
        let users: Vec<UserId> = self.inner.refusals.windows().keys().copied().collect();
        for user in users {
            match self.ledger().records().user(user).await {
                Ok(Some(record)) => match Person::from_record(&record) {
                    Ok(person) => self.record_counted(&person).await,
                    Err(error) => tracing::error!(%error, "refusals of a user are not recorded"),
                },
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "refusals of a user are not recorded"),
            }
        }
    }

    async fn record_counted(&self, person: &Person) {
        let counted = self.inner.refusals.windows().remove(&person.user);
        let Some(more) = counted.map(|window| window.more).filter(|more| *more > 0) else { return };
        if let Err(error) = self.record_refusal(person, "several", "-", more).await {
            tracing::error!(%error, count = more, "refused requests could not be recorded");
        }
    }

    /// The subject is the force, not what was asked for: an item's own record is not for others to write into.
    async fn record_refusal(
        &self,
        person: &Person,
        reason_code: &str,
        asked: &str,
        count: u64,
    ) -> Result<(), SubmitError> {
        let mut command = Command::new(EventKind::AccessRefused, new_event())
            .field(field::REASON_CODE, reason_code, random_salt())
            .field(field::ITEM, asked, random_salt())
            .field(field::COUNT, count.to_string(), random_salt())
            .field(field::BY, person.actor(), random_salt());
        if let Ok(force) = SubjectId::new(SubjectKind::Force, self.ledger().records().force()) {
            command = command.touching(force);
        }
        self.ledger().record(command).await.map(drop)
    }
}

impl Refusals {
    fn next(&self, user: UserId, now: Instant) -> Next {
        let mut windows = self.windows();
        let fresh = || Window { since: now, recorded: 0, more: 0 };
        let window = windows.entry(user).or_insert_with(fresh);
        // With a count that waits, the window ends when that is recorded.
        if window.more == 0 && now.duration_since(window.since) >= MINUTE {
            *window = fresh();
        }
        if window.recorded < MAX_REFUSALS_RECORDED_PER_MINUTE {
            window.recorded += 1;
            return Next::Record;
        }
        window.more += 1;
        Next::Counted { first: window.more == 1 }
    }

    fn windows(&self) -> std::sync::MutexGuard<'_, HashMap<UserId, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted() {
        let (refusals, begin) = (Refusals::default(), Instant::now());
        let user = |n: u128| UserId::from_uuid(uuid::Uuid::from_u128(n));
        let next = |n, seconds| refusals.next(user(n), begin + Duration::from_secs(seconds));
        for second in 0..MAX_REFUSALS_RECORDED_PER_MINUTE {
            assert_eq!(next(1, second), Next::Record);
        }
        assert_eq!(next(1, 20), Next::Counted { first: true });
        assert_eq!(next(1, 20), Next::Counted { first: false });
        assert_eq!(next(2, 20), Next::Record, "nobody pays for another");
        assert_eq!(next(2, 80), Next::Record);
        assert_eq!(next(1, 80), Next::Counted { first: false }, "until it is recorded");
    }
}

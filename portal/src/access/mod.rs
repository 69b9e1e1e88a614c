//! Who somebody is: people with accounts, one-time links, sessions, and what was refused to them.
//!
//! Here: adding and removing people, turning a link into a session, recognising a session. Not here: what a person may
//! see (`service`), cookies and headers (`api`, `pages`).
//! Invariant: there is no shared account, no token is kept but as SHA-256, and a refusal is recorded.

mod people;
mod rates;
mod refusals;
mod sessions;
mod text;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

pub use chain_of_custody::ids::{CaseId, UserId};
use chain_of_custody::time::Timestamp;
use storage::clock::Clock;
use storage::ledger::{Ledger, SubmitError};
use storage::records::{RecordsError, UserRecord};

pub use rates::{Limit, TooMany};
pub use refusals::{Attempt, MAX_REFUSALS_RECORDED_PER_MINUTE};
pub use sessions::{Link, Session, SignInError, SignedIn};
pub use text::Malformed;
pub(crate) use text::line;

/// How long a one-time link can be used.
pub const LINK_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long somebody stays signed in, whatever they do.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 3600);
/// How long somebody stays signed in without doing anything.
pub const SESSION_IDLE: Duration = Duration::from_secs(3600);
/// Characters in a person's name at most.
pub const MAX_NAME_CHARS: usize = 200;
/// Characters in a person's number at most.
pub const MAX_NUMBER_CHARS: usize = 32;

/// What a person does here.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the system, and sees no footage.
    Operator,
    /// Works with footage.
    Investigator,
}

impl Role {
    /// As entries have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Investigator => "investigator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let found = [Self::Operator, Self::Investigator].into_iter().find(|r| r.as_str() == text);
        found.ok_or_else(|| Malformed::new("role", "it is operator or investigator"))
    }
}

/// Somebody with an account.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Person {
    pub user: UserId,
    pub name: String,
    /// Collar or staff number.
    pub number: String,
    pub role: Role,
}

impl Person {
    /// As entries name them: `user:<number>`.
    pub fn actor(&self) -> String {
        format!("user:{}", self.number)
    }

    fn from_record(record: &UserRecord) -> Result<Self, AccessError> {
        let role = record.role.parse().map_err(|_| {
            let reason = format!("role '{}'", record.role);
            RecordsError::Corrupt { table: "users", reason }
        })?;
        let (name, number) = (record.name.clone(), record.number.clone());
        Ok(Self { user: record.user, name, number, role })
    }
}

/// Why something about people could not be done.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Ask otherwise.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Choose another number, or remove that account first.
    #[error("somebody has the number {0} already")]
    NumberTaken(String),
    /// Look at the list of users.
    #[error("nobody with the number {0} has an account")]
    NoSuchUser(String),
    /// Nothing changed, or the same again is harmless.
    #[error(transparent)]
    Ledger(#[from] SubmitError),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// People, their links and sessions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    /// A number is looked for and taken by one at a time.
    adding: tokio::sync::Mutex<()>,
    refusals: refusals::Refusals,
    requests: rates::Rates<UserId>,
    sign_ins: rates::Rates<String>,
}

impl Access {
    /// Over an open ledger and its records.
    pub fn new(ledger: Ledger, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            ledger,
            clock,
            adding: tokio::sync::Mutex::new(()),
            refusals: refusals::Refusals::default(),
            requests: rates::Rates::new(rates::REQUESTS_PER_PERSON_AND_MINUTE),
            sign_ins: rates::Rates::new(rates::SIGN_INS_PER_ADDRESS_AND_MINUTE),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }
}

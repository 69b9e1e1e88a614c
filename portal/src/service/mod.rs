//! What people may see and do, in one place: the API and the pages are two thin doors to it.
//!
//! Here: who may see what (I15), what is recorded before it is shown (I13), the views that both doors render. Not here:
//! HTTP, words of pages, who somebody is (`access`).
//! Invariant: every function takes the person who asks. What is not theirs is [`ServiceError::NotFound`], the same as
//! what does not exist, and was recorded as an attempt; what is shown was recorded, durably, before it is returned.

mod bundles;
mod cases;
mod console;
mod consult;
mod holds;
mod items;
mod media;
mod operate;
mod place;
mod playlist;
mod restricted;
mod sheet;
mod small;
mod views;
mod words;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chain_of_custody::command::Refusal;
use chain_of_custody::ids::{EventId, ItemId};
use storage::clock::Clock;
use storage::ledger::{Ledger, LedgerError, SubmitError};
use storage::objects::{ObjectStore, StoreError};
use storage::records::{NewJob, Records, RecordsError};

use crate::access::{Access, AccessError, Attempt, Malformed, Person, Role, TooMany};
use crate::bundle::Maker;

pub use bundles::{BUNDLE_KEPT, BundleOrder, MAX_BUNDLES_AT_ONCE, OrderedItem};
pub use cases::{MAX_REFERENCE_CHARS, MAX_TITLE_CHARS, NewCase};
pub use console::{Console, MAX_REASON_CHARS};
pub use consult::VIEWING;
pub use items::{ItemsQuery, MAX_PAGE_ITEMS, MAX_SEARCH_CHARS, PAGE_ITEMS};
pub use media::{Copy, Fetch, Media, Statement};
pub use operate::{DeviceError, Devices, Enrolled, GivenLink, MADE_KEPT, Made};
pub use place::{Place, Track};
pub use sheet::{OnSheet, Sheet};
pub use small::SmallCopy;
pub use storage::records::Handling;
pub use views::*;

/// What the service is made of.
#[derive(Clone)]
pub struct Parts {
    pub access: Access,
    pub ledger: Ledger,
    pub objects: ObjectStore,
    pub clock: Arc<dyn Clock>,
    pub maker: Maker,
    /// Where bundles lie while they can be downloaded; made if need be, readable to this process alone.
    pub outbox: PathBuf,
    /// Makes the statements that devices get too.
    pub receipts: Arc<dyn Receipts>,
    /// Lets devices in and out.
    pub devices: Arc<dyn Devices>,
    /// The job that makes a smaller viewing copy of an item.
    pub small_copy: fn(ItemId) -> NewJob,
}

/// Makes the statement about an item's bytes, as whoever sent them gets it.
pub trait Receipts: Send + Sync {
    /// The statement for the entry that received an item; a notice in its place for what is quarantined.
    ///
    /// # Errors
    /// What to log; whoever asked is told that it failed.
    fn statement(
        &self,
        placed: &storage::ledger::Placed,
        statement: Statement,
    ) -> Result<String, String>;
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.parts.fmt(f)
    }
}

struct Inner {
    parts: Parts,
    viewings: consult::Viewings,
    made: operate::JustMade,
    making: Arc<tokio::sync::Semaphore>,
}

/// Why somebody does not get what they asked for.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It does not exist, or is not theirs: nobody learns which.
    #[error("nothing of yours is here")]
    NotFound,
    /// Their role never sees this, whatever it is.
    #[error(
        "not for your role: operators run the system and see no footage, investigators work with footage"
    )]
    NotForRole,
    /// Ask otherwise: the field at fault, and why.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It contradicts what stands already; `code` is for programs.
    #[error("{why}")]
    Conflict { code: &'static str, why: String },
    /// A named person has to authorise it: each reason.
    #[error("a named person has to authorise this: {}", .0.join("; "))]
    NeedsAuthorisation(Vec<String>),
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// As many at once as allowed; try again.
    #[error("{limit}: as many as allowed at once; try again in {} s", .retry_after.as_secs())]
    Busy { limit: &'static str, retry_after: Duration },
    /// What has to be recorded cannot be recorded now: nothing is shown.
    #[error("this cannot be recorded now, so it is not shown")]
    CannotRecord(#[source] SubmitError),
    /// What is stored is not what was recorded: never served.
    #[error("what is stored cannot be read as it was received")]
    Damaged,
    /// Where objects rest is not reached now.
    #[error("what is stored cannot be reached now; try again in a minute")]
    StoreAway,
    /// No room for what was asked for.
    #[error("there is no room left to make this")]
    Full,
    /// Ours, and logged.
    #[error("something failed here; it was logged")]
    Internal(String),
}

impl ServiceError {
    pub(crate) fn internal(error: impl fmt::Display) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<RecordsError> for ServiceError {
    fn from(error: RecordsError) -> Self {
        Self::internal(error)
    }
}

impl From<SubmitError> for ServiceError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(Refusal::UnknownSubject(_)) => Self::NotFound,
            SubmitError::Refused(refusal) => Self::internal(refusal),
            SubmitError::Busy => {
                Self::Busy { limit: "waiting_commands", retry_after: Duration::from_secs(2) }
            }
            stopped @ SubmitError::Stopped { .. } => Self::CannotRecord(stopped),
        }
    }
}

impl From<AccessError> for ServiceError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Malformed(malformed) => Self::Malformed(malformed),
            AccessError::Ledger(error) => error.into(),
            AccessError::NoSuchUser(number) => {
                let why = format!("nobody with the number {number} has an account");
                Self::Malformed(Malformed::new("number", why))
            }
            AccessError::NumberTaken(_) => {
                let why = "somebody has this number already".to_owned();
                Self::Conflict { code: "number-taken", why }
            }
            error @ AccessError::Records(_) => Self::internal(error),
        }
    }
}

impl From<LedgerError> for ServiceError {
    fn from(error: LedgerError) -> Self {
        Self::internal(error)
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Away { .. } => {
                tracing::error!(%error, "the store is away");
                Self::StoreAway
            }
            error => {
                tracing::error!(%error, "an object cannot be read");
                Self::Damaged
            }
        }
    }
}

/// What makes a repeat of a request harmless: chosen by whoever asks, anew for each act (`Idempotency-Key`, or a hidden
/// field of a form).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey(String);

impl RequestKey {
    /// The longest key.
    pub const MAX_BYTES: usize = 128;

    /// A key as it was sent: 1 to 128 visible ASCII characters.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn new(text: &str) -> Result<Self, Malformed> {
        let good = (1..=Self::MAX_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic());
        let why = "1 to 128 visible ASCII characters, chosen anew for each act";
        good.then(|| Self(text.to_owned())).ok_or_else(|| Malformed::new("idempotency-key", why))
    }

    /// A fresh one, for a form or a request that names none.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }

    /// The text, for the form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The event that this person's request for this act gets. Another's request with the same key is another event.
    fn event(&self, person: &Person, act: &str) -> EventId {
        EventId::of_act(&format!("exhibit/request/v1\n{}\n{act}\n{}", person.user, self.0))
    }
}

impl Service {
    /// Makes the folder for bundles, and clears away what an earlier run left there.
    ///
    /// # Errors
    /// When that folder cannot be made.
    pub fn new(parts: Parts) -> std::io::Result<Self> {
        bundles::prepare(&parts.outbox)?;
        let making = Arc::new(tokio::sync::Semaphore::new(MAX_BUNDLES_AT_ONCE));
        let (viewings, made) = Default::default();
        Ok(Self { inner: Arc::new(Inner { parts, viewings, made, making }) })
    }

    /// Links, sessions and people.
    pub fn access(&self) -> &Access {
        &self.inner.parts.access
    }

    fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    fn records(&self) -> &Records {
        self.inner.parts.ledger.records()
    }

    /// Records the attempt, then says that there is nothing: the same whatever is there.
    async fn not_found(&self, person: &Person, attempt: Attempt) -> ServiceError {
        match self.access().refuse(person, attempt).await {
            Ok(()) => ServiceError::NotFound,
            Err(error) => error.into(),
        }
    }

    /// For what has no id of its own: lists, and making things.
    async fn investigators_only(&self, person: &Person) -> Result<(), ServiceError> {
        self.only(Role::Investigator, person).await
    }

    /// For what runs the system.
    async fn operators_only(&self, person: &Person) -> Result<(), ServiceError> {
        self.only(Role::Operator, person).await
    }

    async fn only(&self, role: Role, person: &Person) -> Result<(), ServiceError> {
        if person.role == role {
            return Ok(());
        }
        self.access().refuse(person, Attempt::Role).await?;
        Err(ServiceError::NotForRole)
    }

    /// What an operator sees: devices, states, counts.
    ///
    /// # Errors
    /// [`ServiceError::NotForRole`] for investigators; others.
    pub async fn overview(&self, person: &Person) -> Result<Overview, ServiceError> {
        self.operators_only(person).await?;
        let counts = self.records().counts().await?;
        let device = |record: storage::records::DeviceRecord| DeviceView {
            device: record.device,
            name: record.name,
            enrolled_at: record.enrolled_at,
            revoked_at: record.revoked_at,
        };
        Ok(Overview {
            items: counts.items,
            quarantined: counts.quarantined,
            size_bytes: counts.size_bytes,
            faults: counts.faults,
            devices: self.records().devices().await?.into_iter().map(device).collect(),
        })
    }

    /// What devices are called: for lists, and to choose from.
    ///
    /// # Errors
    /// [`ServiceError::NotForRole`] for operators, who have [`Service::overview`]; others.
    pub async fn device_names(&self, person: &Person) -> Result<Vec<DeviceName>, ServiceError> {
        self.investigators_only(person).await?;
        let devices = self.records().devices().await?;
        Ok(devices.into_iter().map(|d| DeviceName { device: d.device, name: d.name }).collect())
    }

    /// An id that is none: the same answer as for one that nobody has.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], or that it cannot be recorded.
    pub async fn no_such_thing<T>(&self, person: &Person) -> Result<T, ServiceError> {
        Err(self.not_found(person, Attempt::Unknown).await)
    }
}

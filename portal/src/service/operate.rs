//! What operators do: accounts and their one-time links, devices and their tokens.
//!
//! An operator may give anybody an account, of either role, as the console may: each is an entry that names the operator,
//! and the account's own sign-in another. Nobody ends their own account, so that somebody is always left who can.
//!
//! Links and tokens are shown once. Until they were, or for [`MADE_KEPT`], they are remembered in memory: whoever sends
//! the same request again gets the same one, and not a second.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chain_of_custody::ids::{DeviceId, EventId};
use futures_util::future::BoxFuture;

use super::{RequestKey, Service, ServiceError, UserView};
use crate::access::{Attempt, Link, MAX_NAME_CHARS, Person, Role, line};

/// How long what is shown once is remembered for whoever made it.
pub const MADE_KEPT: Duration = Duration::from_secs(10 * 60);
/// So many of them; beyond it all are forgotten.
const MAX_MADE: usize = 1000;

/// A device that was let in, or has another token. The token is shown this once.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolled {
    pub device: DeviceId,
    pub token: String,
}

impl fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enrolled({}, …)", self.device)
    }
}

/// Why a device could not be let in or out.
#[derive(Debug)]
pub enum DeviceError {
    /// There is no such device, or it was shut out.
    NotFound,
    /// It cannot be recorded now.
    Unavailable,
    Internal(String),
}

/// Lets devices in and out; keeps their tokens.
pub trait Devices: Send + Sync {
    /// Lets one in, once per event.
    fn enrol<'a>(
        &'a self,
        event: EventId,
        name: &'a str,
        by: &'a str,
    ) -> BoxFuture<'a, Result<Enrolled, DeviceError>>;

    /// Gives one another token; the old ones stop working.
    fn rotate<'a>(
        &'a self,
        event: EventId,
        device: DeviceId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<Enrolled, DeviceError>>;

    /// Shuts one out; repeating it is harmless.
    fn revoke<'a>(
        &'a self,
        device: DeviceId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<(), DeviceError>>;
}

impl From<DeviceError> for ServiceError {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::NotFound => Self::NotFound,
            DeviceError::Unavailable => {
                Self::Busy { limit: "waiting_commands", retry_after: Duration::from_secs(30) }
            }
            DeviceError::Internal(why) => Self::Internal(why),
        }
    }
}

/// Something that is shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    Link(GivenLink),
    Token(Enrolled),
}

/// Somebody's one-time link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenLink {
    pub person: Person,
    pub link: Link,
}

impl From<(Person, Link)> for GivenLink {
    fn from((person, link): (Person, Link)) -> Self {
        Self { person, link }
    }
}

/// What one kind of [`Made`] holds.
trait OneOf: Clone + Into<Made> {
    fn of(made: Made) -> Option<Self>;
}

impl From<GivenLink> for Made {
    fn from(link: GivenLink) -> Self {
        Self::Link(link)
    }
}

impl From<Enrolled> for Made {
    fn from(enrolled: Enrolled) -> Self {
        Self::Token(enrolled)
    }
}

impl OneOf for GivenLink {
    fn of(made: Made) -> Option<Self> {
        if let Made::Link(link) = made { Some(link) } else { None }
    }
}

impl OneOf for Enrolled {
    fn of(made: Made) -> Option<Self> {
        if let Made::Token(enrolled) = made { Some(enrolled) } else { None }
    }
}

/// What was made and not shown yet, by the event that made it: which nobody else's request can have.
#[derive(Debug, Default)]
pub(super) struct JustMade {
    /// One act at a time: a double click finds what the first one made.
    acting: tokio::sync::Mutex<()>,
    kept: Mutex<HashMap<EventId, (Instant, Made)>>,
}

impl JustMade {
    fn keep(&self, event: EventId, made: Made) {
        let mut kept = self.kept();
        kept.retain(|_, (since, _)| since.elapsed() < MADE_KEPT);
        if kept.len() >= MAX_MADE {
            kept.clear();
        }
        kept.insert(event, (Instant::now(), made));
    }

    fn find(&self, event: EventId) -> Option<Made> {
        let kept = self.kept();
        kept.get(&event).filter(|(since, _)| since.elapsed() < MADE_KEPT).map(|(_, m)| m.clone())
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<EventId, (Instant, Made)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes something that is shown once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    AddUser,
    GiveLink,
    EnrolDevice,
    RotateToken,
}

impl Act {
    const ALL: [Self; 4] = [Self::AddUser, Self::GiveLink, Self::EnrolDevice, Self::RotateToken];

    const fn name(self) -> &'static str {
        match self {
            Self::AddUser => "user-added",
            Self::GiveLink => "link-given",
            Self::EnrolDevice => "device.enrolled",
            Self::RotateToken => "token-rotated",
        }
    }
}

impl Service {
    /// Everybody who has or had an account, in the order in which they were added.
    ///
    /// # Errors
    /// [`ServiceError::NotForRole`] for investigators; others.
    pub async fn users(&self, person: &Person) -> Result<Vec<UserView>, ServiceError> {
        self.operators_only(person).await?;
        Ok(self.records().users().await?.into_iter().map(UserView::from).collect())
    }

    /// Gives somebody an account and a one-time link.
    ///
    /// # Errors
    /// [`ServiceError::Malformed`]; [`ServiceError::Conflict`] for a number that somebody has; others.
    pub async fn add_user(
        &self,
        person: &Person,
        name: &str,
        number: &str,
        role: &str,
        key: &RequestKey,
    ) -> Result<GivenLink, ServiceError> {
        let role: Role = role.parse()?;
        self.once(person, Act::AddUser, key, async |event| {
            let added = self.access().add_user_as(event, name, number, role, &person.actor()).await;
            Ok(added?.into())
        })
        .await
    }

    /// Gives somebody another one-time link; an unused one stops working.
    ///
    /// # Errors
    /// [`ServiceError::Malformed`] for a number that nobody has; others.
    pub async fn give_link(
        &self,
        person: &Person,
        number: &str,
        key: &RequestKey,
    ) -> Result<GivenLink, ServiceError> {
        self.once(person, Act::GiveLink, key, async |event| {
            let given = self.access().link_for_as(event, number, &person.actor()).await;
            Ok(given?.into())
        })
        .await
    }

    /// Ends somebody's account at once. Whoever has none is gone already.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] for one's own; [`ServiceError::Malformed`]; others.
    pub async fn end_user(&self, person: &Person, number: &str) -> Result<(), ServiceError> {
        self.operators_only(person).await?;
        if number.trim() == person.number {
            let why = "nobody ends their own account: another operator can, or the console";
            return Err(ServiceError::Conflict { code: "own-account", why: why.to_owned() });
        }
        let known = self.records().users().await?;
        let ended = super::cases::named(&known, number)?.is_some()
            && self.records().active_user(number.trim()).await?.is_none();
        if !ended {
            self.access().remove_user(number, &person.actor()).await?;
        }
        Ok(())
    }

    /// Lets a device in.
    ///
    /// # Errors
    /// [`ServiceError::Malformed`] and others.
    pub async fn enrol_device(
        &self,
        person: &Person,
        name: &str,
        key: &RequestKey,
    ) -> Result<Enrolled, ServiceError> {
        self.once(person, Act::EnrolDevice, key, async |event| {
            self.write_device(name, event, &person.actor()).await
        })
        .await
    }

    /// Gives a device another token; the old ones stop working.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for a device that is not there or was shut out; others.
    pub async fn rotate_token(
        &self,
        person: &Person,
        device: DeviceId,
        key: &RequestKey,
    ) -> Result<Enrolled, ServiceError> {
        self.once(person, Act::RotateToken, key, async |event| {
            let rotated = self.parts().devices.rotate(event, device, &person.actor()).await;
            self.there(person, rotated).await
        })
        .await
    }

    /// Shuts a device out. What it sent stays.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for a device that is not there; others.
    pub async fn revoke_device(
        &self,
        person: &Person,
        device: DeviceId,
    ) -> Result<(), ServiceError> {
        self.operators_only(person).await?;
        let revoked = self.parts().devices.revoke(device, &person.actor()).await;
        self.there(person, revoked).await
    }

    /// What this person's request has made, if it was not shown yet: from now on it was.
    pub fn show_once(&self, person: &Person, key: &RequestKey) -> Option<Made> {
        let mut kept = self.inner.made.kept();
        let found = Act::ALL.iter().find_map(|act| kept.remove(&key.event(person, act.name())));
        found.filter(|(since, _)| since.elapsed() < MADE_KEPT).map(|(_, made)| made)
    }

    pub(super) async fn write_device(
        &self,
        name: &str,
        event: EventId,
        by: &str,
    ) -> Result<Enrolled, ServiceError> {
        let name = line("name", name, MAX_NAME_CHARS)?;
        Ok(self.parts().devices.enrol(event, &name, by).await?)
    }

    /// Does it once per request, and remembers what it made.
    async fn once<T: OneOf>(
        &self,
        person: &Person,
        act: Act,
        key: &RequestKey,
        make: impl AsyncFnOnce(EventId) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        self.operators_only(person).await?;
        let (made, event) = (&self.inner.made, key.event(person, act.name()));
        let _one_at_a_time = made.acting.lock().await;
        if let Some(found) = made.find(event).and_then(T::of) {
            return Ok(found);
        }
        if self.records().entry_of_event(event).await?.is_some() {
            let why = "this was done already, and what it made was shown once: ask for another";
            return Err(ServiceError::Conflict { code: "shown-already", why: why.to_owned() });
        }
        let done = make(event).await?;
        made.keep(event, done.clone().into());
        Ok(done)
    }

    /// A device's id that is none.
    ///
    /// # Errors
    /// [`ServiceError::NotForRole`] for investigators, [`ServiceError::NotFound`] for operators.
    pub async fn no_such_device<T>(&self, person: &Person) -> Result<T, ServiceError> {
        self.operators_only(person).await?;
        self.no_such_thing(person).await
    }

    /// An id that no device has is an attempt like any other.
    async fn there<T>(
        &self,
        person: &Person,
        done: Result<T, DeviceError>,
    ) -> Result<T, ServiceError> {
        match done {
            Err(DeviceError::NotFound) => Err(self.not_found(person, Attempt::Unknown).await),
            done => Ok(done?),
        }
    }
}

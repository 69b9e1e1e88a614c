//! Links and sessions: tokens of 256 random bits, shown once, kept as SHA-256.

use std::time::Duration;

use chain_of_custody::command::Command;
use chain_of_custody::digest::Sha256;
use chain_of_custody::event::{EventKind, access, field};
use chain_of_custody::ids::EventId;
use chain_of_custody::time::Timestamp;
use rand::Rng as _;
use storage::ledger::SubmitError;
use storage::records::{LinkRow, RecordsError};

use super::rates::TooMany;
use super::{Access, AccessError, LINK_LIFE, Person, SESSION_IDLE, SESSION_LIFE};
use crate::{new_event, random_salt};

/// A token in text: 64 lower-case hexadecimal digits.
const TOKEN_BYTES: usize = 32;
/// A session in use is noted this often, so that looking at pages is not writing.
const SEEN_EVERY: Duration = Duration::from_secs(60);

/// A one-time link, shown this once.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    token: String,
    pub expires_at: Timestamp,
}

impl Link {
    /// Its address on this server: `/sign-in/TOKEN`.
    pub fn path(&self) -> String {
        format!("/sign-in/{}", self.token)
    }

    /// The token itself: show it once, log it never.
    pub fn reveal(&self) -> &str {
        &self.token
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link(…, until {})", self.expires_at)
    }
}

/// Somebody has just signed in: the session's token, for a cookie or a bearer header.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub person: Person,
    token: String,
    pub expires_at: Timestamp,
}

impl SignedIn {
    /// The token itself: hand it over once, log it never.
    pub fn reveal(&self) -> &str {
        &self.token
    }
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignedIn({}, …)", self.person.user)
    }
}

/// Somebody who is signed in, with this request.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    pub person: Person,
    pub expires_at: Timestamp,
    token_hash: Sha256,
    form_token: String,
}

impl Session {
    /// What a form of this session carries, so that no other site can send it (CSRF).
    pub fn form_token(&self) -> &str {
        &self.form_token
    }

    /// Whether a form came from a page of this session. Takes the same time whatever is wrong.
    pub fn accepts_form(&self, token: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.form_token.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({}, …)", self.person.user)
    }
}

/// Why a link does not open the door, in words that whoever holds it can act on.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error(
        "this link is not known: it may be mistyped, or a newer one was made for you. Ask for another link"
    )]
    Unknown,
    #[error("this link has expired: it could be used for 24 hours. Ask for another link")]
    Expired,
    #[error(
        "this link was used already: each works once. If that was not you, say so now; else ask for another link"
    )]
    Used,
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// Nobody is let in whose coming cannot be recorded.
    #[error("signing in cannot be recorded now: {0}")]
    Ledger(#[from] SubmitError),
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl From<RecordsError> for SignInError {
    fn from(error: RecordsError) -> Self {
        Self::Access(error.into())
    }
}

impl Access {
    /// Whose link this is, without using it up: for the page with the button, so that previews of links burn nothing.
    /// `address` is where the request came from.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn look_at_link(&self, token: &str, address: &str) -> Result<Person, SignInError> {
        self.inner.sign_ins.count(address.to_owned())?;
        Ok(Person::from_record(&self.usable_link(token).await?.user)?)
    }

    /// Signs somebody in with a one-time link, which works no more. Recorded before it is answered.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn redeem(&self, token: &str, address: &str) -> Result<SignedIn, SignInError> {
        self.inner.sign_ins.count(address.to_owned())?;
        let person = Person::from_record(&self.usable_link(token).await?.user)?;
        self.record_sign_in(&person).await?;
        let now = self.now();
        let (session, expires_at) = (new_token(), later(now, SESSION_LIFE));
        let records = self.ledger().records();
        records.forget_sessions(earlier(now, SESSION_IDLE), now).await?;
        let hashes = (hash(token), hash(&session));
        if !records.use_link(&hashes.0, &hashes.1, expires_at, now).await? {
            // Somebody was faster since the look a moment ago.
            return Err(SignInError::Used);
        }
        Ok(SignedIn { person, token: session, expires_at })
    }

    /// Who has this session's token; none when nobody has, or it is over.
    ///
    /// # Errors
    /// [`AccessError::Records`].
    pub async fn session(&self, token: &str) -> Result<Option<Session>, AccessError> {
        if !is_token(token) {
            return Ok(None);
        }
        let (records, now, token_hash) = (self.ledger().records(), self.now(), hash(token));
        let Some(row) = records.session(&token_hash).await? else { return Ok(None) };
        // A clock that was put back ends no session early, and one put forward ends it.
        let idle_ms = now.unix_millis() - row.seen_at.unix_millis();
        let over = row.expires_at <= now || idle_ms >= millis(SESSION_IDLE);
        if over {
            records.end_session(&token_hash).await?;
            return Ok(None);
        }
        if idle_ms >= millis(SEEN_EVERY) || idle_ms < 0 {
            records.touch_session(&token_hash, now).await?;
        }
        let person = Person::from_record(&row.user)?;
        let form_token = Sha256::of(format!("exhibit/form/v1/{token}").as_bytes()).to_string();
        Ok(Some(Session { person, expires_at: row.expires_at, token_hash, form_token }))
    }

    /// Counts a request of somebody who is signed in.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn count_request(&self, person: &Person) -> Result<(), TooMany> {
        self.inner.requests.count(person.user)
    }

    /// Counts a try with a token that nobody has, from an address.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn count_unknown(&self, address: &str) -> Result<(), TooMany> {
        self.inner.sign_ins.count(address.to_owned())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`AccessError::Records`].
    pub async fn sign_out(&self, session: &Session) -> Result<(), AccessError> {
        Ok(self.ledger().records().end_session(&session.token_hash).await?)
    }

    pub(super) async fn give_link(
        &self,
        event: EventId,
        person: &Person,
        by: &str,
    ) -> Result<Link, AccessError> {
        let command = Command::new(EventKind::AccessChanged, event)
            .touching(person.user)
            .field(field::REASON_CODE, access::LINK_GIVEN, random_salt())
            .field(field::BY, by, random_salt());
        self.ledger().submit(command).await?;
        let (token, now) = (new_token(), self.now());
        let expires_at = later(now, LINK_LIFE);
        self.ledger().records().add_link(&hash(&token), person.user, expires_at, now).await?;
        Ok(Link { token, expires_at })
    }

    async fn usable_link(&self, token: &str) -> Result<LinkRow, SignInError> {
        if !is_token(token) {
            return Err(SignInError::Unknown);
        }
        let link = self.ledger().records().link(&hash(token)).await?;
        let link = link.filter(|link| link.user.is_active()).ok_or(SignInError::Unknown)?;
        if link.used_at.is_some() {
            return Err(SignInError::Used);
        }
        if link.expires_at <= self.now() {
            return Err(SignInError::Expired);
        }
        Ok(link)
    }

    async fn record_sign_in(&self, person: &Person) -> Result<(), SubmitError> {
        let command = Command::new(EventKind::AccessChanged, new_event())
            .touching(person.user)
            .field(field::REASON_CODE, access::SIGNED_IN, random_salt())
            .field(field::BY, person.actor(), random_salt());
        self.ledger().record(command).await.map(drop)
    }
}

fn new_token() -> String {
    let mut bytes = [0; TOKEN_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_token(text: &str) -> bool {
    text.len() == 2 * TOKEN_BYTES && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn hash(token: &str) -> Sha256 {
    Sha256::of(token.as_bytes())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// At the end of time it stays there: a clock that far out lets nobody in for longer.
fn later(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_unix_millis(now.unix_millis().saturating_add(millis(by))).unwrap_or(now)
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_unix_millis(now.unix_millis().saturating_sub(millis(by))).unwrap_or(now)
}

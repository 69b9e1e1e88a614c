//! Devices: enrolled, given another token, revoked. A token is shown once and kept as SHA-256 only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chain_of_custody::command::{Command, Guard};
use chain_of_custody::digest::Sha256;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{DeviceId, EventId};
use chain_of_custody::note::VerifierKey;
use storage::records::TokenOwner;

use crate::receive::{AGENT_ROLE, ReceiveError, Receiver, new_event, salt};

/// Random bytes in a token.
const TOKEN_BYTES: usize = 32;

/// A device and the token it sends with, shown this once.
#[derive(Clone)]
pub struct Enrolled {
    pub device: DeviceId,
    pub token: Token,
}

/// What every token begins with: a scanner for leaked secrets knows it by this, and no token looks like an option of a
/// command.
const TOKEN_PREFIX: &str = "exhibit_";

/// A bearer token: [`TOKEN_PREFIX`] and 256 random bits in base64url.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    fn new() -> Self {
        let random = URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>());
        Self(format!("{TOKEN_PREFIX}{random}"))
    }

    /// The token itself: show it once, log it never.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enrolled({}, token …)", self.device)
    }
}

/// Lets a device in. `by` is who does it.
///
/// # Errors
/// [`ReceiveError`] when the ledger or the records cannot be written; then no token works.
pub async fn enrol(receiver: &Receiver, name: &str, by: &str) -> Result<Enrolled, ReceiveError> {
    enrol_as(receiver, new_event(), name, by).await
}

/// The same under an event that was chosen before.
///
/// # Errors
/// As [`enrol`].
pub async fn enrol_as(
    receiver: &Receiver,
    event: EventId,
    name: &str,
    by: &str,
) -> Result<Enrolled, ReceiveError> {
    let device = DeviceId::from_uuid(uuid::Uuid::now_v7());
    let credential_id = new_credential_id();
    let command = Command::new(EventKind::DeviceEnrolled, event)
        .touching(device)
        .provided(Guard::SubjectIsNew(device.into()))
        .field(field::NAME, name, salt())
        .field(field::CREDENTIAL_ID, credential_id.as_str(), salt())
        .field(field::BY, by, salt());
    receiver.ledger().submit(command).await?;
    let token = give_token(receiver, device, &credential_id).await?;
    Ok(Enrolled { device, token })
}

/// Gives a device another token; the old ones stop working.
///
/// # Errors
/// [`ReceiveError::NotFound`] for a device that is not there or was revoked.
pub async fn rotate(
    receiver: &Receiver,
    device: DeviceId,
    by: &str,
) -> Result<Enrolled, ReceiveError> {
    rotate_as(receiver, new_event(), device, by).await
}

/// The same under an event that was chosen before.
///
/// # Errors
/// As [`rotate`].
pub async fn rotate_as(
    receiver: &Receiver,
    event: EventId,
    device: DeviceId,
    by: &str,
) -> Result<Enrolled, ReceiveError> {
    let known = receiver.records().device(device).await?;
    known.filter(|device| device.is_active()).ok_or(ReceiveError::NotFound)?;
    let credential_id = new_credential_id();
    let command = Command::new(EventKind::AccessChanged, event)
        .touching(device)
        .provided(Guard::SubjectExists(device.into()))
        .field(field::CREDENTIAL_ID, credential_id.as_str(), salt())
        .field(field::REASON_CODE, "token-rotated", salt())
        .field(field::BY, by, salt());
    receiver.ledger().submit(command).await?;
    let token = give_token(receiver, device, &credential_id).await?;
    receiver.records().revoke_tokens(device, Some(&credential_id), receiver.now()).await?;
    Ok(Enrolled { device, token })
}

/// Shuts a device out, at once; repeating it is harmless. What it sent stays.
///
/// # Errors
/// [`ReceiveError::NotFound`] for a device that is not there.
pub async fn revoke(receiver: &Receiver, device: DeviceId, by: &str) -> Result<(), ReceiveError> {
    let known = receiver.records().device(device).await?.ok_or(ReceiveError::NotFound)?;
    // The door shuts first: should the entry fail, nothing comes in meanwhile, and a repeat writes it.
    receiver.records().revoke_tokens(device, None, receiver.now()).await?;
    if known.is_active() {
        let command = Command::new(EventKind::DeviceRevoked, new_event())
            .touching(device)
            .provided(Guard::SubjectExists(device.into()))
            .field(field::BY, by, salt());
        receiver.ledger().submit(command).await?;
    }
    Ok(())
}

/// What a token opens; none when it is nobody's.
///
/// # Errors
/// [`ReceiveError`] when the records cannot be read.
pub async fn authenticate(
    receiver: &Receiver,
    token: &str,
) -> Result<Option<TokenOwner>, ReceiveError> {
    Ok(receiver.records().token_owner(&Sha256::of(token.as_bytes())).await?)
}

/// Registers the key that a device's dock agent signs with: once. Its name is what `read-by` says in this device's
/// entries, so no two keys of a force have one name.
///
/// # Errors
/// [`ReceiveError::Conflict`] when it has another one already, or the name is another key's.
pub async fn register_key(
    receiver: &Receiver,
    device: DeviceId,
    key: &VerifierKey,
) -> Result<(), ReceiveError> {
    let _one_at_a_time = receiver.key_registration().lock().await;
    let known = receiver.device_keys(device).await?;
    if known.contains(key) {
        return Ok(());
    }
    if !known.is_empty() {
        let why = "this device has registered another key; a new one is for an operator to enrol";
        return Err(ReceiveError::Conflict { code: "key-registered", why });
    }
    if receiver.is_name_taken(key).await? {
        let why = "another key has this name: receipts could not tell the two apart";
        return Err(ReceiveError::Conflict { code: "key-name-taken", why });
    }
    let command = Command::new(EventKind::KeyPublished, new_event())
        .touching(device)
        .provided(Guard::SubjectExists(device.into()))
        .public("role", AGENT_ROLE)
        .public("key", key.to_string())
        .field(field::BY, format!("device:{device}"), salt());
    receiver.ledger().submit(command).await?;
    Ok(())
}

impl Receiver {
    /// The keys that a device's dock agent has registered.
    pub(crate) async fn device_keys(
        &self,
        device: DeviceId,
    ) -> Result<Vec<VerifierKey>, ReceiveError> {
        let keys = self.records().keys_of_device(device).await?;
        let agent = keys.iter().filter(|key| key.role == AGENT_ROLE);
        agent
            .map(|key| {
                VerifierKey::parse(&key.vkey).map_err(|e| ReceiveError::Internal(e.to_string()))
            })
            .collect()
    }
}

impl Receiver {
    /// Whether the ledger, its receipts or another key that was published goes by this key's name. The agent of a device
    /// that was revoked may come again as another device.
    async fn is_name_taken(&self, key: &VerifierKey) -> Result<bool, ReceiveError> {
        let name = key.name().as_str();
        if name == self.origin()?.as_str() || name == self.receipt_signer_name() {
            return Ok(true);
        }
        let published = self.records().published_keys().await?;
        let parsed = published.iter().filter_map(|p| Some((p, VerifierKey::parse(&p.vkey).ok()?)));
        for (publication, known) in parsed.filter(|(_, known)| known.name() == key.name()) {
            let owner = match publication.device {
                Some(device) => self.records().device(device).await?,
                None => None,
            };
            if known != *key || owner.is_none_or(|device| device.is_active()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

async fn give_token(
    receiver: &Receiver,
    device: DeviceId,
    credential_id: &str,
) -> Result<Token, ReceiveError> {
    let token = Token::new();
    let hash = Sha256::of(token.reveal().as_bytes());
    receiver.records().add_token(&hash, device, credential_id, receiver.now()).await?;
    Ok(token)
}

fn new_credential_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

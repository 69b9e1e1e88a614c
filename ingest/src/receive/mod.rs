//! Hash and store: every byte that comes in, through whichever door, comes through here.
//!
//! What lives here: taking bytes in (hashed and encrypted in the same pass, with push-back instead of growth), durable
//! offsets, finishing (verdict, object, entry, receipt), the account of every byte, expiry and recovery. What does not:
//! HTTP (`doors`), how bytes rest (`storage::objects`), who orders entries (`storage::ledger`).
//!
//! The one invariant to keep: an offset is told to nobody before its bytes are durable, read back and equal, and a
//! finished one to nobody before its receipt exists (I1, I7). Every step of finishing may be repeated after a crash,
//! and leaves one item (I8).

mod claims;
mod duplicate;
mod error;
mod finish;
mod hashing;
mod intake;
mod patience;
mod progress;
mod receipts;
mod refusals;
mod stream;
mod sweep;
mod turns;
mod uploads;
mod verdict;

use std::sync::Arc;

use chain_of_custody::claim::ClockState;
use chain_of_custody::digest::Sha256;
use chain_of_custody::entry::Salt;
use chain_of_custody::ids::{DeviceId, EventId, ItemId, LeafIndex, UploadId};
use chain_of_custody::note::Signer;
use chain_of_custody::time::Timestamp;
use storage::clock::Clock;
use storage::ledger::Ledger;
use storage::objects::ObjectStore;
use storage::records::{Outcome, Records};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use claims::{BadClaim, Claims};
pub use error::ReceiveError;
pub(crate) use finish::AGENT_ROLE;
pub use intake::Body;
pub use receipts::Statement;
pub use refusals::Refused;
pub use stream::Received;
pub use sweep::Swept;
pub use uploads::{Append, Begin, Checksum, Status};

use crate::limits::Limits;

/// Signs receipts, progress receipts and notices.
pub type ReceiptSigner = Arc<dyn Signer + Send + Sync>;

/// What the way in is made of.
#[derive(Clone)]
pub struct Parts {
    pub records: Records,
    pub objects: ObjectStore,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub receipt_signer: ReceiptSigner,
    /// The ledger's verifier key: what receipts are checked against before they leave.
    pub policy: chain_of_custody::policy::Policy,
    pub site: Site,
    pub limits: Limits,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("site", &self.site)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What receipts say of this site.
#[derive(Debug, Clone)]
pub struct Site {
    /// Copies in separate failure domains, as configured.
    pub copies: u64,
    /// What is known of the server's clock.
    pub clock: ClockState,
}

/// Where an upload comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// None for a workstation at the console.
    pub device: Option<DeviceId>,
    /// The actor of its entries: the device, or a person of the operating system.
    pub by: String,
    /// The door through which the bytes come, where no dock agent has signed for reading them.
    pub read_by: String,
    /// What it was let in with: looked at again before what it sends becomes an item.
    pub token: Option<Sha256>,
}

impl Source {
    /// An enrolled device at a door.
    pub fn device(device: DeviceId, door: &str) -> Self {
        Self {
            device: Some(device),
            by: format!("device:{device}"),
            read_by: door.to_owned(),
            token: None,
        }
    }

    /// The same, let in with the token of this hash.
    #[must_use]
    pub fn with_token(self, token: Sha256) -> Self {
        Self { token: Some(token), ..self }
    }

    /// A person at the console of this machine.
    pub fn workstation(user: &str) -> Self {
        let by = format!("os-user:{user}");
        Self { device: None, by, read_by: "workstation".to_owned(), token: None }
    }
}

/// How an upload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub outcome: Outcome,
    /// The item that holds the bytes.
    pub item: ItemId,
    /// The entry that the receipt is for.
    pub leaf_index: LeafIndex,
    /// Why it is quarantined, or empty.
    pub reason_code: String,
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Receiver {
    shared: Arc<Shared>,
}

struct Shared {
    parts: Parts,
    turns: Arc<turns::Turns>,
    pool: hashing::HashPool,
    transfers: Arc<Semaphore>,
    refusals: refusals::Refusals,
    waiting: duplicate::Waiting,
    patience: patience::Patience,
    /// Cancelled by [`Receiver::stop`]: transfers make durable what they have and end.
    stopping: CancellationToken,
    tasks: TaskTracker,
    /// A device registers one key, once: two requests at the same time must not both find none.
    key_registration: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("limits", &self.shared.parts.limits)
            .finish_non_exhaustive()
    }
}

impl Receiver {
    /// Opens the way in. Call [`Self::recover`] before the first request.
    ///
    /// # Errors
    /// When the pool's threads cannot be started.
    pub fn new(parts: Parts) -> Result<Self, ReceiveError> {
        let transfers = Arc::new(Semaphore::new(parts.limits.transfers));
        let shared = Shared {
            pool: hashing::HashPool::new(),
            transfers,
            turns: Arc::default(),
            refusals: refusals::Refusals::default(),
            waiting: duplicate::Waiting::default(),
            patience: patience::Patience::new(parts.clock.now(), parts.limits.upload_ttl),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            key_registration: tokio::sync::Mutex::default(),
            parts,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Ends all transfers at the next byte, makes durable what they have, records what was refused, and waits until
    /// that is done.
    pub async fn stop(&self) {
        self.shared.stopping.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.flush_refusals().await;
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.shared.parts.limits
    }

    /// The records behind it.
    pub fn records(&self) -> &Records {
        &self.shared.parts.records
    }

    /// The ledger behind it.
    pub fn ledger(&self) -> &Ledger {
        &self.shared.parts.ledger
    }

    /// The policy that its receipts verify under.
    pub fn policy(&self) -> &chain_of_custody::policy::Policy {
        &self.shared.parts.policy
    }

    fn objects(&self) -> &ObjectStore {
        &self.shared.parts.objects
    }

    pub(crate) fn receipt_signer_name(&self) -> &str {
        self.shared.parts.receipt_signer.name()
    }

    pub(crate) fn key_registration(&self) -> &tokio::sync::Mutex<()> {
        &self.shared.key_registration
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.parts.clock.now()
    }
}

/// 32 random bytes per field: without them no hash confirms a guess.
pub(crate) fn salt() -> Salt {
    Salt(rand::random())
}

/// Ids are UUIDv7: they sort roughly by the time they were made, which no decision rests on.
pub(crate) fn new_event() -> EventId {
    EventId::from_uuid(uuid::Uuid::now_v7())
}

fn new_item() -> ItemId {
    ItemId::from_uuid(uuid::Uuid::now_v7())
}

/// Uploads are named at random: an address is not to be guessed.
fn new_upload() -> UploadId {
    UploadId::from_uuid(uuid::Builder::from_random_bytes(rand::random()).into_uuid())
}

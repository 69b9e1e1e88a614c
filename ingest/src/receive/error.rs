//! What can go wrong on the way in, by what a caller can do about it.

use chain_of_custody::command::Refusal;
use storage::ledger::{LedgerError, SubmitError};
use storage::objects::StoreError;
use storage::records::RecordsError;

/// Errors of the way in. `problem.rs` says what a client is told.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Nothing of this sender's has that name.
    #[error("no such upload or item of this sender")]
    NotFound,
    /// It was here; begin anew.
    #[error("the upload was ended or has expired")]
    Ended,
    /// Ask for the offset and go on there.
    #[error("the upload stands at byte {offset_bytes}")]
    WrongOffset { offset_bytes: u64 },
    /// What arrived is kept; go on from there.
    #[error("the transfer broke off; the upload stands at byte {offset_bytes}")]
    Interrupted { offset_bytes: u64 },
    /// Send these bytes again.
    #[error("the bytes differ from their checksum; the upload stands at byte {offset_bytes}")]
    Checksum { offset_bytes: u64 },
    /// Never send so much.
    #[error("above the limit {limit}: at most {most_bytes} bytes")]
    TooLarge { limit: &'static str, most_bytes: u64 },
    /// Mend the request.
    #[error("{what}: {why}")]
    Malformed { what: &'static str, why: String },
    /// Not in this state, or never.
    #[error("{why}")]
    NotAllowed { code: &'static str, why: &'static str },
    /// In conflict with what stands.
    #[error("{why}")]
    Conflict { code: &'static str, why: &'static str },
    /// Come back later.
    #[error("as many as allowed at once: {limit}")]
    Busy { limit: &'static str },
    /// Come back when there is room.
    #[error("the store has no room for more")]
    Full,
    /// The same recording is held and cannot be read: what came now is kept, and nothing acknowledged.
    #[error("what is held already of this recording cannot be read")]
    HeldDamaged,
    /// The ledger takes nothing now; nothing was acknowledged.
    #[error("the ledger has stopped: {0}")]
    LedgerStopped(String),
    /// The ledger will not have it: a fault of ours.
    #[error("the ledger refused: {0}")]
    Refused(Refusal),
    /// The store is away: what is durable stays; come back later.
    #[error("the store is not reached: {0}")]
    StoreAway(StoreError),
    /// The store failed: what is durable stays; nothing more is acknowledged.
    #[error(transparent)]
    Store(StoreError),
    /// The database failed.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for ReceiveError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Away { .. } => Self::StoreAway(error),
            other => Self::Store(other),
        }
    }
}

impl From<SubmitError> for ReceiveError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(refusal) => Self::Refused(refusal),
            SubmitError::Busy => Self::Busy { limit: "ledger" },
            SubmitError::Stopped { reason } => Self::LedgerStopped(reason),
        }
    }
}

impl From<LedgerError> for ReceiveError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::NoSuchEntry(_) => Self::NotFound,
            LedgerError::Closed => Self::LedgerStopped(error.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}

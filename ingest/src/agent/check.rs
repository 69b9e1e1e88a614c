//! Whether a receipt proves exactly what the agent must know before it says "safe" (I7).
//!
//! Here: the checks, each with a name of its own. Not here: fetching receipts, keeping them.
//! Invariant: a [`Proven`] exists only if the entry is in the ledger that the pinned policy trusts, says "stored" or
//! "held already", and opens to this device, this size, both digests and this manifest of ours.

use chain_of_custody::digest::{Digests, Sha256};
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{DeviceId, ItemId, LeafIndex};
use chain_of_custody::note::SignedNote;
use chain_of_custody::policy::Policy;
use chain_of_custody::receipt::{QuarantineNotice, Receipt, ReceiptError, VerifiedReceipt};

/// What the agent knows from its own reading, and holds a receipt against.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub size_bytes: u64,
    pub digests: Digests,
    pub manifest_sha256: Sha256,
    /// The item that the reply named beside the receipt.
    pub item: ItemId,
    /// Ourselves, where the agent knows its id already.
    pub device: Option<DeviceId>,
}

/// What a receipt proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    pub item: ItemId,
    pub entry: LeafIndex,
    pub duplicate: bool,
    pub device: DeviceId,
    /// As the entry states it; `-` where it does not.
    pub copies: String,
    pub rests_on: Vec<String>,
}

/// Why a receipt does not let the camera's copy go. Each is said to the person at the dock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Form, signature, inclusion or an opening.
    #[error("{0}")]
    Receipt(#[from] ReceiptError),
    /// The claim failed; the bytes are kept apart.
    #[error("quarantined: {reason}")]
    Quarantined { reason: String },
    /// The entry records another act.
    #[error("the entry is a {0}, not of an item received")]
    Kind(&'static str),
    /// The entry does not say that the item is stored.
    #[error("the state is '{0}', not 'stored'")]
    State(String),
    /// The entry is about another item than the reply named.
    #[error("the item is another")]
    Item,
    /// A field that must be opened is not.
    #[error("the {0} is not opened")]
    NotOpened(&'static str),
    /// A field says something else than our own reading.
    #[error("the {0} is not ours")]
    Differs(&'static str),
}

/// Holds a receipt, as received, against the pinned policy and our own reading.
///
/// # Errors
/// [`Unproven`] with the first check that fails.
pub fn check_receipt(
    bytes: &[u8],
    policy: &Policy,
    expected: &Expected,
) -> Result<Proven, Unproven> {
    let receipt = match Receipt::parse(bytes) {
        Ok(receipt) => receipt,
        Err(error) => return Err(quarantine_notice(bytes).unwrap_or(error.into())),
    };
    let verified = receipt.verify_by_log(policy)?;
    let duplicate = check_act(&verified)?;
    check_ours(&verified, expected)?;
    Ok(Proven {
        item: expected.item,
        entry: verified.leaf_index,
        duplicate,
        device: same(&verified, field::DEVICE, expected.device)?,
        copies: verified.value(field::COPIES).unwrap_or("-").to_owned(),
        rests_on: verified.rests_on.sentences(),
    })
}

/// A notice in place of a receipt only ever says "not safe", so it is heard without a check of its signature.
fn quarantine_notice(bytes: &[u8]) -> Option<Unproven> {
    let note = SignedNote::parse(bytes).ok()?;
    let notice = QuarantineNotice::parse(note.text()).ok()?;
    Some(Unproven::Quarantined { reason: notice.reason_code.to_string() })
}

/// Received and stored, or held already; anything else is not safe. Says whether it is a duplicate.
fn check_act(verified: &VerifiedReceipt) -> Result<bool, Unproven> {
    let state = verified.value(field::STATE);
    if state == Some("quarantined") {
        let reason = verified.value(field::REASON_CODE).unwrap_or("no reason given").to_owned();
        return Err(Unproven::Quarantined { reason });
    }
    match (verified.entry.kind, state) {
        (EventKind::ItemReceived, Some("stored")) => Ok(false),
        (EventKind::ItemReceived, None) => Err(Unproven::NotOpened(field::STATE)),
        // A duplicate's entry need not repeat the state of the item it names.
        (EventKind::ItemDuplicate, None | Some("stored")) => Ok(true),
        (EventKind::ItemReceived | EventKind::ItemDuplicate, Some(other)) => {
            Err(Unproven::State(other.chars().take(40).collect()))
        }
        (other, _) => Err(Unproven::Kind(other.as_str())),
    }
}

fn check_ours(verified: &VerifiedReceipt, expected: &Expected) -> Result<(), Unproven> {
    let items = verified.entry.subjects.iter().filter_map(|subject| subject.id.item());
    // A duplicate may name the item it belongs to beside its own: ours must be among them.
    if !items.into_iter().any(|item| item == expected.item) {
        return Err(Unproven::Item);
    }
    same(verified, field::SIZE_BYTES, Some(expected.size_bytes))?;
    same(verified, field::SHA256, Some(expected.digests.sha256))?;
    same(verified, field::BLAKE3, Some(expected.digests.blake3))?;
    same(verified, field::MANIFEST_SHA256, Some(expected.manifest_sha256))?;
    Ok(())
}

/// The opened value of `name`, which must be ours where we know it.
fn same<T>(verified: &VerifiedReceipt, name: &'static str, ours: Option<T>) -> Result<T, Unproven>
where
    T: std::str::FromStr + ToString,
{
    let text = verified.value(name).ok_or(Unproven::NotOpened(name))?;
    let value: T = text.parse().map_err(|_| Unproven::Differs(name))?;
    // Compared as text: one value, one spelling.
    let equal = ours.is_none_or(|ours| ours.to_string() == text) && value.to_string() == text;
    equal.then_some(value).ok_or(Unproven::Differs(name))
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;

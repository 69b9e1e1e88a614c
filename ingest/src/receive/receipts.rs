//! Receipts and notices, made again from the ledger whenever they are asked for.

use chain_of_custody::claim::UNKNOWN;
use chain_of_custody::command::device_text;
use chain_of_custody::entry::{Entry, Opening};
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{ItemId, LeafIndex};
use chain_of_custody::note::{NoteError, SignedNote, Signer};
use chain_of_custody::receipt::{QuarantineNotice, Receipt, ReceiptText};
use storage::ledger::Placed;

use super::{ReceiveError, Receiver, Source};

/// Which statement about a held item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// The proof: a `.tlog-proof`.
    Proof,
    /// The signed note for people.
    Text,
}

impl Receiver {
    /// The receipt for the bytes that `source` sent and that became `item`; with `entry`, for that entry of its (a
    /// duplicate's). For what is quarantined there is a notice in its place, which promises nothing.
    ///
    /// # Errors
    /// [`ReceiveError::NotFound`] unless this very device sent those bytes: no reply tells what others hold.
    pub async fn statement(
        &self,
        source: &Source,
        item: ItemId,
        entry: Option<LeafIndex>,
        statement: Statement,
    ) -> Result<String, ReceiveError> {
        let leaf_index = match entry {
            Some(leaf_index) => leaf_index,
            None => self.records().item(item).await?.ok_or(ReceiveError::NotFound)?.leaf_index,
        };
        let placed = self.ledger().placed(leaf_index).await?;
        let entry =
            Entry::parse(&placed.entry).map_err(|e| ReceiveError::Internal(e.to_string()))?;
        if !is_theirs(&entry, &placed.openings, item, source) {
            return Err(ReceiveError::NotFound);
        }
        self.statement_for(&placed, statement)
    }

    /// The statement for an entry that received something, for whoever may see it: that is decided by the caller.
    ///
    /// # Errors
    /// [`ReceiveError::Internal`] for an entry that received nothing.
    pub fn statement_for(
        &self,
        placed: &Placed,
        statement: Statement,
    ) -> Result<String, ReceiveError> {
        let entry =
            Entry::parse(&placed.entry).map_err(|e| ReceiveError::Internal(e.to_string()))?;
        let quarantined = value(&placed.openings, field::STATE) == Some("quarantined");
        match statement {
            _ if quarantined => self.notice(placed, &entry),
            Statement::Proof => Ok(self.proof(placed)?.to_string()),
            Statement::Text => self.text(placed, &entry),
        }
    }

    /// Checked before it leaves: a receipt that our own policy would not accept is a fault to stop at.
    fn proof(&self, placed: &Placed) -> Result<Receipt, ReceiveError> {
        let internal = |e: &dyn std::fmt::Display| ReceiveError::Internal(format!("receipt: {e}"));
        let receipt = placed.receipt().map_err(|e| internal(&e))?;
        receipt.verify_by_log(self.policy()).map_err(|e| internal(&e))?;
        Ok(receipt)
    }

    fn text(&self, placed: &Placed, entry: &Entry) -> Result<String, ReceiveError> {
        let text =
            ReceiptText::from_entry(&self.origin()?, placed.leaf_index, entry, &placed.openings)
                .map_err(|e| ReceiveError::Internal(format!("receipt text: {e}")))?;
        self.sign(|signer| text.sign(signer))
    }

    fn notice(&self, placed: &Placed, entry: &Entry) -> Result<String, ReceiveError> {
        let origin = self.origin()?;
        let notice =
            QuarantineNotice::from_entry(&origin, placed.leaf_index, entry, &placed.openings)
                .map_err(|e| ReceiveError::Internal(format!("notice: {e}")))?;
        self.sign(|signer| notice.sign(signer))
    }

    pub(super) fn sign(
        &self,
        sign: impl FnOnce(&dyn Signer) -> Result<SignedNote, NoteError>,
    ) -> Result<String, ReceiveError> {
        let note = sign(self.shared.parts.receipt_signer.as_ref());
        note.map(|note| note.to_string())
            .map_err(|e| ReceiveError::Internal(format!("signing: {e}")))
    }
}

fn is_theirs(entry: &Entry, openings: &[Opening], item: ItemId, source: &Source) -> bool {
    let arrival = matches!(entry.kind, EventKind::ItemReceived | EventKind::ItemDuplicate);
    let about = entry.subjects.iter().any(|subject| subject.id.item() == Some(item));
    let device = value(openings, field::DEVICE).unwrap_or(UNKNOWN);
    arrival && about && device == device_text(source.device)
}

pub(super) fn value<'a>(openings: &'a [Opening], name: &str) -> Option<&'a str> {
    openings
        .iter()
        .find(|opening| opening.name.as_str() == name)
        .map(|opening| opening.value.as_str())
}

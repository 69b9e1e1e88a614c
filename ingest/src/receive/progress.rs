//! Progress receipts: proof of what had arrived, should the camera be lost half-way.

use chain_of_custody::checkpoint::Origin;
use chain_of_custody::digest::{ContentHasher, Digests};
use chain_of_custody::ids::UploadId;
use chain_of_custody::receipt::ProgressReceipt;
use storage::objects::WriterState;
use storage::records::UploadRow;

use super::{ReceiveError, Receiver, Source};

impl Receiver {
    /// The signed note for the bytes held durably now. Disturbs no transfer.
    ///
    /// # Errors
    /// [`ReceiveError::NotFound`] for another device's upload; [`ReceiveError::NotAllowed`] once there is a receipt.
    pub async fn progress(
        &self,
        source: &Source,
        upload: UploadId,
    ) -> Result<String, ReceiveError> {
        let row = self.find(source, upload).await?;
        let digests = self.digests_held(&row).await?;
        let receipt = ProgressReceipt {
            ledger: self.origin()?,
            upload,
            held_bytes: row.offset_bytes,
            digests,
            at: self.now(),
        };
        self.sign(|signer| receipt.sign(signer))
    }

    /// Of the bytes that are held durably.
    pub(super) async fn digests_held(&self, row: &UploadRow) -> Result<Digests, ReceiveError> {
        match (&row.sealed, &row.writer) {
            (Some((_, digests)), _) => Ok(*digests),
            (None, Some(_)) => self.digests_so_far(row).await,
            (None, None) => Ok(ContentHasher::new().finish().0),
        }
    }

    /// From the hash state that was kept with the offset; the writer itself is not touched.
    async fn digests_so_far(&self, row: &UploadRow) -> Result<Digests, ReceiveError> {
        let internal = |e: &dyn std::fmt::Display| ReceiveError::Internal(e.to_string());
        let state = row.writer.as_deref().unwrap_or_default();
        let state: WriterState = serde_json::from_str(state).map_err(|e| internal(&e))?;
        let hash_state = self.objects().hash_state(&state).await?;
        Ok(ContentHasher::resume(&hash_state).map_err(|e| internal(&e))?.finish().0)
    }

    pub(crate) fn origin(&self) -> Result<Origin, ReceiveError> {
        let force = self.records().force();
        Origin::new(force).map_err(|e| ReceiveError::Internal(format!("origin: {e}")))
    }
}

//! A workstation's way in, without tus: the bytes of a reader, straight through.

use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use storage::records::{NewUpload, Outcome, UploadShape};

use super::intake::{Counts, End, Incoming};
use super::{Claims, Ending, ReceiveError, Receiver, Source, new_event, new_item, new_upload};
use crate::limits::BATCH_BYTES;

/// What became of a reader's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub ending: Ending,
    pub size_bytes: u64,
}

impl Received {
    /// Whether they made a new item.
    pub fn is_new(&self) -> bool {
        self.ending.outcome != Outcome::Duplicate
    }
}

impl Receiver {
    /// Takes everything that `reader` gives as one item of a workstation. When it returns, the receipt exists.
    ///
    /// # Errors
    /// [`ReceiveError`]; nothing of an item that failed half-way stays.
    pub async fn receive_stream(
        &self,
        source: &Source,
        claims: Claims,
        reader: impl AsyncRead + Send + 'static,
    ) -> Result<Received, ReceiveError> {
        self.check_room(0)?;
        let claims =
            serde_json::to_string(&claims).map_err(|e| ReceiveError::Internal(e.to_string()))?;
        let new = NewUpload {
            upload: new_upload(),
            device: source.device,
            by: source.by.clone(),
            read_by: source.read_by.clone(),
            shape: UploadShape::Whole,
            length_bytes: None,
            item: new_item(),
            event: new_event(),
            duplicate_event: new_event(),
            claims,
            metadata: String::new(),
            parts: Vec::new(),
        };
        self.records().begin_upload(&new, self.now()).await?;
        let held = self.shared.turns.take(new.upload).await;
        let incoming = Incoming {
            body: Box::pin(ReaderStream::with_capacity(reader, BATCH_BYTES)),
            wanted: held.wanted.clone(),
            stopping: CancellationToken::clone(&self.shared.stopping),
            idle: self.limits().idle,
            room_bytes: self.limits().item_size_bytes,
            token: source.token,
        };
        let result = self.take_stream(&new, incoming).await;
        if result.is_err() {
            self.give_up(&new).await;
        }
        drop(held);
        result
    }

    async fn take_stream(
        &self,
        new: &NewUpload,
        mut incoming: Incoming,
    ) -> Result<Received, ReceiveError> {
        let mut row = self.find_any(new).await?;
        let mut live = self.open_live(&row).await?;
        let taken =
            self.take_in(&mut row, &mut live, &mut incoming, Counts::Bytewise, |_| {}).await?;
        match taken {
            End::Complete => {}
            End::Broke => return Err(ReceiveError::Interrupted { offset_bytes: row.offset_bytes }),
            End::Excess => {
                let most_bytes = self.limits().item_size_bytes;
                return Err(ReceiveError::TooLarge { limit: "item_size_bytes", most_bytes });
            }
        }
        let sealed = self.seal(&row, live).await?;
        let row = self.find_any(new).await?;
        let ending = self.settle(&row, Some(sealed)).await?;
        let ending =
            ending.ok_or_else(|| ReceiveError::Internal("a whole upload has an ending".into()))?;
        Ok(Received { ending, size_bytes: row.offset_bytes })
    }

    async fn find_any(&self, new: &NewUpload) -> Result<storage::records::UploadRow, ReceiveError> {
        self.records().upload(new.upload).await?.ok_or(ReceiveError::NotFound)
    }

    /// Nobody comes back for a workstation's upload: unless it is sealed, in which case the sweeper finishes it.
    async fn give_up(&self, new: &NewUpload) {
        let Ok(row) = self.find_any(new).await else { return };
        if row.state == storage::records::UploadState::Receiving
            && let Err(error) = self.abandon(&row).await
        {
            tracing::warn!(upload = %new.upload, %error, "an abandoned upload could not be removed");
        }
    }
}

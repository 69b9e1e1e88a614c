//! Taking bytes in: frames from the sender are gathered, hashed and written at the same time, and made durable.
//!
//! Three things run beside each other: the next batch is gathered while the one before is hashed on the pool and
//! written by the store. Each transfer holds two batches at most; a slow disk fills them and the socket, not memory.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use chain_of_custody::digest::{ContentHasher, Sha256};
use futures_util::{Stream, StreamExt};
use storage::failpoint;
use storage::objects::{ObjectWriter, WriterState};
use storage::records::{Moved, TokenOwner, UploadRow, UploadShape};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::finish::object_name;
use super::{ReceiveError, Receiver};
use crate::limits::{BATCH_BYTES, PERSIST_EVERY_BYTES};

/// Bytes from a sender. An error means that the sender, or the line, is gone.
pub type Body = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A slow sender's bytes do not wait longer than this for their batch to fill.
const GATHER_FOR: Duration = Duration::from_secs(1);
/// On a slow line a kill costs no more than this, whatever [`PERSIST_EVERY_BYTES`] says.
const PERSIST_EVERY: Duration = Duration::from_secs(5);

/// Whoever sends less than this in [`PERSIST_EVERY`] is slow: memory that others wait for is not kept for them.
const SLOW_BYTES: u64 = 8 << 20;

/// An upload with its writer and hasher, at some offset.
pub(super) struct Live {
    writer: ObjectWriter,
    /// None only while a batch is on the pool.
    hasher: Option<ContentHasher>,
    pub(super) offset_bytes: u64,
    durable_at: Instant,
}

/// How the bytes of one request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The request's body ended as it should.
    Complete,
    /// The line broke, or nothing came for too long, or somebody else wants the turn, or the server stops.
    Broke,
    /// More came than the upload has room for.
    Excess,
}

/// Whether part of a request counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counts {
    /// Every byte that arrived.
    Bytewise,
    /// All of them or none: there is a checksum.
    Whole,
}

/// Where a request's bytes come from, and what ends them early.
pub(super) struct Incoming {
    pub(super) body: Body,
    /// Somebody else wants the upload.
    pub(super) wanted: CancellationToken,
    pub(super) stopping: CancellationToken,
    pub(super) idle: Duration,
    /// Room left in the upload.
    pub(super) room_bytes: u64,
    /// What the sender was let in with.
    pub(super) token: Option<Sha256>,
}

#[derive(Default)]
struct Batch {
    frames: Vec<Bytes>,
    bytes: usize,
    end: Option<End>,
}

impl Incoming {
    /// Where there is no room left: waits for the end of a body that must be empty. What ends a transfer ends this.
    pub(super) async fn nothing(&mut self) -> End {
        // A batch that may not have bytes has an end.
        self.gather().await.end.unwrap_or(End::Complete)
    }

    async fn gather(&mut self) -> Batch {
        let mut batch = Batch::default();
        let give_up = Instant::now() + self.idle;
        let hand_on = Instant::now() + GATHER_FOR;
        while batch.bytes < BATCH_BYTES && batch.end.is_none() {
            let until = if batch.bytes > 0 { hand_on } else { give_up };
            tokio::select! {
                biased;
                () = self.wanted.cancelled() => batch.end = Some(End::Broke),
                () = self.stopping.cancelled() => batch.end = Some(End::Broke),
                frame = self.body.next() => batch.add(frame, &mut self.room_bytes),
                () = tokio::time::sleep_until(until) => {
                    if batch.bytes > 0 { break }
                    batch.end = Some(End::Broke);
                }
            }
        }
        batch
    }
}

impl Batch {
    fn add(&mut self, frame: Option<io::Result<Bytes>>, room_bytes: &mut u64) {
        match frame {
            Some(Ok(bytes)) if bytes.len() as u64 > *room_bytes => self.end = Some(End::Excess),
            Some(Ok(bytes)) => {
                *room_bytes -= bytes.len() as u64;
                self.bytes += bytes.len();
                self.frames.push(bytes);
            }
            Some(Err(_)) => self.end = Some(End::Broke),
            None => self.end = Some(End::Complete),
        }
    }
}

impl Receiver {
    /// Takes an upload up where it was last durable.
    pub(super) async fn open_live(&self, row: &UploadRow) -> Result<Live, ReceiveError> {
        let (writer, hasher) = match &row.writer {
            Some(state) => {
                let state: WriterState = serde_json::from_str(state)
                    .map_err(|e| ReceiveError::Internal(format!("writer state: {e}")))?;
                let (writer, state) = self.objects().resume(state).await?;
                let hasher = ContentHasher::resume(&state)
                    .map_err(|e| ReceiveError::Internal(e.to_string()))?;
                (writer, hasher)
            }
            None => {
                // What an earlier attempt left behind before its first durable offset counts for nothing.
                self.objects().discard(row.upload).await?;
                let name = object_name(row)?;
                let writer = match row.shape {
                    UploadShape::Partial => self.objects().begin_piece(row.upload, name).await?,
                    _ => self.objects().begin(row.upload, name).await?,
                };
                (writer, ContentHasher::new())
            }
        };
        let offset_bytes = hasher.size_bytes();
        if offset_bytes != row.offset_bytes || writer.size_bytes() != row.offset_bytes {
            return Err(ReceiveError::Internal(
                "the store and the records disagree on the offset".into(),
            ));
        }
        Ok(Live { writer, hasher: Some(hasher), offset_bytes, durable_at: Instant::now() })
    }

    /// Takes a whole request in. On the way, what arrived is made durable every so often, unless it counts as a whole.
    pub(super) async fn take_in(
        &self,
        row: &mut UploadRow,
        live: &mut Live,
        incoming: &mut Incoming,
        counts: Counts,
        mut also: impl FnMut(&[Bytes]),
    ) -> Result<End, ReceiveError> {
        let mut batch = incoming.gather().await;
        loop {
            also(&batch.frames);
            let end = batch.end;
            let gather_next = async {
                Ok::<_, ReceiveError>(match end {
                    Some(_) => Batch::default(),
                    None => incoming.gather().await,
                })
            };
            let ((), next) = tokio::try_join!(self.take_batch(live, batch), gather_next)?;
            if let Some(end) = end {
                return Ok(end);
            }
            let arrived_bytes = live.offset_bytes - row.offset_bytes;
            let due =
                arrived_bytes >= PERSIST_EVERY_BYTES || live.durable_at.elapsed() >= PERSIST_EVERY;
            // Sealing, which comes next where no room is left, makes everything durable anyway.
            let ending = incoming.room_bytes == 0;
            if due && !ending && counts == Counts::Bytewise {
                self.check_room(0)?;
                self.persist(row, live).await?;
                self.check_token(incoming.token).await?;
                // What came is durable; the sender comes again, behind those who wait.
                if arrived_bytes < SLOW_BYTES && live.writer.is_in_the_way() {
                    return Ok(End::Broke);
                }
            }
            batch = next;
        }
    }

    async fn take_batch(&self, live: &mut Live, batch: Batch) -> Result<(), ReceiveError> {
        if batch.bytes == 0 {
            return Ok(());
        }
        let hasher =
            live.hasher.take().ok_or_else(|| ReceiveError::Internal("no hasher".into()))?;
        let hashed = self.shared.pool.update(hasher, batch.frames.clone());
        let written = async {
            for frame in batch.frames {
                live.writer.write(frame).await?;
            }
            Ok(())
        };
        let ((hasher, groups), ()) = tokio::try_join!(hashed, written)?;
        live.writer.append_groups(&groups).await?;
        live.hasher = Some(hasher);
        live.offset_bytes += batch.bytes as u64;
        Ok(())
    }

    /// Makes every byte taken so far durable, and only then moves the offset.
    pub(super) async fn persist(
        &self,
        row: &mut UploadRow,
        live: &mut Live,
    ) -> Result<(), ReceiveError> {
        live.durable_at = Instant::now();
        if live.offset_bytes == row.offset_bytes && row.writer.is_some() {
            return Ok(());
        }
        let hasher =
            live.hasher.as_ref().ok_or_else(|| ReceiveError::Internal("no hasher".into()))?;
        let state = live.writer.persist(&hasher.state()).await?;
        failpoint::hit("offset-durable");
        let state =
            serde_json::to_string(&state).map_err(|e| ReceiveError::Internal(e.to_string()))?;
        let moved =
            self.records().advance_upload(row, live.offset_bytes, &state, self.now()).await?;
        if moved == Moved::SomebodyWasFaster {
            return Err(ReceiveError::Ended);
        }
        failpoint::hit("offset-moved");
        row.offset_bytes = live.offset_bytes;
        row.writer = Some(state);
        Ok(())
    }

    /// Refuses a sender whose token was revoked since it began: a revocation ends what is under way.
    pub(super) async fn check_token(&self, token: Option<Sha256>) -> Result<(), ReceiveError> {
        let Some(token) = token else { return Ok(()) };
        match self.records().token_owner(&token).await? {
            Some(TokenOwner::Device(_)) => Ok(()),
            Some(TokenOwner::Revoked(_)) | None => Err(ReceiveError::NotAllowed {
                code: "device-revoked",
                why: "this device's access was revoked while it was sending",
            }),
        }
    }

    /// Refuses when the space kept free would be touched.
    pub(super) fn check_room(&self, more_bytes: u64) -> Result<(), ReceiveError> {
        let kept = self.limits().free_space_kept_bytes;
        let free = self.objects().free_bytes()?;
        if free.saturating_sub(more_bytes) < kept { Err(ReceiveError::Full) } else { Ok(()) }
    }
}

impl Live {
    /// The end of the bytes: both halves, for sealing.
    pub(super) fn into_parts(self) -> Result<(ObjectWriter, ContentHasher), ReceiveError> {
        let hasher = self.hasher.ok_or_else(|| ReceiveError::Internal("no hasher".into()))?;
        Ok((self.writer, hasher))
    }

    /// Lets go of the bytes since the last durable offset, which stays the one that counts. Waits until nothing of them
    /// is on its way to the device any more: the next writer must find it quiet.
    pub(super) async fn forget(mut self) -> Result<(), ReceiveError> {
        if let Some(hasher) = &self.hasher {
            let _unused = self.writer.persist(&hasher.state()).await?;
        }
        Ok(())
    }
}

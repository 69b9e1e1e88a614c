//! An upload's life as its sender sees it: begun, appended to, looked at, composed, ended.

use std::sync::Arc;

use bytes::Bytes;
use chain_of_custody::digest::{Digests, Sha256};
use chain_of_custody::ids::{DeviceId, UploadId};
use chain_of_custody::time::Timestamp;
use storage::objects::SealedUpload;
use storage::records::{Moved, NewUpload, UploadRow, UploadShape, UploadState};

use super::intake::{Body, Counts, End, Incoming};
use super::turns::Held;
use super::{Claims, Ending, ReceiveError, Receiver, Source, new_event, new_item, new_upload};

/// A new upload.
#[derive(Debug, Clone)]
pub struct Begin {
    pub shape: UploadShape,
    /// None while the sender does not know.
    pub length_bytes: Option<u64>,
    pub claims: Claims,
    /// The header as sent, to be echoed.
    pub metadata: String,
    /// Of a final: its partials in their order.
    pub parts: Vec<UploadId>,
}

/// One request's bytes and what they claim.
pub struct Append {
    pub offset_bytes: u64,
    /// How many bytes will come, where the sender says.
    pub body_bytes: Option<u64>,
    /// More than this is refused, said or not.
    pub most_bytes: u64,
    /// The upload's length, where the sender says it only now.
    pub length_bytes: Option<u64>,
    /// A digest under way for these bytes: then they count as a whole or not at all.
    pub checksum: Option<Box<dyn Checksum>>,
    /// The dock manifest's signed note.
    pub manifest: Option<String>,
    pub body: Body,
}

/// A digest that one request's bytes must have.
pub trait Checksum: Send {
    /// Takes bytes in.
    fn update(&mut self, bytes: &[u8]);
    /// Whether they are what was promised. Ends it.
    fn matches(&mut self) -> bool;
}

/// An upload as its sender may see it.
#[derive(Debug, Clone)]
pub struct Status {
    pub upload: UploadId,
    pub shape: UploadShape,
    pub offset_bytes: u64,
    pub length_bytes: Option<u64>,
    pub metadata: String,
    pub parts: Vec<UploadId>,
    /// None while bytes are missing, or when an upload is a partial.
    pub ending: Option<Ending>,
    /// When it is abandoned, if nobody touches it. None once it is finished.
    pub expires: Option<Timestamp>,
}

impl Receiver {
    /// Begins an upload. An empty one is finished when this returns; a final is composed and finished.
    ///
    /// # Errors
    /// [`ReceiveError`], by what the sender can do.
    pub async fn begin(
        &self,
        source: &Source,
        begin: Begin,
        manifest: Option<String>,
    ) -> Result<Status, ReceiveError> {
        let most_bytes = self.limits().item_size_bytes;
        if begin.length_bytes.is_some_and(|length| length > most_bytes) {
            return Err(ReceiveError::TooLarge { limit: "item_size_bytes", most_bytes });
        }
        self.check_room(begin.length_bytes.unwrap_or(0))?;
        self.check_open_uploads(source.device).await?;
        let claims = serde_json::to_string(&begin.claims)
            .map_err(|e| ReceiveError::Internal(e.to_string()))?;
        let new = NewUpload {
            upload: new_upload(),
            device: source.device,
            by: source.by.clone(),
            read_by: source.read_by.clone(),
            shape: begin.shape,
            length_bytes: begin.length_bytes,
            item: new_item(),
            event: new_event(),
            duplicate_event: new_event(),
            claims,
            metadata: begin.metadata,
            parts: begin.parts,
        };
        if new.shape == UploadShape::Final {
            // Found out before anything is written.
            self.sealed_parts(source, &new.parts).await?;
        }
        self.records().begin_upload(&new, self.now()).await?;
        let (row, held) = self.take_turn(source, new.upload).await?;
        self.keep_manifest(&row, manifest.as_deref()).await?;
        self.in_task(held, move |receiver, held| async move {
            let row = receiver.complete_if_all_here(row).await?;
            drop(held);
            receiver.status(&row)
        })
        .await
    }

    /// Takes one request's bytes in. When it returns, what it says is durable; when it says finished, the receipt exists.
    /// The work goes on when the caller is gone: what arrived is kept.
    ///
    /// # Errors
    /// [`ReceiveError`], by what the sender can do.
    pub async fn append(
        &self,
        source: &Source,
        upload: UploadId,
        append: Append,
    ) -> Result<Status, ReceiveError> {
        // A stranger must not be able to end somebody's transfer: first whether it is theirs, then the turn.
        self.find(source, upload).await?;
        let transfer = Arc::clone(&self.shared.transfers).try_acquire_owned();
        let transfer = transfer.map_err(|_| ReceiveError::Busy { limit: "transfers" })?;
        let (row, held) = self.take_turn(source, upload).await?;
        let token = source.token;
        self.in_task(held, move |receiver, held| async move {
            let row = receiver.append_in_turn(row, append, &held, token).await;
            drop((transfer, held));
            receiver.status(&row?)
        })
        .await
    }

    /// What the sender may see of an upload. Whoever is sending bytes for it is ended first: their sender is gone.
    ///
    /// # Errors
    /// [`ReceiveError`], by what the sender can do.
    pub async fn look(&self, source: &Source, upload: UploadId) -> Result<Status, ReceiveError> {
        self.find(source, upload).await?;
        let (row, held) = self.take_turn(source, upload).await?;
        self.in_task(held, move |receiver, held| async move {
            let row = receiver.complete_if_all_here(row).await?;
            drop(held);
            receiver.status(&row)
        })
        .await
    }

    /// Ends an unfinished upload: its bytes go. A stored item stays.
    ///
    /// # Errors
    /// [`ReceiveError::NotAllowed`] when it is finished.
    pub async fn end(&self, source: &Source, upload: UploadId) -> Result<(), ReceiveError> {
        self.find(source, upload).await?;
        let (row, _held) = self.take_turn(source, upload).await?;
        let open = row.state == UploadState::Receiving
            || (row.shape == UploadShape::Partial && row.state == UploadState::Finished);
        if !open {
            let why = "what was received stays: evidence cannot be taken back";
            return Err(ReceiveError::NotAllowed { code: "stored-item-stays", why });
        }
        self.abandon(&row).await
    }

    /// Ends an upload whose turn the caller has.
    pub(super) async fn abandon(&self, row: &UploadRow) -> Result<(), ReceiveError> {
        // The row first: a crash leaves a folder that nobody refers to, which recovery removes.
        match self.records().end_upload(row, self.now()).await? {
            Moved::Yes => Ok(self.objects().discard(row.upload).await?),
            Moved::SomebodyWasFaster => Err(ReceiveError::Ended),
        }
    }

    /// The upload, if it is this sender's and still there.
    pub(super) async fn find(
        &self,
        source: &Source,
        upload: UploadId,
    ) -> Result<UploadRow, ReceiveError> {
        let row = self.records().upload(upload).await?;
        let row = row.filter(|row| row.device == source.device).ok_or(ReceiveError::NotFound)?;
        if row.state == UploadState::Ended { Err(ReceiveError::Ended) } else { Ok(row) }
    }

    async fn take_turn(
        &self,
        source: &Source,
        upload: UploadId,
    ) -> Result<(UploadRow, Held), ReceiveError> {
        let held = self.shared.turns.take(upload).await;
        self.find(source, upload).await?;
        // Nor does another server write of it from here on.
        let row = self.records().take_upload(upload).await?.ok_or(ReceiveError::NotFound)?;
        Ok((row, held))
    }

    /// Runs `work` to its end even when the request that asked for it is dropped.
    async fn in_task<T, F, W>(&self, held: Held, work: W) -> Result<T, ReceiveError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ReceiveError>> + Send + 'static,
        W: FnOnce(Self, Held) -> F,
    {
        let task = self.shared.tasks.spawn(work(self.clone(), held));
        task.await.map_err(|e| ReceiveError::Internal(format!("upload task: {e}")))?
    }

    async fn append_in_turn(
        &self,
        mut row: UploadRow,
        append: Append,
        held: &Held,
        token: Option<Sha256>,
    ) -> Result<UploadRow, ReceiveError> {
        if row.shape == UploadShape::Final {
            let why = "a concatenation takes no bytes of its own";
            return Err(ReceiveError::NotAllowed { code: "final-upload", why });
        }
        if row.state != UploadState::Receiving {
            row = self.complete_if_all_here(row).await?;
        }
        if append.offset_bytes != row.offset_bytes {
            return Err(ReceiveError::WrongOffset { offset_bytes: row.offset_bytes });
        }
        self.learn_length(&mut row, append.length_bytes).await?;
        let room_bytes = self.room_in(&row, append.body_bytes)?;
        if row.state != UploadState::Receiving {
            return self.nothing_follows(row, append.body, held).await;
        }
        self.keep_manifest(&row, append.manifest.as_deref()).await?;
        row.manifest = append.manifest.or(row.manifest);
        let room_bytes = room_bytes.min(append.most_bytes);
        let incoming = self.incoming(append.body, held, room_bytes, token);
        self.transfer(row, incoming, append.checksum).await
    }

    /// A finished upload answers an empty request with its answer, and takes nothing. Who does not come to the end of
    /// nothing is let go, as anybody who is silent.
    async fn nothing_follows(
        &self,
        row: UploadRow,
        body: Body,
        held: &Held,
    ) -> Result<UploadRow, ReceiveError> {
        let mut incoming = self.incoming(body, held, 0, None);
        match incoming.nothing().await {
            End::Complete => Ok(row),
            End::Broke => Err(ReceiveError::Interrupted { offset_bytes: row.offset_bytes }),
            End::Excess => {
                Err(ReceiveError::TooLarge { limit: "Upload-Length", most_bytes: row.offset_bytes })
            }
        }
    }

    fn incoming(
        &self,
        body: Body,
        held: &Held,
        room_bytes: u64,
        token: Option<Sha256>,
    ) -> Incoming {
        Incoming {
            body,
            wanted: held.wanted.clone(),
            stopping: self.shared.stopping.clone(),
            idle: self.limits().idle,
            room_bytes,
            token,
        }
    }

    async fn transfer(
        &self,
        mut row: UploadRow,
        mut incoming: Incoming,
        mut checksum: Option<Box<dyn Checksum>>,
    ) -> Result<UploadRow, ReceiveError> {
        let mut live = self.open_live(&row).await?;
        let counts = if checksum.is_some() { Counts::Whole } else { Counts::Bytewise };
        let also = |frames: &[Bytes]| {
            if let Some(checksum) = checksum.as_mut() {
                frames.iter().for_each(|frame| checksum.update(frame));
            }
        };
        let end = self.take_in(&mut row, &mut live, &mut incoming, counts, also).await?;
        // From here on the sender may hear of it at any time.
        let token = incoming.token;
        drop(incoming);
        let offset_bytes = row.offset_bytes;
        let refused = match (end, checksum) {
            (End::Excess, _) => {
                let most_bytes = row.length_bytes.unwrap_or(self.limits().item_size_bytes);
                Some(ReceiveError::TooLarge { limit: "Upload-Length", most_bytes })
            }
            (End::Broke, Some(_)) => Some(ReceiveError::Interrupted { offset_bytes }),
            (End::Complete, Some(mut checksum)) => {
                (!checksum.matches()).then_some(ReceiveError::Checksum { offset_bytes })
            }
            (_, None) => None,
        };
        if let Some(refused) = refused {
            live.forget().await?;
            return Err(refused);
        }
        if let Err(refused) = self.check_token(token).await {
            // What came stays where it is: counted, and for nobody to finish.
            self.persist(&mut row, &mut live).await?;
            return Err(refused);
        }
        if row.length_bytes == Some(live.offset_bytes) {
            let sealed = self.seal(&row, live).await?;
            row = self.settled(row, Some(sealed)).await?;
        } else {
            self.persist(&mut row, &mut live).await?;
        }
        match end {
            End::Broke => Err(ReceiveError::Interrupted { offset_bytes: row.offset_bytes }),
            _ => Ok(row),
        }
    }

    /// Finishes an upload that has all its bytes, wherever an earlier attempt was cut.
    pub(super) async fn complete_if_all_here(
        &self,
        row: UploadRow,
    ) -> Result<UploadRow, ReceiveError> {
        let all_here = row.length_bytes == Some(row.offset_bytes);
        match (row.state, row.shape) {
            (UploadState::Receiving, UploadShape::Final) => {
                let (sealed, digests) = self.compose(&row).await?;
                self.keep_sealed(&row, sealed.size_bytes(), &sealed, &digests).await?;
                self.settled(row, Some(sealed)).await
            }
            (UploadState::Receiving, _) if all_here => {
                let live = self.open_live(&row).await?;
                let sealed = self.seal(&row, live).await?;
                self.settled(row, Some(sealed)).await
            }
            (UploadState::Finishing, _) => self.settled(row, None).await,
            _ => Ok(row),
        }
    }

    async fn settled(
        &self,
        row: UploadRow,
        sealed: Option<SealedUpload>,
    ) -> Result<UploadRow, ReceiveError> {
        let row = self.reread(row.upload).await?;
        self.settle(&row, sealed).await?;
        self.reread(row.upload).await
    }

    async fn reread(&self, upload: UploadId) -> Result<UploadRow, ReceiveError> {
        self.records().upload(upload).await?.ok_or(ReceiveError::NotFound)
    }

    async fn compose(&self, row: &UploadRow) -> Result<(SealedUpload, Digests), ReceiveError> {
        let source = Source {
            device: row.device,
            by: row.by.clone(),
            read_by: row.read_by.clone(),
            token: None,
        };
        let parts = self.sealed_parts(&source, &row.parts).await?;
        let composed = self.objects().compose(parts).await?;
        Ok((composed.sealed, composed.digests))
    }

    /// The sealed bytes of finished partials, all of this sender and none composed yet.
    async fn sealed_parts(
        &self,
        source: &Source,
        parts: &[UploadId],
    ) -> Result<Vec<SealedUpload>, ReceiveError> {
        let mut all = Vec::with_capacity(parts.len());
        let mut size_bytes = 0_u64;
        for part in parts {
            let row = self.find(source, *part).await?;
            let ready = row.shape == UploadShape::Partial && row.state == UploadState::Finished;
            let (sealed, _) = row.sealed.filter(|_| ready).ok_or(ReceiveError::Conflict {
                code: "partial-not-ready",
                why: "each upload of a concatenation must be a partial one, finished, and in no other",
            })?;
            size_bytes = size_bytes.saturating_add(row.offset_bytes);
            let sealed = serde_json::from_str(&sealed);
            all.push(sealed.map_err(|e| ReceiveError::Internal(format!("sealed part: {e}")))?);
        }
        let most_bytes = self.limits().item_size_bytes;
        if size_bytes > most_bytes {
            return Err(ReceiveError::TooLarge { limit: "item_size_bytes", most_bytes });
        }
        Ok(all)
    }

    async fn learn_length(
        &self,
        row: &mut UploadRow,
        length_bytes: Option<u64>,
    ) -> Result<(), ReceiveError> {
        let malformed =
            |why: &str| ReceiveError::Malformed { what: "Upload-Length", why: why.into() };
        let Some(length) = length_bytes else { return Ok(()) };
        match row.length_bytes {
            Some(known) if known == length => return Ok(()),
            Some(_) => return Err(malformed("the length is known already, and another")),
            None => {}
        }
        let most_bytes = self.limits().item_size_bytes;
        if length > most_bytes {
            return Err(ReceiveError::TooLarge { limit: "item_size_bytes", most_bytes });
        }
        if length < row.offset_bytes {
            return Err(malformed("less than the bytes that are here"));
        }
        match self.records().set_upload_length(row, length).await? {
            Moved::Yes => row.length_bytes = Some(length),
            Moved::SomebodyWasFaster => return Err(ReceiveError::Ended),
        }
        Ok(())
    }

    /// How many bytes the upload still takes; refused at once when more are announced.
    fn room_in(&self, row: &UploadRow, body_bytes: Option<u64>) -> Result<u64, ReceiveError> {
        let most_bytes = row.length_bytes.unwrap_or(self.limits().item_size_bytes);
        let room_bytes = most_bytes.saturating_sub(row.offset_bytes);
        let limit = if row.length_bytes.is_some() { "Upload-Length" } else { "item_size_bytes" };
        if body_bytes.is_some_and(|bytes| bytes > room_bytes) {
            return Err(ReceiveError::TooLarge { limit, most_bytes });
        }
        if room_bytes > 0 {
            self.check_room(body_bytes.unwrap_or(0))?;
        }
        Ok(room_bytes)
    }

    async fn keep_manifest(&self, row: &UploadRow, note: Option<&str>) -> Result<(), ReceiveError> {
        let Some(note) = note else { return Ok(()) };
        match self.records().set_upload_manifest(row, note).await? {
            Moved::Yes => Ok(()),
            Moved::SomebodyWasFaster => Err(ReceiveError::Ended),
        }
    }

    async fn check_open_uploads(&self, device: Option<DeviceId>) -> Result<(), ReceiveError> {
        let (of_device, of_all) = self.records().open_uploads(device).await?;
        if of_device >= self.limits().open_uploads_per_device {
            return Err(ReceiveError::Busy { limit: "open_uploads_per_device" });
        }
        if of_all >= self.limits().open_uploads {
            return Err(ReceiveError::Busy { limit: "open_uploads" });
        }
        Ok(())
    }

    fn status(&self, row: &UploadRow) -> Result<Status, ReceiveError> {
        if row.state == UploadState::Finishing {
            return Err(ReceiveError::Internal("an unfinished upload would show its end".into()));
        }
        let ttl_ms = i64::try_from(self.limits().upload_ttl.as_millis()).unwrap_or(i64::MAX);
        let expires = row.touched_at.unix_millis().saturating_add(ttl_ms);
        let receiving = row.state == UploadState::Receiving;
        Ok(Status {
            upload: row.upload,
            shape: row.shape,
            offset_bytes: row.offset_bytes,
            length_bytes: row.length_bytes,
            metadata: row.metadata.clone(),
            parts: row.parts.clone(),
            ending: row.ending.clone().map(Ending::from),
            expires: receiving.then(|| Timestamp::from_unix_millis(expires).ok()).flatten(),
        })
    }
}

impl std::fmt::Debug for Append {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Append").field("offset_bytes", &self.offset_bytes).finish_non_exhaustive()
    }
}

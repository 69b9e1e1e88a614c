//! Writing the bytes of one upload into a bucket, without a disk between.
//!
//! Whole pieces go to the store as parts of an upload in parts; several are on their way at once. What is made durable in
//! between is kept, with the hash state, in a small object, and folded into the next piece later. A piece is sealed only
//! when a byte follows it or the upload ends, so no segment is sealed twice.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use chain_of_custody::digest::{GroupCv, HashState};
use chain_of_custody::ids::UploadId;
use tokio::task::JoinHandle;

use super::BucketStore;
use super::pieces::{PIECES_MAX, Piece, SealedPiece};
use crate::objects::blocking;
use crate::objects::crc::Crc64;
use crate::objects::error::StoreError;
use crate::objects::groups::{self, Waiting};
use crate::objects::kek::ObjectKey;
use crate::objects::name::ObjectName;
use crate::objects::tail::Tail;
use crate::objects::tink::{self, End, Header, Layout, Purpose, SEGMENT_BYTES, Stream};
use crate::objects::upload::{
    BucketState, InBucket, OpenPieces, PieceState, SealedPart, SealedUpload,
};

/// Pieces of one upload that are on their way at once.
const ON_THEIR_WAY: usize = 3;

/// The writer of one upload into a bucket.
#[derive(Debug)]
pub(crate) struct BucketWriter {
    pub(crate) store: Arc<BucketStore>,
    pub(crate) upload: UploadId,
    /// What it is going to be; its parts have names after it.
    pub(crate) name: ObjectName,
    pub(crate) closed: Vec<SealedPart>,
    pub(crate) part: PartInBucket,
    /// The key of the upload's first part, under which its group values are kept.
    pub(crate) first_key: ObjectKey,
    /// Group values that are kept.
    pub(crate) kept: u64,
    pub(crate) waiting: Waiting,
    /// The small objects of the last two states, the older first: the one before them can go.
    pub(crate) tails: VecDeque<String>,
}

/// The part being written.
#[derive(Debug)]
pub(crate) struct PartInBucket {
    upload: UploadId,
    number: u32,
    file: ObjectName,
    key: ObjectKey,
    header: Header,
    stream: Arc<Stream>,
    in_parts: Option<Arc<str>>,
    /// Pieces handed over so far, and the tags of those that the store has.
    handed_over: u32,
    arrived: Vec<String>,
    /// Of those that arrived.
    crc: Crc64,
    filling: Option<Piece>,
    on_their_way: VecDeque<JoinHandle<Result<Arrived, StoreError>>>,
}

/// A piece that the store has.
#[derive(Debug)]
struct Arrived {
    tag: String,
    crc: Crc64,
    length: u64,
}

impl PartInBucket {
    /// A part that begins, under a new key.
    pub(crate) fn new(upload: UploadId, number: u32, file: ObjectName, key: ObjectKey) -> Self {
        let open = OpenPieces {
            number,
            header: Header::random(),
            in_parts: None,
            pieces: Vec::new(),
            crc: Crc64::default(),
        };
        Self::open(upload, &open, file, key)
    }

    /// A part that goes on after its last whole piece.
    pub(crate) fn open(
        upload: UploadId,
        open: &OpenPieces,
        file: ObjectName,
        key: ObjectKey,
    ) -> Self {
        Self {
            upload,
            number: open.number,
            file,
            stream: Arc::new(Stream::new(&key, open.header, Purpose::Object)),
            key,
            header: open.header,
            in_parts: open.in_parts.as_deref().map(Arc::from),
            handed_over: open.pieces.len() as u32,
            arrived: open.pieces.clone(),
            crc: open.crc,
            filling: None,
            on_their_way: VecDeque::new(),
        }
    }

    pub(crate) fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// Plaintext taken.
    fn size_bytes(&self) -> u64 {
        let filling = self.filling.as_ref().map_or(0, |piece| piece.plain_bytes() as u64);
        Layout::plain_start(segments(self.handed_over)) + filling
    }

    /// Takes `bytes` up to where the store takes no more pieces; gives what is left.
    async fn write<'a>(
        &mut self,
        store: &Arc<BucketStore>,
        mut bytes: &'a [u8],
    ) -> Result<&'a [u8], StoreError> {
        while !bytes.is_empty() && !self.is_full() {
            if self.filling.as_ref().is_some_and(Piece::is_full) {
                self.hand_over(store, End::More).await?;
            }
            if self.filling.is_none() {
                let header = (self.handed_over == 0).then_some(self.header);
                self.filling = Some(store.memory.take(header).await);
            }
            let piece = self.filling.as_mut().expect("it was taken above");
            bytes = piece.fill(bytes);
        }
        Ok(bytes)
    }

    /// Whether the store takes no more pieces for this part.
    fn is_full(&self) -> bool {
        self.handed_over + 1 == PIECES_MAX && self.filling.as_ref().is_some_and(Piece::is_full)
    }

    /// Seals the piece and sends it, beside whatever comes next.
    async fn hand_over(&mut self, store: &Arc<BucketStore>, end: End) -> Result<(), StoreError> {
        if self.on_their_way.len() >= ON_THEIR_WAY {
            self.take_arrival().await?;
        }
        let piece = self.filling.take().expect("there is a piece to hand over");
        let in_parts = match &self.in_parts {
            Some(id) => Arc::clone(id),
            None => {
                let key = store.key_of(self.file.as_str());
                let id = store.bucket.begin_parts(&key).await;
                let id: Arc<str> = id.map_err(|e| store.failed(self.file.as_str(), e))?.into();
                self.in_parts = Some(Arc::clone(&id));
                id
            }
        };
        let first = segments(self.handed_over);
        self.handed_over += 1;
        // A state from before must not seal these segments again.
        store.going_on.forget(self.upload);
        let (store, file, number) = (Arc::clone(store), self.file.clone(), self.handed_over);
        let stream = Arc::clone(&self.stream);
        self.on_their_way.push_back(tokio::spawn(async move {
            let seal = move || Ok(piece.seal(&stream, first, end));
            let SealedPiece { bytes, crc } = blocking::run(seal).await?;
            let (key, length) = (store.key_of(file.as_str()), bytes.len() as u64);
            let sent = store.bucket.put_part((&key, &in_parts), number, bytes, crc).await;
            let tag = sent.map_err(|e| store.failed(file.as_str(), e))?;
            Ok(Arrived { tag, crc, length })
        }));
        Ok(())
    }

    async fn take_arrival(&mut self) -> Result<(), StoreError> {
        let Some(first) = self.on_their_way.front_mut() else { return Ok(()) };
        let arrived = blocking::join(first).await;
        self.on_their_way.pop_front();
        let Arrived { tag, crc, length } = arrived?;
        self.crc = self.crc.followed_by(crc, length);
        self.arrived.push(tag);
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), StoreError> {
        while !self.on_their_way.is_empty() {
            self.take_arrival().await?;
        }
        Ok(())
    }

    fn state(&self) -> OpenPieces {
        OpenPieces {
            number: self.number,
            header: self.header,
            in_parts: self.in_parts.as_deref().map(str::to_owned),
            pieces: self.arrived.clone(),
            crc: self.crc,
        }
    }

    /// Ends the part with what is in its last piece.
    pub(crate) async fn seal(mut self, store: &Arc<BucketStore>) -> Result<SealedPart, StoreError> {
        let size_bytes = self.size_bytes();
        if self.filling.is_none() {
            let header = (self.handed_over == 0).then_some(self.header);
            self.filling = Some(store.memory.take(header).await);
        }
        self.hand_over(store, End::Last).await?;
        self.settle().await?;
        let id = self.in_parts.as_deref().expect("its last piece is in it").to_owned();
        Ok(SealedPart {
            upload: self.upload,
            number: self.number,
            size_bytes,
            crc64nvme: self.crc,
            in_bucket: Some(InBucket {
                file: self.file.clone(),
                state: PieceState::InParts { id, pieces: self.arrived },
            }),
        })
    }
}

/// Segments in so many whole pieces.
pub(crate) fn segments(pieces: u32) -> u32 {
    pieces * (super::pieces::PIECE_BYTES / SEGMENT_BYTES) as u32
}

impl BucketWriter {
    pub(crate) fn upload(&self) -> UploadId {
        self.upload
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.closed.iter().map(|part| part.size_bytes).sum::<u64>() + self.part.size_bytes()
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let store = Arc::clone(&self.store);
        let mut rest = self.part.write(&store, bytes).await?;
        while !rest.is_empty() {
            self.begin_part().await?;
            rest = self.part.write(&store, rest).await?;
        }
        Ok(())
    }

    /// The store takes no more pieces of one object: what follows is another.
    async fn begin_part(&mut self) -> Result<(), StoreError> {
        let (store, upload, name) = (Arc::clone(&self.store), self.upload, self.name.clone());
        let next = store.new_part(upload, &name, self.part.number + 1).await?;
        let full = std::mem::replace(&mut self.part, next);
        self.closed.push(full.seal(&store).await?);
        Ok(())
    }

    pub(crate) async fn append_groups(&mut self, values: &[GroupCv]) -> Result<(), StoreError> {
        self.waiting.push(values);
        if self.waiting.is_full() {
            self.keep_groups().await?;
        }
        Ok(())
    }

    pub(crate) async fn persist(
        &mut self,
        hash_state: &HashState,
    ) -> Result<BucketState, StoreError> {
        let _leave = self.store.memory.leave_to_keep().await;
        let tail = Tail::encode(hash_state, self.part.filling.iter().flat_map(Piece::plain));
        let sealed = tink::seal_all(&self.part.key, Purpose::Tail, &tail);
        drop(tail);
        let name = format!("tail-{}", uuid::Uuid::now_v7().simple());
        let (store, upload) = (Arc::clone(&self.store), self.upload);
        let keep_tail = store.put_beside(upload, &name, sealed.into());
        let keep_groups =
            keep_groups(&store, upload, &self.first_key, self.kept, &mut self.waiting);
        let (kept, (), ()) = tokio::try_join!(keep_groups, keep_tail, self.part.settle())?;
        self.kept = kept;
        self.tails.push_back(name.clone());
        if self.tails.len() > 2 {
            let older = self.tails.pop_front().expect("there are three");
            store.remove_beside(upload, &older).await?;
        }
        let state = BucketState {
            upload,
            name: self.name.clone(),
            size_bytes: self.size_bytes(),
            closed: self.closed.clone(),
            part: self.part.state(),
            tail: name,
            groups: self.kept,
        };
        store.going_on.note(upload, &state.tail);
        Ok(state)
    }

    pub(crate) fn is_in_the_way(&self) -> bool {
        self.part.filling.is_some() && self.store.memory.is_used_up()
    }

    pub(crate) async fn seal(self) -> Result<SealedUpload, StoreError> {
        let size_bytes = self.size_bytes();
        let Self { store, upload, mut closed, part, first_key, kept, waiting, .. } = self;
        store.going_on.forget(upload);
        let outboard = async {
            let kept = store.groups(upload, &first_key, kept).await;
            Ok(waiting.outboard(kept, size_bytes))
        };
        let is_needed = part.size_bytes() > 0 || closed.is_empty();
        let last = async { Ok(if is_needed { Some(part.seal(&store).await?) } else { None }) };
        let (outboard, last) = tokio::try_join!(outboard, last)?;
        closed.extend(last);
        Ok(SealedUpload { parts: closed, size_bytes, outboard })
    }

    pub(crate) async fn seal_behind(self, head: Bytes) -> Result<SealedUpload, StoreError> {
        let (store, upload, name) = (Arc::clone(&self.store), self.upload, self.name.clone());
        let number = self.part.number + 1;
        let body = self.seal().await?;
        let mut first = store.new_part(upload, &name, number).await?;
        let left = first.write(&store, &head).await?;
        assert!(left.is_empty(), "a head is smaller than an object may be");
        let first = first.seal(&store).await?;
        let size_bytes = first.size_bytes + body.size_bytes;
        let parts = [vec![first], body.parts].concat();
        Ok(SealedUpload { parts, size_bytes, outboard: None })
    }

    pub(crate) async fn discard(self) -> Result<(), StoreError> {
        let (store, upload) = (Arc::clone(&self.store), self.upload);
        drop(self);
        store.discard_upload(upload).await
    }

    async fn keep_groups(&mut self) -> Result<(), StoreError> {
        let store = Arc::clone(&self.store);
        let waiting = &mut self.waiting;
        self.kept = keep_groups(&store, self.upload, &self.first_key, self.kept, waiting).await?;
        Ok(())
    }
}

/// Keeps the group values that wait behind those that are kept.
async fn keep_groups(
    store: &BucketStore,
    upload: UploadId,
    key: &ObjectKey,
    kept: u64,
    waiting: &mut Waiting,
) -> Result<u64, StoreError> {
    let Some(values) = waiting.take() else { return Ok(kept) };
    let record = groups::record(key, &values);
    store.put_beside(upload, &groups_name(kept), record.into()).await?;
    Ok(kept + values.len() as u64)
}

/// The small object with the group values from `kept` on.
pub(crate) fn groups_name(kept: u64) -> String {
    format!("groups-{kept:012}")
}

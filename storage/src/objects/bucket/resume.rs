//! Taking an upload up again, on whichever server, at its last durable offset.
//!
//! Pieces that were sent after that offset were never acknowledged, and the client may send other bytes in their place.
//! Sealing those under the nonces used already would break AES-GCM. So unless this very process knows that it sealed
//! nothing since, the part ends with what was kept beside it, and a new part under a new key goes on from there. Every step
//! may be repeated after a crash.

use std::collections::VecDeque;
use std::sync::Arc;

use super::BucketStore;
use super::complete::{complete_part, find_version};
use super::writer::{BucketWriter, PartInBucket, segments};
use crate::objects::blocking;
use crate::objects::error::StoreError;
use crate::objects::groups::Waiting;
use crate::objects::kek::ObjectKey;
use crate::objects::name::ObjectName;
use crate::objects::tail::Tail;
use crate::objects::tink::{End, Layout, Purpose, Stream};
use crate::objects::upload::{BucketState, InBucket, OpenPieces, PieceState, SealedPart};

fn whole_segments(part: &OpenPieces) -> u32 {
    segments(part.pieces.len() as u32)
}

/// What was kept beside an upload at this state.
pub(super) async fn load_tail(
    store: &BucketStore,
    state: &BucketState,
) -> Result<Tail, StoreError> {
    let (key, ..) = store.begun_part(state.upload, state.part.number).await?;
    open_tail(store, state, &key).await
}

async fn open_tail(
    store: &BucketStore,
    state: &BucketState,
    key: &ObjectKey,
) -> Result<Tail, StoreError> {
    let name = BucketStore::beside(state.upload, &state.tail);
    let sealed = store.read(&name).await?;
    let before = state.closed.iter().map(|part| part.size_bytes).sum::<u64>();
    let whole = before + Layout::plain_start(whole_segments(&state.part));
    Tail::open(&store.path_of(&name), key, &sealed, whole, state.size_bytes)
}

/// The writer after the last whole piece, and what came after it.
pub(super) async fn reopen(
    store: Arc<BucketStore>,
    state: BucketState,
) -> Result<(BucketWriter, Tail), StoreError> {
    let upload = state.upload;
    let leave = store.memory.leave_to_take_back().await;
    let (key, _, file) = store.begun_part(upload, state.part.number).await?;
    let (first_key, ..) = store.begun_part(upload, 0).await?;
    let mut tail = open_tail(&store, &state, &key).await?;
    tail.leave = Some(leave);
    let mut closed = state.closed.clone();
    let part = if store.going_on.take(upload, &state.tail) {
        PartInBucket::open(upload, &state.part, file, key)
    } else {
        if !state.part.pieces.is_empty() {
            closed.push(close(&store, &state, &key, file, &tail.bytes).await?);
            tail.bytes.clear();
        }
        store.new_part(upload, &state.name, state.part.number + 1).await?
    };
    let writer = BucketWriter {
        upload,
        name: state.name,
        closed,
        part,
        first_key,
        kept: state.groups,
        waiting: Waiting::default(),
        tails: VecDeque::from([state.tail]),
        store,
    };
    Ok((writer, tail))
}

/// Ends a part with the bytes that were kept beside it, and makes it an object: whoever still writes to it from elsewhere
/// finds it gone.
async fn close(
    store: &BucketStore,
    state: &BucketState,
    key: &ObjectKey,
    file: ObjectName,
    bytes: &[u8],
) -> Result<SealedPart, StoreError> {
    let part = &state.part;
    let mut piece = store.memory.take(None).await;
    let left = piece.fill(bytes);
    assert!(left.is_empty() && !bytes.is_empty(), "what is kept is the beginning of one piece");
    let (stream, first) = (Stream::new(key, part.header, Purpose::Object), whole_segments(part));
    let sealed = blocking::run(move || Ok(piece.seal(&stream, first, End::Last))).await?;
    let crc64nvme = part.crc.followed_by(sealed.crc, sealed.bytes.len() as u64);
    let size_bytes = Layout::plain_start(first) + bytes.len() as u64;
    let length = Layout { size_bytes }.ciphertext_bytes();

    let at = store.key_of(file.as_str());
    let failed = |e| store.failed(file.as_str(), e);
    let id = part.in_parts.clone().unwrap_or_default();
    let number = part.pieces.len() as u32 + 1;
    let sent = store.bucket.put_part((&at, &id), number, sealed.bytes, sealed.crc).await;
    let version = match sent {
        Ok(tag) => {
            let pieces = [&part.pieces[..], &[tag]].concat();
            complete_part(store, &file, (&id, &pieces), length, crc64nvme).await?
        }
        // An earlier attempt came further.
        Err(error) => match find_version(&store.bucket, &at, length, crc64nvme).await {
            Ok(version) => version,
            Err(_) => return Err(failed(error)),
        },
    };
    Ok(SealedPart {
        upload: state.upload,
        number: part.number,
        size_bytes,
        crc64nvme,
        in_bucket: Some(InBucket { file, state: PieceState::Completed { version } }),
    })
}

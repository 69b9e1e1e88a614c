//! Taking an upload up again at its last durable offset.
//!
//! What the file holds beyond that offset was never acknowledged, and the client may send other bytes in its place.
//! Sealing those under the nonces used already would break AES-GCM, so the part is closed where its last durable whole
//! segment ends, and a new part under a new key goes on from there. Every step may be repeated after a crash.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use chain_of_custody::digest::HashState;
use zeroize::Zeroizing;

use super::FolderStore;
use super::disk::{sync_folder, write_new};
use super::part::{PartWriter, sync_and_compare};
use super::upload::{UploadFolder, load_key};
use super::writer::FolderWriter;
use crate::objects::crc::{Crc64, RunningCrc};
use crate::objects::error::{Damage, StoreError};
use crate::objects::groups::Waiting;
use crate::objects::kek::ObjectKey;
use crate::objects::tail::Tail;
use crate::objects::tink::{self, End, HEADER_BYTES, Layout, Purpose, SEGMENT_BYTES, Stream};
use crate::objects::upload::{FolderState, OpenPart, SealedPart};

/// The side file of a state, opened.
fn load_tail(
    folder: &UploadFolder,
    key: &ObjectKey,
    state: &FolderState,
) -> Result<Tail, StoreError> {
    let path = folder.tail(state.tail.slot);
    let sealed = fs::read(&path).map_err(|e| StoreError::io(&path, e))?;
    let (found, expected) = (sealed.len() as u64, state.tail.file_bytes);
    if found != expected {
        return Err(StoreError::damaged(&path, Damage::Length { found, expected }));
    }
    let before = state.closed.iter().map(|part| part.size_bytes).sum::<u64>();
    let whole = before + Layout::plain_start(state.part.segments);
    Tail::open(&path, key, &sealed, whole, state.size_bytes)
}

/// The hash state kept with a durable state; nothing is opened for writing.
pub(crate) fn hash_state(
    store: &FolderStore,
    state: &FolderState,
) -> Result<HashState, StoreError> {
    let folder = UploadFolder::new(&store.uploads_folder(), state.upload);
    let key = load_key(&store.kek, &folder.key(state.part.number))?;
    Ok(load_tail(&folder, &key, state)?.hash_state)
}

pub(crate) fn reopen(
    store: Arc<FolderStore>,
    state: FolderState,
) -> Result<(FolderWriter, Tail), StoreError> {
    let folder = UploadFolder::new(&store.uploads_folder(), state.upload);
    let key = load_key(&store.kek, &folder.key(state.part.number))?;
    let first_key = load_key(&store.kek, &folder.key(0))?;
    let tail = load_tail(&folder, &key, &state)?;
    let mut closed = state.closed.clone();
    let goes_on = goes_on(&folder, &state.part)?;
    let (part, key) = if goes_on {
        (state.part, key)
    } else {
        if state.part.segments > 0 {
            closed.push(close(&store, &folder, &key, &state)?);
        }
        folder.new_part(store.disk.as_ref(), &store.kek)?
    };
    let path = folder.part(part.number);
    let writer = PartWriter::open(store.for_writing(), &path, &key, part, state.reread)?;
    let writer = FolderWriter {
        upload: state.upload,
        closed,
        number: part.number,
        part: writer,
        key,
        first_key,
        kept: state.groups,
        waiting: Waiting::default(),
        slot: state.tail.slot.other(),
        reread: state.reread,
        names_durable: goes_on,
        folder,
        store,
    };
    Ok((writer, tail))
}

/// Whether the part can simply be written on: nothing beyond the durable segments was ever written.
fn goes_on(folder: &UploadFolder, part: &OpenPart) -> Result<bool, StoreError> {
    let path = folder.part(part.number);
    let found = fs::metadata(&path).map_err(|e| StoreError::io(&path, e))?.len();
    let expected = u64::from(part.segments) * SEGMENT_BYTES as u64;
    if found < expected {
        return Err(StoreError::damaged(&path, Damage::Length { found, expected }));
    }
    Ok(found == expected && !folder.closing(part.number).exists())
}

/// Ends a part with its last durable whole segment, sealed anew as the last. That segment waits in a side file while
/// it is overwritten.
fn close(
    store: &FolderStore,
    folder: &UploadFolder,
    key: &ObjectKey,
    state: &FolderState,
) -> Result<SealedPart, StoreError> {
    let part = &state.part;
    let path = folder.part(part.number);
    let fail = |e| StoreError::io(&path, e);
    let stream = Stream::new(key, part.header, Purpose::Object);
    let last = part.segments - 1;
    let plain = last_segment(store, folder, key, &stream, part)?;
    let from = if last == 0 { HEADER_BYTES } else { 0 };
    let mut segment = [&part.header.0[..from], &plain].concat();
    let tag = stream.seal(last, End::Last, &mut segment[from..]);
    segment.extend_from_slice(&tag);

    let file = store.disk.open(&path).map_err(fail)?;
    let start = u64::from(last) * SEGMENT_BYTES as u64;
    let length = segment.len() as u64;
    file.set_len(start + length).map_err(fail)?;
    store.disk.write_at(&file, &segment, start).map_err(fail)?;
    let crc = Crc64::of(&segment);
    sync_and_compare(store.disk.as_ref(), &file, &path, start..start + length, crc)?;
    let mut whole = RunningCrc::after(part.crc_before_last);
    whole.update(&segment);
    let size_bytes = Layout::plain_start(part.segments);
    Ok(SealedPart::in_folder(state.upload, part.number, size_bytes, whole.value()))
}

/// The plaintext of the last durable whole segment, kept in its side file before this returns.
fn last_segment(
    store: &FolderStore,
    folder: &UploadFolder,
    key: &ObjectKey,
    stream: &Stream,
    part: &OpenPart,
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let kept = folder.closing(part.number);
    let earlier = fs::read(&kept).ok().and_then(|s| tink::open_all(key, Purpose::Closing, &s).ok());
    if let Some(plain) = earlier {
        return Ok(plain);
    }
    let path = folder.part(part.number);
    let last = part.segments - 1;
    let from = if last == 0 { HEADER_BYTES } else { 0 };
    let mut segment = Zeroizing::new(vec![0; SEGMENT_BYTES - from]);
    let start = u64::from(last) * SEGMENT_BYTES as u64 + from as u64;
    let read = File::open(&path).and_then(|file| file.read_exact_at(&mut segment, start));
    read.map_err(|e| StoreError::io(&path, e))?;
    let length =
        stream.open(last, End::More, &mut segment).map_err(|w| StoreError::damaged(&path, w))?;
    segment.truncate(length);

    let fail = |e| StoreError::io(&kept, e);
    if kept.exists() {
        fs::remove_file(&kept).map_err(fail)?;
    }
    let sealed = tink::seal_all(key, Purpose::Closing, &segment);
    write_new(store.disk.as_ref(), &kept, &sealed).map_err(fail)?;
    sync_folder(folder.path()).map_err(fail)?;
    Ok(segment)
}

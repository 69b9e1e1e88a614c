//! Several sealed uploads become one, without copying a byte (tus concatenation); one verified re-read digests it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use chain_of_custody::digest::{ContentHasher, Digests, Outboard};

use super::blocking;
use super::complete::Placement;
use super::error::StoreError;
use super::read::Source;
use super::store::{ObjectStore, Shared};
use super::upload::{SealedPart, SealedUpload};

/// The most parts one object may have.
pub(crate) const PARTS_MAX: usize = 10_000;
/// What is read at once in a re-read, and how many of these may wait between reading and hashing.
const PIECE_BYTES: u64 = 1 << 20;
const PIECES_WAITING: usize = 2;

/// Sealed uploads joined in order, and the digests of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    pub sealed: SealedUpload,
    pub digests: Digests,
}

impl ObjectStore {
    /// Joins sealed uploads in the order given. Their files stay where they are until [`ObjectStore::complete`] renames
    /// them; repeating this is harmless.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a part does not read back, [`StoreError::TooManyParts`].
    pub async fn compose(&self, uploads: Vec<SealedUpload>) -> Result<Composed, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || {
            let parts = join(uploads)?;
            let (digests, outboard) = digest(&Placement::source(&shared, &parts, None)?)?;
            let size_bytes = outboard.size_bytes();
            Ok(Composed {
                sealed: SealedUpload { parts, size_bytes, outboard: Some(outboard) },
                digests,
            })
        })
        .await
    }
}

/// All parts in order, without the empty ones unless all are.
fn join(uploads: Vec<SealedUpload>) -> Result<Vec<SealedPart>, StoreError> {
    let all: Vec<SealedPart> = uploads.into_iter().flat_map(|upload| upload.parts).collect();
    let filled: Vec<SealedPart> = all.iter().filter(|part| part.size_bytes > 0).cloned().collect();
    if filled.len() > PARTS_MAX {
        return Err(StoreError::TooManyParts { max: PARTS_MAX });
    }
    Ok(if filled.is_empty() { all.into_iter().take(1).collect() } else { filled })
}

/// Digests and outboard of sealed parts, wherever a completion cut short has left them.
pub(crate) fn digest_parts(
    shared: &Shared,
    source: &[Placement],
) -> Result<(Digests, Outboard), StoreError> {
    let parts: Vec<SealedPart> = source.iter().map(|placement| placement.part.clone()).collect();
    digest(&Placement::source(shared, &parts, Some(source))?)
}

/// One reading of everything: decrypting and hashing run beside each other.
fn digest(source: &Source) -> Result<(Digests, Outboard), StoreError> {
    let (pieces, waiting) = sync_channel(PIECES_WAITING);
    let (read, (hasher, mut values)) = thread::scope(|scope| {
        let hashing = scope.spawn(move || hash(&waiting));
        let read = read_all(source, pieces);
        (read, hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    read?;
    let size_bytes = hasher.size_bytes();
    let (digests, last) = hasher.finish();
    values.push(last);
    let outboard =
        Outboard::new(size_bytes, values).expect("one value per group came out of the hasher");
    Ok((digests, outboard))
}

fn read_all(source: &Source, pieces: SyncSender<Vec<u8>>) -> Result<(), StoreError> {
    let (size_bytes, mut cache) = (source.size_bytes(), None);
    for start in (0..size_bytes).step_by(PIECE_BYTES as usize) {
        let piece = source.read(start..size_bytes.min(start + PIECE_BYTES), &mut cache)?;
        pieces.send(piece).expect("the hashing thread ends only after this one");
    }
    Ok(())
}

fn hash(pieces: &Receiver<Vec<u8>>) -> (ContentHasher, Vec<chain_of_custody::digest::GroupCv>) {
    let (mut hasher, mut values) = (ContentHasher::new(), Vec::new());
    for piece in pieces {
        values.extend(hasher.update(&piece));
    }
    (hasher, values)
}

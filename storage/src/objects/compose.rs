//! Several sealed uploads become one, without copying a byte (tus concatenation); one verified re-read digests it.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use chain_of_custody::digest::{ContentHasher, Digests, GroupCv, Outboard};

use super::error::StoreError;
use super::read::Source;
use super::store::ObjectStore;
use super::upload::{SealedPart, SealedUpload};

/// The most parts one object may have.
pub(crate) const PARTS_MAX: usize = 10_000;
/// Threads that read and decrypt in a re-read: one waits for the device while another decrypts.
const READERS: usize = 3;
/// How many segments of each may wait to be hashed.
const SEGMENTS_WAITING: usize = 1;

/// Sealed uploads joined in order, and the digests of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    pub sealed: SealedUpload,
    pub digests: Digests,
}

impl ObjectStore {
    /// Joins sealed uploads in the order given. Their files stay where they are until [`ObjectStore::complete`] gives them
    /// their names; repeating this is harmless.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a part does not read back, [`StoreError::TooManyParts`].
    pub async fn compose(&self, uploads: Vec<SealedUpload>) -> Result<Composed, StoreError> {
        self.run(move |medium| {
            let parts = medium.settle(join(uploads)?)?;
            let (digests, outboard) = digest(&medium.sealed(&parts)?)?;
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

/// One reading of everything: segments are read and decrypted on a few threads, in turn, and hashed beside that.
pub(crate) fn digest(source: &Source) -> Result<(Digests, Outboard), StoreError> {
    let hashed = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|turn| {
                let (segments, read) = sync_channel(SEGMENTS_WAITING);
                let (used, spares) = sync_channel(SEGMENTS_WAITING);
                scope.spawn(move || read_in_turn(source, turn, &segments, &spares));
                Reader { read, used }
            })
            .collect();
        hash(&readers)
    });
    let (hasher, mut values) = hashed?;
    let size_bytes = hasher.size_bytes();
    let (digests, last) = hasher.finish();
    values.push(last);
    let outboard =
        Outboard::new(size_bytes, values).expect("one value per group came out of the hasher");
    Ok((digests, outboard))
}

type Segment = Result<Vec<u8>, StoreError>;

/// What comes from a reading thread, and where its buffers go back: fresh memory for each segment costs as much as
/// decrypting it.
struct Reader {
    read: Receiver<Segment>,
    used: SyncSender<Vec<u8>>,
}

/// Every segment whose turn it is, up to the first that cannot be read.
fn read_in_turn(
    source: &Source,
    turn: usize,
    segments: &SyncSender<Segment>,
    spares: &Receiver<Vec<u8>>,
) {
    for place in source.segments().skip(turn).step_by(READERS) {
        let segment = source.segment(place, spares.try_recv().unwrap_or_default());
        let failed = segment.is_err();
        // Nobody hashes on after an error elsewhere.
        if segments.send(segment).is_err() || failed {
            return;
        }
    }
}

/// Takes the segments in order, one from each reader in turn, until the reader whose turn it is has no more.
fn hash(readers: &[Reader]) -> Result<(ContentHasher, Vec<GroupCv>), StoreError> {
    let (mut hasher, mut values) = (ContentHasher::new(), Vec::new());
    for reader in readers.iter().cycle() {
        let Ok(segment) = reader.read.recv() else { break };
        let segment = segment?;
        let (sha256, tree) = hasher.halves();
        let (complete, ()) =
            rayon::join(|| tree.update(&segment), || sha2::Digest::update(sha256, &segment));
        values.extend(complete);
        // A reader that is done needs none, and one that has enough takes no more.
        let _ = reader.used.try_send(segment);
    }
    Ok((hasher, values))
}

//! The ledger as the object store alone has it: what a database is made again from (I12).

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::merkle::leaf_hash;
use chain_of_custody::note::VerifierKey;
use chain_of_custody::sequencer::{CannotRecover, FileClass};
use chain_of_custody::tile::{TILE_WIDTH, TileEdge, new_bundles};

use super::files::LedgerFiles;
use super::{LedgerError, Origin};
use crate::objects::ObjectStore;
use crate::records::{Records, StoredEntry};

/// Makes `records`, which must be empty, again from the object store; the ledger then opens as before.
///
/// The checkpoint must be signed by `log_key`, and the entries must give its root; openings are taken as they are (an
/// audit tells which do not open). Files beyond the checkpoint, of a batch that was never published, are moved to
/// `aside/`: in their place the ledger will write others. Holds all entries in memory: about 2 KiB each.
///
/// # Errors
/// [`LedgerError`]; nothing is written or moved unless the whole ledger stands.
pub async fn rebuild_from_store(
    records: &Records,
    objects: ObjectStore,
    origin: &Origin,
    log_key: &VerifierKey,
) -> Result<TreeSize, LedgerError> {
    let files = LedgerFiles::new(objects, origin.clone());
    let checkpoint = files.checkpoint().await?.ok_or(LedgerError::NoSuchEntry(LeafIndex(0)))?;
    if checkpoint.verify(std::slice::from_ref(log_key), &[]).is_err() {
        return Err(LedgerError::OtherKey { origin: origin.to_string() });
    }
    let entries = stored_entries(&files, &checkpoint).await?;
    files.set_aside_beyond(checkpoint.unverified().size).await?;
    Ok(records.rebuild(entries, &checkpoint).await?)
}

/// Makes `records`, which must be empty, from the first `size` entries in the object store, for a look: nothing is
/// changed in the store, which others may write meanwhile, and no ledger opens on it. Gives how many entries are published
/// there; when those are fewer than `size`, nothing is written.
///
/// # Errors
/// As [`rebuild_from_store`]; any of `log_keys` may have signed.
pub async fn rebuild_beginning(
    records: &Records,
    objects: ObjectStore,
    origin: &Origin,
    log_keys: &[VerifierKey],
    size: TreeSize,
) -> Result<TreeSize, LedgerError> {
    let files = LedgerFiles::new(objects, origin.clone());
    let checkpoint = files.checkpoint().await?.ok_or(LedgerError::NoSuchEntry(LeafIndex(0)))?;
    let signed = |key: &VerifierKey| checkpoint.verify(std::slice::from_ref(key), &[]).is_ok();
    if !log_keys.iter().any(signed) {
        return Err(LedgerError::OtherKey { origin: origin.to_string() });
    }
    let published = checkpoint.unverified().size;
    if published >= size {
        let mut entries = stored_entries(&files, &checkpoint).await?;
        entries.truncate(usize::try_from(size.0).unwrap_or(usize::MAX));
        records.fill(entries).await?;
    }
    Ok(published)
}

async fn stored_entries(
    files: &LedgerFiles,
    checkpoint: &SignedCheckpoint,
) -> Result<Vec<StoredEntry>, LedgerError> {
    let head = checkpoint.unverified();
    let (mut edge, mut entries) = (TileEdge::new(), Vec::new());
    for bundle in new_bundles(TreeSize(0), head.size) {
        let mut evidential = files.openings(FileClass::Evidential, &bundle).await?.into_iter();
        let mut personal = files.openings(FileClass::Personal, &bundle).await?.into_iter();
        let first = bundle.index() * TILE_WIDTH;
        for (index, bytes) in (first..).map(LeafIndex).zip(files.entries(&bundle).await?) {
            edge.append(leaf_hash(&bytes));
            let in_place = |line: Option<(LeafIndex, _)>| {
                line.filter(|(at, _)| *at == index)
                    .map(|(_, openings)| openings)
                    .ok_or(LedgerError::Damaged(index))
            };
            let evidential = in_place(evidential.next())?;
            let personal = in_place(personal.next())?;
            entries.push(StoredEntry { index, bytes, evidential, personal });
        }
    }
    let stands = edge.size() == head.size && edge.root() == head.root;
    stands.then_some(entries).ok_or(CannotRecover::Damaged { size: head.size }.into())
}

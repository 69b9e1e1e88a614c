//! The ledger's files brought from one object store to another: a backup that goes on, or a restore.
//!
//! What is written is what the entries give, not what the files hold: leaves, tiles and root are computed anew, and the
//! copy's checkpoint comes last, only over entries that give its root.

use chain_of_custody::checkpoint::{Origin, SignedCheckpoint};
use chain_of_custody::entry::Opening;
use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::sequencer::{CannotRecover, FileClass, Growth, PlacedEntry};
use chain_of_custody::tile::{TILE_WIDTH, TileEdge, TilePath, TileReadError};

use super::files::{LedgerFiles, PublishError};
use super::{LedgerError, programs, stamps};
use crate::objects::ObjectStore;
use crate::records::StoredEntry;

/// Entries brought over at a time: whole bundles, a few MiB.
const STEP: u64 = 16 * TILE_WIDTH;

/// The checkpoint that is published in a store, if any. Nothing about it is checked.
///
/// # Errors
/// [`LedgerError`].
pub async fn published_in(
    store: &ObjectStore,
    origin: &Origin,
) -> Result<Option<SignedCheckpoint>, LedgerError> {
    LedgerFiles::new(store.clone(), origin.clone()).checkpoint().await
}

/// Brings the ledger under `checkpoint` from one store to another, which holds its first `since` entries already, and
/// publishes the checkpoint there. Repeating it is harmless.
///
/// # Errors
/// [`CannotRecover::Damaged`] when the entries, together with what lies in `to`, do not give the checkpoint's root;
/// nothing is published then.
pub async fn copy_ledger(
    from: &ObjectStore,
    to: &ObjectStore,
    since: TreeSize,
    checkpoint: &SignedCheckpoint,
) -> Result<(), LedgerError> {
    let head = checkpoint.unverified();
    let source = LedgerFiles::new(from.clone(), head.origin.clone());
    let target = LedgerFiles::new(to.clone(), head.origin.clone());
    let mut growth = grown_to(&source, &target, since).await?;
    let mut at = since.0;
    while at < head.size.0 {
        let next = ((at / STEP + 1) * STEP).min(head.size.0);
        let grown = growth.append(entries_between(&source, at, next).await?);
        target.write(&grown.files).await?;
        at = next;
    }
    if (growth.size(), growth.root()) != (head.size, head.root) {
        return Err(CannotRecover::Damaged { size: head.size }.into());
    }
    target.publish(checkpoint).await.map_err(|refused| match refused {
        PublishError::Ledger(error) => error,
        PublishError::NotNewer(published) => {
            CannotRecover::DatabaseBehind { published, database: head.size }.into()
        }
    })?;
    if since < head.size {
        target.clear_superseded(since, head.size).await;
    }
    Ok(())
}

/// Brings over what is kept beside a ledger's tiles, time stamps and programs, create-only; gives how many files that are.
///
/// # Errors
/// [`LedgerError`].
pub async fn copy_kept(
    from: &ObjectStore,
    to: &ObjectStore,
    origin: &Origin,
) -> Result<u64, LedgerError> {
    let files = LedgerFiles::new(from.clone(), origin.clone());
    let mut kept = files.kept_below(stamps::FOLDER).await?;
    kept.extend(files.kept_below(programs::FOLDER).await?);
    for found in &kept {
        let bytes = from.get(found.name.as_str()).await?;
        to.put_new(found.name.as_str(), bytes).await?;
    }
    Ok(kept.len() as u64)
}

/// The tree that `target` holds, its edge from there, the entries of its unfilled bundle from `source`.
async fn grown_to(
    source: &LedgerFiles,
    target: &LedgerFiles,
    size: TreeSize,
) -> Result<Growth, LedgerError> {
    let damaged = || LedgerError::from(CannotRecover::Damaged { size });
    let (files, runtime) = (target.clone(), tokio::runtime::Handle::current());
    let work = move || TileEdge::restore(size, |path| runtime.block_on(files.hash_tile(path)));
    let restored = tokio::task::spawn_blocking(work).await.map_err(|_| LedgerError::Closed)?;
    let edge = restored.map_err(|error| match error {
        TileReadError::Fetch(error) => error,
        _ => damaged(),
    })?;
    let unfilled = entries_between(source, size.0 - size.0 % TILE_WIDTH, size.0).await?;
    Growth::restore(edge, unfilled).map_err(|_| damaged())
}

/// The entries `from..to`, where `from` begins a bundle or lies in the one where `to` ends or a whole one follows.
async fn entries_between(
    files: &LedgerFiles,
    from: u64,
    to: u64,
) -> Result<Vec<PlacedEntry>, LedgerError> {
    let mut entries = Vec::new();
    let mut at = from;
    while at < to {
        let (bundle, first) = (at / TILE_WIDTH, at / TILE_WIDTH * TILE_WIDTH);
        let end = (first + TILE_WIDTH).min(to);
        let width = u16::try_from(end - first).expect("at most 256");
        let path = TilePath::entries(bundle, width).expect("1 to 256 entries of a bundle");
        let skip = usize::try_from(at - first).expect("less than 256");
        entries.extend(bundle_entries(files, &path).await?.into_iter().skip(skip));
        at = end;
    }
    Ok(entries)
}

/// A bundle's entries with both classes of openings.
async fn bundle_entries(
    files: &LedgerFiles,
    path: &TilePath,
) -> Result<Vec<PlacedEntry>, LedgerError> {
    let mut evidential = files.openings(FileClass::Evidential, path).await?.into_iter();
    let mut personal = files.openings(FileClass::Personal, path).await?.into_iter();
    let first = path.index() * TILE_WIDTH;
    let in_place = |line: Option<(LeafIndex, Vec<Opening>)>, index| {
        let line = line.filter(|(at, _)| *at == index);
        line.map(|(_, openings)| openings).ok_or(LedgerError::Damaged(index))
    };
    let mut entries = Vec::new();
    for (index, bytes) in (first..).map(LeafIndex).zip(files.entries(path).await?) {
        let evidential = in_place(evidential.next(), index)?;
        let personal = in_place(personal.next(), index)?;
        entries.push(StoredEntry { index, bytes, evidential, personal }.parse()?);
    }
    Ok(entries)
}

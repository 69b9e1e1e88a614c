//! The move itself.
//!
//! 1. What the ledger names at the source is counted and looked at.
//! 2. Each object is copied, every byte compared; what cannot be is told by its item.
//! 3. The ledger's files, and last its checkpoint. From then on the destination is a store.
//! 4. What arrived is looked at (or read) once more, through the ledger that arrived.
//!
//! Killed anywhere and begun again, it goes on: what is there is there before.

use std::collections::HashSet;

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::ids::TreeSize;
use futures_util::{StreamExt as _, stream};

use super::inventory::{Counting, parts};
use super::{Inventory, Line, Move, MoveError, ObjectLine, Outcome, ReportVersion, Summary, Tell};
use crate::backup::Progress;
use crate::failpoint;
use crate::ledger::{LedgerError, copy_kept, copy_ledger, published_in};
use crate::objects::{Copied, ObjectStore, StoreError};
use crate::scrub::{FaultCode, Finding, Held, Walk, orphans};

/// Objects copied or read at once.
const AT_ONCE: usize = 4;

/// Moves everything that the ledger names, and tells a line for each object. What did not arrive is in the summary, which
/// is the last line; it is no error.
///
/// # Errors
/// [`MoveError`]: nothing was moved, or the move was cut off and goes on when it is begun again.
pub async fn move_store(
    work: &Move<'_>,
    tell: Tell<'_>,
    progress: Progress<'_>,
) -> Result<Summary, MoveError> {
    let walk = Walk::begin(work.from, &work.origin, &work.log_key).await?;
    let checkpoint = walk.checkpoint().clone();
    let entries = refuse_unpublished(work, &checkpoint).await?;
    let since = moved_before(work, &checkpoint).await?;
    let before = count(work.from, walk, progress).await?;
    let (version, origin) = (ReportVersion::V1, work.origin.to_string());
    tell(&Line::Before { version, origin, entries, inventory: before.clone() })?;
    let mut moved = Summary::begin(entries, before, work.read_again);
    let mut gone = HashSet::new();
    copy_objects(work, &mut moved, &mut gone, tell, progress).await?;
    failpoint::hit("move.objects-copied");
    progress("copying the ledger", 0, 1);
    if moved.ledger_faults == 0 {
        copy_files(work, since, &checkpoint, &mut moved, tell).await?;
    }
    failpoint::hit("move.ledger-copied");
    look_again(work, &mut moved, &gone, tell, progress).await?;
    for name in surplus(work).await? {
        moved.surplus += 1;
        tell(&Line::Surplus { name })?;
    }
    moved.newer_entries = work.records.size().await?.0.saturating_sub(entries.0);
    moved.complete = is_complete(&moved);
    tell(&Line::Summary(moved.clone()))?;
    Ok(moved)
}

impl Summary {
    fn begin(entries: TreeSize, before: Inventory, read_again: bool) -> Self {
        Self {
            version: ReportVersion::V1,
            complete: false,
            entries,
            named: 0,
            copied: 0,
            there_before: 0,
            missing: 0,
            damaged: 0,
            copied_bytes: 0,
            ledger_moved: false,
            ledger_kept_files: 0,
            ledger_faults: 0,
            surplus: 0,
            differing: 0,
            read_again,
            newer_entries: 0,
            before,
            after: Counting::default().done(),
        }
    }
}

fn is_complete(moved: &Summary) -> bool {
    let lost = moved.missing + moved.damaged + moved.ledger_faults + moved.differing;
    let accounted = moved.copied + moved.there_before + moved.missing + moved.damaged;
    assert_eq!(moved.named, accounted, "an object was neither copied nor named as lost");
    let arrived = (moved.after.objects, moved.after.absent) == (moved.named, 0);
    // What an earlier run had brought may be missing at the source since.
    let same = moved.before.absent > 0 || moved.before == moved.after;
    lost + moved.newer_entries == 0 && moved.ledger_moved && arrived && same
}

/// Entries that are on their way would be left behind with the objects they name.
async fn refuse_unpublished(
    work: &Move<'_>,
    checkpoint: &SignedCheckpoint,
) -> Result<TreeSize, MoveError> {
    let (entries, published) = (work.records.size().await?, checkpoint.unverified().size);
    (entries == published).then_some(entries).ok_or(MoveError::Unpublished { entries, published })
}

/// How many entries an earlier move has brought to the destination, which must be a beginning of this ledger.
async fn moved_before(
    work: &Move<'_>,
    checkpoint: &SignedCheckpoint,
) -> Result<TreeSize, MoveError> {
    let Some(there) = published_in(work.to, &work.origin).await? else { return Ok(TreeSize(0)) };
    if there.verify(std::slice::from_ref(&work.log_key), &[]).is_err() {
        return Err(LedgerError::OtherKey { origin: work.origin.to_string() }.into());
    }
    let (there, ours) = (there.unverified(), checkpoint.unverified());
    if there.size > ours.size {
        return Err(MoveError::Ahead { there: there.size, ours: ours.size });
    }
    if there.size == ours.size && there.root != ours.root {
        return Err(MoveError::OtherHistory);
    }
    Ok(there.size)
}

/// What the ledger names, and how much of it is there at a look.
async fn count(
    store: &ObjectStore,
    mut walk: Walk,
    progress: Progress<'_>,
) -> Result<Inventory, MoveError> {
    let (size, mut counting) = (walk.size(), Counting::default());
    while let Some((at, held)) = walk.next().await? {
        let looked = glance(store, &held).await?;
        for (held, found) in held.iter().zip(looked) {
            counting.add(held, found.is_none());
        }
        progress("counting what is held", at.0, size.0);
    }
    Ok(counting.done())
}

/// What is wrong with each at a look, if something is.
async fn glance(store: &ObjectStore, held: &[Held]) -> Result<Vec<Option<Finding>>, MoveError> {
    let objects = held.iter().map(|held| held.object.clone()).collect();
    let looked = store.glance_at_all(objects).await?;
    held.iter().zip(looked).map(|(held, looked)| finding(held, looked)).collect()
}

/// A fault of what is stored is a finding; anything else is an error.
fn finding(held: &Held, looked: Result<(), StoreError>) -> Result<Option<Finding>, MoveError> {
    match looked {
        Ok(()) => Ok(None),
        Err(error) => Ok(Some(Finding::about(held, &error).ok_or(error)?)),
    }
}

async fn copy_objects(
    work: &Move<'_>,
    moved: &mut Summary,
    gone: &mut HashSet<String>,
    tell: Tell<'_>,
    progress: Progress<'_>,
) -> Result<(), MoveError> {
    let mut walk = Walk::begin(work.from, &work.origin, &work.log_key).await?;
    let size = walk.size();
    while let Some((_, held)) = walk.next().await? {
        let copies = held.iter().map(|held| copy(work, held));
        let mut copies = stream::iter(copies).buffered(AT_ONCE);
        let mut held = held.iter();
        while let (Some(copied), Some(held)) = (copies.next().await, held.next()) {
            let line = account(work, held, copied?, moved).await?;
            if matches!(line.outcome, Outcome::Missing | Outcome::Damaged) {
                gone.insert(line.object.clone());
            }
            progress("copying objects", held.leaf_index.0, size.0);
            tell(&Line::Object(line))?;
            failpoint::hit("move.object-told");
        }
    }
    for fault in walk.finish().await? {
        moved.ledger_faults += 1;
        tell(&Line::Ledger(fault))?;
    }
    Ok(())
}

/// Copies one; what is wrong with it at the source is a finding. Whose fault it is when copying fails is found out by
/// reading the source alone.
async fn copy(work: &Move<'_>, held: &Held) -> Result<Result<Copied, Finding>, MoveError> {
    let failed = match work.to.copy_object(work.from, &held.object).await {
        Ok(copied) => return Ok(Ok(copied)),
        Err(failed) => failed,
    };
    let theirs = finding(held, work.from.read_through(&held.object).await)?;
    theirs.map(Err).map(Ok).ok_or(failed)?
}

/// Counts what became of an object, and gives its line.
async fn account(
    work: &Move<'_>,
    held: &Held,
    copied: Result<Copied, Finding>,
    moved: &mut Summary,
) -> Result<ObjectLine, MoveError> {
    moved.named += 1;
    let (mut code, mut message, mut cases) = (None, String::new(), Vec::new());
    let outcome = match copied {
        Ok(Copied::Now { file_bytes }) => {
            moved.copied_bytes += file_bytes;
            Outcome::Copied
        }
        Ok(Copied::Before) => Outcome::ThereBefore,
        Err(fault) => {
            let linked = work.records.cases_of_item(held.item).await?;
            cases = linked.into_iter().map(|case| case.reference).collect();
            (code, message) = (Some(fault.code), fault.message);
            Outcome::of(fault.code)
        }
    };
    *match outcome {
        Outcome::Copied => &mut moved.copied,
        Outcome::ThereBefore => &mut moved.there_before,
        Outcome::Missing => &mut moved.missing,
        Outcome::Damaged => &mut moved.damaged,
    } += 1;
    Ok(ObjectLine {
        leaf_index: held.leaf_index.0,
        item: held.item,
        recipe_id: held.recipe_id.clone(),
        object: held.object.name.to_string(),
        size_bytes: held.object.size_bytes,
        sha256: held.sha256,
        parts: parts(&held.object),
        outcome,
        code,
        message,
        cases,
    })
}

/// The ledger's files; what keeps them from being copied and lies at the source is told, and is no error.
async fn copy_files(
    work: &Move<'_>,
    since: TreeSize,
    checkpoint: &SignedCheckpoint,
    moved: &mut Summary,
    tell: Tell<'_>,
) -> Result<(), MoveError> {
    let copied = async {
        let kept = copy_kept(work.from, work.to, &work.origin).await?;
        failpoint::hit("move.kept-copied");
        copy_ledger(work.from, work.to, since, checkpoint).await?;
        Ok::<u64, LedgerError>(kept)
    };
    match copied.await {
        Ok(kept) => {
            moved.ledger_moved = true;
            moved.ledger_kept_files = kept;
        }
        Err(LedgerError::Store(error)) if FaultCode::of(&error).is_none() => {
            return Err(error.into());
        }
        Err(LedgerError::Store(StoreError::Device { path, source })) => {
            return Err(StoreError::Device { path, source }.into());
        }
        Err(LedgerError::Records(error)) => return Err(error.into()),
        Err(error) => {
            moved.ledger_faults += 1;
            tell(&Line::Ledger(Finding::of_ledger(None, "ledger".to_owned(), error.to_string())))?;
        }
    }
    Ok(())
}

/// Everything that arrived, through the ledger that arrived; where that did not, through the source's.
async fn look_again(
    work: &Move<'_>,
    moved: &mut Summary,
    gone: &HashSet<String>,
    tell: Tell<'_>,
    progress: Progress<'_>,
) -> Result<(), MoveError> {
    let ledger = if moved.ledger_moved { work.to } else { work.from };
    let mut walk = Walk::begin(ledger, &work.origin, &work.log_key).await?;
    let (size, mut counting) = (walk.size(), Counting::default());
    while let Some((at, held)) = walk.next().await? {
        let looked = if work.read_again {
            read(work.to, &held).await?
        } else {
            glance(work.to, &held).await?
        };
        for (held, found) in held.iter().zip(looked) {
            counting.add(held, found.is_none());
            let known = gone.contains(held.object.name.as_str());
            if let Some(found) = found.filter(|_| !known) {
                moved.differing += 1;
                tell(&Line::Differs(found))?;
            }
        }
        progress("looking at the destination", at.0, size.0);
    }
    if moved.ledger_moved {
        for found in walk.finish().await? {
            moved.differing += 1;
            tell(&Line::Differs(found))?;
        }
    }
    moved.after = counting.done();
    Ok(())
}

async fn read(store: &ObjectStore, held: &[Held]) -> Result<Vec<Option<Finding>>, MoveError> {
    let reads = held.iter().map(async |held| finding(held, store.read_through(&held.object).await));
    let reads: Vec<_> = stream::iter(reads).buffered(AT_ONCE).collect().await;
    reads.into_iter().collect()
}

/// What lies at the source and belongs to no entry: left behind.
async fn surplus(work: &Move<'_>) -> Result<Vec<String>, MoveError> {
    let mut names = orphans(work.from, work.records).await?;
    let aside = work.from.scan("aside").await?;
    names.extend(aside.into_iter().map(|found| found.name.to_string()));
    let uploads = work.from.uploads().await?;
    names.extend(uploads.into_iter().map(|upload| format!("uploads/{upload}")));
    Ok(names)
}

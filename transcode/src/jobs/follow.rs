//! From entries to jobs.

use std::sync::Arc;

use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{ItemId, LeafIndex};
use storage::ledger::{Followed, LedgerError};
use storage::records::NewJob;

use super::{FOLLOWER, JobsError, Shared, TROUBLE_PAUSE};
use crate::recipe::{self, Recipe, RecipeId};

/// Reads the ledger from where it was left, for as long as there is one.
pub(super) async fn follow(shared: Arc<Shared>) {
    let from = *shared.position.borrow();
    let mut follower = shared.ledger.follow(LeafIndex(from));
    loop {
        match follower.next().await {
            Ok(entry) => take_note(&shared, &entry).await,
            Err(LedgerError::Closed) => return,
            Err(error) => {
                tracing::error!(next = follower.position().0, "the ledger cannot be read: {error}");
                tokio::time::sleep(TROUBLE_PAUSE).await;
            }
        }
    }
}

/// Takes note of one entry, however long the database takes.
async fn take_note(shared: &Shared, entry: &Followed) {
    while let Err(error) = try_to_take_note(shared, entry).await {
        tracing::error!(entry = entry.index.0, "an entry could not be taken note of: {error}");
        tokio::time::sleep(TROUBLE_PAUSE).await;
    }
}

async fn try_to_take_note(shared: &Shared, entry: &Followed) -> Result<(), JobsError> {
    let next = LeafIndex(entry.index.0 + 1);
    let jobs: Vec<NewJob> =
        received(entry).into_iter().map(|item| new_job(item, &recipe::first())).collect();
    shared.records().take_note(FOLLOWER, next, &jobs).await?;
    if let Some(item) = freed(entry) {
        shared.records().add_jobs(&[new_job(item, &recipe::first())]).await?;
        shared.records().reopen_jobs(item).await?;
    }
    shared.position.send_replace(next.0);
    shared.wake.notify_waiters();
    Ok(())
}

/// The item this entry brings in, if derivatives may be made of it.
fn received(entry: &Followed) -> Option<ItemId> {
    let wanted = entry.entry.kind == EventKind::ItemReceived
        && text(entry, field::STATE) == Some("stored")
        && text(entry, field::RESTRICTED) != Some("true");
    item(entry).filter(|_| wanted)
}

/// The item this entry frees of its restriction.
fn freed(entry: &Followed) -> Option<ItemId> {
    let freed = entry.entry.kind == EventKind::ItemRestricted
        && text(entry, field::RESTRICTED) == Some("false");
    item(entry).filter(|_| freed)
}

fn item(entry: &Followed) -> Option<ItemId> {
    entry.entry.subjects.iter().find_map(|subject| subject.id.item())
}

fn text<'a>(entry: &'a Followed, name: &str) -> Option<&'a str> {
    let opening = entry.openings.iter().find(|opening| opening.name.as_str() == name);
    opening.map(|opening| opening.value.as_str())
}

pub(super) fn new_job(item: ItemId, recipe: &Recipe) -> NewJob {
    NewJob {
        item,
        recipe_id: RecipeId::of(recipe).to_string(),
        kind: recipe.kind().to_owned(),
        recipe: recipe::canonical_text(recipe),
        asked: None,
    }
}

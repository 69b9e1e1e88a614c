//! Reading the ledger in order, from any index on, and waiting for what comes: how work is derived from it.

use std::collections::VecDeque;

use chain_of_custody::entry::{Entry, Opening};
use chain_of_custody::ids::{LeafIndex, TreeSize};

use super::{LedgerError, Reader};
use crate::records::StoredEntry;

/// Entries read at once; also all that a follower holds.
const PAGE: u64 = 256;

/// One published entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    pub index: LeafIndex,
    pub entry: Entry,
    /// As far as they are not erased.
    pub openings: Vec<Opening>,
}

/// A reader with a place. It never sees an entry before its checkpoint is published, and never one twice or none.
#[derive(Debug)]
pub struct Follower {
    reader: Reader,
    next: LeafIndex,
    page: VecDeque<StoredEntry>,
}

impl Follower {
    pub(super) fn new(reader: Reader, from: LeafIndex) -> Self {
        Self { reader, next: from, page: VecDeque::new() }
    }

    /// The index of the entry that [`Follower::next`] gives next: what to remember so as to go on later.
    pub fn position(&self) -> LeafIndex {
        self.next
    }

    /// The next entry; waits for it to be published. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`LedgerError::Closed`] when nothing more can come; others may pass, and calling again goes on at the same place.
    pub async fn next(&mut self) -> Result<Followed, LedgerError> {
        while self.page.is_empty() {
            self.turn_page().await?;
        }
        let stored = self.page.front().cloned().ok_or(LedgerError::Closed)?;
        // An entry that cannot be read stays in its place: it is never skipped.
        let placed = stored.parse()?;
        self.page.pop_front();
        self.next = LeafIndex(placed.index.0 + 1);
        Ok(Followed { index: placed.index, entry: placed.entry, openings: placed.openings })
    }

    async fn turn_page(&mut self) -> Result<(), LedgerError> {
        let published = &mut self.reader.published;
        let covers = |size: TreeSize| size.covers(self.next);
        let size = published.borrow_and_update().unverified().size;
        if !covers(size) {
            return published.changed().await.map_err(|_| LedgerError::Closed);
        }
        let to = TreeSize(size.0.min(self.next.0 + PAGE));
        self.page = self.reader.records.entries(TreeSize(self.next.0), to).await?.into();
        Ok(())
    }
}

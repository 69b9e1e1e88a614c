//! What the agent tells whoever is watching: a terminal with bars, a log, a test.

use std::path::Path;
use std::time::Duration;

use chain_of_custody::policy::Fingerprint;

use super::report::Standing;

/// Watches a push. Called from the tasks that move bytes: return at once, and never panic.
pub trait Observer: Send + Sync {
    /// Something about the agent as a whole.
    fn notice(&self, notice: &Notice) {
        let _ = notice;
    }

    /// Something about one clip.
    fn clip(&self, path: &Path, event: &ClipEvent) {
        let _ = (path, event);
    }
}

/// Nobody watches.
impl Observer for () {}

/// About the agent as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The server's policy was taken on trust, once. Somebody should compare the fingerprint with the published one.
    PolicyPinned { fingerprint: Fingerprint },
    /// The log's key was replaced, as a note signed by the pinned key and the new one says: the policy pinned from here on.
    KeyReplaced { fingerprint: Fingerprint },
    /// Receipts are held against this policy, pinned before or given as a file.
    PolicyInUse { fingerprint: Fingerprint },
}

/// About one clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClipEvent {
    /// It is taken on.
    Began { size_bytes: u64 },
    /// Another state of this file was begun earlier and never finished. That one stays unfinished; nothing is mixed.
    ChangedSinceBegun,
    /// An earlier run had got this far.
    Resumed { offset: u64 },
    /// It is read again, from its beginning to `offset`, before anything is said or sent.
    ReadAgain { offset: u64 },
    /// So much has left for the server.
    Sent { offset: u64 },
    /// So much is held by the server.
    Acknowledged { offset: u64 },
    /// A signed statement of what is held so far is in the journal.
    ProgressReceipt { offset: u64 },
    /// Something is wrong, and it is tried again after `wait`.
    Retrying { reason: String, wait: Duration },
    /// It is over, one way or another.
    Settled(Standing),
}

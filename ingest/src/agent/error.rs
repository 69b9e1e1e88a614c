//! Why the agent as a whole cannot go on. What is wrong with one clip stands in the report instead.

use std::io;
use std::path::PathBuf;

use chain_of_custody::policy::Fingerprint;

/// The agent could not tell whether the clips are safe. Nothing was deleted, and a later run goes on from here.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Ask for another value.
    #[error("the setting '{setting}' is not usable: {reason}")]
    Setting { setting: &'static str, reason: String },
    /// Wait for the other one, or give this one a folder of its own.
    #[error("another dock agent is using {}", folder.display())]
    InUse { folder: PathBuf },
    /// Mend the disk or its permissions.
    #[error("the agent's folder is not usable: {}: {source}", path.display())]
    State { path: PathBuf, source: io::Error },
    /// Keep the folder for inquiry and start with a fresh one; receipts already given stay valid.
    #[error("the agent's journal is damaged at line {line}: {reason}")]
    Journal { line: usize, reason: &'static str },
    /// Find out why the disk does not take it; then run again.
    #[error("the agent's journal could not be written; nothing more was done")]
    JournalStopped,
    /// A file in the agent's folder is not what the agent wrote.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    /// The server's ledger, or somebody's idea of it, is another. As with ssh: find out why before going on.
    #[error(
        "the policy given ({given}) is not the one pinned at first use ({pinned}); \
         if the force has changed its policy, remove the pinned file by hand"
    )]
    PolicyDiffers { given: Fingerprint, pinned: Fingerprint },
    /// Without a policy no receipt can be checked.
    #[error("no policy: {reason}; give one as a file, or try again")]
    NoPolicy { reason: String },
}

//! The marker that a restore leaves: nothing is signed before somebody has confirmed how far the ledger was.
//!
//! A backup may be older than what was shown to others. Signing on from it would make a second history (fault 17), and
//! nothing inside the folder knows better. So a restored folder does not open until the head is confirmed by name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::Failure;

const FILE_NAME: &str = "head-unconfirmed";

/// What is known of the restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restored {
    /// Entries under the restored checkpoint.
    pub(crate) entries: u64,
    /// The restored root, base64.
    pub(crate) root: String,
    /// When the backup was made.
    pub(crate) made_at_ms: i64,
    /// Where the backup lay.
    pub(crate) from: PathBuf,
}

impl Restored {
    /// The marker in a data folder, if the head is not confirmed.
    pub(crate) fn read(data: &Path) -> Result<Option<Self>, Failure> {
        let path = data.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|e| failed(&path, &e))?,
        };
        serde_json::from_str(&text).map(Some).map_err(|e| failed(&path, &e))
    }

    /// Leaves the marker, durably.
    pub(crate) fn leave(&self, data: &Path) -> Result<(), Failure> {
        let path = data.join(FILE_NAME);
        let text = serde_json::to_vec(self).expect("a marker is plain data");
        let written = std::fs::write(&path, text)
            .and_then(|()| std::fs::File::open(&path)?.sync_all())
            .and_then(|()| std::fs::File::open(data)?.sync_all());
        written.map_err(|e| failed(&path, &e))
    }

    /// Removes the marker: whoever calls has had the head confirmed.
    pub(crate) fn confirm(data: &Path) -> Result<(), Failure> {
        let path = data.join(FILE_NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(&path, &error));
            }
            _ => {}
        }
        std::fs::File::open(data).and_then(|f| f.sync_all()).map_err(|e| failed(&path, &e))
    }

    /// Why a folder with this marker does not open.
    pub(crate) fn refusal(&self) -> Failure {
        let text = format!(
            "this data folder was restored from a backup of {} entries: signing on from there would make a second \
             history, should the ledger have been further",
            self.entries
        );
        Failure::new("head-unconfirmed", text).advice(format!(
            "compare with the newest receipt, ledger slip or log witness outside; if none knows of more entries: \
             exhibit ledger recover --size {} --reason TEXT",
            self.entries
        ))
    }
}

fn failed(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::new("data-folder", format!("{}: {why}", path.display()))
}

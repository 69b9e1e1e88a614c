//! The file that an escrow is written to: its place is taken first, and given back when nothing came of it.

use std::fs::{File, OpenOptions, remove_file};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use storage::keys::EscrowError;

use super::open::failed;
use crate::control::Failure;

/// A new, empty file for an escrow.
#[derive(Debug)]
pub(crate) struct EscrowFile {
    path: PathBuf,
    file: File,
}

impl EscrowFile {
    /// Takes the place: keys are made only when their escrow can be written.
    pub(crate) fn new(path: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(|e| cannot(path, &e))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes the escrow, durably; of one that was not made nothing stays.
    pub(crate) fn write(mut self, sealed: Result<Vec<u8>, EscrowError>) -> Result<(), Failure> {
        let written = sealed.map_err(|e| escrow_failure(&e)).and_then(|sealed| {
            let written = self.file.write_all(&sealed).and_then(|()| self.file.sync_all());
            written.map_err(|e| cannot(&self.path, &e))
        });
        if written.is_err() {
            let _nothing_is_in_it = remove_file(&self.path);
        }
        written
    }
}

fn cannot(path: &Path, why: &std::io::Error) -> Failure {
    Failure::new("escrow", format!("{}: {why}", path.display()))
        .advice("name a new file in a folder that you may write")
}

/// What a person can do about an escrow.
pub(crate) fn escrow_failure(error: &EscrowError) -> Failure {
    let failure = failed("escrow", error);
    match error {
        EscrowError::Recipient { .. } => failure
            .advice("each person makes one with: age-keygen -o NAME.key; it prints the recipient"),
        EscrowError::Identity { .. } | EscrowError::NotOurs { .. } => failure.advice(
            "the file that age-keygen wrote, of somebody the escrow was made for (docs/keys.md)",
        ),
        EscrowError::KeysThere { .. } | EscrowError::Content { .. } | EscrowError::Key(_) => {
            failure
        }
    }
}

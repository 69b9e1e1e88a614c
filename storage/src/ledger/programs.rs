//! Programs that made derivatives, kept under the digests by which entries name them.

use bytes::Bytes;
use chain_of_custody::digest::Sha256;

use super::{Ledger, LedgerError};
use crate::objects::StoreError;

/// Below the ledger's folder in the store. They are no secret: whoever gets a derivative may have what made it.
pub(super) const FOLDER: &str = "programs";

impl Ledger {
    /// Keeps a program, once.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn keep_program(&self, program: Vec<u8>) -> Result<(), LedgerError> {
        let digest = Sha256::of(&program);
        self.reader.files.keep(&file(digest), program).await
    }

    /// The program with this digest; none where it was not kept, or what lies there is another.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn kept_program(&self, digest: Sha256) -> Result<Option<Bytes>, LedgerError> {
        match self.reader.files.kept(&file(digest)).await {
            Ok(program) => Ok((Sha256::of(&program) == digest).then_some(program)),
            Err(LedgerError::Store(StoreError::NotFound { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn file(digest: Sha256) -> String {
    format!("{FOLDER}/{digest}")
}

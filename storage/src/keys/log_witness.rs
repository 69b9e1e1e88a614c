//! The one key of a log witness: a file by itself, in no force's folder.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use chain_of_custody::note::SigningKey;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::{KeyError, Protection, Role, encode, open, write_private};

/// Opens the key of a log witness in `folder` under the name that its cosignatures carry.
///
/// # Errors
/// [`KeyError`]; [`KeyError::Missing`] when there is none.
pub fn open_log_witness_key(
    folder: &Path,
    name: &str,
    protection: &Protection,
) -> Result<SigningKey, KeyError> {
    let seed = open(Role::LogWitness, folder, protection)?;
    let malformed = |_| KeyError::Malformed { path: Role::LogWitness.file(folder) };
    SigningKey::for_cosignatures(name, *seed).map_err(malformed)
}

/// Makes the key of a log witness in `folder`, which is there; durable when this returns, and never over another.
///
/// # Errors
/// [`KeyError`].
pub fn create_log_witness_key(folder: &Path, protection: &Protection) -> Result<(), KeyError> {
    let path = Role::LogWitness.file(folder);
    if path.exists() {
        return Err(KeyError::io(&path)(io::ErrorKind::AlreadyExists.into()));
    }
    let mut seed = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(seed.as_mut_slice()).expect("the kernel's random numbers are seeded");
    let bytes = encode(Role::LogWitness, &seed, protection, &path)?;
    let waiting = path.with_extension("new");
    // What a crash left here was nobody's key.
    let _ = fs::remove_file(&waiting);
    write_private(&waiting, &bytes)
        .and_then(|()| fs::rename(&waiting, &path))
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(KeyError::io(&path))
}

#[cfg(test)]
mod tests {
    use chain_of_custody::note::{KeyType, Signer as _};

    use super::*;

    #[test]
    fn made_once_never_over_another_and_of_its_own_kind() {
        let folder = tempfile::tempdir().unwrap();
        let plain = Protection::Unencrypted;
        let missing = open_log_witness_key(folder.path(), "w.example", &plain);
        assert!(matches!(missing, Err(KeyError::Missing { .. })));
        create_log_witness_key(folder.path(), &plain).unwrap();
        let key = open_log_witness_key(folder.path(), "w.example", &plain).unwrap().vkey();
        assert_eq!(key.key_type(), KeyType::CosignatureV1);
        assert!(create_log_witness_key(folder.path(), &plain).is_err());
        let again = open_log_witness_key(folder.path(), "w.example", &plain).unwrap().vkey();
        assert_eq!(key, again);
    }
}

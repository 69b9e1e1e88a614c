//! A key file in plain text, put under the configured passphrase.
//!
//! What replaces the plain file was opened before, and is durable before the plain one is gone: a crash leaves the one or
//! the other, and a repeat goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use super::rotation::replace_private;
use super::{
    AGE_FIRST_BYTES, FILE_MAX_BYTES, KeyError, Passphrase, Protection, Role, decode, decrypt,
    encode, open_file, read_private,
};

/// The files of a force's keys, by name.
pub const KEY_FILES: [&str; 4] = ["force.key", "log.key", "receipt.key", "bundle.key"];

/// Puts one of [`KEY_FILES`] under the passphrase; says whether it was in plain text. One that is under it already is
/// opened, to see that it is this passphrase. Durable when this returns.
///
/// What the plain file held is written over at last, in place: a file system or a medium that never writes in place keeps
/// it all the same.
///
/// # Errors
/// [`KeyError`]; the file is then as it was, or under the passphrase.
pub fn protect(folder: &Path, file: &str, passphrase: &Passphrase) -> Result<bool, KeyError> {
    let path = folder.join(file);
    let malformed = || KeyError::Malformed { path: path.clone() };
    let named = |role: &Role| role.file(folder) == path;
    let role = Role::ALL.into_iter().find(named).ok_or_else(malformed)?;
    let protection = Protection::Passphrase(passphrase.clone());
    let stored = read_private(&path, FILE_MAX_BYTES)?;
    if stored.starts_with(AGE_FIRST_BYTES) {
        return open_file(role, path, &protection).map(|_| false);
    }
    let seed = decode(role, &stored).ok_or_else(malformed)?;
    let sealed = encode(role, &seed, &protection, &path)?;
    let opened = decode(role, &decrypt(&sealed, passphrase, &path)?).ok_or_else(malformed)?;
    if opened != seed {
        return Err(malformed());
    }
    let plain = OpenOptions::new().write(true).open(&path).map_err(KeyError::io(&path))?;
    replace_private(&path, &sealed)?;
    overwrite(plain, stored.len()).map_err(KeyError::io(&path))?;
    Ok(true)
}

/// The file has no name any more.
fn overwrite(mut plain: File, bytes: usize) -> io::Result<()> {
    plain.write_all(&vec![0; bytes])?;
    plain.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Keys;
    use super::*;

    #[test]
    fn plain_keys_come_under_the_passphrase_and_stay_the_same() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("keys");
        let plain = Keys::open_or_create(&folder, &Protection::Unencrypted).unwrap();
        let word = data.path().join("word");
        fs::write(&word, "correct horse\n").unwrap();
        fs::set_permissions(&word, fs::Permissions::from_mode(0o600)).unwrap();
        let passphrase = Passphrase::from_file(&word).unwrap();
        // Cut off after the first: half of them are in plain text, and a repeat goes on.
        assert!(protect(&folder, KEY_FILES[0], &passphrase).unwrap());
        let again: Vec<bool> =
            KEY_FILES.iter().map(|file| protect(&folder, file, &passphrase).unwrap()).collect();
        assert_eq!(again, [false, true, true, true]);
        let under = Keys::open(&folder, &Protection::Passphrase(passphrase.clone())).unwrap();
        assert_eq!(under.seeds, plain.seeds);
        for file in KEY_FILES {
            assert!(fs::read(folder.join(file)).unwrap().starts_with(AGE_FIRST_BYTES), "{file}");
        }
        fs::write(&word, "another\n").unwrap();
        let another = Passphrase::from_file(&word).unwrap();
        let refused = protect(&folder, KEY_FILES[1], &another);
        assert!(matches!(refused, Err(KeyError::WrongPassphrase { .. })));
    }
}

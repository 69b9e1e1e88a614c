//! A key on its way to take another's place: `ROLE.next` beside `ROLE.key`, and the notes of those that did.
//!
//! `ROLE.next` signs nothing but its note until the ledger holds the entry; then it becomes `ROLE.key` in one step, over
//! the old one. Who decides between [`adopt`] and [`discard`] looks into the ledger.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use chain_of_custody::note::{KeyId, SigningKey};
use chain_of_custody::rotation::{KeyRole, Rotation};
use zeroize::Zeroizing;

use super::{
    KeyError, Protection, Role, encode, open_file, random_seed, read_private, write_private,
};

/// Below the folder of keys: the notes of keys that took another's place.
const ROTATED: &str = "rotated";
/// No note is longer.
const NOTE_MAX_BYTES: u64 = 4096;

impl From<KeyRole> for Role {
    fn from(role: KeyRole) -> Self {
        match role {
            KeyRole::Log => Self::Log,
            KeyRole::Receipt => Self::Receipt,
            KeyRole::Bundle => Self::Bundle,
        }
    }
}

/// Makes the key that will take the place of `role`'s, in place of one that was left over. Durable when this returns.
///
/// # Errors
/// [`KeyError`].
pub fn prepare(folder: &Path, role: KeyRole, protection: &Protection) -> Result<(), KeyError> {
    let path = next_file(folder, role);
    let bytes = encode(role.into(), &random_seed(), protection, &path)?;
    replace_private(&path, &bytes)
}

/// The key that is to take the place of `role`'s, if there is one on its way.
///
/// # Errors
/// [`KeyError`].
pub fn prepared(
    folder: &Path,
    role: KeyRole,
    protection: &Protection,
    name: &str,
) -> Result<Option<SigningKey>, KeyError> {
    let path = next_file(folder, role);
    if !path.exists() {
        return Ok(None);
    }
    let seed = seed(folder, role, protection)?;
    let malformed = |_| KeyError::Malformed { path };
    SigningKey::from_seed(name, *seed).map(Some).map_err(malformed)
}

/// The prepared key itself, for its escrow.
pub(super) fn seed(
    folder: &Path,
    role: KeyRole,
    protection: &Protection,
) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    open_file(role.into(), next_file(folder, role), protection)
}

/// The prepared key takes the place of the one in use, whose file goes. Durable when this returns.
///
/// # Errors
/// [`KeyError::Io`].
pub fn adopt(folder: &Path, role: KeyRole) -> Result<(), KeyError> {
    let path = Role::from(role).file(folder);
    fs::rename(next_file(folder, role), &path)
        .and_then(|()| sync(folder))
        .map_err(KeyError::io(&path))
}

/// The prepared key goes, its note first: nothing was ever shown of it.
///
/// # Errors
/// [`KeyError::Io`].
pub fn discard(folder: &Path, role: KeyRole, id: KeyId) -> Result<(), KeyError> {
    let (note, next) = (note_file(folder, role, id), next_file(folder, role));
    let gone = |path: &Path| match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync(path.parent().unwrap_or(folder)),
    };
    gone(&note).map_err(KeyError::io(&note))?;
    gone(&next).map_err(KeyError::io(&next))
}

/// Keeps the note of a rotation. Durable when this returns.
///
/// # Errors
/// [`KeyError::Io`].
pub fn keep_note(folder: &Path, rotation: &Rotation, note: &str) -> Result<(), KeyError> {
    let path = note_file(folder, rotation.role, rotation.new.id());
    let notes = folder.join(ROTATED);
    match DirBuilder::new().mode(0o700).create(&notes) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(KeyError::io(&notes)(error));
        }
        _ => sync(folder).map_err(KeyError::io(folder))?,
    }
    replace_private(&path, note.as_bytes())
}

/// Every note that is kept and holds, each with its bytes. Others are passed over: they lead nowhere.
///
/// # Errors
/// [`KeyError`] when one cannot be read.
pub fn notes(folder: &Path) -> Result<Vec<(Rotation, String)>, KeyError> {
    let folder = folder.join(ROTATED);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(KeyError::io(&folder))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(KeyError::io(&folder))?.path();
        if path.extension().is_none_or(|extension| extension != "note") {
            continue;
        }
        let bytes = read_private(&path, NOTE_MAX_BYTES)?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        if let Ok(rotation) = Rotation::read(text.as_bytes()) {
            found.push((rotation, text.to_owned()));
        }
    }
    found.sort_by_key(|(rotation, _)| rotation.at);
    Ok(found)
}

fn next_file(folder: &Path, role: KeyRole) -> PathBuf {
    folder.join(format!("{role}.next"))
}

fn note_file(folder: &Path, role: KeyRole, id: KeyId) -> PathBuf {
    folder.join(ROTATED).join(format!("{role}-{id}.note"))
}

/// All at once: a crash leaves the file as it was, or as it is now.
pub(super) fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let waiting = path.with_added_extension("new");
    let above = path.parent().unwrap_or(Path::new("."));
    let _left_by_a_crash = fs::remove_file(&waiting);
    write_private(&waiting, bytes)
        .and_then(|()| fs::rename(&waiting, path))
        .and_then(|()| sync(above))
        .map_err(KeyError::io(path))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use chain_of_custody::checkpoint::Origin;
    use chain_of_custody::note::Signer as _;

    use super::super::Keys;
    use super::*;

    const NAME: &str = "ledger.example";

    #[test]
    fn a_prepared_key_takes_the_others_place_or_goes() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("keys");
        let plain = Protection::Unencrypted;
        let log = |keys: &Keys| keys.signing_key(Role::Log, NAME).unwrap().unwrap();
        let old = log(&Keys::open_or_create(&folder, &plain).unwrap());
        assert!(prepared(&folder, KeyRole::Log, &plain, NAME).unwrap().is_none());
        let next = || {
            prepare(&folder, KeyRole::Log, &plain).unwrap();
            let next = prepared(&folder, KeyRole::Log, &plain, NAME).unwrap().unwrap();
            let at = "2026-11-22T18:04:05.000Z".parse().unwrap();
            let ledger = Origin::new(NAME).unwrap();
            let note = Rotation::sign(&ledger, KeyRole::Log, &old, &next, at).unwrap().to_string();
            let rotation = Rotation::read(note.as_bytes()).unwrap();
            keep_note(&folder, &rotation, &note).unwrap();
            (next, rotation)
        };
        let (first, _) = next();
        discard(&folder, KeyRole::Log, first.vkey().id()).unwrap();
        assert!(prepared(&folder, KeyRole::Log, &plain, NAME).unwrap().is_none());
        assert!(notes(&folder).unwrap().is_empty());
        assert_eq!(log(&Keys::open(&folder, &plain).unwrap()).vkey(), old.vkey());

        let (second, rotation) = next();
        adopt(&folder, KeyRole::Log).unwrap();
        assert_eq!(log(&Keys::open(&folder, &plain).unwrap()).vkey(), second.vkey());
        assert_eq!(notes(&folder).unwrap()[0].0, rotation);
        assert!(prepared(&folder, KeyRole::Log, &plain, NAME).unwrap().is_none());
    }
}

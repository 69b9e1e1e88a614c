//! The escrow: all keys of the force, encrypted to people's own age keys, written once when they are made.
//!
//! The text inside is that of the key files, one after the other (docs/formats/objects-at-rest.md), so that `age -d`
//! and an editor are enough to bring the keys back without us.

use std::fs;
use std::path::Path;

use age::x25519;
use chain_of_custody::rotation::KeyRole;
use zeroize::Zeroizing;

use super::{
    KeyError, Keys, Protection, Role, create_with, decode, encode, is_empty, random_seed,
    read_private, rotation,
};

/// The largest escrow file.
const ESCROW_MAX_BYTES: u64 = 64 * 1024;
/// An identity file has comments too.
const IDENTITY_MAX_BYTES: u64 = 16 * 1024;

/// Why an escrow cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum EscrowError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("'{text}' is no age recipient (age1…): {reason}")]
    Recipient { text: String, reason: String },
    #[error(
        "there are keys in {folder} already: they were exported when they were made, or never; others cannot take their place"
    )]
    KeysThere { folder: String },
    #[error("{path} is no identity of age (AGE-SECRET-KEY-1…)")]
    Identity { path: String },
    #[error("{path} does not open with this identity: it was written for others, or is damaged")]
    NotOurs { path: String },
    #[error("{path} opens, but does not hold four keys of ours")]
    Content { path: String },
}

/// Makes the keys of a new force in `folder` and gives their escrow, encrypted to each of `recipients`.
///
/// # Errors
/// [`EscrowError::KeysThere`]: keys are exported once, when they are made.
pub fn create_with_escrow(
    folder: &Path,
    protection: &Protection,
    recipients: &[String],
) -> Result<Vec<u8>, EscrowError> {
    let parsed = parse_recipients(recipients)?;
    if !is_empty(folder)? {
        return Err(EscrowError::KeysThere { folder: folder.display().to_string() });
    }
    let seeds = Role::ALL.map(|_| random_seed());
    // The escrow first: keys that nobody can bring back must not come into use.
    let sealed = seal(&seeds, &parsed)?;
    create_with(folder, protection, &seeds)?;
    Ok(sealed)
}

/// The escrow of the keys in `folder` as they will be once the prepared key of `role` has taken its place, encrypted to
/// each of `recipients`.
///
/// # Errors
/// [`EscrowError`].
pub fn escrow_with_prepared(
    folder: &Path,
    protection: &Protection,
    role: KeyRole,
    recipients: &[String],
) -> Result<Vec<u8>, EscrowError> {
    let parsed = parse_recipients(recipients)?;
    let Keys { mut seeds } = Keys::open(folder, protection)?;
    seeds[Role::from(role) as usize] = rotation::seed(folder, role, protection)?;
    seal(&seeds, &parsed)
}

/// Brings the keys back from an escrow into `folder`, which has none, under `protection`.
///
/// # Errors
/// [`EscrowError`].
pub fn recover_from_escrow(
    folder: &Path,
    protection: &Protection,
    escrow: &Path,
    identity: &Path,
) -> Result<Keys, EscrowError> {
    if !is_empty(folder)? {
        return Err(EscrowError::KeysThere { folder: folder.display().to_string() });
    }
    let path = || escrow.display().to_string();
    let identity = read_identity(identity)?;
    let found = fs::metadata(escrow).map_err(KeyError::io(escrow))?.len();
    if found > ESCROW_MAX_BYTES {
        return Err(EscrowError::Content { path: path() });
    }
    let sealed = fs::read(escrow).map_err(KeyError::io(escrow))?;
    let text =
        age::decrypt(&identity, &sealed).map_err(|_| EscrowError::NotOurs { path: path() })?;
    let seeds =
        parse(&Zeroizing::new(text)).ok_or_else(|| EscrowError::Content { path: path() })?;
    create_with(folder, protection, &seeds)?;
    Ok(Keys::open(folder, protection)?)
}

fn parse_recipients(texts: &[String]) -> Result<Vec<x25519::Recipient>, EscrowError> {
    let parse = |text: &String| {
        text.parse::<x25519::Recipient>().map_err(|reason| EscrowError::Recipient {
            text: text.clone(),
            reason: reason.to_owned(),
        })
    };
    texts.iter().map(parse).collect()
}

fn seal(
    seeds: &[Zeroizing<[u8; 32]>; 4],
    recipients: &[x25519::Recipient],
) -> Result<Vec<u8>, EscrowError> {
    let mut text = Zeroizing::new(Vec::new());
    for (role, seed) in Role::ALL.into_iter().zip(seeds) {
        text.extend_from_slice(&encode(role, seed, &Protection::Unencrypted, Path::new(""))?);
    }
    let all = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let none = |reason: String| EscrowError::Recipient { text: String::new(), reason };
    let encryptor = age::Encryptor::with_recipients(all).map_err(|e| none(e.to_string()))?;
    let mut sealed = Vec::new();
    let mut writer = encryptor.wrap_output(&mut sealed).map_err(|e| none(e.to_string()))?;
    let written =
        std::io::Write::write_all(&mut writer, &text).and_then(|()| writer.finish().map(drop));
    written.map_err(|e| none(e.to_string()))?;
    Ok(sealed)
}

/// An identity file as `age-keygen` writes it: comments and one secret key.
fn read_identity(path: &Path) -> Result<x25519::Identity, EscrowError> {
    let bytes = read_private(path, IDENTITY_MAX_BYTES)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-"));
    let identity = line.and_then(|line| line.trim().parse().ok());
    identity.ok_or_else(|| EscrowError::Identity { path: path.display().to_string() })
}

/// Four key files, one after the other, three lines each.
fn parse(text: &[u8]) -> Option<[Zeroizing<[u8; 32]>; 4]> {
    let text = std::str::from_utf8(text).ok()?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (files, rest) = lines.as_chunks::<3>();
    if files.len() != Role::ALL.len() || !rest.is_empty() {
        return None;
    }
    let mut seeds = Vec::new();
    for (role, file) in Role::ALL.into_iter().zip(files) {
        seeds.push(decode(role, Zeroizing::new(file.concat()).as_bytes())?);
    }
    seeds.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use age::secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn what_was_escrowed_comes_back_the_same_and_only_to_its_recipients() {
        let place = tempfile::tempdir().unwrap();
        let (first, second) = (place.path().join("first"), place.path().join("second"));
        let (officer, other) = (x25519::Identity::generate(), x25519::Identity::generate());
        let write = |name: &str, identity: &x25519::Identity| {
            let path = place.path().join(name);
            fs::write(&path, format!("# comment\n{}\n", identity.to_string().expose_secret()))
                .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let recipients = [officer.to_public().to_string()];
        let plain = Protection::Unencrypted;
        let sealed = create_with_escrow(&first, &plain, &recipients).unwrap();
        assert!(matches!(
            create_with_escrow(&first, &plain, &recipients),
            Err(EscrowError::KeysThere { .. })
        ));
        let escrow = place.path().join("escrow.age");
        fs::write(&escrow, &sealed).unwrap();
        let stranger = recover_from_escrow(&second, &plain, &escrow, &write("o", &other));
        assert!(matches!(stranger, Err(EscrowError::NotOurs { .. })));
        recover_from_escrow(&second, &plain, &escrow, &write("i", &officer)).unwrap();
        for role in Role::ALL {
            let read = |folder: &Path| fs::read(role.file(folder)).unwrap();
            assert_eq!(read(&first), read(&second), "{}", role.as_str());
        }
        let nobody = create_with_escrow(&place.path().join("x"), &plain, &["age1nobody".into()]);
        assert!(matches!(nobody, Err(EscrowError::Recipient { .. })));
        assert!(!place.path().join("x").exists(), "no keys without their escrow");
    }
}

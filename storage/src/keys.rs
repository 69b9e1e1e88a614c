//! The keys of the force, as files in `DATA/keys`: the force key that wraps object keys, and one signing key per role.
//!
//! What lives here: making them on first start, and opening them under a passphrase. What does not: what is signed
//! (`chain_of_custody::note`), backup: these files are never in one.
//!
//! The one invariant to keep: a key file is read only if nobody but its owner can, and lies unencrypted only where that
//! was asked for by name.

mod escrow;
mod log_witness;
mod protect;
pub mod rotation;

use std::env;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use age::{DecryptError, scrypt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chain_of_custody::malformed::Malformed;
use chain_of_custody::note::SigningKey;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

pub use escrow::{EscrowError, create_with_escrow, escrow_with_prepared, recover_from_escrow};
pub use log_witness::{create_log_witness_key, open_log_witness_key};
pub use protect::{KEY_FILES, protect};

use crate::objects::Kek;

/// scrypt's cost when a key file is made: 2^16, that is 64 MiB and a fifth of a second, once per file at start.
/// Our own unit tests make dozens, cheaply.
const WORK_FACTOR: u8 = if cfg!(test) { 10 } else { 16 };
/// The most that a file may ask for: 1 GiB.
const WORK_FACTOR_MAX: u8 = 20;
/// No key file is longer.
const FILE_MAX_BYTES: u64 = 4096;
/// No passphrase is longer.
const PASSPHRASE_MAX_BYTES: u64 = 1024;
const AGE_FIRST_BYTES: &[u8] = b"age-encryption.org/";
/// Bits of a file's mode that let others in.
const OTHERS: u32 = 0o077;

/// What is wrong with the keys, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{} is missing while other keys are there: bring it back from the escrow; a new one would not be the same key", .path.display())]
    Missing { path: PathBuf },
    #[error("{} can be read by others (mode {mode:04o}): run chmod 600 on it, and ask who has read it", .path.display())]
    WrongMode { path: PathBuf, mode: u32 },
    #[error("{} does not open with this passphrase", .path.display())]
    WrongPassphrase { path: PathBuf },
    #[error("{} is encrypted: configure its passphrase (a file, an environment variable or a system credential)", .path.display())]
    PassphraseNeeded { path: PathBuf },
    #[error("{} is not encrypted while a passphrase is configured: run `exhibit keys protect`, or allow unencrypted keys by name", .path.display())]
    NotEncrypted { path: PathBuf },
    #[error("{} is not a key file of ours: bring it back from the escrow", .path.display())]
    Malformed { path: PathBuf },
    #[error("no passphrase in {from}: it is empty, too long, or not there")]
    NoPassphrase { from: String },
    #[error("{} cannot be read or written: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl KeyError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

/// What a key is for. Each has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Wraps the keys of objects; signs nothing.
    Force,
    /// Signs checkpoints and nothing else.
    Log,
    /// Signs receipts, progress receipts and quarantine notices.
    Receipt,
    /// Signs bundles.
    Bundle,
    /// Cosigns checkpoints of others; never in a force's folder of keys.
    LogWitness,
}

impl Role {
    /// The roles of a force, in the order of [`Keys::seeds`].
    const ALL: [Self; 4] = [Self::Force, Self::Log, Self::Receipt, Self::Bundle];

    /// The name in the key file and of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Force => "force",
            Self::Log => "log",
            Self::Receipt => "receipt",
            Self::Bundle => "bundle",
            Self::LogWitness => "log-witness",
        }
    }

    fn file(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.key", self.as_str()))
    }
}

/// How key files are protected at rest.
#[derive(Debug, Clone)]
pub enum Protection {
    /// Encrypted in the age format under this passphrase.
    Passphrase(Passphrase),
    /// In plain text, because the configuration says so by name (the demo does; `doctor` shows it).
    Unencrypted,
}

/// A passphrase, from somewhere that is not the command line.
#[derive(Debug, Clone)]
pub struct Passphrase(SecretString);

impl Passphrase {
    /// From the first line of a file that only its owner reads.
    ///
    /// # Errors
    /// [`KeyError::WrongMode`], [`KeyError::NoPassphrase`], [`KeyError::Io`].
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let text = read_private(path, PASSPHRASE_MAX_BYTES)?;
        Self::first_line(&text, || path.display().to_string())
    }

    /// From an environment variable.
    ///
    /// # Errors
    /// [`KeyError::NoPassphrase`].
    pub fn from_env(variable: &str) -> Result<Self, KeyError> {
        let text = env::var(variable).unwrap_or_default();
        Self::first_line(Zeroizing::new(text).as_bytes(), || format!("the variable {variable}"))
    }

    /// From a systemd credential (`LoadCredentialEncrypted=`): a file in `$CREDENTIALS_DIRECTORY`.
    ///
    /// # Errors
    /// As [`Self::from_file`].
    pub fn from_credential(name: &str) -> Result<Self, KeyError> {
        let missing = || KeyError::NoPassphrase { from: format!("the system credential {name}") };
        let folder = env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(missing)?;
        Self::from_file(&Path::new(&folder).join(name))
    }

    fn first_line(text: &[u8], from: impl Fn() -> String) -> Result<Self, KeyError> {
        let none = || KeyError::NoPassphrase { from: from() };
        let line = std::str::from_utf8(text).ok().and_then(|text| text.lines().next());
        let line = line.filter(|line| !line.is_empty()).ok_or_else(none)?;
        Ok(Self(SecretString::from(line.to_owned())))
    }
}

/// All keys of the force, open. Never printed.
pub struct Keys {
    seeds: [Zeroizing<[u8; 32]>; 4],
}

impl Keys {
    /// Opens the keys in `folder`; when there are none at all, makes them first, all or nothing, with mode 0600.
    ///
    /// # Errors
    /// [`KeyError`] names the file and what to do.
    pub fn open_or_create(folder: &Path, protection: &Protection) -> Result<Self, KeyError> {
        if is_empty(folder)? {
            create(folder, protection)?;
        }
        Self::open(folder, protection)
    }

    /// Opens the keys in `folder`.
    ///
    /// # Errors
    /// [`KeyError`] names the file and what to do.
    pub fn open(folder: &Path, protection: &Protection) -> Result<Self, KeyError> {
        let [force, log, receipt, bundle] = Role::ALL.map(|role| open(role, folder, protection));
        Ok(Self { seeds: [force?, log?, receipt?, bundle?] })
    }

    /// Opens the force's key and no other: for who reads and never signs.
    ///
    /// # Errors
    /// [`KeyError`] names the file and what to do.
    pub fn open_force_key(folder: &Path, protection: &Protection) -> Result<Kek, KeyError> {
        Ok(Kek::new(open(Role::Force, folder, protection)?))
    }

    /// The force key, for the object store.
    pub fn kek(&self) -> Kek {
        Kek::new(self.seed(Role::Force).clone())
    }

    /// The signing key of a role under the name that its notes carry. `None` for the force's key, which signs nothing,
    /// and for a log witness's, which no force holds.
    ///
    /// # Errors
    /// [`Malformed`] when the name is no name of a key.
    pub fn signing_key(&self, role: Role, name: &str) -> Option<Result<SigningKey, Malformed>> {
        let signs = !matches!(role, Role::Force | Role::LogWitness);
        signs.then(|| SigningKey::from_seed(name, **self.seed(role)))
    }

    fn seed(&self, role: Role) -> &Zeroizing<[u8; 32]> {
        &self.seeds[role as usize]
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

fn is_empty(folder: &Path) -> Result<bool, KeyError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(KeyError::io(folder)(error)),
        Ok(mut entries) => Ok(entries.next().is_none()),
    }
}

fn create(folder: &Path, protection: &Protection) -> Result<(), KeyError> {
    create_with(folder, protection, &Role::ALL.map(|_| random_seed()))
}

fn random_seed() -> Zeroizing<[u8; 32]> {
    let mut seed = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(seed.as_mut_slice()).expect("the kernel's random numbers are seeded");
    seed
}

/// Writes all keys to a folder beside, then gives that its name: a crash leaves none or all.
fn create_with(
    folder: &Path,
    protection: &Protection,
    seeds: &[Zeroizing<[u8; 32]>; 4],
) -> Result<(), KeyError> {
    let waiting = folder.with_extension("new");
    if waiting.exists() {
        fs::remove_dir_all(&waiting).map_err(KeyError::io(&waiting))?;
    }
    let above =
        folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(above).map_err(KeyError::io(above))?;
    DirBuilder::new().mode(0o700).create(&waiting).map_err(KeyError::io(&waiting))?;
    for (role, seed) in Role::ALL.into_iter().zip(seeds) {
        let path = role.file(&waiting);
        let bytes = encode(role, seed, protection, &path)?;
        write_private(&path, &bytes).map_err(KeyError::io(&path))?;
    }
    let sync = |folder: &Path| File::open(folder).and_then(|file| file.sync_all());
    sync(&waiting)
        .and_then(|()| fs::rename(&waiting, folder))
        .and_then(|()| sync(above))
        .map_err(KeyError::io(folder))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The text of a key file (docs/formats/objects-at-rest.md), encrypted as asked.
fn encode(
    role: Role,
    seed: &[u8; 32],
    protection: &Protection,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let seed = Zeroizing::new(STANDARD.encode(seed));
    let text = format!("exhibit role key v1\nrole {}\nseed {}\n", role.as_str(), *seed);
    let text = Zeroizing::new(text.into_bytes());
    let Protection::Passphrase(Passphrase(passphrase)) = protection else { return Ok(text) };
    let mut recipient = scrypt::Recipient::new(passphrase.clone());
    recipient.set_work_factor(WORK_FACTOR);
    let sealed = age::encrypt(&recipient, &text)
        .map_err(|error| KeyError::io(path)(io::Error::other(error)))?;
    Ok(Zeroizing::new(sealed))
}

fn open(
    role: Role,
    folder: &Path,
    protection: &Protection,
) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    open_file(role, role.file(folder), protection)
}

fn open_file(
    role: Role,
    path: PathBuf,
    protection: &Protection,
) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let stored = read_private(&path, FILE_MAX_BYTES).map_err(|error| match error {
        KeyError::Io { path, source } if source.kind() == io::ErrorKind::NotFound => {
            KeyError::Missing { path }
        }
        other => other,
    })?;
    let encrypted = stored.starts_with(AGE_FIRST_BYTES);
    let text = match protection {
        Protection::Passphrase(_) if !encrypted => return Err(KeyError::NotEncrypted { path }),
        Protection::Unencrypted if encrypted => return Err(KeyError::PassphraseNeeded { path }),
        Protection::Passphrase(passphrase) => decrypt(&stored, passphrase, &path)?,
        Protection::Unencrypted => stored,
    };
    decode(role, &text).ok_or(KeyError::Malformed { path })
}

fn decrypt(
    sealed: &[u8],
    Passphrase(passphrase): &Passphrase,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut identity = scrypt::Identity::new(passphrase.clone());
    identity.set_max_work_factor(WORK_FACTOR_MAX);
    let path = path.to_owned();
    age::decrypt(&identity, sealed).map(Zeroizing::new).map_err(|error| match error {
        DecryptError::DecryptionFailed
        | DecryptError::KeyDecryptionFailed
        | DecryptError::NoMatchingKeys => KeyError::WrongPassphrase { path },
        _ => KeyError::Malformed { path },
    })
}

fn decode(role: Role, text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let text = std::str::from_utf8(text).ok()?;
    let rest = text.strip_prefix("exhibit role key v1\nrole ")?.strip_prefix(role.as_str())?;
    let seed = rest.strip_prefix("\nseed ")?.strip_suffix('\n')?;
    let seed = Zeroizing::new(STANDARD.decode(seed).ok()?);
    Some(Zeroizing::new(seed.as_slice().try_into().ok()?))
}

/// A short file that nobody but its owner may read.
fn read_private(path: &Path, max_bytes: u64) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let file = File::open(path).map_err(KeyError::io(path))?;
    let mode = file.metadata().map_err(KeyError::io(path))?.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyError::WrongMode { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(KeyError::io(path))?;
    if bytes.len() as u64 > max_bytes {
        return Err(KeyError::Malformed { path: path.to_owned() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use chain_of_custody::note::Signer as _;

    use super::*;

    fn passphrase(text: &str) -> Protection {
        Protection::Passphrase(Passphrase::first_line(text.as_bytes(), String::new).unwrap())
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn made_once_and_the_same_ever_after() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("keys");
        for protection in [passphrase("correct horse"), Protection::Unencrypted] {
            let first = Keys::open_or_create(&folder, &protection).unwrap();
            let again = Keys::open_or_create(&folder, &protection).unwrap();
            assert_eq!(first.kek().id(), again.kek().id());
            let vkey = |keys: &Keys, role| {
                keys.signing_key(role, "log.example").unwrap().unwrap().vkey().to_string()
            };
            assert_eq!(vkey(&first, Role::Log), vkey(&again, Role::Log));
            assert_ne!(vkey(&first, Role::Log), vkey(&first, Role::Receipt));
            assert!(first.signing_key(Role::Force, "force").is_none());
            for role in Role::ALL {
                let file = fs::metadata(role.file(&folder)).unwrap();
                assert_eq!(file.mode() & 0o7777, 0o600);
            }
            assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
            fs::remove_dir_all(&folder).unwrap();
        }
    }

    #[test]
    fn wrong_or_no_passphrase_is_said_by_file() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("keys");
        Keys::open_or_create(&folder, &passphrase("one")).unwrap();
        let on_disk = fs::read(folder.join("log.key")).unwrap();
        assert!(!on_disk.windows(4).any(|w| w == b"seed"), "it is encrypted");
        let wrong = Keys::open(&folder, &passphrase("two"));
        assert!(
            matches!(&wrong, Err(KeyError::WrongPassphrase { path }) if path.ends_with("force.key")),
            "{wrong:?}"
        );
        let none = Keys::open(&folder, &Protection::Unencrypted);
        assert!(matches!(none, Err(KeyError::PassphraseNeeded { .. })));
    }

    #[test]
    fn missing_readable_malformed_and_misplaced_keys() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("keys");
        let plain = Protection::Unencrypted;
        Keys::open_or_create(&folder, &plain).unwrap();
        let log = folder.join("log.key");

        mode(&log, 0o640);
        let readable = Keys::open(&folder, &plain);
        assert!(matches!(readable, Err(KeyError::WrongMode { mode: 0o640, .. })), "{readable:?}");
        mode(&log, 0o600);

        assert!(matches!(
            Keys::open(&folder, &passphrase("p")),
            Err(KeyError::NotEncrypted { .. })
        ));

        fs::copy(folder.join("receipt.key"), &log).unwrap();
        assert!(
            matches!(Keys::open(&folder, &plain), Err(KeyError::Malformed { .. })),
            "another role's key"
        );
        fs::write(&log, "x".repeat(5000)).unwrap();
        assert!(matches!(Keys::open(&folder, &plain), Err(KeyError::Malformed { .. })));

        fs::remove_file(&log).unwrap();
        let missing = Keys::open_or_create(&folder, &plain);
        assert!(
            matches!(&missing, Err(KeyError::Missing { path }) if *path == log),
            "never made anew: {missing:?}"
        );
    }

    #[test]
    fn passphrases_come_from_a_private_file() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("passphrase");
        let missing = Passphrase::from_file(&path);
        assert!(matches!(missing, Err(KeyError::Io { .. })));
        fs::write(&path, "correct horse\n").unwrap();
        mode(&path, 0o644);
        assert!(matches!(Passphrase::from_file(&path), Err(KeyError::WrongMode { .. })));
        mode(&path, 0o400);
        let protection = Protection::Passphrase(Passphrase::from_file(&path).unwrap());
        let folder = data.path().join("keys");
        Keys::open_or_create(&folder, &protection).unwrap();
        assert!(Keys::open(&folder, &passphrase("correct horse")).is_ok());
        fs::write(data.path().join("empty"), "\n").unwrap();
        mode(&data.path().join("empty"), 0o600);
        let empty = Passphrase::from_file(&data.path().join("empty"));
        assert!(matches!(empty, Err(KeyError::NoPassphrase { .. })));
        assert!(matches!(
            Passphrase::from_env("EXHIBIT_NOT_SET"),
            Err(KeyError::NoPassphrase { .. })
        ));
    }

    #[test]
    fn a_crash_while_making_them_leaves_none() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("keys");
        fs::create_dir(data.path().join("keys.new")).unwrap();
        fs::write(data.path().join("keys.new/log.key"), "half").unwrap();
        Keys::open_or_create(&folder, &Protection::Unencrypted).unwrap();
        assert!(!data.path().join("keys.new").exists());
    }
}

//! What a log witness keeps (docs/formats/log-witness.md): its key, what it cosigned last of each log, and what it
//! refused as evidence.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use chain_of_custody::checkpoint::{Origin, SignedCheckpoint};
use chain_of_custody::digest::Sha256;
use chain_of_custody::note::{Signer as _, SigningKey, VerifierKey};
use serde::Serialize;
use storage::keys::{Protection, create_log_witness_key, open_log_witness_key};

use crate::control::{DataLock, Failure};

/// Refused requests kept. Only a log's own key can make them, so that many is one cause.
const MAX_REFUSED: usize = 10_000;
const LOGS: &str = "logs";
const REFUSED: &str = "refused";
const VKEY: &str = "vkey";
/// Where its address stands while it is up, for scripts that listened on port 0.
const ADDRESS: &str = "listening";

/// An open store. One process at a time.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// By the SHA-256 of the origin, as the files are named.
    held: HashMap<String, SignedCheckpoint>,
    /// A write failed: what is on the disk is not known any more.
    broken: bool,
    _lock: DataLock,
}

/// A request that was refused although the log's own key signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RefusedRequest {
    pub(crate) time_unix_s: u64,
    /// The request, byte for byte.
    pub(crate) request: PathBuf,
    /// The checkpoint that was held against it.
    pub(crate) held: PathBuf,
}

impl Store {
    /// Opens the store, or makes it and its key where there is nothing yet.
    pub(super) fn open(
        folder: &Path,
        name: Option<&str>,
        protection: &Protection,
    ) -> Result<(Self, SigningKey), Failure> {
        let lock = DataLock::take(folder)?.ok_or_else(|| {
            Failure::new("log-witness", format!("another process holds {}", folder.display()))
        })?;
        if !folder.join(VKEY).exists() {
            create(folder, name, protection)?;
        }
        let key = key(folder, name, protection)?;
        let held = read_held(folder).map_err(|e| failed(folder, &e))?;
        Ok((Self { folder: folder.to_owned(), held, broken: false, _lock: lock }, key))
    }

    /// The checkpoint cosigned last.
    pub(super) fn held(&self, origin: &Origin) -> Option<&SignedCheckpoint> {
        self.held.get(&digest(origin))
    }

    pub(super) fn held_by_digest(&self, origin_sha256: &str) -> Option<&SignedCheckpoint> {
        self.held.get(origin_sha256)
    }

    /// Keeps a checkpoint as the one cosigned last; durable when this returns. After an error it may be kept or not, and
    /// the store keeps nothing more.
    pub(super) fn keep(&mut self, cosigned: SignedCheckpoint) -> io::Result<()> {
        self.check()?;
        let name = digest(&cosigned.unverified().origin);
        let written = write(&self.folder.join(LOGS), &name, cosigned.to_string().as_bytes());
        self.broken = written.is_err();
        written?;
        self.held.insert(name, cosigned);
        Ok(())
    }

    /// Fails once a write has failed.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.broken { Err(io::Error::other("an earlier write failed")) } else { Ok(()) }
    }

    /// Keeps a refused request with the checkpoint held against it, once; durable when this returns.
    pub(super) fn keep_refused(
        &self,
        now_unix_s: u64,
        body: &[u8],
        origin: &Origin,
    ) -> io::Result<()> {
        let folder = self.folder.join(REFUSED);
        let id = &Sha256::of(body).to_string()[..16];
        let kept: Vec<PathBuf> = requests(&folder)?;
        let is_same = |path: &PathBuf| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            name.split_once('-').is_some_and(|(_, kept)| kept == id)
        };
        if kept.iter().any(is_same) {
            return Ok(());
        }
        if kept.len() >= MAX_REFUSED {
            tracing::error!("{MAX_REFUSED} refused requests are kept; this one is not");
            return Ok(());
        }
        let held = self.held(origin).map(ToString::to_string).unwrap_or_default();
        write(&folder, &format!("{now_unix_s:010}-{id}.held"), held.as_bytes())?;
        write(&folder, &format!("{now_unix_s:010}-{id}.request"), body)
    }
}

/// The file that tells scripts where it listens; gone with the process that ends in order.
#[derive(Debug)]
pub(super) struct Announced(PathBuf);

impl Announced {
    pub(super) fn write(folder: &Path, url: &str) -> Result<Self, Failure> {
        let path = folder.join(ADDRESS);
        fs::write(&path, format!("{url}\n")).map_err(|e| failed(&path, &e))?;
        Ok(Self(path))
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // A file that stays is replaced by the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// What was refused, oldest first. Reads beside a running process.
pub(super) fn refused(folder: &Path) -> Result<Vec<RefusedRequest>, Failure> {
    let found = requests(&folder.join(REFUSED)).map_err(|e| failed(folder, &e))?;
    let one = |request: PathBuf| {
        let name = request.file_name()?.to_str()?;
        let time_unix_s = name.split_once('-')?.0.parse().ok()?;
        Some(RefusedRequest { time_unix_s, held: request.with_extension("held"), request })
    };
    Ok(found.into_iter().filter_map(one).collect())
}

/// The key last but one and its name last: a crash on the way leaves nothing that would be opened.
fn create(folder: &Path, name: Option<&str>, protection: &Protection) -> Result<(), Failure> {
    let name = name.ok_or_else(|| {
        Failure::new("usage", format!("there is no log witness in {} yet", folder.display()))
            .advice("name the new one: --name witness.example")
    })?;
    let key_file = folder.join("log-witness.key");
    if key_file.exists() && fs::read_dir(folder.join(LOGS)).is_ok_and(|mut d| d.next().is_some()) {
        return Err(lost(folder));
    }
    let make = |sub: &str| match DirBuilder::new().mode(0o700).create(folder.join(sub)) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    make(LOGS).and_then(|()| make(REFUSED)).map_err(|e| failed(folder, &e))?;
    if !key_file.exists() {
        create_log_witness_key(folder, protection).map_err(|e| keys(&e))?;
    }
    let key = open_log_witness_key(folder, name, protection).map_err(|e| keys(&e))?;
    write(folder, VKEY, format!("{}\n", key.vkey()).as_bytes()).map_err(|e| failed(folder, &e))
}

fn key(folder: &Path, name: Option<&str>, protection: &Protection) -> Result<SigningKey, Failure> {
    let path = folder.join(VKEY);
    let text = fs::read_to_string(&path).map_err(|e| failed(&path, &e))?;
    let vkey = VerifierKey::parse(text.trim_end()).map_err(|e| failed(&path, &e))?;
    if let Some(other) = name.filter(|name| *name != vkey.name().as_str()) {
        let text = format!("the log witness here is {}, not {other}", vkey.name());
        return Err(Failure::new("usage", text).advice("another name needs another store"));
    }
    let key =
        open_log_witness_key(folder, vkey.name().as_str(), protection).map_err(|e| keys(&e))?;
    if key.vkey() == vkey { Ok(key) } else { Err(lost(folder)) }
}

/// A store of which a part is gone: with an empty memory the key would cosign a second history.
fn lost(folder: &Path) -> Failure {
    let text = format!("{} is not whole: key, vkey and logs belong together", folder.display());
    Failure::new("log-witness", text)
        .advice("restore all of it, or retire this log witness and begin a new one elsewhere")
}

fn read_held(
    folder: &Path,
) -> Result<HashMap<String, SignedCheckpoint>, Box<dyn std::error::Error>> {
    let mut held = HashMap::new();
    for entry in fs::read_dir(folder.join(LOGS))? {
        let path = entry?.path();
        if path.extension().is_some() {
            // What a crash left half written, beside the one that counts.
            continue;
        }
        let checkpoint = SignedCheckpoint::parse(&fs::read(&path)?)
            .map_err(|e| format!("{}: {e}", path.display()))?;
        held.insert(digest(&checkpoint.unverified().origin), checkpoint);
    }
    Ok(held)
}

fn requests(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "request") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Makes a file hold `bytes`, durably and all at once.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let waiting = folder.join(format!("{name}.new"));
    let mut file = File::create(&waiting)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&waiting, folder.join(name))?;
    File::open(folder)?.sync_all()
}

fn digest(origin: &Origin) -> String {
    Sha256::of(origin.as_str().as_bytes()).to_string()
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new("log-witness", format!("{}: {error}", path.display()))
}

fn keys(error: &storage::keys::KeyError) -> Failure {
    Failure::new("keys", error.to_string()).advice("its passphrase: --passphrase-file FILE")
}

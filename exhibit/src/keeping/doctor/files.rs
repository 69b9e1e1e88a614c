//! Files and who may read them.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chain_of_custody::rotation::KeyRole;
use portal::service::BUNDLE_KEPT;

use super::Fault;
use crate::app::keep::SCRATCH;
use crate::app::keys::RoleKeys;
use crate::app::portal::OUTBOX;
use crate::keeping::Look;

const KEY_FILES: [&str; 4] = ["force.key", "log.key", "receipt.key", "bundle.key"];
/// Bits of a mode that let others in.
const OTHERS: u32 = 0o077;
/// Bits that let others write.
const OTHERS_WRITE: u32 = 0o022;
/// Temporary files younger than this may be at work.
const TEMPORARY_AGE_S: u64 = 3600;
/// A running server has removed a bundle so long after its time, twice over.
const CLEARED_WITHIN_S: u64 = 2 * 3600;

pub(super) fn data_folder_is_private(look: &Look) -> Vec<Fault> {
    private("data-folder-open", &look.data, "700")
}

pub(super) fn keys_folder_is_private(look: &Look) -> Vec<Fault> {
    private("keys-folder-open", &look.data.join("keys"), "700")
}

pub(super) fn key_files_are_private(look: &Look) -> Vec<Fault> {
    let files = KEY_FILES.iter().map(|name| look.data.join("keys").join(name));
    files.flat_map(|path| private("key-readable", &path, "600")).collect()
}

/// Not there is another check's business.
fn private(code: &'static str, path: &Path, mode: &str) -> Vec<Fault> {
    let open = fs::metadata(path).ok().filter(|found| found.mode() & OTHERS != 0);
    let fault = |found: Metadata| {
        let what =
            format!("{} is open to others (mode {:03o})", path.display(), found.mode() & 0o777);
        Fault::critical(
            code,
            what,
            format!("chmod {mode} {}; ask who has read it (docs/keys.md)", path.display()),
        )
    };
    open.map(fault).into_iter().collect()
}

pub(super) fn key_files_are_all_there(look: &Look) -> Vec<Fault> {
    let folder = look.data.join("keys");
    if !folder.is_dir() {
        let what = format!("{} is not there", folder.display());
        let fix = "exhibit keys recover brings the keys back from the escrow (docs/keys.md)";
        return vec![Fault::critical("keys-missing", what, fix)];
    }
    let missing = KEY_FILES.iter().map(|name| folder.join(name)).filter(|path| !path.exists());
    let fault = |path: PathBuf| {
        let what = format!("{} is missing", path.display());
        let fix =
            "bring it back from the escrow: exhibit keys recover; a new one would be another key";
        Fault::critical("keys-missing", what, fix)
    };
    missing.map(fault).collect()
}

pub(super) fn no_keys_half_made(look: &Look) -> Vec<Fault> {
    let mut faults =
        left("keys-half-made", &[look.data.join("keys.new")], "keys that were never used");
    let next = KeyRole::ALL.map(|role| look.data.join(format!("keys/{role}.next")));
    faults.extend(next.iter().filter(|path| path.exists()).map(|path| {
        let what = format!("{}: the rotation of a key was cut off", path.display());
        Fault::warning(
            "rotation-cut-off",
            what,
            "start the server: it finishes or undoes it, as the ledger says",
        )
    }));
    faults
}

pub(super) fn passphrase_file_is_usable(look: &Look) -> Vec<Fault> {
    let named = &look.config.keys.passphrase_file;
    if named.is_empty() {
        return Vec::new();
    }
    let path = Path::new(named);
    match fs::metadata(path) {
        Err(error) => {
            let what = format!("the passphrase file {named} cannot be read: {error}");
            vec![Fault::critical(
                "passphrase-missing",
                what,
                "bring it back, or set keys.passphrase_file to where it is",
            )]
        }
        Ok(_) => private("passphrase-readable", path, "600"),
    }
}

pub(super) fn keys_are_as_configured(look: &Look) -> Vec<Fault> {
    let keys = &look.config.keys;
    let configured = !(keys.passphrase_file.is_empty() && keys.passphrase_credential.is_empty());
    let Ok(first) = fs::read(look.data.join("keys/log.key")) else { return Vec::new() };
    let encrypted = first.starts_with(b"age-encryption.org/");
    match (encrypted, configured) {
        (false, _) => vec![Fault::warning(
            "keys-unencrypted",
            "the keys lie in plain text: whoever has this disk can sign as the force",
            "docs/keys.md says how to put them under a passphrase, and what is to be assumed until then",
        )],
        (true, false) => vec![Fault::critical(
            "passphrase-not-configured",
            "the keys are encrypted and no passphrase is configured: the server will not start",
            "set keys.passphrase_file or keys.passphrase_credential",
        )],
        (true, true) => Vec::new(),
    }
}

pub(super) fn passphrase_opens_the_keys(look: &Look) -> Vec<Fault> {
    let keys = &look.config.keys;
    let folder = look.data.join("keys");
    // A credential is there for the service only; a missing or open file is said above.
    let usable = Path::new(&keys.passphrase_file).is_file() && folder.join("force.key").is_file();
    if !usable || !passphrase_file_is_usable(look).is_empty() {
        return Vec::new();
    }
    match RoleKeys::force_key(&folder, keys) {
        Ok(_) => Vec::new(),
        Err(_) if !keys_are_as_configured(look).is_empty() => Vec::new(),
        Err(failure) => {
            let fix = "is it the passphrase that was in use when the keys were made? docs/keys.md has what to do if it is lost";
            vec![Fault::critical("passphrase-wrong", failure.message, fix)]
        }
    }
}

pub(super) fn configuration_is_not_for_everybody(look: &Look) -> Vec<Fault> {
    let path = look.data.join(crate::config::FILE_NAME);
    let open = fs::metadata(&path).is_ok_and(|found| found.mode() & OTHERS_WRITE != 0);
    if !open {
        return Vec::new();
    }
    let what = format!("others may write {}", path.display());
    vec![Fault::critical("configuration-writable", what, format!("chmod 640 {}", path.display()))]
}

/// Every file belongs to whom the data folder belongs: a command that was run as root leaves others.
pub(super) fn one_owner(look: &Look) -> Vec<Fault> {
    let Ok(owner) = fs::metadata(&look.data).map(|found| found.uid()) else { return Vec::new() };
    let looked_at = [
        "",
        "keys",
        "objects",
        "objects/keys",
        "objects/uploads",
        "objects/originals",
        "objects/ledger",
    ];
    let mut foreign =
        looked_at.iter().flat_map(|folder| foreign_in(&look.data.join(folder), owner));
    let Some(first) = foreign.next() else { return Vec::new() };
    let what = format!("{} belongs to another user than {}", first.display(), look.data.display());
    let fix = format!(
        "chown -R --reference={0} {0}; run commands as the service's user",
        look.data.display()
    );
    vec![Fault::critical("wrong-owner", what, fix)]
}

fn foreign_in(folder: &Path, owner: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let foreign = entries.filter(|e| e.metadata().is_ok_and(|found| found.uid() != owner));
    foreign.map(|entry| entry.path()).collect()
}

pub(super) fn no_copy_of_the_database_is_left(look: &Look) -> Vec<Fault> {
    let copies: Vec<_> = entries(&look.data)
        .into_iter()
        .filter(|path| name(path).starts_with(SCRATCH) && is_older(path, TEMPORARY_AGE_S))
        .collect();
    left("database-copy-left", &copies, "a copy of the database that a backup left, in plain text")
}

pub(super) fn no_temporary_files_are_left(look: &Look) -> Vec<Fault> {
    let temporary: Vec<_> = entries(&look.data.join("objects/uploads"))
        .into_iter()
        .filter(|path| name(path).starts_with("tmp-") && is_older(path, TEMPORARY_AGE_S))
        .collect();
    left("temporary-files", &temporary, "left by a crash; the next start removes it")
}

fn left(code: &'static str, paths: &[PathBuf], what: &str) -> Vec<Fault> {
    let there = paths.iter().filter(|path| path.exists());
    let fault = |path: &PathBuf| {
        let fix = format!("rm -r {}", path.display());
        Fault::warning(code, format!("{} is {what}", path.display()), fix)
    };
    there.map(fault).collect()
}

/// A start after a rebuild moves files aside that no checkpoint covers.
pub(super) fn nothing_was_set_aside(look: &Look) -> Vec<Fault> {
    let path = look.data.join("objects/aside");
    if entries(&path).is_empty() {
        return Vec::new();
    }
    let what =
        format!("{} holds files of the ledger that no published checkpoint covers", path.display());
    let fix = "keep them: they say what was being written when the database was lost; move them to your notes of that day";
    vec![Fault::warning("files-set-aside", what, fix)]
}

pub(super) fn outbox_is_private(look: &Look) -> Vec<Fault> {
    private("outbox-open", &look.data.join(OUTBOX), "700")
}

/// Bundles are not encrypted. The server removes them when their day is over; nobody does while it is down.
pub(super) fn no_bundle_is_forgotten(look: &Look) -> Vec<Fault> {
    let over = BUNDLE_KEPT.as_secs() + CLEARED_WITHIN_S;
    let old = entries(&look.data.join(OUTBOX)).into_iter().filter(|path| is_older(path, over));
    let forgotten: Vec<_> = old.collect();
    left(
        "bundle-forgotten",
        &forgotten,
        "a bundle in clear whose day is over; a running server removes it",
    )
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn is_older(path: &Path, seconds: u64) -> bool {
    let modified = fs::metadata(path).and_then(|found| found.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() > seconds))
}

//! The agent's folder: its key, the pinned policy, the journal, manifests and receipts.
//!
//! Here: what lies where, and that one agent at a time has it. Not here: what the files mean.
//! Invariant: what this module says is kept is on the disk; the key never leaves the folder.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use chain_of_custody::ids::{DeviceId, ItemId, LeafIndex};
use chain_of_custody::manifest::SignedManifest;
use chain_of_custody::note::{Signer, SigningKey};
use chain_of_custody::policy::Policy;

use super::durable::{self, READABLE, SECRET};
use super::error::AgentError;
use super::journal::{AgentSeq, Journal};

const KEY_FORMAT: &str = "exhibit dock agent key v1";
/// Larger files in this folder are not ours.
const MAX_SMALL_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The open folder.
#[derive(Debug)]
pub(super) struct StateFolder {
    root: PathBuf,
    key: SigningKey,
    /// Held while files are looked at and kept: clips settle at the same time, and two of one item have receipts of one name.
    keeping: Mutex<()>,
    /// Held until the process ends.
    _lock: File,
}

impl StateFolder {
    /// Opens or creates the folder and its key, and keeps other agents out.
    pub(super) fn open(root: &Path) -> Result<(Self, Journal), AgentError> {
        let failed = |source| AgentError::State { path: root.to_owned(), source };
        for folder in [root.to_owned(), root.join("manifests"), root.join("receipts")] {
            durable::create_folder(&folder).map_err(failed)?;
        }
        let lock = lock(root)?;
        let key = open_key(&root.join("agent-key"))?;
        let journal = Journal::open(&root.join("journal.jsonl"))?;
        Ok((Self { root: root.to_owned(), key, keeping: Mutex::new(()), _lock: lock }, journal))
    }

    /// Looks and keeps, one at a time.
    pub(super) fn one_at_a_time<T>(&self, act: impl FnOnce(&Self) -> T) -> T {
        let _one = self.keeping.lock().expect("nothing panics while holding it");
        act(self)
    }

    /// The agent's key.
    pub(super) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The policy pinned before.
    pub(super) fn pinned_policy(&self) -> Result<Option<Policy>, AgentError> {
        let path = self.root.join("policy");
        let bytes = read_small(&path)?;
        let parse = |bytes: Vec<u8>| Policy::parse(&bytes).map_err(|e| damaged(&path, e));
        bytes.map(parse).transpose()
    }

    /// Pins a policy for all later runs.
    pub(super) fn pin_policy(&self, policy: &Policy) -> Result<(), AgentError> {
        self.keep(&self.root.join("policy"), policy.as_bytes())
    }

    /// The device this agent has found itself to be.
    pub(super) fn pinned_device(&self) -> Result<Option<DeviceId>, AgentError> {
        let path = self.root.join("device");
        let Some(bytes) = read_small(&path)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|e| damaged(&path, e))?;
        text.trim_end().parse().map(Some).map_err(|e| damaged(&path, e))
    }

    /// Remembers it.
    pub(super) fn pin_device(&self, device: DeviceId) -> Result<(), AgentError> {
        self.keep(&self.root.join("device"), format!("{device}\n").as_bytes())
    }

    /// Keeps a manifest before it is sent, so that a later run can recognise the receipt for it.
    pub(super) fn keep_manifest(&self, seq: AgentSeq, note: &str) -> Result<(), AgentError> {
        self.keep(&self.manifest_path(seq), note.as_bytes())
    }

    /// The manifest kept for a clip.
    pub(super) fn manifest(&self, seq: AgentSeq) -> Result<Option<SignedManifest>, AgentError> {
        let path = self.manifest_path(seq);
        let bytes = read_small(&path)?;
        let parse = |bytes: Vec<u8>| SignedManifest::parse(&bytes).map_err(|e| damaged(&path, e));
        bytes.map(parse).transpose()
    }

    /// Keeps a verified receipt, and the note for people beside it; gives the receipt's file name in `receipts/`.
    pub(super) fn keep_receipt(
        &self,
        item: ItemId,
        entry: LeafIndex,
        proof: &[u8],
        text: Option<&[u8]>,
    ) -> Result<String, AgentError> {
        // One item can have several: a duplicate gets one of its own.
        let mut name = format!("{item}.tlog-proof");
        let held = read_small(&self.receipt_path(&name))?;
        if held.is_some_and(|held| held != proof) {
            name = format!("{item}-{entry}.tlog-proof");
        }
        if let Some(text) = text {
            let beside = name.replace(".tlog-proof", ".receipt.txt");
            self.keep(&self.receipt_path(&beside), text)?;
        }
        self.keep(&self.receipt_path(&name), proof)?;
        Ok(name)
    }

    /// A receipt kept under `name`.
    pub(super) fn receipt(&self, name: &str) -> Result<Option<Vec<u8>>, AgentError> {
        read_small(&self.receipt_path(name))
    }

    /// Where a receipt lies.
    pub(super) fn receipt_path(&self, name: &str) -> PathBuf {
        self.root.join("receipts").join(name)
    }

    fn manifest_path(&self, seq: AgentSeq) -> PathBuf {
        self.root.join("manifests").join(format!("{seq}.manifest"))
    }

    fn keep(&self, path: &Path, bytes: &[u8]) -> Result<(), AgentError> {
        durable::replace(path, bytes, READABLE)
            .map_err(|source| AgentError::State { path: path.to_owned(), source })
    }
}

fn lock(root: &Path) -> Result<File, AgentError> {
    let path = root.join("lock");
    let failed = |source| AgentError::State { path: path.clone(), source };
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(AgentError::InUse { folder: root.to_owned() })
        }
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Reads the key, or makes one on first use.
fn open_key(path: &Path) -> Result<SigningKey, AgentError> {
    let Some(bytes) = read_small(path)? else { return create_key(path) };
    let mode = std::fs::metadata(path)
        .map_err(|source| AgentError::State { path: path.to_owned(), source })?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(damaged(path, "others can read it; its mode must be 0600"));
    }
    let text = String::from_utf8(bytes).map_err(|_| damaged(path, "it is not text"))?;
    let lines: Vec<&str> = text.lines().collect();
    let [KEY_FORMAT, name, seed] = lines[..] else {
        return Err(damaged(path, "it is not an agent's key of this version"));
    };
    let mut bytes = [0; 32];
    hex::decode_to_slice(seed, &mut bytes).map_err(|_| damaged(path, "its key is not one"))?;
    SigningKey::from_seed(name, bytes).map_err(|e| damaged(path, e))
}

fn create_key(path: &Path) -> Result<SigningKey, AgentError> {
    let seed: [u8; 32] = rand::random();
    // The name says what it is; the number keeps agents apart in signature lines.
    let name = format!("dock-agent-{}", hex::encode(rand::random::<[u8; 4]>()));
    let key = SigningKey::from_seed(&name, seed).map_err(|e| damaged(path, e))?;
    let text = format!("{KEY_FORMAT}\n{}\n{}\n", key.name(), hex::encode(seed));
    durable::replace(path, text.as_bytes(), SECRET)
        .map_err(|source| AgentError::State { path: path.to_owned(), source })?;
    Ok(key)
}

fn read_small(path: &Path) -> Result<Option<Vec<u8>>, AgentError> {
    let failed = |source| AgentError::State { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.len() > MAX_SMALL_FILE_BYTES => {
            return Err(damaged(path, "it is too large"));
        }
        Ok(_) => {}
    }
    std::fs::read(path).map(Some).map_err(failed)
}

fn damaged(path: &Path, reason: impl std::fmt::Display) -> AgentError {
    AgentError::Damaged { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    #[test]
    fn the_key_is_made_once_and_is_for_its_user_only() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("agent");
        let first = StateFolder::open(&root).unwrap().0.key().vkey();
        let second = StateFolder::open(&root).unwrap().0.key().vkey();
        assert_eq!(first, second);
        let key = root.join("agent-key");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(StateFolder::open(&root), Err(AgentError::Damaged { .. })));
    }

    #[test]
    fn one_agent_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = StateFolder::open(folder.path()).unwrap();
        assert!(matches!(StateFolder::open(folder.path()), Err(AgentError::InUse { .. })));
        drop(held);
        StateFolder::open(folder.path()).unwrap();
    }

    #[test]
    fn a_duplicates_receipt_does_not_replace_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let (state, _journal) = StateFolder::open(folder.path()).unwrap();
        let item: ItemId = "0193a7c2-0000-7000-8000-000000000001".parse().unwrap();
        let first = state.keep_receipt(item, LeafIndex(3), b"one", None).unwrap();
        let again = state.keep_receipt(item, LeafIndex(3), b"one", Some(b"text")).unwrap();
        let other = state.keep_receipt(item, LeafIndex(9), b"two", None).unwrap();
        assert_eq!((&first, first != other), (&again, true));
        assert_eq!(state.receipt(&first).unwrap().unwrap(), b"one");
        assert_eq!(state.receipt(&other).unwrap().unwrap(), b"two");
    }

    #[test]
    fn clips_that_settle_at_once_are_not_in_each_others_way() {
        let folder = tempfile::tempdir().unwrap();
        let (state, _) = StateFolder::open(folder.path()).unwrap();
        let device = DeviceId::from_uuid(uuid::Uuid::now_v7());
        let item = ItemId::from_uuid(uuid::Uuid::now_v7());
        let settle = |n: u8| {
            state.one_at_a_time(|state| {
                state.pin_device(device).unwrap();
                state.keep_receipt(item, LeafIndex(n.into()), &[n], None).unwrap()
            })
        };
        let settle = &settle;
        let names: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
            let clips: Vec<_> = (0..16).map(|n| scope.spawn(move || settle(n))).collect();
            clips.into_iter().map(|clip| clip.join().unwrap()).collect()
        });
        assert_eq!(names.len(), 16, "a receipt each: {names:?}");
        assert_eq!(state.pinned_device().unwrap(), Some(device));
    }
}

//! Several small files made durable together, each create-only: the waits for the device overlap.
//!
//! 1. Every file, and every new key, is written under a temporary name and synced, beside each other.
//! 2. They take their final names, keys first.
//! 3. Each folder that got a name is synced once, beside each other.
//!
//! All of it stands when this returns; what a crash leaves of it, a repeat with the same files completes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use super::disk::{rename_new, sync_folder, write_new};
use super::error::StoreError;
use super::folder::load_key;
use super::kek::ObjectKey;
use super::name::ObjectName;
use super::plain::{get_sealed, read_small, temporary};
use super::store::Shared;
use super::tink::{self, Purpose};

/// Threads that wait for the device at once for one caller.
const MAX_THREADS: usize = 16;

/// A small file to create.
#[derive(Debug, Clone)]
pub(crate) struct NewFile {
    pub(crate) name: ObjectName,
    pub(crate) bytes: bytes::Bytes,
    /// Encrypted under a key of its own.
    pub(crate) sealed: bool,
}

/// One name that is to be durable.
enum Step {
    /// With these bytes, which are not there yet.
    Create { path: PathBuf, waiting: PathBuf, bytes: Vec<u8>, replace: bool },
    /// It stands, with the right bytes; a put may have been cut before its sync.
    Stands { path: PathBuf },
}

/// Creates all of `files`. One that stands already with the same bytes is created.
pub(crate) fn create(shared: &Shared, files: &[NewFile]) -> Result<(), StoreError> {
    match create_once(shared, files) {
        // Somebody else may have been faster with the same bytes: look at them.
        Err(StoreError::AlreadyExists { .. }) => create_once(shared, files),
        done => done,
    }
}

fn create_once(shared: &Shared, files: &[NewFile]) -> Result<(), StoreError> {
    let mut steps = Vec::with_capacity(files.len() * 2);
    for file in files {
        plan(shared, file, &mut steps)?;
    }
    for step in &steps {
        shared.make_folder_of(step.path())?;
    }
    let done = beside_each_other(&steps, |step| step.write(shared))
        .and_then(|()| steps.iter().try_for_each(Step::name));
    if done.is_err() {
        steps.iter().for_each(Step::forget);
    }
    done?;
    let folders: BTreeSet<&Path> = steps.iter().filter_map(|step| step.path().parent()).collect();
    beside_each_other(&Vec::from_iter(folders), |folder| {
        sync_folder(folder).map_err(|source| StoreError::Device { path: folder.into(), source })
    })
}

fn plan(shared: &Shared, file: &NewFile, steps: &mut Vec<Step>) -> Result<(), StoreError> {
    let NewFile { name, bytes, sealed } = file;
    let path = shared.file(name.as_str());
    if *sealed {
        return plan_sealed(shared, name, bytes, steps);
    }
    if !path.exists() {
        steps.push(Step::create(shared, path, bytes.to_vec(), false));
        return Ok(());
    }
    let same = read_small(&path)? == *bytes;
    same.then(|| steps.push(Step::Stands { path: path.clone() }))
        .ok_or(StoreError::AlreadyExists { path })
}

/// A file whose key is not there was cut short before either was durable: nobody can have read it.
fn plan_sealed(
    shared: &Shared,
    name: &ObjectName,
    bytes: &[u8],
    steps: &mut Vec<Step>,
) -> Result<(), StoreError> {
    let (path, key_path) = (shared.file(name.as_str()), shared.key_file(name.as_str()));
    let key = if key_path.exists() {
        let key = load_key(&shared.kek, &key_path)?;
        steps.push(Step::Stands { path: key_path.clone() });
        key
    } else {
        let key = ObjectKey::random();
        let text = shared.kek.wrap(&key).into_bytes();
        steps.push(Step::create(shared, key_path.clone(), text, false));
        key
    };
    let known = matches!(steps.last(), Some(Step::Stands { .. }));
    if path.exists() && known {
        let same = get_sealed(shared, name)? == bytes;
        return same
            .then(|| steps.push(Step::Stands { path: path.clone() }))
            .ok_or(StoreError::AlreadyExists { path });
    }
    let replace = path.exists();
    let sealed = tink::seal_all(&key, Purpose::Small(name), bytes);
    steps.push(Step::create(shared, path, sealed, replace));
    Ok(())
}

impl Step {
    fn create(shared: &Shared, path: PathBuf, bytes: Vec<u8>, replace: bool) -> Self {
        Self::Create { path, waiting: temporary(&shared.uploads()), bytes, replace }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Create { path, .. } | Self::Stands { path } => path,
        }
    }

    fn write(&self, shared: &Shared) -> Result<(), StoreError> {
        let disk = shared.disk.as_ref();
        match self {
            Self::Create { waiting, bytes, .. } => {
                write_new(disk, waiting, bytes).map_err(|e| StoreError::io(waiting, e))
            }
            Self::Stands { path } => {
                let file = disk.open(path).map_err(|e| StoreError::io(path, e))?;
                let device = |source| StoreError::Device { path: path.clone(), source };
                disk.sync(&file).map_err(device)
            }
        }
    }

    fn name(&self) -> Result<(), StoreError> {
        match self {
            Self::Stands { .. } => Ok(()),
            Self::Create { path, waiting, replace: true, .. } => fs::rename(waiting, path),
            Self::Create { path, waiting, replace: false, .. } => rename_new(waiting, path),
        }
        .map_err(|e| StoreError::io(self.path(), e))
    }

    /// Best effort: a temporary file that stays is cleared away at the next start.
    fn forget(&self) {
        if let Self::Create { waiting, .. } = self {
            let _gone_or_cleared_at_the_next_start = fs::remove_file(waiting);
        }
    }
}

/// Does `act` for all, on a few threads; the first error counts, after all have ended.
pub(crate) fn beside_each_other<T: Sync>(
    all: &[T],
    act: impl Fn(&T) -> Result<(), StoreError> + Sync,
) -> Result<(), StoreError> {
    let Some((first, rest)) = all.split_first() else { return Ok(()) };
    let share = rest.len().div_ceil(MAX_THREADS - 1).max(1);
    thread::scope(|scope| {
        let act = &act;
        let others: Vec<_> = rest
            .chunks(share)
            .map(|chunk| scope.spawn(move || chunk.iter().try_for_each(act)))
            .collect();
        let own = act(first);
        let ended = others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.fold(own, Result::and)
    })
}

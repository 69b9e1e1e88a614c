//! Several small files made durable together, each create-only: the waits for the device overlap.
//!
//! 1. Every file, and every new key, is written under a temporary name; then all are synced, beside each other.
//! 2. They take their final names, keys first.
//! 3. Each folder that got a name is synced once, beside each other.
//!
//! All of it stands when this returns; what a crash leaves of it, a repeat with the same files completes.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use super::FolderStore;
use super::disk::{DiskFile, rename_new, sync_folder, write_unsynced};
use super::plain::{read_small, temporary};
use super::upload::load_key;
use crate::objects::error::StoreError;
use crate::objects::kek::ObjectKey;
use crate::objects::medium::NewFile;
use crate::objects::name::ObjectName;
use crate::objects::store::get_sealed;
use crate::objects::tink::{self, Purpose};

/// Threads that wait for the device at once for one caller.
const MAX_THREADS: usize = 16;

/// One name that is to be durable.
enum Step {
    /// With these bytes, which are not there yet.
    Create { path: PathBuf, waiting: PathBuf, bytes: Vec<u8>, replace: bool },
    /// It stands, with the right bytes; a put may have been cut before its sync.
    Stands { path: PathBuf },
}

/// A file with its bytes, not durable yet.
struct Written<'a> {
    file: DiskFile,
    path: &'a Path,
}

impl Written<'_> {
    fn sync(&self, store: &FolderStore) -> Result<(), StoreError> {
        let device = |source| StoreError::Device { path: self.path.to_owned(), source };
        store.disk.sync(&self.file).map_err(device)
    }
}

/// Creates all of `files`. One that stands already with the same bytes is created.
pub(crate) fn create(store: &FolderStore, files: &[NewFile]) -> Result<(), StoreError> {
    match create_once(store, files) {
        // Somebody else may have been faster with the same bytes: look at them.
        Err(StoreError::AlreadyExists { .. }) => create_once(store, files),
        done => done,
    }
}

fn create_once(store: &FolderStore, files: &[NewFile]) -> Result<(), StoreError> {
    let (mut steps, mut keys) = (Vec::with_capacity(files.len() * 2), HashMap::new());
    for file in files {
        plan(store, file, &mut steps, &mut keys)?;
    }
    for step in &steps {
        store.make_folder_of(step.path())?;
    }
    // One after the other: they are made in one folder, which makes one at a time.
    let written = steps.iter().map(|step| step.write(store)).collect::<Result<Vec<_>, _>>();
    let done = written
        .and_then(|files| beside_each_other(&files, |file| file.sync(store)))
        .and_then(|()| steps.iter().try_for_each(Step::name));
    if done.is_err() {
        steps.iter().for_each(Step::forget);
    }
    done?;
    let folders: BTreeSet<&Path> = steps.iter().filter_map(|step| step.path().parent()).collect();
    beside_each_other(&Vec::from_iter(folders), |folder| {
        sync_folder(folder).map_err(|source| StoreError::Device { path: folder.into(), source })
    })?;
    keys.into_iter().for_each(|(path, planned)| store.keys.learn(path, planned.key));
    Ok(())
}

/// Keys of this call by their files: two widths of one bundle share theirs.
type Keys = HashMap<PathBuf, PlannedKey>;

#[derive(Clone)]
struct PlannedKey {
    key: ObjectKey,
    /// Its file is made by this call, and not there yet.
    is_new: bool,
}

fn plan(
    store: &FolderStore,
    file: &NewFile,
    steps: &mut Vec<Step>,
    keys: &mut Keys,
) -> Result<(), StoreError> {
    let NewFile { name, bytes, sealed } = file;
    let path = store.file(name.as_str());
    if *sealed {
        return plan_sealed(store, name, bytes, steps, keys);
    }
    if !path.exists() {
        steps.push(Step::create(store, path, bytes.to_vec(), false));
        return Ok(());
    }
    let same = read_small(&path)? == *bytes;
    same.then(|| steps.push(Step::Stands { path: path.clone() }))
        .ok_or(StoreError::AlreadyExists { path })
}

fn plan_sealed(
    store: &FolderStore,
    name: &ObjectName,
    bytes: &[u8],
    steps: &mut Vec<Step>,
    keys: &mut Keys,
) -> Result<(), StoreError> {
    let path = store.file(name.as_str());
    let PlannedKey { key, is_new } = plan_key(store, name, steps, keys)?;
    if path.exists() && !is_new {
        let same = get_sealed(store, name)? == bytes;
        return same
            .then(|| steps.push(Step::Stands { path: path.clone() }))
            .ok_or(StoreError::AlreadyExists { path });
    }
    // A file whose key is not there was cut short before either was durable: nobody can have read it.
    let replace = path.exists();
    let sealed = tink::seal_all(&key, Purpose::Small(name), bytes);
    steps.push(Step::create(store, path, sealed, replace));
    Ok(())
}

fn plan_key(
    store: &FolderStore,
    name: &ObjectName,
    steps: &mut Vec<Step>,
    keys: &mut Keys,
) -> Result<PlannedKey, StoreError> {
    let path = store.key_file(name.as_str());
    if let Some(planned) = keys.get(&path) {
        return Ok(planned.clone());
    }
    let (known, is_new) = (store.keys.get(&path), !path.exists());
    let key = if is_new {
        // One that somebody took away is put back: what it has encrypted would be lost with this process.
        let key = known.unwrap_or_else(ObjectKey::random);
        let text = store.kek.wrap(&key).into_bytes();
        steps.push(Step::create(store, path.clone(), text, false));
        key
    } else if let Some(key) = known {
        return Ok(PlannedKey { key, is_new });
    } else {
        steps.push(Step::Stands { path: path.clone() });
        load_key(&store.kek, &path)?
    };
    let planned = PlannedKey { key, is_new };
    keys.insert(path, planned.clone());
    Ok(planned)
}

impl Step {
    fn create(store: &FolderStore, path: PathBuf, bytes: Vec<u8>, replace: bool) -> Self {
        Self::Create { path, waiting: temporary(&store.uploads_folder()), bytes, replace }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Create { path, .. } | Self::Stands { path } => path,
        }
    }

    /// The file with all of its bytes, to be synced.
    fn write(&self, store: &FolderStore) -> Result<Written<'_>, StoreError> {
        let disk = store.disk.as_ref();
        let (path, file) = match self {
            Self::Create { waiting, bytes, .. } => (waiting, write_unsynced(disk, waiting, bytes)),
            Self::Stands { path } => (path, disk.open(path)),
        };
        Ok(Written { file: file.map_err(|e| StoreError::io(path, e))?, path })
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

//! The worker program, known by its digest: a recipe names it, so that an expert knows which one made a derivative.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chain_of_custody::digest::{ContentHasher, Sha256};

const CHUNK_BYTES: usize = 1 << 20;

/// A program file. Cloned, it is the same one.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    known: Arc<Mutex<Option<(Version, Sha256)>>>,
}

/// What changes when the file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size_bytes: u64,
    changed_ns: (i64, i64),
}

impl Program {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, known: Arc::default() }
    }

    /// Its digest, read anew when the file is another than before; `None` where it cannot be read, or changes meanwhile.
    pub(crate) async fn digest(&self) -> Option<Sha256> {
        let version = Version::of(&self.path).ok()?;
        if let Some((of, digest)) = *self.lock()
            && of == version
        {
            return Some(digest);
        }
        let path = self.path.clone();
        let digest = tokio::task::spawn_blocking(move || read(&path)).await.ok()?.ok()?;
        *self.lock() = Some((version, digest));
        self.is_unchanged().then_some(digest)
    }

    /// Whether the file is still the one whose digest was read last.
    pub(crate) fn is_unchanged(&self) -> bool {
        let now = Version::of(&self.path).ok();
        now.is_some() && now == self.lock().map(|(version, _)| version)
    }

    /// Its bytes, if they have this digest.
    pub(crate) async fn bytes(&self, digest: Sha256) -> Option<Vec<u8>> {
        let bytes = tokio::fs::read(&self.path).await.ok()?;
        (Sha256::of(&bytes) == digest).then_some(bytes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Version, Sha256)>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Version {
    fn of(path: &Path) -> io::Result<Self> {
        let file = std::fs::metadata(path)?;
        Ok(Self {
            device: file.dev(),
            inode: file.ino(),
            size_bytes: file.size(),
            changed_ns: (file.ctime(), file.ctime_nsec()),
        })
    }
}

fn read(path: &Path) -> io::Result<Sha256> {
    use io::Read as _;
    let (mut file, mut hasher) = (File::open(path)?, ContentHasher::new());
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finish().0.sha256),
            count => drop(hasher.update(&chunk[..count])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_is_exchanged_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker");
        std::fs::write(&path, "one").unwrap();
        let program = Program::new(path.clone());
        assert_eq!(program.digest().await, Some(Sha256::of(b"one")));
        assert!(program.is_unchanged());
        std::fs::write(folder.path().join("new"), "two").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        assert!(!program.is_unchanged(), "whatever was started may be either");
        assert_eq!(program.digest().await, Some(Sha256::of(b"two")));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(program.digest().await, None);
    }
}

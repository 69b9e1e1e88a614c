//! What the store asks of the device: positioned writes, syncs, and reading back past the page cache.

use std::collections::HashSet;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
use rustix::fs::{Advice, OFlags, RenameFlags};
use serde::{Deserialize, Serialize};

/// CRC-64/NVME, the checksum that S3 speaks too; written as 16 hexadecimal characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Crc64(pub u64);

impl Crc64 {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes))
    }

    /// The checksum of what this one covers followed by `length` bytes with checksum `next`.
    #[must_use]
    pub fn then(self, next: Self, length: u64) -> Self {
        Self(checksum_combine(CrcAlgorithm::Crc64Nvme, self.0, next.0, length))
    }
}

impl Serialize for Crc64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Crc64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value =
            u64::from_str_radix(&text, 16).ok().filter(|value| format!("{value:016x}") == text);
        value
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("not 16 lower-case hexadecimal characters"))
    }
}

/// The device under the store. Tests put one in its place that fails.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns once everything written to `file` is on the device (fdatasync). After an error nothing may be assumed
    /// of what was written since the last success.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// The checksum of a range as the device holds it, not the page cache. The range begins at a multiple of 1 MiB and
    /// ends at the end of the file or at such a multiple.
    fn read_back(&self, path: &Path, range: Range<u64>) -> io::Result<Crc64>;
}

/// The real device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealDisk {
    read_back: ReadBack,
}

/// How written bytes are read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBack {
    /// O_DIRECT: the read goes to the device.
    Direct,
    /// The file system has no O_DIRECT: its cached pages are dropped (POSIX_FADV_DONTNEED) before reading.
    DroppedCache,
}

/// The alignment that O_DIRECT asks of buffers and offsets on every device we know.
const DIRECT_ALIGNMENT: usize = 4096;
/// How much is read back at once.
const READ_BACK_BYTES: usize = 256 * 1024;

impl RealDisk {
    /// Finds out what the file system of `folder` can do.
    pub(crate) fn probe(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!("tmp-probe-{}", std::process::id()));
        fs::write(&path, vec![0; DIRECT_ALIGNMENT])?;
        let direct =
            open_direct(&path).and_then(|file| checksum(&file, 0..DIRECT_ALIGNMENT as u64));
        fs::remove_file(&path)?;
        let read_back = if direct.is_ok() { ReadBack::Direct } else { ReadBack::DroppedCache };
        Ok(Self { read_back })
    }

    /// For a store that is only read: what is written would be read back after dropping cached pages.
    pub(crate) fn without_probe() -> Self {
        Self { read_back: ReadBack::DroppedCache }
    }

    pub(crate) fn how(&self) -> ReadBack {
        self.read_back
    }
}

impl Disk for RealDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn read_back(&self, path: &Path, range: Range<u64>) -> io::Result<Crc64> {
        if self.read_back == ReadBack::Direct {
            return checksum(&open_direct(path)?, range);
        }
        let file = File::open(path)?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        checksum(&file, range)
    }
}

fn open_direct(path: &Path) -> io::Result<File> {
    let direct = OFlags::DIRECT.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(direct).open(path)
}

/// Reads `range` with aligned offsets, lengths and memory; the end of the file may cut the last read short.
fn checksum(file: &File, range: Range<u64>) -> io::Result<Crc64> {
    let mut memory = vec![0; READ_BACK_BYTES + DIRECT_ALIGNMENT];
    let skip = memory.as_ptr().align_offset(DIRECT_ALIGNMENT);
    let buffer = &mut memory[skip..skip + READ_BACK_BYTES];
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(READ_BACK_BYTES);
        let aligned = wanted.next_multiple_of(DIRECT_ALIGNMENT);
        let got = file.read_at(&mut buffer[..aligned], at)?.min(wanted);
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        digest.update(&buffer[..got]);
        at += got as u64;
    }
    Ok(Crc64(digest.finalize()))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Folders known to be durable: made, and their names synced, by this process.
///
/// That a folder is there says nothing: an earlier process may have died between making it and syncing its name.
#[derive(Debug, Default)]
pub(crate) struct KnownFolders(Mutex<HashSet<PathBuf>>);

/// After so many it begins to learn anew, which costs a sync for each folder.
const MAX_KNOWN_FOLDERS: usize = 8192;

impl KnownFolders {
    /// Makes a folder and those above it up to `root`, each name durable in the one above.
    pub(crate) fn make(&self, root: &Path, folder: &Path) -> io::Result<()> {
        if folder == root || self.lock().contains(folder) {
            return Ok(());
        }
        let above = folder.parent().expect("a folder below the root has one above it");
        self.make(root, above)?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => sync_folder(above)?,
        }
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN_FOLDERS {
            known.clear();
        }
        known.insert(folder.to_owned());
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a file that does not exist yet and syncs it; its name is durable once its folder is synced.
pub(crate) fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    disk.write_at(&file, bytes, 0)?;
    disk.sync(&file)?;
    Ok(file)
}

/// Renames, and fails with [`io::ErrorKind::AlreadyExists`] rather than replace anything.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let (here, flags) = (rustix::fs::CWD, RenameFlags::NOREPLACE);
    match rustix::fs::renameat_with(here, from, here, to, flags) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_back_is_the_checksum_of_any_range_written() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let disk = RealDisk::probe(folder.path()).unwrap();
        let bytes: Vec<u8> = (0..3_500_001_u32).map(|i| (i % 255) as u8).collect();
        let path = folder.path().join("file");
        write_new(&disk, &path, &bytes).unwrap();
        for how in [disk.read_back, ReadBack::DroppedCache] {
            let disk = RealDisk { read_back: how };
            for (start, end) in
                [(0, bytes.len()), (0, 1 << 20), (1 << 20, 3 << 20), (3 << 20, bytes.len())]
            {
                let crc = disk.read_back(&path, start as u64..end as u64).unwrap();
                assert_eq!(crc, Crc64::of(&bytes[start..end]), "{how:?} {start}");
            }
            assert!(disk.read_back(&path, 0..bytes.len() as u64 + 1).is_err(), "beyond the end");
        }
        let (a, b) = bytes.split_at(1000);
        assert_eq!(Crc64::of(a).then(Crc64::of(b), b.len() as u64), Crc64::of(&bytes));
    }

    #[test]
    fn a_folder_is_known_once_this_process_has_synced_it() {
        let folder = tempfile::tempdir().unwrap();
        let (known, deep) = (KnownFolders::default(), folder.path().join("a/b"));
        fs::create_dir_all(&deep).unwrap();
        assert!(!known.lock().contains(&deep), "that it is there says nothing");
        known.make(folder.path(), &deep).unwrap();
        assert!(known.lock().contains(&deep) && known.lock().contains(&folder.path().join("a")));
        known.make(folder.path(), &folder.path().join("a/c")).unwrap();
        assert!(folder.path().join("a/c").is_dir());
        fs::write(folder.path().join("file"), "").unwrap();
        known.make(folder.path(), &folder.path().join("file/x")).unwrap_err();
    }

    #[test]
    fn a_rename_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        let refused = rename_new(&a, &b).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&b).unwrap(), b"b");
    }
}

//! What the store asks of the device: positioned writes, syncs, and reading back past the page cache.

use std::collections::HashSet;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Advice, OFlags, RenameFlags};

use crate::objects::crc::{Crc64, RunningCrc};

/// The device under the store. Tests put one in its place that fails.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Opens a file that exists, for writing and reading back.
    fn open(&self, path: &Path) -> io::Result<DiskFile>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, file: &DiskFile, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns once everything written to `file` is on the device (fdatasync). After an error nothing may be assumed
    /// of what was written since the last success.
    fn sync(&self, file: &DiskFile) -> io::Result<()>;
    /// Adds a range to `crc` as the device holds it, not the page cache. The range begins at a multiple of
    /// [`DIRECT_ALIGNMENT`] and ends at the end of the file or at such a multiple.
    fn read_back(
        &self,
        file: &DiskFile,
        range: Range<u64>,
        crc: RunningCrc,
    ) -> io::Result<RunningCrc>;
}

/// One file, with and without the page cache between.
#[derive(Debug)]
pub(crate) struct DiskFile {
    cached: File,
    /// With O_DIRECT, where the file system has it.
    direct: Option<File>,
    /// Whether even whole blocks are to be in the page cache afterwards.
    keep_cached: bool,
}

impl DiskFile {
    /// For what will be read again soon: writes go through the page cache, and stay there for a while.
    #[must_use]
    pub(crate) fn keep_cached(self) -> Self {
        Self { keep_cached: true, ..self }
    }

    /// Whether whole blocks go past the page cache, so that they need no sync before they are read back.
    pub(crate) fn writes_directly(&self) -> bool {
        self.direct.is_some() && !self.keep_cached
    }

    pub(crate) fn set_len(&self, length: u64) -> io::Result<()> {
        self.cached.set_len(length)
    }
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

/// The alignment that O_DIRECT asks of memory, offsets and lengths on every device we know.
pub(crate) const DIRECT_ALIGNMENT: usize = 4096;
/// How much is read back at once.
const READ_BACK_BYTES: usize = 256 * 1024;

impl RealDisk {
    /// Finds out what the file system of `folder` can do.
    pub(crate) fn probe(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!("tmp-probe-{}", std::process::id()));
        fs::write(&path, vec![0; DIRECT_ALIGNMENT])?;
        let direct = Self { read_back: ReadBack::Direct };
        let none = RunningCrc::after(Crc64::default());
        let works = direct
            .open(&path)
            .and_then(|file| direct.read_back(&file, 0..DIRECT_ALIGNMENT as u64, none));
        fs::remove_file(&path)?;
        let read_back = if works.is_ok() { ReadBack::Direct } else { ReadBack::DroppedCache };
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
    fn open(&self, path: &Path) -> io::Result<DiskFile> {
        let open = |flags: OFlags| {
            let flags = flags.bits().cast_signed();
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
        };
        let direct = match self.read_back {
            ReadBack::Direct => Some(open(OFlags::DIRECT)?),
            ReadBack::DroppedCache => None,
        };
        Ok(DiskFile { cached: open(OFlags::empty())?, direct, keep_cached: false })
    }

    fn write_at(&self, file: &DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
        match &file.direct {
            Some(direct) if file.writes_directly() && is_aligned(bytes, offset) => {
                direct.write_all_at(bytes, offset)
            }
            _ => file.cached.write_all_at(bytes, offset),
        }
    }

    fn sync(&self, file: &DiskFile) -> io::Result<()> {
        file.cached.sync_data()
    }

    fn read_back(
        &self,
        file: &DiskFile,
        range: Range<u64>,
        crc: RunningCrc,
    ) -> io::Result<RunningCrc> {
        if let Some(direct) = &file.direct {
            return checksum(direct, range, crc);
        }
        rustix::fs::fadvise(&file.cached, 0, None, Advice::DontNeed)?;
        checksum(&file.cached, range, crc)
    }
}

/// Whether O_DIRECT takes it: whole blocks, from a block's beginning in memory, to one in the file.
fn is_aligned(bytes: &[u8], offset: u64) -> bool {
    bytes.as_ptr().align_offset(DIRECT_ALIGNMENT) == 0
        && bytes.len().is_multiple_of(DIRECT_ALIGNMENT)
        && offset.is_multiple_of(DIRECT_ALIGNMENT as u64)
}

/// Reads `range` with aligned offsets, lengths and memory; the end of the file may cut the last read short.
fn checksum(file: &File, range: Range<u64>, mut crc: RunningCrc) -> io::Result<RunningCrc> {
    let mut memory = AlignedBuffer::with_capacity(READ_BACK_BYTES);
    let buffer = memory.zeroed();
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(READ_BACK_BYTES);
        let aligned = wanted.next_multiple_of(DIRECT_ALIGNMENT);
        let got = file.read_at(&mut buffer[..aligned], at)?.min(wanted);
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        crc.update(&buffer[..got]);
        at += got as u64;
    }
    Ok(crc)
}

/// Bytes in memory that begin at a multiple of [`DIRECT_ALIGNMENT`], so that O_DIRECT takes them.
#[derive(Debug, Default)]
pub(crate) struct AlignedBuffer {
    /// Never grows beyond its first allocation, so that what is aligned stays so.
    memory: Vec<u8>,
    skip: usize,
}

impl AlignedBuffer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut memory: Vec<u8> = Vec::with_capacity(capacity + DIRECT_ALIGNMENT);
        let skip = memory.as_ptr().align_offset(DIRECT_ALIGNMENT);
        memory.resize(skip, 0);
        Self { memory, skip }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.memory[self.skip..]
    }

    pub(crate) fn len(&self) -> usize {
        self.memory.len() - self.skip
    }

    pub(crate) fn clear(&mut self) {
        self.memory.truncate(self.skip);
    }

    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.memory.capacity() - self.memory.len(), "it has a fixed size");
        self.memory.extend_from_slice(bytes);
    }

    /// All of it, zeroed.
    fn zeroed(&mut self) -> &mut [u8] {
        self.memory.resize(self.memory.capacity() - (DIRECT_ALIGNMENT - self.skip), 0);
        &mut self.memory[self.skip..]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[self.skip..]
    }
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
pub(crate) fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    disk.sync(&write_unsynced(disk, path, bytes)?)
}

/// Writes a file that does not exist yet. Nothing of it is durable before it is synced.
pub(crate) fn write_unsynced(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<DiskFile> {
    let cached = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let file = DiskFile { cached, direct: None, keep_cached: true };
    disk.write_at(&file, bytes, 0)?;
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
    use crate::objects::crc::Crc64;

    #[test]
    fn read_back_is_the_checksum_of_any_range_written() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let disk = RealDisk::probe(folder.path()).unwrap();
        let bytes: Vec<u8> = (0..3_500_001_u32).map(|i| (i % 255) as u8).collect();
        let path = folder.path().join("file");
        write_new(&disk, &path, &bytes).unwrap();
        let none = RunningCrc::after(Crc64::default());
        for how in [disk.read_back, ReadBack::DroppedCache] {
            let disk = RealDisk { read_back: how };
            let file = disk.open(&path).unwrap();
            for (start, end) in
                [(0, bytes.len()), (0, 1 << 20), (1 << 20, 3 << 20), (3 << 20, bytes.len())]
            {
                let crc = disk.read_back(&file, start as u64..end as u64, none).unwrap();
                assert_eq!(crc.value(), Crc64::of(&bytes[start..end]), "{how:?} {start}");
            }
            let beyond = disk.read_back(&file, 0..bytes.len() as u64 + 1, none);
            assert!(beyond.is_err(), "beyond the end");
        }
    }

    /// Segments go to the device without passing the page cache, and the last, odd one through it: the file is whole.
    #[test]
    fn direct_and_cached_writes_make_one_file() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let disk = RealDisk::probe(folder.path()).unwrap();
        let path = folder.path().join("file");
        write_new(&disk, &path, b"").unwrap();
        let file = disk.open(&path).unwrap();
        let bytes: Vec<u8> = (0..(2 << 20) + 777).map(|i| (i % 251) as u8).collect();
        for (index, piece) in bytes.chunks(1 << 20).enumerate() {
            let mut segment = AlignedBuffer::with_capacity(1 << 20);
            segment.extend_from_slice(piece);
            assert_eq!(is_aligned(segment.as_slice(), 0), piece.len() == 1 << 20);
            disk.write_at(&file, segment.as_slice(), (index as u64) << 20).unwrap();
        }
        disk.sync(&file).unwrap();
        let crc = disk.read_back(&file, 0..bytes.len() as u64, RunningCrc::after(Crc64::default()));
        assert_eq!(crc.unwrap().value(), Crc64::of(&bytes));
        assert_eq!(fs::read(&path).unwrap(), bytes);
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

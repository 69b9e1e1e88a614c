//! A device that fails: nothing is acknowledged, nothing wrong is served, and it goes on from what was durable.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::crc::RunningCrc;
use super::super::folder::{Disk, DiskFile, FolderStore, RealDisk};
use super::*;

/// The real device with faults that are switched on.
#[derive(Debug)]
struct FaultyDisk {
    real: RealDisk,
    sync_fails: AtomicBool,
    /// So many syncs succeed, then one fails, and those after it succeed again.
    syncs_left: AtomicUsize,
    full: AtomicBool,
    /// Takes writes and syncs, and loses a bit of them: what read-back is for.
    loses_a_bit: AtomicBool,
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path) -> io::Result<DiskFile> {
        self.real.open(path)
    }

    fn write_at(&self, file: &DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            let half = &bytes[..bytes.len() / 2];
            self.real.write_at(file, half, offset)?;
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
        }
        if self.loses_a_bit.load(Ordering::SeqCst) {
            let mut other = bytes.to_vec();
            *other.last_mut().unwrap() ^= 1;
            return self.real.write_at(file, &other, offset);
        }
        self.real.write_at(file, bytes, offset)
    }

    fn sync(&self, file: &DiskFile) -> io::Result<()> {
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        let count_down = |left: usize| Some(left.wrapping_sub(1));
        let left = self.syncs_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down);
        if left == Ok(0) {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        self.real.sync(file)
    }

    fn read_back(
        &self,
        file: &DiskFile,
        range: Range<u64>,
        crc: RunningCrc,
    ) -> io::Result<RunningCrc> {
        self.real.read_back(file, range, crc)
    }
}

struct FaultyRoom {
    room: Room,
    store: ObjectStore,
    disk: Arc<FaultyDisk>,
}

impl FaultyRoom {
    fn new() -> Self {
        let room = Room::new();
        let off = AtomicBool::default;
        let real = RealDisk::probe(room.root()).unwrap();
        let disk = Arc::new(FaultyDisk {
            real,
            sync_fails: off(),
            syncs_left: AtomicUsize::new(usize::MAX),
            full: off(),
            loses_a_bit: off(),
        });
        let folder = FolderStore::with_disk(room.root(), kek(), Arc::clone(&disk) as _);
        let store = ObjectStore::in_folder(room.root(), folder, real.how());
        Self { room, store, disk }
    }

    /// An upload that is durable at 2,500,000 bytes and has taken 3 million more with the fault on.
    async fn fail(&self, fault: &AtomicBool) -> (WriterState, Result<(), StoreError>) {
        let bytes = sample(8_500_000);
        let mut upload = Upload::begin(&self.store).await;
        upload.write(&bytes[..2_500_000]).await.unwrap();
        let state = upload.persist().await.unwrap();
        fault.store(true, Ordering::SeqCst);
        let mut result = upload.write(&bytes[2_500_000..5_500_000]).await;
        if result.is_ok() {
            result = upload.persist().await.map(drop);
        }
        let after = upload.write(b"more").await;
        assert!(
            matches!(after, Err(StoreError::Stopped)),
            "a failed writer stays failed: {after:?}"
        );
        fault.store(false, Ordering::SeqCst);
        (state, result)
    }

    async fn goes_on(&self, state: &WriterState) {
        let bytes = sample(8_500_000);
        let mut upload = Upload::resume(&self.room.again(), state).await.unwrap();
        upload.write(&bytes[2_500_000..]).await.unwrap();
        let (sealed, digests) = upload.seal().await.unwrap();
        assert_eq!(digests, Digests::of(&bytes));
        let name = "originals/x".parse().unwrap();
        let object = self.store.complete(sealed, name, digests.blake3).await.unwrap();
        let open = self.store.open_object(&object).await.unwrap();
        assert_eq!(read_all(&open).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn failed_fsync_is_fatal_and_never_acknowledged() {
    let room = FaultyRoom::new();
    let (state, result) = room.fail(&room.disk.sync_fails).await;
    let error = result.unwrap_err();
    assert!(error.is_fatal() && matches!(error, StoreError::Device { .. }), "{error:?}");
    room.goes_on(&state).await;
}

/// Whichever file it is of: one failed fsync among others that succeed is enough, also when a second try would succeed.
#[tokio::test]
async fn each_failed_fsync_alone_is_fatal() {
    for seals in [false, true] {
        let mut syncs = 0;
        loop {
            let room = FaultyRoom::new();
            let mut upload = Upload::begin(&room.store).await;
            upload.write(&sample(5_500_000)).await.unwrap();
            room.disk.syncs_left.store(syncs, Ordering::SeqCst);
            let result = if seals {
                upload.seal().await.map(drop)
            } else {
                upload.persist().await.map(drop)
            };
            let has_failed = room.disk.syncs_left.load(Ordering::SeqCst) > syncs;
            if !has_failed {
                result.unwrap();
                break;
            }
            assert!(matches!(result, Err(StoreError::Device { .. })), "sync {syncs}: {result:?}");
            syncs += 1;
        }
        assert!(syncs >= 2, "of the part, and of what lies beside it: {syncs}");
    }
}

#[tokio::test]
async fn a_device_that_stores_other_bytes_is_found_out() {
    let room = FaultyRoom::new();
    let (state, result) = room.fail(&room.disk.loses_a_bit).await;
    let error = result.unwrap_err();
    assert!(error.is_fatal() && matches!(error, StoreError::ReadBack { .. }), "{error:?}");
    room.goes_on(&state).await;
}

/// The tail alone: nothing but the side file is written here.
#[tokio::test]
async fn a_tail_stored_wrongly_is_found_out() {
    let room = FaultyRoom::new();
    let mut upload = Upload::begin(&room.store).await;
    upload.write(b"a few bytes").await.unwrap();
    room.disk.loses_a_bit.store(true, Ordering::SeqCst);
    assert!(matches!(upload.persist().await, Err(StoreError::ReadBack { .. })));
}

/// Sealing checks the last segment too.
#[tokio::test]
async fn the_last_bytes_stored_wrongly_are_found_out() {
    let room = FaultyRoom::new();
    for size in [0, 10, 1_048_520, 9_000_000] {
        let mut upload = Upload::begin(&room.store).await;
        upload.write(&sample(size)).await.unwrap();
        room.disk.loses_a_bit.store(true, Ordering::SeqCst);
        let sealed = upload.seal().await;
        assert!(matches!(sealed, Err(StoreError::ReadBack { .. })), "{size}: {sealed:?}");
        room.disk.loses_a_bit.store(false, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_full_disk_is_said_by_name_and_goes_on_when_there_is_room() {
    let room = FaultyRoom::new();
    let (state, result) = room.fail(&room.disk.full).await;
    assert!(matches!(result, Err(StoreError::Full)), "{result:?}");
    room.disk.full.store(true, Ordering::SeqCst);
    assert!(matches!(room.store.put_new("ledger/l/checkpoint", "x").await, Err(StoreError::Full)));
    assert!(matches!(room.store.put_sealed("openings/l/0", "x").await, Err(StoreError::Full)));
    room.disk.full.store(false, Ordering::SeqCst);
    assert!(room.store.scan("ledger").await.unwrap().is_empty(), "nothing partial is visible");
    assert!(room.store.scan("openings").await.unwrap().is_empty());
    room.store.put_new("ledger/l/checkpoint", "x").await.unwrap();
    room.store.put_sealed("openings/l/0", "x").await.unwrap();
    room.goes_on(&state).await;
}

//! What the object store costs on this machine: `cargo run --release -p storage --example store_speed [MiB] [FOLDER]`.
//!
//! Prints, for one object of that size: wall time and processor seconds for hashing, encrypting, writing, syncing and
//! reading back; from the last byte to the finished object; reading it; and composing it of four.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chain_of_custody::digest::{ContentHasher, Digests};
use chain_of_custody::ids::UploadId;
use futures_util::TryStreamExt as _;
use storage::objects::{Kek, ObjectStore, SealedUpload, StoreError};
use zeroize::Zeroizing;

const MIB: usize = 1 << 20;

#[tokio::main]
async fn main() -> Result<(), StoreError> {
    let mut arguments = std::env::args().skip(1);
    let mib = arguments.next().and_then(|mib| mib.parse().ok()).unwrap_or(1024);
    let folder = arguments.next().map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let folder = folder.join(format!("store-speed-{}", std::process::id()));
    let store = ObjectStore::open(&folder, Kek::new(Zeroizing::new([1; 32])))?;
    say(&format!("{mib} MiB, read back by {:?}", store.read_back()));

    let meter = Meter::start();
    let (sealed, digests, last_byte) = upload(&store, mib).await?;
    let object = store.complete(sealed, "originals/whole".parse()?, digests.blake3).await?;
    let finish = last_byte.elapsed();
    meter.print("write", mib);
    say(&format!("last byte to object: {:.1} ms", finish.as_secs_f64() * 1e3));

    let meter = Meter::start();
    let open = store.open_object(&object).await?;
    open.stream(0..open.size_bytes())?.try_for_each(|_| async { Ok(()) }).await?;
    meter.print("read", mib);

    let mut quarters = Vec::new();
    for _ in 0..4 {
        quarters.push(upload(&store, mib / 4).await?.0);
    }
    let meter = Meter::start();
    let composed = store.compose(quarters).await?;
    let name = "originals/composed".parse()?;
    store.complete(composed.sealed, name, composed.digests.blake3).await?;
    meter.print("compose", mib);
    let cleared = std::fs::remove_dir_all(&folder);
    say(if cleared.is_ok() { "" } else { "the folder could not be removed" });
    Ok(())
}

/// Network-sized pieces; hashing runs beside writing, as ingest has it.
async fn upload(
    store: &ObjectStore,
    mib: usize,
) -> Result<(SealedUpload, Digests, Instant), StoreError> {
    let piece = Bytes::from((0..MIB).map(|i| (i * 31 % 251) as u8).collect::<Vec<u8>>());
    let upload = UploadId::from_uuid(uuid::Uuid::now_v7());
    let mut writer = store.begin(upload, format!("originals/{upload}").parse()?).await?;
    let mut hasher = ContentHasher::new();
    for _ in 0..mib {
        let hashed = piece.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            let groups = hasher.update(&hashed);
            (hasher, groups)
        });
        writer.write(piece.clone()).await?;
        let (back, groups) = hashing.await.expect("hashing does not panic");
        hasher = back;
        writer.append_groups(&groups).await?;
    }
    let last_byte = Instant::now();
    let (digests, last) = hasher.finish();
    writer.append_groups(&[last]).await?;
    Ok((writer.seal().await?, digests, last_byte))
}

struct Meter {
    wall: Instant,
    cpu: Duration,
}

impl Meter {
    fn start() -> Self {
        Self { wall: Instant::now(), cpu: processor_time() }
    }

    fn print(&self, what: &str, mib: usize) {
        let (wall, cpu) = (self.wall.elapsed(), processor_time() - self.cpu);
        let per_gib = 1024.0 / mib as f64;
        say(&format!(
            "{what}: {:.2} s wall, {:.2} processor seconds per GiB",
            wall.as_secs_f64() * per_gib,
            cpu.as_secs_f64() * per_gib
        ));
    }
}

/// User and system time of this process (proc(5): fields 14 and 15, in hundredths of a second).
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks =
        after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

fn say(line: &str) {
    let _nobody_reads_it = writeln!(io::stdout(), "{line}");
}

//! What keeping costs: the memory of a server that nobody asks for anything, and a backup of what has not changed.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use chain_of_custody::command::Command;
use chain_of_custody::digest::{ContentHasher, Digests};
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{EventId, ItemId, UploadId};
use chain_of_custody::note::{Signer as _, SigningKey, VerifierKey};
use futures_util::{TryStreamExt as _, stream};
use storage::backup::{self, Source, Taken};
use storage::clock::SystemClock;
use storage::ledger::{Ledger, LedgerOptions};
use storage::objects::{Kek, ObjectStore, StoredObject};
use storage::records::Records;

use crate::client::resident_measure;
use crate::servers::{Kind, Place, start};
use crate::usage::{cpu_s, resident_bytes};

/// How long a server is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(30);
const IDLE_AIM_MB: f64 = 60.0;
const ORIGIN: &str = "ledger.bench";
/// Items that are stored at once while the ledger is filled.
const IN_FLIGHT: usize = 64;
/// Per so many items.
const SCALE: f64 = 100_000.0;
const BACKUP_AIM_S: f64 = 5.0;

/// Prints how much memory a server has at its start and after half a minute without requests.
pub(crate) fn idle(place: &Place) -> Result<()> {
    println!("\nIdle server (cargo run --release -p benches -- idle; aim ≤ {IDLE_AIM_MB} MB)");
    let server = start(Kind::Exhibit, place)?;
    for (when, wait) in [("ready, one device enrolled", Duration::ZERO), ("after 30 s", LEFT_ALONE)]
    {
        sleep(wait);
        let (kernel, said) = (resident_bytes(server.pid())?, resident_measure(&server.endpoint)?);
        println!(
            "{when:<28} VmRSS {:>6.1} MB   exhibit_resident_bytes {:>6.1} MB",
            kernel as f64 / 1e6,
            said as f64 / 1e6
        );
    }
    Ok(())
}

/// Stores `count` items with two derivatives each, backs them up, and prints what backing up again costs.
pub(crate) fn unchanged(place: &Place, count: usize) -> Result<()> {
    println!(
        "\nBackup of what has not changed (cargo run --release -p benches -- backup --items {count}; aim ≤ {BACKUP_AIM_S} s per {SCALE} items)"
    );
    let folder = tempfile::tempdir_in(&place.scratch)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let house = House::open(folder.path()).await?;
        let begun = Instant::now();
        house.fill(count).await?;
        let (seeded_s, begun) = (begun.elapsed().as_secs_f64(), Instant::now());
        let first = house.back_up().await?;
        ensure!(first.copied_objects == 3 * count as u64, "{first:?}");
        let first_s = begun.elapsed().as_secs_f64();
        println!("stored {count} items in {seeded_s:.1} s; the first backup took {first_s:.1} s");
        for _ in 0..place.rounds {
            let (begun, cpu) = (Instant::now(), cpu_s(std::process::id())?);
            let again = house.back_up().await?;
            ensure!(again.unchanged && again.checked_objects == first.copied_objects, "{again:?}");
            let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_s(std::process::id())? - cpu);
            let scale = SCALE / count as f64;
            println!(
                "again {wall:>7.2} s, CPU {cpu:>6.2} s   per 100,000: {:>6.2} s, CPU {:>6.2} s",
                wall * scale,
                cpu * scale
            );
        }
        house.ledger.close().await;
        Ok(())
    })
}

/// A store and its ledger, with a folder for backups beside them.
struct House<'a> {
    folder: &'a Path,
    objects: ObjectStore,
    records: Records,
    ledger: Ledger,
    log_key: VerifierKey,
}

impl<'a> House<'a> {
    async fn open(folder: &'a Path) -> Result<Self> {
        fs::create_dir(folder.join("backup"))?;
        let log = SigningKey::from_seed(ORIGIN, [1; 32])?;
        let log_key = log.vkey();
        let options = LedgerOptions {
            origin: ORIGIN.parse()?,
            signer: Arc::new(log),
            clock: Arc::new(SystemClock),
            rotations: Vec::new(),
        };
        let objects = ObjectStore::open(&folder.join("objects"), Kek::new([1; 32].into()))?;
        let records = Records::sqlite(&folder.join("records.sqlite"), ORIGIN).await?;
        let ledger = Ledger::open(records.clone(), objects.clone(), options).await?;
        Ok(Self { folder, objects, records, ledger, log_key })
    }

    async fn fill(&self, count: usize) -> Result<()> {
        stream::iter((0..count).map(Ok)).try_for_each_concurrent(IN_FLIGHT, |n| self.item(n)).await
    }

    /// An original and its two derivatives, each with its entry.
    async fn item(&self, n: usize) -> Result<()> {
        let item = ItemId::from_uuid(uuid::Uuid::now_v7());
        let bytes = n.to_le_bytes();
        let original = self.object(&format!("originals/{item}"), &bytes).await?;
        let received = Command::new(EventKind::ItemReceived, event())
            .touching(item)
            .field(field::STATE, "stored", salt())
            .field(field::NAME, format!("Video_{n:06}.mp4"), salt());
        self.ledger.submit(of_object(received, &original, &bytes)?).await?;
        for kind in ["proxy", "poster"] {
            let made = self.object(&format!("derivatives/{item}-{kind}"), &bytes).await?;
            let derived = Command::new(EventKind::ItemDerived, event())
                .touching(item)
                .field(field::KIND, kind, salt())
                .field(field::RECIPE_ID, Digests::of(kind.as_bytes()).sha256.to_string(), salt())
                .field(field::RECIPE, "{}", salt());
            self.ledger.submit(of_object(derived, &made, &bytes)?).await?;
        }
        Ok(())
    }

    async fn object(&self, name: &str, bytes: &[u8]) -> Result<StoredObject> {
        let upload = UploadId::from_uuid(uuid::Uuid::now_v7());
        let mut writer = self.objects.begin(upload, name.parse()?).await?;
        let mut hasher = ContentHasher::new();
        let groups = hasher.update(bytes);
        writer.write(Bytes::copy_from_slice(bytes)).await?;
        writer.append_groups(&groups).await?;
        let (digests, last) = hasher.finish();
        writer.append_groups(&[last]).await?;
        let sealed = writer.seal().await?;
        Ok(self.objects.complete(sealed, name.parse()?, digests.blake3).await?)
    }

    async fn back_up(&self) -> Result<Taken> {
        let source = Source {
            records: &self.records,
            objects: &self.objects,
            origin: ORIGIN.parse()?,
            log_key: self.log_key.clone(),
            scratch: self.folder.join("records.backup"),
            settings: String::new(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            now_ms: 0,
            before: None,
        };
        let to = self.folder.join("backup");
        Ok(backup::take(&source, &to, false, &mut |_, _, _| ()).await?)
    }
}

fn of_object(command: Command, object: &StoredObject, bytes: &[u8]) -> Result<Command> {
    let digests = Digests::of(bytes);
    Ok(command
        .field(field::SIZE_BYTES, bytes.len().to_string(), salt())
        .field(field::SHA256, digests.sha256.to_string(), salt())
        .field(field::BLAKE3, digests.blake3.to_string(), salt())
        .field(field::OBJECT, serde_json::to_string(object)?, salt()))
}

fn event() -> EventId {
    EventId::from_uuid(uuid::Uuid::now_v7())
}

fn salt() -> Salt {
    Salt(rand::random())
}

//! A duplicate rests on what is held: its bytes are let go only when the item was read back whole a moment before.

use std::path::{Path, PathBuf};

use reqwest::Response;
use storage::records::ItemRecord;
use tempfile::tempdir;

use crate::world::{Client, World, footage, header, limits};

struct Held {
    world: World,
    client: Client,
    bytes: Vec<u8>,
    item: String,
    file: PathBuf,
}

/// A site that holds one item.
async fn held(folder: &Path) -> Held {
    let world = World::open(folder, limits()).await;
    let client = world.enrol("dock").await;
    let bytes = footage(1, 2_500_000);
    let item = header(&client.send(&bytes, "").await, "exhibit-item");
    let file = folder.join("objects/originals").join(&item);
    Held { world, client, bytes, item, file }
}

impl Held {
    async fn record(&self) -> ItemRecord {
        let item = self.item.parse().unwrap();
        self.world.receiver.records().item(item).await.unwrap().unwrap()
    }

    /// The camera is docked again; its upload and the reply to the last bytes.
    async fn docked_again(&self) -> (String, Response) {
        let path = self.client.create(self.bytes.len() as u64, "").await;
        let reply = self.client.patch(&path, 0, self.bytes.clone()).send().await.unwrap();
        (path, reply)
    }

    /// Nothing was acknowledged and nothing let go; when the item is whole again, the duplicate is one.
    async fn nothing_is_acknowledged_until(self, reason_code: &str, repair: impl FnOnce()) {
        let Self { world, client, .. } = &self;
        let (path, reply) = self.docked_again().await;
        assert_eq!(reply.status(), 503, "{reply:?}");
        assert!(reply.text().await.unwrap().contains("held-copy-damaged"));
        assert_eq!(client.head(&path).await.status(), 503);
        assert_eq!(world.receiver.sweep().await.unwrap().finished, 0);
        assert_eq!(world.events("item.duplicate").await, 0);
        let faults = world.openings("storage.fault").await;
        assert_eq!(faults.len(), 1, "one for each time it is asked for, or none");
        assert_eq!(faults[0]["reason-code"], reason_code);
        assert_eq!(self.record().await.fault, reason_code);
        assert_eq!(world.objects.uploads().await.unwrap().len(), 1, "the bytes that came are gone");

        repair();
        let head = client.head(&path).await;
        assert_eq!(head.status(), 200);
        assert_eq!(header(&head, "exhibit-state"), "duplicate");
        assert_eq!(client.receipt(world, &head).await.entry.kind.as_str(), "item.duplicate");
        assert_eq!(self.record().await.fault, "", "the fault stands although it was read through");
        assert!(world.objects.uploads().await.unwrap().is_empty());
        world.account(client).await;
        world.verify().await;
        self.world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_original_is_no_reason_to_let_the_same_bytes_go() {
    let folder = tempdir().unwrap();
    let held = held(folder.path()).await;
    let whole = std::fs::read(&held.file).unwrap();
    let mut damaged = whole.clone();
    // In the last segment: whoever looks at the beginning alone finds nothing.
    let at = damaged.len() - 100;
    damaged[at] ^= 1;
    std::fs::write(&held.file, damaged).unwrap();
    let file = held.file.clone();
    held.nothing_is_acknowledged_until("damaged", || std::fs::write(file, whole).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_original_is_no_reason_to_let_the_same_bytes_go() {
    let folder = tempdir().unwrap();
    let held = held(folder.path()).await;
    let aside = held.file.with_extension("aside");
    std::fs::rename(&held.file, &aside).unwrap();
    let file = held.file.clone();
    held.nothing_is_acknowledged_until("missing", || std::fs::rename(aside, file).unwrap()).await;
}

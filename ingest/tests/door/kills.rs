//! SIGKILL at each named moment: nothing acknowledged is lost, and a retry leaves one item.
//!
//! A child process (this very program, running one ignored test) serves a folder and kills itself where
//! `EXHIBIT_FAIL` says; then the folder is opened again here.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chain_of_custody::digest::Digests;
use tempfile::tempdir;

use crate::world::{Client, World, footage, header, limits, number};

const FOLDER: &str = "EXHIBIT_TEST_FOLDER";

/// Not a test: the child of the tests below.
#[test]
#[ignore = "serves a folder for the tests below"]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let folder = Path::new(&folder);
        let world = World::open(folder, limits()).await;
        std::fs::write(folder.join("address.new"), &world.base).unwrap();
        std::fs::rename(folder.join("address.new"), folder.join("address")).unwrap();
        std::future::pending::<()>().await;
    });
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, fail: &str) -> Server {
    let _ = std::fs::remove_file(folder.join("address"));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kills::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env("EXHIBIT_FAIL", fail)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Server(child)
}

fn serve(folder: &Path, fail: &str) -> (Server, String) {
    let server = start(folder, fail);
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Ok(address) = std::fs::read_to_string(folder.join("address")) {
            return (server, address);
        }
        assert!(Instant::now() < until, "the child does not serve");
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn enrol(folder: &Path) -> Client {
    let world = World::open(folder, limits()).await;
    let client = world.enrol("dock").await;
    world.close().await;
    client
}

async fn dies(mut server: Server) {
    let until = Instant::now() + Duration::from_secs(30);
    while server.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "the fail point was never reached");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Goes on as a tus client does, until the upload is finished.
async fn finish(world: &World, client: &Client, path: &str, bytes: &[u8]) -> reqwest::Response {
    let offset = client.offset(path).await as usize;
    let reply = client.patch(path, offset as u64, bytes[offset..].to_vec()).send().await.unwrap();
    assert_eq!(reply.status(), 204, "{reply:?}");
    assert_eq!(client.receipt(world, &reply).await.digests(), Some(Digests::of(bytes)));
    reply
}

/// A signed upload whose entry was written when the server died, and its answer not yet kept.
pub(crate) async fn dies_after_its_entry(
    folder: &Path,
    bytes: &[u8],
    note: &str,
) -> (Client, String) {
    use base64::Engine as _;
    let client = enrol(folder).await;
    let (server, base) = serve(folder, "command-submitted");
    let client = Client { base, ..client };
    let created = client.post().header("upload-length", bytes.len()).send().await.unwrap();
    let path = header(&created, "location");
    let note = base64::engine::general_purpose::STANDARD.encode(note);
    let last = client.patch(&path, 0, bytes.to_vec()).header("exhibit-manifest", note);
    assert!(last.send().await.is_err());
    dies(server).await;
    (client, path)
}

const MOMENTS: [&str; 12] = [
    "offset-durable",
    "offset-moved",
    "upload-before-seal",
    "upload-sealed",
    "seal-recorded",
    "object-complete",
    "command-submitted",
    "receipt-stored",
    "duplicate-submitted",
    "duplicate-undone",
    "duplicate-let-go",
    "upload-before-seal:2",
];

#[tokio::test(flavor = "multi_thread")]
async fn at_every_named_moment() {
    for moment in MOMENTS {
        let folder = tempdir().unwrap();
        let client = enrol(folder.path()).await;
        let (server, base) = serve(folder.path(), moment);
        let client = Client { base, ..client };
        let bytes = footage(1, 2_600_000);
        let (first, rest) = bytes.split_at(1_300_000);
        // Twice, because some moments belong to a duplicate.
        let mut paths = Vec::new();
        let mut acknowledged = 0;
        for _ in 0..2 {
            let created = client.post().header("upload-length", bytes.len()).send().await;
            let Ok(created) = created else { break };
            paths.push(header(&created, "location"));
            acknowledged = 0;
            let path = paths.last().unwrap();
            let Ok(reply) = client.patch(path, 0, first.to_vec()).send().await else { break };
            assert_eq!(reply.status(), 204);
            acknowledged = first.len() as u64;
            let Ok(reply) = client.patch(path, acknowledged, rest.to_vec()).send().await else {
                break;
            };
            assert_eq!(reply.status(), 204);
            acknowledged = bytes.len() as u64;
        }
        dies(server).await;

        let world = World::open(folder.path(), limits()).await;
        let client = client.at(&world);
        let last = paths.last().unwrap();
        let offset = client.offset(last).await;
        assert!(
            offset >= acknowledged,
            "{moment}: {acknowledged} were acknowledged, {offset} are here"
        );
        for path in &paths {
            finish(&world, &client, path, &bytes).await;
        }
        assert_eq!(world.events("item.received").await, 1, "{moment}");
        assert_eq!(world.events("item.duplicate").await, paths.len() - 1, "{moment}");
        assert!(
            world.objects.uploads().await.unwrap().is_empty(),
            "{moment}: folders are left over"
        );
        let account = world.account(&client).await;
        assert_eq!(account.stored, bytes.len() as u64, "{moment}");
        assert_eq!(account.duplicate, (bytes.len() * (paths.len() - 1)) as u64, "{moment}");
        world.verify().await;
        world.close().await;
    }
}

/// One upload, sent in one request to a server that dies at `moment`; the client, and where the upload is.
async fn sent_until(folder: &Path, moment: &str, bytes: &[u8]) -> (Client, String) {
    let client = enrol(folder).await;
    let (server, base) = serve(folder, moment);
    let client = Client { base, ..client };
    let created = client.post().header("upload-length", bytes.len()).send().await.unwrap();
    let path = header(&created, "location");
    assert!(client.patch(&path, 0, bytes.to_vec()).send().await.is_err());
    dies(server).await;
    (client, path)
}

/// Whoever asks before anything was recovered: the last offset is shown with the receipt, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_shows_no_end_before_there_is_a_receipt() {
    for moment in ["upload-sealed", "seal-recorded", "object-complete", "command-submitted"] {
        let (folder, bytes) = (tempdir().unwrap(), footage(1, 700_000));
        let (client, path) = sent_until(folder.path(), moment, &bytes).await;
        let world = World::open_as_found(folder.path(), limits()).await;
        let client = client.at(&world);
        let head = client.head(&path).await;
        assert_eq!(head.status(), 200, "{moment}");
        if number(&head, "upload-offset") == bytes.len() as u64 {
            let receipt = client.receipt(&world, &head).await;
            assert_eq!(receipt.digests(), Some(Digests::of(&bytes)), "{moment}");
        }
        finish(&world, &client, &path, &bytes).await;
        world.verify().await;
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_finishes_what_nobody_comes_back_for() {
    let (folder, bytes) = (tempdir().unwrap(), footage(1, 700_000));
    let (client, path) = sent_until(folder.path(), "object-complete", &bytes).await;
    let world = World::open(folder.path(), limits()).await;
    assert_eq!(world.recovered.finished, 1, "the orphan was not adopted");
    assert_eq!(world.events("item.received").await, 1);
    let head = client.at(&world).head(&path).await;
    assert_eq!(client.at(&world).receipt(&world, &head).await.digests(), Some(Digests::of(&bytes)));
    world.verify().await;
    world.close().await;
}

/// An upload whose object was complete when the server died, while the same recording was stored from another upload:
/// the moments of a duplicate that has an object to undo.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_became_a_duplicate_is_undone_at_any_moment() {
    for moment in ["duplicate-submitted", "duplicate-undone", "duplicate-let-go", "receipt-stored"]
    {
        let folder = tempdir().unwrap();
        let client = enrol(folder.path()).await;
        let (server, base) = serve(folder.path(), "object-complete");
        let client = Client { base, ..client };
        let bytes = footage(1, 700_000);
        let created = client.post().header("upload-length", bytes.len()).send().await.unwrap();
        let path = header(&created, "location");
        assert!(client.patch(&path, 0, bytes.clone()).send().await.is_err());
        dies(server).await;
        let world = World::open_as_found(folder.path(), limits()).await;
        client.at(&world).send(&bytes, "").await;
        world.close().await;

        dies(start(folder.path(), moment)).await;

        let world = World::open(folder.path(), limits()).await;
        let client = client.at(&world);
        let reply = finish(&world, &client, &path, &bytes).await;
        assert_eq!(header(&reply, "exhibit-state"), "duplicate", "{moment}");
        assert_eq!(world.events("item.duplicate").await, 1, "{moment}");
        world.account(&client).await;
        world.verify().await;
        world.close().await;
    }
}

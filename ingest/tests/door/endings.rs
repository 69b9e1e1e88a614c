//! How uploads end: stored, duplicate, quarantined; with or without a manifest; and that evidence stays.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chain_of_custody::claim::{GivenName, Label};
use chain_of_custody::digest::Digests;
use chain_of_custody::manifest::DockManifest;
use chain_of_custody::note::{SignedNote, Signer as _, SigningKey};
use chain_of_custody::receipt::{ProgressReceipt, QuarantineNotice, ReceiptText};
use ingest::receive::{Claims, Source};
use reqwest::Method;
use storage::records::Outcome;
use tempfile::tempdir;

use crate::world::{Client, World, footage, header, limits, metadata};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_recording_twice_is_one_item_and_the_same_bytes_elsewhere_another() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let (dock, other) = (world.enrol("dock").await, world.enrol("other").await);
    let bytes = footage(1, 200_000);
    let claims = metadata(&[("camera", "AXW100"), ("recording", "R1")]);
    let first = dock.send(&bytes, &claims).await;
    let again = dock.send(&bytes, &claims).await;
    assert_eq!(header(&again, "exhibit-item"), header(&first, "exhibit-item"));
    assert_eq!(header(&again, "exhibit-state"), "duplicate");
    let receipt = dock.receipt(&world, &again).await;
    assert_eq!(receipt.entry.kind.as_str(), "item.duplicate");
    assert_eq!(receipt.digests(), Some(Digests::of(&bytes)));

    let elsewhere = other.send(&bytes, &claims).await;
    assert_ne!(header(&elsewhere, "exhibit-item"), header(&first, "exhibit-item"));
    assert_eq!(header(&elsewhere, "exhibit-state"), "stored", "a reply told what others hold");
    let camera = dock.send(&bytes, &metadata(&[("camera", "AXW200"), ("recording", "R1")])).await;
    assert_eq!(header(&camera, "exhibit-state"), "stored");

    let peeked = other.get(&header(&first, "exhibit-receipt")).await;
    assert_eq!(peeked.status(), 404, "another device's receipt");
    let peeked = other.get(&header(&again, "exhibit-receipt")).await;
    assert_eq!(peeked.status(), 404, "another device's duplicate");
    assert_eq!((world.events("item.received").await, world.events("item.duplicate").await), (3, 1));
    let account = world.account(&dock).await;
    assert_eq!((account.stored, account.duplicate), (400_000, 200_000));
    world.verify().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_of_one_recording_are_one_item_and_one_duplicate() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let dock = world.enrol("dock").await;
    for round in 0..5 {
        let bytes = footage(round, 300_000);
        let (a, b) = tokio::join!(dock.send(&bytes, ""), dock.send(&bytes, ""));
        assert_eq!(header(&a, "exhibit-item"), header(&b, "exhibit-item"));
        let mut states = [header(&a, "exhibit-state"), header(&b, "exhibit-state")];
        states.sort();
        assert_eq!(states, ["duplicate", "stored"]);
    }
    assert_eq!((world.events("item.received").await, world.events("item.duplicate").await), (5, 5));
    world.account(&dock).await;
    world.verify().await;
    world.close().await;
}

fn agent() -> SigningKey {
    SigningKey::from_seed("dock-1.test.example", [5; 32]).unwrap()
}

fn manifest(bytes: &[u8]) -> DockManifest {
    DockManifest {
        name: GivenName::new("clip.mp4").unwrap(),
        size_bytes: bytes.len() as u64,
        digests: Digests::of(bytes),
        camera: Some(Label::new("AXW100").unwrap()),
        recording: Some(Label::new("R7").unwrap()),
        captured_claimed: None,
        agent_seq: 3,
        source_seq: None,
    }
}

async fn send_signed(client: &Client, bytes: &[u8], note: &str) -> reqwest::Response {
    let path = client.create(bytes.len() as u64, "").await;
    let request =
        client.patch(&path, 0, bytes.to_vec()).header("exhibit-manifest", BASE64.encode(note));
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status(), 204);
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_holds_is_in_the_receipt_and_one_that_fails_is_quarantine() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let dock = world.enrol("dock").await;
    let key = |text: String| dock.request(Method::PUT, "/api/v1/device/key").body(text).send();
    let bytes = footage(1, 100_000);
    let note = manifest(&bytes).sign(&agent()).unwrap().to_string();

    let unknown = send_signed(&dock, &bytes, &note).await;
    assert_eq!(header(&unknown, "exhibit-state"), "quarantined", "no key was registered");

    assert_eq!(key(agent().vkey().to_string()).await.unwrap().status(), 204);
    assert_eq!(key(agent().vkey().to_string()).await.unwrap().status(), 204, "the same again");
    let other_key = SigningKey::from_seed("dock-1.test.example", [6; 32]).unwrap();
    assert_eq!(key(other_key.vkey().to_string()).await.unwrap().status(), 409);
    assert_eq!(key("nonsense".into()).await.unwrap().status(), 400);
    let other = world.enrol("other").await;
    let pretends = other.request(Method::PUT, "/api/v1/device/key");
    let pretends = pretends.body(other_key.vkey().to_string()).send().await.unwrap();
    assert_eq!(pretends.status(), 409, "a device calls itself as another dock does");

    let good = send_signed(&dock, &bytes, &note).await;
    let receipt = dock.receipt(&world, &good).await;
    assert_eq!(receipt.value("state"), Some("stored"));
    assert_eq!(receipt.value("camera"), Some("AXW100"));
    assert_eq!(receipt.value("agent-seq"), Some("3"));
    assert_eq!(receipt.value("read-by"), Some("dock-1.test.example"));
    let text =
        dock.get(&header(&good, "exhibit-receipt").replace("/receipt", "/receipt.txt")).await;
    let text = SignedNote::parse(text.text().await.unwrap().as_bytes()).unwrap();
    let signer = SigningKey::from_seed("receipt.test.example", [2; 32]).unwrap().vkey();
    let text = ReceiptText::verify(&text, std::slice::from_ref(&signer)).unwrap();
    assert!(text.agrees_with(&receipt));

    let other_bytes = footage(2, 100_000);
    for (name, sent, note, code) in [
        ("bytes_differ", &other_bytes, Some(note.clone()), "manifest-differs"),
        (
            "signature_wrong",
            &bytes,
            Some(note.replace("clip.mp4", "clip.mp3")),
            "manifest-signature",
        ),
        (
            "another_key",
            &bytes,
            Some(
                manifest(&bytes)
                    .sign(&SigningKey::from_seed("x", [8; 32]).unwrap())
                    .unwrap()
                    .to_string(),
            ),
            "manifest-key-unknown",
        ),
        ("no_note", &bytes, Some("hello".to_owned()), "manifest-malformed"),
        ("left_out", &bytes, None, "manifest-missing"),
    ] {
        let reply = match note {
            Some(note) => send_signed(&dock, sent, &note).await,
            None => dock.send(sent, "").await,
        };
        assert_eq!(header(&reply, "exhibit-state"), "quarantined", "{name}");
        let notice = dock.get(&header(&reply, "exhibit-receipt")).await.text().await.unwrap();
        let notice = SignedNote::parse(notice.as_bytes()).unwrap();
        let notice = QuarantineNotice::verify(&notice, std::slice::from_ref(&signer)).unwrap();
        assert_eq!(notice.reason_code.as_str(), code, "{name}");
        assert_eq!(notice.digests, Digests::of(sent), "{name}");
    }
    let account = world.account(&dock).await;
    assert_eq!((account.stored, account.quarantined), (100_000, 600_000));
    world.verify().await;
    world.close().await;
}

/// The entry was written and the answer not yet kept; what is found when it is taken up again is another thing.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_the_answer_whatever_is_found_later() {
    let folder = tempdir().unwrap();
    let bytes = footage(1, 100_000);
    let note = manifest(&bytes).sign(&agent()).unwrap().to_string();
    let (client, path) = crate::kills::dies_after_its_entry(folder.path(), &bytes, &note).await;

    let world = World::open_as_found(folder.path(), limits()).await;
    let client = client.at(&world);
    let key = agent().vkey().to_string();
    let key = client.request(Method::PUT, "/api/v1/device/key").body(key).send().await.unwrap();
    assert_eq!(key.status(), 204);
    let stored = send_signed(&client, &bytes, &note).await;
    assert_eq!(header(&stored, "exhibit-state"), "stored");

    let head = client.head(&path).await;
    assert_eq!(head.status(), 200);
    assert_eq!(header(&head, "exhibit-state"), "quarantined");
    assert_ne!(header(&head, "exhibit-item"), header(&stored, "exhibit-item"));
    assert_eq!(world.events("item.duplicate").await, 0);
    world.account(&client).await;
    world.verify().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_signed_and_evidence_stays() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let (dock, other) = (world.enrol("dock").await, world.enrol("other").await);
    let bytes = footage(1, 2_500_000);
    let path = dock.create(bytes.len() as u64, "").await;
    dock.patch(&path, 0, bytes[..1_200_000].to_vec()).send().await.unwrap();
    let progress = format!("{path}/progress");
    let note = dock.get(&progress).await.text().await.unwrap();
    let note = SignedNote::parse(note.as_bytes()).unwrap();
    let signer = SigningKey::from_seed("receipt.test.example", [2; 32]).unwrap().vkey();
    let receipt = ProgressReceipt::verify(&note, &[signer]).unwrap();
    assert_eq!(receipt.held_bytes, 1_200_000);
    assert_eq!(receipt.digests, Digests::of(&bytes[..1_200_000]));
    for (name, request) in [
        ("progress", other.request(Method::GET, &progress)),
        ("head", other.request(Method::HEAD, &path)),
        ("delete", other.request(Method::DELETE, &path)),
        ("patch", other.patch(&path, 1_200_000, "x")),
    ] {
        assert_eq!(
            request.send().await.unwrap().status(),
            404,
            "{name} of another device's upload"
        );
    }
    dock.patch(&path, 1_200_000, bytes[1_200_000..].to_vec()).send().await.unwrap();
    let deleted = dock.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(deleted.status(), 403, "a client took evidence back");
    world.verify().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workstation_sends_without_tus() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let bytes = footage(1, 3_000_001);
    let source = Source::workstation("jsmith");
    let claims = Claims { name: Some("export.avi".into()), ..Claims::default() };
    let take = || {
        world.receiver.receive_stream(&source, claims.clone(), std::io::Cursor::new(bytes.clone()))
    };
    let first = take().await.unwrap();
    assert_eq!((first.ending.outcome, first.size_bytes), (Outcome::Stored, 3_000_001));
    let second = take().await.unwrap();
    assert_eq!(second.ending.outcome, Outcome::Duplicate);
    assert_eq!(second.ending.item, first.ending.item);
    let received = &world.openings("item.received").await[0];
    assert_eq!(received["device"], "-");
    assert_eq!(received["by"], "os-user:jsmith");
    assert_eq!(received["name"], "export.avi");
    world.verify().await;
    world.close().await;
}

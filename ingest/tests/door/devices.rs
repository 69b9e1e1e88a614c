//! Devices and their tokens, and refusals in the ledger.

use std::time::Duration;

use chain_of_custody::command::Command;
use chain_of_custody::event::EventKind;
use chain_of_custody::ids::EventId;
use ingest::devices;
use tempfile::tempdir;

use crate::world::{Client, World, footage, header, limits};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_works_until_it_is_rotated_or_revoked() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let old = world.enrol("dock").await;
    let path = old.create(10, "").await;
    let enrolled = devices::rotate(&world.receiver, old.device, "os-user:test").await.unwrap();
    let token = enrolled.token.reveal();
    assert!(token.starts_with("exhibit_"), "no command takes a token for one of its options");
    let new = Client::of(&world.base, &enrolled);
    assert_eq!(old.head(&path).await.status(), 403);
    assert_eq!(new.head(&path).await.status(), 200);
    devices::revoke(&world.receiver, new.device, "os-user:test").await.unwrap();
    devices::revoke(&world.receiver, new.device, "os-user:test").await.unwrap();
    assert_eq!(new.head(&path).await.status(), 403);
    assert!(devices::rotate(&world.receiver, new.device, "os-user:test").await.is_err());
    assert_eq!(
        (world.events("device.enrolled").await, world.events("device.revoked").await),
        (1, 1)
    );
    world.verify().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_what_is_under_way() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let dock = world.enrol("dock").await;
    let bytes = footage(1, 600_000);
    let path = dock.create(bytes.len() as u64, "").await;
    let (first, rest) = (bytes[..300_000].to_vec(), bytes[300_000..].to_vec());
    let (let_rest_come, wait) = tokio::sync::oneshot::channel();
    let body = futures_util::stream::once(async { Ok::<_, std::io::Error>(first) });
    let rest = futures_util::stream::once(async move {
        wait.await.unwrap();
        Ok(rest)
    });
    let body = reqwest::Body::wrap_stream(futures_util::StreamExt::chain(body, rest));
    let under_way = tokio::spawn(dock.patch(&path, 0, body).send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    devices::revoke(&world.receiver, dock.device, "os-user:test").await.unwrap();
    let_rest_come.send(()).unwrap();
    let reply = under_way.await.unwrap().unwrap();
    assert_eq!(reply.status(), 403, "{reply:?}");
    assert!(reply.text().await.unwrap().contains("device-revoked"));
    assert_eq!(world.events("item.received").await, 0);
    // What came is not thrown away either: it waits, and is counted.
    assert_eq!(world.account(&dock).await.in_flight, 600_000);
    world.verify().await;
    world.close().await;
}

/// The entry of a revocation may come between the last look at the token and the entry of what was sent.
#[tokio::test(flavor = "multi_thread")]
async fn revoked_before_the_entry_is_quarantine_and_no_receipt() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let dock = world.enrol("dock").await;
    let held = footage(1, 50_000);
    dock.send(&held, "").await;
    let event = EventId::from_uuid(uuid::Uuid::now_v7());
    let revoked = Command::new(EventKind::DeviceRevoked, event).touching(dock.device);
    world.receiver.ledger().submit(revoked).await.unwrap();
    // Its token is good still: the revocation takes it next.
    for bytes in [footage(2, 60_000), held] {
        let reply = dock.send(&bytes, "").await;
        assert_eq!(header(&reply, "exhibit-state"), "quarantined");
        let notice = dock.get(&header(&reply, "exhibit-receipt")).await.text().await.unwrap();
        assert!(
            notice.contains("quarantine notice") && notice.contains("device-revoked"),
            "{notice}"
        );
    }
    let account = world.account(&dock).await;
    assert_eq!((account.stored, account.quarantined, account.duplicate), (50_000, 110_000, 0));
    world.verify().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_recorded_and_noise_does_not_flood_the_ledger() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let mut stranger = world.enrol("dock").await;
    stranger.token = "not-a-token".into();
    for _ in 0..50 {
        assert_eq!(stranger.head("/tus/x").await.status(), 401);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.events("upload.refused").await, 1, "one for each, or none");
    let folder_of = world.receiver.clone();
    folder_of.stop().await;
    let refused = world.openings("upload.refused").await;
    let counts: Vec<_> = refused.iter().map(|fields| fields["count"].as_str()).collect();
    assert_eq!(counts, ["1", "49"]);
    assert_eq!(refused[0]["reason-code"], "unknown-token");
    assert_eq!(refused[0]["peer"], "127.0.0.1");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_there_with_its_fingerprint() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    let reply = client.get("/api/v1/policy").await;
    assert_eq!(header(&reply, "exhibit-fingerprint"), world.policy().fingerprint().to_string());
    assert_eq!(reply.bytes().await.unwrap(), world.policy().as_bytes());
    client.send(&footage(1, 10), "").await;
    world.close().await;
}

//! Devices and their tokens, and refusals in the ledger.

use std::time::Duration;

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

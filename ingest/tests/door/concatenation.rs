//! tus concatenation: partials composed into one item without copying.

use chain_of_custody::digest::Digests;
use reqwest::Method;
use tempfile::tempdir;

use crate::world::{Client, World, footage, header, limits};

async fn partial(client: &Client, bytes: &[u8]) -> String {
    let request =
        client.post().header("upload-length", bytes.len()).header("upload-concat", "partial");
    let path = header(&request.send().await.unwrap(), "location");
    let reply = client.patch(&path, 0, bytes.to_vec()).send().await.unwrap();
    assert_eq!(reply.status(), 204);
    assert!(reply.headers().get("exhibit-item").is_none(), "a partial is no item");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn partials_become_one_item() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    let bytes = footage(1, 4_000_000);
    let (one, rest) = bytes.split_at(1_234_567);
    let (two, three) = rest.split_at(1_048_576);
    let (a, b, c) =
        tokio::join!(partial(&client, one), partial(&client, two), partial(&client, three));
    let compose =
        |list: String| client.post().header("upload-concat", format!("final;{list}")).send();
    let last = compose(format!("{a} {} {c}", client.base.clone() + &b)).await.unwrap();
    assert_eq!(last.status(), 201);
    assert_eq!(client.receipt(&world, &last).await.digests(), Some(Digests::of(&bytes)));
    let path = header(&last, "location");
    let head = client.head(&path).await;
    assert_eq!(header(&head, "upload-concat"), format!("final;{a} {b} {c}"));
    assert_eq!(header(&head, "upload-length"), "4000000");
    assert_eq!(client.patch(&path, 4_000_000, "").send().await.unwrap().status(), 403);
    let again = compose(format!("{a} {b}")).await.unwrap();
    assert_eq!(again.status(), 409, "partials were composed twice");
    let account = world.account(&client).await;
    assert_eq!((account.begun, account.stored), (4_000_000, 4_000_000));
    world.verify().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_finished_partials_of_the_same_device_and_the_rest_is_abandoned() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let (client, other) = (world.enrol("dock").await, world.enrol("other").await);
    let theirs = partial(&other, &footage(1, 1000)).await;
    let whole = client.create(10, "").await;
    let open = client.post().header("upload-length", 10).header("upload-concat", "partial");
    let open = header(&open.send().await.unwrap(), "location");
    for (name, list, status) in
        [("another_device", &theirs, 404), ("whole", &whole, 409), ("unfinished", &open, 409)]
    {
        let reply =
            client.post().header("upload-concat", format!("final;{list}")).send().await.unwrap();
        assert_eq!(reply.status(), status, "{name}");
    }
    let mine = partial(&client, &footage(2, 5000)).await;
    assert_eq!(world.account(&client).await.in_flight, 5000);
    assert_eq!(client.request(Method::DELETE, &mine).send().await.unwrap().status(), 204);
    assert_eq!(world.account(&client).await.abandoned, 5000);
    world.verify().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_concatenation_of_a_known_recording_is_a_duplicate() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    let bytes = footage(1, 100_000);
    client.send(&bytes, "").await;
    let a = partial(&client, &bytes[..50_000]).await;
    let b = partial(&client, &bytes[50_000..]).await;
    let last =
        client.post().header("upload-concat", format!("final;{a} {b}")).send().await.unwrap();
    assert_eq!(header(&last, "exhibit-state"), "duplicate");
    assert!(world.objects.uploads().await.unwrap().is_empty(), "bytes of a duplicate stay");
    let account = world.account(&client).await;
    assert_eq!((account.stored, account.duplicate), (100_000, 100_000));
    world.verify().await;
    world.close().await;
}

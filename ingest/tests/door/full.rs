//! A disk that fills up in the middle of a transfer: a real one, mounted for the test. Mounting needs root.

use bytes::Bytes;
use chain_of_custody::digest::Digests;
use futures_util::stream;
use reqwest::{Body, Method};
use tempfile::tempdir;
use test_machine::disk::SmallDisk;

use crate::world::{World, footage, limits};

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_in_the_middle_says_507_and_goes_on_when_there_is_room() {
    let folder = tempdir().unwrap();
    let _disk = SmallDisk::mount(&folder.path().join("objects"), "24m");
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    // What does not fit any more is less than a door drains, so that the client surely hears the answer.
    let bytes = footage(1, 36_000_000);
    let created = client.post().header("upload-defer-length", 1).send().await.unwrap();
    let path = crate::world::header(&created, "location");
    let first = client.patch(&path, 0, bytes[..3_000_000].to_vec()).send().await.unwrap();
    assert_eq!(first.status(), 204);

    // Of unknown length, so that nobody can refuse it before the disk is full.
    let pieces: Vec<_> = bytes[3_000_000..].chunks(500_000).map(Bytes::copy_from_slice).collect();
    let body = Body::wrap_stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)));
    let full = client.patch(&path, 3_000_000, body).send().await.unwrap();
    assert_eq!(full.status(), 507, "{full:?}");
    assert!(full.text().await.unwrap().contains("store-full"));
    let offset = client.offset(&path).await as usize;
    assert!((3_000_000..24 << 20).contains(&offset), "{offset}");

    let other = client.create(1_000_000, "").await;
    let refused = client.patch(&other, 0, bytes[..1_000_000].to_vec()).send().await;
    let refused = refused.unwrap().status();
    assert!(refused == 507 || refused == 204, "{refused}: full, or room was made");

    let ended = client.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    let small = &bytes[..2_000_000];
    let stored = client.send(small, "").await;
    assert_eq!(client.receipt(&world, &stored).await.digests(), Some(Digests::of(small)));
    world.account(&client).await;
    world.verify().await;
    world.close().await;
}

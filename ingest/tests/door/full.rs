//! A disk that fills up in the middle of a transfer: a real one, mounted for the test. Mounting needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use chain_of_custody::digest::Digests;
use futures_util::stream;
use reqwest::{Body, Method};
use tempfile::tempdir;

use crate::world::{World, footage, limits};

/// A file system in memory, of a size, as long as it lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where we may not mount anything because we are not root.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(at)
            .output()
            .unwrap();
        if mount.status.success() {
            return Some(Self(at.to_owned()));
        }
        let why = String::from_utf8_lossy(&mount.stderr);
        let root = rustix::process::geteuid().is_root();
        assert!(
            !root,
            "we are root and a small disk cannot be mounted, so this is not tested: {why}"
        );
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a file that is still open must not keep the mount for ever.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_in_the_middle_says_507_and_goes_on_when_there_is_room() {
    let folder = tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(&folder.path().join("objects"), "24m") else { return };
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    let bytes = footage(1, 60_000_000);
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

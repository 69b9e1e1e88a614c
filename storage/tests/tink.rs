//! Google Tink reads what we write (docs/formats/objects-at-rest.md), and refuses what was changed.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bytes::Bytes;
use chain_of_custody::digest::{Blake3, ContentHasher};
use chain_of_custody::ids::UploadId;
use storage::objects::{Kek, ObjectName, ObjectStore, StoredObject};
use zeroize::Zeroizing;

const FORCE_KEY: [u8; 32] = [0x5A; 32];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn python() -> PathBuf {
    let tools = std::env::var_os("EXHIBIT_TOOLS").map(PathBuf::from);
    let python = tools.unwrap_or_else(|| workspace().join(".tools")).join("venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make setup`", python.display());
    python
}

fn tink(purpose: &str, files: &[PathBuf]) -> Output {
    let script = workspace().join("tests/judges/tink_read.py");
    let mut tink = Command::new(python())
        .arg(script)
        .arg(purpose)
        .args(files)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let key = FORCE_KEY.map(|byte| format!("{byte:02x}")).concat();
    tink.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    tink.wait_with_output().unwrap()
}

fn plaintext(purpose: &str, files: &[PathBuf]) -> Vec<u8> {
    let output = tink(purpose, files);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

struct Room {
    folder: tempfile::TempDir,
    store: ObjectStore,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kek = Kek::new(Zeroizing::new(FORCE_KEY));
        let store = ObjectStore::open(folder.path(), kek).unwrap();
        Self { folder, store }
    }

    /// Written, made durable in the middle, and taken up again after more had been written: two parts, one of them
    /// closed at a segment's end.
    async fn interrupted(&self, bytes: &[u8]) -> StoredObject {
        let upload = UploadId::from_uuid(uuid::Uuid::now_v7());
        let name = "originals/interrupted".parse().unwrap();
        let mut writer = self.store.begin(upload, name).await.unwrap();
        let mut hasher = ContentHasher::new();
        let (before, after) = bytes.split_at(bytes.len() * 2 / 3);
        hasher.update(before);
        writer.write(Bytes::copy_from_slice(before)).await.unwrap();
        let state = writer.persist(&hasher.state()).await.unwrap();
        hasher.update(&[0; 2_500_000]);
        writer.write(Bytes::from(vec![0; 2_500_000])).await.unwrap();
        let never_stored = writer.persist(&hasher.state()).await.unwrap();
        assert!(never_stored.size_bytes() > state.size_bytes());
        drop(writer);
        let (mut writer, _) = self.store.resume(state).await.unwrap();
        writer.write(Bytes::copy_from_slice(after)).await.unwrap();
        self.complete(writer.seal().await.unwrap(), "originals/interrupted", bytes).await
    }

    async fn put(&self, name: &str, bytes: &[u8]) -> StoredObject {
        let upload = UploadId::from_uuid(uuid::Uuid::now_v7());
        let mut writer = self.store.begin(upload, name.parse().unwrap()).await.unwrap();
        writer.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        self.complete(writer.seal().await.unwrap(), name, bytes).await
    }

    async fn complete(
        &self,
        sealed: storage::objects::SealedUpload,
        name: &str,
        bytes: &[u8],
    ) -> StoredObject {
        let name: ObjectName = name.parse().unwrap();
        self.store.complete(sealed, name, Blake3::of(bytes)).await.unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self, object: &StoredObject) -> Vec<PathBuf> {
        let files = object.parts.iter().flat_map(|part| {
            [self.file(&format!("keys/{}", part.file)), self.file(part.file.as_str())]
        });
        files.collect()
    }
}

fn sample(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

#[tokio::test]
async fn tink_reads_objects_outboards_and_small_objects() {
    let room = Room::new();
    // The empty file, a short one, and those around the ends of the first and second segment.
    for size in [0, 1, 1_048_519, 1_048_520, 1_048_521, 2_097_080, 2_097_081, 3_000_000] {
        let bytes = sample(size);
        let object = room.put(&format!("originals/{size}"), &bytes).await;
        let files = room.files(&object);
        assert!(plaintext("exhibit/object/v1", &files) == bytes, "{size} bytes");
        let outboard = [files[0].clone(), room.file(&format!("{}.obao", object.name))];
        let values = plaintext("exhibit/outboard/v1", &outboard);
        assert_eq!(values.len(), size.div_ceil(65_536).max(1) * 32);
        if size <= 65_536 {
            assert_eq!(values, Blake3::of(&bytes).as_bytes());
        }
    }
    room.store.put_sealed("openings/l/000", "opened").await.unwrap();
    let small = [room.file("keys/openings/l/000"), room.file("openings/l/000")];
    assert_eq!(plaintext("exhibit/small/v1 openings/l/000", &small), b"opened");
    assert!(!tink("exhibit/small/v1 openings/l/001", &small).status.success(), "another name");
}

#[tokio::test]
async fn tink_reads_an_object_that_a_crash_left_in_two_parts() {
    let room = Room::new();
    let bytes = sample(4_000_000);
    let object = room.interrupted(&bytes).await;
    assert_eq!(object.parts.len(), 2);
    assert!(plaintext("exhibit/object/v1", &room.files(&object)) == bytes);
}

#[tokio::test]
async fn tink_refuses_what_was_changed() {
    let room = Room::new();
    let object = room.put("originals/a", &sample(1_500_000)).await;
    let files = room.files(&object);
    assert!(!tink("exhibit/outboard/v1", &files).status.success(), "another purpose");
    let mut bytes = std::fs::read(&files[1]).unwrap();
    bytes[1_200_000] ^= 1;
    std::fs::write(&files[1], bytes).unwrap();
    assert!(!tink("exhibit/object/v1", &files).status.success(), "a flipped bit");
}

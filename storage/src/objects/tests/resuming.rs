//! Durable offsets: whatever came after them, whoever goes on goes on exactly there.

use std::fs;

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn a_clean_stop_goes_on_in_the_same_part() {
    for at in edges() {
        let (room, bytes) = (Room::new(), sample(4_000_000));
        let mut upload = Upload::begin(&room.store).await;
        upload.write(&bytes[..at as usize]).await.unwrap();
        let state = upload.persist().await.unwrap();
        assert_eq!(state.size_bytes(), at);
        drop(upload);
        let upload = Upload::resume(&room.again(), &state).await.unwrap();
        assert_eq!(upload.writer.size_bytes(), at);
        let object = finish(&room, upload, &bytes).await;
        assert_eq!(object.parts.len(), 1, "offset {at}");
    }
}

/// After kill -9 with more bytes in the file than were acknowledged, the client may send other bytes: no nonce is used
/// twice, so a new part begins.
#[tokio::test]
async fn a_crash_after_more_bytes_goes_on_in_a_new_part_with_other_bytes() {
    for at in edges() {
        let room = Room::new();
        let bytes = sample(4_500_000);
        let mut upload = Upload::begin(&room.store).await;
        upload.write(&bytes[..at as usize]).await.unwrap();
        let state = upload.persist().await.unwrap();
        upload.write(&vec![0xEE; 2_500_000]).await.unwrap();
        if at % 2 == 0 {
            upload.seal().await.unwrap();
        } else {
            upload.persist().await.unwrap();
        }
        let before = ciphertexts(&room);
        for _crash_again_before_anything_is_persisted in 0..2 {
            let upload = Upload::resume(&room.again(), &state).await.unwrap();
            assert_eq!(upload.writer.size_bytes(), at);
        }
        let upload = Upload::resume(&room.again(), &state).await.unwrap();
        let object = finish(&room, upload, &bytes).await;
        let segments = Layout::segment_at(at.saturating_sub(1));
        let expected = if segments == 0 { 1 } else { 2 };
        assert_eq!(object.parts.len(), expected, "offset {at}");
        no_nonce_twice(&room, &object, &before);
    }
}

/// All segments that lay in the upload's folder, by stream header and number.
fn ciphertexts(room: &Room) -> Vec<(Vec<u8>, usize, Vec<u8>)> {
    let folder = fs::read_dir(room.path("uploads")).unwrap().next().unwrap().unwrap().path();
    segments(&fs::read(folder.join("part-0000")).unwrap())
}

fn segments(file: &[u8]) -> Vec<(Vec<u8>, usize, Vec<u8>)> {
    let header = file.get(..40).unwrap_or_default();
    file.chunks(SEGMENT_BYTES)
        .enumerate()
        .map(|(at, s)| (header.to_vec(), at, s.to_vec()))
        .collect()
}

/// Where a stream's segment changed, only the nonce's last flag may have: the end of what was acknowledged.
fn no_nonce_twice(room: &Room, object: &StoredObject, before: &[(Vec<u8>, usize, Vec<u8>)]) {
    for part in &object.parts {
        let after = segments(&fs::read(room.path(part.file.as_str())).unwrap());
        let last = after.len() - 1;
        for (header, at, segment) in after {
            let earlier = before.iter().find(|(h, a, _)| *h == header && *a == at);
            let Some((_, _, earlier)) = earlier else { continue };
            let was_last = earlier.len() < SEGMENT_BYTES;
            assert!(*earlier == segment || (at == last) != was_last, "segment {at} sealed twice");
        }
    }
}

/// The overwriting of a part's last segment may be cut by a power failure: the segment waits in a side file.
#[tokio::test]
async fn a_torn_close_is_done_again() {
    let (room, bytes) = (Room::new(), sample(4_000_000));
    let mut upload = Upload::begin(&room.store).await;
    upload.write(&bytes[..2_500_000]).await.unwrap();
    let state = upload.persist().await.unwrap();
    upload.write(&bytes[..1_500_000]).await.unwrap();
    upload.persist().await.unwrap();
    drop(upload);
    drop(Upload::resume(&room.again(), &state).await.unwrap());
    let folder = fs::read_dir(room.path("uploads")).unwrap().next().unwrap().unwrap().path();
    let mut part = fs::read(folder.join("part-0000")).unwrap();
    part[SEGMENT_BYTES + 5000..].fill(0);
    fs::write(folder.join("part-0000"), part).unwrap();
    let upload = Upload::resume(&room.again(), &state).await.unwrap();
    finish(&room, upload, &bytes).await;
}

#[tokio::test]
async fn what_was_durable_and_is_damaged_is_said() {
    for (file, expect) in [("part-0000", "length"), ("tail-a", "segment"), ("part-0000.key", "key")]
    {
        let room = Room::new();
        let mut upload = Upload::begin(&room.store).await;
        upload.write(&sample(1_300_000)).await.unwrap();
        let state = upload.persist().await.unwrap();
        drop(upload);
        let folder = fs::read_dir(room.path("uploads")).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(folder.join(file)).unwrap();
        if expect == "length" {
            bytes.truncate(1_000_000)
        } else {
            bytes[60] ^= 1
        }
        fs::write(folder.join(file), bytes).unwrap();
        let result = Upload::resume(&room.again(), &state).await.map(|_| ());
        let good = match expect {
            "key" => matches!(result, Err(StoreError::WrongKey { .. })),
            _ => matches!(result, Err(StoreError::Damaged { .. })),
        };
        assert!(good, "{file}: {result:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Writes, durable offsets, clean stops and crashes in any order: the object is the bytes.
    #[test]
    fn any_history_ends_in_the_same_object(
        size in 0_u64..3_500_000,
        steps in prop::collection::vec((1_usize..900_000, 0..5_u8), 1..14),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let (room, bytes) = (Room::new(), sample(size));
            let mut upload = Upload::begin(&room.store).await;
            let mut state = upload.persist().await.unwrap();
            for (length, then) in steps {
                let at = upload.writer.size_bytes() as usize;
                let end = bytes.len().min(at + length);
                upload.write(&bytes[at..end]).await.unwrap();
                match then {
                    0 => {}
                    1 => state = upload.persist().await.unwrap(),
                    2 => {
                        state = upload.persist().await.unwrap();
                        drop(upload);
                        upload = Upload::resume(&room.again(), &state).await.unwrap();
                    }
                    kind => {
                        if kind == 3 {
                            // Killed between the durable offset and the row that would know of it.
                            upload.persist().await.unwrap();
                        }
                        drop(upload);
                        upload = Upload::resume(&room.again(), &state).await.unwrap();
                        assert_eq!(upload.writer.size_bytes(), state.size_bytes());
                    }
                }
            }
            finish(&room, upload, &bytes).await;
        });
    }
}

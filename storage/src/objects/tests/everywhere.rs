//! What every place keeps where objects can lie: a folder, and a bucket of a real S3 store.

use rand::{RngExt as _, SeedableRng as _};

use super::*;

const NAME: &str = "originals/0193a7c2-0000-7000-8000-000000000003";

/// Each of these holds in a folder and in a bucket.
macro_rules! everywhere {
    ($($test:ident,)*) => {
        mod folder {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Room::new()).await;
            })*
        }
        mod bucket {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Room::in_bucket().await).await;
            })*
        }
        mod another {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Room::in_another_bucket().await).await;
            })*
        }
    };
}

everywhere! {
    objects_of_every_shape_read_back,
    ranges_beyond_the_object_are_refused,
    names_are_taken_once_and_completion_repeats,
    composed_without_copying_and_digested_as_one,
    small_things_plain_and_sealed,
    sealed_put_after_a_crash_that_left_only_its_key,
    a_bundle_that_grows_keeps_its_key,
    a_small_object_opens_under_its_own_name_alone,
    several_files_are_created_together_or_completed_later,
    disposal_destroys_the_key_first_and_may_be_repeated,
    the_state_before_the_last_one_resumes_too,
    discarded_uploads_leave_nothing_and_are_begun_once,
    lost_group_values_are_computed_again,
    any_history_ends_in_the_same_object,
    what_was_seen_is_replaced_once,
    an_upload_given_up_leaves_nothing,
    a_completed_object_is_undone,
    objects_are_brought_over_whole,
}

async fn objects_of_every_shape_read_back(room: Room) {
    for (at, size) in edges().into_iter().enumerate() {
        let bytes = sample(size);
        let object = room.put(&format!("originals/{at}"), &bytes).await;
        assert_eq!((object.parts.len(), object.size_bytes), (1, size));
        let file = room.raw(object.parts[0].file.as_str()).await;
        assert_eq!(object.parts[0].crc64nvme, Crc64::of(&file), "size {size}");
        let open = room.again().open_object(&object).await.unwrap();
        assert_eq!(read_all(&open).await.unwrap(), bytes, "size {size}");
    }
    assert!(room.store.uploads().await.unwrap().is_empty(), "nothing is left of the uploads");
}

async fn ranges_beyond_the_object_are_refused(room: Room) {
    let open = room.store.open_object(&room.put(NAME, &sample(100_000)).await).await.unwrap();
    assert!(open.read(0..0).await.unwrap().is_empty());
    assert!(open.read(100_000..100_000).await.unwrap().is_empty());
    for (start, end) in [(0, 100_001), (100_000, 100_001), (5, 4), (0, u64::MAX)] {
        let range = std::ops::Range { start, end };
        assert!(matches!(open.read(range).await, Err(StoreError::Range { .. })), "{start}..{end}");
    }
}

async fn names_are_taken_once_and_completion_repeats(room: Room) {
    let sealed = room.sealed(b"first").await;
    let (name, first) = (NAME.parse::<ObjectName>().unwrap(), Blake3::of(b"first"));
    let object = room.store.complete(sealed.clone(), name.clone(), first).await.unwrap();
    let later: SealedUpload =
        serde_json::from_str(&serde_json::to_string(&sealed).unwrap()).unwrap();
    assert_eq!(room.store.complete(later, name.clone(), first).await.unwrap(), object);
    let other = room.sealed(b"second").await;
    let taken = room.store.complete(other.clone(), name, Blake3::of(b"second")).await;
    assert!(matches!(taken, Err(StoreError::AlreadyExists { .. })), "{taken:?}");
    let wrong = room.store.complete(other, "originals/2".parse().unwrap(), first).await;
    assert!(matches!(wrong, Err(StoreError::DigestMismatch)), "{wrong:?}");
    let open = room.store.open_object(&object).await.unwrap();
    assert_eq!(read_all(&open).await.unwrap(), b"first");
}

async fn composed_without_copying_and_digested_as_one(room: Room) {
    let pieces = [sample(1_500_000), vec![], vec![7; 100], sample(SEGMENT_BYTES as u64 * 2)];
    let mut sealed = Vec::new();
    for piece in &pieces {
        let upload = room.sealed(piece).await;
        // Each was sealed by a request of its own and comes from the database.
        sealed.push(serde_json::from_str(&serde_json::to_string(&upload).unwrap()).unwrap());
    }
    let whole = pieces.concat();
    let composed = room.store.compose(sealed).await.unwrap();
    assert_eq!(composed.digests, Digests::of(&whole));
    let name: ObjectName = NAME.parse().unwrap();
    let object = room.store.complete(composed.sealed, name, composed.digests.blake3).await.unwrap();
    assert_eq!(object.parts.len(), 3, "the empty piece makes no part");
    let open = room.again().open_object(&object).await.unwrap();
    assert_eq!(read_all(&open).await.unwrap(), whole);
    assert_eq!(open.read(1_499_990..1_500_200).await.unwrap(), whole[1_499_990..1_500_200]);
    let mut body = room.store.begin_piece(new_id(), new_name()).await.unwrap();
    body.write(pieces[0].clone().into()).await.unwrap();
    let headed = body.seal_behind(b"head".as_slice().into()).await.unwrap();
    let composed = room.store.compose(vec![headed]).await.unwrap();
    let whole = [b"head", &pieces[0][..]].concat();
    assert_eq!(composed.digests, Digests::of(&whole), "what came last is first");
    let name: ObjectName = "derivatives/headed".parse().unwrap();
    let object = room.store.complete(composed.sealed, name, composed.digests.blake3).await.unwrap();
    assert_eq!(read_all(&room.store.open_object(&object).await.unwrap()).await.unwrap(), whole);
    let empty = room.store.compose(vec![room.sealed(b"").await, room.sealed(b"").await]).await;
    assert_eq!(empty.unwrap().digests, Digests::of(b""));
}

async fn small_things_plain_and_sealed(room: Room) {
    let store = &room.store;
    let tile = "ledger/ledger.essex.example/tile/0/000";
    store.put_new(tile, vec![1; 8192]).await.unwrap();
    store.put_new(tile, vec![1; 8192]).await.unwrap();
    let differs = store.put_new(tile, vec![2; 8192]).await;
    assert!(matches!(differs, Err(StoreError::AlreadyExists { .. })));
    assert_eq!(store.get(tile).await.unwrap(), vec![1; 8192]);
    let checkpoint = "ledger/ledger.essex.example/checkpoint";
    store.replace(checkpoint, "one").await.unwrap();
    store.replace(checkpoint, "two").await.unwrap();
    assert_eq!(store.get(checkpoint).await.unwrap(), "two");

    let openings = "openings/ledger.essex.example/000";
    store.put_sealed(openings, "PC Smith").await.unwrap();
    store.put_sealed(openings, "PC Smith").await.unwrap();
    let differs = store.put_sealed(openings, "PC Jones").await;
    assert!(matches!(differs, Err(StoreError::AlreadyExists { .. })));
    store.replace_sealed(openings, "erased").await.unwrap();
    store.replace_sealed("openings/ledger.essex.example/001", "new").await.unwrap();
    assert_eq!(room.again().get_sealed(openings).await.unwrap(), "erased");
    room.change(openings, |b| b[45] ^= 1).await;
    assert!(is_damage(&store.get_sealed(openings).await));
    store.remove(openings).await.unwrap();
    store.remove(openings).await.unwrap();
    assert!(matches!(store.get_sealed(openings).await, Err(StoreError::NotFound { .. })));

    for bad in ["../x", "keys/a", "uploads/a", "/etc/passwd", "a/../../b"] {
        assert!(matches!(store.get(bad).await, Err(StoreError::BadName { .. })), "{bad}");
    }
    let found = store.scan("ledger").await.unwrap();
    let names: Vec<&str> = found.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, [checkpoint, tile]);
    assert!(store.free_bytes().unwrap() > 0);
}

/// A crash between the key and the object of a sealed put leaves a key; the put succeeds all the same when repeated.
async fn sealed_put_after_a_crash_that_left_only_its_key(room: Room) {
    room.store.put_sealed("openings/l/0", "a").await.unwrap();
    room.remove_raw("openings/l/0").await;
    room.store.put_sealed("openings/l/0", "a").await.unwrap();
    assert_eq!(room.store.get_sealed("openings/l/0").await.unwrap(), "a");
}

/// All widths of a bundle have one key; it stays when one of them goes, and comes back when somebody takes it away.
async fn a_bundle_that_grows_keeps_its_key(room: Room) {
    let key = "keys/openings/l/000";
    room.store.put_sealed("openings/l/000.p/1", "a").await.unwrap();
    let first = room.raw(key).await;
    room.again().put_sealed("openings/l/000.p/2", "ab").await.unwrap();
    room.store.put_sealed("openings/l/000.p/3", "abc").await.unwrap();
    assert_eq!(room.raw(key).await, first);
    room.store.forget(vec!["openings/l/000.p/1".to_owned()]).await.unwrap();
    room.store.remove("openings/l/000.p/2").await.unwrap();
    assert_eq!(room.store.get_sealed("openings/l/000.p/3").await.unwrap(), "abc");
    room.remove_raw(key).await;
    room.store.put_sealed("openings/l/000", "abcd").await.unwrap();
    assert_eq!(room.again().get_sealed("openings/l/000.p/3").await.unwrap(), "abc");
    room.store.set_aside(vec!["openings/l/000".parse().unwrap()]).await.unwrap();
    assert_eq!(room.again().get_sealed("openings/l/000.p/3").await.unwrap(), "abc");
    assert!(!room.raw("keys/aside/openings/l/000").await.is_empty());
}

/// Two small objects that change places with their keys open under neither name.
async fn a_small_object_opens_under_its_own_name_alone(room: Room) {
    let (a, b) = ("openings/l/0", "openings/l/1");
    room.store.put_sealed(a, "a").await.unwrap();
    room.store.put_sealed(b, "b").await.unwrap();
    for folder in ["", "keys/"] {
        let (a, b) = (format!("{folder}{a}"), format!("{folder}{b}"));
        let (of_a, of_b) = (room.raw(&a).await, room.raw(&b).await);
        room.put_raw(&a, of_b).await;
        room.put_raw(&b, of_a).await;
    }
    assert!(is_damage(&room.store.get_sealed(a).await));
    assert!(is_damage(&room.store.get_sealed(b).await));
}

/// One name that cannot be made is said, and a repeat completes.
async fn several_files_are_created_together_or_completed_later(room: Room) {
    let new = |name: &str, bytes: &'static str, sealed| NewFile {
        name: name.parse().unwrap(),
        bytes: bytes.into(),
        sealed,
    };
    let mut files: Vec<_> =
        (0..40).map(|n| new(&format!("ledger/l/tile/{n}"), "hashes", false)).collect();
    files.push(new("openings/l/0", "opened", true));
    room.store.put_new("ledger/l/tile/7", "others").await.unwrap();
    let refused = room.store.create(files.clone()).await;
    assert!(matches!(refused, Err(StoreError::AlreadyExists { .. })));
    room.store.remove("ledger/l/tile/7").await.unwrap();
    room.store.create(files.clone()).await.unwrap();
    room.store.create(files).await.unwrap();
    assert_eq!(room.store.scan("ledger").await.unwrap().len(), 40);
    assert_eq!(room.store.get_sealed("openings/l/0").await.unwrap(), "opened");
    assert!(room.store.uploads().await.unwrap().is_empty());
}

async fn disposal_destroys_the_key_first_and_may_be_repeated(room: Room) {
    let object = room.put(NAME, b"footage").await;
    let outboard = format!("{NAME}.obao");
    let (kept, kept_outboard) = (room.raw(NAME).await, room.raw(&outboard).await);
    room.store.dispose(&object).await.unwrap();
    room.store.dispose(&object).await.unwrap();
    assert!(room.store.scan("originals").await.unwrap().is_empty());
    room.put_raw(NAME, kept).await;
    room.put_raw(&outboard, kept_outboard).await;
    let restored_from_a_backup = room.store.open_object(&object).await;
    assert!(matches!(restored_from_a_backup, Err(StoreError::KeyGone { .. })));
}

async fn the_state_before_the_last_one_resumes_too(room: Room) {
    let bytes = sample(3_300_000);
    let mut upload = Upload::begin(&room.store).await;
    let mut states = Vec::new();
    for cut in bytes.chunks(700_000) {
        upload.write(cut).await.unwrap();
        states.push(upload.persist().await.unwrap());
    }
    drop(upload);
    let state = &states[states.len() - 2];
    let upload = Upload::resume(&room.again(), state).await.unwrap();
    assert_eq!(upload.writer.size_bytes(), state.size_bytes());
    finish(&room, upload, &bytes).await;
}

async fn discarded_uploads_leave_nothing_and_are_begun_once(room: Room) {
    let upload = Upload::begin(&room.store).await;
    let id = upload.writer.upload();
    assert!(matches!(
        room.store.begin(id, new_name()).await,
        Err(StoreError::AlreadyExists { .. })
    ));
    assert_eq!(room.store.uploads().await.unwrap(), [id]);
    upload.writer.discard().await.unwrap();
    room.store.discard(id).await.unwrap();
    assert!(room.store.uploads().await.unwrap().is_empty());
}

/// Group values damaged in the side file: the footage is whole, so completing reads it once more.
async fn lost_group_values_are_computed_again(room: Room) {
    let bytes = sample(1_000_000);
    let mut upload = Upload::begin(&room.store).await;
    upload.write(&bytes).await.unwrap();
    let state = upload.persist().await.unwrap();
    drop(upload);
    let groups = room.groups_of(state.upload());
    room.change(&groups, |b| b[50] ^= 1).await;
    let upload = Upload::resume(&room.again(), &state).await.unwrap();
    let (sealed, digests) = upload.seal().await.unwrap();
    assert!(sealed.outboard.is_none());
    let object = room.store.complete(sealed, NAME.parse().unwrap(), digests.blake3).await.unwrap();
    assert_eq!(read_all(&room.store.open_object(&object).await.unwrap()).await.unwrap(), bytes);
}

/// Writes, durable offsets, clean stops and crashes in any order, in pieces and parts of every size: the object is the
/// bytes.
async fn any_history_ends_in_the_same_object(room: Room) {
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for _ in 0..room.histories() {
        let bytes = sample(random.random_range(0..room.largest_bytes()));
        let mut upload = Upload::begin(&room.store).await;
        let mut state = upload.persist().await.unwrap();
        for _ in 0..random.random_range(1..12) {
            let at = upload.writer.size_bytes() as usize;
            let end = bytes.len().min(at + random.random_range(0..bytes.len() / 3 + 2));
            upload.write(&bytes[at..end]).await.unwrap();
            match random.random_range(0..5) {
                0 => {}
                1 => state = upload.persist().await.unwrap(),
                2 => {
                    state = upload.persist().await.unwrap();
                    upload = Upload::resume(&room.store, &state).await.unwrap();
                }
                3 => upload = Upload::resume(&room.again(), &state).await.unwrap(),
                _ => {
                    // Killed between the durable offset and the row that would know of it.
                    upload.persist().await.unwrap();
                    upload = Upload::resume(&room.again(), &state).await.unwrap();
                }
            }
            assert!(upload.writer.size_bytes() >= state.size_bytes());
        }
        let name = new_name();
        let at = upload.writer.size_bytes() as usize;
        upload.write(&bytes[at..]).await.unwrap();
        let (sealed, digests) = upload.seal().await.unwrap();
        let object = room.store.complete(sealed, name, digests.blake3).await.unwrap();
        let open = room.again().open_object(&object).await.unwrap();
        assert_eq!(read_all(&open).await.unwrap(), bytes);
    }
    assert!(room.store.uploads().await.unwrap().is_empty(), "nothing is left of the uploads");
}

/// Of several who replace what they have seen, one does, and nobody who has seen something else.
async fn what_was_seen_is_replaced_once(room: Room) {
    let name = "ledger/l/checkpoint";
    room.store.replace_seen(name, None, "one").await.unwrap();
    let again = room.store.replace_seen(name, None, "other").await;
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })), "{again:?}");
    room.store.replace_seen(name, Some("one".into()), "two").await.unwrap();
    let stale = room.store.replace_seen(name, Some("one".into()), "three").await;
    assert!(matches!(stale, Err(StoreError::AlreadyExists { .. })), "{stale:?}");
    assert_eq!(room.store.get(name).await.unwrap(), "two");
}

/// Whatever was begun, sealed or made of parts goes with its upload, and nobody else's does.
async fn an_upload_given_up_leaves_nothing(room: Room) {
    let kept = room.put("originals/kept", &sample(100_000)).await;
    let mut upload = Upload::begin(&room.store).await;
    upload.write(&sample(9_500_000)).await.unwrap();
    let state = upload.persist().await.unwrap();
    upload.write(&sample(1_000)).await.unwrap();
    let mut upload = Upload::resume(&room.again(), &state).await.unwrap();
    upload.write(&sample(9_500_000)).await.unwrap();
    let id = upload.writer.upload();
    let (sealed, digests) = upload.seal().await.unwrap();
    let name = new_name();
    room.store.undo_complete(sealed.clone(), name.clone()).await.unwrap();
    room.store.undo_complete(sealed, name).await.unwrap();
    room.store.discard(id).await.unwrap();
    room.store.discard(id).await.unwrap();
    let left = room.store.scan("originals").await.unwrap();
    let names: Vec<&str> = left.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["originals/kept", "originals/kept.obao"], "{digests:?}");
    room.store.read_through(&kept).await.unwrap();
}

/// A duplicate is undone after it was completed too.
async fn a_completed_object_is_undone(room: Room) {
    let sealed = room.sealed(&sample(200_000)).await;
    let (name, blake3) = (new_name(), Blake3::of(&sample(200_000)));
    room.store.complete(sealed.clone(), name.clone(), blake3).await.unwrap();
    room.store.undo_complete(sealed, name).await.unwrap();
    assert!(room.store.scan("originals").await.unwrap().is_empty());
}

/// A whole object brought over reads back there, again and again, and a damaged one is not brought over.
async fn objects_are_brought_over_whole(room: Room) {
    let from = Room::new();
    let bytes = sample(9_000_000);
    let object = from.put("originals/moved", &bytes).await;
    let copied = room.store.copy_object(&from.store, &object).await.unwrap();
    assert!(matches!(copied, Copied::Now { file_bytes } if file_bytes > 9_000_000), "{copied:?}");
    assert_eq!(room.store.copy_object(&from.store, &object).await.unwrap(), Copied::Before);
    room.store.glance(&object).await.unwrap();
    let open = room.again().open_object(&object).await.unwrap();
    assert_eq!(read_all(&open).await.unwrap(), bytes);
    let damaged = from.put("originals/damaged", &bytes).await;
    from.change("originals/damaged", |b| b[5_000_000] ^= 1).await;
    let refused = room.store.copy_object(&from.store, &damaged).await;
    assert!(is_damage(&refused), "{refused:?}");
    assert!(room.store.glance(&damaged).await.is_err());
    assert_eq!(room.store.copy_object(&from.store, &object).await.unwrap(), Copied::Before);
}

//! Reads, ranges, and every way of tampering that has a name.

use std::fs;

use proptest::prelude::*;

use super::*;

const NAME: &str = "originals/0193a7c2-0000-7000-8000-000000000001";

#[tokio::test]
async fn objects_of_every_shape_read_back() {
    let room = Room::new();
    for (at, size) in edges().into_iter().enumerate() {
        let bytes = sample(size);
        let object = room.put(&format!("originals/{at}"), &bytes).await;
        assert_eq!((object.parts.len(), object.size_bytes), (1, size));
        let file = fs::read(room.path(object.parts[0].file.as_str())).unwrap();
        assert_eq!(object.parts[0].crc64nvme, Crc64::of(&file), "size {size}");
        let open = room.again().open_object(&object).await.unwrap();
        assert_eq!(read_all(&open).await.unwrap(), bytes, "size {size}");
    }
    assert!(room.store.uploads().await.unwrap().is_empty(), "nothing is left of the uploads");
}

#[tokio::test]
async fn neither_footage_nor_digests_lie_about_in_plain() {
    let room = Room::new();
    let bytes = b"a number plate that somebody may look for".repeat(3000);
    let mut upload = Upload::begin(&room.store).await;
    upload.write(&bytes).await.unwrap();
    let state = upload.persist().await.unwrap();
    let mut everything = serde_json::to_vec(&state).unwrap();
    gather(room.root(), &mut everything);
    let (sealed, digests) = upload.seal().await.unwrap();
    let name = NAME.parse().unwrap();
    let object = room.store.complete(sealed, name, digests.blake3).await.unwrap();
    gather(room.root(), &mut everything);
    let contains = |needle: &[u8]| everything.windows(needle.len()).any(|window| window == needle);
    assert!(!contains(b"number plate"));
    assert!(!contains(digests.blake3.as_bytes()));
    let open = room.store.open_object(&object).await.unwrap();
    let group = &open.outboard().to_bytes()[..32];
    assert!(!contains(group));
}

fn gather(folder: &Path, into: &mut Vec<u8>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { gather(&path, into) } else { into.extend(fs::read(path).unwrap()) }
    }
}

#[tokio::test]
async fn ranges_beyond_the_object_are_refused() {
    let room = Room::new();
    let open = room.store.open_object(&room.put(NAME, &sample(100_000)).await).await.unwrap();
    assert!(open.read(0..0).await.unwrap().is_empty());
    assert!(open.read(100_000..100_000).await.unwrap().is_empty());
    for (start, end) in [(0, 100_001), (100_000, 100_001), (5, 4), (0, u64::MAX)] {
        let range = std::ops::Range { start, end };
        assert!(matches!(open.read(range).await, Err(StoreError::Range { .. })), "{start}..{end}");
    }
}

/// An object, a change to its files, and the error that must come of it.
async fn tampered(
    size: u64,
    tamper: impl Fn(&Room, &mut StoredObject),
) -> Result<Vec<u8>, StoreError> {
    let room = Room::new();
    let mut object = room.put(NAME, &sample(size)).await;
    tamper(&room, &mut object);
    let open = room.again().open_object(&object).await?;
    read_all(&open).await
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn is_damage<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Damaged { .. }))
}

#[tokio::test]
async fn flipped_bit_anywhere_in_the_file() {
    let size = 2 * SEGMENT_BYTES as u64 + 5000;
    let length = Layout { size_bytes: size }.ciphertext_bytes() as usize;
    for at in [0, 1, 35, 40, 41, SEGMENT_BYTES - 1, SEGMENT_BYTES, 2 * SEGMENT_BYTES, length - 1] {
        let result = tampered(size, |room, _| change(&room.path(NAME), |b| b[at] ^= 0x10)).await;
        assert!(is_damage(&result), "byte {at}: {:?}", result.map(|b| b.len()));
    }
}

#[tokio::test]
async fn file_truncated_by_a_byte_by_a_segment_or_wholly_and_lengthened() {
    let size = 3 * SEGMENT_BYTES as u64;
    for length in [0, 10, SEGMENT_BYTES, 3 * SEGMENT_BYTES, 3 * SEGMENT_BYTES + 10] {
        let cut =
            |room: &Room, _: &mut StoredObject| change(&room.path(NAME), |b| b.resize(length, 0));
        assert!(is_damage(&tampered(size, cut).await), "length {length}");
    }
    let longer = |room: &Room, _: &mut StoredObject| change(&room.path(NAME), |b| b.push(0));
    assert!(is_damage(&tampered(size, longer).await));
}

#[tokio::test]
async fn segments_swapped() {
    let size = 4 * SEGMENT_BYTES as u64;
    let swap = |room: &Room, _: &mut StoredObject| {
        change(&room.path(NAME), |b| {
            let (first, second) = b.split_at_mut(2 * SEGMENT_BYTES);
            first[SEGMENT_BYTES..].swap_with_slice(&mut second[..SEGMENT_BYTES]);
        });
    };
    assert!(is_damage(&tampered(size, swap).await));
}

#[tokio::test]
async fn outboard_flipped_cut_or_gone() {
    let obao = format!("{NAME}.obao");
    let flip = |room: &Room, _: &mut StoredObject| change(&room.path(&obao), |b| b[60] ^= 1);
    assert!(is_damage(&tampered(300_000, flip).await));
    let cut = |room: &Room, _: &mut StoredObject| change(&room.path(&obao), |b| b.truncate(70));
    assert!(is_damage(&tampered(300_000, cut).await));
    let remove = |room: &Room, _: &mut StoredObject| fs::remove_file(room.path(&obao)).unwrap();
    assert!(matches!(tampered(300_000, remove).await, Err(StoreError::NotFound { .. })));
}

/// Everything of another object in its place, keys too: only the tree can tell.
#[tokio::test]
async fn whole_object_swapped_with_its_keys() {
    let room = Room::new();
    let object = room.put(NAME, &sample(200_000)).await;
    let other = room.put("originals/other", &vec![9; 200_000]).await;
    for (from, to) in [("originals/other", NAME), ("keys/originals/other", &format!("keys/{NAME}"))]
    {
        fs::copy(room.path(from), room.path(to)).unwrap();
    }
    let outboard_of_the_first_under_another_key = room.store.open_object(&object).await;
    assert!(is_damage(&outboard_of_the_first_under_another_key));
    fs::copy(room.path("originals/other.obao"), room.path(&format!("{NAME}.obao"))).unwrap();
    let another_digest = room.store.open_object(&object).await;
    let Err(StoreError::Damaged { what: Damage::Tree(_), .. }) = another_digest else {
        panic!("{another_digest:?}")
    };
    assert!(read_all(&room.store.open_object(&other).await.unwrap()).await.is_ok());
}

/// Somebody with the object's key writes other footage in its place; the outboard stays that of the original.
#[tokio::test]
async fn footage_forged_under_the_right_key() {
    let room = Room::new();
    let bytes = sample(200_000);
    let object = room.put(NAME, &bytes).await;
    let key = super::super::folder::load_key(&kek(), &room.path(&format!("keys/{NAME}"))).unwrap();
    let mut forged = bytes.clone();
    forged[150_000] ^= 1;
    let sealed = super::super::tink::seal_all(&key, super::super::tink::Purpose::Object, &forged);
    fs::write(room.path(NAME), sealed).unwrap();
    let open = room.store.open_object(&object).await.unwrap();
    let untouched = 2 * chain_of_custody::digest::GROUP_BYTES as u64;
    assert_eq!(open.read(0..untouched).await.unwrap(), bytes[..untouched as usize]);
    let touched = open.read(untouched + 5..untouched + 6).await;
    assert!(
        matches!(touched, Err(StoreError::Damaged { what: Damage::Tree(_), .. })),
        "{touched:?}"
    );
}

#[tokio::test]
async fn key_of_another_object_of_another_force_damaged_or_gone() {
    let key = format!("keys/{NAME}");
    let other = |room: &Room, _: &mut StoredObject| {
        let kek = kek();
        fs::write(room.path(&key), kek.wrap(&super::super::kek::ObjectKey::random())).unwrap();
    };
    assert!(is_damage(&tampered(1000, other).await));
    let damaged = |room: &Room, _: &mut StoredObject| change(&room.path(&key), |b| b[70] ^= 1);
    assert!(matches!(tampered(1000, damaged).await, Err(StoreError::WrongKey { .. })));
    let gone = |room: &Room, _: &mut StoredObject| fs::remove_file(room.path(&key)).unwrap();
    assert!(matches!(tampered(1000, gone).await, Err(StoreError::KeyGone { .. })));

    let room = Room::new();
    let object = room.put(NAME, b"footage").await;
    let foreign = ObjectStore::open(room.root(), Kek::new(Zeroizing::new([43; 32]))).unwrap();
    assert!(matches!(foreign.open_object(&object).await, Err(StoreError::WrongKey { .. })));
}

#[tokio::test]
async fn record_that_says_another_size_or_digest() {
    let size = |_: &Room, object: &mut StoredObject| object.size_bytes -= 1;
    assert!(is_damage(&tampered(1000, size).await));
    let digest = |_: &Room, object: &mut StoredObject| object.blake3 = Blake3::of(b"other");
    assert!(is_damage(&tampered(1000, digest).await));
    let part = |_: &Room, object: &mut StoredObject| object.parts.clear();
    assert!(is_damage(&tampered(0, part).await));
}

#[tokio::test]
async fn disposal_destroys_the_key_first_and_may_be_repeated() {
    let room = Room::new();
    let object = room.put(NAME, b"footage").await;
    let kept = fs::read(room.path(NAME)).unwrap();
    let kept_outboard = fs::read(room.path(&format!("{NAME}.obao"))).unwrap();
    room.store.dispose(&object).await.unwrap();
    room.store.dispose(&object).await.unwrap();
    assert!(room.store.scan("originals").await.unwrap().is_empty());
    fs::write(room.path(NAME), kept).unwrap();
    fs::write(room.path(&format!("{NAME}.obao")), kept_outboard).unwrap();
    let restored_from_a_backup = room.store.open_object(&object).await;
    assert!(matches!(restored_from_a_backup, Err(StoreError::KeyGone { .. })));
}

#[tokio::test]
async fn names_are_taken_once_and_completion_repeats() {
    let room = Room::new();
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

#[tokio::test]
async fn composed_without_copying_and_digested_as_one() {
    let room = Room::new();
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
    change(&room.path(object.parts[1].file.as_str()), |b| b[50] ^= 1);
    assert!(is_damage(&open.read(1_500_000..1_500_001).await), "a part flipped while open");
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

#[tokio::test]
async fn small_things_plain_and_sealed() {
    let room = Room::new();
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
    change(&room.path(openings), |b| b[45] ^= 1);
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
#[tokio::test]
async fn sealed_put_after_a_crash_that_left_only_its_key() {
    let room = Room::new();
    room.store.put_sealed("openings/l/0", "a").await.unwrap();
    fs::remove_file(room.path("openings/l/0")).unwrap();
    room.store.put_sealed("openings/l/0", "a").await.unwrap();
    assert_eq!(room.store.get_sealed("openings/l/0").await.unwrap(), "a");
}

/// A crash can also leave the object without its key, whose name was not durable yet.
#[tokio::test]
async fn sealed_put_after_a_crash_that_left_no_key() {
    let room = Room::new();
    room.store.put_sealed("openings/l/0", "a").await.unwrap();
    fs::remove_file(room.path("keys/openings/l/0")).unwrap();
    let again = room.again();
    again.put_sealed("openings/l/0", "a").await.unwrap();
    assert_eq!(again.get_sealed("openings/l/0").await.unwrap(), "a");
}

/// All widths of a bundle have one key; it stays when one of them goes, and comes back when somebody takes it away.
#[tokio::test]
async fn a_bundle_that_grows_keeps_its_key() {
    let room = Room::new();
    let key = room.path("keys/openings/l/000");
    room.store.put_sealed("openings/l/000.p/1", "a").await.unwrap();
    let first = fs::read(&key).unwrap();
    room.again().put_sealed("openings/l/000.p/2", "ab").await.unwrap();
    room.store.put_sealed("openings/l/000.p/3", "abc").await.unwrap();
    assert_eq!(fs::read(&key).unwrap(), first);
    room.store.forget(vec!["openings/l/000.p/1".to_owned()]).await.unwrap();
    room.store.remove("openings/l/000.p/2").await.unwrap();
    assert_eq!(room.store.get_sealed("openings/l/000.p/3").await.unwrap(), "abc");
    fs::remove_file(&key).unwrap();
    room.store.put_sealed("openings/l/000", "abcd").await.unwrap();
    assert_eq!(room.again().get_sealed("openings/l/000.p/3").await.unwrap(), "abc");
    room.store.set_aside(vec!["openings/l/000".parse().unwrap()]).await.unwrap();
    assert_eq!(room.again().get_sealed("openings/l/000.p/3").await.unwrap(), "abc");
    assert!(room.path("keys/aside/openings/l/000").exists());
}

/// Two small objects that change places with their keys open under neither name.
#[tokio::test]
async fn a_small_object_opens_under_its_own_name_alone() {
    let room = Room::new();
    let (a, b) = ("openings/l/0", "openings/l/1");
    room.store.put_sealed(a, "a").await.unwrap();
    room.store.put_sealed(b, "b").await.unwrap();
    for folder in ["", "keys/"] {
        let (a, b) = (room.path(&format!("{folder}{a}")), room.path(&format!("{folder}{b}")));
        let kept = fs::read(&a).unwrap();
        fs::write(&a, fs::read(&b).unwrap()).unwrap();
        fs::write(&b, kept).unwrap();
    }
    assert!(is_damage(&room.store.get_sealed(a).await));
    assert!(is_damage(&room.store.get_sealed(b).await));
}

/// One name that cannot be made leaves no other behind half-done, and a repeat completes.
#[tokio::test]
async fn several_files_are_created_together_or_completed_later() {
    let room = Room::new();
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
    assert_eq!(room.store.scan("openings").await.unwrap().len(), 0);
    room.store.remove("ledger/l/tile/7").await.unwrap();
    room.store.create(files.clone()).await.unwrap();
    room.store.create(files).await.unwrap();
    assert_eq!(room.store.scan("ledger").await.unwrap().len(), 40);
    assert_eq!(room.store.get_sealed("openings/l/0").await.unwrap(), "opened");
    let left = fs::read_dir(room.path("uploads")).unwrap().count();
    assert_eq!(left, 0, "no temporary file stays");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_range_in_any_order_is_the_slice(
        size in prop::sample::select(edges()),
        ranges in prop::collection::vec((0.0..=1.0_f64, 0.0..=1.0_f64), 1..12),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let (room, bytes) = (Room::new(), sample(size));
            let open = room.store.open_object(&room.put(NAME, &bytes).await).await.unwrap();
            for (a, b) in ranges {
                let (a, b) = ((a * size as f64) as u64, (b * size as f64) as u64);
                let (start, end) = (a.min(b), a.max(b));
                let read = open.read(start..end).await.unwrap();
                assert_eq!(read, bytes[start as usize..end as usize]);
            }
        });
    }

    #[test]
    fn any_flipped_bit_in_any_file_is_an_error(at in 0.0..1.0_f64, bit in 0..8_u32, which in 0..3_usize) {
        let file = [NAME.to_owned(), format!("{NAME}.obao"), format!("keys/{NAME}")];
        let result = tokio::runtime::Runtime::new().unwrap().block_on(tampered(1_200_000, |room, _| {
            change(&room.path(&file[which]), |b| {
                let at = (at * b.len() as f64) as usize;
                b[at] ^= 1 << bit;
            });
        }));
        prop_assert!(result.is_err());
    }
}

//! Reads, ranges, and every way of tampering that has a name.

use std::fs;

use proptest::prelude::*;

use super::*;

const NAME: &str = "originals/0193a7c2-0000-7000-8000-000000000001";

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

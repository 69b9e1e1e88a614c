//! What only a bucket can do to what lies in it: versions, locks, answers that are lost, and a second server.

use std::time::Duration;

use test_machine::line::Trouble;

use super::super::upload::State;
use super::*;
use crate::s3::S3Error;

const NAME: &str = "originals/0193a7c2-0000-7000-8000-000000000004";

/// Whoever has the bucket's own credentials deletes, overwrites and shortens: the version that was recorded reads back.
#[tokio::test]
async fn a_locked_original_outlives_whoever_has_the_credentials() {
    let room = Room::with_lock(120).await;
    let bytes = sample(9_000_000);
    let object = room.put(NAME, &bytes).await;
    let version = object.parts[0].version.clone().expect("the version is recorded");
    let (bucket, key) = room.behind(NAME);

    let deleted = bucket.delete_version(&key, Some(&version)).await;
    assert!(matches!(deleted, Err(S3Error::Forbidden { .. })), "{deleted:?}");
    let shorter = jiff::Timestamp::now().as_second() + 5;
    assert!(bucket.lock(&key, &version, shorter).await.is_err(), "the lock became shorter");
    room.remove_raw(NAME).await;
    assert!(bucket.head(&key, None).await.is_err(), "a delete marker is the newest version");
    room.put_raw(NAME, sample(9_000_000)).await;
    room.put_raw(NAME, b"something else".to_vec()).await;
    let (outboard, of_key) = (format!("{NAME}.obao"), format!("keys/{NAME}"));
    room.put_raw(&outboard, b"no outboard".to_vec()).await;
    room.put_raw(&of_key, b"no key".to_vec()).await;
    room.store.read_through(&object).await.unwrap();
    room.remove_raw(&outboard).await;
    room.remove_raw(&of_key).await;

    let open = room.again().open_object(&object).await.unwrap();
    assert_eq!(read_all(&open).await.unwrap(), bytes);
    room.store.glance(&object).await.unwrap();
    let (bucket, key) = room.behind(&outboard);
    let versions = bucket.versions_of(&key).await.unwrap();
    let first = versions.iter().rfind(|version| !version.is_marker).expect("the first");
    let held = bucket.delete_version(&key, first.id.as_deref()).await;
    assert!(matches!(held, Err(S3Error::Forbidden { .. })), "{held:?}");
}

/// Disposal is lawful while the lock lasts: the key goes, and what stays is noise.
#[tokio::test]
async fn disposal_works_under_a_lock() {
    let room = Room::with_lock(60).await;
    let object = room.put(NAME, b"footage").await;
    room.store.dispose(&object).await.unwrap();
    room.store.dispose(&object).await.unwrap();
    let read = room.again().open_object(&object).await;
    assert!(matches!(read, Err(StoreError::KeyGone { .. })), "{read:?}");
    let (bucket, key) = room.behind(NAME);
    assert_eq!(bucket.versions_of(&key).await.unwrap().len(), 1, "the locked bytes stay");
}

/// What was recorded without a version, as of an object that came from a folder, is found by its length and checksum.
#[tokio::test]
async fn an_object_without_a_recorded_version_is_found_among_others() {
    let room = Room::in_bucket().await;
    let bytes = sample(300_000);
    let mut object = room.put(NAME, &bytes).await;
    room.put_raw(NAME, sample(300_000)).await;
    room.remove_raw(NAME).await;
    object.parts[0].version = None;
    let open = room.again().open_object(&object).await.unwrap();
    assert_eq!(read_all(&open).await.unwrap(), bytes);
}

/// What was moved to another bucket has other versions there than those that are recorded: it reads back, is locked, and is
/// found among others; once it is gone, it is missing.
#[tokio::test]
async fn a_moved_object_reads_back_by_another_version_than_the_recorded_one() {
    let (from, to) = (Room::in_bucket().await, Room::with_lock(20).await);
    let bytes = sample(9_000_000);
    let object = from.put(NAME, &bytes).await;
    let recorded = object.parts[0].version.clone().expect("the version is recorded");
    let (_, key) = from.behind(NAME);
    let unfinished = from.behind(NAME).0.begin_parts(&to.behind(NAME).1).await.unwrap();
    let copied = to.store.copy_object(&from.store, &object).await.unwrap();
    assert!(matches!(copied, Copied::Now { file_bytes } if file_bytes > bytes.len() as u64));
    assert_eq!(to.store.copy_object(&from.store, &object).await.unwrap(), Copied::Before);
    to.store.glance(&object).await.unwrap();

    let (bucket, there) = to.behind(NAME);
    let gone = bucket.put_part((&there, &unfinished), 1, b"x".to_vec().into(), Crc64::of(b"x"));
    assert_eq!(gone.await, Err(S3Error::NotFound), "an upload in parts of before stays");
    let versions = bucket.versions_of(&there).await.unwrap();
    assert!(versions.iter().all(|version| version.id.as_deref() != Some(recorded.as_str())));
    assert_ne!(key, there);
    for file in [NAME.to_owned(), format!("{NAME}.obao")] {
        let (bucket, key) = to.behind(&file);
        let id = bucket.versions_of(&key).await.unwrap()[0].id.clone().expect("a version");
        let until_s = bucket.locked_until_s(&key, &id).await.unwrap().expect("it is locked");
        assert!(until_s > jiff::Timestamp::now().as_second(), "{file}");
    }
    to.put_raw(NAME, sample(9_000_000)).await;
    to.remove_raw(NAME).await;
    let open = to.again().open_object(&object).await.unwrap();
    assert_eq!(read_all(&open).await.unwrap(), bytes);

    let (unlocked, _) = (Room::in_bucket().await, from);
    unlocked.store.copy_object(&to.store, &object).await.unwrap();
    let (bucket, key) = unlocked.behind(NAME);
    for version in bucket.versions_of(&key).await.unwrap() {
        bucket.delete_version(&key, version.id.as_deref()).await.unwrap();
    }
    let looked = unlocked.store.glance(&object).await;
    assert!(matches!(looked, Err(StoreError::NotFound { .. })), "{looked:?}");
}

/// A second server takes an upload over while the first still sends: what the first sends counts for nothing, no segment
/// is sealed twice, and the first cannot finish.
#[tokio::test]
async fn a_server_that_was_taken_over_from_changes_nothing() {
    let room = Room::in_bucket().await;
    let bytes = sample(30_000_000);
    let mut first = Upload::begin(&room.store).await;
    first.write(&bytes[..9_000_000]).await.unwrap();
    let state = first.persist().await.unwrap();
    // Two pieces of other bytes are on their way.
    first.write(&vec![0xEE; 17_000_000]).await.unwrap();

    let mut second = Upload::resume(&room.again(), &state).await.unwrap();
    let began = second.persist().await.unwrap();
    let (State::Bucket(before), State::Bucket(after)) = (&state.0, &began.0) else {
        panic!("they are in a bucket");
    };
    assert!(after.part.number > before.part.number, "what goes on has a key of its own");
    assert_eq!(after.closed.len(), before.closed.len() + 1, "what was acknowledged is ended");
    let outcome = async {
        first.persist().await?;
        first.seal().await
    };
    let stale = outcome.await.map(|(sealed, digests)| (sealed, digests.blake3));
    let object = finish(&room, second, &bytes).await;
    if let Ok((sealed, blake3)) = stale {
        let completed = room.store.complete(sealed, new_name(), blake3).await;
        assert!(completed.is_err(), "{completed:?}");
    }
    room.store.read_through(&object).await.unwrap();
}

/// A store that keeps no checksum of the whole is read after completion, and other bytes than were sent are found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_without_checksums_completed_is_read() {
    let (room, line) = Room::behind_a_line_to_another().await;
    let sealed = room.sealed(&sample(300_000)).await;
    line.set(Trouble::DamagesAnswers { one_in: 1 });
    let completed = room.store.complete(sealed, new_name(), Blake3::of(&sample(300_000))).await;
    assert!(matches!(completed, Err(StoreError::ReadBack { .. })), "{completed:?}");
}

/// Where nothing keeps versions, what was put over an open original in the meantime is not served, whatever its length.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_over_an_open_original_is_not_served() {
    let room = Room::in_another_bucket().await;
    let object = room.put(NAME, &sample(300_000)).await;
    for bytes in [sample(300_056), sample(1_000), sample(30)] {
        let open = room.again().open_object(&object).await.unwrap();
        let kept = room.raw(NAME).await;
        room.put_raw(NAME, bytes).await;
        let read = open.read(0..300_000).await;
        assert!(read.is_err(), "{:?}", read.map(|bytes| bytes.len()));
        room.put_raw(NAME, kept).await;
    }
}

/// Requests arrive and their answers do not, one in a few, at any moment of uploads and small things.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_change_nothing() {
    all_is_done_in_spite_of(Trouble::LosesAnswers { one_in: 7 }).await;
}

/// The same with answers that say the store fails, when it did what was asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_that_were_none_change_nothing() {
    all_is_done_in_spite_of(Trouble::Fails { one_in: 6 }).await;
}

/// Whichever answer of a completion is lost, that of the completion itself too: it is found out what became of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_whose_answer_is_lost_is_found() {
    let (room, line) = Room::behind_a_line().await;
    let bytes = sample(100_000);
    for nth in 2..=8 {
        let (sealed, name) = (room.sealed(&bytes).await, new_name());
        line.set(Trouble::LosesAnswers { one_in: nth });
        let object = room.store.complete(sealed, name, Blake3::of(&bytes)).await;
        line.set(Trouble::None);
        room.store.read_through(&object.unwrap()).await.unwrap();
    }
}

async fn all_is_done_in_spite_of(trouble: Trouble) {
    let (room, line) = Room::behind_a_line().await;
    line.set(trouble);
    let bytes = sample(20_000_000);
    let mut upload = Upload::begin(&room.store).await;
    upload.write(&bytes[..10_000_000]).await.unwrap();
    let state = upload.persist().await.unwrap();
    let upload = Upload::resume(&room.again(), &state).await.unwrap();
    finish(&room, upload, &bytes).await;
    for at in 0..12 {
        let (tile, openings) = (format!("ledger/l/tile/{at}"), format!("openings/l/{at}"));
        room.store.put_new(&tile, "hashes").await.unwrap();
        room.store.put_sealed(&openings, "PC Smith").await.unwrap();
        room.store.replace("ledger/l/checkpoint", format!("{at}")).await.unwrap();
        assert_eq!(room.store.get_sealed(&openings).await.unwrap(), "PC Smith");
    }
    line.set(Trouble::None);
    assert_eq!(room.store.get("ledger/l/checkpoint").await.unwrap(), "11");
    assert_eq!(room.store.scan("ledger/l/tile").await.unwrap().len(), 12);
}

/// An answer that is cut or damaged is no answer: never other bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_and_damaged_answers_are_never_served() {
    let (room, line) = Room::behind_a_line().await;
    let bytes = sample(5_000_000);
    let object = room.put(NAME, &bytes).await;
    line.set(Trouble::CutsAnswers { one_in: 5 });
    let open = room.again().open_object(&object).await.unwrap();
    assert_eq!(read_all(&open).await.unwrap(), bytes, "a cut answer is asked for again");
    line.set(Trouble::DamagesAnswers { one_in: 1 });
    let damaged = read_all(&open).await;
    assert!(is_damage(&damaged), "{:?}", damaged.map(|bytes| bytes.len()));
}

/// While nobody is reached nothing is acknowledged; afterwards it goes on from what was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_acknowledges_nothing() {
    let (room, line) = Room::behind_a_line().await;
    let bytes = sample(20_000_000);
    let mut upload = Upload::begin(&room.store).await;
    upload.write(&bytes[..9_000_000]).await.unwrap();
    let state = upload.persist().await.unwrap();
    line.set(Trouble::Cut);
    let written = async {
        upload.write(&bytes[9_000_000..18_000_000]).await?;
        upload.persist().await
    };
    let away = written.await;
    assert!(matches!(away, Err(StoreError::Away { .. })), "{away:?}");
    assert!(matches!(upload.write(b"more").await, Err(StoreError::Stopped)));
    let gone = room.store.get("ledger/l/checkpoint").await;
    assert!(
        matches!(gone, Err(StoreError::Away { .. })),
        "not there and not reached differ: {gone:?}"
    );
    line.set(Trouble::None);
    let upload = Upload::resume(&room.again(), &state).await.unwrap();
    finish(&room, upload, &bytes).await;
}

/// A slow store slows uploads down; memory stays what all of them share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_store_is_waited_for() {
    let (room, line) = Room::behind_a_line().await;
    line.set(Trouble::Slow(Duration::from_millis(100)));
    let bytes = sample(9_000_000);
    let upload = Upload::begin(&room.store).await;
    finish(&room, upload, &bytes).await;
}

/// More uploads than there is memory for pieces: each waits for its turn, and all of them end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_uploads_than_memory_take_turns() {
    let room = Room::in_bucket().await;
    let bytes = Arc::new(sample(1_200_000));
    let uploads: Vec<_> = (0..80)
        .map(|_| {
            let (store, bytes) = (room.store.clone(), Arc::clone(&bytes));
            tokio::spawn(async move {
                let mut upload = Upload::begin(&store).await;
                for piece in bytes.chunks(100_000) {
                    upload.write(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                let (sealed, digests) = upload.seal().await.unwrap();
                let object = store.complete(sealed, new_name(), digests.blake3).await.unwrap();
                store.read_through(&object).await.unwrap();
            })
        })
        .collect();
    for upload in uploads {
        upload.await.unwrap();
    }
}

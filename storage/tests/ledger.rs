//! The ledger through its own door, on both databases.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use chain_of_custody::command::{Guard, Refusal};
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{LeafIndex, SubjectId, TreeSize};
use chain_of_custody::merkle::{Frontier, leaf_hash};
use chain_of_custody::sequencer::CannotRecover;
use futures_util::future::join_all;
use storage::ledger::{AuditCode, AuditResult, LedgerError, SubmitError};
use storage::records::StoredEntry;
use support::{Home, ORIGIN, act, assert_clean, assert_proved, device};

on_both_databases!(
    what_is_placed_is_proved_and_stays,
    a_repeat_finds_the_first_result,
    what_can_wait_shares_the_batch_of_what_cannot,
    a_refusal_is_nobody_elses,
    an_older_database_signs_nothing,
    an_older_store_signs_nothing,
    a_follower_sees_every_entry_once,
    the_audit_names_each_fault,
    an_export_is_the_ledger,
);

async fn what_is_placed_is_proved_and_stays(home: Home) {
    let ledger = home.open().await;
    assert_eq!(ledger.latest().unverified().size, TreeSize(2), "opened, and its key published");
    let placed = join_all((0..300).map(|n| ledger.submit(act(n)))).await;
    let mut indexes = BTreeSet::new();
    for placed in placed {
        let placed = placed.unwrap();
        assert_proved(&placed);
        assert!(!placed.repeated && indexes.insert(placed.leaf_index.0));
    }
    assert!(indexes.into_iter().eq(2..302), "indexes are dense");
    for n in 300..304 {
        assert_proved(&ledger.submit(act(n)).await.unwrap());
    }
    assert_clean(&ledger).await;
    ledger.close().await;
    let names = |folder: &str| {
        let folder = home.objects_path().join(folder.replace("ORIGIN", ORIGIN));
        let names = fs::read_dir(&folder).unwrap().map(|name| name.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect::<BTreeSet<_>>()
    };
    for full in ["ledger/ORIGIN/tile/0", "ledger/ORIGIN/tile/entries", "openings/ORIGIN"] {
        assert_eq!(names(&format!("{full}/000.p")), BTreeSet::new(), "{full} is clear");
    }
    let bundles = ["000", "001"].map(str::to_owned);
    assert_eq!(names("keys/openings/ORIGIN"), bundles.into(), "a bundle has one key");
    let head = ledger.latest();
    drop(ledger);
    let ledger = home.open().await;
    assert_eq!(ledger.latest(), head, "opening again signs nothing");
    for index in [0, 1, 255, 256, 305] {
        assert_proved(&ledger.placed(LeafIndex(index)).await.unwrap());
    }
    assert!(matches!(ledger.placed(LeafIndex(306)).await, Err(LedgerError::NoSuchEntry(_))));
    assert_proved(&ledger.submit(act(900)).await.unwrap());
    assert_clean(&ledger).await;
}

async fn a_repeat_finds_the_first_result(home: Home) {
    let ledger = home.open().await;
    let together = join_all((0..5).map(|_| ledger.submit(act(1)))).await;
    let together: Vec<_> = together.into_iter().map(Result::unwrap).collect();
    assert_eq!(together.iter().filter(|placed| !placed.repeated).count(), 1);
    assert!(together.iter().all(|placed| placed.entry == together[0].entry));
    let later = ledger.submit(act(1)).await.unwrap();
    assert!(later.repeated && later.entry == together[0].entry);
    assert_eq!(later.openings, together[0].openings);
    assert_proved(&later);
    ledger.close().await;
    let again = home.open().await.submit(act(1)).await.unwrap();
    assert!(again.repeated && again.leaf_index == LeafIndex(2));
    assert_proved(&again);
}

async fn what_can_wait_shares_the_batch_of_what_cannot(home: Home) {
    let ledger = home.open().await;
    // On a crowded machine the one that waits may come too late for the other, but not every time.
    let mut shared = false;
    for n in 0..20 {
        let (waits, hurries) = tokio::join!(ledger.submit_in_background(act(2 * n)), async {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            ledger.submit(act(2 * n + 1)).await
        });
        let (waits, hurries) = (waits.unwrap(), hurries.unwrap());
        assert_proved(&waits);
        shared |= waits.checkpoint == hurries.checkpoint;
    }
    assert!(shared, "one checkpoint for both");
    assert_proved(&ledger.submit_in_background(act(99)).await.unwrap());
}

async fn a_refusal_is_nobody_elses(home: Home) {
    let ledger = home.open().await;
    let fresh = |n: u64| act(n).provided(Guard::SubjectIsNew(device(n % 5).into()));
    let unknown = Guard::SubjectExists("case:none".parse::<SubjectId>().unwrap());
    let answers = join_all([
        ledger.submit(fresh(0)),
        ledger.submit(fresh(5)),
        ledger.submit(act(1).provided(unknown)),
        ledger.submit(act(2)),
    ])
    .await;
    // Nobody has promised whose turn it is: one of the two that want the same is placed, and the other is not.
    let [one, other, refused, plain] = <[_; 4]>::try_from(answers).unwrap();
    let (placed, late) = if one.is_ok() { (one, other) } else { (other, one) };
    let exists = SubmitError::Refused(Refusal::SubjectExists(device(0).into()));
    assert_eq!(late.unwrap_err(), exists);
    let refused = refused.unwrap_err();
    assert!(matches!(refused, SubmitError::Refused(Refusal::UnknownSubject(_))));
    let mut indexes = [placed, plain].map(|answer| answer.unwrap().leaf_index);
    indexes.sort();
    assert_eq!(indexes, [LeafIndex(2), LeafIndex(3)]);
    let large = act(3).field(field::REASON, "x".repeat(70_000), Salt([0; 32]));
    assert_proved(&ledger.submit(large).await.unwrap());
    let large = act(4).public("role", "x".repeat(70_000));
    let refused = ledger.submit(large).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Refused(Refusal::Malformed(_))));
    assert_clean(&ledger).await;
}

/// With PostgreSQL several servers may have a ledger open, and none stops another: `servers.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_told() {
    let home = Home::sqlite();
    let older = home.open().await;
    let told = tokio::spawn(older.stopped());
    older.submit(act(1)).await.unwrap();
    assert_eq!(older.stop_reason(), None);
    let newer = home.open().await;
    assert!(!told.is_finished(), "it learns of it when it writes next");
    older.submit(act(2)).await.unwrap_err();
    let reason = tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap();
    assert!(reason.contains("taken"), "{reason}");
    assert_eq!(older.stop_reason(), Some(reason));
    assert_proved(&older.placed(LeafIndex(2)).await.unwrap());
    let closed = newer.stopped();
    newer.close().await;
    assert_eq!(closed.await, "the ledger was closed");
    assert_eq!(newer.stop_reason(), None, "no fault");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_holder_is_fenced() {
    let home = Home::sqlite();
    let older = home.open().await;
    older.submit(act(1)).await.unwrap();
    let newer = home.open().await;
    newer.submit(act(2)).await.unwrap();
    let fenced = older.submit(act(3)).await.unwrap_err();
    assert!(
        matches!(&fenced, SubmitError::Stopped { reason } if reason.contains("taken")),
        "{fenced}"
    );
    let placed = newer.submit(act(3)).await.unwrap();
    assert!(!placed.repeated, "the older one wrote nothing");
    assert!(matches!(older.submit(act(4)).await, Err(SubmitError::Stopped { .. })));
    assert_clean(&newer).await;
    // Nor does it write when the newest has written nothing yet: the size alone would tell it nothing.
    let newest = home.open().await;
    let fenced = newer.submit(act(5)).await.unwrap_err();
    assert!(matches!(fenced, SubmitError::Stopped { .. }), "{fenced}");
    assert!(!newest.submit(act(5)).await.unwrap().repeated, "the one before it wrote nothing");
    assert_clean(&newest).await;
}

async fn an_older_database_signs_nothing(home: Home) {
    let ledger = home.open().await;
    ledger.submit(act(1)).await.unwrap();
    let (old, head) = (stored(&ledger).await, ledger.latest());
    ledger.submit(act(2)).await.unwrap();
    ledger.close().await;
    let older = home.another();
    older.records().await.rebuild(old, &head).await.unwrap();
    let refused = support::open_with(older.records().await, &home.objects_path()).await;
    let error = refused.unwrap_err();
    let behind = matches!(
        error,
        LedgerError::CannotRecover(CannotRecover::DatabaseBehind {
            published: TreeSize(4),
            database: TreeSize(3)
        })
    );
    assert!(behind && error.to_string().contains("Nothing will be signed"), "{error}");
    assert_clean(&home.open().await).await;
}

async fn an_older_store_signs_nothing(home: Home) {
    let ledger = home.open().await;
    let published = home.objects_path().join(format!("ledger/{}/checkpoint", support::ORIGIN));
    let old = fs::read(&published).unwrap();
    ledger.submit(act(1)).await.unwrap();
    ledger.close().await;
    let new = fs::read(&published).unwrap();
    fs::write(&published, old).unwrap();
    let error = home.try_open().await.unwrap_err();
    assert!(
        matches!(error, LedgerError::CannotRecover(CannotRecover::StoreBehind { .. })),
        "{error}"
    );
    fs::remove_file(&published).unwrap();
    assert!(home.try_open().await.is_err(), "nothing published is older still");
    fs::write(&published, new).unwrap();
    assert_clean(&home.open().await).await;
}

async fn a_follower_sees_every_entry_once(home: Home) {
    let ledger = home.open().await;
    let mut follower = ledger.follow(LeafIndex(0));
    let writer = ledger.clone();
    let writing = tokio::spawn(async move {
        join_all((0..400).map(|n| writer.submit(act(n)))).await.into_iter().all(|r| r.is_ok())
    });
    for expected in 0..402 {
        let followed = follower.next().await.unwrap();
        assert_eq!(followed.index, LeafIndex(expected));
        assert!(followed.openings.iter().all(|o| followed.entry.opens(o)));
    }
    assert!(writing.await.unwrap());
    let mut resumed = ledger.follow(follower.position());
    let waiting = tokio::spawn(async move { resumed.next().await });
    let placed = ledger.submit(act(900)).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().index, placed.leaf_index);
    ledger.close().await;
    let end = follower.next().await.unwrap();
    assert_eq!(end.index, placed.leaf_index);
    assert!(matches!(follower.next().await, Err(LedgerError::Closed)));
}

async fn the_audit_names_each_fault(home: Home) {
    let ledger = home.open().await;
    for answer in join_all((0..300).map(|n| ledger.submit(act(n)))).await {
        answer.unwrap();
    }
    assert_clean(&ledger).await;
    let folder = home.objects_path();
    let of = |rest: &str| folder.join(format!("ledger/{}/{rest}", support::ORIGIN));
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    type Damage = Box<dyn Fn(&mut Vec<u8>)>;
    let cases: [(&str, Damage, AuditCode); 5] = [
        ("tile/0/000", Box::new(flip(77)), AuditCode::TileDiffers),
        ("tile/1/000.p/1", Box::new(flip(0)), AuditCode::TileDiffers),
        ("tile/entries/000", Box::new(flip(300)), AuditCode::RootDiffers),
        ("evidential/000", Box::new(flip(200)), AuditCode::OpeningsMissing),
        ("checkpoint", Box::new(|b| b.truncate(b.len() - 9)), AuditCode::CheckpointSignature),
    ];
    for (name, damage, code) in cases {
        let whole = fs::read(of(name)).unwrap();
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(of(name), bytes).unwrap();
        let audit = ledger.audit().await.unwrap();
        assert_eq!(audit.result, AuditResult::Mismatch, "{name}");
        assert!(audit.findings.iter().any(|f| f.code == code), "{name}: {:#?}", audit.findings);
        fs::write(of(name), whole).unwrap();
    }
    let text = "UPDATE openings SET personal = evidential WHERE force = $1 AND leaf_index = 7";
    sqlx::query(text).bind(support::ORIGIN).execute(ledger.records().pool()).await.unwrap();
    let audit = ledger.audit().await.unwrap();
    assert_eq!(audit.findings.len(), 1, "{:#?}", audit.findings);
    assert_eq!(audit.findings[0].code, AuditCode::DatabaseDiffers);
    assert_eq!(audit.findings[0].leaf_index, Some(LeafIndex(7)));
}

async fn an_export_is_the_ledger(home: Home) {
    let ledger = home.open().await;
    for answer in join_all((0..260).map(|n| ledger.submit(act(n)))).await {
        answer.unwrap();
    }
    let out = home.path().join("export");
    assert_eq!(ledger.export(&out).await.unwrap(), TreeSize(262));
    let mut frontier = Frontier::new();
    for name in ["000", "001.p/6"] {
        let bundle = fs::read(out.join("tile/entries").join(name)).unwrap();
        let tile = fs::read(out.join("tile/0").join(name)).unwrap();
        let entries = chain_of_custody::tile::decode_entries(&bundle).unwrap();
        for (entry, hash) in entries.into_iter().zip(tile.chunks(32)) {
            assert_eq!(leaf_hash(entry).0, hash);
            frontier.append(leaf_hash(entry));
        }
    }
    assert_eq!(frontier.root(), ledger.latest().unverified().root);
    let checkpoint = fs::read_to_string(out.join("checkpoint")).unwrap();
    assert_eq!(checkpoint, ledger.latest().to_string());
    // Partial files go once the full one stands.
    ledger.close().await;
    let stored = home.objects_path().join(format!("ledger/{}", support::ORIGIN));
    assert!(stored.join("tile/0/000").exists() && !stored.join("tile/0/000.p/2").exists());
    assert!(!stored.join("tile/entries/000.p/2").exists());
}

/// All that the ledger has now, as a rebuild takes it.
async fn stored(ledger: &storage::ledger::Ledger) -> Vec<StoredEntry> {
    let mut follower = ledger.follow(LeafIndex(0));
    let mut entries = Vec::new();
    for _ in 0..ledger.latest().unverified().size.0 {
        let followed = follower.next().await.unwrap();
        let personal = |o: &chain_of_custody::entry::Opening| {
            o.name.class() == chain_of_custody::event::Class::Personal
        };
        let (personal, evidential) = followed.openings.into_iter().partition(personal);
        let bytes = followed.entry.to_bytes().unwrap();
        entries.push(StoredEntry { index: followed.index, bytes, evidential, personal });
    }
    entries
}

#[tokio::test]
async fn another_key_opens_no_ledger() {
    let home = Home::sqlite();
    home.open().await.close().await;
    let key = chain_of_custody::note::SigningKey::from_seed(support::ORIGIN, [4; 32]).unwrap();
    let options =
        storage::ledger::LedgerOptions { signer: std::sync::Arc::new(key), ..support::options() };
    let kek = storage::objects::Kek::new([9; 32].into());
    let objects = storage::objects::ObjectStore::open(&home.objects_path(), kek).unwrap();
    let records = home.records().await;
    let refused = storage::ledger::Ledger::open(records, objects, options).await;
    assert!(matches!(refused, Err(LedgerError::OtherKey { .. })));
}

#[tokio::test]
async fn the_first_entries_say_what_the_ledger_is() {
    let home = Home::sqlite();
    let ledger = home.open().await;
    let mut follower = ledger.follow(LeafIndex(0));
    assert_eq!(follower.next().await.unwrap().entry.kind, EventKind::LedgerOpened);
    assert_eq!(follower.next().await.unwrap().entry.kind, EventKind::KeyPublished);
    let keys = ledger.records().published_keys().await.unwrap();
    assert_eq!((keys.len(), keys[0].role.as_str()), (1, "log"));
}

//! The records: what events make of them, what can be asked, and that a rebuild equals them row by row.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use chain_of_custody::command::{Command, Guard, Refusal, SourceKey};
use chain_of_custody::digest::{Digests, Sha256};
use chain_of_custody::entry::{Opening, Salt};
use chain_of_custody::event::{Class, EventKind, access, field};
use chain_of_custody::ids::{CaseId, EventId, ItemId, LeafIndex, SubjectId, SubjectKind, UserId};
use chain_of_custody::note::Signer as _;
use chain_of_custody::time::Timestamp;
use storage::ledger::{Ledger, SubmitError, rebuild_from_store};
use storage::objects::{Kek, ObjectStore};
use storage::records::{Handling, ItemRecord, Records, RecordsError, Search, StoredEntry, Table};
use support::{Home, ORIGIN, assert_clean, device};

on_both_databases!(
    an_item_is_found_in_every_way,
    the_same_recording_is_refused_once_held,
    a_rebuild_equals_the_records_row_by_row,
    holds_and_reviews_follow_the_events,
    what_people_may_see_follows_the_events,
    a_link_opens_one_session_once,
);

fn id() -> EventId {
    EventId::from_uuid(uuid::Uuid::now_v7())
}

fn item(n: u64) -> ItemId {
    ItemId::from_uuid(uuid::Uuid::from_u128(0x3_0000 + u128::from(n)))
}

fn person(n: u64) -> UserId {
    UserId::from_uuid(uuid::Uuid::from_u128(0x4_0000 + u128::from(n)))
}

fn case(n: u64) -> CaseId {
    CaseId::from_uuid(uuid::Uuid::from_u128(0x5_0000 + u128::from(n)))
}

fn salt() -> Salt {
    Salt([5; 32])
}

fn digests(n: u64) -> Digests {
    Digests::of(format!("footage {n}").as_bytes())
}

fn source(n: u64) -> SourceKey {
    let sha256: Sha256 = digests(n).sha256;
    SourceKey::new(&device(1).to_string(), &format!("CAM-{n}"), "-", &sha256)
}

fn received(n: u64, state: &str, name: &str) -> Command {
    Command::new(EventKind::ItemReceived, id())
        .touching(item(n))
        .touching(device(1))
        .provided(Guard::SubjectIsNew(item(n).into()))
        .provided(Guard::NoSuchSource(source(n)))
        .field(field::STATE, state, salt())
        .field(field::NAME, name, salt())
        .field(field::SIZE_BYTES, "734003200", salt())
        .field(field::SHA256, digests(n).sha256.to_string(), salt())
        .field(field::BLAKE3, digests(n).blake3.to_string(), salt())
        .field(field::OBJECT, "{\"name\":\"x\"}", salt())
        .field(field::DEVICE, device(1).to_string(), salt())
        .field(field::CAMERA, format!("CAM-{n}"), salt())
        .field(field::RECORDING, "-", salt())
        .field(field::BY, "the dock", salt())
}

fn derived(n: u64, recipe: &str) -> Command {
    Command::new(EventKind::ItemDerived, id())
        .touching(item(n))
        .field(field::KIND, "proxy", salt())
        .field(field::RECIPE_ID, recipe, salt())
        .field(field::RECIPE, "{}", salt())
        .field(field::SIZE_BYTES, "12", salt())
        .field(field::SHA256, digests(90).sha256.to_string(), salt())
        .field(field::BLAKE3, digests(90).blake3.to_string(), salt())
        .field(field::OBJECT, "{}", salt())
}

async fn submit(ledger: &Ledger, command: Command) -> LeafIndex {
    ledger.submit(command).await.unwrap().leaf_index
}

async fn an_item_is_found_in_every_way(home: Home) {
    let ledger = home.open().await;
    let at = submit(&ledger, received(1, "stored", "High St 50%_off \u{202e}4pm.exe")).await;
    submit(&ledger, received(2, "quarantined", "other\0.mp4")).await;
    let failed = Command::new(EventKind::ItemDerivationFailed, id())
        .touching(item(1))
        .field(field::KIND, "poster", salt())
        .field(field::RECIPE_ID, "r9", salt())
        .field(field::REASON_CODE, "no-video", salt());
    submit(&ledger, failed).await;
    submit(&ledger, derived(1, "r1")).await;
    submit(&ledger, Command::new(EventKind::ItemRestricted, id()).touching(item(1))).await;
    let records = ledger.records();
    let view = records.item_view(item(1)).await.unwrap().unwrap();
    assert_eq!((view.record.leaf_index, view.record.size_bytes), (at, 734_003_200));
    assert_eq!(view.record.disclosure_status, "unassessed");
    assert!(view.record.restricted && view.record.state == "stored");
    let kinds: Vec<_> = view.events.iter().map(|e| (e.kind.as_str(), e.by.as_str())).collect();
    assert_eq!(kinds[0], ("item.received", "the dock"));
    assert_eq!(kinds.len(), 4);
    assert_eq!(view.derivatives[0].digests, digests(90));
    assert_eq!(view.failures[0].reason_code, "no-video");
    let by_digest = records.items_by_sha256(digests(1).sha256).await.unwrap();
    assert_eq!(by_digest, records.items_by_blake3(digests(1).blake3).await.unwrap());
    assert_eq!(by_digest, std::slice::from_ref(&view.record));
    assert_eq!(records.item(item(2)).await.unwrap().unwrap().name, "other\u{fffd}.mp4");
    assert!(records.item(item(3)).await.unwrap().is_none());
    assert_found(records, Search::default(), &[2, 1]).await;
    let text = |text: &str| Search { text: Some(text.to_owned()), ..Search::default() };
    assert_found(records, text("50%_OFF"), &[1]).await;
    assert_found(records, text("5%off"), &[]).await;
    assert_found(records, text("cam-2"), &[2]).await;
    let other = Search { device: Some(device(2)), ..Search::default() };
    assert_found(records, other, &[]).await;
    assert_found(records, Search { limit: 1, ..Search::default() }, &[2]).await;
    let next = Search { after: Some(LeafIndex(at.0 + 1)), ..Search::default() };
    assert_found(records, next, &[1]).await;
    let before = Search { to: Some(view.record.received_at), ..Search::default() };
    assert_found(records, before, &[]).await;
}

async fn assert_found(records: &Records, search: Search, expected: &[u64]) {
    let found = records.search(&search).await.unwrap();
    let expected: Vec<_> = expected.iter().map(|n| item(*n)).collect();
    assert_eq!(found.iter().map(|r| r.item).collect::<Vec<_>>(), expected, "{search:?}");
}

async fn the_same_recording_is_refused_once_held(home: Home) {
    let ledger = home.open().await;
    submit(&ledger, received(1, "quarantined", "a")).await;
    assert!(ledger.records().held_from(source(1)).await.unwrap().is_none(), "not held yet");
    let again = |n: u64| {
        let mut command = received(1, "stored", "a");
        command.guards = vec![Guard::NoSuchSource(source(1))];
        command.subjects = vec![item(n).into()];
        command
    };
    let first = submit(&ledger, again(7)).await;
    let refused = ledger.submit(again(8)).await.unwrap_err();
    let duplicate = Refusal::Duplicate { item: item(7), leaf_index: first };
    assert_eq!(refused, SubmitError::Refused(duplicate));
    let held = ledger.records().held_from(source(1)).await.unwrap().unwrap();
    assert_eq!((held.item, held.leaf_index), (item(7), first));
    assert!(ledger.records().item(item(8)).await.unwrap().is_none());
}

async fn a_rebuild_equals_the_records_row_by_row(home: Home) {
    let ledger = home.open().await;
    everything(&ledger).await;
    let dumped = dump(ledger.records()).await;
    for (table, rows) in &dumped {
        assert!(!rows.is_empty(), "nothing of {table} is compared");
    }
    let published = ledger.latest();
    let stored = stored(&ledger).await;
    ledger.close().await;
    let fresh = home.another();
    let records = fresh.records().await;
    let objects = ObjectStore::open(&home.objects_path(), Kek::new([9; 32].into())).unwrap();
    let beyond = leave_files_beyond(&objects, published.unverified().size.0).await;
    let (origin, key) = (ORIGIN.parse().unwrap(), support::log_key().vkey());
    let size = rebuild_from_store(&records, objects, &origin, &key).await.unwrap();
    assert_eq!(size, published.unverified().size);
    assert_eq!(dump(&records).await, dumped);
    let twice = records.rebuild(stored.clone(), &published).await.unwrap_err();
    assert!(matches!(twice, RecordsError::NotEmpty));
    let goes_on = support::open_with(records, &home.objects_path()).await.unwrap();
    assert_clean(&goes_on).await;
    goes_on.submit(received(50, "stored", "later")).await.unwrap();
    for (from, bytes) in beyond {
        let kept = std::fs::read(home.objects_path().join("aside").join(&from)).unwrap();
        assert!(kept == bytes, "{from} is kept");
    }
    assert_clean(&goes_on).await;
    let another = home.another();
    let gap = another.records().await;
    let missing = stored.into_iter().filter(|entry| entry.index.0 != 3);
    assert!(matches!(gap.rebuild(missing, &published).await, Err(RecordsError::Corrupt { .. })));
}

/// What a crash between the files of a batch and its checkpoint leaves, when the database is lost too: names that the next
/// batch will need, with other bytes.
async fn leave_files_beyond(objects: &ObjectStore, size: u64) -> Vec<(String, Vec<u8>)> {
    let width = size % 256 + 1;
    let tile = [format!("ledger/{ORIGIN}/tile/0/000.p/{width}")];
    let bundle = [format!("ledger/{ORIGIN}/tile/entries/000.p/{width}")];
    let mut left = Vec::new();
    for name in tile.into_iter().chain(bundle) {
        objects.put_new(&name, "of another batch").await.unwrap();
        left.push((name, b"of another batch".to_vec()));
    }
    for name in ["ledger/ORIGIN/evidential/000.p/", "openings/ORIGIN/000.p/"] {
        let name = format!("{}{width}", name.replace("ORIGIN", ORIGIN));
        objects.put_sealed(&name, "of another batch").await.unwrap();
    }
    left
}

/// Each event that makes or changes a row, also those that come before what they are about.
async fn everything(ledger: &Ledger) {
    let enrolled = |n: u64, name: &str| {
        Command::new(EventKind::DeviceEnrolled, id())
            .touching(device(n))
            .field(field::NAME, name, salt())
            .field(field::CREDENTIAL_ID, "c1", salt())
    };
    let about = |kind, n: u64| Command::new(kind, id()).touching(item(n));
    let reason = |command: Command, code: &str| command.field(field::REASON_CODE, code, salt());
    let mut commands = vec![
        about(EventKind::ItemRestricted, 1),
        enrolled(1, "dock"),
        enrolled(2, "camera"),
        Command::new(EventKind::DeviceRevoked, id()).touching(device(2)),
        Command::new(EventKind::DeviceRevoked, id()).touching(device(1)),
        enrolled(1, "dock again"),
        // Without its guard, so that an event about it can come first.
        Command { guards: Vec::new(), ..received(1, "stored", "one") },
        received(2, "stored", "two"),
        about(EventKind::ItemRestricted, 2),
        about(EventKind::ItemRestricted, 2).field(field::RESTRICTED, "false", salt()),
        reason(about(EventKind::StorageFault, 1), "bit-flip"),
        reason(about(EventKind::StorageFault, 2), "missing"),
        about(EventKind::ItemVerified, 2),
        about(EventKind::ItemDuplicate, 1).field(field::UPLOAD, "u", salt()),
        derived(1, "r1"),
        reason(about(EventKind::ItemDerivationFailed, 2), "no-video"),
        // Up to here one by one: a rebuild, which takes many together, must make the same rows of what follows.
        derived(1, "r1"),
        reason(about(EventKind::ItemDerivationFailed, 2), "timed-out"),
        Command::new(EventKind::KeyPublished, id())
            .touching(device(1))
            .public("role", "dock-agent")
            .public("key", "vkey"),
        Command::new(EventKind::BundleExported, id())
            .touching(item(1))
            .field(field::PURPOSE, "court", salt())
            .field(field::ITEMS, "[]", salt()),
        about(EventKind::ItemViewed, 1),
        Command::new(EventKind::ConfigurationLowered, id()).field(field::SETTING, "x", salt()),
    ];
    commands.extend(people_and_cases());
    let (one_by_one, together) = commands.split_at(16);
    for command in one_by_one {
        ledger.submit(command.clone()).await.unwrap();
    }
    let together = together.iter().map(|command| ledger.submit(command.clone()));
    for answer in futures_util::future::join_all(together).await {
        answer.unwrap();
    }
    let records = ledger.records();
    let one = records.item(item(1)).await.unwrap().unwrap();
    let two = records.item(item(2)).await.unwrap().unwrap();
    assert_eq!((one.restricted, one.fault.as_str()), (false, "bit-flip"), "restricted before");
    assert_eq!((two.restricted, two.fault.as_str()), (false, ""));
    assert!(two.verified_at.is_some());
    let failures = records.failures(item(2)).await.unwrap();
    assert_eq!((failures.len(), failures[0].reason_code.as_str()), (1, "timed-out"));
    let devices = records.devices().await.unwrap();
    let active: Vec<_> = devices.iter().map(|d| (d.name.as_str(), d.is_active())).collect();
    assert_eq!(active, [("camera", false), ("dock again", true)]);
    assert_eq!(records.keys_of_device(device(1)).await.unwrap()[0].role, "dock-agent");
}

/// Each event that makes, changes or ends a row about people and cases, also out of order and twice.
fn people_and_cases() -> Vec<Command> {
    let change = |code: &str| {
        Command::new(EventKind::AccessChanged, id()).field(field::REASON_CODE, code, salt())
    };
    let about =
        |code: &str, user: u64| change(code).field(field::USER, person(user).to_string(), salt());
    let added = |n: u64, role: &str| {
        change(access::USER_ADDED)
            .touching(person(n))
            .field(field::NAME, format!("Person {n}"), salt())
            .field(field::NUMBER, format!("{n}"), salt())
            .field(field::ROLE, role, salt())
    };
    let linked = |n: u64, reference: &str| {
        Command::new(EventKind::ItemLinked, id()).touching(item(n)).touching(case(1)).field(
            field::EXHIBIT_REFERENCE,
            reference,
            salt(),
        )
    };
    vec![
        change(access::USER_REMOVED).touching(person(1)),
        added(1, "investigator"),
        added(2, "operator"),
        added(3, "investigator"),
        change(access::USER_REMOVED).touching(person(2)),
        change(access::LINK_GIVEN).touching(person(1)),
        Command::new(EventKind::CaseOpened, id())
            .touching(case(1))
            .field(field::CASE_REFERENCE, "01AB/1", salt())
            .field(field::TITLE, "Harlow", salt())
            .field(field::USER, person(1).to_string(), salt()),
        about(access::MEMBER_ADDED, 3).touching(case(1)),
        about(access::MEMBER_ADDED, 3).touching(case(1)),
        about(access::MEMBER_REMOVED, 1).touching(case(1)),
        about(access::MEMBER_ADDED, 1).touching(case(1)),
        about("from-the-future", 1).touching(case(1)),
        linked(1, ""),
        linked(1, "JSM/1"),
        linked(2, "JSM/2"),
        Command::new(EventKind::ItemUnlinked, id()).touching(item(2)).touching(case(1)),
        about(access::VIEWER_ALLOWED, 1).touching(item(2)),
        about(access::VIEWER_ALLOWED, 3).touching(item(2)),
        about(access::VIEWER_WITHDRAWN, 3).touching(item(2)),
        refused(&item(2).to_string()),
        refused("-"),
        hold(EventKind::HoldSet, item(1)),
        hold(EventKind::HoldSet, item(1)),
        hold(EventKind::HoldSet, item(2)),
        hold(EventKind::HoldReleased, item(2)),
        hold(EventKind::HoldSet, case(1)),
        review("2031-05-03"),
        review("some day"),
        review("2030-01-01"),
    ]
}

fn hold(kind: EventKind, of: impl Into<SubjectId>) -> Command {
    Command::new(kind, id()).touching(of).field(field::REASON, "an appeal", salt())
}

fn review(until: &str) -> Command {
    let command = Command::new(EventKind::RetentionReviewed, id()).touching(item(1));
    command.field(field::KEEP_UNTIL, until, salt())
}

async fn holds_and_reviews_follow_the_events(home: Home) {
    let ledger = home.open().await;
    everything(&ledger).await;
    let records = ledger.records();
    let held: Vec<_> = records.holds().await.unwrap().into_iter().map(|h| h.subject).collect();
    assert_eq!(held, [item(1).into(), case(1).into()], "in their order, each once");
    assert_eq!(records.holds_on(item(1)).await.unwrap().len(), 2, "itself, and with its case");
    assert_eq!(records.holds_on(item(2)).await.unwrap(), []);
    let until = records.keep_until(item(1)).await.unwrap().unwrap();
    assert_eq!(until.to_string(), "2030-01-02T00:00:00.000Z", "the newest that names a day");
    assert_eq!(records.keep_until(item(2)).await.unwrap(), None);
}

fn refused(asked: &str) -> Command {
    Command::new(EventKind::AccessRefused, id())
        .touching(SubjectId::new(SubjectKind::Force, ORIGIN).unwrap())
        .field(field::REASON_CODE, "item", salt())
        .field(field::ITEM, asked, salt())
}

async fn what_people_may_see_follows_the_events(home: Home) {
    let ledger = home.open().await;
    everything(&ledger).await;
    ledger.submit(received(3, "stored", "free")).await.unwrap();
    ledger.submit(received(4, "stored", "restricted")).await.unwrap();
    let restricted = Command::new(EventKind::ItemRestricted, id()).touching(item(4));
    ledger.submit(restricted).await.unwrap();
    let records = ledger.records();
    let seen = |user: u64, case: Option<CaseId>| async move {
        let found = records.visible_items(person(user), case, &Search::default()).await.unwrap();
        found.iter().map(|record| record.item).collect::<Vec<_>>()
    };
    assert_eq!(seen(1, None).await, [3, 2, 1].map(item));
    assert_eq!(seen(2, None).await, [3, 2].map(item), "item 1 is in a case of others");
    assert_eq!(seen(1, Some(case(1))).await, [1].map(item));
    assert_eq!(seen(2, Some(case(1))).await, []);
    assert!(records.visible_item(person(1), item(1)).await.unwrap().is_some());
    for (user, hidden) in [(2, 1), (1, 4), (1, 9)] {
        assert!(records.visible_item(person(user), item(hidden)).await.unwrap().is_none());
    }
    let allowed = Command::new(EventKind::AccessChanged, id())
        .touching(item(4))
        .field(field::REASON_CODE, access::VIEWER_ALLOWED, salt())
        .field(field::USER, person(2).to_string(), salt());
    ledger.record(allowed).await.unwrap();
    assert_eq!(seen(2, None).await, [4, 3, 2].map(item), "as soon as it is recorded");
    assert_eq!(seen(1, None).await, [3, 2, 1].map(item));
    let text = Search { text: Some("FREE".to_owned()), ..Search::default() };
    assert_eq!(records.visible_items(person(1), None, &text).await.unwrap().len(), 1);
    let of_device = Search { device: Some(device(1)), from: None, ..text };
    assert_eq!(records.visible_items(person(1), None, &of_device).await.unwrap().len(), 1);
    let linked = records.case_items(person(1), case(1)).await.unwrap();
    assert_eq!((linked.len(), linked[0].exhibit_reference.as_str()), (1, "JSM/1"));
    let members = records.case_members(case(1)).await.unwrap();
    assert_eq!(members.iter().map(|m| m.user).collect::<Vec<_>>(), [person(3), person(1)]);
    let viewers = records.item_viewers(item(2)).await.unwrap();
    assert_eq!(viewers.iter().map(|m| m.user).collect::<Vec<_>>(), [person(1)]);
    for (handling, items) in [
        (Handling::Restricted, vec![4]),
        (Handling::Usual, vec![3, 2, 1]),
        (Handling::Quarantined, vec![]),
    ] {
        let search = Search { handling: Some(handling), ..Search::default() };
        let found = records.search(&search).await.unwrap();
        let seen = records.visible_items(person(2), None, &search).await.unwrap();
        let ids = |found: &[ItemRecord]| found.iter().map(|r| r.item).collect::<Vec<_>>();
        assert_eq!(ids(&found), items.iter().map(|n| item(*n)).collect::<Vec<_>>(), "{handling:?}");
        assert_eq!(
            ids(&seen),
            [4, 3, 2].map(item).into_iter().filter(|i| ids(&found).contains(i)).collect::<Vec<_>>()
        );
    }
    let events = records.item_events_behind(item(2), None, 100).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "access.refused").count(), 1, "{kinds:?}");
    assert!(events.is_sorted_by_key(|event| event.leaf_index));
    let behind = records.item_events_behind(item(2), Some(events[0].leaf_index), 1).await.unwrap();
    assert_eq!(behind, events[1..2]);
    assert_eq!(records.cases(Some(person(1))).await.unwrap()[0].title, "Harlow");
    assert!(records.cases(Some(person(2))).await.unwrap().is_empty());
    assert_eq!(records.cases_of_item(item(1)).await.unwrap()[0].case, case(1));
    assert_eq!(records.users().await.unwrap().len(), 3);
    assert!(records.active_user("2").await.unwrap().is_none(), "their account has ended");
    assert_eq!(records.active_user("1").await.unwrap().unwrap().user, person(1));
    assert_eq!(records.counts().await.unwrap().items, 4);
}

async fn a_link_opens_one_session_once(home: Home) {
    let ledger = home.open().await;
    everything(&ledger).await;
    let records = ledger.records();
    let at =
        |seconds: i64| Timestamp::from_unix_millis(1_800_000_000_000 + seconds * 1000).unwrap();
    let token = |text: &str| Sha256::of(text.as_bytes());
    records.add_link(&token("first"), person(1), at(100), at(0)).await.unwrap();
    records.add_link(&token("second"), person(1), at(100), at(1)).await.unwrap();
    assert!(records.link(&token("first")).await.unwrap().is_none(), "a newer one replaces it");
    assert_eq!(records.link(&token("second")).await.unwrap().unwrap().user.user, person(1));
    let redeem = |session: &'static str, now| {
        let session = token(session);
        async move { records.use_link(&token("second"), &session, at(1000), now).await.unwrap() }
    };
    assert!(!redeem("late", at(100)).await, "over");
    let both = futures_util::future::join(redeem("one", at(2)), redeem("two", at(2))).await;
    assert!(both.0 != both.1, "one of two");
    let session = token(if both.0 { "one" } else { "two" });
    assert_eq!(records.session(&session).await.unwrap().unwrap().expires_at, at(1000));
    records.touch_session(&session, at(50)).await.unwrap();
    records.forget_sessions(at(49), at(60)).await.unwrap();
    assert_eq!(records.session(&session).await.unwrap().unwrap().seen_at, at(50));
    records.end_access(person(1)).await.unwrap();
    assert!(records.session(&session).await.unwrap().is_none());
    assert!(records.link(&token("second")).await.unwrap().is_none());
}

async fn dump(records: &Records) -> Vec<(&'static str, Vec<String>)> {
    let mut all = Vec::new();
    for table in Table::RECORDS {
        all.push((table.name, records.dump(*table).await.unwrap()));
    }
    all
}

async fn stored(ledger: &Ledger) -> Vec<StoredEntry> {
    let mut follower = ledger.follow(LeafIndex(0));
    let mut entries = Vec::new();
    for _ in 0..ledger.latest().unverified().size.0 {
        let followed = follower.next().await.unwrap();
        let personal = |o: &Opening| o.name.class() == Class::Personal;
        let (personal, evidential) = followed.openings.into_iter().partition(personal);
        let bytes = followed.entry.to_bytes().unwrap();
        entries.push(StoredEntry { index: followed.index, bytes, evidential, personal });
    }
    entries
}

#[tokio::test]
async fn sqlite_and_postgresql_hold_the_same_rows() {
    let (one, other) = (Home::sqlite(), Home::postgres());
    let ledger = one.open().await;
    everything(&ledger).await;
    let records = other.records().await;
    records.rebuild(stored(&ledger).await, &ledger.latest()).await.unwrap();
    assert_eq!(dump(&records).await, dump(ledger.records()).await);
    assert_eq!(records.force(), ORIGIN);
}

/// An administrator's setting for the database does not make our commits less durable.
#[tokio::test]
async fn every_connection_to_postgresql_commits_durably() {
    let url = Home::postgres().database_url();
    let records = Records::connect(&url, ORIGIN).await.unwrap();
    let text = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', \
        current_database()); END $$";
    sqlx::raw_sql(text).execute(records.pool()).await.unwrap();
    records.close().await;
    sqlx::any::install_default_drivers();
    let mut bare = <sqlx::AnyConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let show = "SELECT current_setting('synchronous_commit')";
    let set: String = sqlx::query_scalar(show).fetch_one(&mut bare).await.unwrap();
    assert_eq!(set, "off", "the administrator's setting is there");
    let records = Records::connect(&url, ORIGIN).await.unwrap();
    let ours: String = sqlx::query_scalar(show).fetch_one(records.pool()).await.unwrap();
    assert_eq!(ours, "on");
}

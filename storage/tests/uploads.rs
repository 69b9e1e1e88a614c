//! Uploads as working state: guarded steps, and an account of every byte, on both databases.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use chain_of_custody::digest::{Digests, Sha256};
use chain_of_custody::ids::{EventId, ItemId, LeafIndex, UploadId};
use chain_of_custody::time::Timestamp;
use storage::records::{
    ByteAccount, Moved, NewUpload, Outcome, Records, TokenOwner, UploadEnding, UploadRow,
    UploadShape, UploadState,
};
use support::{Home, device};

on_both_databases!(
    an_upload_from_its_beginning_to_its_answer,
    whoever_is_late_changes_nothing,
    a_concatenation_takes_its_partials_bytes,
    what_nobody_touches_is_found_and_what_ends_is_counted,
    a_token_opens_until_it_is_revoked,
);

fn at(unix_ms: i64) -> Timestamp {
    Timestamp::from_unix_millis(unix_ms).unwrap()
}

fn new(n: u128, shape: UploadShape, parts: Vec<UploadId>) -> NewUpload {
    let id = uuid::Uuid::from_u128(n);
    NewUpload {
        upload: UploadId::from_uuid(id),
        device: Some(device(1)),
        by: "device".into(),
        read_by: "tus".into(),
        shape,
        length_bytes: None,
        item: ItemId::from_uuid(id),
        event: EventId::from_uuid(id),
        duplicate_event: EventId::from_uuid(uuid::Uuid::from_u128(n + 1000)),
        claims: "{}".into(),
        metadata: "filename YQ==".into(),
        parts,
    }
}

async fn begun(records: &Records, new: &NewUpload) -> UploadRow {
    records.begin_upload(new, at(1000)).await.unwrap();
    row(records, new).await
}

async fn row(records: &Records, new: &NewUpload) -> UploadRow {
    records.upload(new.upload).await.unwrap().unwrap()
}

async fn account(records: &Records) -> ByteAccount {
    let account = records.byte_account(Some(device(1))).await.unwrap();
    assert!(account.balances(), "{account:?}");
    account
}

fn ending(outcome: Outcome) -> UploadEnding {
    let item = ItemId::from_uuid(uuid::Uuid::from_u128(77));
    UploadEnding { outcome, item, leaf_index: LeafIndex(5), reason_code: "code".into() }
}

async fn an_upload_from_its_beginning_to_its_answer(home: Home) {
    let records = home.records().await;
    let new = new(1, UploadShape::Whole, vec![]);
    let first = begun(&records, &new).await;
    assert_eq!(
        (first.state, first.offset_bytes, first.length_bytes),
        (UploadState::Receiving, 0, None)
    );
    assert_eq!(first.metadata, new.metadata);
    assert_eq!(records.open_uploads(Some(device(1))).await.unwrap(), (1, 1));
    assert_eq!(records.open_uploads(Some(device(2))).await.unwrap(), (0, 1));
    assert_eq!(records.set_upload_length(&first, 90).await.unwrap(), Moved::Yes);
    assert_eq!(records.set_upload_manifest(&first, "note").await.unwrap(), Moved::Yes);
    assert_eq!(records.advance_upload(&first, 40, "{}", at(2000)).await.unwrap(), Moved::Yes);
    assert_eq!(account(&records).await.in_flight, 40);
    let second = row(&records, &new).await;
    assert_eq!((second.offset_bytes, second.length_bytes), (40, Some(90)));
    assert_eq!((second.writer.as_deref(), second.manifest.as_deref()), (Some("{}"), Some("note")));
    let digests = Digests::of(b"all");
    assert_eq!(
        records.seal_upload(&second, 90, "[]", &digests, at(3000)).await.unwrap(),
        Moved::Yes
    );
    let third = row(&records, &new).await;
    assert_eq!(third.sealed, Some(("[]".to_owned(), digests)));
    assert_eq!(account(&records).await.in_flight, 90);
    let stored = ending(Outcome::Stored);
    assert_eq!(records.finish_upload(&third, Some(&stored), at(4000)).await.unwrap(), Moved::Yes);
    assert_eq!(row(&records, &new).await.ending, Some(stored));
    let account = account(&records).await;
    assert_eq!((account.begun, account.stored, account.in_flight), (90, 90, 0));
    assert_eq!(records.open_uploads(Some(device(1))).await.unwrap(), (0, 0));
    records.forget_upload(new.upload).await.unwrap();
    assert!(records.upload(new.upload).await.unwrap().is_none());
}

/// Two servers: the client of the first has gone on at the second.
#[tokio::test]
async fn a_server_that_lost_the_turn_changes_nothing() {
    let home = Home::postgres();
    let (one, two) = (home.records().await, home.records().await);
    let new = new(1, UploadShape::Whole, vec![]);
    begun(&one, &new).await;
    let stale = one.take_upload(new.upload).await.unwrap().unwrap();
    let taken = two.take_upload(new.upload).await.unwrap().unwrap();
    let (digests, late) = (Digests::of(b"all"), Moved::SomebodyWasFaster);
    assert_eq!(one.advance_upload(&stale, 10, "a", at(1)).await.unwrap(), late);
    assert_eq!(one.set_upload_length(&stale, 10).await.unwrap(), late);
    assert_eq!(one.set_upload_manifest(&stale, "note").await.unwrap(), late);
    assert_eq!(one.seal_upload(&stale, 10, "s", &digests, at(2)).await.unwrap(), late);
    assert_eq!(one.end_upload(&stale, at(3)).await.unwrap(), late);
    assert_eq!(account(&one).await.begun, 0);
    assert_eq!(two.advance_upload(&taken, 20, "b", at(4)).await.unwrap(), Moved::Yes);
    let now = row(&two, &new).await;
    assert_eq!((now.offset_bytes, now.writer.as_deref()), (20, Some("b")));
    assert_eq!(two.seal_upload(&now, 30, "s", &digests, at(5)).await.unwrap(), Moved::Yes);
    let (sealed, answer) = (row(&two, &new).await, ending(Outcome::Stored));
    let stale = UploadRow { turn: stale.turn, ..sealed.clone() };
    assert_eq!(one.finish_upload(&stale, Some(&answer), at(6)).await.unwrap(), late);
    assert_eq!(two.finish_upload(&sealed, Some(&answer), at(7)).await.unwrap(), Moved::Yes);
    assert_eq!(account(&two).await.stored, 30);
}

async fn whoever_is_late_changes_nothing(home: Home) {
    let records = home.records().await;
    let new = new(1, UploadShape::Whole, vec![]);
    let stale = begun(&records, &new).await;
    assert_eq!(records.advance_upload(&stale, 10, "a", at(1)).await.unwrap(), Moved::Yes);
    assert_eq!(
        records.advance_upload(&stale, 20, "b", at(2)).await.unwrap(),
        Moved::SomebodyWasFaster
    );
    let digests = Digests::of(b"");
    let sealed = records.seal_upload(&stale, 20, "s", &digests, at(3)).await.unwrap();
    assert_eq!(sealed, Moved::SomebodyWasFaster);
    let finished =
        records.finish_upload(&stale, Some(&ending(Outcome::Stored)), at(4)).await.unwrap();
    assert_eq!(finished, Moved::SomebodyWasFaster);
    assert_eq!(records.set_upload_length(&stale, 10).await.unwrap(), Moved::Yes);
    assert_eq!(records.set_upload_length(&stale, 11).await.unwrap(), Moved::SomebodyWasFaster);
    records.forget_upload(new.upload).await.unwrap();
    let now = row(&records, &new).await;
    assert_eq!(
        (now.offset_bytes, now.writer.as_deref()),
        (10, Some("a")),
        "an open upload is not forgotten"
    );
    assert_eq!(records.end_upload(&now, at(5)).await.unwrap(), Moved::Yes);
    assert_eq!(records.end_upload(&now, at(6)).await.unwrap(), Moved::SomebodyWasFaster);
    assert_eq!(account(&records).await.abandoned, 10);
}

async fn a_concatenation_takes_its_partials_bytes(home: Home) {
    let records = home.records().await;
    let (one, two) = (new(1, UploadShape::Partial, vec![]), new(2, UploadShape::Partial, vec![]));
    let digests = Digests::of(b"");
    for partial in [&one, &two] {
        let begun = begun(&records, partial).await;
        assert_eq!(
            records.seal_upload(&begun, 30, "s", &digests, at(1)).await.unwrap(),
            Moved::Yes
        );
        let sealed = row(&records, partial).await;
        assert_eq!(records.finish_upload(&sealed, None, at(2)).await.unwrap(), Moved::Yes);
    }
    assert_eq!(account(&records).await.in_flight, 60);
    let whole = new(3, UploadShape::Final, vec![one.upload, two.upload]);
    let composed = begun(&records, &whole).await;
    assert_eq!(composed.parts, whole.parts);
    assert_eq!(records.seal_upload(&composed, 60, "s", &digests, at(3)).await.unwrap(), Moved::Yes);
    assert_eq!(row(&records, &one).await.state, UploadState::Composed);
    assert_eq!(account(&records).await.in_flight, 60);
    let again = new(4, UploadShape::Final, vec![one.upload]);
    let again = begun(&records, &again).await;
    let late = records.seal_upload(&again, 30, "s", &digests, at(4)).await.unwrap();
    assert_eq!(late, Moved::SomebodyWasFaster, "a partial went into two items");
    let sealed = row(&records, &whole).await;
    let stored = ending(Outcome::Quarantined);
    assert_eq!(records.finish_upload(&sealed, Some(&stored), at(5)).await.unwrap(), Moved::Yes);
    assert_eq!(account(&records).await.quarantined, 60);
}

async fn what_nobody_touches_is_found_and_what_ends_is_counted(home: Home) {
    let records = home.records().await;
    for n in 1..=3 {
        let begun = begun(&records, &new(n, UploadShape::Whole, vec![])).await;
        let moved = records.advance_upload(&begun, 10, "w", at(1000 * n as i64)).await.unwrap();
        assert_eq!(moved, Moved::Yes);
    }
    let untouched =
        |before, most| records.uploads_untouched(UploadState::Receiving, at(before), most);
    assert_eq!(untouched(999, 9).await.unwrap().len(), 0);
    assert_eq!(untouched(2000, 9).await.unwrap().len(), 2);
    let oldest = untouched(9000, 1).await.unwrap();
    assert_eq!(oldest[0].upload, new(1, UploadShape::Whole, vec![]).upload);
    assert_eq!(records.end_upload(&oldest[0], at(1)).await.unwrap(), Moved::Yes);
    let account = account(&records).await;
    assert_eq!((account.begun, account.abandoned, account.in_flight), (30, 10, 20));
}

async fn a_token_opens_until_it_is_revoked(home: Home) {
    let records = home.records().await;
    let (old, new) = (Sha256::of(b"old"), Sha256::of(b"new"));
    assert_eq!(records.token_owner(&old).await.unwrap(), None);
    records.add_token(&old, device(1), "c1", at(1)).await.unwrap();
    records.add_token(&new, device(1), "c2", at(2)).await.unwrap();
    records.revoke_tokens(device(1), Some("c2"), at(3)).await.unwrap();
    assert_eq!(records.token_owner(&old).await.unwrap(), Some(TokenOwner::Revoked(device(1))));
    assert_eq!(records.token_owner(&new).await.unwrap(), Some(TokenOwner::Device(device(1))));
    records.revoke_tokens(device(1), None, at(4)).await.unwrap();
    assert_eq!(records.token_owner(&new).await.unwrap(), Some(TokenOwner::Revoked(device(1))));
}

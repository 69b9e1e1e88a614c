//! Locks of a real S3 store follow the ledger: links lengthen them, holds are legal holds.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chain_of_custody::canonical;
use chain_of_custody::command::Command;
use chain_of_custody::digest::ContentHasher;
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{CaseId, EventId, ItemId, UploadId};
use storage::ledger::Ledger;
use storage::locks;
use storage::objects::{BucketOptions, Kek, ObjectName, ObjectStore, StoredObject};
use storage::s3::{Bucket, Place, Secret};
use support::{Home, options};
use test_machine::s3::{ACCESS_KEY, SECRET_KEY, Store};
use uuid::Uuid;

const DAY_S: i64 = 24 * 3600;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the store says of a version: days of its lock from now on, and whether it is under a legal hold.
const SAYS: &str = "
import datetime
from botocore.exceptions import ClientError
bucket, key, version = sys.argv[2:5]
until = s3.get_object_retention(Bucket=bucket, Key=key, VersionId=version)['Retention']['RetainUntilDate']
days = (until - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 86400
try:
    hold = s3.get_object_legal_hold(Bucket=bucket, Key=key, VersionId=version)['LegalHold']['Status']
except ClientError:
    hold = 'OFF'
print(round(days), hold)
";

/// A ledger whose originals lie in a bucket.
struct Site {
    store: Versions,
    objects: ObjectStore,
    /// The same, from before it locked anything.
    unlocked: ObjectStore,
    ledger: Ledger,
    /// The database lies in it.
    home: Home,
}

/// The store as root sees it.
struct Versions {
    store: Arc<Store>,
    prefix: String,
}

impl Site {
    async fn new() -> Self {
        let store = tokio::task::spawn_blocking(Store::shared).await.unwrap().unwrap();
        let place = Place {
            bucket: Store::SHARED_BUCKET.to_owned(),
            endpoint: Some(store.endpoint().to_owned()),
            path_style: true,
            credentials: Some(Secret {
                access_key: ACCESS_KEY.to_owned(),
                secret_key: SECRET_KEY.to_owned(),
            }),
            ..Place::default()
        };
        let prefix = format!("{}/", Uuid::now_v7());
        let bucket = Bucket::connect(&place).await.unwrap();
        let locking = |lock_s| {
            let options = BucketOptions { prefix: prefix.clone(), lock_s };
            ObjectStore::in_bucket(bucket.clone(), options, Kek::new([9; 32].into()))
        };
        let (objects, unlocked) = (locking(Some(2 * DAY_S)), locking(None));
        let home = Home::sqlite();
        let ledger = Ledger::open(home.records().await, objects.clone(), options()).await.unwrap();
        Self { store: Versions { store, prefix }, objects, unlocked, ledger, home }
    }
}

impl Versions {
    /// Days of an original's lock from now on, and whether it is under a legal hold.
    fn says(&self, object: &StoredObject) -> String {
        let key = format!("{}{}", self.prefix, object.parts[0].file);
        let version = object.parts[0].version.as_deref().unwrap();
        self.store.boto3(SAYS, &[Store::SHARED_BUCKET, &key, version]).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_lengthens_the_lock_and_a_hold_is_a_legal_hold() {
    let Site { store, objects, ledger, home: _home, .. } = Site::new().await;
    let (item, object) = receive(&ledger, &objects).await;
    let case = CaseId::from_uuid(Uuid::now_v7());
    let says = || store.says(&object);
    assert_eq!(says().trim(), "2 OFF", "the first lock");

    let following = tokio::spawn(locks::follow(ledger.clone(), objects.clone(), 30 * DAY_S));
    let act = |kind| Command::new(kind, EventId::from_uuid(Uuid::now_v7())).touching(item);
    let by = |command: Command| command.field(field::BY, "tester", Salt([2; 32]));
    ledger.submit(by(act(EventKind::ItemLinked).touching(case))).await.unwrap();
    until(&says, "30 OFF").await;
    ledger.submit(by(act(EventKind::HoldSet))).await.unwrap();
    until(&says, "30 ON").await;
    following.abort();

    // A server that starts later goes on where that one was.
    ledger.submit(by(act(EventKind::HoldReleased))).await.unwrap();
    let following = tokio::spawn(locks::follow(ledger.clone(), objects.clone(), DAY_S));
    until(&says, "30 OFF").await;
    // A shorter term never shortens.
    ledger.submit(by(act(EventKind::ItemLinked).touching(case))).await.unwrap();
    ledger.submit(by(act(EventKind::HoldSet))).await.unwrap();
    until(&says, "30 ON").await;
    ledger.submit(by(act(EventKind::HoldReleased))).await.unwrap();
    until(&says, "30 OFF").await;
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_on_a_case_holds_what_is_linked_to_it_and_a_review_bounds_the_lock() {
    let Site { store, objects, unlocked, ledger, home: _home } = Site::new().await;
    let (item, object) = receive(&ledger, &objects).await;
    let (other, other_object) = receive(&ledger, &objects).await;
    let case = CaseId::from_uuid(Uuid::now_v7());
    let first = || store.says(&object);
    let second = || store.says(&other_object);
    let following = tokio::spawn(locks::follow(ledger.clone(), objects.clone(), 30 * DAY_S));
    let act = |kind| {
        let command = Command::new(kind, EventId::from_uuid(Uuid::now_v7()));
        command.field(field::BY, "tester", Salt([2; 32]))
    };
    let review = |item: ItemId, days: i64| {
        let day = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let day = day.to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
        act(EventKind::RetentionReviewed).touching(item).field(
            field::KEEP_UNTIL,
            day,
            Salt([3; 32]),
        )
    };
    // A link locks for thirty days, but not beyond the twenty that were decided.
    ledger.submit(review(item, 20)).await.unwrap();
    until_days(&first, 20..=21, "OFF").await;
    ledger.submit(act(EventKind::ItemLinked).touching(item).touching(case)).await.unwrap();
    ledger.submit(act(EventKind::HoldSet).touching(case)).await.unwrap();
    until_days(&first, 20..=21, "ON").await;
    assert_eq!(second().trim(), "2 OFF", "what is in no case is not held");
    // What comes to a held case is held; what leaves it is not.
    ledger.submit(act(EventKind::ItemLinked).touching(other).touching(case)).await.unwrap();
    until(&second, "30 ON").await;
    ledger.submit(act(EventKind::ItemUnlinked).touching(other).touching(case)).await.unwrap();
    until(&second, "30 OFF").await;
    // A hold of its own stays when that of the case ends.
    ledger.submit(act(EventKind::HoldSet).touching(item)).await.unwrap();
    ledger.submit(act(EventKind::HoldReleased).touching(case)).await.unwrap();
    // A day that is past locks nothing, also what came without a lock, and holds nothing up.
    let (old, _) = receive(&ledger, &unlocked).await;
    ledger.submit(review(old, -3)).await.unwrap();
    ledger.submit(review(item, 40)).await.unwrap();
    until_days(&first, 40..=41, "ON").await;
    ledger.submit(act(EventKind::HoldReleased).touching(item)).await.unwrap();
    until_days(&first, 40..=41, "OFF").await;
    following.abort();
}

/// A day is kept to its end.
async fn until_days(says: &(impl Fn() -> String + Sync), days: RangeInclusive<i64>, hold: &str) {
    let began = Instant::now();
    loop {
        let said = tokio::task::block_in_place(says);
        let (locked, held) = said.trim().split_once(' ').unwrap();
        if days.contains(&locked.parse().unwrap()) && held == hold {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "the store says {said}, not {days:?} {hold}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn until(says: &(impl Fn() -> String + Sync), expected: &str) {
    let began = Instant::now();
    loop {
        let said = tokio::task::block_in_place(says);
        if said.trim() == expected {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "the store says {said}, not {expected}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn receive(ledger: &Ledger, objects: &ObjectStore) -> (ItemId, StoredObject) {
    let (item, bytes) = (ItemId::from_uuid(Uuid::now_v7()), Bytes::from(vec![7; 100_000]));
    let name: ObjectName = format!("originals/{item}").parse().unwrap();
    let upload = UploadId::from_uuid(Uuid::now_v7());
    let mut writer = objects.begin(upload, name.clone()).await.unwrap();
    let mut hasher = ContentHasher::new();
    writer.append_groups(&hasher.update(&bytes)).await.unwrap();
    writer.write(bytes.clone()).await.unwrap();
    let (digests, last) = hasher.finish();
    writer.append_groups(&[last]).await.unwrap();
    let sealed = writer.seal().await.unwrap();
    let object = objects.complete(sealed, name, digests.blake3).await.unwrap();
    let text = canonical::to_bytes(&serde_json::to_value(&object).unwrap()).unwrap();
    let salt = Salt([1; 32]);
    let received = Command::new(EventKind::ItemReceived, EventId::from_uuid(Uuid::now_v7()))
        .touching(item)
        .field(field::STATE, "stored", salt)
        .field(field::SIZE_BYTES, bytes.len().to_string(), salt)
        .field(field::SHA256, digests.sha256.to_string(), salt)
        .field(field::BLAKE3, digests.blake3.to_string(), salt)
        .field(field::OBJECT, String::from_utf8(text).unwrap(), salt)
        .field(field::DEVICE, "-", salt)
        .field(field::BY, "tester", salt);
    ledger.submit(received).await.unwrap();
    (item, object)
}

//! Object Lock: a version that is locked for half a minute, and one under a legal hold.

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode,
    ObjectLockRetention, ObjectLockRetentionMode,
};

use super::{Answer, Outcome, Promise, Run, answer, text_of};
use crate::objects::Crc64;

/// How long the probe's object is locked; it cannot be cleared away before.
const LOCKED_S: i64 = 30;
const LONGER_S: i64 = 40;
const SHORTER_S: i64 = 5;
const BYTES: &[u8] = b"locked for half a minute";

const BY_LOCK: [Promise; 3] =
    [Promise::LockAgainstDelete, Promise::LockAgainstShortening, Promise::LockExtends];

pub(super) async fn try_all(run: &Run<'_>) -> Vec<(Promise, Outcome)> {
    let mut found = match Locked::make(run).await {
        Ok(locked) => {
            let extends = locked.extends().await;
            let shortening = locked.cannot_be_shortened(&extends).await;
            vec![
                (Promise::LockAgainstDelete, locked.outlives_delete().await),
                (Promise::LockAgainstShortening, shortening),
                (Promise::LockExtends, extends),
            ]
        }
        Err(outcome) => BY_LOCK.map(|promise| (promise, outcome.clone())).into(),
    };
    found.push((Promise::LegalHold, legal_hold(run).await));
    found
}

/// A version that the store has accepted a lock for.
struct Locked<'a> {
    run: &'a Run<'a>,
    key: String,
    version: String,
    begun_s: i64,
}

impl<'a> Locked<'a> {
    async fn make(run: &'a Run<'a>) -> Result<Self, Outcome> {
        let (key, begun_s) = (run.key("locked"), run.store_now_s());
        let put = run
            .client
            .put_object()
            .bucket(run.bucket)
            .key(&key)
            .body(ByteStream::from_static(BYTES))
            // S3 takes no lock without a checksum.
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_crc64_nvme(text_of(Crc64::of(BYTES)))
            .object_lock_mode(ObjectLockMode::Compliance)
            .object_lock_retain_until_date(DateTime::from_secs(begun_s + LOCKED_S))
            .send()
            .await;
        let version = put.as_ref().ok().and_then(|put| put.version_id().map(str::to_owned));
        let made = match answer(put).must_work() {
            Outcome::NotOffered(words) => {
                Outcome::NotOffered(format!("{words} (was the bucket made with Object Lock?)"))
            }
            other => other,
        };
        match version {
            _ if !made.holds() => Err(made),
            Some(version) => Ok(Self { run, key, version, begun_s }),
            None => Err(Outcome::Ignored(
                "it took a lock and keeps no versions: there is nothing to lock".to_owned(),
            )),
        }
    }

    async fn outlives_delete(&self) -> Outcome {
        if !self.run.may_delete_versions().await {
            return Outcome::CannotTell(
                "these credentials may delete no version, locked or not: probe with ones that may"
                    .to_owned(),
            );
        }
        let refused = self.run.delete(&self.key, Some(&self.version)).await;
        let outcome = refused.must_fail("a locked version was deleted");
        if outcome.holds() && self.run.get(&self.key, Some(&self.version)).await.is_none() {
            return Outcome::Ignored(
                "deleting a locked version was refused, and it is gone".to_owned(),
            );
        }
        outcome
    }

    /// Who cannot extend a lock either has shown nothing by failing to shorten it.
    async fn cannot_be_shortened(&self, extends: &Outcome) -> Outcome {
        let outcome = self.lock_until(SHORTER_S).await.must_fail("a lock was shortened");
        match self.ends_at_s().await {
            _ if !outcome.holds() => outcome,
            Some(until) if until < self.begun_s + LOCKED_S => {
                Outcome::Ignored("shortening a lock was refused, and it is shorter".to_owned())
            }
            _ if !extends.holds() => {
                Outcome::CannotTell("a lock cannot be changed at all".to_owned())
            }
            _ => outcome,
        }
    }

    async fn extends(&self) -> Outcome {
        let outcome = self.lock_until(LONGER_S).await.must_work();
        if !outcome.holds() {
            return outcome;
        }
        match self.ends_at_s().await {
            Some(until) if until == self.begun_s + LONGER_S => Outcome::Holds,
            other => Outcome::Ignored(format!("a lock was extended, and ends at {other:?}")),
        }
    }

    /// When the lock ends, as the store says, by its clock.
    async fn ends_at_s(&self) -> Option<i64> {
        let asked = self.run.client.get_object_retention().bucket(self.run.bucket).key(&self.key);
        let got = asked.version_id(&self.version).send().await.ok()?;
        Some(got.retention?.retain_until_date?.secs())
    }

    async fn lock_until(&self, after_s: i64) -> Answer {
        let retention = ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::Compliance)
            .retain_until_date(DateTime::from_secs(self.begun_s + after_s))
            .build();
        let asked = self.run.client.put_object_retention().bucket(self.run.bucket).key(&self.key);
        let asked = asked.version_id(&self.version).retention(retention);
        answer(asked.bypass_governance_retention(true).send().await)
    }
}

async fn legal_hold(run: &Run<'_>) -> Outcome {
    let key = run.key("held");
    let version = match run.put(&key, "held").await {
        Ok(Some(version)) => version,
        Ok(None) => return Outcome::NotOffered("the bucket keeps no versions".to_owned()),
        Err(error) => return Outcome::CannotTell(error.to_string()),
    };
    let hold = async |status| {
        let hold = ObjectLockLegalHold::builder().status(status).build();
        let asked = run.client.put_object_legal_hold().bucket(run.bucket).key(&key);
        answer(asked.version_id(&version).legal_hold(hold).send().await)
    };
    let set = hold(ObjectLockLegalHoldStatus::On).await.must_work();
    if !set.holds() {
        return set;
    }
    let kept = run.delete(&key, Some(&version)).await.must_fail("a held version was deleted");
    if !kept.holds() {
        return kept;
    }
    let released = hold(ObjectLockLegalHoldStatus::Off).await.must_work();
    if !released.holds() {
        return released;
    }
    match run.delete(&key, Some(&version)).await {
        Answer::Done => Outcome::Holds,
        Answer::Refused { words, .. } | Answer::Unclear(words) => {
            Outcome::CannotTell(format!("a released version cannot be deleted: {words}"))
        }
    }
}

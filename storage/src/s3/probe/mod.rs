//! What a store really does: each promise that evidence rests on is tried, with objects of the probe's own.
//!
//! A store may refuse a header, which is honest, or accept it and ignore it, which only shows when somebody tries. What is
//! tried: reading back, versions, locks and holds, creating once, replacing what one has seen, and checksums.
//!
//! The one invariant to keep: a check holds only when the act that must fail was seen to fail and the one that must work
//! was seen to work. Whatever else happened is said as it was.

mod checksums;
mod creating;
mod locks;
mod versions;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use serde::Serialize;

use super::{Bucket, S3Error, checksum_text as text_of};

/// Where the probe's objects lie in a bucket; what is below belongs to it.
const PREFIX: &str = "exhibit-probe/";
/// Clocks further apart than this give times in locks that mean something else to the store.
const CLOCK_TOLERANCE_S: i64 = 5;

/// A promise of S3 that something of ours rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promise {
    ReadBack,
    Versions,
    LockAgainstDelete,
    LockAgainstShortening,
    LockExtends,
    LegalHold,
    CreateOnly,
    CreateOnlyParts,
    ReplaceOnlyWhatWasSeen,
    ChecksumOfPut,
    ChecksumOfPart,
    ChecksumOfWhole,
    Clock,
}

/// What came of trying.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "what", rename_all = "kebab-case")]
pub enum Outcome {
    Holds,
    /// The store says that it does not do this.
    NotOffered(String),
    /// The store accepted the request, and did not do what it means.
    Ignored(String),
    /// Something else came between.
    CannotTell(String),
}

impl Outcome {
    /// What was seen, where it does not hold.
    pub fn what(&self) -> Option<&str> {
        match self {
            Self::Holds => None,
            Self::NotOffered(what) | Self::Ignored(what) | Self::CannotTell(what) => Some(what),
        }
    }
}

/// One promise and what came of trying it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub promise: Promise,
    /// The promise in words.
    pub says: &'static str,
    /// Evidence may not rest on a store without it.
    pub required: bool,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// All that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub bucket: String,
    /// Every required promise holds.
    pub fit: bool,
    pub findings: Vec<Finding>,
    /// Locked objects of the probe that stay until their lock ends; a later probe clears them away.
    pub left_behind: usize,
}

impl Promise {
    /// Every promise.
    pub const ALL: [Self; 13] = [
        Self::ReadBack,
        Self::Versions,
        Self::LockAgainstDelete,
        Self::LockAgainstShortening,
        Self::LockExtends,
        Self::LegalHold,
        Self::CreateOnly,
        Self::CreateOnlyParts,
        Self::ReplaceOnlyWhatWasSeen,
        Self::ChecksumOfPut,
        Self::ChecksumOfPart,
        Self::ChecksumOfWhole,
        Self::Clock,
    ];

    /// As in a report, and in a configuration.
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).ok();
        name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().to_owned()
    }

    fn says(self) -> &'static str {
        match self {
            Self::ReadBack => "what was written is read back, also a range of it",
            Self::Versions => "a version stays readable by its id after a delete and an overwrite",
            Self::LockAgainstDelete => "a locked version cannot be deleted",
            Self::LockAgainstShortening => "a lock cannot be shortened",
            Self::LockExtends => "a lock can be extended",
            Self::LegalHold => {
                "a version under legal hold cannot be deleted, and can be afterwards"
            }
            Self::CreateOnly => "of several who create one name at once, one does",
            Self::CreateOnlyParts => "an upload in parts replaces nothing either",
            Self::ReplaceOnlyWhatWasSeen => "of several who replace what they have seen, one does",
            Self::ChecksumOfPut => "bytes that do not fit their checksum are refused",
            Self::ChecksumOfPart => "the same for each part of an upload",
            Self::ChecksumOfWhole => "the CRC-64/NVME of an upload in parts is that of the whole",
            Self::Clock => "the store's clock is ours, within 5 seconds",
        }
    }

    /// The others have a way around: one object per size in place of replacing, one full reading in place of the checksum
    /// of the whole, an alarm about the clock.
    fn is_required(self) -> bool {
        !matches!(self, Self::ReplaceOnlyWhatWasSeen | Self::ChecksumOfWhole | Self::Clock)
    }
}

impl Outcome {
    /// Whether it is what evidence may rest on.
    pub fn holds(&self) -> bool {
        *self == Self::Holds
    }
}

/// Tries every promise; `progress` hears of each as it is found.
///
/// # Errors
/// [`S3Error`] when the probe's own objects cannot be written, read or listed at all.
pub async fn probe(bucket: &Bucket, mut progress: impl FnMut(&Finding)) -> Result<Report, S3Error> {
    let run = Run::begin(bucket).await?;
    let mut findings = Vec::new();
    let mut take = |found: Vec<(Promise, Outcome)>| {
        for (promise, outcome) in found {
            let (says, required) = (promise.says(), promise.is_required());
            let finding = Finding { promise, says, required, outcome };
            progress(&finding);
            findings.push(finding);
        }
    };
    take(versions::try_all(&run).await?);
    take(locks::try_all(&run).await);
    take(creating::try_all(&run).await);
    take(checksums::try_all(&run).await);
    let left_behind = run.clear_away().await?;
    let fit = findings.iter().all(|finding| finding.outcome.holds() || !finding.required);
    Ok(Report { bucket: bucket.name.clone(), fit, findings, left_behind })
}

/// One probe under way: a folder of its own in the bucket.
struct Run<'a> {
    client: &'a Client,
    bucket: &'a str,
    folder: String,
    /// The store's clock minus ours.
    clock_ahead_s: i64,
}

/// What a request came to, when the question is whether it is refused.
enum Answer {
    Done,
    /// With the store's code and, in words, its message.
    Refused {
        code: String,
        words: String,
    },
    /// No answer that says anything.
    Unclear(String),
}

impl<'a> Run<'a> {
    async fn begin(bucket: &'a Bucket) -> Result<Self, S3Error> {
        let folder = format!("{PREFIX}{}/", uuid::Uuid::now_v7());
        let mut run =
            Self { client: &bucket.client, bucket: &bucket.name, folder, clock_ahead_s: 0 };
        run.clear_away().await?;
        let (key, before) = (run.key("clock"), now_s());
        run.put(&key, "what time is it").await?;
        let head = run.client.head_object().bucket(run.bucket).key(&key).send().await;
        let head = head.map_err(|e| S3Error::of(&e, "reading back the probe's object"))?;
        run.clock_ahead_s = head.last_modified().map_or(0, |at| at.secs() - before);
        Ok(run)
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// Seconds of the store's clock.
    fn store_now_s(&self) -> i64 {
        now_s() + self.clock_ahead_s
    }

    /// Writes a small object; its version, where the store keeps any.
    async fn put(&self, key: &str, bytes: &'static str) -> Result<Option<String>, S3Error> {
        let body = ByteStream::from_static(bytes.as_bytes());
        let put = self.client.put_object().bucket(self.bucket).key(key).body(body).send().await;
        let put = put.map_err(|e| S3Error::of(&e, "writing the probe's object"))?;
        Ok(put.version_id().map(str::to_owned))
    }

    /// The bytes of an object, or of a version of it; none where the store has none or gives none.
    async fn get(&self, key: &str, version: Option<&str>) -> Option<Vec<u8>> {
        let asked = self.client.get_object().bucket(self.bucket).key(key);
        let got = asked.set_version_id(version.map(str::to_owned)).send().await.ok()?;
        Some(got.body.collect().await.ok()?.to_vec())
    }

    async fn delete(&self, key: &str, version: Option<&str>) -> Answer {
        let asked = self.client.delete_object().bucket(self.bucket).key(key);
        let asked = asked.bypass_governance_retention(version.is_some());
        answer(asked.set_version_id(version.map(str::to_owned)).send().await)
    }

    /// Whether a version that nothing protects can be deleted: else that a protected one cannot shows nothing.
    async fn may_delete_versions(&self) -> bool {
        let key = self.key("unlocked");
        let Ok(Some(version)) = self.put(&key, "unlocked").await else { return false };
        matches!(self.delete(&key, Some(&version)).await, Answer::Done)
            && self.get(&key, Some(&version)).await.is_none()
    }

    /// Removes what this and earlier probes have left, as far as locks allow; how many versions stay.
    async fn clear_away(&self) -> Result<usize, S3Error> {
        let fail = |e: &_| S3Error::of(e, "listing the probe's objects");
        let (mut stay, mut after) = (0, (None, None));
        loop {
            let asked = self.client.list_object_versions().bucket(self.bucket).prefix(PREFIX);
            let asked = asked.set_key_marker(after.0).set_version_id_marker(after.1);
            let page = asked.send().await.map_err(|e| fail(&e))?;
            let versions = page.versions().iter().map(|v| (v.key(), v.version_id()));
            let markers = page.delete_markers().iter().map(|m| (m.key(), m.version_id()));
            for (key, version) in versions.chain(markers) {
                let Some(key) = key else { continue };
                if !matches!(self.delete(key, version).await, Answer::Done) {
                    stay += 1;
                }
            }
            if page.is_truncated() != Some(true) {
                return Ok(stay);
            }
            after = (
                page.next_key_marker().map(str::to_owned),
                page.next_version_id_marker().map(str::to_owned),
            );
        }
    }
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn answer<T, E>(result: Result<T, SdkError<E, HttpResponse>>) -> Answer
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Err(error) = result else { return Answer::Done };
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    match error.as_service_error() {
        Some(refused) if status < FAILURE || status == NOT_IMPLEMENTED => {
            let code = refused.code().unwrap_or("no code").to_owned();
            let words = format!("{code}: {}", refused.message().unwrap_or("nothing more"));
            Answer::Refused { code, words }
        }
        _ => Answer::Unclear(S3Error::of(&error, "trying").to_string()),
    }
}

/// From here on a status says that the store failed, not that it refuses.
const FAILURE: u16 = 500;
const NOT_IMPLEMENTED: u16 = 501;

impl Answer {
    /// Of an act that must work.
    fn must_work(self) -> Outcome {
        match self {
            Self::Done => Outcome::Holds,
            Self::Refused { words, .. } => Outcome::NotOffered(words),
            Self::Unclear(why) => Outcome::CannotTell(why),
        }
    }

    /// Of an act that must be refused; `ignored` says what it means that it was done.
    fn must_fail(self, ignored: &str) -> Outcome {
        match self {
            Self::Done => Outcome::Ignored(ignored.to_owned()),
            Self::Refused { code, words } if code == "NotImplemented" => Outcome::NotOffered(words),
            Self::Refused { .. } => Outcome::Holds,
            Self::Unclear(why) => Outcome::CannotTell(why),
        }
    }
}

//! What is asked of a bucket: each call by the one thing that may go otherwise, and asked again where that is harmless.

use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode,
};
use bytes::Bytes;

use super::{Bucket, S3Error, checksum_text};
use crate::objects::Crc64;

/// How often a call is made that came to nothing, the first time included.
const ATTEMPTS: u32 = 7;
/// The pause after the first; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What may stand under a key when it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precondition<'a> {
    Anything,
    Nothing,
    /// What has this entity tag.
    Tag(&'a str),
}

/// An object in the bucket, as far as it was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) key: String,
    /// None where the bucket keeps no versions.
    pub(crate) id: Option<String>,
    pub(crate) size_bytes: u64,
    /// A delete marker: what a DELETE without a version leaves.
    pub(crate) is_marker: bool,
}

/// What the store says of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) version: Option<String>,
    pub(crate) size_bytes: u64,
    /// Of the whole object, where the store keeps it.
    pub(crate) crc64nvme: Option<String>,
}

/// Small bytes with what is needed to replace exactly them.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) bytes: Bytes,
    pub(crate) tag: String,
    pub(crate) version: Option<String>,
}

impl Bucket {
    /// Asks again after an answer that says nothing of the request. Only for what may be repeated.
    async fn patiently<T, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, S3Error>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match ask().await {
                Err(error) if error.may_pass() => {
                    tracing::debug!(bucket = self.name, "asked again in {pause:?}: {error}");
                }
                done => return done,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        ask().await
    }

    /// Writes a small object; gives its version. When the answer to an attempt is lost, a later one may find that what it
    /// asked for was done: whoever gave a precondition has to look.
    pub(crate) async fn put(
        &self,
        key: &str,
        bytes: Bytes,
        allowed: Precondition<'_>,
    ) -> Result<Option<String>, S3Error> {
        let checksum = checksum_text(Crc64::of(&bytes));
        let put = || async {
            let asked = self.client.put_object().bucket(&self.name).key(key);
            let asked = asked.body(ByteStream::from(bytes.clone()));
            let asked = asked.checksum_crc64_nvme(&checksum);
            let asked = match allowed {
                Precondition::Anything => asked,
                Precondition::Nothing => asked.if_none_match("*"),
                Precondition::Tag(tag) => asked.if_match(tag),
            };
            // The checksum is signed, and binds the bytes.
            let put = asked.customize().disable_payload_signing().send().await;
            let put = put.map_err(|e| S3Error::of(&e, "writing an object"))?;
            Ok(version_of(put.version_id()))
        };
        self.patiently(put).await
    }

    /// All of an object, or of a version of it; at most `most_bytes`.
    pub(crate) async fn get(
        &self,
        key: &str,
        version: Option<&str>,
        most_bytes: u64,
    ) -> Result<Got, S3Error> {
        let get = || async {
            let asked = self.client.get_object().bucket(&self.name).key(key);
            let asked = asked.set_version_id(version.map(str::to_owned));
            let got = asked.send().await.map_err(|e| S3Error::of(&e, "reading an object"))?;
            let size_bytes = got.content_length().unwrap_or(0).max(0).cast_unsigned();
            if size_bytes > most_bytes {
                return Err(S3Error::TooLarge { size_bytes, most_bytes });
            }
            let tag = got.e_tag().unwrap_or_default().to_owned();
            let version = version_of(got.version_id());
            let bytes = got.body.collect().await.map_err(|e| S3Error::cut(&e))?.into_bytes();
            Ok(Got { bytes, tag, version })
        };
        self.patiently(get).await
    }

    /// Exactly these bytes of a version.
    pub(crate) async fn get_range(
        &self,
        key: &str,
        version: Option<&str>,
        range: Range<u64>,
    ) -> Result<Bytes, S3Error> {
        let wanted = format!("bytes={}-{}", range.start, range.end - 1);
        let get = || async {
            let asked = self.client.get_object().bucket(&self.name).key(key).range(&wanted);
            let asked = asked.set_version_id(version.map(str::to_owned));
            let got = asked.send().await.map_err(|e| S3Error::of(&e, "reading a range"))?;
            let bytes = got.body.collect().await.map_err(|e| S3Error::cut(&e))?.into_bytes();
            let length = range.end - range.start;
            // A store that answers with something else has not answered.
            let whole = bytes.len() as u64 == length;
            whole.then_some(bytes).ok_or_else(|| S3Error::cut(&"bytes are missing"))
        };
        self.patiently(get).await
    }

    /// What the store says of a version, or of the newest.
    pub(crate) async fn head(&self, key: &str, version: Option<&str>) -> Result<Head, S3Error> {
        let head = || async {
            let asked = self.client.head_object().bucket(&self.name).key(key);
            let asked = asked.set_version_id(version.map(str::to_owned));
            let head = asked.checksum_mode(ChecksumMode::Enabled).send().await;
            let head = head.map_err(|e| S3Error::of(&e, "looking at an object"))?;
            Ok(Head {
                version: version_of(head.version_id()),
                size_bytes: head.content_length().unwrap_or(0).max(0).cast_unsigned(),
                crc64nvme: head.checksum_crc64_nvme().map(str::to_owned),
            })
        };
        self.patiently(head).await
    }

    /// All versions whose keys begin with `prefix`: by key, the newest first; on each page delete markers come after them.
    pub(crate) async fn versions(&self, prefix: &str) -> Result<Vec<Version>, S3Error> {
        let (mut found, mut after) = (Vec::new(), (None, None));
        loop {
            let list = || async {
                let asked = self.client.list_object_versions().bucket(&self.name).prefix(prefix);
                let asked = asked.set_key_marker(after.0.clone());
                let asked = asked.set_version_id_marker(after.1.clone()).send().await;
                asked.map_err(|e| S3Error::of(&e, "listing versions"))
            };
            let page = self.patiently(list).await?;
            found.extend(page.versions().iter().filter_map(|v| {
                Some(Version {
                    key: v.key()?.to_owned(),
                    id: version_of(v.version_id()),
                    size_bytes: v.size().unwrap_or(0).max(0).cast_unsigned(),
                    is_marker: false,
                })
            }));
            found.extend(page.delete_markers().iter().filter_map(|m| {
                Some(Version {
                    key: m.key()?.to_owned(),
                    id: version_of(m.version_id()),
                    size_bytes: 0,
                    is_marker: true,
                })
            }));
            if page.is_truncated() != Some(true) {
                return Ok(found);
            }
            let next = |text: Option<&str>| text.map(str::to_owned);
            after = (next(page.next_key_marker()), next(page.next_version_id_marker()));
        }
    }

    /// The versions of exactly `key`, the newest first.
    pub(crate) async fn versions_of(&self, key: &str) -> Result<Vec<Version>, S3Error> {
        let mut found = self.versions(key).await?;
        found.retain(|version| version.key == key);
        Ok(found)
    }

    /// Keys and sizes below `prefix`, as a reader without versions sees them.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, S3Error> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let list = || async {
                let asked = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
                let asked = asked.set_continuation_token(after.clone()).send().await;
                asked.map_err(|e| S3Error::of(&e, "listing objects"))
            };
            let page = self.patiently(list).await?;
            found.extend(page.contents().iter().filter_map(|object| {
                Some((object.key()?.to_owned(), object.size().unwrap_or(0).max(0).cast_unsigned()))
            }));
            after = page.next_continuation_token().map(str::to_owned);
            if page.is_truncated() != Some(true) || after.is_none() {
                return Ok(found);
            }
        }
    }

    /// Removes one version for good. One that is not there is removed already.
    pub(crate) async fn delete_version(
        &self,
        key: &str,
        version: Option<&str>,
    ) -> Result<(), S3Error> {
        let delete = || async {
            let asked = self.client.delete_object().bucket(&self.name).key(key);
            let asked = asked.set_version_id(version.map(str::to_owned)).send().await;
            match asked.map_err(|e| S3Error::of(&e, "deleting a version")) {
                Err(S3Error::NotFound) | Ok(_) => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.patiently(delete).await
    }

    /// Begins an upload in parts whose checksum is that of the whole.
    pub(crate) async fn begin_parts(&self, key: &str) -> Result<String, S3Error> {
        let begin = || async {
            let asked = self.client.create_multipart_upload().bucket(&self.name).key(key);
            let asked = asked.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
            let begun = asked.checksum_type(ChecksumType::FullObject).send().await;
            let begun = begun.map_err(|e| S3Error::of(&e, "beginning an upload in parts"))?;
            begun.upload_id().map(str::to_owned).ok_or_else(|| S3Error::cut(&"no upload id"))
        };
        self.patiently(begin).await
    }

    /// Sends one part; gives its tag. A part of that number may be replaced, or be there twice.
    pub(crate) async fn put_part(
        &self,
        (key, upload): (&str, &str),
        number: u32,
        bytes: Bytes,
        crc: Crc64,
    ) -> Result<String, S3Error> {
        let checksum = checksum_text(crc);
        let put = || async {
            let asked = self.client.upload_part().bucket(&self.name).key(key).upload_id(upload);
            let asked = asked.part_number(number.cast_signed());
            let asked = asked.body(ByteStream::from(bytes.clone())).checksum_crc64_nvme(&checksum);
            let put = asked.customize().disable_payload_signing().send().await;
            let put = put.map_err(|e| S3Error::of(&e, "writing a part"))?;
            Ok(put.e_tag().unwrap_or_default().to_owned())
        };
        self.patiently(put).await
    }

    /// Makes an object of the parts with these tags, create-only, whose checksum must be `whole` where the store can check it. Not repeated: an
    /// answer that was lost may have been yes. Gives the version.
    pub(crate) async fn complete_parts(
        &self,
        (key, upload): (&str, &str),
        tags: &[String],
        whole: Crc64,
    ) -> Result<Option<String>, S3Error> {
        let parts = (1..)
            .zip(tags)
            .map(|(number, tag)| CompletedPart::builder().part_number(number).e_tag(tag).build());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let asked = self.client.complete_multipart_upload().bucket(&self.name);
        let asked = asked.key(key).upload_id(upload).multipart_upload(parts).if_none_match("*");
        let asked = asked.checksum_type(ChecksumType::FullObject);
        let done = asked.checksum_crc64_nvme(checksum_text(whole)).send().await;
        let done = done.map_err(|e| S3Error::of(&e, "completing an upload in parts"))?;
        Ok(version_of(done.version_id()))
    }

    /// Gives up uploads in parts of exactly `key`. Those that are not there are given up already.
    pub(crate) async fn abort_parts(&self, key: &str) -> Result<(), S3Error> {
        let list = || async {
            let asked = self.client.list_multipart_uploads().bucket(&self.name).prefix(key);
            asked.send().await.map_err(|e| S3Error::of(&e, "listing uploads in parts"))
        };
        let page = self.patiently(list).await?;
        let ours = page.uploads().iter().filter(|upload| upload.key() == Some(key));
        for id in ours.filter_map(|upload| upload.upload_id()) {
            let abort = || async {
                let asked = self.client.abort_multipart_upload().bucket(&self.name).key(key);
                match refused(asked.upload_id(id).send().await, "giving up an upload in parts") {
                    Err(S3Error::NotFound) => Ok(()),
                    done => done,
                }
            };
            self.patiently(abort).await?;
        }
        Ok(())
    }

    /// Locks a version until a moment, in the mode that nobody can lift. A lock never becomes shorter.
    pub(crate) async fn lock(&self, key: &str, version: &str, until_s: i64) -> Result<(), S3Error> {
        let lock = || async {
            let term = ObjectLockRetention::builder()
                .mode(ObjectLockRetentionMode::Compliance)
                .retain_until_date(DateTime::from_secs(until_s))
                .build();
            let asked = self.client.put_object_retention().bucket(&self.name).key(key);
            let asked = asked.version_id(version).retention(term);
            refused(asked.send().await, "locking a version")
        };
        self.patiently(lock).await
    }

    /// Until when a version is locked, if it is.
    pub(crate) async fn locked_until_s(
        &self,
        key: &str,
        version: &str,
    ) -> Result<Option<i64>, S3Error> {
        let look = || async {
            let asked = self.client.head_object().bucket(&self.name).key(key).version_id(version);
            let head = asked.send().await.map_err(|e| S3Error::of(&e, "looking at a lock"))?;
            Ok(head.object_lock_retain_until_date().map(DateTime::secs))
        };
        self.patiently(look).await
    }

    /// Sets or lifts the legal hold on a version.
    pub(crate) async fn hold(&self, key: &str, version: &str, held: bool) -> Result<(), S3Error> {
        let status =
            if held { ObjectLockLegalHoldStatus::On } else { ObjectLockLegalHoldStatus::Off };
        let hold = || async {
            let hold = ObjectLockLegalHold::builder().status(status.clone()).build();
            let asked = self.client.put_object_legal_hold().bucket(&self.name).key(key);
            refused(asked.version_id(version).legal_hold(hold).send().await, "holding a version")
        };
        self.patiently(hold).await
    }
}

/// What was written while a bucket kept no versions has one that is called "null".
fn version_of(id: Option<&str>) -> Option<String> {
    id.filter(|id| *id != "null").map(str::to_owned)
}

fn refused<T, E>(
    answer: Result<T, SdkError<E, HttpResponse>>,
    doing: &'static str,
) -> Result<(), S3Error>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    answer.map(drop).map_err(|e| S3Error::of(&e, doing))
}

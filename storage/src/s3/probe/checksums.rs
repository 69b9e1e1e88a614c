//! Checksums that are compared, and the one of an upload in parts that is of the whole.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
};
use bytes::Bytes;

use super::{Answer, Outcome, Promise, Run, answer, text_of};
use crate::objects::Crc64;

/// The smallest part but for the last (S3's own limit).
const PART_BYTES: usize = 5 << 20;
const LAST_PART: &[u8] = b"and the rest";
const BYTES: &[u8] = b"bytes with a checksum";

pub(super) async fn try_all(run: &Run<'_>) -> Vec<(Promise, Outcome)> {
    vec![
        (Promise::ChecksumOfPut, of_put(run).await),
        (Promise::ChecksumOfPart, of_part(run).await),
        (Promise::ChecksumOfWhole, of_whole(run).await),
    ]
}

fn of_other_bytes() -> String {
    text_of(Crc64::of(b"other bytes"))
}

async fn of_put(run: &Run<'_>) -> Outcome {
    let put = async |checksum| {
        let asked = run.client.put_object().bucket(run.bucket).key(run.key("checksum"));
        let asked = asked.body(ByteStream::from_static(BYTES)).checksum_crc64_nvme(checksum);
        answer(asked.send().await)
    };
    let right = put(text_of(Crc64::of(BYTES))).await.must_work();
    if !right.holds() {
        return right;
    }
    put(of_other_bytes()).await.must_fail("bytes were taken that do not fit their checksum")
}

async fn of_part(run: &Run<'_>) -> Outcome {
    let upload = match Upload::begin(run, "checksum-of-part").await {
        Ok(upload) => upload,
        Err(outcome) => return outcome,
    };
    let part = async |checksum| match upload.part(1, Bytes::from_static(BYTES), checksum).await {
        Ok(_) => Answer::Done,
        Err(answer) => answer,
    };
    let right = part(text_of(Crc64::of(BYTES))).await.must_work();
    let other = part(of_other_bytes()).await;
    upload.abort().await;
    if !right.holds() {
        return right;
    }
    other.must_fail("a part was taken that does not fit its checksum")
}

/// Twice: with the right checksum of the whole, which must be shown afterwards, and with another, which must be refused.
async fn of_whole(run: &Run<'_>) -> Outcome {
    let first = Bytes::from(vec![7; PART_BYTES]);
    let whole = Crc64::of(&[&first, LAST_PART].concat());
    for (name, checksum) in [("whole", text_of(whole)), ("not-whole", of_other_bytes())] {
        let upload = match Upload::begin(run, name).await {
            Ok(upload) => upload,
            Err(outcome) => return outcome,
        };
        let mut parts = Vec::new();
        for (number, bytes) in [(1, first.clone()), (2, Bytes::from_static(LAST_PART))] {
            let crc = text_of(Crc64::of(&bytes));
            match upload.part(number, bytes, crc).await {
                Ok(part) => parts.push(part),
                Err(answer) => return answer.must_work(),
            }
        }
        let completed = upload.complete(parts, &checksum).await;
        if checksum != text_of(whole) {
            upload.abort().await;
            return completed.must_fail("an upload was completed under another's checksum");
        }
        let completed = completed.must_work();
        if !completed.holds() {
            return completed;
        }
        let asked = run.client.head_object().bucket(run.bucket).key(run.key(name));
        let shown = asked.checksum_mode(ChecksumMode::Enabled).send().await;
        let shown = shown.ok().and_then(|head| head.checksum_crc64_nvme().map(str::to_owned));
        if shown.as_ref() != Some(&checksum) {
            return Outcome::Ignored(format!("the checksum of the whole is shown as {shown:?}"));
        }
    }
    Outcome::Holds
}

/// An upload in parts whose checksum is to be of the whole.
struct Upload<'a> {
    run: &'a Run<'a>,
    key: String,
    id: String,
}

impl<'a> Upload<'a> {
    async fn begin(run: &'a Run<'a>, name: &str) -> Result<Self, Outcome> {
        let key = run.key(name);
        let asked = run.client.create_multipart_upload().bucket(run.bucket).key(&key);
        let asked = asked.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
        let begun = asked.checksum_type(ChecksumType::FullObject).send().await;
        let id = begun.as_ref().ok().and_then(|begun| begun.upload_id().map(str::to_owned));
        match id {
            Some(id) => Ok(Self { run, key, id }),
            None => Err(answer(begun).must_work()),
        }
    }

    async fn part(&self, number: i32, bytes: Bytes, crc: String) -> Result<CompletedPart, Answer> {
        let asked = self.run.client.upload_part().bucket(self.run.bucket).key(&self.key);
        let asked = asked.upload_id(&self.id).part_number(number).body(ByteStream::from(bytes));
        let sent = asked.checksum_crc64_nvme(&crc).send().await;
        let etag = sent.as_ref().ok().map(|sent| sent.e_tag().map(str::to_owned));
        match etag {
            Some(etag) => Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(etag)
                .checksum_crc64_nvme(crc)
                .build()),
            None => Err(answer(sent)),
        }
    }

    async fn complete(&self, parts: Vec<CompletedPart>, checksum: &str) -> Answer {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let asked = self.run.client.complete_multipart_upload().bucket(self.run.bucket);
        let asked = asked.key(&self.key).upload_id(&self.id).multipart_upload(parts);
        let asked = asked.checksum_type(ChecksumType::FullObject).checksum_crc64_nvme(checksum);
        answer(asked.send().await)
    }

    /// One that was completed is gone already.
    async fn abort(&self) {
        let asked = self.run.client.abort_multipart_upload().bucket(self.run.bucket);
        let _gone_or_refused = asked.key(&self.key).upload_id(&self.id).send().await;
    }
}

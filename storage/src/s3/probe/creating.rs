//! Names that are taken once, and objects that are replaced only by whoever has seen them: raced, because a store that
//! looks first and writes then keeps its promise to one writer and breaks it for two.

use std::collections::BTreeSet;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures_util::future::join_all;

use super::{Answer, Outcome, Promise, Run, answer};

const RACERS: usize = 8;
/// What a store says to all but one: the condition fails, or somebody else is at it.
const LOST: [&str; 3] = ["PreconditionFailed", "ConditionalRequestConflict", "OperationAborted"];

pub(super) async fn try_all(run: &Run<'_>) -> Vec<(Promise, Outcome)> {
    let key = run.key("once");
    let created = race(run, &key, &Condition::NothingThere).await;
    let replaced = match run.client.head_object().bucket(run.bucket).key(&key).send().await {
        Ok(head) => match head.e_tag() {
            Some(seen) => race(run, &key, &Condition::Unchanged(seen.to_owned())).await,
            None => Outcome::NotOffered("it gives no ETag".to_owned()),
        },
        Err(_) => Outcome::CannotTell("the object that was created is not there".to_owned()),
    };
    vec![
        (Promise::CreateOnly, created),
        (Promise::CreateOnlyParts, in_parts(run, &key).await),
        (Promise::ReplaceOnlyWhatWasSeen, replaced),
    ]
}

enum Condition {
    NothingThere,
    Unchanged(String),
}

impl Condition {
    /// No two writings are of the same bytes: they would have the same ETag, and nothing would have changed.
    fn text_of(&self, writer: usize) -> String {
        match self {
            Self::NothingThere => format!("created by writer {writer}"),
            Self::Unchanged(_) => format!("replaced by writer {writer}"),
        }
    }
}

/// Several write one name at once under the same condition; what is there afterwards must be the one winner's.
async fn race(run: &Run<'_>, key: &str, condition: &Condition) -> Outcome {
    let writers = (0..RACERS).map(|n| async move {
        let body = ByteStream::from(condition.text_of(n).into_bytes());
        let asked = run.client.put_object().bucket(run.bucket).key(key).body(body);
        let asked = match condition {
            Condition::NothingThere => asked.if_none_match("*"),
            Condition::Unchanged(seen) => asked.if_match(seen),
        };
        (n, answer(asked.send().await))
    });
    let (mut won, mut others) = (Vec::new(), BTreeSet::new());
    for (n, answer) in join_all(writers).await {
        match answer {
            Answer::Done => won.push(n),
            Answer::Refused { code, .. } if LOST.contains(&code.as_str()) => {}
            Answer::Refused { words, .. } | Answer::Unclear(words) => _ = others.insert(words),
        }
    }
    match won[..] {
        [winner] => match run.get(key, None).await {
            Some(bytes) if bytes == condition.text_of(winner).as_bytes() => Outcome::Holds,
            _ => Outcome::Ignored("what is there is not what the winner wrote".to_owned()),
        },
        [] if !others.is_empty() => {
            Outcome::NotOffered(others.into_iter().collect::<Vec<_>>().join("; "))
        }
        [] => Outcome::CannotTell("nobody was let through".to_owned()),
        _ => Outcome::Ignored(format!("{} of {RACERS} were told that they did it", won.len())),
    }
}

/// An upload in parts to a name that is taken.
async fn in_parts(run: &Run<'_>, key: &str) -> Outcome {
    let before = run.get(key, None).await;
    if before.is_none() {
        return Outcome::CannotTell("the object that was created is not there".to_owned());
    }
    let begun = run.client.create_multipart_upload().bucket(run.bucket).key(key).send().await;
    let Some(upload) = begun.as_ref().ok().and_then(|begun| begun.upload_id()) else {
        return answer(begun).must_work();
    };
    let part = run.client.upload_part().bucket(run.bucket).key(key).upload_id(upload);
    let part = part.part_number(1).body(ByteStream::from_static(b"in parts")).send().await;
    let Some(etag) = part.as_ref().ok().and_then(|part| part.e_tag()) else {
        return answer(part).must_work();
    };
    let parts = CompletedPart::builder().part_number(1).e_tag(etag).build();
    let parts = CompletedMultipartUpload::builder().parts(parts).build();
    let asked = run.client.complete_multipart_upload().bucket(run.bucket).key(key);
    let asked = asked.upload_id(upload).multipart_upload(parts).if_none_match("*");
    let outcome = match answer(asked.send().await) {
        Answer::Refused { code, words } if !LOST.contains(&code.as_str()) => {
            Outcome::NotOffered(words)
        }
        answer => answer.must_fail("an upload in parts replaced an object"),
    };
    // One that was completed is gone already.
    let abort = run.client.abort_multipart_upload().bucket(run.bucket).key(key).upload_id(upload);
    let _gone_or_refused = abort.send().await;
    if outcome.holds() && run.get(key, None).await != before {
        return Outcome::Ignored("it was refused, and replaced the object".to_owned());
    }
    outcome
}

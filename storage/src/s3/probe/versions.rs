//! Reading back, and versions that outlive a delete and an overwrite.

use super::{Answer, CLOCK_TOLERANCE_S, Outcome, Promise, Run, S3Error};

const FIRST: &str = "the first version of this";
const SECOND: &str = "another";

pub(super) async fn try_all(run: &Run<'_>) -> Result<Vec<(Promise, Outcome)>, S3Error> {
    Ok(vec![
        (Promise::Clock, clock(run)),
        (Promise::ReadBack, read_back(run).await?),
        (Promise::Versions, versions(run).await?),
    ])
}

fn clock(run: &Run<'_>) -> Outcome {
    let ahead = run.clock_ahead_s;
    if ahead.abs() <= CLOCK_TOLERANCE_S {
        return Outcome::Holds;
    }
    Outcome::CannotTell(format!("the store's clock is {ahead} s ahead of this machine's"))
}

async fn read_back(run: &Run<'_>) -> Result<Outcome, S3Error> {
    let key = run.key("read-back");
    run.put(&key, FIRST).await?;
    if run.get(&key, None).await.as_deref() != Some(FIRST.as_bytes()) {
        return Ok(Outcome::Ignored("other bytes came back than were written".to_owned()));
    }
    let range = run.client.get_object().bucket(run.bucket).key(&key).range("bytes=4-8");
    let part = range.send().await.map_err(|e| S3Error::of(&e, "reading a range"))?;
    let said = part.content_range().map(str::to_owned);
    let bytes = part.body.collect().await.map(|body| body.to_vec()).unwrap_or_default();
    let (right, whole) = (bytes == FIRST.as_bytes()[4..=8], format!("bytes 4-8/{}", FIRST.len()));
    if right && said.as_ref() == Some(&whole) {
        return Ok(Outcome::Holds);
    }
    Ok(Outcome::Ignored(format!("of bytes 4 to 8 it gave {} ({said:?})", bytes.len())))
}

/// What root can do to an object: delete it, and write another under its name.
async fn versions(run: &Run<'_>) -> Result<Outcome, S3Error> {
    let key = run.key("versions");
    let first = run.put(&key, FIRST).await?;
    let Some(first) = first.filter(|version| version != "null") else {
        return Ok(Outcome::NotOffered("the bucket keeps no versions: switch them on".to_owned()));
    };
    if let Answer::Refused { words, .. } | Answer::Unclear(words) = run.delete(&key, None).await {
        return Ok(Outcome::CannotTell(words));
    }
    if run.get(&key, None).await.is_some() {
        return Ok(Outcome::Ignored("a deleted name still reads".to_owned()));
    }
    let second = run.put(&key, SECOND).await?;
    if second.as_ref() == Some(&first) {
        return Ok(Outcome::Ignored("two writings have one version".to_owned()));
    }
    let (old, new) = (run.get(&key, Some(&first)).await, run.get(&key, None).await);
    Ok(match (old.as_deref(), new.as_deref()) {
        (Some(old), Some(new)) if old == FIRST.as_bytes() && new == SECOND.as_bytes() => {
            Outcome::Holds
        }
        (None, _) => Outcome::Ignored("the version from before the delete is gone".to_owned()),
        _ => Outcome::Ignored("a version reads as other bytes than were written".to_owned()),
    })
}

//! Makes derivatives again and compares them with what is held: whoever has the original, the recipe and the same program
//! reaches the same result.
//!
//! Nothing that is made here is kept.

use std::io;

use bytes::Bytes;
use chain_of_custody::digest::{ContentHasher, Digests};
use serde::Serialize;
use serde_json::Value;
use storage::objects::{ObjectStore, StoreError, StoredObject, VerifiedObject};
use storage::records::{DerivativeView, ItemRecord};

use crate::protocol::{MAX_CHUNK_BYTES, MAX_RECIPES, OriginalDigests, Recipe, Report};
use crate::source::OutputSink;
use crate::supervise::Wanted;
use crate::{Failure, Supervisor, recipe};

/// What came of making one derivative again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reproduced {
    pub kind: String,
    pub recipe_id: String,
    /// As its `item.derived` has it.
    pub sha256: String,
    pub result: Comparison,
    /// In words, where it is not the same.
    pub reason: Option<String>,
}

/// One against the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// Byte for byte.
    Match,
    /// It could not be made here as it was made then: another program, other libraries, a recipe of another version.
    CannotTell,
    /// The same program made something else of the same original.
    Mismatch,
}

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum ReproduceError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Worker(#[from] Failure),
    #[error("the record of what is stored is not readable")]
    Record,
}

/// Makes `derivatives` of an original again, all in one pass.
///
/// # Errors
/// [`ReproduceError`] where none could be made or read; what concerns one of them is in its own result.
pub async fn reproduce(
    supervisor: &Supervisor,
    objects: &ObjectStore,
    record: &ItemRecord,
    derivatives: &[DerivativeView],
) -> Result<Vec<Reproduced>, ReproduceError> {
    let source = open(objects, &record.object).await?;
    let digests = OriginalDigests {
        sha256: record.digests.sha256.to_string(),
        blake3: record.digests.blake3.to_string(),
    };
    let mut compared = Vec::with_capacity(derivatives.len());
    let mut again = Vec::new();
    for view in derivatives {
        let recipe: Value = serde_json::from_str(&view.recipe).unwrap_or_default();
        match serde_json::from_value::<Recipe>(recipe["asked"].clone()) {
            Ok(asked) if again.len() < MAX_RECIPES => again.push((view, asked, recipe)),
            _ => {
                let reason = "its recipe is of another version of the program";
                compared.push(Reproduced::of(
                    view,
                    Comparison::CannotTell,
                    Some(reason.to_owned()),
                ));
            }
        }
    }
    // As they were made: most in one pass, some by a worker of their own.
    let (alone, together): (Vec<_>, Vec<_>) =
        again.into_iter().partition(|(view, ..)| recipe::is_made_alone(&view.kind));
    let alone = alone.into_iter().map(|one| vec![one]);
    for again in std::iter::once(together).chain(alone).filter(|again| !again.is_empty()) {
        let wanted = again.iter();
        let wanted =
            wanted.map(|(_, asked, _)| Wanted { recipe: asked.clone(), sink: Made::default() });
        let mut wanted: Vec<_> = wanted.collect();
        let finished = supervisor.run(digests.clone(), &source, &mut wanted).await?;
        for (((view, _, recipe), ended), one) in again.iter().zip(finished.ended).zip(wanted) {
            let held = open(objects, &view.object).await?;
            compared.push(match ended {
                Ok(report) => {
                    let is_same = one.sink.is(&held, view).await?;
                    Reproduced::judge(view, is_same, recipe, &report)
                }
                Err(failure) => {
                    Reproduced::of(view, Comparison::Mismatch, Some(failure.to_string()))
                }
            });
        }
    }
    Ok(compared)
}

async fn open(objects: &ObjectStore, object: &str) -> Result<VerifiedObject, ReproduceError> {
    let stored: StoredObject = serde_json::from_str(object).map_err(|_| ReproduceError::Record)?;
    Ok(objects.open_object(&stored).await?)
}

impl Reproduced {
    fn of(view: &DerivativeView, result: Comparison, reason: Option<String>) -> Self {
        Self {
            kind: view.kind.clone(),
            recipe_id: view.recipe_id.clone(),
            sha256: view.digests.sha256.to_string(),
            result,
            reason,
        }
    }

    fn judge(view: &DerivativeView, is_same: bool, recipe: &Value, report: &Report) -> Self {
        if is_same {
            return Self::of(view, Comparison::Match, None);
        }
        let (then, now) = (&recipe["made-with"], serde_json::to_value(&report.made_with));
        let now = now.unwrap_or_default();
        let tools = ["program", "version", "libraries"];
        let other: Vec<_> = tools.into_iter().filter(|tool| then[tool] != now[tool]).collect();
        if other.is_empty() {
            let reason = "the same program and libraries made other bytes of it";
            return Self::of(view, Comparison::Mismatch, Some(reason.to_owned()));
        }
        let other: Vec<_> = other
            .iter()
            .map(|tool| format!("{tool} then {}, now {}", then[tool], now[tool]))
            .collect();
        let reason = format!("other bytes, made with something else: {}", other.join("; "));
        Self::of(view, Comparison::CannotTell, Some(reason))
    }
}

/// What was made again: its digests, not its bytes.
#[derive(Debug, Default)]
struct Made {
    /// Of all but the head.
    body: ContentHasher,
    body_bytes: u64,
    head: Bytes,
}

impl Made {
    /// Whether it is what is held, whose bytes are checked against the ledger as they are read.
    async fn is(self, held: &VerifiedObject, view: &DerivativeView) -> Result<bool, StoreError> {
        let head_bytes = self.head.len() as u64;
        if head_bytes + self.body_bytes != view.size_bytes {
            return Ok(false);
        }
        let (body, _) = self.body.finish();
        if head_bytes == 0 {
            return Ok(body == view.digests);
        }
        let is_head = held.read(0..head_bytes).await? == self.head;
        Ok(is_head && digests_from(held, head_bytes).await? == body)
    }
}

async fn digests_from(held: &VerifiedObject, mut at: u64) -> Result<Digests, StoreError> {
    let mut hasher = ContentHasher::new();
    while at < held.size_bytes() {
        let end = held.size_bytes().min(at + u64::from(MAX_CHUNK_BYTES));
        hasher.update(&held.read(at..end).await?);
        at = end;
    }
    Ok(hasher.finish().0)
}

impl OutputSink for Made {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.body_bytes += bytes.len() as u64;
        self.body.update(&bytes);
        Ok(())
    }

    async fn head(&mut self, bytes: Bytes) -> io::Result<()> {
        self.head = bytes;
        Ok(())
    }
}

//! Makes derivatives again and compares them with what is held: whoever has the original, the recipe and the same program
//! reaches the same result.
//!
//! Nothing that is made here is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use chain_of_custody::digest::{ContentHasher, Digests, Sha256};
use serde::Serialize;
use serde_json::Value;
use storage::objects::{ObjectStore, StoreError, StoredObject, VerifiedObject};
use storage::records::{DerivativeView, ItemRecord};

use crate::protocol::{
    DecodedParameters, MAX_CHUNK_BYTES, MAX_RECIPES, OriginalDigests, Recipe, Report,
};
use crate::ranges::{self, OneBehindTheOther};
use crate::source::{OutputSink, RangeSource};
use crate::supervise::Wanted;
use crate::{Failure, Finished, Supervisor, recipe};

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
    /// Other bytes, made with something else; decoded, every picture and all sound are the same.
    SamePictures,
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
    #[error("what was made could not be written to a temporary file: {0}")]
    Temporary(#[from] io::Error),
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
        match recipe::parse(&recipe["asked"].to_string()) {
            Some(asked) if again.len() < MAX_RECIPES => again.push((view, asked, recipe)),
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
    // As they were made: most in one pass, some by a worker of their own, a long recording's viewing copy in ranges.
    let (in_ranges, again): (Vec<_>, Vec<_>) =
        again.into_iter().partition(|(_, asked, _)| !ranges::of(asked).is_empty());
    let maker = Maker { supervisor, objects, source: &source, digests };
    for one in in_ranges {
        let (finished, made) = maker.in_ranges(&one.1).await?;
        compared.extend(maker.compare(vec![one], finished, vec![made]).await?);
    }
    let (alone, together): (Vec<_>, Vec<_>) =
        again.into_iter().partition(|(view, ..)| recipe::is_made_alone(&view.kind));
    let alone = alone.into_iter().map(|one| vec![one]);
    for again in std::iter::once(together).chain(alone).filter(|again| !again.is_empty()) {
        let recipes = again.iter().map(|(_, asked, _)| asked.clone());
        let (finished, made) = maker.make(recipes, &source).await?;
        compared.extend(maker.compare(again, finished, made).await?);
    }
    Ok(compared)
}

/// What is made again of one original, and how it is compared.
struct Maker<'m> {
    supervisor: &'m Supervisor,
    objects: &'m ObjectStore,
    source: &'m VerifiedObject,
    digests: OriginalDigests,
}

/// One derivative, its recipe, and the field that the recipe comes from.
type Again<'v> = (&'v DerivativeView, Recipe, Value);

impl Maker<'_> {
    /// All in one pass over `source`.
    async fn make(
        &self,
        recipes: impl Iterator<Item = Recipe>,
        source: &impl RangeSource,
    ) -> Result<(Finished, Vec<Made>), ReproduceError> {
        let wanted = recipes.map(|recipe| Ok(Wanted { recipe, sink: Made::new()? }));
        let mut wanted = wanted.collect::<io::Result<Vec<_>>>()?;
        let finished = self.supervisor.run(self.digests.clone(), source, &mut wanted).await?;
        Ok((finished, wanted.into_iter().map(|one| one.sink).collect()))
    }

    /// Range by range, and joined.
    async fn in_ranges(&self, asked: &Recipe) -> Result<(Finished, Made), ReproduceError> {
        let (mut all, mut reports) = (OneBehindTheOther(Vec::new()), Vec::new());
        for range in ranges::of(asked) {
            let (mut finished, mut made) = self.make([range].into_iter(), self.source).await?;
            all.0.append(&mut made);
            match finished.ended.pop() {
                Some(Ok(report)) => reports.push(report),
                other => {
                    finished.ended.extend(other);
                    return Ok((finished, Made::new()?));
                }
            }
        }
        let joined = ranges::joined(&all);
        let (mut finished, mut made) = self.make([joined].into_iter(), &all).await?;
        let account = |report| ranges::account(report, &reports);
        finished.ended = finished.ended.into_iter().map(|ended| ended.map(account)).collect();
        let made = made.pop().map_or_else(Made::new, Ok)?;
        Ok((finished, made))
    }

    async fn compare(
        &self,
        again: Vec<Again<'_>>,
        finished: Finished,
        made: Vec<Made>,
    ) -> Result<Vec<Reproduced>, ReproduceError> {
        let mut compared = Vec::with_capacity(again.len());
        for (((view, _, recipe), ended), made) in again.iter().zip(&finished.ended).zip(made) {
            let held = open(self.objects, &view.object).await?;
            compared.push(match ended {
                Ok(_) if made.is(&held, view).await? => {
                    Reproduced::of(view, Comparison::Match, None)
                }
                Ok(report) => {
                    let shown =
                        (shown(self.supervisor, &held).await, shown(self.supervisor, &made).await);
                    let is_shown_the_same = matches!(shown, (Some(then), Some(now)) if then == now);
                    Reproduced::judge(view, is_shown_the_same, recipe, report, finished.program)
                }
                Err(failure) => {
                    Reproduced::of(view, Comparison::Mismatch, Some(failure.to_string()))
                }
            });
        }
        Ok(compared)
    }
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

    /// Of one whose bytes are others.
    fn judge(
        view: &DerivativeView,
        is_shown_the_same: bool,
        recipe: &Value,
        report: &Report,
        program: Option<Sha256>,
    ) -> Self {
        let now = recipe::made_text(&Recipe::Probe(Default::default()), report, program);
        let now: Value = serde_json::from_str(&now).unwrap_or_default();
        let (then, now) = (tools(recipe), tools(&now));
        let differs = |name: &&String| then.get(*name) != now.get(*name);
        let names: BTreeSet<_> = then.keys().chain(now.keys()).filter(differs).collect();
        if names.is_empty() {
            let reason = "the same program and libraries made other bytes of it";
            return Self::of(view, Comparison::Mismatch, Some(reason.to_owned()));
        }
        let said = |tools: &BTreeMap<String, String>, name: &String| {
            tools.get(name).map_or("not there", String::as_str).to_owned()
        };
        let each =
            |name: &String| format!("{name} then {}, now {}", said(&then, name), said(&now, name));
        let other: Vec<_> = names.into_iter().map(each).collect();
        let (result, what) = match is_shown_the_same {
            true => (Comparison::SamePictures, "other bytes, the same pictures and sound"),
            false => (Comparison::CannotTell, "other bytes"),
        };
        let reason = format!("{what}, made with something else: {}", other.join("; "));
        Self::of(view, result, Some(reason))
    }
}

/// Program and libraries of a recipe as made, by name, with their versions; and the digest of the program.
fn tools(recipe: &Value) -> BTreeMap<String, String> {
    let made_with = &recipe["made-with"];
    let program = made_with["program"].as_str().unwrap_or_default();
    let libraries = made_with["libraries"].as_object().into_iter().flatten();
    let libraries = libraries.map(|(name, version)| (name.as_str(), version));
    let digest = ("the program's SHA-256", &recipe["program-sha256"]);
    let all = libraries.chain([(program, &made_with["version"]), digest]);
    all.map(|(name, version)| (name.to_owned(), version.as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// What a file shows and sounds like: none for what is neither pictures nor sound.
async fn shown(supervisor: &Supervisor, source: &impl RangeSource) -> Option<Value> {
    let recipe = Recipe::Decoded(DecodedParameters { version: 1 });
    let mut wanted = [Wanted { recipe, sink: Vec::new() }];
    let nobody = OriginalDigests { sha256: String::new(), blake3: String::new() };
    let finished = supervisor.run(nobody, source, &mut wanted).await.ok()?;
    let [Ok(_)] = &finished.ended[..] else { return None };
    serde_json::from_slice(&wanted[0].sink).ok()
}

/// What was made again, in a file that is gone with it.
#[derive(Debug)]
struct Made {
    /// Of all but the head.
    digests: ContentHasher,
    body: Arc<File>,
    body_bytes: u64,
    head: Bytes,
}

impl Made {
    fn new() -> io::Result<Self> {
        let (digests, body) = (ContentHasher::default(), Arc::new(tempfile::tempfile()?));
        Ok(Self { digests, body, body_bytes: 0, head: Bytes::new() })
    }

    /// Whether it is what is held, whose bytes are checked against the ledger as they are read.
    async fn is(&self, held: &VerifiedObject, view: &DerivativeView) -> Result<bool, StoreError> {
        let head_bytes = self.head.len() as u64;
        if head_bytes + self.body_bytes != view.size_bytes {
            return Ok(false);
        }
        let (body, _) = self.digests.clone().finish();
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
        self.digests.update(&bytes);
        let (body, at) = (Arc::clone(&self.body), self.body_bytes);
        self.body_bytes += bytes.len() as u64;
        tokio::task::spawn_blocking(move || body.write_all_at(&bytes, at)).await?
    }

    async fn head(&mut self, bytes: Bytes) -> io::Result<()> {
        self.head = bytes;
        Ok(())
    }
}

impl RangeSource for Made {
    fn size_bytes(&self) -> u64 {
        self.head.len() as u64 + self.body_bytes
    }

    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let head_bytes = self.head.len() as u64;
        let of_head = range.start.min(head_bytes)..range.end.min(head_bytes);
        let of_body = range.start.max(head_bytes)..range.end.max(head_bytes);
        let mut bytes = self.head[of_head.start as usize..of_head.end as usize].to_vec();
        let mut rest = vec![0; (of_body.end - of_body.start) as usize];
        let (body, at) = (Arc::clone(&self.body), of_body.start - head_bytes);
        let rest =
            tokio::task::spawn_blocking(move || body.read_exact_at(&mut rest, at).map(|()| rest));
        bytes.extend(rest.await??);
        Ok(bytes.into())
    }
}

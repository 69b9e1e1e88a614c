//! Derivatives that somebody at the console asks for: extracts, redactions, and what is missing or failed.

use std::path::Path;
use std::sync::Arc;

use chain_of_custody::command::{Command, Guard};
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use storage::objects::{StoredObject, VerifiedObject};
use storage::records::{Asked, DerivativeView, ItemRecord};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use transcode::jobs::{Answer, Asker};
use transcode::protocol::Span;
use transcode::recipe::{self, Recipe};

use super::App;
use super::open::{failed, new_event};
use crate::control::{Actor, Derive, DeriveRequest, Failure, ProgressSender};

impl App {
    pub(super) async fn derive(
        &self,
        asked: DeriveRequest,
        actor: &Actor,
        progress: ProgressSender,
    ) -> Result<Value, Failure> {
        if asked.reason.trim().is_empty() {
            return Err(Failure::new("usage", "a reason is recorded with it, and none was given"));
        }
        if let Some(output) = &asked.output
            && output.exists()
        {
            let message = format!("{} is there already", output.display());
            return Err(Failure::new("output", message).advice("name a file that is not there yet"));
        }
        let record = self.record(&asked.item).await?;
        let asker = self.asker()?;
        let who = Asked { by: actor.as_str().to_owned(), reason: asked.reason.clone() };
        // What else can be made, and how, follows from what a probe finds.
        let probe = make(&asker, &record, &[recipe::first()], &who, &progress).await?.remove(0);
        let asked_for_all = matches!(asked.what, Derive::Standard(None));
        let recipes = recipes(&asked.what, &probe.media)?;
        let mut made = make(&asker, &record, &recipes, &who, &progress).await?;
        if asked_for_all {
            made.insert(0, probe);
        }
        if let ([one], Some(output)) = (&made[..], &asked.output) {
            self.save(&record, one, output, actor).await?;
        }
        let described: Vec<_> = made.iter().map(described).collect();
        Ok(json!({"item": record.item, "derivatives": described, "output": asked.output}))
    }

    pub(super) async fn cancel(&self, reference: &str, actor: &Actor) -> Result<Value, Failure> {
        let record = self.record(reference).await?;
        let cancelled = self.parts.records.cancel_jobs(record.item, actor.as_str()).await;
        let cancelled = cancelled.map_err(|e| failed("records", &e))?;
        Ok(json!({"item": record.item, "cancelled": cancelled}))
    }

    async fn record(&self, reference: &str) -> Result<ItemRecord, Failure> {
        let item = self.find(reference).await?;
        let record = self.parts.records.item(item).await.map_err(|e| failed("records", &e))?;
        record.ok_or_else(|| Failure::new("not-found", format!("no item {reference}")))
    }

    fn asker(&self) -> Result<Asker, Failure> {
        let super::Parts { ledger, objects, clock, config, .. } = &*self.parts;
        let (ledger, objects) = (ledger.clone(), objects.clone());
        let free = config.limits.free_bytes;
        Ok(Asker::new(ledger, objects, self.supervisor()?, Arc::clone(clock), free))
    }

    /// Writes a derivative into a file that is not there yet, once it is recorded that it leaves. Half of one does not stay.
    async fn save(
        &self,
        record: &ItemRecord,
        view: &DerivativeView,
        output: &Path,
        actor: &Actor,
    ) -> Result<(), Failure> {
        let stored: StoredObject =
            serde_json::from_str(&view.object).map_err(|e| failed("records", &e))?;
        let object = self.parts.objects.open_object(&stored).await;
        let object = object.map_err(|e| failed("store", &e))?;
        let salt = || Salt(rand::random());
        let command = Command::new(EventKind::ItemDownloaded, new_event())
            .touching(record.item)
            .provided(Guard::SubjectExists(record.item.into()))
            .field(field::KIND, view.kind.clone(), salt())
            .field(field::RECIPE_ID, view.recipe_id.clone(), salt())
            .field(field::BY, actor.as_str(), salt());
        let cannot =
            |e: std::io::Error| Failure::new("output", format!("{}: {e}", output.display()));
        let file = File::create_new(output).await.map_err(cannot)?;
        let recorded = self.parts.ledger.record(command).await.map_err(|e| failed("ledger", &e));
        let saved = match recorded {
            Ok(_) => copy(&object, file).await.map_err(cannot),
            Err(failure) => Err(failure),
        };
        if saved.is_err() {
            let _ = tokio::fs::remove_file(output).await;
        }
        saved
    }
}

async fn copy(object: &VerifiedObject, mut file: File) -> std::io::Result<()> {
    let pieces = object.stream(0..object.size_bytes()).map_err(std::io::Error::other)?;
    let mut pieces = std::pin::pin!(pieces);
    while let Some(piece) = pieces.try_next().await.map_err(std::io::Error::other)? {
        file.write_all(&piece).await?;
    }
    file.sync_all().await
}

/// All of `recipes`, or why not.
async fn make(
    asker: &Asker,
    record: &ItemRecord,
    recipes: &[Recipe],
    who: &Asked,
    progress: &ProgressSender,
) -> Result<Vec<DerivativeView>, Failure> {
    let names: Vec<_> = recipes.iter().map(Recipe::output_name).collect();
    let what = format!("making {}", names.join(", "));
    let report = |permille: u16| progress.report(&what, permille.into(), 1000);
    let answers = asker.ask(record, recipes, who, &report).await;
    let (mut made, mut failures) = (Vec::new(), Vec::new());
    for answer in answers.map_err(|e| failed("transcode", &e))? {
        match answer {
            Answer::Made(view) => made.push(view),
            Answer::Failed(failure) => {
                failures.push(format!("{}: {}", failure.kind, failure.reason));
            }
            Answer::NotAllowed => {
                let message =
                    "nothing is made of an item that is restricted, quarantined or disposed of";
                return Err(Failure::new("not-allowed", message));
            }
        }
    }
    if failures.is_empty() {
        return Ok(made);
    }
    Err(Failure::new("derivation", failures.join("; "))
        .advice("it stands in the ledger with the item: exhibit show"))
}

fn recipes(what: &Derive, media: &str) -> Result<Vec<Recipe>, Failure> {
    let usage = |e: recipe::AskError| failed("usage", &e);
    let kind = match what {
        Derive::Extract { from_ms, to_ms, exact } => {
            let part = Span { from_ms: *from_ms, to_ms: *to_ms };
            return Ok(vec![recipe::extract(part, *exact, media).map_err(usage)?]);
        }
        Derive::Redaction(list) => return Ok(vec![recipe::redaction(list).map_err(usage)?]),
        Derive::Standard(None) => return Ok(recipe::after(media)),
        Derive::Standard(Some(kind)) => kind,
    };
    let all = recipe::after(media).into_iter().chain([recipe::first()]);
    let mut all = all.chain(recipe::small_copy_of(media));
    let asked = all.find(|recipe| recipe.kind() == kind);
    asked.map(|recipe| vec![recipe]).ok_or_else(|| {
        let message = format!("no {kind} follows from what the probe found");
        Failure::new("not-found", message)
            .advice("without --derivative everything is made that does")
    })
}

fn described(view: &DerivativeView) -> Value {
    let recipe: Value = serde_json::from_str(&view.recipe).unwrap_or_default();
    json!({
        "kind": view.kind,
        "recipe_id": view.recipe_id,
        "leaf_index": view.leaf_index.0,
        "size_bytes": view.size_bytes,
        "digests": view.digests,
        "notes": recipe["notes"],
    })
}

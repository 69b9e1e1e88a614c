//! Derivatives that somebody at the console asks for: extracts, redactions, and what is missing or failed.

use std::path::Path;
use std::sync::Arc;

use chain_of_custody::command::{Command, Guard};
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use storage::objects::StoredObject;
use storage::records::{Asked, DerivativeView, ItemRecord};
use tokio::io::AsyncWriteExt as _;
use transcode::jobs::{Answer, Asker};
use transcode::recipe::{self, Recipe};

use super::open::{failed, new_event};
use super::{App, supervisor};
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
        let views = self.parts.records.derivatives(record.item).await;
        let views = views.map_err(|e| failed("records", &e))?;
        let media = views.iter().map(|view| view.media.as_str()).find(|media| !media.is_empty());
        let asker = self.asker()?;
        let who = Asked { by: actor.as_str().to_owned(), reason: asked.reason.clone() };
        let mut made = Vec::new();
        // What else is made follows from what a probe finds.
        let mut probed = media.map(str::to_owned);
        if let (Derive::Standard(kind), None) = (&asked.what, &probed) {
            let probe = make(&asker, &record, &recipe::first(), &who, &progress).await?;
            probed = Some(probe.media.clone());
            if kind.as_ref().is_none_or(|kind| *kind == probe.kind) {
                made.push(probe);
            }
        }
        for recipe in recipes(&asked.what, probed.as_deref().unwrap_or_default())? {
            made.push(make(&asker, &record, &recipe, &who, &progress).await?);
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
        Ok(Asker::new(ledger, objects, supervisor()?, Arc::clone(clock), free))
    }

    /// Writes a derivative into a file, once it is recorded that it leaves.
    async fn save(
        &self,
        record: &ItemRecord,
        view: &DerivativeView,
        output: &Path,
        actor: &Actor,
    ) -> Result<(), Failure> {
        let cannot = |e: &dyn std::fmt::Display| {
            Failure::new("output", format!("{}: {e}", output.display()))
        };
        let stored: StoredObject =
            serde_json::from_str(&view.object).map_err(|e| failed("records", &e))?;
        let object =
            self.parts.objects.open_object(&stored).await.map_err(|e| failed("store", &e))?;
        let mut file =
            tokio::fs::OpenOptions::new().write(true).create_new(true).open(output).await;
        let file = file.as_mut().map_err(|e| cannot(e))?;
        let salt = || Salt(rand::random());
        let command = Command::new(EventKind::ItemDownloaded, new_event())
            .touching(record.item)
            .provided(Guard::SubjectExists(record.item.into()))
            .field(field::KIND, view.kind.clone(), salt())
            .field(field::RECIPE_ID, view.recipe_id.clone(), salt())
            .field(field::BY, actor.as_str(), salt());
        self.parts.ledger.record(command).await.map_err(|e| failed("ledger", &e))?;
        let pieces = object.stream(0..object.size_bytes()).map_err(|e| failed("store", &e))?;
        let mut pieces = std::pin::pin!(pieces);
        while let Some(piece) = pieces.try_next().await.map_err(|e| failed("store", &e))? {
            file.write_all(&piece).await.map_err(|e| cannot(&e))?;
        }
        file.sync_all().await.map_err(|e| cannot(&e))
    }
}

async fn make(
    asker: &Asker,
    record: &ItemRecord,
    recipe: &Recipe,
    who: &Asked,
    progress: &ProgressSender,
) -> Result<DerivativeView, Failure> {
    let what = format!("making {}", recipe.output_name());
    let report = |permille: u16| progress.report(&what, permille.into(), 1000);
    let answer = asker.ask(record, recipe, who, &report).await;
    match answer.map_err(|e| failed("transcode", &e))? {
        Answer::Made(view) => Ok(view),
        Answer::Failed(failure) => {
            let message = format!("{}: {}", failure.kind, failure.reason);
            Err(Failure::new("derivation", message)
                .advice("it stands in the ledger with the item: exhibit show"))
        }
        Answer::NotAllowed => {
            let message =
                "nothing is made of an item that is restricted, quarantined or disposed of";
            Err(Failure::new("not-allowed", message))
        }
    }
}

fn recipes(what: &Derive, media: &str) -> Result<Vec<Recipe>, Failure> {
    let usage = |e: recipe::AskError| failed("usage", &e);
    Ok(match what {
        Derive::Extract { from_ms, to_ms, exact } => {
            let part = transcode::protocol::Span { from_ms: *from_ms, to_ms: *to_ms };
            vec![recipe::extract(part, *exact, media).map_err(usage)?]
        }
        Derive::Redaction(list) => vec![recipe::redaction(list).map_err(usage)?],
        Derive::Standard(kind) => {
            let all = recipe::after(media).into_iter().chain([recipe::first()]);
            let is_asked = |recipe: &Recipe| match kind {
                Some(kind) => kind == recipe.kind(),
                None => *recipe != recipe::first(),
            };
            let asked: Vec<_> = all.filter(is_asked).collect();
            if asked.is_empty() {
                let message = "nothing of that kind follows from what the probe found";
                return Err(Failure::new("not-found", message).advice(
                    "ask without --derivative first, for the probe and what follows from it",
                ));
            }
            asked
        }
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

//! Answers in the form that other programs rely on.

use chain_of_custody::digest::{Blake3, Sha256};
use chain_of_custody::ids::{DeviceId, ItemId};
use serde_json::{Value, json};
use storage::ledger::Audit;
use storage::records::{DeviceRecord, ItemRecord, Search};

use super::App;
use super::open::failed;
use crate::control::Failure;

impl App {
    /// One item by id or digest.
    pub(super) async fn show(&self, reference: &str) -> Result<Value, Failure> {
        let item = self.find(reference).await?;
        let view = self.parts.records.item_view(item).await.map_err(|e| failed("records", &e))?;
        let view = view.ok_or_else(|| not_found(reference))?;
        let mut value = serde_json::to_value(&view).expect("a view is plain data");
        for derivative in value["derivatives"].as_array_mut().into_iter().flatten() {
            // Kept as canonical JSON; shown as JSON.
            for key in ["recipe", "media"] {
                if let Some(parsed) =
                    derivative[key].as_str().and_then(|t| serde_json::from_str(t).ok())
                {
                    derivative[key] = parsed;
                }
            }
        }
        Ok(value)
    }

    pub(super) async fn find(&self, reference: &str) -> Result<ItemId, Failure> {
        let records = &self.parts.records;
        let bad = |e: &dyn std::error::Error| {
            failed("usage", e).advice("an item is named by its id, sha256:HEX or blake3:HEX")
        };
        let found = if let Some(hex) = reference.strip_prefix("sha256:") {
            records.items_by_sha256(hex.parse::<Sha256>().map_err(|e| bad(&e))?).await
        } else if let Some(hex) = reference.strip_prefix("blake3:") {
            records.items_by_blake3(hex.parse::<Blake3>().map_err(|e| bad(&e))?).await
        } else {
            return reference.parse().map_err(|e| bad(&e));
        };
        match &found.map_err(|e| failed("records", &e))?[..] {
            [] => Err(not_found(reference)),
            [one] => Ok(one.item),
            several => {
                let ids: Vec<String> = several.iter().map(|item| item.item.to_string()).collect();
                Err(Failure::new(
                    "ambiguous",
                    format!("several items have these bytes: {}", ids.join(", ")),
                )
                .advice("name one of them by its id"))
            }
        }
    }

    /// Items that match, newest first.
    pub(super) async fn search(
        &self,
        text: Option<String>,
        device: Option<String>,
        limit: u32,
        after: Option<String>,
    ) -> Result<Value, Failure> {
        let device =
            device.map(|d| d.parse::<DeviceId>()).transpose().map_err(|e| failed("usage", &e))?;
        let after = match after {
            Some(reference) => Some(self.entry_of(&reference).await?),
            None => None,
        };
        let search = Search { text, device, limit, after, ..Search::default() };
        let found = self.parts.records.search(&search).await.map_err(|e| failed("records", &e))?;
        let last = found.last().filter(|_| found.len() == limit as usize);
        let next = last.map(|item| item.item.to_string());
        Ok(json!({"items": found.iter().map(item).collect::<Vec<_>>(), "next_after": next}))
    }

    async fn entry_of(&self, reference: &str) -> Result<chain_of_custody::ids::LeafIndex, Failure> {
        let item = self.find(reference).await?;
        let record = self.parts.records.item(item).await.map_err(|e| failed("records", &e))?;
        record.map(|r| r.leaf_index).ok_or_else(|| not_found(reference))
    }
}

fn not_found(reference: &str) -> Failure {
    Failure::new("not-found", format!("no item {reference}"))
        .advice("exhibit search lists what is held")
}

fn item(record: &ItemRecord) -> Value {
    serde_json::to_value(record).expect("a record is plain data")
}

pub(super) fn device(record: &DeviceRecord) -> Value {
    let mut value = serde_json::to_value(record).expect("a record is plain data");
    value["state"] = json!(if record.is_active() { "active" } else { "revoked" });
    value
}

pub(super) fn audit(audit: &Audit) -> Value {
    serde_json::to_value(audit).expect("an audit is plain data")
}

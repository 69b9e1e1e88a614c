//! Derivatives made again, and compared with what is held.

use serde_json::{Value, json};
use transcode::reproduce::{Comparison, reproduce};

use super::App;
use super::open::failed;
use crate::control::Failure;

impl App {
    pub(super) async fn reproduce(
        &self,
        reference: &str,
        kind: Option<&str>,
    ) -> Result<Value, Failure> {
        let item = self.find(reference).await?;
        let view = self.parts.records.item_view(item).await.map_err(|e| failed("records", &e))?;
        let view = view.ok_or_else(|| Failure::new("not-found", format!("no item {reference}")))?;
        let is_asked = |of: &str| kind.is_none_or(|kind| kind == of);
        let asked = view.derivatives.iter().filter(|derivative| is_asked(&derivative.kind));
        let asked: Vec<_> = asked.cloned().collect();
        if asked.is_empty() {
            let kinds: Vec<_> = view.derivatives.iter().map(|d| d.kind.as_str()).collect();
            let message = format!("nothing of that kind was made of item {item}");
            return Err(
                Failure::new("not-found", message).advice(format!("it has: {}", kinds.join(", ")))
            );
        }
        let objects = &self.parts.objects;
        let compared = reproduce(&self.supervisor()?, objects, &view.record, &asked).await;
        let compared = compared.map_err(|e| failed("reproduce", &e))?;
        let worst = compared.iter().map(|one| one.result).max().unwrap_or(Comparison::Match);
        Ok(json!({"item": item, "result": worst, "derivatives": compared}))
    }
}

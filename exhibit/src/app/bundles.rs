//! Bundles: from what somebody typed to what the portal's maker is asked.

use chain_of_custody::ids::ItemId;
use portal::bundle::{Authorisation, BundleError, BundleRequest, Output, RequestedItem};
use serde_json::{Value, json};

use super::App;
use super::open::{failed, new_event};
use crate::control::{self, Actor, Failure};

impl App {
    pub(super) async fn create_bundle(
        &self,
        asked: control::BundleRequest,
        actor: &Actor,
    ) -> Result<Value, Failure> {
        let request = BundleRequest {
            event: new_event(),
            items: items(&asked)?,
            purpose: asked.purpose.parse().map_err(|e| failed("usage", &e))?,
            recipient: asked.recipient,
            by: actor.as_str().to_owned(),
            authorised: asked
                .authorised_by
                .map(|by| Authorisation { by, reason: asked.reason.unwrap_or_default() }),
            completeness: asked.complete,
            programs: asked.programs,
            case_reference: asked.case_reference,
            output: Output::from_path(&asked.output),
        };
        let made = self.parts.maker.create(&request).await.map_err(refused)?;
        Ok(json!({
            "path": made.path.display().to_string(),
            "name": made.name,
            "leaf_index": made.export.0,
            "bundle_digest": made.bundle_digest.to_string(),
            "files": made.files,
            "size_bytes": made.size_bytes,
            "items": asked.items,
        }))
    }
}

fn refused(error: BundleError) -> Failure {
    let failure = failed("bundle", &error);
    match error {
        BundleError::NeedsAuthorisation(_) => {
            failure.advice("somebody may authorise it: --authorised-by NAME --reason TEXT")
        }
        _ => failure,
    }
}

/// Items with their exhibit references, in the order in which both were given.
fn items(asked: &control::BundleRequest) -> Result<Vec<RequestedItem>, Failure> {
    if asked.references.len() > asked.items.len() {
        return Err(Failure::new("usage", "more references than items were given"));
    }
    let mut references = asked.references.iter();
    let item = |id: &String| {
        let id: ItemId = id.parse().map_err(|e| failed("usage", &e))?;
        Ok(RequestedItem { reference: references.next().cloned(), ..id.into() })
    };
    asked.items.iter().map(item).collect()
}

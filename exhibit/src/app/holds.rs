//! Holds, and until when items are kept, from what somebody typed at the console.

use chain_of_custody::ids::{ItemId, SubjectId};
use serde_json::{Value, json};

use super::App;
use super::people::{of_service, parse};
use crate::control::{Actor, Failure, HoldOf, KeepingRequest};

impl App {
    pub(super) async fn keeping(
        &self,
        request: KeepingRequest,
        actor: &Actor,
    ) -> Result<Value, Failure> {
        let console = self.parts.service.console(actor.as_str());
        match request {
            KeepingRequest::HoldSet { of, reason } => {
                let subject = self.hold_subject(of).await?;
                let hold = console.set_hold(&subject, &reason).await.map_err(of_service)?;
                Ok(json!({"subject": hold.subject, "leaf_index": hold.leaf_index}))
            }
            KeepingRequest::HoldRelease { of, reason } => {
                let subject = self.hold_subject(of).await?;
                console.release_hold(&subject, &reason).await.map_err(of_service)?;
                Ok(json!({"subject": subject}))
            }
            KeepingRequest::HoldList => {
                let holds = console.holds().await.map_err(of_service)?;
                Ok(json!({"holds": holds}))
            }
            KeepingRequest::Review { items, until, reason } => {
                let parsed: Vec<ItemId> =
                    items.iter().map(|id| parse(id)).collect::<Result<_, _>>()?;
                for item in parsed {
                    console.review(item, &until, &reason).await.map_err(of_service)?;
                }
                Ok(json!({"items": items, "until": until}))
            }
        }
    }

    async fn hold_subject(&self, of: HoldOf) -> Result<SubjectId, Failure> {
        Ok(match of {
            HoldOf::Item(item) => parse::<ItemId>(&item)?.into(),
            HoldOf::Case(case) => self.case_named(&case).await?.into(),
        })
    }
}

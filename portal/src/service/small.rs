//! The smaller viewing copy, for poor lines: made of what somebody asks it for.

use chain_of_custody::ids::ItemId;
use serde::Serialize;
use storage::records::{Asked, DerivativeView, FailureView, ItemRecord, Making};
use utoipa::ToSchema;

use super::{Service, ServiceError};
use crate::access::Person;

/// What a smaller viewing copy is called among the derivatives.
pub(super) const KIND: &str = "proxy-small";

/// Whether there is a smaller viewing copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SmallCopy {
    Made,
    /// It was asked for.
    Making,
    /// It can be asked for.
    Possible,
    /// There is nothing to play, or nothing may be made, or it could not be made.
    None,
}

impl SmallCopy {
    pub(super) fn of(
        record: &ItemRecord,
        derivatives: &[DerivativeView],
        failures: &[FailureView],
        making: &[Making],
    ) -> Self {
        let may_be_made = record.state == "stored" && !record.restricted;
        let has_failed = failures.iter().any(|failure| failure.kind == KIND);
        if derivatives.iter().any(|view| view.kind == KIND) {
            Self::Made
        } else if making.iter().any(|one| one.kind == KIND) {
            Self::Making
        } else if may_be_made
            && !has_failed
            && DerivativeView::newest_probe(derivatives).is_some_and(|d| plays(&d.media))
        {
            Self::Possible
        } else {
            Self::None
        }
    }
}

/// Whether there is something to play, given what the probe found.
fn plays(media: &str) -> bool {
    let media: serde_json::Value = serde_json::from_str(media).unwrap_or_default();
    let streams = media["streams"].as_array().map_or(&[][..], Vec::as_slice);
    let is_still = media["container"].as_str().is_some_and(|name| name.ends_with("_pipe"));
    !is_still && streams.iter().any(|stream| stream["kind"] == "video" || stream["kind"] == "audio")
}

impl Service {
    /// Asks for a smaller viewing copy, before what nobody waits for. Asked for twice, it is made once. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for what is not theirs; [`ServiceError::Conflict`] where none can be made; others.
    pub async fn ask_small_copy(
        &self,
        person: &Person,
        item: ItemId,
    ) -> Result<SmallCopy, ServiceError> {
        let record = self.item_of_theirs(person, item).await?;
        self.record_viewing(person, item).await?;
        let records = self.records();
        let making = records.making(&record).await?;
        let (derivatives, failures) =
            (records.derivatives(item).await?, records.failures(item).await?);
        match SmallCopy::of(&record, &derivatives, &failures, &making) {
            SmallCopy::Possible => {
                let asked = Asked { by: person.actor(), reason: "for a poor line".to_owned() };
                records.ask_for(&(self.parts().small_copy)(item), &asked).await?;
                Ok(SmallCopy::Making)
            }
            SmallCopy::None => {
                let why = "no smaller copy can be made of this".to_owned();
                Err(ServiceError::Conflict { code: "no-small-copy", why })
            }
            there => Ok(there),
        }
    }
}

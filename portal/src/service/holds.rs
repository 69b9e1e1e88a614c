//! Holds, and until when items are kept: orders that a force's own procedure gives, entered at the console.

use chain_of_custody::command::{Command, Guard};
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{ItemId, SubjectId};
use chain_of_custody::time::end_of_day_ms;
use storage::records::HoldRecord;

use super::views::Known;
use super::{Console, MAX_REASON_CHARS, Service, ServiceError};
use crate::access::{Malformed, line};
use crate::words::{UkTime, last_day};
use crate::{new_event, random_salt};

impl Console {
    /// Every hold that stands.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn holds(&self) -> Result<Vec<HoldRecord>, ServiceError> {
        Ok(self.service.records().holds().await?)
    }

    /// Holds an item, or a case with everything that is linked to it, now or later.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for what is not there; [`ServiceError::Conflict`] for what is held already; others.
    pub async fn set_hold(
        &self,
        subject: &SubjectId,
        reason: &str,
    ) -> Result<HoldRecord, ServiceError> {
        if let Some(hold) = self.service.records().hold(subject).await? {
            let why = format!("{subject} is held already, since entry {}", hold.leaf_index);
            return Err(ServiceError::Conflict { code: "held", why });
        }
        self.order(EventKind::HoldSet, subject, reason).await?;
        let hold = self.service.records().hold(subject).await?;
        hold.ok_or_else(|| ServiceError::internal("a hold that was set is not there"))
    }

    /// Ends the hold on an item or case. Other holds on the same item stay.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] for what is not held; others.
    pub async fn release_hold(
        &self,
        subject: &SubjectId,
        reason: &str,
    ) -> Result<(), ServiceError> {
        if self.service.records().hold(subject).await?.is_none() {
            let why = format!("there is no hold on {subject} itself");
            return Err(ServiceError::Conflict { code: "not-held", why });
        }
        self.order(EventKind::HoldReleased, subject, reason).await
    }

    /// Decides until the end of which day (`YYYY-MM-DD`, UTC) an item is kept; the newest decision counts.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for what is not there; [`ServiceError::Malformed`]; others.
    pub async fn review(
        &self,
        item: ItemId,
        keep_until: &str,
        reason: &str,
    ) -> Result<(), ServiceError> {
        if end_of_day_ms(keep_until).is_none() {
            return Err(Malformed::new("until", "a day, as in 2031-05-03").into());
        }
        let reason = line("reason", reason, MAX_REASON_CHARS)?;
        let command = self.about(EventKind::RetentionReviewed, &item.into(), reason);
        let command = command.field(field::KEEP_UNTIL, keep_until, random_salt());
        self.service.parts().ledger.record(command).await?;
        Ok(())
    }

    async fn order(
        &self,
        kind: EventKind,
        subject: &SubjectId,
        reason: &str,
    ) -> Result<(), ServiceError> {
        let reason = line("reason", reason, MAX_REASON_CHARS)?;
        let command = self.about(kind, subject, reason);
        self.service.parts().ledger.record(command).await?;
        Ok(())
    }

    fn about(&self, kind: EventKind, subject: &SubjectId, reason: String) -> Command {
        Command::new(kind, new_event())
            .touching(subject.clone())
            .provided(Guard::SubjectExists(subject.clone()))
            .field(field::REASON, reason, random_salt())
            .field(field::BY, &self.by, random_salt())
    }
}

impl Service {
    /// What holds an item, and until when it is kept, in words. The reason of a case's hold is for those who work on the case.
    pub(super) async fn kept(&self, item: ItemId) -> Result<Vec<Known>, ServiceError> {
        let holds = self.records().holds_on(item).await?;
        let mut kept: Vec<_> = holds.iter().map(|hold| in_words(hold, item)).collect();
        if let Some(until) = self.records().keep_until(item).await? {
            let says = format!("It is to be kept until {}.", last_day(until));
            kept.push(Known { about: "retention", standing: "good", says });
        }
        Ok(kept)
    }
}

fn in_words(hold: &HoldRecord, item: ItemId) -> Known {
    let since = UkTime::from(hold.set_at).local;
    let says = match hold.subject.item() == Some(item) {
        true if hold.reason.is_empty() => format!("It is held since {since}."),
        true => format!("It is held since {since}: {}", hold.reason.trim_end_matches('.')) + ".",
        false => format!("It is held since {since}, with a case that it is linked to."),
    };
    Known { about: "hold", standing: "good", says }
}

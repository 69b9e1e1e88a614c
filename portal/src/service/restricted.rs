//! Restricting an item, and who may see it then.
//!
//! Whoever may see an item may restrict it, and is named for it by that. Whoever is named may name others, withdraw them
//! and end the restriction, each with a reason; the last one named stays, or nobody here could undo it. The console may
//! always. Being named lets nobody into a case: a restricted item of a case is for those who are both.

use chain_of_custody::command::{Command, Guard};
use chain_of_custody::event::{EventKind, access, field};
use chain_of_custody::ids::{EventId, ItemId, UserId};

use super::cases::{changed, named};
use super::{MAX_REASON_CHARS, RequestKey, Service, ServiceError};
use crate::access::{Person, line};
use crate::random_salt;

/// Why whoever restricts an item is named for it.
const FIRST_VIEWER_REASON: &str = "they restrict it";

impl Service {
    /// Restricts an item to named viewers, of whom this person is one. One that is restricted already stays as it is.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for what is not theirs; [`ServiceError::Malformed`]; others.
    pub async fn restrict(
        &self,
        person: &Person,
        item: ItemId,
        reason: &str,
        key: &RequestKey,
    ) -> Result<(), ServiceError> {
        let record = self.item_of_theirs(person, item).await?;
        let reason = line("reason", reason, MAX_REASON_CHARS)?;
        if record.restricted {
            return Ok(());
        }
        // First who may see it: nobody is shut out in between, themselves included.
        let (event, by) = (key.event(person, "viewer-first"), person.actor());
        self.write_viewer(item, person.user, FIRST_VIEWER_REASON, event, &by, true).await?;
        self.write_restriction(person, item, true, reason, key).await
    }

    /// Ends a restriction: then whoever may see the item's cases may see it again. One that is not restricted stays so.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for what is not theirs; [`ServiceError::Malformed`]; others.
    pub async fn end_restriction(
        &self,
        person: &Person,
        item: ItemId,
        reason: &str,
        key: &RequestKey,
    ) -> Result<(), ServiceError> {
        let record = self.item_of_theirs(person, item).await?;
        let reason = line("reason", reason, MAX_REASON_CHARS)?;
        if !record.restricted {
            return Ok(());
        }
        self.write_restriction(person, item, false, reason, key).await
    }

    /// Names an investigator for a restricted item.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for what is not theirs; [`ServiceError::Malformed`]; [`ServiceError::Conflict`] for
    /// what is not restricted; others.
    pub async fn name_viewer(
        &self,
        person: &Person,
        item: ItemId,
        number: &str,
        reason: &str,
        key: &RequestKey,
    ) -> Result<(), ServiceError> {
        self.restricted_of_theirs(person, item).await?;
        let reason = line("reason", reason, MAX_REASON_CHARS)?;
        let viewer = self.investigator(number).await?.user;
        let event = key.event(person, "viewer-allowed");
        self.write_viewer(item, viewer, &reason, event, &person.actor(), true).await
    }

    /// Ends that somebody is named for a restricted item; the last one stays. Who is not named changes nothing.
    ///
    /// # Errors
    /// As [`Service::name_viewer`]; [`ServiceError::Conflict`] for the last one.
    pub async fn withdraw_viewer(
        &self,
        person: &Person,
        item: ItemId,
        number: &str,
        reason: &str,
        key: &RequestKey,
    ) -> Result<(), ServiceError> {
        self.restricted_of_theirs(person, item).await?;
        let reason = line("reason", reason, MAX_REASON_CHARS)?;
        let viewers = self.records().item_viewers(item).await?;
        // Somebody whose account has ended can be withdrawn too.
        let Some(viewer) = named(&viewers, number)? else { return Ok(()) };
        if viewers.len() == 1 {
            let why = "the last person named for a restricted item stays: name another first";
            return Err(ServiceError::Conflict { code: "last-viewer", why: why.to_owned() });
        }
        let event = key.event(person, "viewer-withdrawn");
        self.write_viewer(item, viewer.user, &reason, event, &person.actor(), false).await
    }

    async fn restricted_of_theirs(
        &self,
        person: &Person,
        item: ItemId,
    ) -> Result<(), ServiceError> {
        if self.item_of_theirs(person, item).await?.restricted {
            return Ok(());
        }
        let why = "the item is not restricted: whoever may see its cases may see it".to_owned();
        Err(ServiceError::Conflict { code: "not-restricted", why })
    }

    /// Names or withdraws somebody, whoever asks for it: the console too.
    pub(super) async fn write_viewer(
        &self,
        item: ItemId,
        viewer: UserId,
        reason: &str,
        event: EventId,
        by: &str,
        allowed: bool,
    ) -> Result<(), ServiceError> {
        let code = if allowed { access::VIEWER_ALLOWED } else { access::VIEWER_WITHDRAWN };
        let command = changed(item, code, event)
            .field(field::USER, viewer.to_string(), random_salt())
            .field(field::REASON, reason, random_salt())
            .field(field::BY, by, random_salt());
        self.parts().ledger.record(command).await?;
        Ok(())
    }

    async fn write_restriction(
        &self,
        person: &Person,
        item: ItemId,
        restricted: bool,
        reason: String,
        key: &RequestKey,
    ) -> Result<(), ServiceError> {
        let act = if restricted { "item.restricted" } else { "restriction-ended" };
        let command = Command::new(EventKind::ItemRestricted, key.event(person, act))
            .touching(item)
            .provided(Guard::SubjectExists(item.into()))
            .field(field::RESTRICTED, restricted.to_string(), random_salt())
            .field(field::REASON, reason, random_salt())
            .field(field::BY, person.actor(), random_salt());
        self.parts().ledger.record(command).await?;
        Ok(())
    }
}

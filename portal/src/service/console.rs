//! What is done at the console, by an operating-system user: cases, devices, and who may see a restricted item.
//!
//! Whoever has the console sees everything anyway; what they do is recorded like everybody's.

use chain_of_custody::ids::{CaseId, ItemId};
use storage::records::{CaseRecord, UserRecord};

use super::{Enrolled, NewCase, Service, ServiceError};
use crate::access::line;
use crate::new_event;

/// Characters in a reason at most.
pub const MAX_REASON_CHARS: usize = 500;

/// What is done at the console. Not for a door that others can reach.
#[derive(Debug, Clone)]
pub struct Console {
    pub(super) service: Service,
    pub(super) by: String,
}

impl Service {
    /// For the console alone: `by` is the operating-system user, as entries name them.
    pub fn console(&self, by: &str) -> Console {
        Console { service: self.clone(), by: by.to_owned() }
    }
}

impl Console {
    /// Everybody.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn users(&self) -> Result<Vec<UserRecord>, ServiceError> {
        Ok(self.service.records().users().await?)
    }

    /// Every case, newest first.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn cases(&self) -> Result<Vec<CaseRecord>, ServiceError> {
        Ok(self.service.records().cases(None).await?)
    }

    /// Opens a case for its first member.
    ///
    /// # Errors
    /// [`ServiceError::Malformed`] and others.
    pub async fn open_case(
        &self,
        new: &NewCase,
        members: &[String],
    ) -> Result<CaseRecord, ServiceError> {
        let new = new.checked()?;
        // Nobody is let in by halves: every number is looked up first.
        for number in members {
            self.service.investigator(number).await?;
        }
        let case = self.service.write_case(&new, new_event(), &self.by, None).await?;
        for number in members {
            self.service.write_member(case.case, number, new_event(), &self.by).await?;
        }
        Ok(case)
    }

    /// Lets somebody work on a case.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for a case that is not there; others.
    pub async fn add_member(&self, case: CaseId, number: &str) -> Result<(), ServiceError> {
        self.service.write_member(case, number, new_event(), &self.by).await
    }

    /// Links an item to a case.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for an item or case that is not there; others.
    pub async fn link_item(
        &self,
        case: CaseId,
        item: ItemId,
        exhibit_reference: Option<&str>,
    ) -> Result<(), ServiceError> {
        self.service.write_link(case, item, exhibit_reference, new_event(), &self.by).await
    }

    /// Names a viewer for a restricted item, or withdraws them.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for an item that is not there; [`ServiceError::Malformed`]; others.
    pub async fn allow_viewer(
        &self,
        item: ItemId,
        number: &str,
        reason: &str,
        allowed: bool,
    ) -> Result<(), ServiceError> {
        let reason = line("reason", reason, MAX_REASON_CHARS)?;
        let viewer = self.service.investigator(number).await?.user;
        self.service.write_viewer(item, viewer, &reason, new_event(), &self.by, allowed).await
    }

    /// Lets a device in; its token is shown this once.
    ///
    /// # Errors
    /// [`ServiceError::Malformed`] and others.
    pub async fn enrol_device(&self, name: &str) -> Result<Enrolled, ServiceError> {
        self.service.write_device(name, new_event(), &self.by).await
    }
}

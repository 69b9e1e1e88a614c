//! Cases: opening one, who works on it, what belongs to it.

use chain_of_custody::command::{Command, Guard};
use chain_of_custody::event::{EventKind, access, field};
use chain_of_custody::ids::{CaseId, EventId, ItemId, LeafIndex, SubjectId};
use storage::records::{CaseRecord, UserRecord};

use super::{
    CaseDetail, CaseSummary, EventsPage, ItemsQuery, LinkedItem, MAX_REASON_CHARS, Member,
    RequestKey, Service, ServiceError,
};
use crate::access::{Attempt, MAX_NUMBER_CHARS, Malformed, Person, Role, line};
use crate::random_salt;

/// Characters in a case's or an exhibit's reference at most.
pub const MAX_REFERENCE_CHARS: usize = 64;
/// Characters in a case's title at most.
pub const MAX_TITLE_CHARS: usize = 200;

/// A case to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCase {
    /// URN: one line of at most [`MAX_REFERENCE_CHARS`].
    pub reference: String,
    /// One line of at most [`MAX_TITLE_CHARS`].
    pub title: String,
}

impl NewCase {
    pub(super) fn checked(&self) -> Result<Self, ServiceError> {
        let reference = line("reference", &self.reference, MAX_REFERENCE_CHARS)?;
        Ok(Self { reference, title: line("title", &self.title, MAX_TITLE_CHARS)? })
    }
}

impl Service {
    /// The cases of this person, newest first.
    ///
    /// # Errors
    /// [`ServiceError::NotForRole`] and others.
    pub async fn cases(&self, person: &Person) -> Result<Vec<CaseSummary>, ServiceError> {
        self.investigators_only(person).await?;
        Ok(self.records().cases(Some(person.user)).await?.into_iter().map(summary).collect())
    }

    /// One case with its members and the items of it that this person may see. Recorded as a list.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for what is not theirs; others.
    pub async fn case(&self, person: &Person, case: CaseId) -> Result<CaseDetail, ServiceError> {
        let record = self.case_of_theirs(person, case).await?;
        let members = self.records().case_members(case).await?;
        let linked = self.records().case_items(person.user, case).await?;
        let records: Vec<_> = linked.iter().map(|linked| linked.record.clone()).collect();
        let summaries = self.summaries(&records).await?;
        let ids: Vec<ItemId> = records.iter().map(|record| record.item).collect();
        self.record_list(person, Some(case), &ItemsQuery::default(), &ids).await?;
        let items = summaries.into_iter().zip(linked).map(|(summary, linked)| LinkedItem {
            summary,
            exhibit_reference: linked.exhibit_reference,
        });
        let bundles = self.bundles(person).await?;
        Ok(CaseDetail {
            summary: summary(record),
            members: members.into_iter().map(Member::from).collect(),
            items: items.collect(),
            bundles: bundles.into_iter().filter(|bundle| bundle.case == Some(case)).collect(),
        })
    }

    /// What happened to a case, in the ledger's order, behind `after`.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for what is not theirs; others.
    pub async fn case_events(
        &self,
        person: &Person,
        case: CaseId,
        after: Option<LeafIndex>,
    ) -> Result<EventsPage, ServiceError> {
        self.case_of_theirs(person, case).await?;
        self.events_of(&case.into(), after).await
    }

    /// Opens a case; whoever opens it is its first member. The same key again gives the same case.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn open_case(
        &self,
        person: &Person,
        new: &NewCase,
        key: &RequestKey,
    ) -> Result<CaseSummary, ServiceError> {
        self.investigators_only(person).await?;
        let new = new.checked()?;
        let event = key.event(person, "case.opened");
        let mine = self.records().cases_by_reference(&new.reference).await?;
        for case in mine {
            let is_repeat = self.records().entry_of_event(event).await? == Some(case.leaf_index);
            if !is_repeat && self.records().is_member(case.case, person.user).await? {
                let why = "you work on a case with this reference already".to_owned();
                return Err(ServiceError::Conflict { code: "reference-taken", why });
            }
        }
        let record = self.write_case(&new, event, &person.actor(), Some(person)).await?;
        if record.reference != new.reference || record.title != new.title {
            return Err(key_reused());
        }
        Ok(summary(record))
    }

    /// Lets somebody work on a case. Somebody who does already changes nothing.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for a case that is not theirs; [`ServiceError::Malformed`] for a number that no
    /// investigator has; others.
    pub async fn add_member(
        &self,
        person: &Person,
        case: CaseId,
        number: &str,
        key: &RequestKey,
    ) -> Result<(), ServiceError> {
        self.case_of_theirs(person, case).await?;
        self.write_member(case, number, key.event(person, "member-added"), &person.actor()).await
    }

    /// Ends somebody's work on a case, and says why; the last member stays.
    ///
    /// # Errors
    /// As [`Service::add_member`]; [`ServiceError::Conflict`] for the last member.
    pub async fn remove_member(
        &self,
        person: &Person,
        case: CaseId,
        number: &str,
        reason: &str,
        key: &RequestKey,
    ) -> Result<(), ServiceError> {
        self.case_of_theirs(person, case).await?;
        let reason = line("reason", reason, MAX_REASON_CHARS)?;
        let members = self.records().case_members(case).await?;
        // Somebody whose account has ended can be taken off a case too.
        let Some(member) = named(&members, number)? else { return Ok(()) };
        if members.len() == 1 {
            let why = "the last member of a case stays: add another first".to_owned();
            return Err(ServiceError::Conflict { code: "last-member", why });
        }
        let command = changed(case, access::MEMBER_REMOVED, key.event(person, "member-removed"))
            .field(field::USER, member.user.to_string(), random_salt())
            .field(field::REASON, reason, random_salt())
            .field(field::BY, person.actor(), random_salt());
        self.parts().ledger.record(command).await?;
        Ok(())
    }

    /// Links an item to a case; linking it again replaces its exhibit reference.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for a case or item that is not theirs; others.
    pub async fn link_item(
        &self,
        person: &Person,
        case: CaseId,
        item: ItemId,
        exhibit_reference: Option<&str>,
        key: &RequestKey,
    ) -> Result<(), ServiceError> {
        self.case_of_theirs(person, case).await?;
        self.item_of_theirs(person, item).await?;
        let event = key.event(person, "item.linked");
        self.write_link(case, item, exhibit_reference, event, &person.actor()).await
    }

    /// Unlinks an item from a case, and says why. One that is not linked changes nothing.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for a case or item that is not theirs; others.
    pub async fn unlink_item(
        &self,
        person: &Person,
        case: CaseId,
        item: ItemId,
        reason: &str,
        key: &RequestKey,
    ) -> Result<(), ServiceError> {
        self.case_of_theirs(person, case).await?;
        self.item_of_theirs(person, item).await?;
        let reason = line("reason", reason, MAX_REASON_CHARS)?;
        let cases = self.records().cases_of_item(item).await?;
        if !cases.iter().any(|linked| linked.case == case) {
            return Ok(());
        }
        let command = Command::new(EventKind::ItemUnlinked, key.event(person, "item.unlinked"))
            .touching(item)
            .touching(case)
            .field(field::REASON, reason, random_salt())
            .field(field::BY, person.actor(), random_salt());
        self.parts().ledger.record(command).await?;
        Ok(())
    }

    /// The case, if this person works on it; else the attempt is recorded.
    pub(super) async fn case_of_theirs(
        &self,
        person: &Person,
        case: CaseId,
    ) -> Result<CaseRecord, ServiceError> {
        let works = person.role == Role::Investigator
            && self.records().is_member(case, person.user).await?;
        match self.records().case(case).await?.filter(|_| works) {
            Some(record) => Ok(record),
            None => Err(self.not_found(person, Attempt::Case(case)).await),
        }
    }

    /// Writes `case.opened`, or finds the case that this event opened before.
    pub(super) async fn write_case(
        &self,
        new: &NewCase,
        event: EventId,
        by: &str,
        opener: Option<&Person>,
    ) -> Result<CaseRecord, ServiceError> {
        // A repeat finds its first entry by the event, and the case has the same id then.
        let case = CaseId::from_uuid(event.uuid());
        let mut command = Command::new(EventKind::CaseOpened, event)
            .touching(case)
            .field(field::CASE_REFERENCE, new.reference.as_str(), random_salt())
            .field(field::TITLE, new.title.as_str(), random_salt())
            .field(field::BY, by, random_salt());
        if let Some(person) = opener {
            command = command.field(field::USER, person.user.to_string(), random_salt());
        }
        self.parts().ledger.record(command).await?;
        let record = self.records().case(case).await?;
        record.ok_or_else(|| ServiceError::internal("a case that was opened is not there"))
    }

    /// Lets an investigator work on a case; who does already changes nothing.
    pub(super) async fn write_member(
        &self,
        case: CaseId,
        number: &str,
        event: EventId,
        by: &str,
    ) -> Result<(), ServiceError> {
        let user = self.investigator(number).await?.user;
        if self.records().is_member(case, user).await? {
            return Ok(());
        }
        let command = changed(case, access::MEMBER_ADDED, event)
            .field(field::USER, user.to_string(), random_salt())
            .field(field::BY, by, random_salt());
        self.parts().ledger.record(command).await?;
        Ok(())
    }

    /// Somebody who may work with footage, by their number.
    pub(super) async fn investigator(&self, number: &str) -> Result<Person, ServiceError> {
        let person = self.access().person_of_number(number).await?;
        if person.role == Role::Investigator {
            return Ok(person);
        }
        Err(Malformed::new("number", "operators see no footage: name an investigator").into())
    }

    pub(super) async fn write_link(
        &self,
        case: CaseId,
        item: ItemId,
        exhibit_reference: Option<&str>,
        event: EventId,
        by: &str,
    ) -> Result<(), ServiceError> {
        let given = exhibit_reference.map(str::trim).filter(|text| !text.is_empty());
        let given = given.map(|text| line("exhibit_reference", text, MAX_REFERENCE_CHARS));
        let mut command = Command::new(EventKind::ItemLinked, event)
            .touching(item)
            .touching(case)
            .provided(Guard::SubjectExists(item.into()))
            .provided(Guard::SubjectExists(case.into()))
            .field(field::BY, by, random_salt());
        if let Some(reference) = given.transpose()? {
            command = command.field(field::EXHIBIT_REFERENCE, reference, random_salt());
        }
        self.parts().ledger.record(command).await?;
        Ok(())
    }
}

/// An `access.changed` about a case or an item that is there.
pub(super) fn changed(subject: impl Into<SubjectId>, code: &str, event: EventId) -> Command {
    let subject = subject.into();
    Command::new(EventKind::AccessChanged, event)
        .touching(subject.clone())
        .provided(Guard::SubjectExists(subject))
        .field(field::REASON_CODE, code, random_salt())
}

/// The one of them who has this number; a number that nobody can have is refused.
pub(super) fn named<'a>(
    people: &'a [UserRecord],
    number: &str,
) -> Result<Option<&'a UserRecord>, ServiceError> {
    let number = line("number", number, MAX_NUMBER_CHARS)?;
    Ok(people.iter().find(|person| person.number == number))
}

fn key_reused() -> ServiceError {
    let why = "this idempotency key was used for another request; choose a new one".to_owned();
    ServiceError::Conflict { code: "key-reused", why }
}

fn summary(record: CaseRecord) -> CaseSummary {
    CaseSummary {
        case: record.case,
        reference: record.reference,
        title: record.title,
        opened_at: record.opened_at,
    }
}

//! Adding people, giving them links, removing them: done at the console or by an operator, `by`.

use chain_of_custody::command::{Command, Guard};
use chain_of_custody::event::{EventKind, access, field};
use chain_of_custody::ids::{EventId, UserId};

use super::sessions::Link;
use super::text::{Malformed, line};
use super::{Access, AccessError, MAX_NAME_CHARS, MAX_NUMBER_CHARS, Person, Role};
use crate::{new_event, random_salt};

impl Access {
    /// Gives somebody an account and their first one-time link.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn add_user(
        &self,
        name: &str,
        number: &str,
        role: Role,
        by: &str,
    ) -> Result<(Person, Link), AccessError> {
        self.add_user_as(new_event(), name, number, role, by).await
    }

    /// The same under an event that was chosen before.
    pub(crate) async fn add_user_as(
        &self,
        event: EventId,
        name: &str,
        number: &str,
        role: Role,
        by: &str,
    ) -> Result<(Person, Link), AccessError> {
        let name = line("name", name, MAX_NAME_CHARS)?;
        let number = parse_number(number)?;
        let _one_at_a_time = self.inner.adding.lock().await;
        if self.ledger().records().active_user(&number).await?.is_some() {
            return Err(AccessError::NumberTaken(number));
        }
        let user = UserId::from_uuid(uuid::Uuid::now_v7());
        let command = Command::new(EventKind::AccessChanged, event)
            .touching(user)
            .provided(Guard::SubjectIsNew(user.into()))
            .field(field::REASON_CODE, access::USER_ADDED, random_salt())
            .field(field::NAME, name.as_str(), random_salt())
            .field(field::NUMBER, number.as_str(), random_salt())
            .field(field::ROLE, role.as_str(), random_salt())
            .field(field::BY, by, random_salt());
        self.ledger().submit(command).await?;
        let person = Person { user, name, number, role };
        let link = self.give_link(new_event(), &person, by).await?;
        Ok((person, link))
    }

    /// Gives somebody another one-time link; an unused one stops working.
    ///
    /// # Errors
    /// [`AccessError::NoSuchUser`] and others.
    pub async fn link_for(&self, number: &str, by: &str) -> Result<(Person, Link), AccessError> {
        self.link_for_as(new_event(), number, by).await
    }

    /// The same under an event that was chosen before.
    pub(crate) async fn link_for_as(
        &self,
        event: EventId,
        number: &str,
        by: &str,
    ) -> Result<(Person, Link), AccessError> {
        let person = self.person_of_number(number).await?;
        let link = self.give_link(event, &person, by).await?;
        Ok((person, link))
    }

    /// Ends somebody's account at once: sessions and links first, then the entry. What they did stays.
    ///
    /// # Errors
    /// [`AccessError::NoSuchUser`] and others.
    pub async fn remove_user(&self, number: &str, by: &str) -> Result<Person, AccessError> {
        let person = self.person_of_number(number).await?;
        self.ledger().records().end_access(person.user).await?;
        let command = Command::new(EventKind::AccessChanged, new_event())
            .touching(person.user)
            .provided(Guard::SubjectExists(person.user.into()))
            .field(field::REASON_CODE, access::USER_REMOVED, random_salt())
            .field(field::BY, by, random_salt());
        self.ledger().submit(command).await?;
        // A link redeemed in between opened a session that the account's end has made useless; it goes too.
        self.ledger().records().end_access(person.user).await?;
        Ok(person)
    }

    /// Somebody with an account, by their number.
    ///
    /// # Errors
    /// [`AccessError::NoSuchUser`] and others.
    pub async fn person_of_number(&self, number: &str) -> Result<Person, AccessError> {
        let number = parse_number(number)?;
        let record = self.ledger().records().active_user(&number).await?;
        Person::from_record(&record.ok_or(AccessError::NoSuchUser(number))?)
    }
}

/// Letters, digits, `.`, `-`, `_`: it stands in `user:<number>` and in addresses.
fn parse_number(text: &str) -> Result<String, Malformed> {
    let number = line("number", text, MAX_NUMBER_CHARS)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let starts = number.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts || !number.chars().all(allowed) {
        let why = "letters, digits and . - _ only, beginning with a letter or digit";
        return Err(Malformed::new("number", why));
    }
    Ok(number)
}

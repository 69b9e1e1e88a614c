//! People, cases, and who may see what: the rows that `access.changed`, `access.refused`, `case.opened`, `item.linked`
//! and `item.unlinked` make, change and end.
//!
//! What an `access.changed` does stands in its reason code; a code that this version does not know changes nothing.

use chain_of_custody::event::{EventKind, access, field};
use chain_of_custody::ids::SubjectKind;

use super::{Change, Event, Table, What};
use crate::records::sql::Value;

const USERS: Table = Table {
    name: "users",
    columns: &["user_id", "name", "number", "role", "added_leaf", "added_at_ms"],
    on_conflict: "ON CONFLICT (force, user_id) DO NOTHING",
};
const CASES: Table = Table {
    name: "cases",
    columns: &["case_id", "leaf_index", "reference", "title", "opened_by", "opened_at_ms"],
    on_conflict: "ON CONFLICT (force, case_id) DO NOTHING",
};
const CASE_MEMBERS: Table = Table {
    name: "case_members",
    columns: &["case_id", "user_id", "leaf_index"],
    on_conflict: "ON CONFLICT (force, case_id, user_id) DO NOTHING",
};
const CASE_ITEMS: Table = Table {
    name: "case_items",
    columns: &["case_id", "item", "leaf_index", "exhibit_reference"],
    on_conflict: "ON CONFLICT (force, case_id, item) DO UPDATE SET leaf_index = excluded.leaf_index, \
        exhibit_reference = excluded.exhibit_reference",
};
const ITEM_VIEWERS: Table = Table {
    name: "item_viewers",
    columns: &["item", "user_id", "leaf_index"],
    on_conflict: "ON CONFLICT (force, item, user_id) DO NOTHING",
};
const REFUSED_ATTEMPTS: Table = Table {
    name: "refused_attempts",
    columns: &["leaf_index", "asked"],
    on_conflict: "ON CONFLICT (force, leaf_index) DO NOTHING",
};

const REMOVE_USER: &str = "UPDATE users SET removed_at_ms = $3 \
    WHERE force = $1 AND user_id = $2 AND removed_at_ms IS NULL";
const REMOVE_MEMBER: &str =
    "DELETE FROM case_members WHERE force = $1 AND case_id = $2 AND user_id = $3";
const REMOVE_ITEM: &str = "DELETE FROM case_items WHERE force = $1 AND case_id = $2 AND item = $3";
const COUNT_CASES: &str = "UPDATE items SET cases = \
    (SELECT COUNT(*) FROM case_items c WHERE c.force = $1 AND c.item = $2) \
    WHERE force = $1 AND item = $2 AND leaf_index < $3";
const REMOVE_VIEWER: &str =
    "DELETE FROM item_viewers WHERE force = $1 AND item = $2 AND user_id = $3";

impl Event<'_> {
    pub(super) fn access_changes(&self) -> Vec<Change> {
        let what = match self.entry().kind {
            EventKind::CaseOpened => self.case_opened(),
            EventKind::ItemLinked => self.item_linked().unwrap_or_default(),
            EventKind::ItemUnlinked => self.item_unlinked().unwrap_or_default(),
            EventKind::AccessRefused => self.access_refused().into_iter().collect(),
            _ => self.access_changed().into_iter().collect(),
        };
        what.into_iter().map(|what| Change { leaf: self.leaf(), what }).collect()
    }

    fn case_opened(&self) -> Vec<What> {
        let Some(case) = self.subject(SubjectKind::Case) else { return Vec::new() };
        let opener = self.text(field::USER);
        let row = vec![
            case.clone().into(),
            self.leaf().into(),
            self.text(field::CASE_REFERENCE).into(),
            self.text(field::TITLE).into(),
            opener.clone().into(),
            self.at_ms().into(),
        ];
        let mut changes = vec![What::Row { table: CASES, row }];
        if !opener.is_empty() {
            changes.push(self.row(CASE_MEMBERS, case, opener));
        }
        changes
    }

    fn item_linked(&self) -> Option<Vec<What>> {
        let (case, item) = self.case_and_item()?;
        let reference = self.text(field::EXHIBIT_REFERENCE);
        let row = vec![case.into(), item.clone().into(), self.leaf().into(), reference.into()];
        Some(vec![What::Row { table: CASE_ITEMS, row }, self.count_cases(item)])
    }

    fn item_unlinked(&self) -> Option<Vec<What>> {
        let (case, item) = self.case_and_item()?;
        let gone = statement(REMOVE_ITEM, [case.into(), item.clone().into()]);
        Some(vec![gone, self.count_cases(item)])
    }

    fn count_cases(&self, item: String) -> What {
        statement(COUNT_CASES, [item.into(), self.leaf().into()])
    }

    fn access_changed(&self) -> Option<What> {
        let user = || Some(self.text(field::USER)).filter(|user| !user.is_empty());
        let case = || self.subject(SubjectKind::Case);
        let item = || self.subject(SubjectKind::Item);
        match self.text(field::REASON_CODE).as_str() {
            access::USER_ADDED => self.user_added(),
            access::USER_REMOVED => {
                let user = self.subject(SubjectKind::Person)?;
                Some(statement(REMOVE_USER, [user.into(), self.at_ms().into()]))
            }
            access::MEMBER_ADDED => Some(self.row(CASE_MEMBERS, case()?, user()?)),
            access::MEMBER_REMOVED => {
                Some(statement(REMOVE_MEMBER, [case()?.into(), user()?.into()]))
            }
            access::VIEWER_ALLOWED => Some(self.row(ITEM_VIEWERS, item()?, user()?)),
            access::VIEWER_WITHDRAWN => {
                Some(statement(REMOVE_VIEWER, [item()?.into(), user()?.into()]))
            }
            _ => None,
        }
    }

    /// One that stands for several names nothing.
    fn access_refused(&self) -> Option<What> {
        let asked = Some(self.text(field::ITEM)).filter(|asked| asked.len() > 1)?;
        Some(What::Row { table: REFUSED_ATTEMPTS, row: vec![self.leaf().into(), asked.into()] })
    }

    fn user_added(&self) -> Option<What> {
        let row = vec![
            self.subject(SubjectKind::Person)?.into(),
            self.text(field::NAME).into(),
            self.text(field::NUMBER).into(),
            self.text(field::ROLE).into(),
            self.leaf().into(),
            self.at_ms().into(),
        ];
        Some(What::Row { table: USERS, row })
    }

    fn case_and_item(&self) -> Option<(String, String)> {
        Some((self.subject(SubjectKind::Case)?, self.subject(SubjectKind::Item)?))
    }

    fn row(&self, table: Table, of: String, user: String) -> What {
        What::Row { table, row: vec![of.into(), user.into(), self.leaf().into()] }
    }
}

fn statement(text: &'static str, values: impl Into<Vec<Value>>) -> What {
    What::Statement { text, values: values.into() }
}

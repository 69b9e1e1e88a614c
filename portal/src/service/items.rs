//! Items: lists, one of them, what happened to it.

use std::collections::HashMap;

use chain_of_custody::event::field;
use chain_of_custody::ids::{CaseId, DeviceId, ItemId, LeafIndex, SubjectId};
use chain_of_custody::time::Timestamp;
use storage::records::{
    DerivativeView, EventRecord, FailureView, Handling, ItemRecord, MadeOf, Search,
};

use super::views::Made;
use super::{
    CaseOfItem, Derivative, EventsPage, Failure, ItemDetail, ItemSummary, ItemsPage, Known, Making,
    Member, Parts, Service, ServiceError, SmallCopy, words,
};
use crate::access::{Attempt, Malformed, Person, Role, line};
use crate::kinds::FRONT;

/// Items on a page when nothing else is asked for.
pub const PAGE_ITEMS: u32 = 50;
/// Items on a page at most.
pub const MAX_PAGE_ITEMS: u32 = 200;
/// Characters in a search at most.
pub const MAX_SEARCH_CHARS: usize = 200;
/// Events on a page at most.
pub(super) const MAX_PAGE_EVENTS: u32 = 500;

/// Which items to list; all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemsQuery {
    /// Part of the name, camera or recording, whatever its case. Empty asks for nothing.
    pub text: Option<String>,
    pub device: Option<DeviceId>,
    pub handling: Option<Handling>,
    /// Only what is linked to this case of theirs.
    pub case: Option<CaseId>,
    /// Received at or after this.
    pub from: Option<Timestamp>,
    /// Received before this.
    pub to: Option<Timestamp>,
    /// At most [`MAX_PAGE_ITEMS`]; [`PAGE_ITEMS`] otherwise.
    pub limit: Option<u32>,
    /// Continue behind this: `next_after` of the page before.
    pub after: Option<LeafIndex>,
}

impl Service {
    /// A page of the items that this person may see, newest first. Recorded before it is returned.
    ///
    /// # Errors
    /// [`ServiceError::NotForRole`] for operators; [`ServiceError::NotFound`] for a case that is not theirs; others.
    pub async fn items(
        &self,
        person: &Person,
        query: &ItemsQuery,
    ) -> Result<ItemsPage, ServiceError> {
        self.investigators_only(person).await?;
        let (query, limit) = checked(query)?;
        if let Some(case) = query.case {
            self.case_of_theirs(person, case).await?;
        }
        let search = Search {
            text: query.text.clone(),
            device: query.device,
            handling: query.handling,
            from: query.from,
            to: query.to,
            limit: limit + 1,
            after: query.after,
        };
        let mut found = self.records().visible_items(person.user, query.case, &search).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let items = self.summaries(&found).await?;
        let ids: Vec<ItemId> = found.iter().map(|record| record.item).collect();
        self.record_list(person, query.case, &query, &ids).await?;
        let next_after = found.last().filter(|_| more).map(|last| last.leaf_index);
        Ok(ItemsPage { items, next_after })
    }

    /// One item. Opens a viewing session, before it is returned.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for what is not theirs; others.
    pub async fn item(&self, person: &Person, item: ItemId) -> Result<ItemDetail, ServiceError> {
        let record = self.item_of_theirs(person, item).await?;
        let detail = self.detail(person, &record).await?;
        self.record_viewing(person, item).await?;
        // Somebody waits for what is still to come.
        if !detail.making.is_empty()
            && let Err(error) = self.records().hurry_jobs(item).await
        {
            tracing::warn!(%item, "its derivatives come when it is their turn: {error}");
        }
        Ok(detail)
    }

    /// What happened to an item, and who was refused it, in the ledger's order, behind `after`. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for what is not theirs; others.
    pub async fn item_events(
        &self,
        person: &Person,
        item: ItemId,
        after: Option<LeafIndex>,
    ) -> Result<EventsPage, ServiceError> {
        self.item_of_theirs(person, item).await?;
        self.record_viewing(person, item).await?;
        let most = MAX_PAGE_EVENTS + 1;
        self.in_words(self.records().item_events_behind(item, after, most).await?).await
    }

    /// What was made of an item, and what could not be made. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for what is not theirs; others.
    pub async fn derivatives(
        &self,
        person: &Person,
        item: ItemId,
    ) -> Result<(Vec<Derivative>, Vec<Failure>), ServiceError> {
        self.item_of_theirs(person, item).await?;
        self.record_viewing(person, item).await?;
        let derivatives = self.records().derivatives(item).await?;
        let failures = self.records().failures(item).await?;
        let derivatives = derivatives.iter().map(derivative).collect();
        Ok((derivatives, failures.into_iter().map(failure).collect()))
    }

    /// The item, if this person may see it; else the attempt is recorded.
    pub(super) async fn item_of_theirs(
        &self,
        person: &Person,
        item: ItemId,
    ) -> Result<ItemRecord, ServiceError> {
        let found = match person.role {
            Role::Investigator => self.records().visible_item(person.user, item).await?,
            Role::Operator => None,
        };
        match found {
            Some(record) => Ok(record),
            None => Err(self.not_found(person, Attempt::Item(item)).await),
        }
    }

    pub(super) async fn summaries(
        &self,
        records: &[ItemRecord],
    ) -> Result<Vec<ItemSummary>, ServiceError> {
        let ids: Vec<ItemId> = records.iter().map(|record| record.item).collect();
        let made = by_item(self.records().made_of(&ids).await?);
        let of = |record: &ItemRecord| made.get(&record.item).cloned().unwrap_or_default();
        Ok(records.iter().map(|record| ItemSummary::new(record, &of(record))).collect())
    }

    pub(super) async fn events_of(
        &self,
        subject: &SubjectId,
        after: Option<LeafIndex>,
    ) -> Result<EventsPage, ServiceError> {
        self.in_words(self.records().events_behind(subject, after, MAX_PAGE_EVENTS + 1).await?)
            .await
    }

    async fn in_words(&self, mut events: Vec<EventRecord>) -> Result<EventsPage, ServiceError> {
        let more = events.len() > MAX_PAGE_EVENTS as usize;
        events.truncate(MAX_PAGE_EVENTS as usize);
        let users = self.records().users().await?;
        let size = self.parts().ledger.latest().unverified().size;
        let say = |event: &EventRecord| words::event(event, &users, size.covers(event.leaf_index));
        let next_after = events.last().filter(|_| more).map(|last| last.leaf_index);
        Ok(EventsPage { events: events.iter().map(say).collect(), next_after })
    }

    async fn detail(
        &self,
        person: &Person,
        record: &ItemRecord,
    ) -> Result<ItemDetail, ServiceError> {
        let (records, item) = (self.records(), record.item);
        let making = records.making(record).await?;
        let derivatives = records.derivatives(item).await?;
        let failures = records.failures(item).await?;
        let received = records.event_at(record.leaf_index).await?;
        let opened = |name| received.as_ref().and_then(|event| event.opened(name));
        let (signature, clock) = (opened(field::CAMERA_SIGNATURE), opened(field::CLOCK));
        let copies = opened(field::COPIES).and_then(|text| text.parse().ok()).unwrap_or(1);
        let signature = signature.unwrap_or("absent").to_owned();
        let clock = clock.unwrap_or("unchecked").to_owned();
        let mut cases = Vec::new();
        for case in records.cases_of_item(item).await? {
            if records.is_member(case.case, person.user).await? {
                let (reference, title) = (case.reference, case.title);
                cases.push(CaseOfItem { case: case.case, reference, title });
            }
        }
        let viewers = match record.restricted {
            true => records.item_viewers(item).await?,
            false => Vec::new(),
        };
        let made = made(derivatives.iter().map(|d| (d.kind.as_str(), d.media.as_str())));
        let small_copy = SmallCopy::of(record, &derivatives, &failures, &making);
        let in_recording = words::in_recording(derivatives.iter().map(|d| d.media.as_str()));
        Ok(ItemDetail {
            summary: ItemSummary::new(record, &made),
            digests: record.digests,
            read_by: record.read_by.clone(),
            known: [
                words::known(record, &signature, in_recording, &clock, copies, &made),
                self.kept(item).await?,
                vec![self.receipt_rests_on()?],
            ]
            .concat(),
            camera_signature: signature,
            clock,
            copies,
            verified_at: record.verified_at,
            derivatives: derivatives.iter().map(derivative).collect(),
            failures: failures.into_iter().map(failure).collect(),
            making: making.into_iter().map(Making::from).collect(),
            small_copy,
            cases,
            viewers: viewers.into_iter().map(Member::from).collect(),
        })
    }

    /// Who vouches for a receipt that is made now, in words.
    fn receipt_rests_on(&self) -> Result<Known, ServiceError> {
        let Parts { maker, ledger, .. } = self.parts();
        let weighed = maker.policy.weigh(&ledger.latest()).map_err(ServiceError::internal)?;
        let standing = if weighed.rests_on.is_log_alone() { "open" } else { "good" };
        let says = format!("Its receipt rests on {}.", weighed.rests_on.sentences().join("; "));
        Ok(Known { about: "receipt", standing, says })
    }
}

fn checked(query: &ItemsQuery) -> Result<(ItemsQuery, u32), ServiceError> {
    let limit = query.limit.unwrap_or(PAGE_ITEMS);
    if !(1..=MAX_PAGE_ITEMS).contains(&limit) {
        return Err(Malformed::new("limit", format!("1 to {MAX_PAGE_ITEMS}")).into());
    }
    let text = query.text.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let text = text.map(|text| line("text", text, MAX_SEARCH_CHARS)).transpose()?;
    Ok((ItemsQuery { text, ..query.clone() }, limit))
}

fn by_item(rows: Vec<MadeOf>) -> HashMap<ItemId, Made> {
    let mut found: HashMap<ItemId, Vec<MadeOf>> = HashMap::new();
    for row in rows {
        found.entry(row.item).or_default().push(row);
    }
    let one = |rows: &[MadeOf]| made(rows.iter().map(|r| (r.kind.as_str(), r.media.as_str())));
    found.iter().map(|(item, rows)| (*item, one(rows))).collect()
}

fn made<'a>(kinds: impl Iterator<Item = (&'a str, &'a str)>) -> Made {
    let mut made = Made::default();
    for (kind, media) in kinds {
        made.poster |= kind == "poster";
        made.proxy |= kind == "proxy" || kind == FRONT;
        if kind == "probe" {
            let media: serde_json::Value = serde_json::from_str(media).unwrap_or_default();
            made.duration_us = media["duration-us"].as_i64();
            let missing = media["coverage"]["reasons"].as_array().into_iter().flatten();
            made.missing = missing.filter_map(|why| Some(why.as_str()?.to_owned())).collect();
            // A browser plays the original as it came.
            made.proxy |= media["browser"]["plays"] == true;
        }
    }
    made
}

fn derivative(view: &DerivativeView) -> Derivative {
    let json = |text: &str| serde_json::from_str(text).unwrap_or_default();
    Derivative {
        kind: view.kind.clone(),
        recipe_id: view.recipe_id.clone(),
        leaf_index: view.leaf_index,
        size_bytes: view.size_bytes,
        digests: view.digests,
        recipe: json(&view.recipe),
        media: json(&view.media),
    }
}

fn failure(view: FailureView) -> Failure {
    let FailureView { kind, recipe_id, leaf_index, reason_code, reason } = view;
    Failure { kind, recipe_id, leaf_index, reason_code, reason }
}

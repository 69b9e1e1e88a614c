//! What is recorded before something is shown (I13).
//!
//! A viewing session is one person, one item and 30 minutes: its entry is in the database before the first byte, and
//! what follows within it rests on the same entry. Sessions are remembered in memory alone: after a restart somebody
//! who goes on watching is recorded once more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chain_of_custody::canonical;
use chain_of_custody::command::{Command, Guard};
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{CaseId, ItemId, SubjectId, SubjectKind, UserId};

use super::{Fetch, ItemsQuery, Service, ServiceError};
use crate::access::Person;
use crate::{new_event, random_salt};

/// How long one `item.viewed` stands for.
pub const VIEWING: Duration = Duration::from_secs(30 * 60);
/// Viewing sessions that are remembered; beyond it all are forgotten and recorded again.
const MAX_VIEWINGS: usize = 10_000;
/// Items of lists whose posters may be shown; beyond it all are forgotten, and a poster opens a viewing session.
const MAX_LISTED: usize = 50_000;

/// Which person, which item, and whether what it stands for is a download.
type Key = (UserId, ItemId, EventKind);
/// When it was recorded. Whoever records holds the lock, so that requests side by side record once.
type Viewing = Arc<tokio::sync::Mutex<Option<Instant>>>;

#[derive(Debug, Default)]
pub(super) struct Viewings {
    open: Mutex<HashMap<Key, (Instant, Viewing)>>,
    listed: Mutex<HashMap<(UserId, ItemId), Instant>>,
}

impl Viewings {
    fn of(&self, key: Key) -> Viewing {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MAX_VIEWINGS && !open.contains_key(&key) {
            open.retain(|_, (since, _)| since.elapsed() < VIEWING);
            if open.len() >= MAX_VIEWINGS {
                open.clear();
            }
        }
        let entry = open.entry(key).or_insert_with(|| (Instant::now(), Viewing::default()));
        if entry.0.elapsed() >= VIEWING {
            *entry = (Instant::now(), Viewing::default());
        }
        Arc::clone(&entry.1)
    }

    fn list(&self, user: UserId, items: &[ItemId]) {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.len() + items.len() > MAX_LISTED {
            listed.retain(|_, since| since.elapsed() < VIEWING);
            if listed.len() + items.len() > MAX_LISTED {
                listed.clear();
            }
        }
        let now = Instant::now();
        listed.extend(items.iter().map(|item| ((user, *item), now)));
    }

    fn was_listed(&self, user: UserId, item: ItemId) -> bool {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.get(&(user, item)).is_some_and(|since| since.elapsed() < VIEWING)
    }
}

impl Service {
    /// Before anything of an item is shown.
    pub(super) async fn record_viewing(
        &self,
        person: &Person,
        item: ItemId,
    ) -> Result<(), ServiceError> {
        self.record_once(EventKind::ItemViewed, person, item, false).await
    }

    /// Before anything of an original leaves.
    pub(super) async fn record_fetch(
        &self,
        person: &Person,
        item: ItemId,
        fetch: Fetch,
    ) -> Result<(), ServiceError> {
        match fetch {
            Fetch::Look => self.record_viewing(person, item).await,
            Fetch::Begin => self.record_once(EventKind::ItemDownloaded, person, item, true).await,
            Fetch::GoOn => self.record_once(EventKind::ItemDownloaded, person, item, false).await,
        }
    }

    /// Whether a list that was recorded has just shown this item to this person.
    pub(super) fn was_listed(&self, person: &Person, item: ItemId) -> bool {
        self.inner.viewings.was_listed(person.user, item)
    }

    async fn record_once(
        &self,
        kind: EventKind,
        person: &Person,
        item: ItemId,
        anew: bool,
    ) -> Result<(), ServiceError> {
        let viewing = self.inner.viewings.of((person.user, item, kind));
        let mut recorded = viewing.lock().await;
        if !anew && recorded.is_some_and(|at| at.elapsed() < VIEWING) {
            return Ok(());
        }
        self.record_on(kind, person, item).await?;
        *recorded = Some(Instant::now());
        Ok(())
    }

    async fn record_on(
        &self,
        kind: EventKind,
        person: &Person,
        item: ItemId,
    ) -> Result<(), ServiceError> {
        let command = Command::new(kind, new_event())
            .touching(item)
            .provided(Guard::SubjectExists(item.into()))
            .field(field::BY, person.actor(), random_salt());
        self.parts().ledger.record(command).await?;
        Ok(())
    }

    /// Before a page of hits or posters is shown: which items, and what was asked.
    pub(super) async fn record_list(
        &self,
        person: &Person,
        case: Option<CaseId>,
        query: &ItemsQuery,
        items: &[ItemId],
    ) -> Result<(), ServiceError> {
        let ids: Vec<String> = items.iter().map(ToString::to_string).collect();
        let ids = canonical::to_bytes(&serde_json::json!(ids)).expect("ids have a canonical form");
        let ids = String::from_utf8(ids).expect("canonical JSON is UTF-8");
        let subject = match case {
            Some(case) => case.into(),
            None => SubjectId::new(SubjectKind::Force, self.records().force())
                .map_err(ServiceError::internal)?,
        };
        let mut command = Command::new(EventKind::ListViewed, new_event())
            .touching(subject)
            .field(field::ITEMS, ids, random_salt())
            .field(field::COUNT, items.len().to_string(), random_salt())
            .field(field::BY, person.actor(), random_salt());
        if let Some(text) = query.text.as_deref().filter(|text| !text.is_empty()) {
            command = command.field(field::QUERY, text, random_salt());
        }
        self.parts().ledger.record(command).await?;
        self.inner.viewings.list(person.user, items);
        Ok(())
    }
}

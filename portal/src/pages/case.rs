//! One case: its items, who works on it, the bundles made of it, what was done.

use askama::Template;
use axum::extract::{Form, Query, State};
use chain_of_custody::ids::{CaseId, LeafIndex};
use serde::Deserialize;

use super::Pages;
use super::forms::{Act, Sent, go_to};
use super::frame::{Frame, Section};
use super::item::{EventRow, PersonNamed};
use super::items::{ItemRow, title};
use super::visit::{Answer, Named, Visitor, named, page as rendered};
use crate::service::{BundleView, CaseDetail, EventsPage, RequestKey};
use crate::words::{UkTime, size};

#[derive(Template)]
#[template(path = "pages/case.html")]
struct CasePage {
    frame: Frame,
    sent: Sent,
    made: Option<BundleRow>,
    reference: String,
    title: String,
    opened: UkTime,
    rows: Vec<ItemRow>,
    items: Vec<CaseItem>,
    bundle_href: String,
    bundles: Vec<BundleRow>,
    members: Vec<PersonNamed>,
    /// Where forms of this page go, and what follows.
    address: String,
    events: Vec<EventRow>,
    more_events: Option<String>,
    key: String,
}

struct CaseItem {
    id: String,
    words: String,
}

struct BundleRow {
    id: String,
    href: String,
    name: String,
    size: String,
    entry: u64,
    made_at: UkTime,
    kept_until: UkTime,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Where {
    /// Events behind this entry.
    events_after: String,
    /// A bundle that was just made.
    made: String,
}

/// `/cases/{case}`.
pub(super) async fn page(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(case): Named<CaseId>,
    Query(query): Query<Where>,
) -> Answer {
    show(&pages, &visitor, case, &query, Sent::default()).await
}

/// Takes an item out of the case. Sent twice, it is taken out once.
pub(super) async fn unlink(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(case): Named<CaseId>,
    Form(act): Form<Act>,
) -> Answer {
    let key = act.key(&visitor)?;
    let item = named(&pages, &visitor, &act.item).await?;
    let (service, person) = (&pages.service, visitor.person());
    let done = service.unlink_item(person, case, item, &act.reason, &key).await;
    then(&pages, &visitor, case, act.outcome("unlink", done)?, "items").await
}

/// Lets somebody else work on the case.
pub(super) async fn add_member(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(case): Named<CaseId>,
    Form(act): Form<Act>,
) -> Answer {
    let key = act.key(&visitor)?;
    let done = pages.service.add_member(visitor.person(), case, &act.number, &key).await;
    then(&pages, &visitor, case, act.outcome("add-member", done)?, "members").await
}

/// Ends somebody's work on the case. Whoever takes themselves off it is shown their other cases.
pub(super) async fn remove_member(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(case): Named<CaseId>,
    Form(act): Form<Act>,
) -> Answer {
    let key = act.key(&visitor)?;
    let (service, person) = (&pages.service, visitor.person());
    let done = service.remove_member(person, case, &act.number, &act.reason, &key).await;
    let is_own = act.number == person.number;
    match act.outcome("remove-member", done)? {
        None if is_own => go_to("/cases"),
        sent => then(&pages, &visitor, case, sent, "members").await,
    }
}

/// On to the part of the page that changed, or the page with what there is to mend.
async fn then(
    pages: &Pages,
    visitor: &Visitor,
    case: CaseId,
    sent: Option<Sent>,
    part: &str,
) -> Answer {
    match sent {
        None => go_to(&format!("/cases/{case}#{part}")),
        Some(sent) => show(pages, visitor, case, &Where::default(), sent).await,
    }
}

async fn show(pages: &Pages, visitor: &Visitor, case: CaseId, query: &Where, sent: Sent) -> Answer {
    let (service, person) = (&pages.service, visitor.person());
    let detail = service.case(person, case).await?;
    let after = query.events_after.parse().ok().map(LeafIndex);
    let events = service.case_events(person, case, after).await?;
    let page = CasePage::new(visitor.frame(Section::Cases), &detail, &events, &query.made);
    rendered(sent.status(), &CasePage { sent, ..page })
}

impl CasePage {
    fn new(frame: Frame, detail: &CaseDetail, events: &EventsPage, made: &str) -> Self {
        let (case, summary) = (detail.summary.case, &detail.summary);
        let items = detail.items.iter().map(|linked| {
            let (reference, title) = (&linked.exhibit_reference, title(&linked.summary));
            let words = if reference.is_empty() { title } else { format!("{reference}: {title}") };
            CaseItem { id: linked.summary.item.to_string(), words }
        });
        let rows = detail.items.iter().map(|linked| {
            let row = ItemRow::new(&linked.summary, &[]);
            // What devices are called is not asked for here.
            let source = String::new();
            ItemRow { reference: linked.exhibit_reference.clone(), source, ..row }
        });
        let bundles: Vec<BundleRow> = detail.bundles.iter().map(BundleRow::new).collect();
        let more = events.next_after;
        Self {
            frame,
            sent: Sent::default(),
            made: detail.bundles.iter().map(BundleRow::new).find(|bundle| bundle.id == made),
            reference: summary.reference.clone(),
            title: summary.title.clone(),
            opened: summary.opened_at.into(),
            rows: rows.collect(),
            items: items.collect(),
            bundle_href: format!("/cases/{case}/bundles"),
            bundles,
            members: detail.members.iter().map(PersonNamed::from).collect(),
            address: format!("/cases/{case}"),
            events: events.events.iter().map(|event| EventRow::new(event, &[])).collect(),
            more_events: more
                .map(|after| format!("/cases/{case}?events_after={}#continuity", after.0)),
            key: RequestKey::fresh().as_str().to_owned(),
        }
    }
}

impl BundleRow {
    fn new(bundle: &BundleView) -> Self {
        Self {
            id: bundle.bundle.to_string(),
            href: format!("/bundles/{}", bundle.bundle),
            name: bundle.name.clone(),
            size: size(bundle.size_bytes),
            entry: bundle.leaf_index.0,
            made_at: bundle.made_at.into(),
            kept_until: bundle.kept_until.into(),
        }
    }
}

//! One case: its items, who works on it, the bundles made of it, what was done.

use askama::Template;
use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use chain_of_custody::ids::{CaseId, LeafIndex};
use serde::Deserialize;

use super::Pages;
use super::cases::FieldError;
use super::frame::{Frame, Section};
use super::item::EventRow;
use super::items::ItemRow;
use super::problem::Problem;
use super::visit::{Answer, Visitor, page as rendered};
use crate::service::{BundleView, CaseDetail, EventsPage, RequestKey, ServiceError};
use crate::words::{UkTime, size};

#[derive(Template)]
#[template(path = "pages/case.html")]
struct CasePage {
    frame: Frame,
    errors: Vec<FieldError>,
    made: Option<BundleRow>,
    reference: String,
    title: String,
    opened: UkTime,
    items: Vec<CaseItem>,
    bundle_href: String,
    remove_action: String,
    bundles: Vec<BundleRow>,
    members: Vec<MemberRow>,
    members_action: String,
    number: String,
    events: Vec<EventRow>,
    more_events: Option<String>,
    key: String,
}

struct CaseItem {
    id: String,
    reference: String,
    row: ItemRow,
}

struct MemberRow {
    name: String,
    number: String,
    active: bool,
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

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RemoveForm {
    form_token: String,
    key: String,
    item: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MemberForm {
    form_token: String,
    key: String,
    number: String,
}

/// What stands in a form on this page that was not accepted.
#[derive(Debug, Default)]
struct NotAccepted {
    errors: Vec<FieldError>,
    number: String,
}

/// `/cases/{case}`.
pub(super) async fn page(
    State(pages): State<Pages>,
    visitor: Visitor,
    Path(case): Path<String>,
    Query(query): Query<Where>,
) -> Answer {
    let case = case_named(&pages, &visitor, &case).await?;
    show(&pages, &visitor, case, &query, NotAccepted::default()).await
}

/// Takes an item out of the case. Sent twice, it is taken out once.
pub(super) async fn unlink(
    State(pages): State<Pages>,
    visitor: Visitor,
    Path(case): Path<String>,
    Form(form): Form<RemoveForm>,
) -> Answer {
    visitor.sent(&form.form_token)?;
    let case = case_named(&pages, &visitor, &case).await?;
    let item = super::media::item_named(&pages, &visitor, &form.item).await?;
    let key = RequestKey::new(&form.key).map_err(ServiceError::from)?;
    pages.service.unlink_item(visitor.person(), case, item, &key).await?;
    Ok(Redirect::to(&format!("/cases/{case}#items")).into_response())
}

/// Lets somebody else work on the case.
pub(super) async fn add_member(
    State(pages): State<Pages>,
    visitor: Visitor,
    Path(case): Path<String>,
    Form(form): Form<MemberForm>,
) -> Answer {
    visitor.sent(&form.form_token)?;
    let case = case_named(&pages, &visitor, &case).await?;
    let key = RequestKey::new(&form.key).map_err(ServiceError::from)?;
    match pages.service.add_member(visitor.person(), case, &form.number, &key).await {
        Ok(()) => Ok(Redirect::to(&format!("/cases/{case}#members")).into_response()),
        Err(ServiceError::Malformed(malformed)) => {
            let errors = vec![FieldError::of(&malformed)];
            let not_accepted = NotAccepted { errors, number: form.number };
            show(&pages, &visitor, case, &Where::default(), not_accepted).await
        }
        Err(error) => Err(error.into()),
    }
}

/// The case that an address names; one that names none is an attempt like any other.
pub(super) async fn case_named(
    pages: &Pages,
    visitor: &Visitor,
    text: &str,
) -> Result<CaseId, Problem> {
    match text.parse() {
        Ok(case) => Ok(case),
        Err(_) => Ok(pages.service.no_such_thing(visitor.person()).await?),
    }
}

async fn show(
    pages: &Pages,
    visitor: &Visitor,
    case: CaseId,
    query: &Where,
    not_accepted: NotAccepted,
) -> Answer {
    let (service, person) = (&pages.service, visitor.person());
    let detail = service.case(person, case).await?;
    let after = query.events_after.parse().ok().map(LeafIndex);
    let events = service.case_events(person, case, after).await?;
    let NotAccepted { errors, number } = not_accepted;
    let status = if errors.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let page = CasePage::new(visitor.frame(Section::Cases), &detail, &events, &query.made);
    rendered(status, &CasePage { errors, number, ..page })
}

impl CasePage {
    fn new(frame: Frame, detail: &CaseDetail, events: &EventsPage, made: &str) -> Self {
        let (case, summary) = (detail.summary.case, &detail.summary);
        let items = detail.items.iter().map(|linked| CaseItem {
            id: linked.summary.item.to_string(),
            reference: linked.exhibit_reference.clone(),
            row: ItemRow::new(&linked.summary, &[]),
        });
        let members = detail.members.iter().map(|member| MemberRow {
            name: member.name.clone(),
            number: member.number.clone(),
            active: member.active,
        });
        let bundles: Vec<BundleRow> = detail.bundles.iter().map(BundleRow::new).collect();
        let more = events.next_after;
        Self {
            frame,
            errors: Vec::new(),
            made: detail.bundles.iter().map(BundleRow::new).find(|bundle| bundle.id == made),
            reference: summary.reference.clone(),
            title: summary.title.clone(),
            opened: summary.opened_at.into(),
            items: items.collect(),
            bundle_href: format!("/cases/{case}/bundles"),
            remove_action: format!("/cases/{case}/items/remove"),
            bundles,
            members: members.collect(),
            members_action: format!("/cases/{case}/members"),
            number: String::new(),
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

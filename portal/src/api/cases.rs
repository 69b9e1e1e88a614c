//! Cases over HTTP.

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use chain_of_custody::ids::{CaseId, ItemId, LeafIndex};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::ask::{Caller, Json, Key, Named, NamedTwice, Parameters};
use super::items::{PageParameters, Why, item_of};
use super::problem::{Body, Problem};
use crate::service::{CaseDetail, CaseSummary, EventsPage, NewCase, RequestKey};

/// A case to be opened.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenCase {
    /// URN: one line.
    #[schema(min_length = 1, max_length = 64)]
    reference: String,
    /// One line.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
}

/// An item to be linked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkItem {
    #[schema(value_type = String, format = Uuid)]
    item: ItemId,
    /// Such as `JSM/1`.
    #[schema(max_length = 64)]
    exhibit_reference: Option<String>,
}

/// An investigator, by their number.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddMember {
    #[schema(min_length = 1, max_length = 32)]
    number: String,
}

/// Your cases, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cases {
    cases: Vec<CaseSummary>,
}

/// The cases that you work on, newest first.
#[utoipa::path(get, path = "/api/v1/cases", tag = "cases", security(("session" = [])), responses(
    (status = 200, description = "your cases", body = Cases),
))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
) -> Result<axum::Json<Cases>, Problem> {
    Ok(axum::Json(Cases { cases: api.service.cases(caller.person()).await? }))
}

/// Opens a case; you are its first member.
#[utoipa::path(post, path = "/api/v1/cases", tag = "cases", security(("session" = [])), request_body = OpenCase, params(
    ("Idempotency-Key" = String, Header, description = "1 to 128 visible ASCII characters, chosen anew for each act; the same again repeats nothing"),
), responses(
    (status = 201, description = "the case", body = CaseSummary, headers(("Location" = String, description = "where it is"))),
    (status = 409, description = "you work on a case with this reference, or the key was used for another request", body = Body, content_type = "application/problem+json"),
    (status = 415, description = "not JSON", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn open(
    State(api): State<Api>,
    caller: Caller,
    Key(key): Key,
    Json(asked): Json<OpenCase>,
) -> Result<(StatusCode, [(HeaderName, String); 1], axum::Json<CaseSummary>), Problem> {
    let new = NewCase { reference: asked.reference, title: asked.title };
    let case = api.service.open_case(caller.person(), &new, &key).await?;
    let location = (header::LOCATION, format!("/api/v1/cases/{}", case.case));
    Ok((StatusCode::CREATED, [location], axum::Json(case)))
}

/// One case: members, items, bundles. An event: `list.viewed`.
#[utoipa::path(get, path = "/api/v1/cases/{case}", tag = "cases", security(("session" = [])), params(("case" = String, Path, description = "the case's id")), responses(
    (status = 200, description = "the case", body = CaseDetail),
))]
pub(super) async fn one(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
) -> Result<axum::Json<CaseDetail>, Problem> {
    let case = case_of(&api, &caller, &name.0).await?;
    Ok(axum::Json(api.service.case(caller.person(), case).await?))
}

/// What happened to the case, in the ledger's order.
#[utoipa::path(get, path = "/api/v1/cases/{case}/events", tag = "cases", security(("session" = [])), params(("case" = String, Path, description = "the case's id"), PageParameters), responses(
    (status = 200, description = "a page of events", body = EventsPage),
))]
pub(super) async fn events(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
    Parameters(page): Parameters<PageParameters>,
) -> Result<axum::Json<EventsPage>, Problem> {
    let case = case_of(&api, &caller, &name.0).await?;
    let after = page.after.map(LeafIndex);
    Ok(axum::Json(api.service.case_events(caller.person(), case, after).await?))
}

/// Links an item to the case; linking it again replaces its exhibit reference.
#[utoipa::path(post, path = "/api/v1/cases/{case}/items", tag = "cases", security(("session" = [])), request_body = LinkItem, params(
    ("case" = String, Path, description = "the case's id"),
    ("Idempotency-Key" = String, Header, description = "as for opening a case"),
), responses(
    (status = 204, description = "linked"),
    (status = 415, description = "not JSON", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn link(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
    Key(key): Key,
    Json(asked): Json<LinkItem>,
) -> Result<StatusCode, Problem> {
    let case = case_of(&api, &caller, &name.0).await?;
    let reference = asked.exhibit_reference.as_deref();
    api.service.link_item(caller.person(), case, asked.item, reference, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unlinks an item from the case.
#[utoipa::path(delete, path = "/api/v1/cases/{case}/items/{item}", tag = "cases", security(("session" = [])), params(
    ("case" = String, Path, description = "the case's id"),
    ("item" = String, Path, description = "the item's id"),
    Why,
), responses(
    (status = 204, description = "it is not linked (any more)"),
))]
pub(super) async fn unlink(
    State(api): State<Api>,
    caller: Caller,
    NamedTwice(case, item): NamedTwice,
    Parameters(why): Parameters<Why>,
) -> Result<StatusCode, Problem> {
    let case = case_of(&api, &caller, &case).await?;
    let item = item_of(&api, &caller, &item).await?;
    let key = RequestKey::fresh();
    api.service.unlink_item(caller.person(), case, item, &why.reason, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets an investigator work on the case.
#[utoipa::path(post, path = "/api/v1/cases/{case}/members", tag = "cases", security(("session" = [])), request_body = AddMember, params(
    ("case" = String, Path, description = "the case's id"),
    ("Idempotency-Key" = String, Header, description = "as for opening a case"),
), responses(
    (status = 204, description = "they work on it"),
    (status = 415, description = "not JSON", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn add_member(
    State(api): State<Api>,
    caller: Caller,
    name: Named,
    Key(key): Key,
    Json(asked): Json<AddMember>,
) -> Result<StatusCode, Problem> {
    let case = case_of(&api, &caller, &name.0).await?;
    api.service.add_member(caller.person(), case, &asked.number, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends somebody's work on the case; the last member stays.
#[utoipa::path(delete, path = "/api/v1/cases/{case}/members/{number}", tag = "cases", security(("session" = [])), params(
    ("case" = String, Path, description = "the case's id"),
    ("number" = String, Path, description = "their number"),
    Why,
), responses(
    (status = 204, description = "they do not work on it (any more)"),
    (status = 409, description = "they are the last member", body = Body, content_type = "application/problem+json"),
))]
pub(super) async fn remove_member(
    State(api): State<Api>,
    caller: Caller,
    NamedTwice(case, number): NamedTwice,
    Parameters(why): Parameters<Why>,
) -> Result<StatusCode, Problem> {
    let case = case_of(&api, &caller, &case).await?;
    let key = RequestKey::fresh();
    api.service.remove_member(caller.person(), case, &number, &why.reason, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An id that is none is not told apart from one of nobody's.
async fn case_of(api: &Api, caller: &Caller, text: &str) -> Result<CaseId, Problem> {
    match text.parse() {
        Ok(case) => Ok(case),
        Err(_) => Ok(api.service.no_such_thing(caller.person()).await?),
    }
}

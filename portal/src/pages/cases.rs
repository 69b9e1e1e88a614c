//! The cases somebody works on, and opening one.

use askama::Template;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;

use super::Pages;
use super::frame::{Frame, Section};
use super::visit::{Answer, Visitor, page as rendered};
use crate::access::Malformed;
use crate::service::{NewCase, RequestKey, ServiceError};
use crate::words::UkTime;

/// What is wrong with a form: the field's name leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldError {
    pub(super) field: String,
    pub(super) words: String,
}

#[derive(Template)]
#[template(path = "pages/cases.html")]
struct CasesPage {
    frame: Frame,
    errors: Vec<FieldError>,
    cases: Vec<CaseRow>,
    form: OpenForm,
}

struct CaseRow {
    href: String,
    reference: String,
    title: String,
    opened: UkTime,
}

/// The form that opens a case, as it was sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct OpenForm {
    form_token: String,
    key: String,
    reference: String,
    title: String,
}

impl FieldError {
    pub(super) fn new(field: &str, words: impl Into<String>) -> Self {
        Self { field: field.to_owned(), words: words.into() }
    }

    /// As the service says it.
    pub(super) fn of(malformed: &Malformed) -> Self {
        let label = match malformed.field {
            "reference" => "Reference",
            "title" => "Title",
            "exhibit_reference" => "Exhibit reference",
            "number" => "Number",
            "name" => "Name",
            "role" => "Role",
            "reason" => "Reason",
            "recipient" => "Who gets it",
            "authorised_by" => "Who authorises it",
            "description" => "Description",
            _ => "What was sent",
        };
        Self::new(malformed.field, format!("{label}: {}", malformed.why))
    }
}

impl CasesPage {
    fn error_of(&self, field: &str) -> Option<&str> {
        self.errors.iter().find(|error| error.field == field).map(|error| error.words.as_str())
    }
}

/// `/cases`.
pub(super) async fn page(State(pages): State<Pages>, visitor: Visitor) -> Answer {
    let key = RequestKey::fresh().as_str().to_owned();
    show(&pages, &visitor, OpenForm { key, ..OpenForm::default() }, Vec::new()).await
}

/// Opens a case. Sent twice, it opens one.
pub(super) async fn open(
    State(pages): State<Pages>,
    visitor: Visitor,
    Form(form): Form<OpenForm>,
) -> Answer {
    visitor.sent(&form.form_token)?;
    let key = RequestKey::new(&form.key).map_err(ServiceError::from)?;
    let new = NewCase { reference: form.reference.clone(), title: form.title.clone() };
    match pages.service.open_case(visitor.person(), &new, &key).await {
        Ok(case) => Ok(Redirect::to(&format!("/cases/{}", case.case)).into_response()),
        Err(ServiceError::Malformed(malformed)) => {
            show(&pages, &visitor, form, vec![FieldError::of(&malformed)]).await
        }
        Err(ServiceError::Conflict { code: "reference-taken", why }) => {
            show(&pages, &visitor, form, vec![FieldError::new("reference", why)]).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn show(pages: &Pages, visitor: &Visitor, form: OpenForm, errors: Vec<FieldError>) -> Answer {
    let cases = pages.service.cases(visitor.person()).await?;
    let row = |case: crate::service::CaseSummary| CaseRow {
        href: format!("/cases/{}", case.case),
        reference: case.reference,
        title: case.title,
        opened: case.opened_at.into(),
    };
    let status = if errors.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let cases = cases.into_iter().map(row).collect();
    rendered(status, &CasesPage { frame: visitor.frame(Section::Cases), errors, cases, form })
}

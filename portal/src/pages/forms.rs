//! Small forms, several to a page: what they send, and what stands in one that was not accepted.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;

use super::cases::FieldError;
use super::problem::Problem;
use super::visit::{Answer, Visitor};
use crate::service::{RequestKey, ServiceError};
use crate::words::capitalised;

/// What a small form sends. Each has a few of these fields; the rest is empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Act {
    form_token: String,
    key: String,
    pub(super) item: String,
    pub(super) case: String,
    pub(super) device: String,
    pub(super) number: String,
    pub(super) name: String,
    pub(super) role: String,
    pub(super) reason: String,
    pub(super) exhibit_reference: String,
}

/// A form that was sent and not accepted; none of them by default.
#[derive(Debug, Default)]
pub(super) struct Sent {
    form: &'static str,
    pub(super) errors: Vec<FieldError>,
    act: Act,
}

impl Act {
    /// The key that makes it harmless to send it twice; only from a page of this session.
    pub(super) fn key(&self, visitor: &Visitor) -> Result<RequestKey, Problem> {
        visitor.sent(&self.form_token)?;
        Ok(RequestKey::new(&self.key).map_err(ServiceError::from)?)
    }

    /// What there is to mend in `form`; none when it was done.
    pub(super) fn outcome<T>(
        self,
        form: &'static str,
        done: Result<T, ServiceError>,
    ) -> Result<Option<Sent>, Problem> {
        let (field, words) = match done {
            Ok(_) => return Ok(None),
            Err(ServiceError::Malformed(malformed)) => {
                let error = FieldError::of(&malformed);
                (error.field, error.words)
            }
            Err(ServiceError::Conflict { code, why }) => {
                let of_number = ["last-member", "last-viewer", "number-taken", "own-account"];
                let field = if of_number.contains(&code) { "number" } else { "" };
                (field.to_owned(), format!("{}.", capitalised(&why)))
            }
            Err(error) => return Err(error.into()),
        };
        let field = if field.is_empty() { field } else { id(form, &field) };
        Ok(Some(Sent { form, errors: vec![FieldError::new(&field, words)], act: self }))
    }

    fn value(&self, name: &str) -> &str {
        match name {
            "number" => &self.number,
            "name" => &self.name,
            "role" => &self.role,
            "reason" => &self.reason,
            "exhibit_reference" => &self.exhibit_reference,
            _ => "",
        }
    }
}

impl Sent {
    pub(super) fn status(&self) -> StatusCode {
        if self.errors.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST }
    }

    /// Whether it is this form: then it stands open.
    pub(super) fn is(&self, form: &str) -> bool {
        self.form == form
    }

    pub(super) fn error(&self, form: &str, name: &str) -> Option<&str> {
        let field = id(form, name);
        self.errors.iter().find(|error| error.field == field).map(|error| error.words.as_str())
    }

    pub(super) fn value(&self, form: &str, name: &str) -> &str {
        if self.is(form) { self.act.value(name) } else { "" }
    }
}

/// After an act that was done.
pub(super) fn go_to(address: &str) -> Answer {
    Ok(Redirect::to(address).into_response())
}

fn id(form: &str, name: &str) -> String {
    format!("{form}-{name}")
}

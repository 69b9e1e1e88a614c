//! What a program is told when something is wrong: RFC 9457 problem documents. The one place that maps to HTTP.
//!
//! A problem never repeats what was sent, and never tells whether something of others exists.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::{AccessError, Malformed, SignInError, TooMany};
use crate::door::NOT_STORED;
use crate::service::ServiceError;

/// When only a restart helps.
const RETRY_AFTER_STOP: Duration = Duration::from_secs(30);

/// The body of every refusal (`application/problem+json`).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Body {
    /// `urn:exhibit:problem:<code>`; the codes are listed in docs/formats/api.md.
    r#type: String,
    title: String,
    status: u16,
    /// For people: what is wrong, and what to do next.
    detail: String,
    /// The field, parameter or limit at fault, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

/// One refused request.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    field: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), field: None, headers: Vec::new() }
    }

    fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn about(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// 400: a field, header or parameter that is not what it should be.
    pub(super) fn malformed(field: &str, why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", format!("{field}: {why}")).about(field)
    }

    /// 401: nobody is signed in with this.
    pub(super) fn unauthorised() -> Self {
        let detail = "send the token of a session as 'Authorization: Bearer …'; sessions end after an hour \
            without use, and after twelve";
        Self::new(StatusCode::UNAUTHORIZED, "not-signed-in", detail)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403: a cookie alone changes nothing here, so that no other site can.
    pub(super) fn needs_bearer() -> Self {
        let detail =
            "what changes something needs 'Authorization: Bearer …'; a cookie is for reading";
        Self::new(StatusCode::FORBIDDEN, "bearer-needed", detail)
    }

    /// 404: nothing here, or nothing of theirs.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", ServiceError::NotFound.to_string())
    }

    /// 405.
    pub(super) fn method() -> Self {
        let detail =
            "this address does not take that method; /api/openapi.json lists those it takes";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail)
    }

    /// 413: above a limit.
    pub(super) fn too_large(limit: &'static str, most_bytes: usize) -> Self {
        let detail = format!("{limit}: at most {most_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).about(limit)
    }

    /// 415.
    pub(super) fn media_type() -> Self {
        let detail = "Content-Type: bodies are application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
    }

    fn retry(status: StatusCode, code: &'static str, detail: String, after: Duration) -> Self {
        Self::new(status, code, detail).with(header::RETRY_AFTER, after.as_secs().max(1))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: format!("urn:exhibit:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Refused").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            field: self.field,
        };
        let body = serde_json::to_string(&body).expect("a problem is plain data");
        let mut headers = HeaderMap::new();
        let media_type = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, media_type);
        headers.insert(header::CACHE_CONTROL, NOT_STORED);
        headers.extend(self.headers);
        (self.status, headers, body).into_response()
    }
}

impl From<Malformed> for Problem {
    fn from(error: Malformed) -> Self {
        Self::malformed(error.field, error.why)
    }
}

impl From<TooMany> for Problem {
    fn from(error: TooMany) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self::retry(status, "too-many", error.to_string(), error.retry_after)
            .about(error.limit.name)
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        ServiceError::from(error).into()
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        let text = error.to_string();
        match error {
            SignInError::Unknown => Self::new(StatusCode::FORBIDDEN, "link-unknown", text),
            SignInError::Expired => Self::new(StatusCode::FORBIDDEN, "link-expired", text),
            SignInError::Used => Self::new(StatusCode::FORBIDDEN, "link-used", text),
            SignInError::TooMany(error) => error.into(),
            SignInError::Ledger(error) => ServiceError::from(error).into(),
            SignInError::Access(error) => error.into(),
        }
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let text = error.to_string();
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match error {
            ServiceError::NotFound => Self::not_found(),
            ServiceError::NotForRole => Self::new(StatusCode::FORBIDDEN, "role", text),
            ServiceError::Malformed(error) => error.into(),
            ServiceError::Conflict { code, why } => Self::new(StatusCode::CONFLICT, code, why),
            ServiceError::NeedsAuthorisation(_) => {
                Self::new(StatusCode::CONFLICT, "needs-authorisation", text).about("authorised")
            }
            ServiceError::TooMany(error) => error.into(),
            ServiceError::Busy { limit, retry_after } => {
                Self::retry(unavailable, "busy", text, retry_after).about(limit)
            }
            ServiceError::CannotRecord(why) => {
                tracing::error!(%why, "nothing is shown that cannot be recorded");
                Self::retry(unavailable, "cannot-record", text, RETRY_AFTER_STOP)
            }
            ServiceError::StoreAway => {
                Self::retry(unavailable, "store-away", text, RETRY_AFTER_STOP)
            }
            ServiceError::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, "store-full", text),
            ServiceError::Damaged => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged", text),
            ServiceError::Internal(why) => {
                tracing::error!(why, "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", text)
            }
        }
    }
}

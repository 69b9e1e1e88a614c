//! What a client is told when something is wrong: RFC 9457 problem documents. The one place that maps to HTTP.
//!
//! A problem names the limit, header or field at fault. It never repeats a token, and never tells what others hold.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::receive::ReceiveError;

/// One refused request.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a client is told to wait when we are busy.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// The same, when only a restart helps.
const RETRY_AFTER_STOP: Duration = Duration::from_secs(30);
/// tus' own status for a checksum that does not match.
const CHECKSUM_MISMATCH: u16 = 460;

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), headers: Vec::new() }
    }

    /// Adds a header to the reply.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The status of the reply.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code in the problem's `type`.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// 400: a header, field or length that cannot be what it should be.
    pub fn malformed(what: &str, why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", format!("{what}: {why}"))
    }

    /// 401: no token, or none that we know.
    pub fn unauthorised() -> Self {
        let detail = "send the device's token as 'Authorization: Bearer …'";
        Self::new(StatusCode::UNAUTHORIZED, "unknown-token", detail)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403: the token was valid once.
    pub fn revoked() -> Self {
        Self::new(StatusCode::FORBIDDEN, "device-revoked", "this device's access was revoked")
    }

    /// 403: the request is understood and never allowed.
    pub fn forbidden(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404: nothing here that this device may know of.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "nothing of this device's is here")
    }

    /// 410: it was here; it ended or expired.
    pub fn gone() -> Self {
        Self::new(StatusCode::GONE, "upload-ended", "the upload was ended or has expired")
    }

    /// 405.
    pub fn method() -> Self {
        let detail = "no door gives footage out, and this method is not one of tus";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail)
    }

    /// 409: the bytes do not go on where the upload stands.
    pub fn wrong_offset(offset_bytes: u64) -> Self {
        let detail = format!("Upload-Offset: the upload stands at byte {offset_bytes}");
        Self::new(StatusCode::CONFLICT, "wrong-offset", detail)
            .with(HeaderName::from_static("upload-offset"), offset_bytes)
    }

    /// 409: in conflict with what stands already.
    pub fn conflict(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 412: another version of tus.
    pub fn tus_version() -> Self {
        let detail = "Tus-Resumable: this server speaks 1.0.0";
        Self::new(StatusCode::PRECONDITION_FAILED, "tus-version", detail)
            .with(HeaderName::from_static("tus-version"), HeaderValue::from_static("1.0.0"))
    }

    /// 413: above the limit called `limit`.
    pub fn too_large(limit: &'static str, most_bytes: u64) -> Self {
        let detail = format!("{limit}: at most {most_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    /// 415: bytes come as `application/offset+octet-stream`.
    pub fn media_type() -> Self {
        let detail = "Content-Type: bytes come as application/offset+octet-stream";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
    }

    /// 460: the bytes differ from their checksum; the offset is as before.
    pub fn checksum(offset_bytes: u64) -> Self {
        let status = StatusCode::from_u16(CHECKSUM_MISMATCH).expect("460 is a status");
        let detail = "Upload-Checksum: the bytes differ from it; none of them count";
        Self::new(status, "checksum-mismatch", detail)
            .with(HeaderName::from_static("upload-offset"), offset_bytes)
    }

    /// 503: too much at once; come back.
    pub fn busy(limit: &'static str, retry_after: Duration) -> Self {
        let detail = format!("{limit}: as many as allowed at once; try again");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
            .with(header::RETRY_AFTER, retry_after.as_secs().max(1))
    }

    /// 503: what a duplicate would rest on cannot be read.
    pub fn held_damaged() -> Self {
        let detail = "what is held already of this recording cannot be read; what was sent now is kept, \
                      and nothing is acknowledged until that is mended: keep the copy";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "held-copy-damaged", detail)
            .with(header::RETRY_AFTER, RETRY_AFTER_STOP.as_secs())
    }

    /// 507: the space kept free would be touched.
    pub fn full() -> Self {
        let detail = "free_space_kept_bytes: the store has no room for more";
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "store-full", detail)
    }

    /// 408: the other side stopped sending.
    pub fn interrupted(offset_bytes: u64) -> Self {
        let detail = format!("the transfer broke off; the upload stands at byte {offset_bytes}");
        Self::new(StatusCode::REQUEST_TIMEOUT, "interrupted", detail)
            .with(HeaderName::from_static("upload-offset"), offset_bytes)
    }

    /// 500: ours, logged where it was found. The client keeps its copy.
    pub fn internal() -> Self {
        let detail = "something failed here; nothing was acknowledged that is not held";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Checksum Mismatch");
        let body = json!({
            "type": format!("urn:exhibit:problem:{}", self.code),
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut headers = HeaderMap::new();
        let media_type = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, media_type);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        (self.status, headers, body.to_string()).into_response()
    }
}

impl From<ReceiveError> for Problem {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::NotFound => Self::not_found(),
            ReceiveError::Ended => Self::gone(),
            ReceiveError::WrongOffset { offset_bytes } => Self::wrong_offset(offset_bytes),
            ReceiveError::Interrupted { offset_bytes } => Self::interrupted(offset_bytes),
            ReceiveError::Checksum { offset_bytes } => Self::checksum(offset_bytes),
            ReceiveError::TooLarge { limit, most_bytes } => Self::too_large(limit, most_bytes),
            ReceiveError::Malformed { what, why } => Self::malformed(what, why),
            ReceiveError::NotAllowed { code, why } => Self::forbidden(code, why),
            ReceiveError::Conflict { code, why } => Self::conflict(code, why),
            ReceiveError::Busy { limit } => Self::busy(limit, RETRY_AFTER),
            ReceiveError::Full => Self::full(),
            ReceiveError::HeldDamaged => Self::held_damaged(),
            ReceiveError::LedgerStopped(_) => {
                tracing::error!(%error, "an upload waits for the ledger");
                Self::busy("ledger", RETRY_AFTER_STOP)
            }
            ReceiveError::StoreAway(_) => {
                tracing::error!(%error, "an upload waits for the store");
                Self::busy("store", RETRY_AFTER_STOP)
            }
            ReceiveError::Refused(_)
            | ReceiveError::Store(_)
            | ReceiveError::Records(_)
            | ReceiveError::Internal(_) => {
                tracing::error!(%error, "a request failed");
                Self::internal()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_what_tus_and_the_contract_say() {
        let second = Duration::from_secs(1);
        let cases = [
            (Problem::malformed("Upload-Length", "not a number"), 400),
            (Problem::unauthorised(), 401),
            (Problem::revoked(), 403),
            (Problem::not_found(), 404),
            (Problem::method(), 405),
            (Problem::wrong_offset(5), 409),
            (Problem::gone(), 410),
            (Problem::tus_version(), 412),
            (Problem::too_large("item_size_bytes", 5), 413),
            (Problem::media_type(), 415),
            (Problem::checksum(5), 460),
            (Problem::busy("open_uploads", second), 503),
            (Problem::full(), 507),
        ];
        for (problem, status) in cases {
            assert_eq!(problem.into_response().status().as_u16(), status);
        }
    }
}

//! Replies of the tus door: what an upload's status looks like in headers.

use axum::response::{IntoResponse, Response};
use chain_of_custody::time::Timestamp;
use http::{HeaderName, HeaderValue, StatusCode, header};
use storage::records::{Outcome, UploadShape};

use super::{PATH, headers};
use crate::limits::Limits;
use crate::receive::{Ending, Status};

/// Everything of tus 1.0 that this server speaks.
const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation";
const ALGORITHMS: &str = "sha1,sha256";

/// A reply under construction. All that it says is our own, so values are always valid headers.
pub(super) struct Reply(Response);

impl Reply {
    pub(super) fn new(status: StatusCode) -> Self {
        Self(status.into_response()).with("cache-control", "no-store")
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        // The client's own metadata could hold bytes that no header may: those were refused when they came.
        if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
            self.0.headers_mut().insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// OPTIONS: what we speak.
    pub(super) fn capabilities(limits: &Limits) -> Self {
        Self::new(StatusCode::NO_CONTENT)
            .with("tus-version", headers::TUS_VERSION)
            .with("tus-extension", EXTENSIONS)
            .with("tus-checksum-algorithm", ALGORITHMS)
            .with("tus-max-size", limits.item_size_bytes)
    }

    /// Where the new upload is.
    pub(super) fn location(self, status: &Status) -> Self {
        let upload = status.upload;
        self.with(header::LOCATION.as_str(), format!("{PATH}/{upload}"))
    }

    /// The offset, when it ends, and how it ended.
    pub(super) fn standing(mut self, status: &Status) -> Self {
        // Of a final, tus shows an offset only once it is composed; ours are composed when the reply to POST comes.
        if status.shape != UploadShape::Final || status.ending.is_some() {
            self = self.with(headers::UPLOAD_OFFSET, status.offset_bytes);
        }
        if let Some(expires) = status.expires {
            self = self.with("upload-expires", http_date(expires));
        }
        match &status.ending {
            Some(ending) => self.ending(ending),
            None => self,
        }
    }

    /// HEAD: everything.
    pub(super) fn everything(self, status: &Status) -> Self {
        let mut reply = self.standing(status);
        reply = match status.length_bytes {
            Some(length) => reply.with(headers::UPLOAD_LENGTH, length),
            None => reply.with(headers::UPLOAD_DEFER_LENGTH, 1),
        };
        if !status.metadata.is_empty() {
            reply = reply.with(headers::UPLOAD_METADATA, &status.metadata);
        }
        match status.shape {
            UploadShape::Whole => reply,
            UploadShape::Partial => reply.with(headers::UPLOAD_CONCAT, "partial"),
            UploadShape::Final => {
                let parts: Vec<_> =
                    status.parts.iter().map(|part| format!("{PATH}/{part}")).collect();
                reply.with(headers::UPLOAD_CONCAT, format!("final;{}", parts.join(" ")))
            }
        }
    }

    fn ending(self, ending: &Ending) -> Self {
        let item = ending.item;
        // A duplicate's receipt is that of its own entry.
        let query = match ending.outcome {
            Outcome::Duplicate => format!("?entry={}", ending.leaf_index),
            Outcome::Stored | Outcome::Quarantined => String::new(),
        };
        self.with("exhibit-item", item)
            .with("exhibit-state", ending.outcome.as_str())
            .with("exhibit-receipt", format!("/api/v1/items/{item}/receipt{query}"))
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        self.0
    }
}

/// RFC 9110 IMF-fixdate.
fn http_date(at: Timestamp) -> String {
    let instant = jiff::Timestamp::from_second(at.unix_seconds()).unwrap_or_default();
    instant.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        let at = Timestamp::from_unix_millis(784_111_777_000).unwrap();
        assert_eq!(http_date(at), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}

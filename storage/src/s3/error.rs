//! What a store answers when it does not do what was asked, by what a person can do about it.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// Why a bucket cannot be used. Each names the setting to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum S3Error {
    #[error("the store does not answer ({reason}): is the endpoint right, and is the store up?")]
    Unreachable { reason: String },
    #[error(
        "the store does not know these credentials ({code}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )]
    Credentials { code: String },
    #[error(
        "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )]
    NoCredentials,
    #[error("the credentials may not do this ({doing}): give them the bucket's rights")]
    Forbidden { doing: &'static str },
    #[error("the store has no such bucket: make it, or change the bucket's name")]
    NoBucket,
    #[error("the bucket is in another region ({code}): set the region")]
    OtherRegion { code: String },
    #[error("this machine's clock and the store's are too far apart: set the clock")]
    Clock,
    #[error("the authority's certificates cannot be used: {reason}")]
    Authority { reason: String },
    /// No such object, version or upload in parts.
    #[error("the store has no such object")]
    NotFound,
    /// Locks are on versions.
    #[error(
        "the bucket keeps no versions: switch versioning and Object Lock on, or set storage.lock_days to 0"
    )]
    NoVersions,
    /// A precondition did not hold: somebody was faster, or something stands there.
    #[error("something else stands under that key by now")]
    Taken,
    #[error("an object of {size_bytes} bytes is larger than the {most_bytes} that it may have")]
    TooLarge { size_bytes: u64, most_bytes: u64 },
    /// The store has no room left, or a quota is used up.
    #[error("the store is full ({code}): make room, or raise the quota")]
    Full { code: String },
    /// It answers that it cannot answer now.
    #[error("{doing}: the store fails ({code}: {message})")]
    Failing { doing: &'static str, code: String, message: String },
    #[error("{doing}: the store answered {code}: {message}")]
    Refused { doing: &'static str, code: String, message: String },
}

impl S3Error {
    /// Reads a failed call.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>, doing: &'static str) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let Some(answered) = error.as_service_error() else { return Self::unanswered(error) };
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        // A HEAD is answered without a body, and so without a code.
        let code = answered.code().map_or_else(|| format!("status {status}"), str::to_owned);
        match code.as_str() {
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" => {
                Self::Credentials { code }
            }
            "AccessDenied" => Self::Forbidden { doing },
            "NoSuchBucket" => Self::NoBucket,
            "PermanentRedirect"
            | "IllegalLocationConstraintException"
            | "AuthorizationHeaderMalformed" => Self::OtherRegion { code },
            "RequestTimeTooSkewed" => Self::Clock,
            "NoSuchKey" | "NoSuchVersion" | "NoSuchUpload" | "NotFound" => Self::NotFound,
            "PreconditionFailed" | "ConditionalRequestConflict" => Self::Taken,
            "EntityTooLarge" | "QuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull" => {
                Self::Full { code }
            }
            _ if status == 404 => Self::NotFound,
            _ if status == 412 => Self::Taken,
            _ if status == 507 => Self::Full { code },
            "SlowDown" | "RequestTimeout" => Self::failing(answered, doing, code),
            _ if status >= 500 && status != 501 => Self::failing(answered, doing, code),
            _ => {
                let message = answered.message().unwrap_or("nothing more").to_owned();
                Self::Refused { doing, code, message }
            }
        }
    }

    fn failing(answered: &impl ProvideErrorMetadata, doing: &'static str, code: String) -> Self {
        let message = answered.message().unwrap_or("nothing more").to_owned();
        Self::Failing { doing, code, message }
    }

    /// An answer that ended before its end.
    pub(super) fn cut(why: &dyn std::fmt::Display) -> Self {
        Self::Unreachable { reason: format!("an answer was cut: {why}") }
    }

    /// Whether the same request may be answered otherwise in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Failing { .. })
    }

    /// No answer came, or none that is one.
    fn unanswered<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let mut reasons = Vec::new();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            reasons.push(error.to_string());
            cause = error.source();
        }
        let of_credentials = |reason: &String| reason.contains("credential");
        if matches!(error, SdkError::DispatchFailure(_)) && reasons.iter().any(of_credentials) {
            return Self::NoCredentials;
        }
        Self::Unreachable { reason: reasons.pop().unwrap_or_default() }
    }
}

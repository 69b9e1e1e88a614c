//! What a store answers when it does not do what was asked, by what a person can do about it.

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
    #[error("{doing}: the store answered {code}: {message}")]
    Refused { doing: &'static str, code: String, message: String },
}

impl S3Error {
    /// Reads a failed call.
    pub(super) fn of<E, R>(error: &SdkError<E, R>, doing: &'static str) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let Some(answered) = error.as_service_error() else { return Self::unanswered(error) };
        let code = answered.code().unwrap_or("no code").to_owned();
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
            _ => {
                let message = answered.message().unwrap_or("nothing more").to_owned();
                Self::Refused { doing, code, message }
            }
        }
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

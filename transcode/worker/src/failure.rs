//! Why a job makes nothing, in a code and in words.

use ffmpeg_next as ffmpeg;
use transcode_protocol::{Ended, FailureCode, Frame, Report, WorkerFailure};

/// Why a job makes nothing.
#[derive(Debug, Clone)]
pub(crate) struct JobFailure {
    code: FailureCode,
    message: String,
}

impl JobFailure {
    pub(crate) fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Whether what there is cannot be decoded, as opposed to a trouble on the way.
    pub(crate) fn is_not_decodable(&self) -> bool {
        self.code == FailureCode::NotDecodable
    }

    /// A libav error while doing `what`.
    pub(crate) fn av(what: &str, error: ffmpeg::Error) -> Self {
        let code = match error {
            ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM } => FailureCode::OutOfMemory,
            _ => FailureCode::Internal,
        };
        Self::new(code, format!("{what}: {error}"))
    }
}

impl From<JobFailure> for WorkerFailure {
    fn from(JobFailure { code, message }: JobFailure) -> Self {
        Self { code, message }
    }
}

impl From<JobFailure> for Frame {
    fn from(failure: JobFailure) -> Self {
        Self::Failed(failure.into())
    }
}

/// What became of a recipe, as the server is told.
pub(crate) fn ended(result: Result<Report, JobFailure>) -> Ended {
    match result {
        Ok(report) => Ended::Made(report),
        Err(failure) => Ended::Failed(failure.into()),
    }
}

/// Adds what was being done to a libav error.
pub(crate) trait While<T> {
    fn while_doing(self, what: &str) -> Result<T, JobFailure>;
}

impl<T> While<T> for Result<T, ffmpeg::Error> {
    fn while_doing(self, what: &str) -> Result<T, JobFailure> {
        self.map_err(|error| JobFailure::av(what, error))
    }
}

//! Why a job makes nothing, in a code and in words.

use ffmpeg_next as ffmpeg;
use transcode_protocol::{FailureCode, Frame, WorkerFailure};

/// Why a job makes nothing.
#[derive(Debug)]
pub(crate) struct JobFailure {
    code: FailureCode,
    message: String,
}

impl JobFailure {
    pub(crate) fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
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

impl From<JobFailure> for Frame {
    fn from(failure: JobFailure) -> Self {
        Self::Failed(WorkerFailure { code: failure.code, message: failure.message })
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

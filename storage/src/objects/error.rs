//! What can go wrong in the store, by what a caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

use chain_of_custody::digest::OutboardError;

use crate::s3::S3Error;

/// Errors of the object store. [`StoreError::is_fatal`] says which ones end an upload for good.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object, upload or file.
    #[error("{} does not exist", .path.display())]
    NotFound { path: PathBuf },
    /// Something else holds that name; nothing was changed.
    #[error("{} exists already, with other content", .path.display())]
    AlreadyExists { path: PathBuf },
    /// No room on the disk (or quota). What was durable stays so; goes on when there is room.
    #[error("no room left on the disk of the object store")]
    Full,
    /// The object's key is not there: disposed of, or lost. Its bytes cannot be read any more.
    #[error("the key {} is gone: its object has been disposed of, or the key is lost", .path.display())]
    KeyGone { path: PathBuf },
    /// The object's key is wrapped by another force key, or the key file is damaged.
    #[error("{} does not open with the force's key {kek}", .path.display())]
    WrongKey { path: PathBuf, kek: String },
    /// What is stored is not what was written. Never served; the scrub names it.
    #[error("{} is damaged: {what}", .path.display())]
    Damaged { path: PathBuf, what: Damage },
    /// The device failed to write, to sync, or to give back what was written. Never retried and acknowledged.
    #[error("the device failed at {}: {source}", .path.display())]
    Device { path: PathBuf, source: io::Error },
    /// What was read back from the device differs from what was written to it.
    #[error("{} read back from the device differs from what was written", .path.display())]
    ReadBack { path: PathBuf },
    /// An S3 store did not do what it was asked. Nothing may be assumed of what was under way.
    #[error("{}: {source}", .path.display())]
    Away { path: PathBuf, source: S3Error },
    /// A name that the store does not take.
    #[error("'{name}' is not a name in the object store")]
    BadName { name: String },
    /// A range outside the object, or longer than one read may be.
    #[error("bytes {start} to {end} cannot be read at once from an object of {size_bytes} bytes")]
    Range { start: u64, end: u64, size_bytes: u64 },
    /// The digest given is not that of the bytes stored.
    #[error("the stored bytes do not have the digest given")]
    DigestMismatch,
    /// More parts than one object may have.
    #[error("an object has at most {max} parts")]
    TooManyParts { max: usize },
    /// This writer failed before; take up the upload again from its last durable state.
    #[error("this writer failed before; resume from the last durable state")]
    Stopped,
}

/// How a stored thing is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("its length is {found} bytes instead of {expected}")]
    Length { found: u64, expected: u64 },
    #[error("segment {index} fails its authentication")]
    Segment { index: u32 },
    #[error("{0}")]
    Tree(#[from] OutboardError),
    #[error("its header is not that of an encrypted object")]
    Header,
    #[error("it is not in the form that the store writes")]
    Form,
}

impl StoreError {
    /// Whether the device itself failed: the upload ends and its last durable state is all that counts.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Device { .. } | Self::ReadBack { .. })
    }

    /// The file concerned, where one is.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::NotFound { path }
            | Self::AlreadyExists { path }
            | Self::KeyGone { path }
            | Self::WrongKey { path, .. }
            | Self::Damaged { path, .. }
            | Self::Device { path, .. }
            | Self::Away { path, .. }
            | Self::ReadBack { path } => Some(path),
            _ => None,
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::AlreadyExists => Self::AlreadyExists { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Device { path, source },
        }
    }

    /// Of a call to a bucket about the object `path`.
    pub(crate) fn s3(path: &Path, source: S3Error) -> Self {
        let path = path.to_owned();
        match source {
            S3Error::NotFound => Self::NotFound { path },
            S3Error::Taken => Self::AlreadyExists { path },
            S3Error::Full { .. } => Self::Full,
            source => Self::Away { path, source },
        }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<Damage>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}

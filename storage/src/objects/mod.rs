//! The object store: originals, derivatives, openings and ledger files at rest.
//!
//! What lives here: encryption in Google Tink's streaming format, each file under a random key of its own that lies
//! apart (`keys/<file>`, wrapped by the force's key); writing that survives kill -9 at any offset made durable; reading
//! that passes authentication and the BLAKE3 tree. docs/formats/objects-at-rest.md has the bytes.
//!
//! What does not: which digests are right (the caller says), what an item is, who may read.
//!
//! The one invariant to keep: what is read equals what was written, any range of it, or it is an error (I5); and what is
//! called durable was synced, read back from the device and compared (I1).

mod blocking;
mod bucket;
mod compose;
mod copy;
mod crc;
mod error;
mod folder;
mod groups;
mod kek;
mod medium;
mod name;
mod read;
mod scan;
mod store;
mod tail;
mod tink;
mod upload;
mod writer;

pub use bucket::BucketOptions;
pub use compose::Composed;
pub use copy::Copied;
pub use crc::Crc64;
pub use error::{Damage, StoreError};
pub use folder::ReadBack;
pub use kek::Kek;
pub(crate) use medium::NewFile;
pub use medium::Protection;
pub use name::ObjectName;
pub use read::{READ_MAX_BYTES, VerifiedObject};
pub use scan::{Found, FoundVersion};
pub use store::ObjectStore;
pub use upload::{SealedPart, SealedUpload, StoredObject, StoredPart, WriterState};
pub use writer::ObjectWriter;

#[cfg(test)]
mod tests;

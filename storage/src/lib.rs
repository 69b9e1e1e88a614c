//! Where things rest: objects, records, the ledger.
//!
//! What lives here: the object store (originals, derivatives, ledger files at rest), the records (what the database
//! knows) and the ledger that drives the sequencer. What does not: how bytes come in, what people see, who may.
//!
//! The one invariant to keep: what was acknowledged is durable here, and reads back as it was written or is an error.

pub mod backup;
pub mod clock;
pub mod failpoint;
pub mod keys;
pub mod ledger;
pub mod locks;
pub mod moving;
pub mod objects;
pub mod records;
pub mod s3;
pub mod scrub;

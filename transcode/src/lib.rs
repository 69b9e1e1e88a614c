//! How derivatives are made: probes, viewing copies, pictures, indexes.
//!
//! Here: the recipes and their ids, the supervisor that runs one worker process per job and treats everything it
//! says as hostile, and the jobs that follow the ledger. Not here: libav (it lives in `exhibit-transcode`, the worker
//! program, which shares only the `transcode-protocol` crate with us), and where derivatives rest (`storage`).
//!
//! Invariant: whatever a worker does, the original and this process are unaffected, and the outcome is, for each recipe,
//! one whole derivative or a typed reason.

mod failure;
pub mod jobs;
mod program;
pub mod ranges;
pub mod recipe;
pub mod reproduce;
pub mod source;
pub mod supervise;

pub use failure::Failure;
pub use supervise::{Finished, Supervisor};
pub use transcode_protocol as protocol;

//! What people and other systems get to see.
//!
//! Here: making bundles. Not here: how bytes come in (`ingest`), how derivatives are made (`transcode`).
//! Invariant (I13): what leaves is recorded, durably, before its first byte leaves.

pub mod bundle;
pub mod public;

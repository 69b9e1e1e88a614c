//! What people and other systems get to see.
//!
//! Here: who people are (`access`), what they may see and do (`service`), its two doors (`api`
//! for programs, `pages` for people; `door` has what both need of HTTP), making bundles (`bundle`), and what is public.
//! Not here: how bytes come in (`ingest`), how derivatives are made (`transcode`).
//! Invariant (I13): what leaves or is shown is recorded, durably, before its first byte leaves.

pub mod access;
pub mod api;
pub mod bundle;
pub mod door;
mod kinds;
pub mod pages;
pub mod public;
pub mod service;
mod words;

use chain_of_custody::entry::Salt;
use chain_of_custody::ids::EventId;
use rand::Rng as _;

/// An event that nobody else will choose.
pub(crate) fn new_event() -> EventId {
    EventId::from_uuid(uuid::Uuid::now_v7())
}

pub(crate) fn random_salt() -> Salt {
    let mut salt = [0; 32];
    rand::rng().fill_bytes(&mut salt);
    Salt(salt)
}

//! The portal's service, API and pages over a real ledger, real records and a real store.
// A test that panics has failed: that is how they say so.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod bundles;
mod consultation;
mod document;
mod pages;
mod rules;
mod sign_in;
mod world;

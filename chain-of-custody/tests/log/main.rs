//! The log's formats from outside: vectors as files, malformed forms by name, oracles that we did not write.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod cost;
mod log_witness;
mod malformed;
mod never_panics;
mod oracles;
mod published;
mod receipts;
mod rotation;
mod slip;
mod sumdb;
mod trust;
mod vectors;

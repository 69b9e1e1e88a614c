//! The way in through its door: HTTP on a real listener, with a real store, database and ledger behind it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod concatenation;
mod devices;
mod endings;
mod full;
mod held;
mod kills;
mod protocol;
mod world;

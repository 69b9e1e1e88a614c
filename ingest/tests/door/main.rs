//! The way in through its door: HTTP on a real listener, with a real store, database and ledger behind it.

mod concatenation;
mod devices;
mod endings;
mod kills;
mod protocol;
mod world;

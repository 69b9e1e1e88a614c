//! The log's formats from outside: vectors as files, malformed forms by name, oracles that we did not write.

mod common;
mod cost;
mod malformed;
mod never_panics;
mod oracles;
mod published;
mod receipts;
mod sumdb;
mod trust;
mod vectors;

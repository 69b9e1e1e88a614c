//! The formats, proofs and decisions that Exhibit's word rests on: what a court's expert reads first.
//!
//! What lives here: digests, canonical JSON, custody entries with committed fields and their openings, the Merkle log,
//! signed notes, receipts, manifests, the policy file, bundle checking and the sequencer's state machine.
//!
//! What does not: files, sockets, databases, clocks, random numbers. Time, salts and signers are arguments, so that
//! every function gives the same answer to whoever repeats it.
//!
//! The one invariant to keep: a value of a type in this crate is valid. Bytes from outside become such a value only
//! through a parser that refuses whatever is not in the one canonical form.

pub mod bundle;
pub mod canonical;
pub mod checkpoint;
pub mod claim;
pub mod command;
pub mod digest;
pub mod entry;
pub mod event;
pub mod heads;
pub mod ids;
pub mod log_witness;
pub mod malformed;
pub mod manifest;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod proof;
pub mod receipt;
pub mod report;
pub mod rotation;
pub mod sequencer;
pub mod slip;
pub mod stamp;
mod statement;
pub mod tile;
pub mod time;

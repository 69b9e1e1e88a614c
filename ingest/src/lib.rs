//! How bytes come in.
//!
//! What lives here: [`receive`] (hash and store, finish, recover), the [`doors`] that lead there, [`devices`] and their
//! tokens, the limits of all of it, and the dock's side ([`agent`]). What does not: how bytes rest (`storage`), what is
//! made of them (`transcode`), who may see them (`portal`).
//!
//! The one invariant to keep: nobody is told that we hold bytes before they are durable, read back and equal; nobody is
//! told that an upload is finished before its receipt exists.

pub mod agent;
pub mod devices;
pub mod doors;
pub mod limits;
pub mod problem;
pub mod receive;

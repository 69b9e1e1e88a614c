//! Keeping the system: what can be measured, what is wrong, and what to do about it.
//!
//! What lives here: looking at a data folder from outside without writing to it (`look`), the measures that `status`,
//! `/metrics` and the alert rules share (`measures`), the doctor's checks. What does not: backup and scrub themselves (`storage`).
//!
//! The one invariant to keep: looking changes nothing, and works while the server runs, hangs or is down.

pub(crate) mod alerts;
pub(crate) mod dashboard;
pub(crate) mod doctor;
pub(crate) mod look;
mod measures;
pub(crate) mod restored;

pub(crate) use look::{Live, Look};
pub(crate) use measures::{Level, Measured, measure};

//! What the stories in `tests/` are told with: the real programs, real footage, real faults.
//!
//! What lives here: building and running `exhibit`, a server that can be killed and started again, a data folder that goes
//! away, a small tus client that stops where it is told to, and a seeded source of numbers. What does not: checks.
//! Those stand in the stories, so that each can be read alone.
//!
//! Invariant: a story talks to the programs as a user does, through HTTP, the command line and files, and never
//! through a library of ours.

pub mod audit;
pub mod failpoints;
pub mod footage;
pub mod foreign_log_witness;
pub mod log_witness;
pub mod persistent;
pub mod programs;
pub mod server;
pub mod tus;
pub mod workspace;

pub use log_witness::LogWitness;
pub use programs::Answer;
pub use server::Server;
pub use test_machine::seeded;
pub use workspace::Workspace;

//! Parts of a machine that a test of any room may have for itself and break.
//!
//! What lives here: [`postgres`], a server and empty databases; [`disk`], a file system of a size; [`bound`], programs that end
//! with the test; [`s3`], stores that are not ours; [`line`], a line to one of them that fails when told to; [`root`], what a test says that cannot do its work as an ordinary user;
//! [`hostile`], footage that somebody made to do harm; [`seeded`], numbers that can be had again. What does not: anything of ours.
//! Every room's tests use this crate, so it must not depend on any room.
//!
//! Invariant: nothing of it outlives the test process, and no test is left out in silence.

pub mod bound;
pub mod disk;
pub mod hostile;
pub mod line;
pub mod postgres;
pub mod root;
pub mod s3;
pub mod seeded;

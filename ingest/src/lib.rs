//! How bytes come in: the doors, what they all end in, and the dock's side of them.

pub mod agent;

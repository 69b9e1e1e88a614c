//! Where things rest: the object store, and the keys of the force.

pub mod objects;

//! Making a bundle: items listed one by one, for a recipient and a purpose (docs/formats/bundle.md).
//!
//! Here: who and what may leave, which openings go with it, the page for people, and writing it all out. Not here:
//! the form of the record and how it is checked (`chain_of_custody::bundle`), and who may ask (`access`, `exhibit`).
//! Invariant (I13): the entry of the hand-over is in a published checkpoint before the first byte of footage is
//! written to the output; and what is at the output path is a whole bundle or nothing.

mod create;
mod decide;
mod disclose;
mod earlier;
mod gather;
mod output;
mod page;
mod plan;
mod request;

pub use create::{Created, Force, Maker};
pub use output::Output;
pub use request::{
    Authorisation, BundleError, BundleRequest, MAX_ITEMS, MAX_TEXT_CHARS, Purpose, RequestedItem,
};

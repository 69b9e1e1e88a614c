//! The doors: protocols through which bytes come in. All end in [`crate::receive`].
//!
//! What lives here: HTTP, headers, who may knock. What does not: what becomes of the bytes. No door gives footage out.
//!
//! The one invariant to keep: no reply tells a device anything about what others sent.

mod auth;
pub mod device;
pub mod tus;

use axum::Router;

use crate::receive::Receiver;

/// All routes of the way in: `/tus/…` and those below `/api/v1` that a device uses.
pub fn router(receiver: Receiver) -> Router {
    let (router, receipts) = apart(receiver);
    router.merge(receipts)
}

/// The same in two: people ask for receipts under the same names as devices, so whoever serves both puts the people's
/// door in front of the second.
pub fn apart(receiver: Receiver) -> (Router, Router) {
    let receipts = device::receipts(receiver.clone());
    (tus::router(receiver.clone()).merge(device::router(receiver)), receipts)
}

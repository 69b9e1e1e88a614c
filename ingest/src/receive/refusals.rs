//! Refused requests: recorded, without letting noise flood the ledger.
//!
//! The first refusal of a kind becomes an entry at once; those that follow within the window are counted, and become
//! one entry at its end. The number of kinds is limited: beyond it they are counted together.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chain_of_custody::command::{Command, device_text};
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{DeviceId, SubjectId, SubjectKind};
use tokio::time::Instant;

use super::{Receiver, new_event, salt};

/// What is told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refused {
    /// A code: `unknown-token`, `device-revoked`.
    pub reason_code: &'static str,
    /// Where the token told.
    pub device: Option<DeviceId>,
    /// The network address it came from, without port.
    pub peer: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Refusals {
    windows: Mutex<HashMap<Refused, Window>>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    /// Not recorded yet.
    more: u64,
}

impl Receiver {
    /// Notes a refusal. Returns at once; the entry follows.
    pub fn note_refusal(&self, refused: Refused) {
        if !self.count_refusal(&refused) {
            return;
        }
        let receiver = self.clone();
        let _task =
            self.shared.tasks.spawn(async move { receiver.record_refusals(refused, 1).await });
    }

    /// Whether this one is to be recorded now; else it is counted.
    fn count_refusal(&self, refused: &Refused) -> bool {
        let (kinds, window) = (self.limits().refusal_kinds, self.limits().refusal_window);
        let mut windows = self.windows();
        if let Some(open) = windows.get_mut(refused) {
            if open.more == 0 && open.since.elapsed() >= window {
                open.since = Instant::now();
                return true;
            }
            open.more += 1;
            return false;
        }
        if windows.len() >= kinds {
            // The window of all others together: it opens with a count, and is recorded at its end.
            let others = Refused { device: None, peer: None, ..refused.clone() };
            let since = Instant::now();
            windows.entry(others).or_insert(Window { since, more: 0 }).more += 1;
            return false;
        }
        windows.insert(refused.clone(), Window { since: Instant::now(), more: 0 });
        true
    }

    /// Records what was counted in windows that are over. Called by the sweeper.
    pub(super) async fn record_counted_refusals(&self) {
        let window = self.limits().refusal_window;
        self.record_where(|open| open.since.elapsed() >= window).await;
    }

    /// Records everything that was counted.
    pub(super) async fn flush_refusals(&self) {
        self.record_where(|_| true).await;
    }

    async fn record_where(&self, over: impl Fn(&Window) -> bool) {
        let mut due = Vec::new();
        self.windows().retain(|refused, open| {
            let ends = over(open);
            if ends && open.more > 0 {
                due.push((refused.clone(), open.more));
            }
            !ends
        });
        for (refused, count) in due {
            self.record_refusals(refused, count).await;
        }
    }

    async fn record_refusals(&self, refused: Refused, count: u64) {
        let subject = match refused.device {
            Some(device) => Ok(device.into()),
            None => SubjectId::new(SubjectKind::Force, self.records().force()),
        };
        let Ok(subject) = subject else {
            tracing::error!("the force's name is no subject; refusals cannot be recorded");
            return;
        };
        let command = Command::new(EventKind::UploadRefused, new_event())
            .touching(subject)
            .field(field::REASON_CODE, refused.reason_code, salt())
            .field(field::DEVICE, device_text(refused.device), salt())
            .field(field::PEER, refused.peer.unwrap_or_else(|| "-".to_owned()), salt())
            .field(field::COUNT, count.to_string(), salt())
            .field(field::BY, "-", salt());
        if let Err(error) = self.ledger().submit(command).await {
            tracing::error!(%error, count, "refused requests could not be recorded");
        }
    }

    fn windows(&self) -> std::sync::MutexGuard<'_, HashMap<Refused, Window>> {
        self.shared.refusals.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

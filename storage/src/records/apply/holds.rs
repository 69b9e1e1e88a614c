//! Holds, and until when items are kept: the rows that `hold.set`, `hold.released` and `retention.reviewed` make and end.

use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::SubjectKind;
use chain_of_custody::time::end_of_day_ms;

use super::{Change, Event, Table, What};

const HOLDS: Table = Table {
    name: "holds",
    columns: &["subject", "leaf_index", "set_at_ms", "reason"],
    // What is held already is held from then on.
    on_conflict: "ON CONFLICT (force, subject) DO NOTHING",
};
const RETENTION: Table = Table {
    name: "retention",
    columns: &["item", "leaf_index", "keep_until_ms"],
    on_conflict: "ON CONFLICT (force, item) DO UPDATE SET leaf_index = excluded.leaf_index, \
        keep_until_ms = excluded.keep_until_ms",
};
const RELEASE: &str = "DELETE FROM holds WHERE force = $1 AND subject = $2 AND leaf_index < $3";

impl Event<'_> {
    pub(super) fn hold_changes(&self) -> Vec<Change> {
        let what: Vec<What> = match self.entry().kind {
            EventKind::HoldSet => self.held().map(|subject| self.hold_row(subject)).collect(),
            EventKind::HoldReleased => self.held().map(|subject| self.release(subject)).collect(),
            _ => self.reviewed().into_iter().collect(),
        };
        what.into_iter().map(|what| Change { leaf: self.leaf(), what }).collect()
    }

    /// The items and cases that are held or released.
    fn held(&self) -> impl Iterator<Item = String> {
        let subjects = self.entry().subjects.iter();
        let holdable = |kind| matches!(kind, SubjectKind::Item | SubjectKind::Case);
        subjects.filter(move |s| holdable(s.id.kind())).map(|s| s.id.to_string())
    }

    fn hold_row(&self, subject: String) -> What {
        let reason = self.text(field::REASON);
        let row = vec![subject.into(), self.leaf().into(), self.at_ms().into(), reason.into()];
        What::Row { table: HOLDS, row }
    }

    fn release(&self, subject: String) -> What {
        What::Statement { text: RELEASE, values: vec![subject.into(), self.leaf().into()] }
    }

    /// A date that is none decides nothing.
    fn reviewed(&self) -> Option<What> {
        let item = self.subject(SubjectKind::Item)?;
        let until_ms = end_of_day_ms(&self.text(field::KEEP_UNTIL))?;
        let row = vec![item.into(), self.leaf().into(), until_ms.into()];
        Some(What::Row { table: RETENTION, row })
    }
}

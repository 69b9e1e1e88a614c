//! The projection of events onto rows: which row each kind of event makes or changes.
//!
//! Everything is computed from entries and openings, whether they were made a moment ago or come from a rebuild;
//! the rows of a whole batch are gathered first and written with few statements per table.

mod access;
mod holds;

use std::collections::BTreeMap;

use chain_of_custody::entry::{Entry, Opening};
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::SubjectKind;
use chain_of_custody::sequencer::{NOT_KNOWN, PlacedEntry, source_of};
use sqlx::AnyConnection;

use super::sql::{self, Table, Value};
use super::to_db;

const ITEMS: Table = Table {
    name: "items",
    columns: &[
        "item",
        "leaf_index",
        "state",
        "state_reason",
        "name",
        "size_bytes",
        "sha256",
        "blake3",
        "object",
        "device",
        "read_by",
        "camera",
        "recording",
        "upload",
        "captured_claimed",
        "received_at_ms",
        "source_key",
        "disclosure_status",
        "restricted",
        "fault",
        "search",
    ],
    // A second item.received for one item is an entry, but changes nothing that is held.
    on_conflict: "ON CONFLICT (force, item) DO NOTHING",
};
const DUPLICATES: Table = Table {
    name: "duplicates",
    columns: &["leaf_index", "item", "device", "upload"],
    on_conflict: "",
};
const DERIVATIVES: Table = Table {
    name: "derivatives",
    columns: &[
        "item",
        "recipe_id",
        "leaf_index",
        "kind",
        "recipe",
        "size_bytes",
        "sha256",
        "blake3",
        "object",
        "media",
    ],
    on_conflict: "ON CONFLICT (force, item, recipe_id) DO NOTHING",
};
const FAILURES: Table = Table {
    name: "derivation_failures",
    columns: &["item", "recipe_id", "leaf_index", "kind", "reason_code", "reason"],
    on_conflict: "ON CONFLICT (force, item, recipe_id) DO UPDATE SET \
        leaf_index = excluded.leaf_index, kind = excluded.kind, \
        reason_code = excluded.reason_code, reason = excluded.reason",
};
const DEVICES: Table = Table {
    name: "devices",
    columns: &["device", "name", "credential_id", "enrolled_leaf", "enrolled_at_ms"],
    on_conflict: "ON CONFLICT (force, device) DO UPDATE SET name = excluded.name, \
        credential_id = excluded.credential_id, enrolled_leaf = excluded.enrolled_leaf, \
        enrolled_at_ms = excluded.enrolled_at_ms, revoked_at_ms = NULL",
};
const PUBLISHED_KEYS: Table = Table {
    name: "published_keys",
    columns: &["leaf_index", "role", "vkey", "subject"],
    on_conflict: "",
};
const BUNDLES: Table = Table {
    name: "bundles",
    columns: &["leaf_index", "bundle_digest", "purpose", "items"],
    on_conflict: "",
};

/// Changes of single rows, made one after the other in the ledger's order; rare beside new rows.
///
/// Each changes only what an earlier entry made, so that the outcome does not depend on where batches ended.
#[derive(Debug)]
struct Change {
    leaf: i64,
    what: What,
}

#[derive(Debug)]
enum What {
    Row { table: Table, row: Vec<Value> },
    Statement { text: &'static str, values: Vec<Value> },
    Restricted { item: String, restricted: i64 },
    Verified { item: String, at_ms: i64 },
    Fault { item: String, code: String },
    Revoked { device: String, at_ms: i64 },
}

/// Rows of one batch, per table.
#[derive(Debug, Default)]
struct Batch {
    items: Vec<Vec<Value>>,
    duplicates: Vec<Vec<Value>>,
    derivatives: Vec<Vec<Value>>,
    /// Keyed, because one statement cannot change a row twice: the last one counts.
    failures: BTreeMap<(String, String), Vec<Value>>,
    published_keys: Vec<Vec<Value>>,
    bundles: Vec<Vec<Value>>,
    changes: Vec<Change>,
}

/// Writes what `entries` say onto the records. They must be in the ledger's order and follow what is there.
pub(super) async fn apply(
    connection: &mut AnyConnection,
    force: &str,
    entries: &[PlacedEntry],
) -> Result<(), sqlx::Error> {
    let mut batch = Batch::default();
    entries.iter().for_each(|placed| batch.add(placed));
    sql::insert(connection, ITEMS, force, batch.items).await?;
    sql::insert(connection, DUPLICATES, force, batch.duplicates).await?;
    sql::insert(connection, DERIVATIVES, force, batch.derivatives).await?;
    sql::insert(connection, FAILURES, force, batch.failures.into_values().collect()).await?;
    sql::insert(connection, PUBLISHED_KEYS, force, batch.published_keys).await?;
    sql::insert(connection, BUNDLES, force, batch.bundles).await?;
    for change in batch.changes {
        change.apply(connection, force).await?;
    }
    Ok(())
}

impl Batch {
    fn add(&mut self, placed: &PlacedEntry) {
        let event = Event { placed };
        match placed.entry.kind {
            EventKind::ItemReceived => self.items.extend(event.item_row()),
            EventKind::ItemDuplicate => self.duplicates.extend(event.duplicate_row()),
            EventKind::ItemDerived => self.derivatives.extend(event.derivative_row()),
            EventKind::ItemDerivationFailed => self.failures.extend(event.failure_row()),
            EventKind::KeyPublished => self.published_keys.push(event.key_row()),
            EventKind::BundleExported => self.bundles.push(event.bundle_row()),
            EventKind::ItemRestricted
            | EventKind::ItemVerified
            | EventKind::StorageFault
            | EventKind::DeviceEnrolled
            | EventKind::DeviceRevoked => self.changes.extend(event.change()),
            EventKind::CaseOpened
            | EventKind::ItemLinked
            | EventKind::ItemUnlinked
            | EventKind::AccessRefused
            | EventKind::AccessChanged => self.changes.extend(event.access_changes()),
            EventKind::HoldSet | EventKind::HoldReleased | EventKind::RetentionReviewed => {
                self.changes.extend(event.hold_changes());
            }
            // The others are kept as entries and found through their subjects.
            _ => {}
        }
    }
}

/// One event, read.
struct Event<'a> {
    placed: &'a PlacedEntry,
}

impl Event<'_> {
    fn entry(&self) -> &Entry {
        &self.placed.entry
    }

    fn opening(&self, name: &str) -> Option<&Opening> {
        self.placed.openings.iter().find(|o| o.name.as_str() == name)
    }

    /// A field's text, or `""`. U+0000 is legal in JSON but not in a database's text.
    fn text(&self, name: &str) -> String {
        self.opening(name).map_or_else(String::new, |o| o.value.replace('\0', "\u{fffd}"))
    }

    fn known(&self, name: &str) -> String {
        self.opening(name).map_or_else(|| NOT_KNOWN.to_owned(), |_| self.text(name))
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    fn public(&self, name: &str) -> String {
        self.entry().public.get(name).map_or_else(String::new, |v| v.replace('\0', "\u{fffd}"))
    }

    fn subject(&self, kind: SubjectKind) -> Option<String> {
        let found = self.entry().subjects.iter().find(|s| s.id.kind() == kind);
        found.map(|s| s.id.name().to_owned())
    }

    fn leaf(&self) -> i64 {
        to_db(self.placed.index.0)
    }

    fn at_ms(&self) -> i64 {
        self.entry().at.unix_millis()
    }

    fn item_row(&self) -> Option<Vec<Value>> {
        let source = source_of(self.entry().kind, &self.placed.openings);
        let status = match self.text(field::DISCLOSURE_STATUS) {
            text if text.is_empty() => "unassessed".to_owned(),
            text => text,
        };
        Some(vec![
            self.subject(SubjectKind::Item)?.into(),
            self.leaf().into(),
            self.text(field::STATE).into(),
            self.text(field::REASON_CODE).into(),
            self.text(field::NAME).into(),
            self.number(field::SIZE_BYTES).into(),
            self.text(field::SHA256).into(),
            self.text(field::BLAKE3).into(),
            self.text(field::OBJECT).into(),
            self.known(field::DEVICE).into(),
            self.text(field::READ_BY).into(),
            self.known(field::CAMERA).into(),
            self.known(field::RECORDING).into(),
            self.text(field::UPLOAD).into(),
            self.known(field::CAPTURED_CLAIMED).into(),
            self.at_ms().into(),
            source.map_or_else(String::new, |key| key.to_string()).into(),
            status.into(),
            i64::from(self.text(field::RESTRICTED) == "true").into(),
            "".into(),
            self.search_text().into(),
        ])
    }

    /// What a search looks through.
    fn search_text(&self) -> String {
        let (name, camera) = (self.text(field::NAME), self.known(field::CAMERA));
        format!("{name} {camera} {}", self.known(field::RECORDING)).to_lowercase()
    }

    fn duplicate_row(&self) -> Option<Vec<Value>> {
        Some(vec![
            self.leaf().into(),
            self.subject(SubjectKind::Item)?.into(),
            self.known(field::DEVICE).into(),
            self.text(field::UPLOAD).into(),
        ])
    }

    fn derivative_row(&self) -> Option<Vec<Value>> {
        Some(vec![
            self.subject(SubjectKind::Item)?.into(),
            self.text(field::RECIPE_ID).into(),
            self.leaf().into(),
            self.text(field::KIND).into(),
            self.text(field::RECIPE).into(),
            self.number(field::SIZE_BYTES).into(),
            self.text(field::SHA256).into(),
            self.text(field::BLAKE3).into(),
            self.text(field::OBJECT).into(),
            self.text(field::MEDIA).into(),
        ])
    }

    fn failure_row(&self) -> Option<((String, String), Vec<Value>)> {
        let (item, recipe) = (self.subject(SubjectKind::Item)?, self.text(field::RECIPE_ID));
        let row = vec![
            item.clone().into(),
            recipe.clone().into(),
            self.leaf().into(),
            self.text(field::KIND).into(),
            self.text(field::REASON_CODE).into(),
            self.text(field::REASON).into(),
        ];
        Some(((item, recipe), row))
    }

    fn device_row(&self) -> Option<Vec<Value>> {
        Some(vec![
            self.subject(SubjectKind::Device)?.into(),
            self.text(field::NAME).into(),
            self.text(field::CREDENTIAL_ID).into(),
            self.leaf().into(),
            self.at_ms().into(),
        ])
    }

    fn key_row(&self) -> Vec<Value> {
        let subject = self.subject(SubjectKind::Device).unwrap_or_default();
        vec![
            self.leaf().into(),
            self.public("role").into(),
            self.public("key").into(),
            subject.into(),
        ]
    }

    fn bundle_row(&self) -> Vec<Value> {
        vec![
            self.leaf().into(),
            self.text(field::BUNDLE_DIGEST).into(),
            self.text(field::PURPOSE).into(),
            self.text(field::ITEMS).into(),
        ]
    }

    fn change(&self) -> Option<Change> {
        let item = || self.subject(SubjectKind::Item);
        let what = match self.entry().kind {
            EventKind::DeviceEnrolled => What::Row { table: DEVICES, row: self.device_row()? },
            EventKind::ItemRestricted => What::Restricted {
                item: item()?,
                // Without the field the event means what its name says.
                restricted: i64::from(self.text(field::RESTRICTED) != "false"),
            },
            EventKind::ItemVerified => What::Verified { item: item()?, at_ms: self.at_ms() },
            EventKind::StorageFault => {
                What::Fault { item: item()?, code: self.text(field::REASON_CODE) }
            }
            EventKind::DeviceRevoked => {
                What::Revoked { device: self.subject(SubjectKind::Device)?, at_ms: self.at_ms() }
            }
            _ => return None,
        };
        Some(Change { leaf: self.leaf(), what })
    }
}

const SET_RESTRICTED: &str = "UPDATE items SET restricted = $4 \
    WHERE force = $1 AND item = $2 AND leaf_index < $3";
const SET_VERIFIED: &str = "UPDATE items SET verified_at_ms = $4, fault = '' \
    WHERE force = $1 AND item = $2 AND leaf_index < $3";
const SET_FAULT: &str = "UPDATE items SET fault = $4 \
    WHERE force = $1 AND item = $2 AND leaf_index < $3";
const SET_REVOKED: &str = "UPDATE devices SET revoked_at_ms = $4 \
    WHERE force = $1 AND device = $2 AND enrolled_leaf < $3";

impl Change {
    async fn apply(self, connection: &mut AnyConnection, force: &str) -> Result<(), sqlx::Error> {
        let (text, name, value): (_, _, Value) = match self.what {
            What::Row { table, row } => {
                return sql::insert(connection, table, force, vec![row]).await;
            }
            What::Statement { text, values } => {
                let force = std::iter::once(Value::from(force));
                sql::execute(connection, text, force.chain(values).collect()).await?;
                return Ok(());
            }
            What::Restricted { item, restricted } => (SET_RESTRICTED, item, restricted.into()),
            What::Verified { item, at_ms } => (SET_VERIFIED, item, at_ms.into()),
            What::Fault { item, code } => (SET_FAULT, item, code.into()),
            What::Revoked { device, at_ms } => (SET_REVOKED, device, at_ms.into()),
        };
        let values = vec![force.into(), name.into(), self.leaf.into(), value];
        sql::execute(connection, text, values).await?;
        Ok(())
    }
}

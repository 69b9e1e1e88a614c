//! What both doors render. Texts in here come from devices and people: a page escapes them.

use chain_of_custody::digest::Digests;
use chain_of_custody::ids::{CaseId, ItemId, LeafIndex, UserId};
use chain_of_custody::time::Timestamp;
use serde::Serialize;
use storage::records::{ItemRecord, UserRecord};
use utoipa::ToSchema;

use super::{Sheet, SmallCopy};
use crate::kinds::FRONT;

/// Two digests of the same bytes.
#[derive(Debug, ToSchema)]
#[schema(as = Digests)]
#[allow(
    dead_code,
    reason = "describes chain_of_custody::digest::Digests, which knows nothing of documents"
)]
struct DigestsInHex {
    /// 64 lower-case hexadecimal digits.
    sha256: String,
    /// 64 lower-case hexadecimal digits.
    blake3: String,
}

/// An item in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ItemSummary {
    #[schema(value_type = String, format = Uuid)]
    pub item: ItemId,
    /// The entry that says it was received; lists go by it.
    #[schema(value_type = u64)]
    pub leaf_index: LeafIndex,
    /// As given by whoever sent it; data, never a path. May be empty.
    pub name: String,
    /// `stored`, `quarantined` or `disposed`.
    pub state: String,
    /// A code, or empty.
    pub state_reason: String,
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// `start/end` by the camera's clock, as claimed; `-` when not known.
    pub captured_claimed: String,
    /// Id of the device that sent it; `-` for a workstation at the console.
    pub device: String,
    /// As claimed; `-` when not known.
    pub camera: String,
    /// As claimed; `-` when not known.
    pub recording: String,
    pub size_bytes: u64,
    /// `unassessed`, `served`, `unused`, `unused-sensitive` or `restricted`.
    pub disclosure_status: String,
    pub restricted: bool,
    /// Whether there is a poster to show in a list: never for what is restricted.
    pub has_poster: bool,
    pub has_proxy: bool,
    /// Length in microseconds, when the probe could tell.
    pub duration_us: Option<i64>,
    /// Code of a storage fault that stands, or empty.
    pub fault: String,
}

/// A page of items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ItemsPage {
    pub items: Vec<ItemSummary>,
    /// Where the next page begins, if there is more: `after` of the next request.
    #[schema(value_type = Option<u64>)]
    pub next_after: Option<LeafIndex>,
}

/// One item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ItemDetail {
    #[serde(flatten)]
    pub summary: ItemSummary,
    #[schema(value_type = DigestsInHex)]
    pub digests: Digests,
    pub read_by: String,
    /// `verified`, `failed`, `absent` or `not-checkable`.
    pub camera_signature: String,
    /// What is known of the server's clock at that moment: `unchecked` or `synchronised …`.
    pub clock: String,
    /// Copies in separate failure domains, as configured.
    pub copies: u64,
    /// When all of it was last read again and found as received.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub verified_at: Option<Timestamp>,
    pub derivatives: Vec<Derivative>,
    pub failures: Vec<Failure>,
    /// Derivatives that are still to come.
    pub making: Vec<Making>,
    /// For poor lines.
    pub small_copy: SmallCopy,
    /// The cases of this person that it is in.
    pub cases: Vec<CaseOfItem>,
    /// Who is named for it; empty unless it is restricted.
    pub viewers: Vec<Member>,
    /// What is known and what is not, in words: one sentence each.
    pub known: Vec<Known>,
}

/// A derivative that is still to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Making {
    /// As of a derivative that was made.
    pub kind: String,
    /// How much of the original has been read for it, in thousandths; none while it waits.
    pub permille: Option<u16>,
}

impl From<storage::records::Making> for Making {
    fn from(storage::records::Making { kind, permille }: storage::records::Making) -> Self {
        Self { kind, permille }
    }
}

/// One thing that is known of an item, or is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Known {
    /// `camera-signature`, `clock`, `copies`, `verified`, `master`, `state`, `footage`, `viewing-copy`, `disclosure`, `fault`, `hold`,
    /// `retention`, `receipt`: a code.
    pub about: &'static str,
    /// `good`, `open` or `bad`: for a mark beside the words, never in place of them.
    pub standing: &'static str,
    pub says: String,
}

/// What was computed from an original.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Derivative {
    /// `probe`, `front`, `proxy`, `proxy-small`, `poster`, `thumbnails`, `waveform`, `frames`, `scenes`, `location`, `extract` or `redaction`.
    pub kind: String,
    pub recipe_id: String,
    #[schema(value_type = u64)]
    pub leaf_index: LeafIndex,
    pub size_bytes: u64,
    #[schema(value_type = DigestsInHex)]
    pub digests: Digests,
    /// Tool, version and parameters.
    pub recipe: serde_json::Value,
    /// What the probe found, or null.
    pub media: serde_json::Value,
}

impl ItemDetail {
    /// Whether what is played is the original itself, since browsers play it as it came.
    pub fn plays_as_it_came(&self) -> bool {
        let is_copy = |d: &Derivative| d.kind == "proxy" && d.digests != self.digests;
        !self.derivatives.iter().any(is_copy)
    }

    /// Whether it is played behind a front: the pictures are its own.
    pub fn plays_behind_front(&self) -> bool {
        self.plays_as_it_came() && self.derivatives.iter().any(|d| d.kind == FRONT)
    }

    /// What sets what is played apart from the original besides its size, in words of the program that made it.
    pub fn notes_on_copy(&self) -> Vec<String> {
        let played = if self.plays_behind_front() { FRONT } else { "proxy" };
        let copies = self.derivatives.iter().rev().filter(|d| d.kind == played);
        let notes = copies.map(|d| d.recipe["notes"].as_array()).next().flatten();
        let texts = notes.into_iter().flatten().filter_map(|note| note.as_str());
        texts.map(str::to_owned).collect()
    }

    /// The sheet of thumbnails, if there is one.
    pub fn sheet(&self) -> Option<Sheet> {
        let mut sheets = self.derivatives.iter().filter(|d| d.kind == "thumbnails");
        Sheet::of(&sheets.next()?.recipe)
    }
}

/// What could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Failure {
    pub kind: String,
    pub recipe_id: String,
    #[schema(value_type = u64)]
    pub leaf_index: LeafIndex,
    pub reason_code: String,
    pub reason: String,
}

/// A case as an item names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CaseOfItem {
    #[schema(value_type = String, format = Uuid)]
    pub case: CaseId,
    pub reference: String,
    pub title: String,
}

/// One event of an item or case, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventInWords {
    #[schema(value_type = u64)]
    pub leaf_index: LeafIndex,
    #[serde(rename = "type")]
    pub kind: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The actor as recorded: `user:1234`, `device:…`, `os-user:…`; empty when erased.
    pub by: String,
    /// The actor as people say it.
    pub who: String,
    /// What happened: one sentence without full stop.
    pub says: String,
    /// Whether others can check it already: it is under a published checkpoint.
    pub published: bool,
}

/// A page of events, the first first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventsPage {
    pub events: Vec<EventInWords>,
    /// Where the next page begins, if there is more.
    #[schema(value_type = Option<u64>)]
    pub next_after: Option<LeafIndex>,
}

/// A case in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CaseSummary {
    #[schema(value_type = String, format = Uuid)]
    pub case: CaseId,
    /// URN.
    pub reference: String,
    pub title: String,
    #[schema(value_type = String, format = DateTime)]
    pub opened_at: Timestamp,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CaseDetail {
    #[serde(flatten)]
    pub summary: CaseSummary,
    pub members: Vec<Member>,
    pub items: Vec<LinkedItem>,
    /// What this person made of it and can download still.
    pub bundles: Vec<BundleView>,
}

/// Somebody who works on a case, or is named for a restricted item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Member {
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    pub name: String,
    pub number: String,
    /// Whether they have an account still.
    pub active: bool,
}

impl From<UserRecord> for Member {
    fn from(user: UserRecord) -> Self {
        let active = user.is_active();
        Self { user: user.user, name: user.name, number: user.number, active }
    }
}

/// Somebody who has or had an account, as an operator sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UserView {
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    pub name: String,
    pub number: String,
    /// `operator` or `investigator`.
    pub role: String,
    #[schema(value_type = String, format = DateTime)]
    pub added_at: Timestamp,
    /// None while they may sign in.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub removed_at: Option<Timestamp>,
}

impl From<UserRecord> for UserView {
    fn from(record: UserRecord) -> Self {
        let UserRecord { user, name, number, role, added_at, removed_at } = record;
        Self { user, name, number, role, added_at, removed_at }
    }
}

/// An item of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LinkedItem {
    #[serde(flatten)]
    pub summary: ItemSummary,
    /// Such as `JSM/1`, or empty.
    pub exhibit_reference: String,
}

/// A bundle that was made for download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BundleView {
    /// Names it in addresses: the event of the hand-over.
    #[schema(value_type = String, format = Uuid)]
    pub bundle: chain_of_custody::ids::EventId,
    /// The entry of the hand-over.
    #[schema(value_type = u64)]
    pub leaf_index: LeafIndex,
    /// `<case>-<exhibit>-<date>`; the file is called so, with `.zip`.
    pub name: String,
    #[schema(value_type = Option<String>, format = Uuid)]
    pub case: Option<CaseId>,
    /// Of the ZIP file.
    pub size_bytes: u64,
    #[schema(value_type = String, format = DateTime)]
    pub made_at: Timestamp,
    /// Until then it can be downloaded; the record of the hand-over stays.
    #[schema(value_type = String, format = DateTime)]
    pub kept_until: Timestamp,
}

/// What a device is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceName {
    pub device: chain_of_custody::ids::DeviceId,
    pub name: String,
}

/// What an operator sees: devices, states, counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Overview {
    pub items: u64,
    pub quarantined: u64,
    pub size_bytes: u64,
    /// Items with a storage fault that stands.
    pub faults: u64,
    pub devices: Vec<DeviceView>,
}

/// A device as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeviceView {
    #[schema(value_type = String, format = Uuid)]
    pub device: chain_of_custody::ids::DeviceId,
    pub name: String,
    #[schema(value_type = String, format = DateTime)]
    pub enrolled_at: Timestamp,
    /// None while it may send.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

impl ItemSummary {
    pub(super) fn new(record: &ItemRecord, made: &Made) -> Self {
        Self {
            item: record.item,
            leaf_index: record.leaf_index,
            name: record.name.clone(),
            state: record.state.clone(),
            state_reason: record.state_reason.clone(),
            received_at: record.received_at,
            captured_claimed: record.captured_claimed.clone(),
            device: record.device.clone(),
            camera: record.camera.clone(),
            recording: record.recording.clone(),
            size_bytes: record.size_bytes,
            disclosure_status: record.disclosure_status.clone(),
            restricted: record.restricted,
            has_poster: made.poster && !record.restricted,
            has_proxy: made.proxy,
            duration_us: made.duration_us,
            fault: record.fault.clone(),
        }
    }
}

/// What was made of an item, for a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) poster: bool,
    pub(super) proxy: bool,
    pub(super) duration_us: Option<i64>,
    /// What the probe found missing, in words.
    pub(super) missing: Vec<String>,
}

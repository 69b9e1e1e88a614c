//! The acts that become entries, and the fields they commit to.
//!
//! Together they cover the six operations of section 62 of the Data Protection Act 2018.

use std::fmt;
use std::str::FromStr;

macro_rules! event_kinds {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// What was done. The words are those of `docs/glossary.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventKind { $(#[doc = $name] $variant),+ }

        impl EventKind {
            /// Every kind, in the order of the specification.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in an entry's `type`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

event_kinds! {
    // collection
    DeviceEnrolled = "device.enrolled",
    DeviceRevoked = "device.revoked",
    UploadRefused = "upload.refused",
    UploadAbandoned = "upload.abandoned",
    ItemReceived = "item.received",
    ItemDuplicate = "item.duplicate",
    ItemRestricted = "item.restricted",
    MasterDefined = "master.defined",
    RecordingGap = "recording.gap",
    ItemVerified = "item.verified",
    StorageFault = "storage.fault",
    CaseOpened = "case.opened",
    // change
    ItemDerived = "item.derived",
    ItemDerivationFailed = "item.derivation-failed",
    ItemDescribed = "item.described",
    ItemLinked = "item.linked",
    ItemUnlinked = "item.unlinked",
    ItemClockMeasured = "item.clock-measured",
    Correction = "correction",
    // consultation
    ListViewed = "list.viewed",
    ItemViewed = "item.viewed",
    ItemDownloaded = "item.downloaded",
    AccessRefused = "access.refused",
    // release
    BundleExported = "bundle.exported",
    BundleAcknowledged = "bundle.acknowledged",
    GrantMade = "grant.made",
    GrantRevoked = "grant.revoked",
    ItemSent = "item.sent",
    ItemAccepted = "item.accepted",
    // combination
    CompilationMade = "compilation.made",
    // erasure
    HoldSet = "hold.set",
    HoldReleased = "hold.released",
    RetentionReviewed = "retention.reviewed",
    DisposalAuthorised = "disposal.authorised",
    ItemDisposed = "item.disposed",
    OpeningErased = "opening.erased",
    // system
    LedgerOpened = "ledger.opened",
    LedgerRecovered = "ledger.recovered",
    KeyPublished = "key.published",
    KeyRotated = "key.rotated",
    CheckpointTimestamped = "checkpoint.timestamped",
    AccessChanged = "access.changed",
    ClockJumped = "clock.jumped",
    ConfigurationLowered = "configuration.lowered",
    ConfigurationRaised = "configuration.raised",
    BreakGlass = "break-glass",
}

/// An event name that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown event type '{0}'")]
pub struct UnknownEvent(pub String);

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let found = Self::ALL.iter().find(|kind| kind.as_str() == text);
        found.copied().ok_or_else(|| UnknownEvent(text.chars().take(80).collect()))
    }
}

/// Who may keep an opening, and whether it can be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Digests, sizes, keys of objects, devices, sequence numbers: locked with the original, never erased.
    Evidential,
    /// Names, text, places, actors: erasable; the entry and every other proof stay.
    Personal,
}

macro_rules! field_names {
    ($($constant:ident = $name:literal $class:ident $doc:literal),+ $(,)?) => {
        $(#[doc = $doc] pub const $constant: &str = $name;)+

        /// Every field this version writes, with its class and meaning.
        pub const ALL: &[(&str, super::Class, &str)] =
            &[$(($name, super::Class::$class, $doc)),+];
    };
}

/// The fields an entry commits to. One name, one meaning, one class, in every event.
pub mod field {
    field_names! {
        SHA256 = "sha256" Evidential "SHA-256 of the bytes as received, lower-case hex",
        BLAKE3 = "blake3" Evidential "BLAKE3 of the bytes as received, lower-case hex",
        SIZE_BYTES = "size-bytes" Evidential "size in bytes, decimal",
        OBJECT = "object" Evidential "where the bytes rest: the stored object as canonical JSON (name, parts, version)",
        STATE = "state" Evidential "stored or quarantined",
        REASON_CODE = "reason-code" Evidential "why: a code of the documentation, never free text",
        DEVICE = "device" Evidential "id of the device that sent the bytes, or - for a workstation",
        READ_BY = "read-by" Evidential "dock agent or door through which the bytes came",
        CAMERA = "camera" Evidential "the camera's serial, as claimed",
        RECORDING = "recording" Evidential "the recording's id, as claimed",
        UPLOAD = "upload" Evidential "id of the upload",
        MANIFEST_SHA256 = "manifest-sha256" Evidential "SHA-256 of the dock manifest, the whole signed note",
        AGENT_SEQ = "agent-seq" Evidential "the dock agent's counter; a gap was lost after the agent read it",
        SOURCE_SEQ = "source-seq" Evidential "the camera's own counter; never merged with agent-seq",
        CAPTURED_CLAIMED = "captured-claimed" Evidential "start/end by the camera's clock, as claimed",
        CAMERA_SIGNATURE = "camera-signature" Evidential "verified, failed, absent or not-checkable",
        CLOCK = "clock" Evidential "what is known of the server's clock at this moment",
        COPIES = "copies" Evidential "copies in separate failure domains, as configured, decimal",
        RESTRICTED = "restricted" Evidential "true or false",
        DISCLOSURE_STATUS = "disclosure-status" Evidential "unassessed, served, unused, unused-sensitive or restricted",
        ITEM = "item" Evidential "id of the item",
        ITEMS = "items" Evidential "ids of the items, canonical JSON array",
        KIND = "kind" Evidential "kind of derivative, key or report",
        RECIPE = "recipe" Evidential "tool, version and parameters, canonical JSON",
        RECIPE_ID = "recipe-id" Evidential "digest of the recipe, lower-case hex",
        ORIGINAL_SHA256 = "original-sha256" Evidential "SHA-256 of the original a derivative was made from",
        MEDIA = "media" Evidential "what the probe found: container, streams, duration; canonical JSON",
        SUPERSEDES = "supersedes" Evidential "leaf index of the entry this corrects",
        PURPOSE = "purpose" Evidential "what a bundle is for",
        BUNDLE_DIGEST = "bundle-digest" Evidential "SHA-256 of the bundle's payload manifest (manifest-sha256.txt): every file that left, by path and digest",
        SETTING = "setting" Evidential "name of the configuration setting",
        KEEP_UNTIL = "keep-until" Evidential "day until whose end (UTC) an item is kept, YYYY-MM-DD",
        COUNT = "count" Evidential "how many like acts this entry stands for, decimal",
        CREDENTIAL_ID = "credential-id" Evidential "id of a credential, never the credential",
        USER = "user" Evidential "id of a user: random, so that it names nobody",
        ROLE = "role" Evidential "operator or investigator",
        NAME = "name" Personal "a file's, device's or person's name as given; data, never a path",
        NUMBER = "number" Personal "a person's collar or staff number",
        TITLE = "title" Personal "what a case is called",
        QUERY = "query" Personal "what somebody searched for",
        BY = "by" Personal "the actor: person at the console, device or program",
        RECIPIENT = "recipient" Personal "to whom",
        REASON = "reason" Personal "why, in words somebody typed or a program reported",
        DESCRIPTION = "description" Personal "what somebody wrote about an item",
        PLACE = "place" Personal "where, as claimed by the footage or a person",
        CASE_REFERENCE = "case-reference" Personal "URN of a case",
        EXHIBIT_REFERENCE = "exhibit-reference" Personal "producer's initials / number",
        AUTHORISED_BY = "authorised-by" Personal "the named person who authorised an act that needs it",
        PEER = "peer" Personal "network address a refused request came from",
    }

    /// The class of a field. A name from another version counts as personal, the careful choice.
    pub fn class_of(name: &str) -> super::Class {
        let found = ALL.iter().find(|(known, _, _)| *known == name);
        found.map_or(super::Class::Personal, |(_, class, _)| *class)
    }
}

/// Reason codes of `access.changed`: what changed. Others change nothing that this version knows of.
pub mod access {
    /// A person got an account.
    pub const USER_ADDED: &str = "user-added";
    /// A person's account ended.
    pub const USER_REMOVED: &str = "user-removed";
    /// A person got another one-time link; those before it stopped working.
    pub const LINK_GIVEN: &str = "link-given";
    /// A person signed in with a one-time link.
    pub const SIGNED_IN: &str = "signed-in";
    /// A person works on a case.
    pub const MEMBER_ADDED: &str = "member-added";
    /// A person works on a case no more.
    pub const MEMBER_REMOVED: &str = "member-removed";
    /// A person may see a restricted item.
    pub const VIEWER_ALLOWED: &str = "viewer-allowed";
    /// A person may see a restricted item no more.
    pub const VIEWER_WITHDRAWN: &str = "viewer-withdrawn";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse::<EventKind>().unwrap(), *kind);
        }
        let mut names: Vec<_> = field::ALL.iter().map(|(name, _, _)| *name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "one name, one meaning");
        assert_eq!(field::class_of(field::BY), Class::Personal);
        assert_eq!(field::class_of(field::SHA256), Class::Evidential);
        assert_eq!(field::class_of("from-the-future"), Class::Personal);
    }
}

//! Which openings go with a bundle: an allow-list per purpose, never all. What is not listed stays sealed, and a field
//! that a later version adds stays sealed until somebody lists it. Of other hand-overs nothing is opened.

use chain_of_custody::entry::Opening;
use chain_of_custody::event::{EventKind, field};

use super::request::Purpose;

/// What every reader needs to check a file: digests, sizes, how a derivative was made, what was handed over.
const ALWAYS: &[&str] = &[
    field::SHA256,
    field::BLAKE3,
    field::SIZE_BYTES,
    field::STATE,
    field::CAPTURED_CLAIMED,
    field::CAMERA_SIGNATURE,
    field::CLOCK,
    field::COPIES,
    field::MANIFEST_SHA256,
    field::KIND,
    field::RECIPE,
    field::RECIPE_ID,
    field::ORIGINAL_SHA256,
    field::PURPOSE,
    field::BUNDLE_DIGEST,
    field::ITEM,
    field::ITEMS,
];
/// Where it came from: for those who prosecute, judge or were served with it.
const PROVENANCE: &[&str] = &[
    field::NAME,
    field::DEVICE,
    field::READ_BY,
    field::CAMERA,
    field::RECORDING,
    field::UPLOAD,
    field::AGENT_SEQ,
    field::SOURCE_SEQ,
    field::RECIPIENT,
    field::CASE_REFERENCE,
    field::EXHIBIT_REFERENCE,
    field::DESCRIPTION,
];
/// Who did what and why: inside the force only.
const ACTORS: &[&str] = &[
    field::BY,
    field::AUTHORISED_BY,
    field::REASON,
    field::REASON_CODE,
    field::MEDIA,
    field::PLACE,
];

/// Whether an opening of this name may leave.
pub(super) fn allows(purpose: Purpose, name: &str) -> bool {
    let listed = |list: &[&str]| list.contains(&name);
    match purpose {
        Purpose::DefenceUnused => listed(ALWAYS),
        Purpose::Charging | Purpose::Cps | Purpose::Court | Purpose::DefenceServed => {
            listed(ALWAYS) || listed(PROVENANCE)
        }
        Purpose::Internal => listed(ALWAYS) || listed(PROVENANCE) || listed(ACTORS),
    }
}

/// Entries of release: to whom, what for, of which items. A reader learns that of the hand-over they hold, and of no
/// other.
const RELEASES: &[EventKind] = &[
    EventKind::BundleExported,
    EventKind::BundleAcknowledged,
    EventKind::GrantMade,
    EventKind::GrantRevoked,
    EventKind::ItemSent,
    EventKind::ItemAccepted,
];

/// The openings of an entry that may leave. `own` is the entry of this very hand-over.
pub(super) fn disclosed(
    purpose: Purpose,
    kind: EventKind,
    own: bool,
    openings: &[Opening],
) -> Vec<Opening> {
    if RELEASES.contains(&kind) && !own {
        return Vec::new();
    }
    let may_leave = |opening: &&Opening| {
        let name = opening.name.as_str();
        // A list of items names others than those that are here, except in our own entry.
        allows(purpose, name) && (own || name != field::ITEMS)
    };
    openings.iter().filter(may_leave).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain_of_custody::entry::Salt;

    #[test]
    fn who_acted_and_where_bytes_rest_never_leave_the_force() {
        for purpose in Purpose::ALL {
            assert!(allows(purpose, field::SHA256));
            for sealed in [field::OBJECT, field::PEER, field::CREDENTIAL_ID, "from-the-future"] {
                assert!(!allows(purpose, sealed), "{sealed} for {purpose}");
            }
            let inside = purpose == Purpose::Internal;
            assert_eq!(allows(purpose, field::BY), inside);
            assert_eq!(allows(purpose, field::REASON), inside);
        }
        assert!(!allows(Purpose::DefenceUnused, field::NAME));
    }

    #[test]
    fn of_others_neither_their_releases_nor_their_lists_of_items() {
        let opening = |name: &str| Opening {
            name: name.parse().unwrap(),
            salt: Salt([1; 32]),
            value: "x".to_owned(),
        };
        let openings = [field::ITEMS, field::PURPOSE, field::RECIPIENT].map(opening);
        let opened = |kind, own| disclosed(Purpose::Internal, kind, own, &openings).len();
        assert_eq!(opened(EventKind::BundleExported, true), 3);
        for kind in RELEASES {
            assert_eq!(opened(*kind, false), 0, "{kind}");
        }
        assert_eq!(opened(EventKind::ListViewed, false), 2, "all but the items");
    }
}

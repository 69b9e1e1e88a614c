//! What may leave: each item's state and disclosure status against purpose and authorisation.

use storage::records::ItemRecord;

use super::request::{Authorisation, BundleError, Purpose};

/// Refuses what nobody has authorised, naming every item and reason at once.
///
/// # Errors
/// [`BundleError::NoSuchItem`] for disposed items, [`BundleError::NeedsAuthorisation`].
pub(super) fn may_leave(
    items: &[ItemRecord],
    purpose: Purpose,
    completeness: bool,
    authorised: Option<&Authorisation>,
) -> Result<(), BundleError> {
    if let Some(gone) =
        items.iter().find(|item| !matches!(item.state.as_str(), "stored" | "quarantined"))
    {
        return Err(BundleError::NoSuchItem(gone.item));
    }
    let mut needed: Vec<String> =
        items.iter().filter_map(|item| objection(item, purpose)).collect();
    if completeness {
        needed.push("a completeness statement says how many entries each item has".to_owned());
    }
    if needed.is_empty() || authorised.is_some() {
        Ok(())
    } else {
        Err(BundleError::NeedsAuthorisation(needed))
    }
}

/// Why an item does not leave by itself.
fn objection(item: &ItemRecord, purpose: Purpose) -> Option<String> {
    let id = item.item;
    if item.restricted || item.disclosure_status == "restricted" {
        return Some(format!("item {id} is restricted"));
    }
    if item.state == "quarantined" {
        return Some(format!("item {id} is in quarantine ({})", item.state_reason));
    }
    match (item.disclosure_status.as_str(), purpose) {
        // Inside the force an item may be looked at before anybody has assessed it: that is how it gets assessed.
        ("served" | "unused", _) | ("unassessed", Purpose::Internal) => None,
        ("unassessed", _) => Some(format!("item {id} has not been assessed")),
        // What this version does not know is treated as sensitive.
        (status, _) => Some(format!("item {id} is {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain_of_custody::digest::Digests;
    use chain_of_custody::ids::LeafIndex;
    use chain_of_custody::time::Timestamp;

    fn item(state: &str, status: &str, restricted: bool) -> ItemRecord {
        ItemRecord {
            item: "0193a7c2-0000-7000-8000-000000000001".parse().unwrap(),
            leaf_index: LeafIndex(0),
            state: state.into(),
            state_reason: String::new(),
            name: String::new(),
            size_bytes: 0,
            digests: Digests::of(b""),
            object: String::new(),
            device: "-".into(),
            read_by: String::new(),
            camera: String::new(),
            recording: String::new(),
            upload: String::new(),
            captured_claimed: String::new(),
            received_at: Timestamp::from_unix_millis(0).unwrap(),
            disclosure_status: status.into(),
            restricted,
            verified_at: None,
            fault: String::new(),
        }
    }

    #[test]
    fn who_needs_a_named_person() {
        let cases = [
            ("served", false, Purpose::Court, true),
            ("unused", false, Purpose::DefenceUnused, true),
            ("unassessed", false, Purpose::Internal, true),
            ("unassessed", false, Purpose::Court, false),
            ("unused-sensitive", false, Purpose::Internal, false),
            ("restricted", false, Purpose::Internal, false),
            ("served", true, Purpose::Internal, false),
            ("from-the-future", false, Purpose::Internal, false),
        ];
        let person = Authorisation { by: "DI Example".into(), reason: "court order".into() };
        for (status, restricted, purpose, alone) in cases {
            let items = [item("stored", status, restricted)];
            assert_eq!(
                may_leave(&items, purpose, false, None).is_ok(),
                alone,
                "{status} {purpose}"
            );
            assert!(may_leave(&items, purpose, false, Some(&person)).is_ok());
        }
        let quarantined = [item("quarantined", "served", false)];
        assert!(may_leave(&quarantined, Purpose::Court, false, None).is_err());
        let stored = [item("stored", "served", false)];
        assert!(
            may_leave(&stored, Purpose::Court, true, None).is_err(),
            "completeness is authorised"
        );
        let disposed = [item("disposed", "served", false)];
        let gone = may_leave(&disposed, Purpose::Court, false, Some(&person));
        assert!(matches!(gone, Err(BundleError::NoSuchItem(_))));
    }
}

//! What may leave: each item's state and disclosure status against purpose and authorisation.

use storage::records::ItemRecord;

use super::request::{Authorisation, BundleError, BundleRequest, Purpose};

/// Refuses what nobody has authorised, naming every item and reason at once; gives the authorisation to record.
///
/// For an item that is merely unassessed, whoever asks takes it on themselves and is recorded as authorising it: they
/// are a named person, since nobody shares an account. Everything else needs somebody named for it.
///
/// # Errors
/// [`BundleError::NoSuchItem`] for disposed items, [`BundleError::NeedsAuthorisation`].
pub(super) fn may_leave(
    items: &[ItemRecord],
    request: &BundleRequest,
) -> Result<Option<Authorisation>, BundleError> {
    if let Some(gone) =
        items.iter().find(|item| !matches!(item.state.as_str(), "stored" | "quarantined"))
    {
        return Err(BundleError::NoSuchItem(gone.item));
    }
    if request.authorised.is_some() {
        return Ok(request.authorised.clone());
    }
    let mut needed: Vec<String> = items.iter().filter_map(objection).collect();
    if request.completeness {
        needed.push("a completeness statement says how many entries each item has".to_owned());
    }
    if !needed.is_empty() {
        return Err(BundleError::NeedsAuthorisation(needed));
    }
    // Inside the force an item may be looked at before anybody has assessed it: that is how it gets assessed.
    let unassessed = items.iter().any(|item| item.disclosure_status == "unassessed");
    let taken_on = unassessed && request.purpose != Purpose::Internal;
    Ok(taken_on.then(|| Authorisation {
        by: request.by.clone(),
        reason: "released before assessment by whoever asked for it".to_owned(),
    }))
}

/// Why an item leaves only when somebody is named for it.
fn objection(item: &ItemRecord) -> Option<String> {
    let id = item.item;
    if item.restricted || item.disclosure_status == "restricted" {
        return Some(format!("item {id} is restricted"));
    }
    if item.state == "quarantined" {
        return Some(format!("item {id} is in quarantine ({})", item.state_reason));
    }
    match item.disclosure_status.as_str() {
        "served" | "unused" | "unassessed" => None,
        // What this version does not know is treated as sensitive.
        status => Some(format!("item {id} is {status}")),
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

    fn request(purpose: Purpose, authorised: Option<Authorisation>) -> BundleRequest {
        BundleRequest {
            event: "0193a7c2-0000-7000-8000-000000000002".parse().unwrap(),
            items: Vec::new(),
            purpose,
            recipient: "CPS East".into(),
            by: "os-user:shah".into(),
            authorised,
            completeness: false,
            programs: false,
            case_reference: None,
            output: super::super::Output::Folder("unused".into()),
        }
    }

    #[test]
    fn who_needs_a_named_person() {
        let cases = [
            ("served", false, Purpose::Court, true),
            ("unused", false, Purpose::DefenceUnused, true),
            ("unassessed", false, Purpose::Internal, true),
            ("unassessed", false, Purpose::Court, true),
            ("unused-sensitive", false, Purpose::Internal, false),
            ("restricted", false, Purpose::Internal, false),
            ("served", true, Purpose::Internal, false),
            ("from-the-future", false, Purpose::Internal, false),
        ];
        let person = Authorisation { by: "DI Example".into(), reason: "court order".into() };
        for (status, restricted, purpose, alone) in cases {
            let items = [item("stored", status, restricted)];
            let decided = may_leave(&items, &request(purpose, None));
            assert_eq!(decided.is_ok(), alone, "{status} {purpose}");
            let authorised = may_leave(&items, &request(purpose, Some(person.clone()))).unwrap();
            assert_eq!(authorised.as_ref(), Some(&person), "{status} {purpose}");
        }
    }

    #[test]
    fn whoever_lets_an_unassessed_item_out_is_recorded() {
        let items = [item("stored", "unassessed", false)];
        let outside = may_leave(&items, &request(Purpose::Cps, None)).unwrap();
        assert_eq!(outside.unwrap().by, "os-user:shah");
        assert_eq!(may_leave(&items, &request(Purpose::Internal, None)).unwrap(), None);
        let assessed = [item("stored", "served", false)];
        assert_eq!(may_leave(&assessed, &request(Purpose::Court, None)).unwrap(), None);
    }

    #[test]
    fn quarantine_completeness_and_what_is_gone() {
        let quarantined = [item("quarantined", "served", false)];
        assert!(may_leave(&quarantined, &request(Purpose::Court, None)).is_err());
        let stored = [item("stored", "served", false)];
        let complete = BundleRequest { completeness: true, ..request(Purpose::Court, None) };
        assert!(may_leave(&stored, &complete).is_err(), "completeness is authorised");
        let disposed = [item("disposed", "served", false)];
        let person = Authorisation { by: "DI Example".into(), reason: "court order".into() };
        let gone = may_leave(&disposed, &request(Purpose::Court, Some(person)));
        assert!(matches!(gone, Err(BundleError::NoSuchItem(_))));
    }
}

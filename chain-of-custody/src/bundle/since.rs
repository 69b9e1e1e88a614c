//! What a slip shows: that a ledger still begins with the entries it had when the slip was printed.

use super::record::Judge;
use super::trust::{self, Trust};
use crate::checkpoint::SignedCheckpoint;
use crate::ids::TreeSize;
use crate::merkle::{ConsistencyProof, Hash};
use crate::policy::Policy;
use crate::report::{Check, Class, Code, FileResult, Finding, Notes, Outcome, Report};
use crate::slip::read_slip;
use crate::tile::{TileEdge, TileHashes, TilePath};

/// What the reader's slip is called in findings.
const SLIP: &str = "slip";
/// The checkpoint of a ledger's folder.
const CHECKPOINT: &str = "checkpoint";

/// Checks a ledger as files, its checkpoint and hash tiles, against a slip kept from earlier.
///
/// `fetch` gives the bytes of a tile of the checkpoint's size, or the first hashes of a wider one. Nothing that it gives is
/// trusted.
pub fn check_ledger<E>(
    checkpoint: &[u8],
    slip: &[u8],
    trust: &Trust,
    mut fetch: impl FnMut(&TilePath) -> Result<Vec<u8>, E>,
) -> Report {
    let mut notes = Notes::default();
    let policy = trust::resolve(trust, None, &mut notes);
    let newer = match SignedCheckpoint::parse(checkpoint) {
        Ok(newer) => newer,
        Err(error) => {
            let message = format!("The ledger's checkpoint cannot be read: {error}.");
            notes.note(Code::CheckpointMalformed, Class::Record, CHECKPOINT, message);
            return notes.finish();
        }
    };
    let standing = Judge::new(policy.as_ref()).standing(&newer, CHECKPOINT, &mut notes);
    let begins = match believed_slip(slip, policy.as_ref(), &mut notes) {
        Some(slip) => begins_with(&newer, &slip, &mut fetch, &mut notes),
        None => Outcome::CannotTell,
    };
    notes.file(FileResult {
        path: CHECKPOINT.to_owned(),
        class: Class::Record,
        result: standing.max(begins),
        item: None,
        recorded_at: None,
    });
    notes.finish()
}

/// Holds a bundle's checkpoint against a slip of the same size. A bundle carries no tiles, so of another size nothing can
/// be told from it.
pub(super) fn check(checkpoint: &[u8], slip: &[u8], policy: Option<&Policy>, notes: &mut Notes) {
    let Ok(newer) = SignedCheckpoint::parse(checkpoint) else { return };
    if let Some(slip) = believed_slip(slip, policy, notes) {
        begins_with(&newer, &slip, &mut |_: &TilePath| Err(()), notes);
    }
}

/// The slip, if a log of the policy signed it.
fn believed_slip(
    bytes: &[u8],
    policy: Option<&Policy>,
    notes: &mut Notes,
) -> Option<SignedCheckpoint> {
    let slip = match read_slip(bytes) {
        Ok(slip) => slip,
        Err(error) => {
            let message = format!("The slip cannot be read: {error}.");
            notes.add(Finding::new(Code::SlipMalformed, Class::Signature, message));
            return None;
        }
    };
    if let Err(refusal) = policy?.weigh(&slip) {
        let message = format!("The slip is not the ledger's: {refusal}.");
        notes.add(Finding::new(Code::SlipUntrusted, Class::Signature, message));
        return None;
    }
    Some(slip)
}

/// Whether the ledger under `newer` begins with the one under `slip`; both are of keys that the reader trusts, or judged
/// elsewhere.
fn begins_with<E>(
    newer: &SignedCheckpoint,
    slip: &SignedCheckpoint,
    fetch: &mut impl FnMut(&TilePath) -> Result<Vec<u8>, E>,
    notes: &mut Notes,
) -> Outcome {
    let (new, old) = (newer.unverified(), slip.unverified());
    if new.origin != old.origin {
        let message = format!("The slip is of the ledger {}, not of {}.", old.origin, new.origin);
        notes.add(Finding::new(Code::SlipUnproved, Class::Record, message));
        return Outcome::CannotTell;
    }
    if old.size > new.size {
        let message = format!(
            "The slip shows {} entries, and there are {} here: ask for the ledger as it is now.",
            old.size, new.size
        );
        notes.add(Finding::new(Code::SlipUnproved, Class::Record, message));
        return Outcome::CannotTell;
    }
    let contradicted = |notes: &mut Notes| {
        notes.checked(Check::Consistency, false);
        let message = format!(
            "The ledger here does not begin with the {} entries that the slip shows, although its key signed both.",
            old.size
        );
        notes.add(Finding::at(Code::SlipContradicted, Class::Record, SLIP, message));
        Outcome::Mismatch
    };
    if old.size == new.size && old.root != new.root {
        return contradicted(notes);
    }
    let proof = ConsistencyProof::generate(
        old.size,
        new.size,
        &mut TileHashes::new(new.size, |path: &TilePath| fetch(path)),
    );
    let shows = |root: &Hash| proof.as_ref().is_ok_and(|p| p.verify(root, &new.root).is_ok());
    if shows(&old.root) {
        notes.checked(Check::Consistency, true);
        notes.rests_on(format!(
            "a slip of {} entries that you kept: the ledger here begins with them",
            old.size
        ));
        return Outcome::Match;
    }
    // Tiles that belong to the newer checkpoint and give another older root show a contradiction; others show nothing.
    match root_at(old.size, fetch) {
        Some(other) if shows(&other) => contradicted(notes),
        _ => {
            let message = format!(
                "What is here does not show whether the ledger begins with the {} entries of the slip: hash tiles are \
                 missing or damaged. Ask the force for its ledger as files.",
                old.size
            );
            notes.add(Finding::new(Code::SlipUnproved, Class::Record, message));
            Outcome::CannotTell
        }
    }
}

/// The root of the tree's first `size` entries, from the same tiles.
fn root_at<E>(
    size: TreeSize,
    fetch: &mut impl FnMut(&TilePath) -> Result<Vec<u8>, E>,
) -> Option<Hash> {
    TileEdge::restore(size, |path: &TilePath| fetch(path)).ok().map(|edge| edge.root())
}

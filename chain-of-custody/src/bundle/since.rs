//! What a slip shows: that a ledger still begins with the entries it had when the slip was printed.

use super::growth::{Growth, LaterLedger, Tiles, growth};
use super::record::Judge;
use super::rotations;
use super::trust::{self, Trust, Trusted};
use crate::checkpoint::SignedCheckpoint;
use crate::report::{Check, Class, Code, FileResult, Finding, Notes, Outcome, Report};
use crate::slip::read_slip;

/// What the reader's slip is called in findings.
const SLIP: &str = "slip";
/// The checkpoint of a ledger's folder.
const CHECKPOINT: &str = "checkpoint";
/// Where a ledger's folder keeps notes about replaced keys.
pub(super) const ROTATIONS: &str = "rotation/";

/// Checks a ledger as files, its checkpoint and hash tiles, against a slip kept from earlier.
pub fn check_ledger(ledger: &LaterLedger<'_>, slip: &[u8], trust: &Trust) -> Report {
    let mut notes = Notes::default();
    let succession = rotations::of_notes(&ledger.rotations, ROTATIONS, &mut notes);
    let trusted = trust::resolve(trust, None, &succession, &mut notes);
    let newer = match SignedCheckpoint::parse(ledger.checkpoint) {
        Ok(newer) => newer,
        Err(error) => {
            let message = format!("The ledger's checkpoint cannot be read: {error}.");
            notes.note(Code::CheckpointMalformed, Class::Record, CHECKPOINT, message);
            return notes.finish();
        }
    };
    let standing = Judge::new(trusted.as_ref()).standing(&newer, CHECKPOINT, &mut notes);
    let begins = match believed_slip(slip, trusted.as_ref(), &mut notes) {
        Some(slip) => begins_with(&newer, &slip, ledger.tiles, &mut notes),
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

/// Holds a bundle's checkpoint and hash tiles against a slip.
pub(super) fn check(
    checkpoint: &[u8],
    slip: &[u8],
    trusted: Option<&Trusted>,
    tiles: &Tiles<'_>,
    notes: &mut Notes,
) {
    let Ok(newer) = SignedCheckpoint::parse(checkpoint) else { return };
    if let Some(slip) = believed_slip(slip, trusted, notes) {
        begins_with(&newer, &slip, tiles, notes);
    }
}

/// The slip, if a log of the policy signed it, or a key that was replaced by one of the policy's.
fn believed_slip(
    bytes: &[u8],
    trusted: Option<&Trusted>,
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
    if let Err(refusal) = trusted?.vouches(&slip) {
        let message = format!("The slip is not the ledger's: {refusal}.");
        notes.add(Finding::new(Code::SlipUntrusted, Class::Signature, message));
        return None;
    }
    Some(slip)
}

/// Whether the ledger under `newer` begins with the one under `slip`; both are of keys that the reader trusts, or judged
/// elsewhere.
fn begins_with(
    newer: &SignedCheckpoint,
    slip: &SignedCheckpoint,
    tiles: &Tiles<'_>,
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
    match growth(new, old, tiles) {
        Growth::Extends => {
            notes.checked(Check::Consistency, true);
            notes.rests_on(format!(
                "a slip of {} entries that you kept: the ledger here begins with them",
                old.size
            ));
            Outcome::Match
        }
        Growth::Contradicts => {
            notes.checked(Check::Consistency, false);
            let message = format!(
                "The ledger here does not begin with the {} entries that the slip shows, although its key signed both.",
                old.size
            );
            notes.add(Finding::at(Code::SlipContradicted, Class::Record, SLIP, message));
            Outcome::Mismatch
        }
        Growth::Unshown => {
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

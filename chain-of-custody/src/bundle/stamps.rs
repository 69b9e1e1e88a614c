//! Time stamps in a bundle (docs/formats/time-stamps.md): each is for the checkpoint beside it, and the ledger still
//! begins with that checkpoint. Whether the authority signed it is not checked here, and the report says so.

use super::Files;
use super::growth::{Growth, Tiles, growth};
use super::layout::STAMPS;
use super::trust::Trusted;
use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::digest::Sha256;
use crate::malformed::Malformed;
use crate::policy::PolicyRefusal;
use crate::report::{Check, Class, Code, Notes};
use crate::stamp::{OTHER_DIGEST, Stamp, read_stamp};

const TSR: &str = ".tsr";
const CHECKPOINT: &str = ".checkpoint";

/// Checks every stamp; what one shows is said only under a `head` that the policy accepted.
pub(super) fn check(
    files: &Files<'_>,
    trusted: Option<&Trusted>,
    head: Option<&Checkpoint>,
    tiles: &Tiles<'_>,
    notes: &mut Notes,
) {
    for file in files.under(STAMPS) {
        let Some(base) = file.path.strip_suffix(TSR) else {
            check_accompanied(files, &file.path, notes);
            continue;
        };
        let answer = file.content.as_deref().unwrap_or_default();
        let stamped = match read(files, base, answer) {
            Ok(stamped) => stamped,
            Err(error) => {
                let differs = error == OTHER_DIGEST;
                let code = if differs { Code::StampDiffers } else { Code::StampMalformed };
                let message = format!("{} does not stamp a checkpoint: {error}.", file.path);
                notes.note(code, Class::Record, &file.path, message);
                continue;
            }
        };
        if let (Some(trusted), Some(head)) = (trusted, head) {
            hold(base, &stamped, trusted, head, tiles, notes);
        }
    }
}

/// A checkpoint that was stamped, and when, by the authority's clock.
struct Stamped {
    stamp: Stamp,
    checkpoint: SignedCheckpoint,
}

fn read(files: &Files<'_>, base: &str, answer: &[u8]) -> Result<Stamped, Malformed> {
    let missing = Malformed::new("time stamp", "what it is for is not there");
    let bytes = files.content(&format!("{base}{CHECKPOINT}")).ok_or(missing)?;
    let stamp = read_stamp(answer, &Sha256::of(bytes))?;
    Ok(Stamped { stamp, checkpoint: SignedCheckpoint::parse(bytes)? })
}

/// Nothing else lies among the stamps.
fn check_accompanied(files: &Files<'_>, path: &str, notes: &mut Notes) {
    let base = path.strip_suffix(CHECKPOINT);
    if base.is_none_or(|base| files.get(&format!("{base}{TSR}")).is_none()) {
        let message = format!("{path} is no time stamp, and none is for it.");
        notes.note(Code::StampMalformed, Class::Record, path, message);
    }
}

fn hold(
    base: &str,
    stamped: &Stamped,
    trusted: &Trusted,
    head: &Checkpoint,
    tiles: &Tiles<'_>,
    notes: &mut Notes,
) {
    let (path, old) = (format!("{base}{TSR}"), stamped.checkpoint.unverified());
    if let Err(refusal) = trusted.vouches(&stamped.checkpoint) {
        let code = match refusal {
            PolicyRefusal::BadSignature { .. } => Code::CheckpointSignatureFails,
            _ => Code::StampUntrusted,
        };
        let message = format!("What {path} stamps is not the ledger's: {refusal}.");
        return notes.note(code, Class::Signature, &path, message);
    }
    let shown = match old.origin == head.origin && old.size <= head.size {
        true => growth(head, old, tiles),
        false => Growth::Unshown,
    };
    let size = old.size;
    match shown {
        Growth::Extends => {
            notes.checked(Check::Consistency, true);
            notes.rests_on(format!(
                "a time stamp that says {time} of the ledger's first {size} entries, with which it begins here; who \
                 signed the stamp is not checked here but by: openssl ts -verify -data {base}{CHECKPOINT} -in {path} \
                 -CAfile AUTHORITY.pem",
                time = stamped.stamp.time
            ));
        }
        Growth::Contradicts => {
            notes.checked(Check::Consistency, false);
            let message = format!(
                "The ledger here does not begin with the {size} entries that {path} stamps."
            );
            notes.note(Code::StampContradicted, Class::Record, &path, message);
        }
        Growth::Unshown => {
            let message = format!(
                "What is here does not show whether the ledger begins with the {size} entries that {path} stamps."
            );
            notes.note(Code::StampUnproved, Class::Record, &path, message);
        }
    }
}

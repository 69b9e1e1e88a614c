//! Whom the reader trusts: a policy obtained apart from the bundle, or the bundle's own once its fingerprint is
//! confirmed. Nothing else ever makes a key count.

use super::layout::POLICY;
use crate::policy::{Fingerprint, Policy};
use crate::report::{Class, Code, Notes};

/// What the reader brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The bytes of a policy file from elsewhere.
    Policy(Vec<u8>),
    /// The fingerprint that the force publishes.
    Fingerprint(Fingerprint),
    /// Nothing: the result can only be cannot-tell, or a mismatch of the bundle with itself.
    Nothing,
}

/// The policy that counts, if any. `claimed` is the one in the bundle.
pub(super) fn resolve(trust: &Trust, claimed: Option<&[u8]>, notes: &mut Notes) -> Option<Policy> {
    let policy = match (trust, claimed) {
        (Trust::Policy(bytes), _) => parse(bytes, "The policy you gave", notes),
        (Trust::Fingerprint(expected), Some(bytes)) => confirmed(expected, bytes, notes),
        (Trust::Nothing, Some(bytes)) => {
            unconfirmed(bytes, notes);
            None
        }
        (_, None) => {
            let message = "There is no policy to check against. Ask the force for its policy file.";
            notes.add(crate::report::Finding::new(Code::PolicyMissing, Class::Signature, message));
            None
        }
    };
    if policy.is_none() {
        notes.rests_on("nothing: no key has been confirmed by you");
    }
    policy
}

fn confirmed(expected: &Fingerprint, bytes: &[u8], notes: &mut Notes) -> Option<Policy> {
    let policy = parse(bytes, "The bundle's policy", notes)?;
    let found = policy.fingerprint();
    if found == *expected {
        return Some(policy);
    }
    let message =
        format!("The fingerprint you gave is not that of the bundle's policy, which is {found}.");
    notes.note(Code::FingerprintDiffers, Class::Signature, POLICY, message);
    None
}

fn unconfirmed(bytes: &[u8], notes: &mut Notes) {
    let Some(policy) = parse(bytes, "The bundle's policy", notes) else { return };
    let message = format!(
        "The bundle brings its own policy, with the fingerprint {}. Get the force's fingerprint from somewhere else \
         and give it with --fingerprint.",
        policy.fingerprint()
    );
    notes.note(Code::PolicyUnconfirmed, Class::Signature, POLICY, message);
}

fn parse(bytes: &[u8], whose: &str, notes: &mut Notes) -> Option<Policy> {
    let policy = Policy::parse(bytes);
    if let Err(error) = &policy {
        let message = format!("{whose} cannot be read: {error}.");
        notes.add(crate::report::Finding::new(Code::PolicyMalformed, Class::Signature, message));
    }
    policy.ok()
}

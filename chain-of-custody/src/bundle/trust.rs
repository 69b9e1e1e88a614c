//! Whom the reader trusts: a policy obtained apart from the bundle, or the bundle's own once its fingerprint is
//! confirmed. Nothing else ever makes a key count.

use super::layout::POLICY;
use crate::checkpoint::SignedCheckpoint;
use crate::note::{NoteError, VerifierKey};
use crate::policy::{Fingerprint, Policy, PolicyRefusal};
use crate::report::{Class, Code, Notes};
use crate::rotation::Succession;

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

/// Whom a check believes.
#[derive(Debug, Clone)]
pub(super) struct Trusted {
    /// What the reader brought, after the keys in it that were replaced since.
    pub(super) policy: Policy,
    /// Keys that were replaced by one of the policy's.
    pub(super) retired: Vec<VerifierKey>,
}

impl Trusted {
    fn new(brought: &Policy, succession: &Succession, notes: &mut Notes) -> Self {
        let policy = brought.after(succession);
        if policy != *brought {
            say_followed(brought, &policy, succession, notes);
        }
        let retired = policy.logs().iter().flat_map(|log| succession.before(&log.key)).collect();
        Self { policy, retired }
    }

    /// Whether a key of the policy, or one that it replaced, signed a checkpoint; without the quorum.
    pub(super) fn vouches(&self, signed: &SignedCheckpoint) -> Result<(), PolicyRefusal> {
        match self.policy.weigh(signed) {
            Err(PolicyRefusal::UnknownLog) => self.is_by_retired(signed).map(drop),
            weighed => weighed.map(drop),
        }
    }

    /// The replaced key that signed a checkpoint.
    pub(super) fn is_by_retired(
        &self,
        signed: &SignedCheckpoint,
    ) -> Result<VerifierKey, PolicyRefusal> {
        match signed.verify(&self.retired, &[]) {
            Ok(verified) => verified.log_keys.into_iter().next().ok_or(PolicyRefusal::UnknownLog),
            Err(NoteError::BadSignature { key }) => Err(PolicyRefusal::BadSignature { key }),
            Err(_) => Err(PolicyRefusal::UnknownLog),
        }
    }
}

/// The reader confirmed an older key: says through which notes that leads to the one in use, and to which fingerprint.
fn say_followed(brought: &Policy, now: &Policy, succession: &Succession, notes: &mut Notes) {
    for log in brought.logs() {
        for rotation in succession.after(&log.key) {
            notes.rests_on(format!(
                "the key {name}+{old} that you confirmed, and its note of {at} that names {name}+{new} in its place, \
                 signed by both",
                name = rotation.old.name(),
                old = rotation.old.id(),
                new = rotation.new.id(),
                at = rotation.at,
            ));
        }
    }
    notes.rests_on(format!(
        "the fingerprint of the policy being {} now, which you should compare with the one that the force publishes",
        now.fingerprint()
    ));
}

/// Whom to believe, if anybody. `claimed` is the policy in the bundle; `succession` is what notes about replaced keys say.
pub(super) fn resolve(
    trust: &Trust,
    claimed: Option<&[u8]>,
    succession: &Succession,
    notes: &mut Notes,
) -> Option<Trusted> {
    let policy = match (trust, claimed) {
        (Trust::Policy(bytes), _) => parse(bytes, "The policy you gave", notes),
        (Trust::Fingerprint(expected), Some(bytes)) => {
            confirmed(*expected, bytes, succession, notes)
        }
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
    Some(Trusted::new(&policy?, succession, notes))
}

/// The bundle's policy, or the one that it followed, if it has the fingerprint that the reader gave.
fn confirmed(
    expected: Fingerprint,
    bytes: &[u8],
    succession: &Succession,
    notes: &mut Notes,
) -> Option<Policy> {
    let policy = parse(bytes, "The bundle's policy", notes)?;
    let found = policy.fingerprint();
    if found == expected {
        return Some(policy);
    }
    if let Some(older) = policy.predecessor(succession, expected) {
        return Some(older);
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

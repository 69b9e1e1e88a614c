//! The rotation note (`key rotation v1`): one key of a force takes the place of another, signed by both.
//!
//! Here: its text, signing and checking, and what a set of notes says about a key: who followed it, and who came before.
//! Not here: the entry `key.rotated` that carries the note, and where the keys lie. Invariant: nothing is believed of a
//! note that both of its keys did not sign, and no successor is taken from notes that name two for one key.
//! Specified in `docs/formats/rotation.md`.

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::Origin;
use crate::malformed::Malformed;
use crate::note::{KeyType, NoteError, SignedNote, Signer, VerifierKey};
use crate::statement::{Reader, Writer};
use crate::time::Timestamp;

/// The name of the note in the `public` part of a `key.rotated` entry.
pub const PUBLIC_NOTE: &str = "note";
/// Notes that a reader takes together at most: a key a month for twenty years.
pub const MAX_ROTATIONS: usize = 256;

const ROTATION: &str = "key rotation v1";

/// What a key of a force signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyRole {
    /// Checkpoints.
    Log,
    /// Receipts for people, progress receipts, quarantine notices.
    Receipt,
    /// Bundles and completeness statements.
    Bundle,
}

impl KeyRole {
    pub const ALL: [Self; 3] = [Self::Log, Self::Receipt, Self::Bundle];

    /// As notes and entries name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Receipt => "receipt",
            Self::Bundle => "bundle",
        }
    }
}

impl fmt::Display for KeyRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyRole {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or(Malformed::new("role", "it is not log, receipt or bundle"))
    }
}

/// `new` takes the place of `old`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    pub ledger: Origin,
    pub role: KeyRole,
    pub old: VerifierKey,
    pub new: VerifierKey,
    /// By the force's clock.
    pub at: Timestamp,
}

impl Rotation {
    /// Signs the note with the key that goes, then the one that comes.
    ///
    /// # Errors
    /// [`NoteError`]: the keys do not fit together, or cannot sign now.
    pub fn sign(
        ledger: &Origin,
        role: KeyRole,
        old: &dyn Signer,
        new: &dyn Signer,
        at: Timestamp,
    ) -> Result<SignedNote, NoteError> {
        let rotation = Self { ledger: ledger.clone(), role, old: old.vkey(), new: new.vkey(), at };
        rotation.check()?;
        SignedNote::sign(&rotation.to_text(), &[old, new])
    }

    /// Reads a signed note; both keys that it names have signed it.
    ///
    /// # Errors
    /// [`NoteError::Malformed`]; [`NoteError::BadSignature`] and [`NoteError::NoTrustedSignature`] when one of the two
    /// did not sign.
    pub fn read(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = SignedNote::parse(bytes)?;
        let rotation = Self::parse(note.text())?;
        let both = [rotation.old.clone(), rotation.new.clone()];
        let signed = note.verify(&both)?.signed_by.len() == both.len();
        if signed { Ok(rotation) } else { Err(NoteError::NoTrustedSignature) }
    }

    /// The note's text.
    pub fn to_text(&self) -> String {
        Writer::new(ROTATION)
            .line("ledger", &self.ledger)
            .line("role", self.role)
            .line("old", &self.old)
            .line("new", &self.new)
            .line("at", self.at)
            .finish()
    }

    /// Reads the text of a note. Says nothing about who signed it.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut lines = Reader::new(ROTATION, text)?;
        let rotation = Self {
            ledger: lines.parsed("ledger")?,
            role: lines.parsed("role")?,
            old: lines.parsed("old")?,
            new: lines.parsed("new")?,
            at: lines.parsed("at")?,
        };
        lines.end()?;
        rotation.check()?;
        Ok(rotation)
    }

    fn check(&self) -> Result<(), Malformed> {
        let fault = |reason| Err(Malformed::new(ROTATION, reason));
        if [&self.old, &self.new].iter().any(|key| key.key_type() != KeyType::Ed25519) {
            return fault("a key is not of type 0x01");
        }
        if self.old.name() != self.new.name() {
            return fault("the two keys have different names");
        }
        if self.old.public_key() == self.new.public_key() {
            return fault("the two keys are the same");
        }
        if self.role == KeyRole::Log && self.new.name().as_str() != self.ledger.as_str() {
            return fault("a log's key has its ledger's name");
        }
        Ok(())
    }
}

/// What notes about log keys say together. Where they name two successors of one key, none is followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Succession {
    rotations: Vec<Rotation>,
}

impl Succession {
    /// Of those `rotations` that are of a log's key; each once.
    pub fn of(rotations: impl IntoIterator<Item = Rotation>) -> Self {
        let mut kept: Vec<Rotation> = Vec::new();
        for rotation in rotations {
            let same = |known: &Rotation| known.old == rotation.old && known.new == rotation.new;
            let is_new = rotation.role == KeyRole::Log && !kept.iter().any(same);
            if is_new && kept.len() < MAX_ROTATIONS {
                kept.push(rotation);
            }
        }
        Self { rotations: kept }
    }

    /// Keys that two notes give two different successors: one of the notes was not made by the force.
    pub fn contradicted(&self) -> Vec<&VerifierKey> {
        let twice = |one: &&Rotation| self.from(&one.old).count() > 1;
        self.rotations.iter().filter(twice).map(|rotation| &rotation.old).collect()
    }

    /// The notes that lead from `key` to the one in use now, in order. Empty when it is that one.
    pub fn after<'a>(&'a self, key: &'a VerifierKey) -> Vec<&'a Rotation> {
        let mut path: Vec<&Rotation> = Vec::new();
        let mut at = key;
        while path.len() < self.rotations.len() {
            let mut next = self.from(at);
            let (Some(only), None) = (next.next(), next.next()) else { break };
            if only.new == *key || path.iter().any(|seen| seen.new == only.new) {
                break;
            }
            path.push(only);
            at = &only.new;
        }
        path
    }

    /// The keys that came before `key`, the latest first.
    pub fn before(&self, key: &VerifierKey) -> Vec<VerifierKey> {
        let mut found = vec![key.clone()];
        let mut at = 0;
        while let Some(key) = found.get(at).cloned() {
            let older = self.rotations.iter().filter(|rotation| rotation.new == key);
            for rotation in older {
                if !found.contains(&rotation.old) {
                    found.push(rotation.old.clone());
                }
            }
            at += 1;
        }
        found.remove(0);
        found
    }

    fn from<'a>(&'a self, key: &'a VerifierKey) -> impl Iterator<Item = &'a Rotation> {
        self.rotations.iter().filter(move |rotation| rotation.old == *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::SigningKey;

    const ORIGIN: &str = "ledger.example";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(ORIGIN, [seed; 32]).unwrap()
    }

    fn origin() -> Origin {
        Origin::new(ORIGIN).unwrap()
    }

    fn rotation(old: u8, new: u8) -> Rotation {
        let at = "2026-11-22T18:04:05.000Z".parse().unwrap();
        let note = Rotation::sign(&origin(), KeyRole::Log, &key(old), &key(new), at).unwrap();
        Rotation::read(note.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn both_keys_must_have_signed() {
        let made = rotation(1, 2);
        for signers in [[&key(1) as &dyn Signer].as_slice(), &[&key(2)], &[&key(1), &key(3)]] {
            let note = SignedNote::sign(&made.to_text(), signers).unwrap();
            assert!(Rotation::read(note.to_string().as_bytes()).is_err());
        }
        let other = rotation(1, 3).to_text();
        let both = SignedNote::sign(&made.to_text(), &[&key(1), &key(2)]).unwrap().to_string();
        let swapped = both.replace(&made.to_text(), &other);
        assert!(Rotation::read(swapped.as_bytes()).is_err());
    }

    #[test]
    fn keys_must_fit_together() {
        let at = "2026-11-22T18:04:05.000Z".parse().unwrap();
        let sign = |role, old: &SigningKey, new: &SigningKey| {
            Rotation::sign(&origin(), role, old, new, at).is_ok()
        };
        let other = SigningKey::from_seed("other.example", [2; 32]).unwrap();
        let another = SigningKey::from_seed("other.example", [3; 32]).unwrap();
        assert!(sign(KeyRole::Log, &key(1), &key(2)));
        assert!(!sign(KeyRole::Log, &key(1), &key(1)), "the same key");
        assert!(!sign(KeyRole::Log, &key(1), &other), "another name");
        assert!(!sign(KeyRole::Log, &other, &another), "not the ledger's");
        assert!(sign(KeyRole::Receipt, &other, &another));
        let witness = SigningKey::for_cosignatures(ORIGIN, [4; 32]).unwrap();
        assert!(!sign(KeyRole::Log, &key(1), &witness), "another type");
    }

    #[test]
    fn notes_lead_forward_and_back() {
        let notes = Succession::of([rotation(2, 3), rotation(1, 2), rotation(1, 2)]);
        let forward: Vec<_> = notes.after(&key(1).vkey()).iter().map(|r| r.new.clone()).collect();
        assert_eq!(forward, [key(2).vkey(), key(3).vkey()]);
        assert!(notes.after(&key(3).vkey()).is_empty());
        assert_eq!(notes.before(&key(3).vkey()), [key(2).vkey(), key(1).vkey()]);
        assert!(notes.before(&key(1).vkey()).is_empty());
        assert!(notes.contradicted().is_empty());
    }

    #[test]
    fn two_successors_are_none_and_a_circle_ends() {
        let forked = Succession::of([rotation(1, 2), rotation(1, 3)]);
        assert!(forked.after(&key(1).vkey()).is_empty());
        assert_eq!(forked.contradicted().len(), 2);
        let circle = Succession::of([rotation(1, 2), rotation(2, 1)]);
        assert_eq!(circle.after(&key(1).vkey()).len(), 1);
        assert_eq!(circle.before(&key(1).vkey()), [key(2).vkey()]);
    }
}

//! Checkpoints (c2sp.org/tlog-checkpoint) and their cosignatures (c2sp.org/tlog-cosignature, version 1).
//!
//! Here: the text, its signing, and the checking of the log's and the log witnesses' signatures. Not here: who is
//! trusted and how many log witnesses are enough (`policy`), and whether two checkpoints are consistent (`merkle`).
//! Invariant: the text that was signed is the text that is checked; nothing is re-encoded in between.
//! Specified in `docs/formats/ledger.md`.

use std::fmt;
use std::str::FromStr;

use crate::ids::TreeSize;
use crate::malformed::Malformed;
use crate::merkle::{EMPTY_ROOT, Hash};
use crate::note::{
    KeyName, KeyType, NoteError, SIGNATURE_BYTES, SignatureLine, SignedNote, Signer, VerifierKey,
};

const CHECKPOINT: &str = "checkpoint";
const COSIGNATURE: &str = "cosignature";
/// Times from 2^63 on are refused, as the specification says.
const MAX_COSIGNATURE_TIME: u64 = i64::MAX as u64;

/// The ledger's name: first line of a checkpoint and name of the log key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(KeyName);

impl Origin {
    pub fn new(text: &str) -> Result<Self, Malformed> {
        KeyName::new(text).map(Self).map_err(|m| Malformed::new("origin", m.reason))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({})", self.0)
    }
}

impl FromStr for Origin {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::new(text)
    }
}

/// The head of a ledger: its name, how many entries, and the root over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: Origin,
    pub size: TreeSize,
    pub root: Hash,
}

impl Checkpoint {
    /// The note text: three lines.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// Reads the note text. Extension lines are refused: ours never has any, and no log monitor can audit them.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let lines =
            text.strip_suffix('\n').ok_or(Malformed::new(CHECKPOINT, "no newline at the end"))?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(Malformed::new(CHECKPOINT, "it has fewer than three lines"));
        };
        if lines.next().is_some() {
            return Err(Malformed::new(CHECKPOINT, "it has extension lines"));
        }
        let size = parse_decimal(size)
            .ok_or(Malformed::new(CHECKPOINT, "the size is no decimal number"))?;
        let root = Hash::from_base64(root)
            .map_err(|_| Malformed::new(CHECKPOINT, "the root is not 32 bytes of base64"))?;
        if size == 0 && root != EMPTY_ROOT {
            return Err(Malformed::new(CHECKPOINT, "an empty tree with another root"));
        }
        Ok(Self { origin: Origin::new(origin)?, size: TreeSize(size), root })
    }

    /// Signs it as the log. The log's key carries the origin's name and signs nothing else.
    pub fn sign(&self, log: &dyn Signer) -> Result<SignedCheckpoint, NoteError> {
        if log.name() != self.origin.as_str() {
            return Err(NoteError::WrongKeyType { key: log.vkey().name().clone() });
        }
        let note = SignedNote::sign(&self.to_text(), &[log])?;
        Ok(SignedCheckpoint { note, checkpoint: self.clone() })
    }
}

/// A checkpoint as it travels: nothing checked yet but its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: SignedNote,
    checkpoint: Checkpoint,
}

impl SignedCheckpoint {
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let note = SignedNote::parse(bytes)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self { note, checkpoint })
    }

    /// What it claims. Not to be believed before `verify` or a policy accepts it.
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    pub fn note(&self) -> &SignedNote {
        &self.note
    }

    /// Checks the signatures of the log keys and log witnesses that the caller trusts. Accepts only if a log key
    /// that carries the origin's name signed; a trusted key whose signature fails rejects the whole.
    pub fn verify(
        &self,
        logs: &[VerifierKey],
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedCheckpoint, NoteError> {
        let origin = self.checkpoint.origin.as_str();
        let logs: Vec<_> =
            logs.iter().filter(|key| key.name().as_str() == origin).cloned().collect();
        let verified = self.note.verify(&logs)?;
        Ok(VerifiedCheckpoint {
            checkpoint: self.checkpoint.clone(),
            log_keys: verified.signed_by,
            cosignatures: self.verify_cosignatures(witnesses)?,
        })
    }

    /// The good cosignatures by trusted log witnesses, the latest of each.
    pub(crate) fn verify_cosignatures(
        &self,
        witnesses: &[VerifierKey],
    ) -> Result<Vec<VerifiedCosignature>, NoteError> {
        let mut found: Vec<VerifiedCosignature> = Vec::new();
        for line in self.note.signatures() {
            let known = |key: &&VerifierKey| {
                key.key_type() == KeyType::CosignatureV1 && key.is_named_by(line)
            };
            for key in witnesses.iter().filter(known) {
                let bad = || NoteError::BadSignature { key: key.name().clone() };
                let time_unix_s = self.cosigned_at(line, key).ok_or_else(bad)?;
                match found.iter_mut().find(|c| c.witness == *key) {
                    Some(seen) => seen.time_unix_s = seen.time_unix_s.max(time_unix_s),
                    None => found.push(VerifiedCosignature { witness: key.clone(), time_unix_s }),
                }
            }
        }
        Ok(found)
    }

    /// When the log witness `key` cosigned, if `line` is a cosignature of exactly this checkpoint by it.
    pub fn cosigned_at(&self, line: &SignatureLine, key: &VerifierKey) -> Option<u64> {
        let cosignature = Cosignature::parse(line).ok()?;
        let message = Cosignature::message(cosignature.time_unix_s, self.note.text());
        let by_key = key.key_type() == KeyType::CosignatureV1 && key.is_named_by(line);
        (by_key && key.verifies(&message, &cosignature.signature))
            .then_some(cosignature.time_unix_s)
    }

    /// Adds a cosignature that was checked, in place of an earlier one of the same key.
    ///
    /// # Errors
    /// [`Malformed`] when it is no cosignature, or the note has as many signatures as it may have.
    pub fn set_cosignature(&mut self, line: SignatureLine) -> Result<(), Malformed> {
        Cosignature::parse(&line)?;
        self.note.remove_signatures(|old| old.name == line.name && old.key_id == line.key_id);
        self.note.push_signature(line)
    }

    /// The same checkpoint with the signatures of the log alone.
    #[must_use]
    pub fn bare(&self) -> Self {
        let mut bare = self.clone();
        bare.note.remove_signatures(|line| line.name.as_str() != self.checkpoint.origin.as_str());
        bare
    }

    /// Adds a cosignature line as a log witness returned it. Its form is checked, not its signature.
    pub fn add_cosignature(&mut self, line: SignatureLine) -> Result<(), Malformed> {
        Cosignature::parse(&line)?;
        self.note.push_signature(line)
    }

    /// Cosigns as a log witness at `time_unix_s`. The caller has checked consistency with what it cosigned before.
    pub fn cosign(
        &self,
        witness: &dyn Signer,
        time_unix_s: u64,
    ) -> Result<SignatureLine, NoteError> {
        let key = witness.vkey();
        if key.key_type() != KeyType::CosignatureV1 {
            return Err(NoteError::WrongKeyType { key: key.name().clone() });
        }
        if time_unix_s > MAX_COSIGNATURE_TIME {
            return Err(Malformed::new(COSIGNATURE, "the time is beyond 2^63 - 1").into());
        }
        let signature = witness.sign(&Cosignature::message(time_unix_s, self.note.text()))?;
        Ok(SignatureLine::by(&key, Cosignature { time_unix_s, signature }.to_bytes()))
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

impl FromStr for SignedCheckpoint {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text.as_bytes())
    }
}

/// The timestamped signature of a log witness: u64 big-endian POSIX seconds ‖ Ed25519 signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    pub time_unix_s: u64,
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Cosignature {
    /// Reads what a signature line carries after the key id.
    pub fn parse(line: &SignatureLine) -> Result<Self, Malformed> {
        let wrong_length = Malformed::new(COSIGNATURE, "it has not 72 bytes");
        let (time, signature) = line.signature.split_first_chunk::<8>().ok_or(wrong_length)?;
        let signature = signature.try_into().map_err(|_| wrong_length)?;
        let time_unix_s = u64::from_be_bytes(*time);
        if time_unix_s > MAX_COSIGNATURE_TIME {
            return Err(Malformed::new(COSIGNATURE, "the time is beyond 2^63 - 1"));
        }
        Ok(Self { time_unix_s, signature })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        [self.time_unix_s.to_be_bytes().as_slice(), &self.signature].concat()
    }

    /// The bytes a log witness signs: two lines, then the whole note text.
    pub fn message(time_unix_s: u64, note_text: &str) -> Vec<u8> {
        format!("cosignature/v1\ntime {time_unix_s}\n{note_text}").into_bytes()
    }
}

/// A checkpoint that a trusted log key signed, with the trusted log witnesses that cosigned it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    pub checkpoint: Checkpoint,
    pub log_keys: Vec<VerifierKey>,
    pub cosignatures: Vec<VerifiedCosignature>,
}

/// A good cosignature: this log witness had seen this head, and no larger one, at this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCosignature {
    pub witness: VerifierKey,
    pub time_unix_s: u64,
}

/// A decimal number without sign or leading zeroes.
pub fn parse_decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

//! The policy file (c2sp.org/tlog-policy): the one root of trust of every check.
//!
//! Here: reading it, its fingerprint, and deciding what a checkpoint rests on. Not here: the keys of other roles,
//! which count only through a `key.published` entry under a checkpoint that this policy accepts.
//! Invariant: a checkpoint is accepted only if a listed log signed it under its own name and the quorum of log
//! witnesses confirmed it. Specified in `docs/formats/policy.md`.

mod parse;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::checkpoint::{Checkpoint, SignedCheckpoint, VerifiedCosignature};
use crate::digest::Sha256;
use crate::malformed::Malformed;
use crate::note::{KeyName, KeyType, NoteError, VerifierKey};
use crate::rotation::Succession;

/// Bytes of a policy file at most.
pub const MAX_POLICY_BYTES: usize = 64 * 1024;
/// Logs, witnesses and groups in one policy, of each at most. The specification asks for at least 32.
pub const MAX_DEFINITIONS: usize = 64;

const POLICY: &str = "policy file";
/// What a policy of ours calls the group of its log witnesses.
const ALL_WITNESSES: &str = "log-witnesses";

/// A name inside a policy file: any bytes but white space and control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(Vec<u8>);

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyName({self})")
    }
}

/// A log whose checkpoints count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its name is the ledger's origin.
    pub key: VerifierKey,
    pub url: Option<String>,
}

/// A log witness whose cosignatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    pub name: PolicyName,
    pub key: VerifierKey,
    pub url: Option<String>,
}

/// Confirms a checkpoint when at least `threshold` of its members do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<PolicyName>,
}

/// Which confirmations are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quorum {
    /// None: the log's signature alone.
    None,
    /// That of this witness or group.
    Named(PolicyName),
}

/// Whom a verifier trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    bytes: Vec<u8>,
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: BTreeMap<PolicyName, Group>,
    quorum: Quorum,
}

/// Why a checkpoint is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefusal {
    /// No log of the policy signed it: cannot tell.
    #[error("no log of the policy signed this checkpoint")]
    UnknownLog,
    /// The signature of a key in the policy does not fit: a mismatch.
    #[error("the signature of {key} does not fit the checkpoint")]
    BadSignature { key: KeyName },
    /// Too few log witnesses of the policy confirmed it: cannot tell.
    #[error(
        "the quorum is not met: {confirmed} of {known} log witnesses confirmed this checkpoint"
    )]
    QuorumNotMet { confirmed: usize, known: usize },
}

impl Policy {
    /// Reads a policy file.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        parse::parse(bytes)
    }

    /// A policy that trusts one log and asks for no witness: what `keys publish` prints at first, and what a dock
    /// agent pins.
    pub fn of_log(key: &VerifierKey) -> Result<Self, Malformed> {
        Self::parse(format!("log {key}\nquorum none\n").as_bytes())
    }

    /// A policy that trusts one log and lists log witnesses under the names of their keys, `quorum` of which must
    /// confirm a checkpoint; 0 asks for none.
    ///
    /// # Errors
    /// [`Malformed`]: two of one name, a key of another type, a quorum above their number.
    pub fn of_force(
        log: &VerifierKey,
        witnesses: &[VerifierKey],
        quorum: usize,
    ) -> Result<Self, Malformed> {
        let mut text = format!("log {log}\n");
        let mut names = String::new();
        for key in witnesses {
            let name = key.name();
            text += &format!("witness {name} {key}\n");
            names += &format!(" {name}");
        }
        text += &match quorum {
            0 => "quorum none\n".to_owned(),
            _ => format!("group {ALL_WITNESSES} {quorum}{names}\nquorum {ALL_WITNESSES}\n"),
        };
        Self::parse(text.as_bytes())
    }

    /// The file as it was read, byte for byte.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the force publishes apart from any bundle, so that others recognise this file.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::of(&self.bytes))
    }

    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    /// Decides whether a checkpoint counts, and says what that rests on.
    ///
    /// # Errors
    /// [`PolicyRefusal`].
    pub fn accept(&self, signed: &SignedCheckpoint) -> Result<AcceptedCheckpoint, PolicyRefusal> {
        let weighed = self.weigh(signed)?;
        let (confirmed, known) =
            (weighed.rests_on.cosigned.len(), weighed.rests_on.known_witnesses);
        let met = self.is_met(&weighed.rests_on.cosigned);
        met.then_some(weighed).ok_or(PolicyRefusal::QuorumNotMet { confirmed, known })
    }

    /// The same without the quorum: who asks only whether the force stands by it, and says what that rests on. A dock
    /// agent does, and the force of its own ledger: a log witness that is away holds nothing back.
    ///
    /// # Errors
    /// [`PolicyRefusal`], never `QuorumNotMet`.
    pub fn weigh(&self, signed: &SignedCheckpoint) -> Result<AcceptedCheckpoint, PolicyRefusal> {
        let logs: Vec<_> = self.logs.iter().map(|log| log.key.clone()).collect();
        let witnesses: Vec<_> = self.witnesses.iter().map(|witness| witness.key.clone()).collect();
        let verified = signed.verify(&logs, &witnesses).map_err(|error| match error {
            NoteError::BadSignature { key } => PolicyRefusal::BadSignature { key },
            _ => PolicyRefusal::UnknownLog,
        })?;
        let cosigned: Vec<_> = verified
            .cosignatures
            .iter()
            .filter_map(|cosignature| self.cosigned_by(cosignature))
            .collect();
        let known_witnesses = self.witnesses.len();
        let rests_on = RestsOn { origin_keys: verified.log_keys, cosigned, known_witnesses };
        Ok(AcceptedCheckpoint { checkpoint: verified.checkpoint, rests_on })
    }

    /// Whether the quorum confirmed a checkpoint of one of the policy's ledgers, whichever key of that ledger signed it: for
    /// one from before the key was replaced. A policy without a quorum confirms nothing.
    ///
    /// # Errors
    /// [`PolicyRefusal`].
    pub fn accept_by_quorum(
        &self,
        signed: &SignedCheckpoint,
    ) -> Result<AcceptedCheckpoint, PolicyRefusal> {
        let checkpoint = signed.unverified();
        let is_ours = |log: &PolicyLog| log.key.name().as_str() == checkpoint.origin.as_str();
        if self.quorum == Quorum::None || !self.logs.iter().any(is_ours) {
            return Err(PolicyRefusal::UnknownLog);
        }
        let witnesses: Vec<_> = self.witnesses.iter().map(|witness| witness.key.clone()).collect();
        let cosigned = signed.verify_cosignatures(&witnesses).map_err(|error| match error {
            NoteError::BadSignature { key } => PolicyRefusal::BadSignature { key },
            _ => PolicyRefusal::UnknownLog,
        })?;
        let cosigned: Vec<_> = cosigned.iter().filter_map(|c| self.cosigned_by(c)).collect();
        let (confirmed, known) = (cosigned.len(), self.witnesses.len());
        if !self.is_met(&cosigned) {
            return Err(PolicyRefusal::QuorumNotMet { confirmed, known });
        }
        let rests_on = RestsOn { origin_keys: Vec::new(), cosigned, known_witnesses: known };
        Ok(AcceptedCheckpoint { checkpoint: checkpoint.clone(), rests_on })
    }

    /// The policy with the key of each log replaced by its last successor; all else stays byte for byte, so that it is
    /// the file that the force publishes now, unless that changes something else too.
    #[must_use]
    pub fn after(&self, succession: &Succession) -> Self {
        let replaced = self.logs.iter().fold(self.clone(), |policy, log| {
            match succession.after(&log.key).last() {
                Some(last) => policy.with_log(&log.key, &last.new),
                None => policy,
            }
        });
        // Two logs that became one make no policy: nothing was followed.
        Self::parse(&replaced.bytes).unwrap_or_else(|_| self.clone())
    }

    /// The policy that this one followed, if it is one of those that `succession` leads to this one from.
    pub fn predecessor(&self, succession: &Succession, fingerprint: Fingerprint) -> Option<Self> {
        let older = |log: &PolicyLog| {
            let keys = succession.before(&log.key).into_iter();
            keys.map(|key| self.with_log(&log.key, &key)).collect::<Vec<_>>()
        };
        let mut all = self.logs.iter().flat_map(older);
        let found = all.find(|policy| policy.fingerprint() == fingerprint)?;
        let found = Self::parse(&found.bytes).ok()?;
        (found.after(succession) == *self).then_some(found)
    }

    /// The same file with another key in a log's line.
    fn with_log(&self, key: &VerifierKey, other: &VerifierKey) -> Self {
        let (from, to) = (key.to_string(), other.to_string());
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for line in self.bytes.split_inclusive(|byte| *byte == b'\n') {
            match std::str::from_utf8(line) {
                Ok(text) if text.split_ascii_whitespace().next() == Some("log") => {
                    bytes.extend_from_slice(text.replacen(&from, &to, 1).as_bytes());
                }
                _ => bytes.extend_from_slice(line),
            }
        }
        Self { bytes, ..self.clone() }
    }

    fn cosigned_by(&self, cosignature: &VerifiedCosignature) -> Option<CosignedBy> {
        let witness = self.witnesses.iter().find(|witness| witness.key == cosignature.witness)?;
        Some(CosignedBy {
            name: witness.name.clone(),
            key: witness.key.clone(),
            time_unix_s: cosignature.time_unix_s,
        })
    }

    fn is_met(&self, cosigned: &[CosignedBy]) -> bool {
        match &self.quorum {
            Quorum::None => true,
            Quorum::Named(name) => self.confirms(name, cosigned),
        }
    }

    /// A group names only what stands above it in the file, so this ends.
    fn confirms(&self, name: &PolicyName, cosigned: &[CosignedBy]) -> bool {
        match self.groups.get(name) {
            Some(group) => {
                let confirming =
                    group.members.iter().filter(|member| self.confirms(member, cosigned));
                confirming.count() >= group.threshold
            }
            None => cosigned.iter().any(|by| by.name == *name),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.bytes))
    }
}

/// A checkpoint that a policy accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedCheckpoint {
    pub checkpoint: Checkpoint,
    pub rests_on: RestsOn,
}

/// A log witness's confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignedBy {
    /// Its name in the policy file.
    pub name: PolicyName,
    pub key: VerifierKey,
    pub time_unix_s: u64,
}

/// What an accepted checkpoint rests on. Every report says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestsOn {
    /// The log keys of the policy that signed.
    pub origin_keys: Vec<VerifierKey>,
    /// The log witnesses of the policy that confirmed.
    pub cosigned: Vec<CosignedBy>,
    /// How many log witnesses the policy lists.
    pub known_witnesses: usize,
}

impl RestsOn {
    /// Whether nobody outside the force has confirmed the ledger.
    pub fn is_log_alone(&self) -> bool {
        self.cosigned.is_empty()
    }

    /// In words for a report, one sentence each.
    pub fn sentences(&self) -> Vec<String> {
        let keys: Vec<String> =
            self.origin_keys.iter().map(|key| format!("{}+{}", key.name(), key.id())).collect();
        let keys = keys.join(", ");
        if self.origin_keys.is_empty() {
            return vec![self.witnesses_in_words()];
        }
        if self.is_log_alone() {
            return vec![format!(
                "the force's key alone ({keys}): nobody outside the force has confirmed this ledger"
            )];
        }
        vec![format!("the force's key ({keys})"), self.witnesses_in_words()]
    }

    fn witnesses_in_words(&self) -> String {
        let names: Vec<String> = self.cosigned.iter().map(|by| by.name.to_string()).collect();
        let (count, known) = (names.len(), self.known_witnesses);
        format!("{count} of {known} log witnesses ({})", names.join(", "))
    }
}

/// SHA-256 of the policy file, printed as eight groups of eight hexadecimal characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub Sha256);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.0.as_bytes().chunks(4).enumerate() {
            let separator = if i == 0 { "" } else { "-" };
            write!(f, "{separator}{}", hex::encode(group))?;
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = Malformed;

    /// Reads 64 hexadecimal characters as people type them: in either case, with spaces, hyphens or colons between.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | ':')).collect();
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes)
            .map_err(|_| Malformed::new("fingerprint", "it is not 64 hexadecimal characters"))?;
        Ok(Self(Sha256(bytes)))
    }
}

/// Whether a key is of the kind its role needs.
fn check_role(key: &VerifierKey, needed: KeyType, reason: &'static str) -> Result<(), Malformed> {
    if key.key_type() == needed { Ok(()) } else { Err(Malformed::new(POLICY, reason)) }
}

//! `add-checkpoint`: reading and writing the request, and what a log witness makes of it.

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::{Checkpoint, SignedCheckpoint, parse_decimal};
use crate::ids::TreeSize;
use crate::malformed::Malformed;
use crate::merkle::{ConsistencyProof, Hash, ProofError};
use crate::note::VerifierKey;

/// Lines of a consistency proof in one request, as the specification says.
pub const MAX_PROOF_LINES: usize = 63;
/// Bytes of one request.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

const REQUEST: &str = "add-checkpoint request";

/// A request to cosign a checkpoint, with the proof that it extends an older one. Nothing is checked yet but its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the log witness is believed to have cosigned last; 0 for none.
    pub old: TreeSize,
    /// The consistency proof from `old` to the checkpoint.
    pub path: Vec<Hash>,
    pub checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    /// A request from a proof and the checkpoint that it leads to.
    ///
    /// # Errors
    /// [`Malformed`] when the proof leads to another size, or is longer than a request may be.
    pub fn new(proof: ConsistencyProof, checkpoint: SignedCheckpoint) -> Result<Self, Malformed> {
        if proof.new != checkpoint.unverified().size {
            return Err(fault("the proof is for another size than the checkpoint"));
        }
        if proof.path.len() > MAX_PROOF_LINES {
            return Err(fault("too many proof lines"));
        }
        Ok(Self { old: proof.old, path: proof.path, checkpoint })
    }

    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(fault("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| fault("it is not UTF-8"))?;
        let (head, checkpoint) =
            text.split_once("\n\n").ok_or(fault("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(parse_decimal);
        let old = old.ok_or(fault("the first line is not old and a decimal number"))?;
        let lines: Vec<&str> = lines.take(MAX_PROOF_LINES + 1).collect();
        if lines.len() > MAX_PROOF_LINES {
            return Err(fault("too many proof lines"));
        }
        let hash = |line: &&str| {
            Hash::from_base64(line).map_err(|_| fault("a proof line is not 32 bytes of base64"))
        };
        let path = lines.iter().map(hash).collect::<Result<_, _>>()?;
        let checkpoint = SignedCheckpoint::parse(checkpoint.as_bytes())?;
        Ok(Self { old: TreeSize(old), path, checkpoint })
    }

    fn proof(&self) -> ConsistencyProof {
        let new = self.checkpoint.unverified().size;
        ConsistencyProof { old: self.old, new, path: self.path.clone() }
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for AddCheckpoint {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text.as_bytes())
    }
}

/// Why a log witness does not cosign. Each variant is one answer of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("no log of this origin is known here")]
    UnknownLog,
    #[error("no key that is trusted for this log signed the checkpoint")]
    Untrusted,
    #[error("the old size is above the checkpoint's")]
    OldBeyond,
    #[error("the checkpoint cosigned last has {held} entries")]
    Conflict { held: TreeSize },
    #[error("another checkpoint of {size} entries was cosigned: there are two histories")]
    OtherRoot { size: TreeSize },
    #[error("the proof does not show that the checkpoint extends the one cosigned last: {0}")]
    Inconsistent(ProofError),
}

impl Refused {
    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::OldBeyond => 400,
            Self::Untrusted => 403,
            Self::UnknownLog => 404,
            Self::Conflict { .. } => 409,
            Self::OtherRoot { .. } | Self::Inconsistent(_) => 422,
        }
    }

    /// Whether the request may show that the log misbehaves: its own key signed it, and it contradicts what it signed.
    pub const fn is_evidence(&self) -> bool {
        matches!(self, Self::OtherRoot { .. } | Self::Inconsistent(_))
    }
}

/// Decides whether a log witness may cosign.
///
/// `trusted`: its keys for the request's origin, none when it does not know that log. `held`: the checkpoint it cosigned
/// last for it. Whoever calls keeps the new checkpoint durably, in one step with this decision, before it answers.
///
/// # Errors
/// [`Refused`], by the first check that fails, in the order of the specification.
pub fn decide(
    request: &AddCheckpoint,
    trusted: &[VerifierKey],
    held: Option<&Checkpoint>,
) -> Result<(), Refused> {
    if trusted.is_empty() {
        return Err(Refused::UnknownLog);
    }
    request.checkpoint.verify(trusted, &[]).map_err(|_| Refused::Untrusted)?;
    let new = request.checkpoint.unverified();
    if request.old > new.size {
        return Err(Refused::OldBeyond);
    }
    let held_size = held.map_or(TreeSize(0), |held| held.size);
    if request.old != held_size {
        return Err(Refused::Conflict { held: held_size });
    }
    let held_root = held.map_or(crate::merkle::EMPTY_ROOT, |held| held.root);
    if new.size == held_size && new.root != held_root {
        return Err(Refused::OtherRoot { size: new.size });
    }
    request.proof().verify(&held_root, &new.root).map_err(Refused::Inconsistent)
}

const fn fault(reason: &'static str) -> Malformed {
    Malformed::new(REQUEST, reason)
}

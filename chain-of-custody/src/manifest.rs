//! The dock manifest (`dock manifest v1`): what a dock agent signs about one clip it read.
//!
//! Here: its text, signing and checking. Not here: whether the bytes that arrived fit it (`ingest`).
//! Invariant: it says what the agent read, never what the camera recorded; the agent's counter and the camera's
//! are two lines and never merged. Specified in `docs/formats/statements.md`.

use crate::checkpoint::parse_decimal;
use crate::claim::{CapturedClaimed, GivenName, Label, known, or_unknown};
use crate::digest::{Digests, Sha256};
use crate::malformed::Malformed;
use crate::note::{NoteError, SignedNote, Signer, VerifierKey};
use crate::statement::{Reader, Writer};

const MANIFEST: &str = "dock manifest v1";

/// What the dock agent read from the camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockManifest {
    /// The file's name on the camera.
    pub name: GivenName,
    pub size_bytes: u64,
    pub digests: Digests,
    /// The camera's serial.
    pub camera: Option<Label>,
    /// The recording's id.
    pub recording: Option<Label>,
    /// By the camera's clock.
    pub captured_claimed: Option<CapturedClaimed>,
    /// The agent's own counter; a gap was lost after the agent read it.
    pub agent_seq: u64,
    /// The camera's own counter, where it has one.
    pub source_seq: Option<Label>,
}

impl DockManifest {
    /// The note text.
    pub fn to_text(&self) -> String {
        Writer::new(MANIFEST)
            .line("name", &self.name)
            .line("bytes", self.size_bytes)
            .line("sha256", self.digests.sha256)
            .line("blake3", self.digests.blake3)
            .line("camera", or_unknown(self.camera.as_ref()))
            .line("recording", or_unknown(self.recording.as_ref()))
            .line("captured-claimed", or_unknown(self.captured_claimed.as_ref()))
            .line("agent-seq", self.agent_seq)
            .line("source-seq", or_unknown(self.source_seq.as_ref()))
            .finish()
    }

    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut lines = Reader::new(MANIFEST, text)?;
        let manifest = Self {
            name: lines.parsed("name")?,
            size_bytes: lines.read("bytes", parse_decimal)?,
            digests: Digests { sha256: lines.parsed("sha256")?, blake3: lines.parsed("blake3")? },
            camera: lines.read("camera", known)?,
            recording: lines.read("recording", known)?,
            captured_claimed: lines.read("captured-claimed", known)?,
            agent_seq: lines.read("agent-seq", parse_decimal)?,
            source_seq: lines.read("source-seq", known)?,
        };
        lines.end()?;
        Ok(manifest)
    }

    /// Signs it as the dock agent.
    pub fn sign(&self, agent: &dyn Signer) -> Result<SignedManifest, NoteError> {
        Ok(SignedManifest {
            note: SignedNote::sign(&self.to_text(), &[agent])?,
            manifest: self.clone(),
        })
    }
}

/// A dock manifest as it travels: nothing checked yet but its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    note: SignedNote,
    manifest: DockManifest,
}

impl SignedManifest {
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let note = SignedNote::parse(bytes)?;
        let manifest = DockManifest::parse(note.text())?;
        Ok(Self { note, manifest })
    }

    /// What it claims, whoever wrote it.
    pub fn unverified(&self) -> &DockManifest {
        &self.manifest
    }

    /// Checks it against the keys that dock agents have registered.
    pub fn verify(&self, agents: &[VerifierKey]) -> Result<&DockManifest, NoteError> {
        self.note.verify(agents)?;
        Ok(&self.manifest)
    }

    /// The digest that an entry commits to: of the whole note as it travels.
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(self.note.to_string().as_bytes())
    }
}

impl std::fmt::Display for SignedManifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.note.fmt(f)
    }
}

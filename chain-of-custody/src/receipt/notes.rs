//! The signed notes for people: item receipt, progress receipt, quarantine notice.

use crate::checkpoint::{Origin, parse_decimal};
use crate::claim::{CameraSignature, CapturedClaimed, ClockState, Label, known, or_unknown};
use crate::digest::Digests;
use crate::entry::{Entry, Opening};
use crate::event::field;
use crate::ids::{ItemId, LeafIndex, UploadId};
use crate::malformed::Malformed;
use crate::note::{NoteError, SignedNote, Signer, VerifierKey};
use crate::statement::{Reader, Writer};
use crate::time::Timestamp;

use super::{VerifiedReceipt, opened};

const ITEM_RECEIPT: &str = "item receipt v1";
const PROGRESS: &str = "progress receipt v1";
const QUARANTINE: &str = "quarantine notice v1";

macro_rules! signed_statement {
    ($name:ident) => {
        impl $name {
            /// Signs it with the receipt key.
            pub fn sign(&self, signer: &dyn Signer) -> Result<SignedNote, NoteError> {
                SignedNote::sign(&self.to_text(), &[signer])
            }

            /// Reads a signed note and checks it against the receipt keys the caller trusts.
            pub fn verify(note: &SignedNote, trusted: &[VerifierKey]) -> Result<Self, NoteError> {
                Ok(Self::parse(note.verify(trusted)?.text)?)
            }
        }
    };
}

signed_statement!(ReceiptText);
signed_statement!(ProgressReceipt);
signed_statement!(QuarantineNotice);

/// `receipt.txt`: what the proof beside it proves, for people. It adds nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptText {
    pub ledger: Origin,
    pub item: ItemId,
    /// Dock agent or door.
    pub read_by: Label,
    pub camera: Option<Label>,
    pub captured_claimed: Option<CapturedClaimed>,
    pub camera_signature: CameraSignature,
    pub size_bytes: u64,
    pub digests: Digests,
    pub received: Timestamp,
    pub clock: ClockState,
    /// In separate failure domains, as configured.
    pub copies: u64,
    pub entry: LeafIndex,
}

impl ReceiptText {
    /// The text that belongs to an entry and its openings; refused by the name of the field that is missing or
    /// does not fit, and `state` if the entry says another state than stored: that gets a quarantine notice.
    pub fn from_entry(
        ledger: &Origin,
        leaf_index: LeafIndex,
        entry: &Entry,
        openings: &[Opening],
    ) -> Result<Self, Malformed> {
        let fields = Fields { format: ITEM_RECEIPT, entry, openings };
        if opened(openings, field::STATE).is_some_and(|state| state != "stored") {
            return Err(Malformed::new(ITEM_RECEIPT, field::STATE));
        }
        Ok(Self {
            ledger: ledger.clone(),
            item: fields.item()?,
            read_by: fields.parsed(field::READ_BY)?,
            camera: fields.read(field::CAMERA, known)?,
            captured_claimed: fields.read(field::CAPTURED_CLAIMED, known)?,
            camera_signature: fields.parsed(field::CAMERA_SIGNATURE)?,
            size_bytes: fields.read(field::SIZE_BYTES, parse_decimal)?,
            digests: fields.digests()?,
            received: entry.at,
            clock: fields.parsed(field::CLOCK)?,
            copies: fields.read(field::COPIES, parse_decimal)?,
            entry: leaf_index,
        })
    }

    /// Whether it says exactly what the proof proves.
    pub fn agrees_with(&self, proved: &VerifiedReceipt) -> bool {
        let ledger = &proved.checkpoint.origin;
        Self::from_entry(ledger, proved.leaf_index, &proved.entry, &proved.openings).as_ref()
            == Ok(self)
    }

    /// The note text.
    pub fn to_text(&self) -> String {
        Writer::new(ITEM_RECEIPT)
            .line("ledger", &self.ledger)
            .line("item", self.item)
            .line("read-by", &self.read_by)
            .line("camera", or_unknown(self.camera.as_ref()))
            .line("captured-claimed", or_unknown(self.captured_claimed.as_ref()))
            .line("camera-signature", self.camera_signature)
            .line("bytes", self.size_bytes)
            .line("sha256", self.digests.sha256)
            .line("blake3", self.digests.blake3)
            .line("received", self.received)
            .line("clock", &self.clock)
            .line("copies", self.copies)
            .line("entry", self.entry)
            .finish()
    }

    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut lines = Reader::new(ITEM_RECEIPT, text)?;
        let receipt = Self {
            ledger: lines.parsed("ledger")?,
            item: lines.parsed("item")?,
            read_by: lines.parsed("read-by")?,
            camera: lines.read("camera", known)?,
            captured_claimed: lines.read("captured-claimed", known)?,
            camera_signature: lines.parsed("camera-signature")?,
            size_bytes: lines.read("bytes", parse_decimal)?,
            digests: read_digests(&mut lines)?,
            received: lines.parsed("received")?,
            clock: lines.parsed("clock")?,
            copies: lines.read("copies", parse_decimal)?,
            entry: LeafIndex(lines.read("entry", parse_decimal)?),
        };
        lines.end()?;
        Ok(receipt)
    }
}

/// The bytes held so far of an unfinished upload: proof even if the camera is lost half-way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressReceipt {
    pub ledger: Origin,
    pub upload: UploadId,
    /// Bytes held durably, from the first on.
    pub held_bytes: u64,
    /// Of exactly those bytes.
    pub digests: Digests,
    /// By the server's clock.
    pub at: Timestamp,
}

impl ProgressReceipt {
    /// The note text.
    pub fn to_text(&self) -> String {
        Writer::new(PROGRESS)
            .line("ledger", &self.ledger)
            .line("upload", self.upload)
            .line("bytes", self.held_bytes)
            .line("sha256", self.digests.sha256)
            .line("blake3", self.digests.blake3)
            .line("at", self.at)
            .finish()
    }

    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut lines = Reader::new(PROGRESS, text)?;
        let receipt = Self {
            ledger: lines.parsed("ledger")?,
            upload: lines.parsed("upload")?,
            held_bytes: lines.read("bytes", parse_decimal)?,
            digests: read_digests(&mut lines)?,
            at: lines.parsed("at")?,
        };
        lines.end()?;
        Ok(receipt)
    }
}

/// Said in place of a receipt when a claim failed: the bytes are kept, and the camera's copy must stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineNotice {
    pub ledger: Origin,
    pub item: ItemId,
    pub read_by: Label,
    /// Why: a code of the documentation, such as `manifest-differs`.
    pub reason_code: Label,
    pub size_bytes: u64,
    /// Of the bytes that arrived.
    pub digests: Digests,
    pub received: Timestamp,
    pub entry: LeafIndex,
}

impl QuarantineNotice {
    /// The notice that belongs to an entry and its openings; refused by the name of the field that is missing or
    /// does not fit, or `state` if the entry says another state than quarantined.
    pub fn from_entry(
        ledger: &Origin,
        leaf_index: LeafIndex,
        entry: &Entry,
        openings: &[Opening],
    ) -> Result<Self, Malformed> {
        let fields = Fields { format: QUARANTINE, entry, openings };
        fields.read(field::STATE, |state| (state == "quarantined").then_some(()))?;
        Ok(Self {
            ledger: ledger.clone(),
            item: fields.item()?,
            read_by: fields.parsed(field::READ_BY)?,
            reason_code: fields.parsed(field::REASON_CODE)?,
            size_bytes: fields.read(field::SIZE_BYTES, parse_decimal)?,
            digests: fields.digests()?,
            received: entry.at,
            entry: leaf_index,
        })
    }

    /// The note text.
    pub fn to_text(&self) -> String {
        Writer::new(QUARANTINE)
            .line("ledger", &self.ledger)
            .line("item", self.item)
            .line("read-by", &self.read_by)
            .line("reason", &self.reason_code)
            .line("bytes", self.size_bytes)
            .line("sha256", self.digests.sha256)
            .line("blake3", self.digests.blake3)
            .line("received", self.received)
            .line("entry", self.entry)
            .finish()
    }

    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut lines = Reader::new(QUARANTINE, text)?;
        let notice = Self {
            ledger: lines.parsed("ledger")?,
            item: lines.parsed("item")?,
            read_by: lines.parsed("read-by")?,
            reason_code: lines.parsed("reason")?,
            size_bytes: lines.read("bytes", parse_decimal)?,
            digests: read_digests(&mut lines)?,
            received: lines.parsed("received")?,
            entry: LeafIndex(lines.read("entry", parse_decimal)?),
        };
        lines.end()?;
        Ok(notice)
    }
}

fn read_digests(lines: &mut Reader<'_>) -> Result<Digests, Malformed> {
    Ok(Digests { sha256: lines.parsed("sha256")?, blake3: lines.parsed("blake3")? })
}

/// An entry's opened fields; a fault carries the name of the field.
struct Fields<'a> {
    format: &'static str,
    entry: &'a Entry,
    openings: &'a [Opening],
}

impl Fields<'_> {
    fn read<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Malformed> {
        opened(self.openings, name).and_then(read).ok_or(Malformed::new(self.format, name))
    }

    fn parsed<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, Malformed> {
        self.read(name, |value| value.parse().ok())
    }

    fn digests(&self) -> Result<Digests, Malformed> {
        Ok(Digests { sha256: self.parsed(field::SHA256)?, blake3: self.parsed(field::BLAKE3)? })
    }

    fn item(&self) -> Result<ItemId, Malformed> {
        let item = self.entry.subjects.iter().find_map(|subject| subject.id.item());
        item.ok_or(Malformed::new(self.format, "item"))
    }
}

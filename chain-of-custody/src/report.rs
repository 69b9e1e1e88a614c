//! What a check says: coded findings, and per file and overall one of match, mismatch and cannot-tell.
//!
//! Here: the codes with their effect, and the fixed sentences that explain each kind of check. Not here: the checks
//! (`bundle`). Invariant: a report never says more than its findings do. The overall result is the worst of them,
//! a file's result is never changed by a finding about presentation, and no text says who or why.
//! Specified in `docs/formats/report.md`.

use std::fmt;
use std::ops::Range;

use crate::ids::ItemId;
use crate::time::Timestamp;

/// The most findings a report lists: a hostile bundle must not fill a disk with complaints.
pub const MAX_FINDINGS: usize = 10_000;

/// The result of a file, or of everything together. Later is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Byte for byte what the force recorded as received, and the record fits the ledger.
    Match,
    /// Something needed is missing, usually trust. Neither good nor bad news.
    CannotTell,
    /// This copy differs from what was recorded.
    Mismatch,
}

impl Outcome {
    /// As JSON and people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::CannotTell => "cannot-tell",
            Self::Mismatch => "mismatch",
        }
    }

    /// The exit code of a program that ends with this result.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Match => 0,
            Self::Mismatch => 1,
            Self::CannotTell => 2,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The originals.
    Footage,
    /// Viewing copies and whatever else was made from an original.
    Derivative,
    /// Entries, openings, proofs, lists of digests.
    Record,
    /// Keys, signatures, trust.
    Signature,
    /// Pages and texts for people. Never changes a footage result.
    Presentation,
}

impl Class {
    /// As JSON and people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Footage => "footage",
            Self::Derivative => "derivative",
            Self::Record => "record",
            Self::Signature => "signature",
            Self::Presentation => "presentation",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! codes {
    ($($variant:ident = $name:literal $outcome:ident $meaning:literal),+ $(,)?) => {
        /// What a check found. Each code has one fixed effect.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $meaning] $variant),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As JSON has it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What this finding makes of the overall result.
            pub const fn outcome(self) -> Outcome {
                match self { $(Self::$variant => Outcome::$outcome),+ }
            }

            /// One line of documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }
        }
    };
}

codes! {
    // The container, before anything in it is believed
    NotABundle = "not-a-bundle" CannotTell "there is no bagit.txt of BagIt 1.0 here",
    Unreadable = "unreadable" CannotTell "a file could not be read",
    TooLarge = "too-large" CannotTell "a limit of this checker is exceeded; the message names it",
    ZipMalformed = "zip-malformed" CannotTell "the ZIP is damaged or of a form that this checker does not read",
    ZipCompressed = "zip-compressed" CannotTell "an entry of the ZIP is compressed; bundles store entries as they are",
    ZipOverlap = "zip-overlap" Mismatch "entries of the ZIP overlap, or bytes lie between them",
    NameTwice = "name-twice" Mismatch "two files have one name, or names that differ in case only",
    NameLeavesFolder = "name-leaves-folder" Mismatch "a name is absolute, or leads out of the bundle",
    NameUnsafe = "name-unsafe" Mismatch "a name holds characters that bundles do not have",
    Symlink = "symlink" Mismatch "a link, or something else that is not a plain file, lies in the bundle",
    // The lists
    FileMissing = "file-missing" Mismatch "a file that a list names is not there",
    FileUnlisted = "file-unlisted" Mismatch "a file is there that no list names",
    ListMissing = "list-missing" CannotTell "a list that every bundle has is not there",
    ListMalformed = "list-malformed" Mismatch "a list is not of its form",
    ListDiffers = "list-differs" Mismatch "a file's digest differs from the one in a list",
    // Who signed the hand-over
    SignatureMissing = "signature-missing" CannotTell "the hand-over is not signed",
    SignatureMalformed = "signature-malformed" Mismatch "the signature file is not an Ed25519 SSH signature for bundles",
    SignatureFails = "signature-fails" Mismatch "the signature does not fit the list of files",
    SignatureUnknownKey = "signature-unknown-key" CannotTell "the key that signed is not shown to be the force's",
    SignatureOtherKey = "signature-other-key" Mismatch "the key that signed is not the one that the ledger publishes for bundles",
    // Trust
    PolicyMissing = "policy-missing" CannotTell "no policy was given, and none is in the bundle",
    PolicyUnconfirmed = "policy-unconfirmed" CannotTell "the bundle's own policy counts only when its fingerprint is confirmed",
    PolicyMalformed = "policy-malformed" CannotTell "the policy is not of its form",
    FingerprintDiffers = "fingerprint-differs" CannotTell "the fingerprint given is not that of the bundle's policy",
    CheckpointUntrusted = "checkpoint-untrusted" CannotTell "no key of the policy signed this checkpoint",
    CheckpointSignatureFails = "checkpoint-signature-fails" Mismatch "a signature that names a key of the policy does not fit the checkpoint",
    QuorumMissing = "quorum-missing" CannotTell "fewer log witnesses confirmed the checkpoint than the policy asks for",
    CheckpointRetired = "checkpoint-retired" CannotTell "a key that was replaced since signed this checkpoint, and nothing here shows that the ledger still begins with it",
    RotationFails = "rotation-fails" Mismatch "a note about the replacement of a key is not signed by both keys, or not of its form",
    RotationContradicted = "rotation-contradicted" Mismatch "two notes name different keys in the place of one",
    // The record
    CheckpointMalformed = "checkpoint-malformed" Mismatch "a checkpoint is not of its form",
    CheckpointDiffers = "checkpoint-differs" Mismatch "the bundle's checkpoint is not the one its proofs rest on",
    RootsDiffer = "roots-differ" Mismatch "two checkpoints give one ledger of one size different contents",
    EntryMalformed = "entry-malformed" Mismatch "a line is not a ledger entry",
    EntryTwice = "entry-twice" Mismatch "a position in the ledger is claimed twice",
    ProofMissing = "proof-missing" CannotTell "an entry comes without its proof",
    ProofMalformed = "proof-malformed" Mismatch "a proof is not of its form",
    ProofWithoutEntry = "proof-without-entry" Mismatch "a proof has no entry",
    InclusionFails = "inclusion-fails" Mismatch "the proof does not show this entry in the ledger at this position",
    OpeningMalformed = "opening-malformed" Mismatch "a line is not a list of openings",
    OpeningFails = "opening-fails" Mismatch "an opening does not open the field of its entry",
    OpeningWithoutEntry = "opening-without-entry" Mismatch "openings are given for an entry that is not there",
    ItemListContradicts = "item-list-contradicts" Mismatch "the list of items does not agree with the ledger",
    ReceiptMissing = "receipt-missing" CannotTell "an original comes without its receipt",
    ReceiptMalformed = "receipt-malformed" Mismatch "a receipt is not of its form",
    ReceiptDiffers = "receipt-differs" Mismatch "a receipt is not for this item's entry",
    ReceiptFails = "receipt-fails" Mismatch "a receipt does not hold under the policy",
    NotStored = "not-stored" CannotTell "a receipt does not say openly that the bytes were stored and not set aside",
    ExportMissing = "export-missing" CannotTell "the ledger's entry for this hand-over is not in the bundle",
    ExportDiffers = "export-differs" Mismatch "the files are not the ones that the ledger recorded for this hand-over",
    HeadsMalformed = "heads-malformed" Mismatch "the completeness statement is not of its form",
    HeadsUntrusted = "heads-untrusted" CannotTell "no key shown to be the force's signed the completeness statement",
    HeadsDiffer = "heads-differ" Mismatch "the completeness statement is for another ledger or checkpoint",
    Gap = "gap" Mismatch "the completeness statement counts an entry that is not here",
    OutboardUnusable = "outboard-unusable" Mismatch "the list of group values does not add up to the recorded digest",
    SlipMalformed = "slip-malformed" CannotTell "the slip is not of its form",
    SlipUntrusted = "slip-untrusted" CannotTell "no key of the policy signed the slip",
    SlipUnproved = "slip-unproved" CannotTell "what is here does not show whether the ledger begins with the entries of the slip",
    SlipContradicted = "slip-contradicted" Mismatch "the ledger does not begin with the entries that the slip shows",
    StampMalformed = "stamp-malformed" Mismatch "a time stamp is not of its form, or comes without what it is for",
    StampDiffers = "stamp-differs" Mismatch "a time stamp is for other bytes than the checkpoint beside it",
    StampUntrusted = "stamp-untrusted" CannotTell "no key of the policy signed the stamped checkpoint",
    StampUnproved = "stamp-unproved" CannotTell "what is here does not show whether the ledger begins with what was stamped",
    StampContradicted = "stamp-contradicted" Mismatch "the ledger does not begin with what was stamped",
    // The files
    FootageDiffers = "footage-differs" Mismatch "the file is not what the force recorded as received",
    FootageUnrecorded = "footage-unrecorded" CannotTell "no entry here says what the force received as this file",
    DerivativeDiffers = "derivative-differs" Mismatch "the file is not the derivative that the force recorded",
    DerivativeUnrecorded = "derivative-unrecorded" CannotTell "no entry here says how this file was made",
    DerivativeOfAnother = "derivative-of-another" Mismatch "the entry says it was made from another original",
    DigestWithheld = "digest-withheld" CannotTell "the recorded digest is not disclosed here",
    ProgramDiffers = "program-differs" Mismatch "a program is not the one that its name says",
    FileDiffers = "file-differs" Mismatch "a file given beside a receipt is not the one it is for",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One coded result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: Code,
    pub class: Class,
    /// Relative to the bundle, with `/`; none when it is about the whole.
    pub path: Option<String>,
    /// Where the first difference lies, when it can be told; to the 64 KiB group.
    pub byte_range: Option<Range<u64>>,
    /// A sentence for people.
    pub message: String,
}

impl Finding {
    /// A finding about the whole.
    pub fn new(code: Code, class: Class, message: impl Into<String>) -> Self {
        Self { code, class, path: None, byte_range: None, message: message.into() }
    }

    /// A finding about one file.
    pub fn at(code: Code, class: Class, path: &str, message: impl Into<String>) -> Self {
        Self { path: Some(path.to_owned()), ..Self::new(code, class, message) }
    }

    /// Says where the first difference lies.
    #[must_use]
    pub fn within(mut self, range: Option<Range<u64>>) -> Self {
        self.byte_range = range;
        self
    }
}

/// The result of one file of footage, or one derivative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileResult {
    pub path: String,
    pub class: Class,
    pub result: Outcome,
    pub item: Option<ItemId>,
    /// When the force recorded it, by its own clock.
    pub recorded_at: Option<Timestamp>,
}

/// A kind of check, as `--explain` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    Hash,
    Receipt,
    Inclusion,
    Consistency,
    Derivative,
    Gap,
    WithheldField,
}

impl Check {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Hash,
        Self::Receipt,
        Self::Inclusion,
        Self::Consistency,
        Self::Derivative,
        Self::Gap,
        Self::WithheldField,
    ];

    /// The word before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Receipt => "receipt",
            Self::Inclusion => "inclusion",
            Self::Consistency => "consistency",
            Self::Derivative => "derivative",
            Self::Gap => "gap",
            Self::WithheldField => "withheld field",
        }
    }

    /// What it shows, and what it does not: two sentences.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Hash => {
                "This file's fingerprint equals the one recorded. Changing any part would give another; it says \
                 nothing about what happened before it was recorded."
            }
            Self::Receipt => {
                "This note was signed with the key you told us to trust. It shows that the key was used, not who \
                 held it."
            }
            Self::Inclusion => {
                "This entry is in the ledger at the position given. It does not show that the entry is true."
            }
            Self::Consistency => {
                "The later ledger contains the earlier one unaltered. It says nothing about acts never entered."
            }
            Self::Derivative => {
                "This copy is recorded as made from that original by this recipe. It was not made again here to compare."
            }
            Self::Gap => {
                "A number is missing from the list. A fault, a test or a deletion would look the same."
            }
            Self::WithheldField => {
                "Not disclosed here. Its sealed value belongs to the entry; what it says was not checked."
            }
        }
    }
}

/// A kind of check that was made, and how often it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub check: Check,
    pub held: u64,
    pub total: u64,
}

/// All findings of one check, and what they rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub result: Outcome,
    /// Sentences: whose keys, which log witnesses, since when.
    pub rests_on: Vec<String>,
    pub findings: Vec<Finding>,
    pub files: Vec<FileResult>,
    pub checked: Vec<Checked>,
}

/// Collects findings while a check runs; [`Notes::finish`] turns them into the one report.
#[derive(Debug, Default)]
pub struct Notes {
    rests_on: Vec<String>,
    findings: Vec<Finding>,
    files: Vec<FileResult>,
    checked: Vec<Checked>,
    worst: Option<Outcome>,
}

impl Notes {
    /// Adds a finding; its effect counts even when the list is full.
    pub fn add(&mut self, finding: Finding) {
        self.worst = self.worst.max(Some(finding.code.outcome()));
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// Adds a finding about one file.
    pub fn note(&mut self, code: Code, class: Class, path: &str, message: impl Into<String>) {
        self.add(Finding::at(code, class, path, message));
    }

    /// Adds a file's result.
    pub fn file(&mut self, file: FileResult) {
        self.worst = self.worst.max(Some(file.result));
        self.files.push(file);
    }

    /// Counts one check that was made.
    pub fn checked(&mut self, check: Check, held: bool) {
        let held = u64::from(held);
        match self.checked.iter_mut().find(|seen| seen.check == check) {
            Some(seen) => (seen.held, seen.total) = (seen.held + held, seen.total + 1),
            None => self.checked.push(Checked { check, held, total: 1 }),
        }
    }

    /// Says what the results rest on, each thing once.
    pub fn rests_on(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if !self.rests_on.contains(&sentence) {
            self.rests_on.push(sentence);
        }
    }

    /// Whether a finding of this code was added.
    pub fn has(&self, code: Code) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }

    /// The report. Without a single file that matched there is no match: checking nothing shows nothing.
    pub fn finish(self) -> Report {
        let nothing = self.files.is_empty();
        let result = match self.worst {
            Some(worst) if !nothing => worst,
            worst => worst.unwrap_or(Outcome::CannotTell).max(Outcome::CannotTell),
        };
        Report {
            result,
            rests_on: self.rests_on,
            findings: self.findings,
            files: self.files,
            checked: self.checked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_and_nothing_is_no_match() {
        assert_eq!(Notes::default().finish().result, Outcome::CannotTell);
        let file = |result| FileResult {
            path: "data/originals/a".into(),
            class: Class::Footage,
            result,
            item: None,
            recorded_at: None,
        };
        let mut notes = Notes::default();
        notes.file(file(Outcome::Match));
        notes.note(Code::ListDiffers, Class::Presentation, "READ-ME-FIRST.html", "differs");
        let report = notes.finish();
        assert_eq!(report.result, Outcome::Mismatch, "the copy as a whole differs");
        assert_eq!(report.files[0].result, Outcome::Match, "and the footage still matches");
    }

    #[test]
    fn a_full_list_still_decides() {
        let mut notes = Notes::default();
        let finding = |code| Finding::new(code, Class::Record, "x");
        (0..MAX_FINDINGS).for_each(|_| notes.add(finding(Code::SignatureMissing)));
        notes.add(finding(Code::FootageDiffers));
        let report = notes.finish();
        assert_eq!((report.findings.len(), report.result), (MAX_FINDINGS, Outcome::Mismatch));
    }

    #[test]
    fn the_page_lists_every_code_with_its_effect() {
        let page = include_str!("../../docs/formats/report.md");
        for code in Code::ALL {
            let row = format!("| `{code}` | {} | {} |", code.outcome(), code.meaning());
            assert!(page.contains(&row), "no row: {row}");
        }
        for check in Check::ALL {
            let line = format!("- **{}**: {}", check.as_str(), check.explanation());
            assert!(page.contains(&line), "no line: {line}");
        }
    }

    #[test]
    fn codes_are_unique_and_no_text_says_who_or_why() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        let texts = Code::ALL.iter().map(|c| c.meaning());
        for text in texts.chain(Check::ALL.iter().map(|c| c.explanation())) {
            for word in ["tamper", "forge", "fake", "manipulat"] {
                assert!(!text.to_lowercase().contains(word), "{text}");
            }
        }
    }
}

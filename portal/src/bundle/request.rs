//! What somebody asks for, and why it may be refused.

use std::fmt;
use std::str::FromStr;

use chain_of_custody::bundle::ContentsError;
use chain_of_custody::command::Refusal;
use chain_of_custody::ids::{EventId, ItemId};
use chain_of_custody::note::SignerUnavailable;
use storage::ledger::SubmitError;
use storage::objects::StoreError;
use storage::records::RecordsError;

use super::output::Output;

/// The most items in one bundle: its entry touches them all (chain_of_custody::entry::MAX_SUBJECTS).
pub const MAX_ITEMS: usize = 250;
/// The longest text in a request: recipient, reference, description, reason.
pub const MAX_TEXT_CHARS: usize = 500;

/// What a bundle is for. Decides which openings go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    Charging,
    Cps,
    Court,
    DefenceServed,
    DefenceUnused,
    Internal,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 6] = [
        Self::Charging,
        Self::Cps,
        Self::Court,
        Self::DefenceServed,
        Self::DefenceUnused,
        Self::Internal,
    ];

    /// As the entry has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charging => "charging",
            Self::Cps => "cps",
            Self::Court => "court",
            Self::DefenceServed => "defence-served",
            Self::DefenceUnused => "defence-unused",
            Self::Internal => "internal",
        }
    }

    /// As the page for people has it.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Charging => "a charging decision",
            Self::Cps => "the prosecution",
            Self::Court => "the court",
            Self::DefenceServed => "service on the defence as evidence",
            Self::DefenceUnused => "disclosure of unused material to the defence",
            Self::Internal => "use within the force",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Purpose {
    type Err = BundleError;

    fn from_str(text: &str) -> Result<Self, BundleError> {
        let found = Self::ALL.into_iter().find(|purpose| purpose.as_str() == text);
        found.ok_or_else(|| {
            BundleError::Request(format!("'{text}' is no purpose; {}", known_purposes()))
        })
    }
}

fn known_purposes() -> String {
    format!("they are {}", Purpose::ALL.map(Purpose::as_str).join(", "))
}

/// A named person who takes it on themselves that something leaves which otherwise would not. Recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorisation {
    pub by: String,
    pub reason: String,
}

/// One item, with what the list for people says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedItem {
    pub item: ItemId,
    /// Exhibit reference, such as `JSM/1`.
    pub reference: Option<String>,
    pub description: Option<String>,
}

impl From<ItemId> for RequestedItem {
    fn from(item: ItemId) -> Self {
        Self { item, reference: None, description: None }
    }
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct BundleRequest {
    /// Chosen by whoever asks: asking again with it makes the same hand-over, not a second one.
    pub event: EventId,
    pub items: Vec<RequestedItem>,
    pub purpose: Purpose,
    pub recipient: String,
    /// Who asks: the person at the console, or signed in.
    pub by: String,
    /// Needed for items that are restricted, unassessed, sensitive or in quarantine, and for a completeness statement.
    pub authorised: Option<Authorisation>,
    /// With a statement that these are all entries of these items.
    pub completeness: bool,
    /// With the programs that made its derivatives, so that somebody can make them again.
    pub programs: bool,
    /// For the bundle's name: `<case>-<exhibit>-<date>`.
    pub case_reference: Option<String>,
    pub output: Output,
}

/// Why no bundle was made. Nothing was left at the output path.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Ask otherwise.
    #[error("{0}")]
    Request(String),
    /// Shorten it.
    #[error("{field}: at most {MAX_TEXT_CHARS} characters")]
    TooLong { field: &'static str },
    /// Not known here, or not any more.
    #[error("item {0} is not held")]
    NoSuchItem(ItemId),
    /// A named person may authorise it.
    #[error("needs a named person's authorisation: {}", .0.join("; "))]
    NeedsAuthorisation(Vec<String>),
    /// Choose another path: a bundle never replaces anything.
    #[error("{0} exists already")]
    OutputExists(std::path::PathBuf),
    /// Disk full, not writable, gone. What had been written was removed.
    #[error("the bundle could not be written: {0}")]
    Write(#[from] std::io::Error),
    /// The hand-over could not be recorded, so nothing left.
    #[error("the hand-over could not be recorded: {0}")]
    Ledger(#[from] SubmitError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The store does not give the footage as it was recorded.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Signer(#[from] SignerUnavailable),
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// A bug of ours or a damaged record, never the caller's doing.
    #[error("the record does not fit together: {0}")]
    Record(String),
}

impl BundleRequest {
    /// Whether it can be answered at all.
    pub(super) fn check(&self) -> Result<(), BundleError> {
        let bad = |reason: &str| Err(BundleError::Request(reason.to_owned()));
        if self.items.is_empty() || self.items.len() > MAX_ITEMS {
            return bad(&format!("a bundle has between 1 and {MAX_ITEMS} items"));
        }
        let mut seen = std::collections::BTreeSet::new();
        if !self.items.iter().all(|item| seen.insert(item.item)) {
            return bad("an item is listed twice");
        }
        if self.recipient.trim().is_empty() {
            return bad("a bundle is made for somebody: the recipient is missing");
        }
        if self
            .authorised
            .as_ref()
            .is_some_and(|a| a.by.trim().is_empty() || a.reason.trim().is_empty())
        {
            return bad("an authorisation names a person and a reason");
        }
        let too_long = |(_, text): &(&str, &String)| text.chars().count() > MAX_TEXT_CHARS;
        match self.texts().find(too_long) {
            Some((field, _)) => Err(BundleError::TooLong { field }),
            None => Ok(()),
        }
    }

    /// Everything in it that somebody typed, by its field.
    fn texts(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let authorised = self.authorised.iter();
        let authorised = authorised.flat_map(|a| [("authorised_by", &a.by), ("reason", &a.reason)]);
        let items = self.items.iter().flat_map(|item| {
            let reference = item.reference.iter().map(|text| ("exhibit_reference", text));
            reference.chain(item.description.iter().map(|text| ("description", text)))
        });
        let case = self.case_reference.iter().map(|text| ("case_reference", text));
        let own = [("recipient", &self.recipient), ("by", &self.by)].into_iter();
        own.chain(case).chain(authorised).chain(items)
    }
}

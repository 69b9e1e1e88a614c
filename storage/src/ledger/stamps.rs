//! Time stamps of the ledger: where they lie, and which there are (docs/formats/time-stamps.md).

use bytes::Bytes;
use chain_of_custody::checkpoint::{SignedCheckpoint, parse_decimal};
use chain_of_custody::digest::Sha256;
use chain_of_custody::entry::Entry;
use chain_of_custody::event::EventKind;
use chain_of_custody::ids::{SubjectId, SubjectKind, TreeSize};

use super::{Ledger, LedgerError};

/// In the public part of a `checkpoint.timestamped` entry: the entries under the stamped checkpoint, and which answer.
pub const STAMP_SIZE: &str = "size";
pub const STAMP_TSR_SHA256: &str = "tsr-sha256";
/// Below the ledger's folder, in the store and wherever stamps are given away.
pub(super) const FOLDER: &str = "stamps";
/// What was stamped, and the authority's answer.
const ENDINGS: [&str; 2] = ["checkpoint", "tsr"];

/// A time stamp that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptStamp {
    /// How many entries it is for.
    pub size: TreeSize,
    /// `<size>-<first 16 hex digits of the answer's SHA-256>`.
    name: String,
}

impl KeptStamp {
    fn new(size: TreeSize, tsr_sha256: &str) -> Self {
        let id: String = tsr_sha256.chars().take(16).collect();
        Self { size, name: format!("{size}-{id}") }
    }

    fn of(entry: &Entry) -> Option<Self> {
        let size = parse_decimal(entry.public.get(STAMP_SIZE)?)?;
        Some(Self::new(TreeSize(size), entry.public.get(STAMP_TSR_SHA256)?))
    }
}

impl Ledger {
    /// Keeps an authority's answer and the checkpoint that it is for, byte for byte; its entry comes after.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn keep_stamp(
        &self,
        stamped: &SignedCheckpoint,
        answer: &[u8],
    ) -> Result<(), LedgerError> {
        let digest = Sha256::of(answer).to_string();
        let stamp = KeptStamp::new(stamped.unverified().size, &digest);
        let note = stamped.to_string().into_bytes();
        for (ending, bytes) in ENDINGS.into_iter().zip([note, answer.to_vec()]) {
            self.reader.files.keep(&file(&stamp, ending), bytes).await?;
        }
        Ok(())
    }

    /// Every stamp that the ledger has an entry of, in its order.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn stamps(&self) -> Result<Vec<KeptStamp>, LedgerError> {
        let (records, kind) = (&self.reader.records, EventKind::CheckpointTimestamped);
        let origin = self.latest().unverified().origin.clone();
        let Ok(force) = SubjectId::new(SubjectKind::Force, origin.as_str()) else {
            // An origin need not be a subject's name; then every entry is looked at.
            let entries = records.entries_of(kind).await?;
            return Ok(entries.iter().filter_map(|(_, entry)| KeptStamp::of(entry)).collect());
        };
        let mut found = Vec::new();
        for event in records.events_of(&force).await? {
            if event.kind == kind.as_str() {
                let next = TreeSize(event.leaf_index.0 + 1);
                let stored = records.entries(TreeSize(event.leaf_index.0), next).await?;
                let entry = stored.first().and_then(|stored| Entry::parse(&stored.bytes).ok());
                found.extend(entry.as_ref().and_then(KeptStamp::of));
            }
        }
        Ok(found)
    }

    /// A stamp's two files, by their path under a ledger's folder.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn stamp_files(
        &self,
        stamp: &KeptStamp,
    ) -> Result<[(String, Bytes); 2], LedgerError> {
        let [checkpoint, tsr] = ENDINGS.map(|ending| file(stamp, ending));
        let (note, answer) =
            (self.reader.files.kept(&checkpoint).await?, self.reader.files.kept(&tsr).await?);
        Ok([(checkpoint, note), (tsr, answer)])
    }
}

fn file(stamp: &KeptStamp, ending: &str) -> String {
    format!("{FOLDER}/{}.{ending}", stamp.name)
}

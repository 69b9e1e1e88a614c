//! The audit: everything recomputed from the stored files, compared with the checkpoint and with the database.
//!
//! Entries hash to the tiles, tiles to the root, the root is the signed one; every opening opens; each subject's `seq`
//! is dense; the database holds the same. What is found is exact, one finding per fault.

use std::collections::HashMap;

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::entry::{Entry, Opening};
use chain_of_custody::ids::{LeafIndex, SubjectId, TreeSize};
use chain_of_custody::merkle::{Hash, leaf_hash};
use chain_of_custody::sequencer::FileClass;
use chain_of_custody::tile::{TILE_WIDTH, TileEdge, TilePath, new_bundles};
use serde::Serialize;

use super::{LedgerError, Reader};
use crate::objects::StoreError;
use crate::records::{RecordsError, StoredEntry};

/// Findings kept; a ledger with more of them has one cause.
const MAX_FINDINGS: usize = 10_000;

/// The outcome of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditResult {
    /// Everything fits.
    Match,
    /// Something stored is not what was signed, or not there.
    Mismatch,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    pub result: AuditResult,
    pub size: TreeSize,
    /// The root computed from the entries, base64.
    pub root: String,
    pub findings: Vec<AuditFinding>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditFinding {
    pub code: AuditCode,
    pub leaf_index: Option<LeafIndex>,
    /// The file at fault, under the ledger's folder.
    pub path: Option<String>,
    pub message: String,
}

/// Kinds of faults; the documentation lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditCode {
    CheckpointMissing,
    CheckpointSignature,
    CheckpointNotPublished,
    RootDiffers,
    TileMissing,
    TileDiffers,
    EntriesMissing,
    EntryMalformed,
    EntryOutOfPlace,
    SubjectSequence,
    OpeningsMissing,
    OpeningDoesNotOpen,
    DatabaseDiffers,
    DatabaseMissing,
}

pub(super) async fn audit(reader: &Reader) -> Result<Audit, LedgerError> {
    let checkpoint = reader.latest();
    let size = checkpoint.unverified().size;
    let mut state = State::default();
    state.check_published(reader, &checkpoint).await?;
    for bundle in new_bundles(TreeSize(0), size) {
        state.check_bundle(reader, &bundle).await?;
    }
    state.check_tiles(reader).await?;
    let root = state.edge.root();
    if root != checkpoint.unverified().root || state.edge.size() != size {
        let message =
            format!("the entries give another root than the checkpoint of {size} entries");
        state.found(AuditCode::RootDiffers, None, None, message);
    }
    Ok(state.finish(size, root))
}

#[derive(Default)]
struct State {
    edge: TileEdge,
    /// How many entries each subject has had, and the last of them.
    heads: HashMap<SubjectId, (u64, LeafIndex)>,
    findings: Vec<AuditFinding>,
}

impl State {
    async fn check_published(
        &mut self,
        reader: &Reader,
        latest: &SignedCheckpoint,
    ) -> Result<(), LedgerError> {
        let (code, message) = match reader.files.checkpoint().await {
            Ok(None) => (AuditCode::CheckpointMissing, "no checkpoint is published".to_owned()),
            Err(LedgerError::Malformed { reason, .. }) => (AuditCode::CheckpointSignature, reason),
            Err(error) => return Err(error),
            Ok(Some(shown)) => {
                // A newer one may have been published since; an older or another one never.
                let (shown_head, head) = (shown.unverified(), latest.unverified());
                let older = shown_head.size < head.size;
                let other = shown_head.size == head.size && shown_head != head;
                if older || other {
                    let message =
                        "the published checkpoint is not the newest one signed".to_owned();
                    (AuditCode::CheckpointNotPublished, message)
                } else if shown.verify(std::slice::from_ref(&reader.log_key), &[]).is_err() {
                    let message = "the log key did not sign the published checkpoint".to_owned();
                    (AuditCode::CheckpointSignature, message)
                } else {
                    return Ok(());
                }
            }
        };
        self.found(code, None, Some("checkpoint".to_owned()), message);
        Ok(())
    }

    async fn check_bundle(
        &mut self,
        reader: &Reader,
        bundle: &TilePath,
    ) -> Result<(), LedgerError> {
        let first = bundle.index() * TILE_WIDTH;
        let range = TreeSize(first)..TreeSize(first + u64::from(bundle.width()));
        let database = match reader.records.entries(range.start, range.end).await {
            Ok(entries) => entries,
            Err(RecordsError::Corrupt { reason, .. }) => {
                self.found(AuditCode::DatabaseMissing, None, Some(bundle.to_string()), reason);
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        let Some(stored) = self.stored_entries(reader, bundle).await? else { return Ok(()) };
        let evidential = self.stored_openings(reader, FileClass::Evidential, bundle).await?;
        let personal = self.stored_openings(reader, FileClass::Personal, bundle).await?;
        for (position, bytes) in stored.iter().enumerate() {
            let index = LeafIndex(first + position as u64);
            self.edge.append(leaf_hash(bytes));
            let openings = [openings_of(&evidential, index), openings_of(&personal, index)];
            self.check_entry(index, bytes, &openings);
            if let Some(row) = database.get(position) {
                self.check_row(row, bytes, &openings);
            }
        }
        Ok(())
    }

    async fn stored_entries(
        &mut self,
        reader: &Reader,
        bundle: &TilePath,
    ) -> Result<Option<Vec<Vec<u8>>>, LedgerError> {
        let reason = match reader.files.entries(bundle).await {
            Ok(entries) if entries.len() == usize::from(bundle.width()) => {
                return Ok(Some(entries));
            }
            Ok(entries) => format!("the bundle holds {} entries only", entries.len()),
            Err(error) => lasting(error)?,
        };
        self.found(AuditCode::EntriesMissing, None, Some(bundle.to_string()), reason);
        Ok(None)
    }

    async fn stored_openings(
        &mut self,
        reader: &Reader,
        class: FileClass,
        bundle: &TilePath,
    ) -> Result<Vec<(LeafIndex, Vec<Opening>)>, LedgerError> {
        match reader.files.openings(class, bundle).await {
            Ok(openings) => Ok(openings),
            Err(error) => {
                let message = format!("{class:?} openings: {}", lasting(error)?);
                let path = Some(bundle.to_string());
                self.found(AuditCode::OpeningsMissing, None, path, message);
                Ok(Vec::new())
            }
        }
    }

    fn check_entry(&mut self, index: LeafIndex, bytes: &[u8], openings: &[&[Opening]; 2]) {
        let entry = match Entry::parse(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                let code = AuditCode::EntryMalformed;
                return self.found(code, Some(index), None, error.to_string());
            }
        };
        for subject in &entry.subjects {
            let before = self.heads.get(&subject.id).copied();
            let (count, last) = (before.map_or(0, |b| b.0), before.map(|b| b.1));
            if subject.seq != count || subject.prev != last {
                let message = format!("{} should have seq {count}", subject.id);
                self.found(AuditCode::SubjectSequence, Some(index), None, message);
            }
            self.heads.insert(subject.id.clone(), (subject.seq + 1, index));
        }
        for opening in openings.iter().copied().flatten() {
            if !entry.opens(opening) {
                let message = format!("the opening of '{}' does not open the entry", opening.name);
                self.found(AuditCode::OpeningDoesNotOpen, Some(index), None, message);
            }
        }
        let opened = openings.iter().map(|class| class.len()).sum::<usize>();
        if opened < entry.fields.len() {
            let message = format!("{} of {} fields have an opening", opened, entry.fields.len());
            self.found(AuditCode::OpeningsMissing, Some(index), None, message);
        }
    }

    fn check_row(&mut self, row: &StoredEntry, bytes: &[u8], openings: &[&[Opening]; 2]) {
        let same =
            row.bytes == bytes && row.evidential == openings[0] && row.personal == openings[1];
        if !same {
            let message = "the database holds another entry or other openings than the store";
            self.found(AuditCode::DatabaseDiffers, Some(row.index), None, message.to_owned());
        }
    }

    /// Every tile that the entries give must be stored, with these bytes.
    async fn check_tiles(&mut self, reader: &Reader) -> Result<(), LedgerError> {
        for tile in self.edge.take_writes() {
            let path = Some(tile.path.to_string());
            match reader.files.hash_tile(&tile.path).await {
                Ok(bytes) if bytes == tile.bytes => {}
                Ok(_) => {
                    let message = "the tile is not what the entries hash to".to_owned();
                    self.found(AuditCode::TileDiffers, None, path, message);
                }
                Err(error) => {
                    let message = lasting(error)?;
                    self.found(AuditCode::TileMissing, None, path, message);
                }
            }
        }
        Ok(())
    }

    fn found(
        &mut self,
        code: AuditCode,
        leaf_index: Option<LeafIndex>,
        path: Option<String>,
        message: String,
    ) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(AuditFinding { code, leaf_index, path, message });
        }
    }

    fn finish(self, size: TreeSize, root: Hash) -> Audit {
        let clean = self.findings.is_empty();
        let result = if clean { AuditResult::Match } else { AuditResult::Mismatch };
        Audit { result, size, root: root.to_base64(), findings: self.findings }
    }
}

fn openings_of(all: &[(LeafIndex, Vec<Opening>)], index: LeafIndex) -> &[Opening] {
    all.iter().find(|(at, _)| *at == index).map_or(&[], |(_, openings)| openings.as_slice())
}

/// A fault of what is stored is a finding; a device or database that cannot be read now is an error.
fn lasting(error: LedgerError) -> Result<String, LedgerError> {
    match error {
        LedgerError::Store(StoreError::Device { .. }) | LedgerError::Records(_) => Err(error),
        other => Ok(other.to_string()),
    }
}

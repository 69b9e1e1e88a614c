//! The ledger bundle by bundle, as the store alone has it, with the objects that its entries name.

use chain_of_custody::checkpoint::{Origin, SignedCheckpoint};
use chain_of_custody::entry::{Entry, Opening};
use chain_of_custody::event::EventKind;
use chain_of_custody::event::field;
use chain_of_custody::ids::{LeafIndex, SubjectKind, TreeSize};
use chain_of_custody::merkle::{Hash, leaf_hash};
use chain_of_custody::note::VerifierKey;
use chain_of_custody::sequencer::FileClass;
use chain_of_custody::tile::{TILE_WIDTH, TileEdge, TilePath, new_bundles};
use futures_util::stream::{self, BoxStream, StreamExt as _};

use super::{Finding, Held};
use crate::ledger::{LedgerError, LedgerFiles};
use crate::objects::{ObjectStore, StoreError, StoredObject};
use crate::records::StoredEntry;

/// Bundles that are read while the one before them is looked at: reading one is work for a processor, not for the device.
const AHEAD: usize = 3;

/// One walk through a ledger, from its first entry to its published checkpoint. Holds a few bundles at a time.
pub struct Walk {
    files: LedgerFiles,
    checkpoint: SignedCheckpoint,
    bundles: BoxStream<'static, Result<Bundle, LedgerError>>,
    edge: TileEdge,
    /// Entries of a bundle could not be read: what follows cannot be held against the root.
    broken: bool,
    findings: Vec<Finding>,
}

/// What a bundle of entries says, by itself.
struct Bundle {
    path: TilePath,
    /// Fewer than its width when entries are missing.
    leaves: Vec<Hash>,
    held: Vec<Held>,
    findings: Vec<Finding>,
}

impl Walk {
    /// Begins at the first entry. The checkpoint in the store must be signed by `log_key`.
    ///
    /// # Errors
    /// [`LedgerError::OtherKey`], or [`LedgerError::NoSuchEntry`] where no checkpoint is.
    pub async fn begin(
        store: &ObjectStore,
        origin: &Origin,
        log_key: &VerifierKey,
    ) -> Result<Self, LedgerError> {
        let files = LedgerFiles::new(store.clone(), origin.clone());
        let checkpoint = files.checkpoint().await?.ok_or(LedgerError::NoSuchEntry(LeafIndex(0)))?;
        let named = checkpoint.unverified().origin == *origin;
        if !named || checkpoint.verify(std::slice::from_ref(log_key), &[]).is_err() {
            return Err(LedgerError::OtherKey { origin: origin.to_string() });
        }
        let reading = files.clone();
        let bundles = stream::iter(new_bundles(TreeSize(0), checkpoint.unverified().size))
            .map(move |path| tokio::spawn(Bundle::read(reading.clone(), path)))
            .buffered(AHEAD)
            .map(|read| read.unwrap_or(Err(LedgerError::Closed)))
            .boxed();
        let (edge, broken, findings) = (TileEdge::new(), false, Vec::new());
        Ok(Self { files, checkpoint, bundles, edge, broken, findings })
    }

    /// How many entries it goes through.
    pub fn size(&self) -> TreeSize {
        self.checkpoint.unverified().size
    }

    /// The checkpoint it goes up to.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// The objects that the entries of the next bundle name, and how many entries were gone through; none at the end.
    ///
    /// # Errors
    /// When the device or the runtime fails; what is missing or damaged is a finding.
    pub async fn next(&mut self) -> Result<Option<(TreeSize, Vec<Held>)>, LedgerError> {
        let Some(bundle) = self.bundles.next().await else { return Ok(None) };
        let Bundle { path, leaves, held, findings } = bundle?;
        self.broken |= leaves.len() < usize::from(path.width());
        leaves.into_iter().for_each(|leaf| _ = self.edge.append(leaf));
        self.findings.extend(findings);
        Ok(Some((TreeSize(path.index() * TILE_WIDTH + u64::from(path.width())), held)))
    }

    /// What is wrong with the ledger's own files: the tiles and the root are compared now.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn finish(mut self) -> Result<Vec<Finding>, LedgerError> {
        if self.broken {
            return Ok(self.findings);
        }
        for tile in self.edge.take_writes() {
            let message = match self.files.hash_tile(&tile.path).await {
                Ok(bytes) if bytes == tile.bytes => continue,
                Ok(_) => "the tile is not what the entries hash to".to_owned(),
                Err(error) => lasting(error)?,
            };
            self.findings.push(Finding::of_ledger(None, tile.path.to_string(), message));
        }
        let head = self.checkpoint.unverified();
        if self.edge.root() != head.root {
            let message = format!("the entries give another root than that of {}", head.size);
            self.findings.push(Finding::of_ledger(None, "checkpoint".to_owned(), message));
        }
        Ok(self.findings)
    }
}

impl Bundle {
    async fn read(files: LedgerFiles, path: TilePath) -> Result<Self, LedgerError> {
        let mut bundle = Self { path, leaves: Vec::new(), held: Vec::new(), findings: Vec::new() };
        let entries = match files.entries(&path).await {
            Ok(entries) if entries.len() == usize::from(path.width()) => entries,
            Ok(entries) => {
                bundle.fault(None, format!("{} of {} entries only", entries.len(), path.width()));
                entries
            }
            Err(error) => {
                bundle.fault(None, lasting(error)?);
                Vec::new()
            }
        };
        let openings = match files.openings(FileClass::Evidential, &path).await {
            Ok(openings) => openings,
            Err(error) => {
                bundle.fault(None, format!("evidential openings: {}", lasting(error)?));
                Vec::new()
            }
        };
        let first = path.index() * TILE_WIDTH;
        for (index, bytes) in (first..).map(LeafIndex).zip(&entries) {
            bundle.leaves.push(leaf_hash(bytes));
            let position = openings.binary_search_by_key(&index, |(at, _)| *at);
            let openings = position.map_or(&[][..], |at| &openings[at].1);
            match named(index, bytes, openings) {
                Ok(named) => bundle.held.extend(named),
                Err(message) => bundle.fault(Some(index), message),
            }
        }
        Ok(bundle)
    }

    fn fault(&mut self, index: Option<LeafIndex>, message: String) {
        self.findings.push(Finding::of_ledger(index, self.path.to_string(), message));
    }
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").field("size", &self.size()).finish_non_exhaustive()
    }
}

/// The objects that entries of a database name. Entries that do not say it are left to the audit.
pub(crate) fn held_by(entries: Vec<StoredEntry>) -> Vec<Held> {
    let named = |e: StoredEntry| named(e.index, &e.bytes, &e.evidential).ok().flatten();
    entries.into_iter().filter_map(named).collect()
}

/// The object that an entry names, from the entry and openings that open it; or why that cannot be told.
fn named(index: LeafIndex, bytes: &[u8], openings: &[Opening]) -> Result<Option<Held>, String> {
    let entry = Entry::parse(bytes).map_err(|error| format!("entry {index}: {error}"))?;
    if !matches!(entry.kind, EventKind::ItemReceived | EventKind::ItemDerived) {
        return Ok(None);
    }
    let value = |name| {
        let opening = openings.iter().find(|o| o.name.as_str() == name);
        opening.filter(|o| entry.opens(o)).map(|o| o.value.as_str())
    };
    let object = value(field::OBJECT).and_then(|json| serde_json::from_str(json).ok());
    let object: StoredObject =
        object.ok_or_else(|| format!("entry {index} does not open to the object it names"))?;
    let item = entry.subjects.iter().find(|s| s.id.kind() == SubjectKind::Item);
    let item = item.and_then(|s| s.id.name().parse().ok());
    let item = item.ok_or_else(|| format!("entry {index} names no item"))?;
    let recipe_id = match entry.kind {
        EventKind::ItemDerived => value(field::RECIPE_ID).map(str::to_owned),
        _ => None,
    };
    let sha256 = value(field::SHA256).and_then(|text| text.parse().ok());
    Ok(Some(Held { leaf_index: index, item, recipe_id, sha256, object }))
}

/// A fault of what is stored is a finding; a device that cannot be read now is an error.
fn lasting(error: LedgerError) -> Result<String, LedgerError> {
    match error {
        LedgerError::Store(StoreError::Device { .. }) => Err(error),
        other => Ok(other.to_string()),
    }
}

//! The ledger's files in the object store: `ledger/<origin>/…` and `openings/<origin>/…`.
//!
//! docs/formats/store-layout.md has the names.

use std::str::FromStr as _;
use std::sync::Arc;

use bytes::Bytes;
use chain_of_custody::checkpoint::{Origin, SignedCheckpoint};
use chain_of_custody::entry::Opening;
use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::merkle::HASH_BYTES;
use chain_of_custody::sequencer::{FileClass, FileWrite, decode_openings, openings_path};
use chain_of_custody::tile::{
    TILE_WIDTH, TileKind, TilePath, decode_entries, new_bundles, new_tiles,
};
use tokio::sync::Mutex;

use super::{LedgerError, malformed};
use crate::objects::{Found, NewFile, ObjectStore, StoreError};

const CHECKPOINT: &str = "checkpoint";
/// How often a reader goes after a file that growing took away under it.
const MAX_WIDENINGS: usize = 4;

/// Where one ledger's files lie. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LedgerFiles {
    objects: ObjectStore,
    origin: Origin,
    /// Held while the checkpoint is replaced: the sequencer publishes new ones, cosignatures come for older ones.
    publishing: Arc<Mutex<()>>,
}

/// Why the published checkpoint was not replaced.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("a checkpoint of {0} entries is published already, which is newer or another one")]
    NotNewer(TreeSize),
}

impl LedgerFiles {
    pub(crate) fn new(objects: ObjectStore, origin: Origin) -> Self {
        Self { objects, origin, publishing: Arc::default() }
    }

    /// Step 2: all files, each durable; what is there with the same bytes is done.
    pub(super) async fn write(&self, files: &[FileWrite]) -> Result<(), StoreError> {
        let new = |file: &FileWrite| {
            Ok(NewFile {
                name: self.name(file.class, &file.path).parse()?,
                bytes: file.bytes.clone().into(),
                sealed: matches!(file.class, FileClass::Evidential | FileClass::Personal),
            })
        };
        let files = files.iter().map(new).collect::<Result<_, StoreError>>()?;
        self.objects.create(files).await
    }

    /// Step 4: in one step, and never by an older one.
    pub(super) async fn publish(&self, checkpoint: &SignedCheckpoint) -> Result<(), PublishError> {
        let _one_at_a_time = self.publishing.lock().await;
        let seen = self.published().await?;
        if let Some(shown) = seen.as_deref().map(|bytes| self.parse(bytes)).transpose()? {
            let (shown, new) = (shown.unverified(), checkpoint.unverified());
            if shown.size > new.size || (shown.size == new.size && shown != new) {
                return Err(PublishError::NotNewer(shown.size));
            }
        }
        // Whoever has published since this look has the turn: nothing is put over theirs.
        let name = self.name(FileClass::Hashes, CHECKPOINT);
        let bytes = checkpoint.to_string().into_bytes();
        let replaced = self.objects.replace_seen(&name, seen, bytes).await;
        Ok(replaced.map_err(LedgerError::from)?)
    }

    /// The checkpoint that is published, if any.
    pub(crate) async fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, LedgerError> {
        self.published().await?.map(|bytes| self.parse(&bytes)).transpose()
    }

    async fn published(&self) -> Result<Option<Bytes>, LedgerError> {
        match self.objects.get(&self.name(FileClass::Hashes, CHECKPOINT)).await {
            Err(StoreError::NotFound { .. }) => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    fn parse(&self, checkpoint: &[u8]) -> Result<SignedCheckpoint, LedgerError> {
        let name = self.name(FileClass::Hashes, CHECKPOINT);
        SignedCheckpoint::parse(checkpoint).map_err(|error| malformed(&name, error))
    }

    /// A tile of hashes; where only the full one is left, its beginning.
    pub(crate) async fn hash_tile(&self, path: &TilePath) -> Result<Vec<u8>, LedgerError> {
        let mut bytes = self.tile(path).await?.to_vec();
        bytes.truncate(usize::from(path.width()) * HASH_BYTES);
        Ok(bytes)
    }

    /// The entries of a bundle, at most as many as `path` says.
    pub(crate) async fn entries(&self, path: &TilePath) -> Result<Vec<Vec<u8>>, LedgerError> {
        let bytes = self.tile(path).await?;
        let entries = decode_entries(&bytes).map_err(|e| malformed(&path.to_string(), e))?;
        let width = usize::from(path.width());
        Ok(entries.into_iter().take(width).map(<[u8]>::to_vec).collect())
    }

    /// The openings of a bundle's entries, of one class.
    pub(crate) async fn openings(
        &self,
        class: FileClass,
        bundle: &TilePath,
    ) -> Result<Vec<(LeafIndex, Vec<Opening>)>, LedgerError> {
        let bytes = self.read_wide(class, bundle).await?;
        let reason = |e: chain_of_custody::entry::BadEntry| LedgerError::Malformed {
            path: self.name(class, &openings_path(*bundle)),
            reason: e.to_string(),
        };
        let mut openings = decode_openings(&bytes).map_err(reason)?;
        let end = bundle.index() * TILE_WIDTH + u64::from(bundle.width());
        openings.retain(|(index, _)| index.0 < end);
        Ok(openings)
    }

    /// The bytes of a tile or bundle; of a wider one where that is left only.
    async fn tile(&self, path: &TilePath) -> Result<Bytes, LedgerError> {
        let class = match path.kind() {
            TileKind::Hashes { .. } => FileClass::Hashes,
            TileKind::Entries => FileClass::Entries,
        };
        self.read_wide(class, path).await
    }

    /// A partial file goes once a wider one stands under a published checkpoint, also while somebody reads.
    async fn read_wide(&self, class: FileClass, path: &TilePath) -> Result<Bytes, LedgerError> {
        let mut wanted = *path;
        for _ in 0..MAX_WIDENINGS {
            let missing = match self.read(class, &wanted).await {
                Err(missing @ StoreError::NotFound { .. }) => missing,
                other => return Ok(other?),
            };
            let wider = self.widest(path).await?.filter(|wider| wider.width() > wanted.width());
            wanted = wider.ok_or(missing)?;
        }
        Ok(self.read(class, &wanted).await?)
    }

    async fn read(&self, class: FileClass, path: &TilePath) -> Result<Bytes, StoreError> {
        match class {
            FileClass::Hashes | FileClass::Entries => {
                self.objects.get(&self.name(class, &path.to_string())).await
            }
            FileClass::Evidential | FileClass::Personal => {
                self.objects.get_sealed(&self.name(class, &openings_path(*path))).await
            }
        }
    }

    /// The same tile as the published checkpoint has it.
    async fn widest(&self, path: &TilePath) -> Result<Option<TilePath>, LedgerError> {
        let Some(checkpoint) = self.checkpoint().await? else { return Ok(None) };
        let size = checkpoint.unverified().size;
        let tiles = match path.kind() {
            TileKind::Hashes { .. } => new_tiles(TreeSize(0), size),
            TileKind::Entries => new_bundles(TreeSize(0), size),
        };
        let same = |tile: &TilePath| tile.kind() == path.kind() && tile.index() == path.index();
        Ok(tiles.into_iter().find(same))
    }

    /// Keeps a file beside the tiles, create-only.
    pub(super) async fn keep(&self, path: &str, bytes: Vec<u8>) -> Result<(), LedgerError> {
        Ok(self.objects.put_new(&self.name(FileClass::Hashes, path), bytes).await?)
    }

    /// A file that [`Self::keep`] kept.
    pub(super) async fn kept(&self, path: &str) -> Result<Bytes, LedgerError> {
        Ok(self.objects.get(&self.name(FileClass::Hashes, path)).await?)
    }

    /// All that [`Self::keep`] kept below a folder, by its name in the store.
    pub(super) async fn kept_below(&self, folder: &str) -> Result<Vec<Found>, LedgerError> {
        Ok(self.objects.scan(&self.name(FileClass::Hashes, folder)).await?)
    }

    /// What may leave the force, by its path under the ledger's folder.
    pub(super) async fn public(&self, path: &str) -> Result<Bytes, LedgerError> {
        let public = path == CHECKPOINT
            || TilePath::from_str(path).is_ok_and(|p| matches!(p.kind(), TileKind::Hashes { .. }));
        if !public {
            return Err(StoreError::NotFound { path: path.into() }.into());
        }
        Ok(self.objects.get(&self.name(FileClass::Hashes, path)).await?)
    }

    /// Clears away partial files that growing from `from` to `to` has made superfluous: those of tiles that are full
    /// now, and the entries and openings of the unfilled bundle as they were at `from`.
    ///
    /// Best effort: what stays is harmless, and goes when its tile is full.
    pub(super) async fn clear_superseded(&self, from: TreeSize, to: TreeSize) {
        let mut folders = Vec::new();
        let mut partials = |class, full: &str| folders.push(self.name(class, full) + ".p");
        for full in new_tiles(from, to).into_iter().filter(TilePath::is_full) {
            partials(FileClass::Hashes, &full.to_string());
        }
        for full in new_bundles(from, to).into_iter().filter(TilePath::is_full) {
            partials(FileClass::Entries, &full.to_string());
            partials(FileClass::Evidential, &openings_path(full));
            partials(FileClass::Personal, &openings_path(full));
        }
        let cleared = match self.objects.forget(self.last_bundle(from)).await {
            Ok(()) => self.objects.forget_in(folders).await,
            failed => failed,
        };
        if let Err(error) = cleared {
            tracing::warn!("superseded partial files stay: {error}");
        }
    }

    /// The files of the unfilled bundle at `size`, if it has one.
    fn last_bundle(&self, size: TreeSize) -> Vec<String> {
        let (index, width) = (size.0 / TILE_WIDTH, (size.0 % TILE_WIDTH) as u16);
        let Ok(bundle) = TilePath::entries(index, width) else { return Vec::new() };
        let range = openings_path(bundle);
        vec![
            self.name(FileClass::Entries, &bundle.to_string()),
            self.name(FileClass::Evidential, &range),
            self.name(FileClass::Personal, &range),
        ]
    }

    /// Moves aside what lies beyond `size`: written for a batch that was never published.
    pub(super) async fn set_aside_beyond(&self, size: TreeSize) -> Result<(), StoreError> {
        let classes =
            // Entries lie below the folder of hashes.
            [FileClass::Hashes, FileClass::Evidential, FileClass::Personal];
        let mut beyond = Vec::new();
        for class in classes {
            let (kept, folder) = (self.name(class, ""), self.folder(class));
            for found in self.objects.scan(&folder).await? {
                let path = found.name.as_str().strip_prefix(&kept).unwrap_or_default();
                let path = match class {
                    FileClass::Hashes | FileClass::Entries => path.to_owned(),
                    FileClass::Evidential | FileClass::Personal => bundle_path(path),
                };
                if path.parse().is_ok_and(|tile| is_beyond(&tile, size)) {
                    beyond.push(found.name);
                }
            }
        }
        if !beyond.is_empty() {
            tracing::warn!(files = beyond.len(), "files beyond the checkpoint are moved aside");
        }
        self.objects.set_aside(beyond).await
    }

    fn folder(&self, class: FileClass) -> String {
        match class {
            FileClass::Hashes | FileClass::Entries => self.name(class, "tile"),
            FileClass::Evidential | FileClass::Personal => {
                self.name(class, "").trim_end_matches('/').to_owned()
            }
        }
    }

    fn name(&self, class: FileClass, path: &str) -> String {
        let origin = &self.origin;
        match class {
            FileClass::Hashes | FileClass::Entries => format!("ledger/{origin}/{path}"),
            FileClass::Evidential => format!("ledger/{origin}/evidential/{path}"),
            FileClass::Personal => format!("openings/{origin}/{path}"),
        }
    }
}

/// The reverse of [`openings_path`].
fn bundle_path(openings: &str) -> String {
    format!("tile/entries/{openings}")
}

/// Whether a tile of `size` entries has fewer hashes than this one, or a bundle fewer entries.
fn is_beyond(tile: &TilePath, size: TreeSize) -> bool {
    let per_hash = match tile.kind() {
        TileKind::Hashes { level } => u32::from(level) * TILE_WIDTH.ilog2(),
        TileKind::Entries => 0,
    };
    let end = tile.index() * TILE_WIDTH + u64::from(tile.width());
    end > size.0.checked_shr(per_hash).unwrap_or(0)
}

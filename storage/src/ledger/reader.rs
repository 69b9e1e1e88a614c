//! Reading what is published: an entry in its place, with its proof under a checkpoint.

use std::collections::HashMap;

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::merkle::{ConsistencyProof, InclusionProof, leaf_hash};
use chain_of_custody::note::VerifierKey;
use chain_of_custody::tile::{TileHashes, TilePath};
use tokio::sync::watch;

use super::files::LedgerFiles;
use super::{LedgerError, Placed};
use crate::records::{Records, StoredEntry};

/// Entries so near to each other are read together.
const NEAR: u64 = 16;

/// What reading needs: shared by the ledger, its task and its followers.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(super) records: Records,
    pub(super) files: LedgerFiles,
    pub(super) published: watch::Receiver<SignedCheckpoint>,
    pub(super) log_key: VerifierKey,
}

impl Reader {
    pub(super) fn latest(&self) -> SignedCheckpoint {
        self.published.borrow().clone()
    }

    pub(super) async fn placed(&self, index: LeafIndex) -> Result<Placed, LedgerError> {
        self.placed_under(index, &self.latest()).await
    }

    pub(super) async fn placed_under(
        &self,
        index: LeafIndex,
        checkpoint: &SignedCheckpoint,
    ) -> Result<Placed, LedgerError> {
        let placed = self.placed_together(vec![index], checkpoint).await?;
        placed.into_iter().next().ok_or(LedgerError::NoSuchEntry(index))
    }

    /// Several entries with their proofs under one checkpoint, in the order asked for: neighbours are read together, and
    /// each tile once.
    pub(super) async fn placed_together(
        &self,
        indexes: Vec<LeafIndex>,
        checkpoint: &SignedCheckpoint,
    ) -> Result<Vec<Placed>, LedgerError> {
        let (size, root) = (checkpoint.unverified().size, checkpoint.unverified().root);
        let beyond = indexes.iter().find(|index| !size.covers(**index));
        if let Some(index) = beyond {
            return Err(LedgerError::NoSuchEntry(*index));
        }
        let stored = self.stored(&indexes).await?;
        let proofs = self.prove(indexes.clone(), size).await?;
        let place = |(index, proof): (LeafIndex, InclusionProof)| {
            let stored = stored.get(&index).cloned().ok_or(LedgerError::Damaged(index))?;
            proof
                .verify(&leaf_hash(&stored.bytes), &root)
                .map_err(|_| LedgerError::Damaged(index))?;
            let mut openings = stored.evidential;
            openings.extend(stored.personal);
            Ok(Placed {
                leaf_index: index,
                entry: stored.bytes,
                openings,
                proof,
                checkpoint: checkpoint.clone(),
                repeated: true,
            })
        };
        indexes.into_iter().zip(proofs).map(place).collect()
    }

    /// Entries as they are stored, by index.
    async fn stored(
        &self,
        indexes: &[LeafIndex],
    ) -> Result<HashMap<LeafIndex, StoredEntry>, LedgerError> {
        let mut sorted: Vec<_> = indexes.iter().map(|index| index.0).collect();
        sorted.sort_unstable();
        let mut found = HashMap::new();
        for near in sorted.chunk_by(|before, after| after - before <= NEAR) {
            let (Some(first), Some(last)) = (near.first(), near.last()) else { continue };
            let entries = self.records.entries(TreeSize(*first), TreeSize(last + 1)).await?;
            found.extend(entries.into_iter().map(|stored| (stored.index, stored)));
        }
        Ok(found)
    }

    async fn prove(
        &self,
        indexes: Vec<LeafIndex>,
        size: TreeSize,
    ) -> Result<Vec<InclusionProof>, LedgerError> {
        let about = indexes.first().copied().unwrap_or(LeafIndex(size.0));
        self.prove_from_tiles(size, about, move |hashes| {
            let prove = |index| InclusionProof::generate(index, size, &mut *hashes);
            indexes.into_iter().map(prove).collect::<Result<_, _>>().map_err(|e| e.to_string())
        })
        .await
    }

    /// That the tree of `new` entries begins with that of `old`.
    pub(super) async fn prove_growth(
        &self,
        old: TreeSize,
        new: TreeSize,
    ) -> Result<ConsistencyProof, LedgerError> {
        self.prove_from_tiles(new, LeafIndex(old.0), move |hashes| {
            ConsistencyProof::generate(old, new, hashes).map_err(|e| e.to_string())
        })
        .await
    }

    /// Tiles are asked for one after the other, on a thread where waiting is allowed.
    async fn prove_from_tiles<P: Send + 'static>(
        &self,
        size: TreeSize,
        about: LeafIndex,
        generate: impl FnOnce(&mut TileHashes<FetchTile>) -> Result<P, String> + Send + 'static,
    ) -> Result<P, LedgerError> {
        let (files, runtime) = (self.files.clone(), tokio::runtime::Handle::current());
        let work = move || {
            let fetch: FetchTile = Box::new(move |path| runtime.block_on(files.hash_tile(path)));
            generate(&mut TileHashes::new(size, fetch))
        };
        let proof = tokio::task::spawn_blocking(work).await;
        proof.map_err(|_| LedgerError::Closed)?.map_err(|error| {
            tracing::error!(entry = about.0, "a proof cannot be made: {error}");
            LedgerError::Damaged(about)
        })
    }
}

/// Reads one stored tile of hashes.
type FetchTile = Box<dyn FnMut(&TilePath) -> Result<Vec<u8>, LedgerError> + Send>;

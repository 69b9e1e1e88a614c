//! Appending and proving cost O(log n): counted in hashes and tiles, so that no clock decides a test.

use std::convert::Infallible;

use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::merkle::{
    ConsistencyProof, Frontier, Hash, InclusionProof, NodeId, leaf_hash,
};
use chain_of_custody::tile::{TileEdge, TileHashes, TilePath};
use proptest::prelude::*;

use crate::common::MemoryLedger;

proptest! {
    /// In trees far larger than any force's, a proof asks for at most two hashes a level.
    #[test]
    fn proofs_ask_for_few_hashes(size in 2..1u64 << 62, index in any::<prop::sample::Index>()) {
        let index = (index.index(usize::MAX) as u64) % size;
        let levels = u64::from(64 - size.leading_zeros());
        let mut asked = 0u64;
        let mut source = |node: NodeId| {
            asked += 1;
            assert!((node.index + 1) << node.level <= size, "{node:?} is not wholly inside {size}");
            Ok::<_, Infallible>(Hash([node.level; 32]))
        };
        let proof = InclusionProof::generate(LeafIndex(index), TreeSize(size), &mut source).unwrap();
        prop_assert!(proof.path.len() as u64 <= levels);
        ConsistencyProof::generate(TreeSize(index), TreeSize(size), &mut source).unwrap();
        prop_assert!(asked <= 4 * levels, "{asked} hashes for two proofs at {levels} levels");
    }

    /// A proof reads at most two tiles a level, and proofs of neighbours read nothing more.
    #[test]
    fn proofs_read_few_tiles(size in 1_000_000..1u64 << 40) {
        let mut read = 0;
        let mut source = TileHashes::new(TreeSize(size), |path: &TilePath| {
            read += 1;
            Ok::<_, Infallible>(vec![7; usize::from(path.width()) * 32])
        });
        for index in size - 64..size {
            InclusionProof::generate(LeafIndex(index), TreeSize(size), &mut source).unwrap();
        }
        prop_assert!(read <= 2 * 6, "{read} tiles");
    }
}

#[test]
fn appending_hashes_twice_at_most_on_average() {
    let mut frontier = Frontier::new();
    let mut completed = 0;
    for index in 0..10_000u64 {
        frontier.append_with(leaf_hash(&index.to_be_bytes()), |_, _| completed += 1);
    }
    assert!(completed < 20_000, "{completed} hashes for 10,000 leaves");
    assert_eq!(frontier.nodes().len(), 10_000u64.count_ones() as usize);
}

/// Three tile levels: restored, read and proved through tiles alone.
#[test]
fn a_tree_of_66_000_entries_stands_on_its_tiles() {
    const SIZE: u64 = 66_000;
    let mut ledger = MemoryLedger::of([]);
    for index in 0..SIZE {
        ledger.edge.append(leaf_hash(&index.to_be_bytes()));
        if index % 10_007 == 0 {
            ledger.publish();
        }
    }
    ledger.publish();
    let root = ledger.edge.root();
    for index in [0, 1, 255, 256, 65_535, 65_536, SIZE - 1] {
        let proof = ledger.prove(index, SIZE);
        assert_eq!(proof.verify(&leaf_hash(&index.to_be_bytes()), &root), Ok(()), "{index}");
    }
    let old = {
        let mut older = Frontier::new();
        (0..65_537u64).for_each(|index| {
            older.append(leaf_hash(&index.to_be_bytes()));
        });
        older.root()
    };
    assert_eq!(ledger.prove_growth(65_537, SIZE).verify(&old, &root), Ok(()));

    let mut restored = TileEdge::restore(TreeSize(SIZE), |path| ledger.fetch(path)).unwrap();
    assert_eq!(restored, ledger.edge);
    assert_eq!(restored.take_writes(), [], "nothing is new after a restart");
    restored.append(leaf_hash(b"next"));
    ledger.edge.append(leaf_hash(b"next"));
    assert_eq!(restored.root(), ledger.edge.root());
    assert_eq!(restored.take_writes(), ledger.edge.take_writes());
}

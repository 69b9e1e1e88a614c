//! Two crates that we did not write judge the tree (`ct-merkle`) and the notes (`signed_note`).

use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::merkle::{ConsistencyProof, Frontier, Hash, InclusionProof, leaf_hash};
use chain_of_custody::note::{SignedNote, Signer, SigningKey};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof as OracleConsistency, InclusionProof as OracleInclusion};
use proptest::prelude::*;
use sha2::Sha256;

use crate::common::MemoryLedger;

type Oracle = MemoryBackedTree<Sha256, Vec<u8>>;

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn oracle(size: u64) -> Oracle {
    let mut tree = Oracle::new();
    (0..size).for_each(|index| tree.push(entry(index)));
    tree
}

fn joined(path: &[Hash]) -> Vec<u8> {
    path.iter().flat_map(|hash| hash.0).collect()
}

#[test]
fn roots_at_every_size_to_600_agree() {
    let mut tree = Oracle::new();
    let mut frontier = Frontier::new();
    for index in 0..600 {
        tree.push(entry(index));
        frontier.append(leaf_hash(&entry(index)));
        assert_eq!(tree.root().as_bytes().as_slice(), frontier.root().0, "size {}", index + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Proofs are the same bytes, and each side accepts the other's.
    #[test]
    fn inclusion_proofs_agree(size in 1..700u64, index in any::<prop::sample::Index>()) {
        let index = index.index(size as usize) as u64;
        let (tree, ledger) = (oracle(size), MemoryLedger::of((0..size).map(entry)));
        let ours = ledger.prove(index, size);
        let theirs = tree.prove_inclusion(index as usize);
        prop_assert_eq!(theirs.as_bytes(), joined(&ours.path));

        let root = ledger.edge.root();
        prop_assert_eq!(ours.verify(&leaf_hash(&entry(index)), &root), Ok(()));
        let judged = OracleInclusion::try_from_bytes(joined(&ours.path)).unwrap();
        prop_assert!(tree.root().verify_inclusion(&entry(index), index, &judged).is_ok());
    }

    #[test]
    fn consistency_proofs_agree(new in 2..700u64, old in any::<prop::sample::Index>()) {
        let old = 1 + old.index(new as usize - 1) as u64;
        let (older, tree) = (oracle(old), oracle(new));
        let ledger = MemoryLedger::of((0..new).map(entry));
        let ours = ledger.prove_growth(old, new);
        let theirs = tree.prove_consistency((new - old) as usize);
        prop_assert_eq!(theirs.as_bytes(), joined(&ours.path));

        let (old_root, new_root) = (ledger.roots[old as usize], ledger.roots[new as usize]);
        prop_assert_eq!(ours.verify(&old_root, &new_root), Ok(()));
        let judged = OracleConsistency::try_from_bytes(joined(&ours.path)).unwrap();
        prop_assert!(tree.root().verify_consistency(&older.root(), &judged).is_ok());
    }

    /// A proof with one bit flipped, one hash more or less, another index or size, proves nothing.
    #[test]
    fn any_change_to_an_inclusion_proof_is_refused(
        size in 2..300u64,
        index in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(),
        other_size in 0..300u64,
    ) {
        let index = index.index(size as usize) as u64;
        let ledger = MemoryLedger::of((0..size).map(entry));
        let (good, leaf, root) = (ledger.prove(index, size), leaf_hash(&entry(index)), ledger.edge.root());
        let refused = |proof: InclusionProof| proof.verify(&leaf, &root).is_err();

        let bit = bit.index(good.path.len() * 256);
        let mut flipped = good.clone();
        flipped.path[bit / 256].0[bit % 256 / 8] ^= 1 << (bit % 8);
        prop_assert!(refused(flipped));
        let mut longer = good.clone();
        longer.path.push(root);
        prop_assert!(refused(longer));
        let mut shorter = good.clone();
        shorter.path.pop();
        prop_assert!(refused(shorter));
        for other in 0..size {
            let moved = InclusionProof { index: LeafIndex(other), ..good.clone() };
            prop_assert_eq!(refused(moved), other != index);
        }
        // The size itself is bound by the checkpoint's signature; a path fits sizes of the same shape only.
        let resized = InclusionProof { size: TreeSize(other_size), ..good.clone() };
        if resized.verify(&leaf, &root).is_ok() {
            prop_assert_eq!(ledger.prove(index, size).path.len(), good.path.len());
        }
        prop_assert!(good.verify(&leaf_hash(b"another entry"), &root).is_err());
    }

    #[test]
    fn any_change_to_a_consistency_proof_is_refused(
        new in 3..300u64,
        old in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(),
    ) {
        let old = 1 + old.index(new as usize - 1) as u64;
        let ledger = MemoryLedger::of((0..new).map(entry));
        let good = ledger.prove_growth(old, new);
        let (old_root, new_root) = (ledger.roots[old as usize], ledger.roots[new as usize]);
        let refused = |proof: ConsistencyProof| proof.verify(&old_root, &new_root).is_err();

        if !good.path.is_empty() {
            let bit = bit.index(good.path.len() * 256);
            let mut flipped = good.clone();
            flipped.path[bit / 256].0[bit % 256 / 8] ^= 1 << (bit % 8);
            prop_assert!(refused(flipped));
            let mut shorter = good.clone();
            shorter.path.pop();
            prop_assert!(refused(shorter));
        }
        let mut longer = good.clone();
        longer.path.push(new_root);
        prop_assert!(refused(longer));
        prop_assert!(good.verify(&new_root, &new_root).is_err());
        prop_assert!(good.verify(&old_root, &old_root).is_err());
    }

    /// The oracle opens our notes, we open the oracle's, and the bytes are the same.
    #[test]
    fn notes_agree(seed in any::<[u8; 32]>(), name in "[a-z][a-z0-9./-]{0,30}", lines in "[^\\p{Cc}]{0,60}") {
        let key = SigningKey::from_seed(&name, seed).unwrap();
        let text = format!("{lines}\n\nlast line\n");
        let ours = SignedNote::sign(&text, &[&key]).unwrap();

        let verifier = signed_note::StandardVerifier::new(&key.vkey().to_string()).unwrap();
        let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
        let theirs = signed_note::Note::from_bytes(ours.to_string().as_bytes()).unwrap();
        let (verified, unverified) = theirs.verify(&known).unwrap();
        prop_assert_eq!((verified.len(), unverified.len()), (1, 0));
        prop_assert_eq!(theirs.to_bytes(), ours.to_string().into_bytes());
        prop_assert_eq!(theirs.text(), text.as_bytes());
    }
}

#[test]
fn tile_paths_read_back_and_grow_as_the_tree_does() {
    let mut ledger = MemoryLedger::of([]);
    let mut sizes = vec![0u64];
    for step in [1u64, 254, 1, 1, 255, 257, 1000] {
        let size = ledger.size().0;
        (size..size + step).for_each(|index| ledger.append(entry(index)));
        ledger.publish();
        sizes.push(size + step);
    }
    let mut expected: Vec<String> = sizes
        .windows(2)
        .flat_map(|w| chain_of_custody::tile::new_tiles(TreeSize(w[0]), TreeSize(w[1])))
        .map(|path| path.to_string())
        .collect();
    let mut written: Vec<String> = ledger.tiles.keys().map(ToString::to_string).collect();
    expected.sort();
    written.sort();
    assert_eq!(written, expected);
    assert!(written.iter().all(|text| {
        text.parse::<chain_of_custody::tile::TilePath>().unwrap().to_string() == *text
    }));

    // At every published size a server that starts again from its tiles goes on with the same tree.
    for size in sizes {
        let restored =
            chain_of_custody::tile::TileEdge::restore(TreeSize(size), |path| ledger.fetch(path));
        assert_eq!(restored.unwrap().root(), ledger.roots[size as usize], "size {size}");
    }
}

//! What others published: C2SP's specifications, Go's sumdb, RFC 6962's known answers, the omniwitness tests.

use chain_of_custody::checkpoint::{Checkpoint, Cosignature, SignedCheckpoint};
use chain_of_custody::ids::TreeSize;
use chain_of_custody::merkle::{ConsistencyProof, EMPTY_ROOT, Frontier, Hash, leaf_hash};
use chain_of_custody::note::{NoteError, SignedNote, VerifierKey};
use chain_of_custody::policy::Policy;
use chain_of_custody::tile::{TilePath, new_tiles};

const PETER_VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\
    \n\
    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

/// golang.org/x/mod/sumdb/note, package example.
#[test]
fn peter_neumanns_note_opens() {
    let key = VerifierKey::parse(PETER_VKEY).unwrap();
    assert_eq!(key.to_string(), PETER_VKEY);
    let note = SignedNote::parse(PETER_NOTE.as_bytes()).unwrap();
    assert_eq!(note.to_string(), PETER_NOTE);
    assert_eq!(
        note.verify(std::slice::from_ref(&key)).unwrap().signed_by,
        std::slice::from_ref(&key)
    );

    let changed = PETER_NOTE.replace("cryptography", "Cryptography");
    let refused = SignedNote::parse(changed.as_bytes()).unwrap();
    assert_eq!(
        refused.verify(std::slice::from_ref(&key)),
        Err(NoteError::BadSignature { key: key.name().clone() })
    );
}

/// golang.org/x/mod/sumdb/note, TestNewVerifier: keys that must be refused.
#[test]
fn gos_bad_verifier_keys_are_refused() {
    for (name, bad) in [
        (
            "wrong_length_key",
            "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        ),
        ("unknown_algorithm", "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"),
        ("key_id_of_another", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"),
    ] {
        assert!(VerifierKey::parse(bad).is_err(), "{name}");
    }
}

/// c2sp.org/signed-note: a text with an empty line inside. (The specification does not print the key.)
#[test]
fn the_signed_note_example_splits_at_its_last_empty_line() {
    let example = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned \u{e8} subito sera.\n\n\
        \u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let note = SignedNote::parse(example.as_bytes()).unwrap();
    assert!(note.text().ends_with(":\n\ned \u{e8} subito sera.\n"));
    assert_eq!(note.to_string(), example);
    let stranger = VerifierKey::parse(PETER_VKEY).unwrap();
    assert_eq!(note.verify(&[stranger]), Err(NoteError::NoTrustedSignature));
}

/// c2sp.org/tlog-cosignature: the example with a cosignature of 2023-03-20, and the message it signs.
#[test]
fn the_cosignature_example_reads_back() {
    let example = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        \u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let signed = SignedCheckpoint::parse(example.as_bytes()).unwrap();
    assert_eq!(signed.to_string(), example);
    assert_eq!(signed.unverified().size, TreeSize(20_852_163));
    let cosignature = Cosignature::parse(&signed.note().signatures()[1]).unwrap();
    assert_eq!(cosignature.time_unix_s, 1_679_315_147);
    let message = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert_eq!(
        Cosignature::message(cosignature.time_unix_s, signed.note().text()),
        message.as_bytes()
    );
}

/// The known answers of the Certificate Transparency project for RFC 6962 (leaves and roots of sizes 0 to 8).
#[test]
fn rfc_6962_known_roots() {
    let leaves = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), EMPTY_ROOT);
    for (leaf, root) in leaves.into_iter().zip(roots) {
        frontier.append(leaf_hash(&hex::decode(leaf).unwrap()));
        assert_eq!(hex::encode(frontier.root().0), root, "size {}", frontier.size());
    }
}

/// github.com/transparency-dev/witness (internal/witness/witness_test.go): two signed checkpoints of one log and
/// the proof between them.
#[test]
fn the_omniwitness_checkpoints_and_proof() {
    let key = VerifierKey::parse("monkeys+db4d9f7e+AULaJMvTtDLHPUcUrjdDad9vDlh/PTfC2VV60JUtCfWT")
        .unwrap();
    let old = "monkeys\n5\n41smjBUiAU70EtKlT6lIOIYtRTYxYXsDB+XHfcvu/BE=\n\n\u{2014} monkeys 202fftzGl3LVoqjXfwCFZZXs8I+5G22+Ek2K0AOyBuSJ/8/CZawNF+6fNlTKOCd622pbzJNkkJFWuw9DbicZCkEx9AY=\n";
    let new = "monkeys\n8\nV8K9aklZ4EPB+RMOk1/8VsJUdFZR77GDtZUQq84vSbo=\n\n\u{2014} monkeys 202ffoUEboiQYpHzICeaFmoy3RNviHTpAxYrq/eO4QQVQMvu9UebKBMX2MJC76NLthZaKsnKbCA8GxrjePZhvDCH7Ag=\n";
    let policy = Policy::of_log(&key).unwrap();
    let accept = |text: &str| policy.accept(&text.parse().unwrap()).unwrap().checkpoint;
    let (old, new): (Checkpoint, Checkpoint) = (accept(old), accept(new));
    let path = [
        "b9e1d62618f7fee8034e4c5010f727ab24d8e4705cb296c374bf2025a87a10d2",
        "aac66cd7a79ce4012d80762fe8eec3a77f22d1ca4145c3f4cee022e7efcd599d",
        "89d0f753f66a290c483b39cd5e9eafb12021293395fad3d4a2ad053cfbcfdc9e",
        "29e40bb79c966f4c6fe96aff6f30acfce5f3e8d84c02215175d6e018a5dee833",
    ];
    let path = path.map(|text| Hash::from_slice(&hex::decode(text).unwrap()).unwrap()).to_vec();
    let proof = ConsistencyProof { old: old.size, new: new.size, path };
    assert_eq!(proof.verify(&old.root, &new.root), Ok(()));
}

/// c2sp.org/tlog-tiles: the name of tile 1234067 and the tiles of a tree of 70,000 entries.
#[test]
fn the_tile_examples() {
    assert_eq!(TilePath::hashes(0, 1_234_067, 256).unwrap().to_string(), "tile/0/x001/x234/067");
    assert_eq!(
        TilePath::entries(1_234_067, 5).unwrap().to_string(),
        "tile/entries/x001/x234/067.p/5"
    );
    let tiles = new_tiles(TreeSize(0), TreeSize(70_000));
    let names: Vec<String> = tiles.iter().map(ToString::to_string).collect();
    assert_eq!(
        names.iter().filter(|n| n.starts_with("tile/0/") && !n.contains(".p/")).count(),
        273
    );
    assert_eq!(
        names[273..],
        ["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]
    );
    let at_256: Vec<String> =
        new_tiles(TreeSize(0), TreeSize(256)).iter().map(ToString::to_string).collect();
    assert_eq!(at_256, ["tile/0/000", "tile/1/000.p/1"]);
}

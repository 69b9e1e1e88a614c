//! A small force with a ledger of its own, made with the pure crate only, and a bundle from it.
#![allow(dead_code, unreachable_pub, missing_debug_implementations, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use chain_of_custody::bundle::{
    BundleItem, BundleItems, Contents, DerivativeFile, DisclosedEntry, PUBLIC_KEY, PUBLIC_ROLE,
    PayloadFile, payload_manifest, seal, sshsig,
};
use chain_of_custody::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use chain_of_custody::command::Command;
use chain_of_custody::digest::{ContentHasher, Digests, Outboard, Sha256};
use chain_of_custody::entry::{Entry, EntrySubject, Opening, Salt};
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::heads::{Head, Heads};
use chain_of_custody::ids::{EventId, ItemId, LeafIndex, SubjectId, TreeSize};
use chain_of_custody::merkle::{Hash, InclusionProof, NodeId, leaf_hash, node_hash};
use chain_of_custody::note::{Signer, SigningKey};
use chain_of_custody::policy::Policy;
use chain_of_custody::proof::TlogProof;
use chain_of_custody::receipt::Receipt;
use chain_of_custody::time::Timestamp;

pub const ORIGIN: &str = "ledger.essex.example";

/// A ledger in memory.
pub struct Ledger {
    pub log_key: SigningKey,
    pub entries: Vec<(Vec<u8>, Vec<Opening>)>,
    heads: std::collections::BTreeMap<SubjectId, Head>,
}

impl Ledger {
    pub fn new(seed: u8) -> Self {
        Self::of(ORIGIN, seed)
    }

    pub fn of(origin: &str, seed: u8) -> Self {
        let log_key = SigningKey::from_seed(origin, [seed; 32]).unwrap();
        Self { log_key, entries: Vec::new(), heads: Default::default() }
    }

    pub fn policy(&self) -> Policy {
        Policy::of_log(&self.log_key.vkey()).unwrap()
    }

    pub fn append(&mut self, command: Command) -> LeafIndex {
        let index = LeafIndex(self.entries.len() as u64);
        let mut subjects = Vec::new();
        for id in &command.subjects {
            let before = self.heads.get(id).copied();
            let seq = before.map_or(0, |head| head.count);
            subjects.push(EntrySubject { id: id.clone(), seq, prev: before.map(|head| head.last) });
            self.heads.insert(id.clone(), Head { last: index, count: seq + 1 });
        }
        let entry = Entry {
            kind: command.kind,
            event: command.event,
            subjects,
            at: Timestamp::from_unix_millis(1_790_000_000_000 + index.0 as i64 * 1000).unwrap(),
            fields: command.commitments(),
            public: command.public.clone(),
        };
        self.entries.push((entry.to_bytes().unwrap(), command.fields));
        index
    }

    fn leaves(&self, size: u64) -> Vec<Hash> {
        self.entries[..size as usize].iter().map(|(bytes, _)| leaf_hash(bytes)).collect()
    }

    pub fn checkpoint(&self, size: u64) -> SignedCheckpoint {
        let root = root(&self.leaves(size));
        let origin = Origin::new(self.log_key.name()).unwrap();
        Checkpoint { origin, size: TreeSize(size), root }.sign(&self.log_key).unwrap()
    }

    pub fn proof(&self, index: LeafIndex, size: u64) -> TlogProof {
        let leaves = self.leaves(size);
        let mut source = |node: NodeId| {
            let width = 1usize << node.level;
            let start = node.index as usize * width;
            Ok::<_, ()>(root(&leaves[start..start + width]))
        };
        let proof = InclusionProof::generate(index, TreeSize(size), &mut source).unwrap();
        TlogProof::new(None, proof, self.checkpoint(size)).unwrap()
    }

    pub fn disclose(&self, index: LeafIndex, size: u64, allowed: &[&str]) -> DisclosedEntry {
        let (bytes, openings) = &self.entries[index.0 as usize];
        let allowed = |opening: &&Opening| allowed.contains(&opening.name.as_str());
        let openings = openings.iter().filter(allowed).cloned().collect();
        DisclosedEntry { index, bytes: bytes.clone(), openings, proof: self.proof(index, size) }
    }

    /// The receipt of an entry under the latest checkpoint.
    pub fn receipt(&self, index: LeafIndex, allowed: &[&str]) -> Receipt {
        let DisclosedEntry { bytes, openings, proof, .. } =
            self.disclose(index, self.entries.len() as u64, allowed);
        Receipt::build(&bytes, &openings, proof.inclusion(), proof.checkpoint).unwrap()
    }

    pub fn heads(&self, size: u64, subjects: &[SubjectId]) -> Heads {
        let listed = subjects.iter().map(|id| (id.clone(), self.heads[id])).collect();
        Heads::new(self.checkpoint(size).unverified(), listed).unwrap()
    }
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

pub fn item(number: u8) -> ItemId {
    format!("0193a7c2-0000-7000-8000-0000000000{number:02x}").parse().unwrap()
}

pub fn event(number: u8) -> EventId {
    format!("0193a7c2-0000-7000-9000-0000000000{number:02x}").parse().unwrap()
}

pub fn salt(number: u8) -> Salt {
    Salt([number; 32])
}

/// Bytes in which no stretch repeats.
pub fn footage(number: u8, bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(number);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

pub fn received(ledger: &mut Ledger, number: u8, bytes: &[u8]) -> LeafIndex {
    let digests = Digests::of(bytes);
    let command = Command::new(EventKind::ItemReceived, event(number)).touching(item(number));
    let command = command
        .field(field::SHA256, digests.sha256.to_string(), salt(number))
        .field(field::BLAKE3, digests.blake3.to_string(), salt(number.wrapping_add(50)))
        .field(field::SIZE_BYTES, bytes.len().to_string(), salt(number.wrapping_add(60)))
        .field(field::STATE, "stored", salt(number.wrapping_add(80)))
        .field(field::NAME, format!("clip {number}.mp4"), salt(number.wrapping_add(70)));
    ledger.append(command)
}

fn outboard(bytes: &[u8]) -> Vec<u8> {
    let mut hasher = ContentHasher::new();
    let mut values = hasher.update(bytes);
    values.push(hasher.finish().1);
    Outboard::new(bytes.len() as u64, values).unwrap().to_bytes()
}

/// A bundle on disk with everything that was used to make it.
pub struct Made {
    pub folder: tempfile::TempDir,
    pub ledger: Ledger,
    pub bundle_key: SigningKey,
    pub contents: Contents,
    pub payload: Vec<(String, Vec<u8>)>,
}

pub const CLIP_1: &str = "data/originals/001-clip_1.mp4";
pub const CLIP_2: &str = "data/originals/002-clip_2.mp4";
pub const PROXY_1: &str = "data/derivatives/001-proxy.mp4";
pub const ALLOWED: &[&str] = &[
    field::STATE,
    field::SHA256,
    field::BLAKE3,
    field::SIZE_BYTES,
    field::ORIGINAL_SHA256,
    field::RECIPE,
    field::PURPOSE,
    field::BUNDLE_DIGEST,
];

impl Made {
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("bundle")
    }

    pub fn file(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    pub fn policy_path(&self) -> PathBuf {
        let path = self.folder.path().join("policy-from-elsewhere");
        fs::write(&path, self.ledger.policy().as_bytes()).unwrap();
        path
    }

    /// Writes the list of tag files again and signs it, as the force itself could.
    pub fn reseal(&self, key: &dyn Signer) {
        let mut files = Vec::new();
        list(&self.path(), "", &mut files);
        files.retain(|(path, _)| !path.starts_with("data/") && !path.starts_with("tagmanifest"));
        write_all(&self.path(), &seal(&files, key).unwrap());
    }

    /// Writes the payload list again, from what is there now.
    pub fn relist_payload(&self) {
        let mut files = Vec::new();
        list(&self.path(), "", &mut files);
        files.retain(|(path, _)| path.starts_with("data/"));
        let payload = |(path, bytes): &(String, Vec<u8>)| PayloadFile {
            path: path.clone(),
            size_bytes: bytes.len() as u64,
            digests: Digests::of(bytes),
        };
        let payload: Vec<_> = files.iter().map(payload).collect();
        let contents = Contents { payload, ..self.contents.clone() };
        let keep = ["manifest-sha256.txt", "evidence/blake3sums.txt", "bag-info.txt"];
        let mut files = contents.files().unwrap();
        files.retain(|(path, _)| keep.contains(&path.as_str()));
        write_all(&self.path(), &files);
    }
}

pub fn list(folder: &Path, prefix: &str, out: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            list(&entry.path(), &format!("{path}/"), out);
        } else {
            out.push((path, fs::read(entry.path()).unwrap()));
        }
    }
    out.sort();
}

pub fn write_all(folder: &Path, files: &[(String, Vec<u8>)]) {
    for (path, bytes) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Two clips, a proxy of the first, and the hand-over recorded before they left.
pub fn bundle() -> Made {
    bundle_with(false)
}

pub fn bundle_with(heads: bool) -> Made {
    bundle_whose_proxy_is_of(heads, None)
}

/// The entry of the proxy names `original` instead of the clip that it was made from.
pub fn bundle_whose_proxy_is_of(heads: bool, original: Option<&[u8]>) -> Made {
    let mut ledger = Ledger::new(1);
    let bundle_key = SigningKey::from_seed("bundle.essex.example", [2; 32]).unwrap();
    let key = SubjectId::new(chain_of_custody::ids::SubjectKind::Key, "bundle").unwrap();
    let publish = Command::new(EventKind::KeyPublished, event(90))
        .touching(key)
        .public(PUBLIC_ROLE, "bundle")
        .public(PUBLIC_KEY, bundle_key.vkey().to_string());
    let published = ledger.append(publish);
    let (one, two, proxy) = (footage(1, 300_000), footage(2, 70_000), footage(3, 20_000));
    let first = received(&mut ledger, 1, &one);
    let second = received(&mut ledger, 2, &two);
    let digests = Digests::of(&proxy);
    let derived = Command::new(EventKind::ItemDerived, event(91)).touching(item(1));
    let derived = derived
        .field(field::SHA256, digests.sha256.to_string(), salt(91))
        .field(field::BLAKE3, digests.blake3.to_string(), salt(92))
        .field(field::SIZE_BYTES, proxy.len().to_string(), salt(93))
        .field(field::ORIGINAL_SHA256, Sha256::of(original.unwrap_or(&one)).to_string(), salt(94));
    let derived = ledger.append(derived);
    let payload =
        vec![(CLIP_1.to_owned(), one), (CLIP_2.to_owned(), two), (PROXY_1.to_owned(), proxy)];
    let listed: Vec<_> = payload
        .iter()
        .map(|(path, bytes)| PayloadFile {
            path: path.clone(),
            size_bytes: bytes.len() as u64,
            digests: Digests::of(bytes),
        })
        .collect();
    let exported = Command::new(EventKind::BundleExported, event(95))
        .touching(item(1))
        .touching(item(2))
        .field(field::PURPOSE, "court", salt(95))
        .field(
            field::BUNDLE_DIGEST,
            Sha256::of(payload_manifest(&listed).as_bytes()).to_string(),
            salt(96),
        );
    let exported = ledger.append(exported);
    let size = ledger.entries.len() as u64;
    // Somebody else's item is in the ledger and not in the bundle.
    let items = BundleItems {
        export: Some(exported),
        items: vec![
            BundleItem {
                item: item(1),
                entry: first,
                path: CLIP_1.to_owned(),
                derivatives: vec![DerivativeFile {
                    entry: derived,
                    path: PROXY_1.to_owned(),
                    is_before_original: false,
                }],
            },
            BundleItem {
                item: item(2),
                entry: second,
                path: CLIP_2.to_owned(),
                derivatives: vec![],
            },
        ],
    };
    let statement = ledger.heads(size, &[item(1).into(), item(2).into()]);
    let contents = Contents {
        items,
        payload: listed,
        entries: [published, first, second, derived, exported]
            .map(|index| ledger.disclose(index, size, ALLOWED))
            .to_vec(),
        checkpoint: ledger.checkpoint(size).to_string(),
        heads: heads.then(|| statement.sign(&bundle_key).unwrap().to_string()),
        policy: ledger.policy().as_bytes().to_vec(),
        allowed_signers: sshsig::allowed_signer(
            "bundle@essex.example",
            bundle_key.vkey().public_key(),
        ),
        bag_info: vec![("External-Identifier".into(), "JSM/1".into())],
        read_me: "<!doctype html><title>Read me</title>".into(),
        outboards: vec![(item(1), outboard(&payload[0].1)), (item(2), outboard(&payload[1].1))],
        ledger_files: Vec::new(),
        programs: Vec::new(),
    };
    let folder = tempfile::tempdir().unwrap();
    let made = Made { folder, ledger, bundle_key, contents, payload };
    let files = made.contents.files().unwrap();
    write_all(&made.path(), &made.payload);
    write_all(&made.path(), &files);
    write_all(&made.path(), &seal(&files, &made.bundle_key).unwrap());
    made
}

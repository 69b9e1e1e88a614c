//! Keys, entries and a small ledger that every test of this target shares. All of it is deterministic.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use chain_of_custody::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use chain_of_custody::claim::{CameraSignature, CapturedClaimed, ClockState, GivenName, Label};
use chain_of_custody::digest::Digests;
use chain_of_custody::entry::{Commitment, Entry, EntrySubject, FieldName, Opening, Salt};
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{LeafIndex, TreeSize};
use chain_of_custody::manifest::DockManifest;
use chain_of_custody::merkle::{ConsistencyProof, Hash, InclusionProof, leaf_hash};
use chain_of_custody::note::SigningKey;
use chain_of_custody::tile::{TileEdge, TileHashes, TilePath, encode_entries, new_bundles};
use sha2::{Digest as _, Sha256};

pub(crate) const ORIGIN: &str = "ledger.essex.example";
/// Entries of the example ledger: one full tile and a partial one.
pub(crate) const EXAMPLE_SIZE: u64 = 260;
/// The entry of the example ledger that receives a clip.
pub(crate) const RECEIVED: u64 = 2;

/// The 32 bytes of a test key: SHA-256 of its label. Never use such a key for anything real.
pub(crate) fn seed(label: &str) -> [u8; 32] {
    Sha256::digest(label).into()
}

pub(crate) fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, seed("test log")).unwrap()
}

pub(crate) fn receipt_key() -> SigningKey {
    SigningKey::from_seed("essex.example/receipt", seed("test receipt")).unwrap()
}

pub(crate) fn bundle_key() -> SigningKey {
    SigningKey::from_seed("essex.example/bundle", seed("test bundle")).unwrap()
}

pub(crate) fn agent_key() -> SigningKey {
    SigningKey::from_seed("dock-7.essex.example", seed("test dock agent")).unwrap()
}

pub(crate) fn witness_key(number: u8) -> SigningKey {
    let name = format!("witness{number}.example");
    SigningKey::for_cosignatures(&name, seed(&format!("test witness {number}"))).unwrap()
}

/// A ledger in memory, written through the tiles that storage would write.
#[derive(Default)]
pub(crate) struct MemoryLedger {
    pub(crate) edge: TileEdge,
    pub(crate) tiles: HashMap<TilePath, Vec<u8>>,
    pub(crate) entries: Vec<Vec<u8>>,
    /// Root at every size, from 0.
    pub(crate) roots: Vec<Hash>,
}

impl MemoryLedger {
    pub(crate) fn of(entries: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut ledger = Self { roots: vec![TileEdge::new().root()], ..Self::default() };
        entries.into_iter().for_each(|entry| ledger.append(entry));
        ledger.publish();
        ledger
    }

    pub(crate) fn append(&mut self, entry: Vec<u8>) {
        self.edge.append(leaf_hash(&entry));
        self.roots.push(self.edge.root());
        self.entries.push(entry);
    }

    /// Writes the tiles of what was appended since the last call.
    pub(crate) fn publish(&mut self) {
        for write in self.edge.take_writes() {
            self.tiles.insert(write.path, write.bytes);
        }
    }

    pub(crate) fn size(&self) -> TreeSize {
        self.edge.size()
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        self.checkpoint_at(self.size().0)
    }

    pub(crate) fn checkpoint_at(&self, size: u64) -> Checkpoint {
        let root = self.roots[usize::try_from(size).unwrap()];
        Checkpoint { origin: Origin::new(ORIGIN).unwrap(), size: TreeSize(size), root }
    }

    pub(crate) fn signed(&self) -> SignedCheckpoint {
        self.checkpoint().sign(&log_key()).unwrap()
    }

    /// Reads as a client of an older size does: the tile of that width, cut from a wider one where need be.
    pub(crate) fn fetch(&self, path: &TilePath) -> Result<Vec<u8>, ()> {
        if let Some(bytes) = self.tiles.get(path) {
            return Ok(bytes.clone());
        }
        let wider = (path.width() + 1..=256).find_map(|width| {
            self.tiles.get(&TilePath::hashes(level(path), path.index(), width).unwrap())
        });
        wider.map(|bytes| bytes[..usize::from(path.width()) * 32].to_vec()).ok_or(())
    }

    pub(crate) fn prove(&self, index: u64, size: u64) -> InclusionProof {
        let mut source = TileHashes::new(TreeSize(size), |path: &TilePath| self.fetch(path));
        InclusionProof::generate(LeafIndex(index), TreeSize(size), &mut source).unwrap()
    }

    pub(crate) fn prove_growth(&self, old: u64, new: u64) -> ConsistencyProof {
        let mut source = TileHashes::new(TreeSize(new), |path: &TilePath| self.fetch(path));
        ConsistencyProof::generate(TreeSize(old), TreeSize(new), &mut source).unwrap()
    }

    /// Every file of the published tree but the checkpoint.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let hashes = self.tiles.iter().map(|(path, bytes)| (path.to_string(), bytes.clone()));
        let bundles = new_bundles(TreeSize(0), self.size()).into_iter().map(|path| {
            let start = usize::try_from(path.index()).unwrap() * 256;
            let entries = &self.entries[start..start + usize::from(path.width())];
            (path.to_string(), encode_entries(entries).unwrap())
        });
        hashes.chain(bundles).collect()
    }
}

fn level(path: &TilePath) -> u8 {
    match path.kind() {
        chain_of_custody::tile::TileKind::Hashes { level } => level,
        chain_of_custody::tile::TileKind::Entries => panic!("only hashes are fetched here"),
    }
}

/// The example ledger: opened, a key published, one clip received, then acts that commit to nothing.
pub(crate) fn example_ledger() -> &'static MemoryLedger {
    static LEDGER: LazyLock<MemoryLedger> = LazyLock::new(|| {
        MemoryLedger::of((0..EXAMPLE_SIZE).map(|index| match index {
            RECEIVED => received().0.to_bytes().unwrap(),
            _ => plain_entry(index).to_bytes().unwrap(),
        }))
    });
    &LEDGER
}

fn event_id(index: u64) -> chain_of_custody::ids::EventId {
    format!("0193a7c2-0000-7000-8000-{index:012x}").parse().unwrap()
}

fn at(index: u64) -> chain_of_custody::time::Timestamp {
    let millis = 1_795_370_645_000 + i64::try_from(index).unwrap() * 1000;
    chain_of_custody::time::Timestamp::from_unix_millis(millis).unwrap()
}

fn plain_entry(index: u64) -> Entry {
    let (kind, seq) = match index {
        0 => (EventKind::LedgerOpened, 0),
        1 => (EventKind::KeyPublished, 1),
        _ => (EventKind::ConfigurationLowered, if index > RECEIVED { index - 1 } else { index }),
    };
    let prev = match index {
        0 => None,
        n if n == RECEIVED + 1 => Some(LeafIndex(RECEIVED - 1)),
        n => Some(LeafIndex(n - 1)),
    };
    let force = EntrySubject { id: "force:essex".parse().unwrap(), seq, prev };
    Entry {
        kind,
        event: event_id(index),
        subjects: vec![force],
        at: at(index),
        fields: BTreeMap::new(),
        public: BTreeMap::new(),
    }
}

pub(crate) const ITEM: &str = "0193a7c2-0000-7000-8000-00000000f00d";
pub(crate) const CLIP: &[u8] = b"the bytes of a clip";

/// The entry that receives a clip, with the openings of all its fields.
pub(crate) fn received() -> (Entry, Vec<Opening>) {
    let digests = Digests::of(CLIP);
    received_with(&[
        (field::SHA256, digests.sha256.to_string()),
        (field::BLAKE3, digests.blake3.to_string()),
        (field::SIZE_BYTES, CLIP.len().to_string()),
        (field::STATE, "stored".into()),
        (field::READ_BY, "dock-7.essex.example".into()),
        (field::CAMERA, "AXW100-ACCC8E000001".into()),
        (field::CAPTURED_CLAIMED, captured().to_string()),
        (field::CAMERA_SIGNATURE, CameraSignature::Absent.to_string()),
        (field::CLOCK, clock().to_string()),
        (field::COPIES, "2".into()),
        (field::NAME, "Clip 01 \u{2014} caf\u{e9}.mp4".into()),
    ])
}

pub(crate) fn received_with(fields: &[(&str, String)]) -> (Entry, Vec<Opening>) {
    let event = event_id(RECEIVED);
    let openings: Vec<Opening> = fields
        .iter()
        .map(|(name, value)| Opening {
            name: name.parse().unwrap(),
            salt: Salt(seed(&format!("salt of {name}"))),
            value: value.clone(),
        })
        .collect();
    let commit = |o: &Opening| -> (FieldName, Commitment) {
        (o.name.clone(), Commitment::to(event, &o.name, &o.salt, &o.value))
    };
    let entry = Entry {
        kind: EventKind::ItemReceived,
        event,
        subjects: vec![EntrySubject {
            id: format!("item:{ITEM}").parse().unwrap(),
            seq: 0,
            prev: None,
        }],
        at: at(RECEIVED),
        fields: openings.iter().map(commit).collect(),
        public: BTreeMap::new(),
    };
    (entry, openings)
}

pub(crate) fn captured() -> CapturedClaimed {
    CapturedClaimed {
        start: "2026-11-22T16:40:11.000Z".parse().unwrap(),
        end: "2026-11-22T16:58:02.000Z".parse().unwrap(),
    }
}

pub(crate) fn clock() -> ClockState {
    ClockState::Synchronised { source: Label::new("ntp").unwrap(), error_ms: 12 }
}

pub(crate) fn manifest() -> DockManifest {
    DockManifest {
        name: GivenName::new("Clip 01 \u{2014} caf\u{e9}.mp4\n\u{202e}4pm").unwrap(),
        size_bytes: CLIP.len() as u64,
        digests: Digests::of(CLIP),
        camera: Some(Label::new("AXW100-ACCC8E000001").unwrap()),
        recording: Some(Label::new("20261122_164011").unwrap()),
        captured_claimed: Some(captured()),
        agent_seq: 57,
        source_seq: None,
    }
}

//! What a batch of entries makes of the tree: its tiles, entry bundles and openings as files, its root, its proofs.
//!
//! Names and bytes depend on the entries and openings alone, so that writing them again after a crash is harmless.

use std::collections::HashMap;
use std::sync::Arc;

use super::decide::PlacedEntry;
use crate::canonical;
use crate::entry::{BadEntry, Opening};
use crate::event::Class;
use crate::ids::{LeafIndex, TreeSize};
use crate::malformed::Malformed;
use crate::merkle::{Hash, InclusionProof, NodeId, leaf_hash};
use crate::tile::{TILE_WIDTH, TileEdge, TilePath, encode_entries, new_bundles};

const OPENINGS: &str = "openings file";
const ENTRIES_PREFIX: &str = "tile/entries/";

/// A tree that grows, with what its next files need: the edge of the tree and the entries of its unfilled bundle.
#[derive(Debug, Clone, Default)]
pub struct Growth {
    edge: TileEdge,
    /// Invariant: the last `size % 256` entries.
    unfilled: Vec<Lines>,
}

/// An entry as it stands in the files of its bundle: made once, written with each batch until the bundle is full.
#[derive(Debug, Clone)]
struct Lines {
    placed: Arc<PlacedEntry>,
    evidential: Vec<u8>,
    personal: Vec<u8>,
}

/// Who may read a file, and so where it rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileClass {
    /// Hashes: may leave the force.
    Hashes,
    /// Entries: only with an auditor's grant.
    Entries,
    /// Evidential openings: locked like originals, encrypted.
    Evidential,
    /// Personal openings: erasable, encrypted.
    Personal,
}

/// One file to write, create-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWrite {
    pub class: FileClass,
    /// For hashes and entries as C2SP names them; for openings only the part after `entries/`.
    pub path: String,
    pub bytes: Vec<u8>,
}

/// What a batch added.
#[derive(Debug, Clone)]
pub struct Grown {
    pub from: TreeSize,
    pub to: TreeSize,
    pub root: Hash,
    pub files: Vec<FileWrite>,
    pub entries: Vec<Arc<PlacedEntry>>,
    /// Every complete subtree that a proof for one of the new entries can need.
    nodes: HashMap<NodeId, Hash>,
}

impl Growth {
    /// Goes on from a stored tree. `unfilled` are the entries of its last bundle, if that is not full.
    ///
    /// # Errors
    /// [`Malformed`] when they are not the last `size % 256` ones.
    pub fn restore(edge: TileEdge, unfilled: Vec<PlacedEntry>) -> Result<Self, Malformed> {
        let size = edge.size().0;
        let expected = size - size % TILE_WIDTH..size;
        if !unfilled.iter().map(|placed| placed.index.0).eq(expected) {
            return Err(Malformed::new("growth", "the unfilled bundle has other entries"));
        }
        Ok(Self { edge, unfilled: unfilled.into_iter().map(Arc::new).map(Lines::of).collect() })
    }

    pub fn size(&self) -> TreeSize {
        self.edge.size()
    }

    pub fn root(&self) -> Hash {
        self.edge.root()
    }

    /// Appends entries whose indexes follow the size.
    ///
    /// # Panics
    /// When they do not: our mistake, and nothing may be written then.
    pub fn append(&mut self, entries: Vec<PlacedEntry>) -> Grown {
        let from = self.size();
        let mut nodes = self.frontier_nodes();
        let entries: Vec<_> = entries.into_iter().map(Arc::new).collect();
        for placed in &entries {
            let index = self.edge.append_with(leaf_hash(&placed.bytes), |node, hash| {
                nodes.insert(node, hash);
            });
            assert_eq!(index, placed.index, "an entry's place is where the tree ends");
        }
        let (to, root) = (self.size(), self.root());
        let mut files: Vec<_> = self.edge.take_writes().into_iter().map(hash_file).collect();
        self.unfilled.extend(entries.iter().cloned().map(Lines::of));
        files.extend(self.bundle_files(from, to));
        let filled = self.unfilled.len() - (to.0 % TILE_WIDTH) as usize;
        self.unfilled.drain(..filled);
        Grown { from, to, root, files, entries, nodes }
    }

    /// The complete subtrees left of the next entry: their ids follow from the bits of the size.
    fn frontier_nodes(&self) -> HashMap<NodeId, Hash> {
        let size = self.size().0;
        let mut start = 0;
        let levels = (0..64u8).rev().filter(|level| size >> level & 1 == 1);
        let ids = levels.map(|level| {
            let node = NodeId { level, index: start >> level };
            start += 1 << level;
            node
        });
        ids.zip(self.edge.frontier().nodes().iter().copied()).collect()
    }

    fn bundle_files(&self, from: TreeSize, to: TreeSize) -> Vec<FileWrite> {
        let first = self.unfilled.first().map_or(from.0, |lines| lines.placed.index.0);
        new_bundles(from, to)
            .into_iter()
            .flat_map(|path| {
                let start = (path.index() * TILE_WIDTH - first) as usize;
                files_of_bundle(path, &self.unfilled[start..start + usize::from(path.width())])
            })
            .collect()
    }
}

impl Grown {
    /// The proof of a new entry in the tree after this batch.
    pub fn prove(&self, index: LeafIndex) -> Option<InclusionProof> {
        let mut source = |node: NodeId| self.nodes.get(&node).copied().ok_or(());
        InclusionProof::generate(index, self.to, &mut source).ok()
    }

    /// A new entry.
    pub fn entry(&self, index: LeafIndex) -> Option<&Arc<PlacedEntry>> {
        let position = index.0.checked_sub(self.from.0)?;
        self.entries.get(usize::try_from(position).ok()?)
    }
}

fn hash_file(write: crate::tile::TileWrite) -> FileWrite {
    FileWrite { class: FileClass::Hashes, path: write.path.to_string(), bytes: write.bytes }
}

impl Lines {
    fn of(placed: Arc<PlacedEntry>) -> Self {
        let line = |class| encode_openings([(placed.index, placed.openings_of(class))]);
        let (evidential, personal) = (line(Class::Evidential), line(Class::Personal));
        Self { placed, evidential, personal }
    }
}

fn files_of_bundle(path: TilePath, entries: &[Lines]) -> [FileWrite; 3] {
    let bytes: Vec<&[u8]> = entries.iter().map(|lines| lines.placed.bytes.as_slice()).collect();
    let bundle = encode_entries(&bytes).expect("1 to 256 entries within their limit");
    let all = |line: fn(&Lines) -> &[u8]| entries.iter().map(line).collect::<Vec<_>>().concat();
    let file = |class, path: String, bytes| FileWrite { class, path, bytes };
    let range = openings_path(path);
    [
        file(FileClass::Entries, path.to_string(), bundle),
        file(FileClass::Evidential, range.clone(), all(|lines| &lines.evidential)),
        file(FileClass::Personal, range, all(|lines| &lines.personal)),
    ]
}

/// The name of the openings that belong to an entry bundle: the same without `tile/entries/`.
pub fn openings_path(bundle: TilePath) -> String {
    let path = bundle.to_string();
    path.strip_prefix(ENTRIES_PREFIX).map_or(path.clone(), str::to_owned)
}

/// An openings file: one line of canonical JSON per entry, `{"entry":N,"openings":[…]}`, in the ledger's order, also
/// for an entry without any of the class.
pub fn encode_openings<'a, O>(entries: impl IntoIterator<Item = (LeafIndex, O)>) -> Vec<u8>
where
    O: IntoIterator<Item = &'a Opening>,
{
    let mut bytes = Vec::new();
    for (index, openings) in entries {
        let mut line = canonical::Object::begin(&mut bytes);
        line.integer("entry", index.0).expect("no ledger reaches 2^53 entries");
        Opening::write_array(line.key("openings"), openings);
        line.end();
        bytes.push(b'\n');
    }
    bytes
}

/// Reads what [`encode_openings`] wrote.
///
/// # Errors
/// [`Malformed`], or the opening at fault.
pub fn decode_openings(bytes: &[u8]) -> Result<Vec<(LeafIndex, Vec<Opening>)>, BadEntry> {
    let Some(bytes) = bytes.strip_suffix(b"\n") else {
        return if bytes.is_empty() { Ok(Vec::new()) } else { Err(BadEntry::Key(OPENINGS)) };
    };
    bytes.split(|byte| *byte == b'\n').map(decode_line).collect()
}

fn decode_line(line: &[u8]) -> Result<(LeafIndex, Vec<Opening>), BadEntry> {
    let value = canonical::parse(line)?;
    let map = value.as_object().filter(|map| map.len() == 2).ok_or(BadEntry::Key(OPENINGS))?;
    let index = map.get("entry").and_then(|v| v.as_u64()).ok_or(BadEntry::Key("entry"))?;
    let openings =
        map.get("openings").and_then(|v| v.as_array()).ok_or(BadEntry::Key("openings"))?;
    let openings = openings.iter().map(Opening::from_json).collect::<Result<_, _>>()?;
    Ok((LeafIndex(index), openings))
}

impl PlacedEntry {
    /// Its openings of one class, in their order.
    pub fn openings_of(&self, class: Class) -> impl Iterator<Item = &Opening> {
        self.openings.iter().filter(move |opening| opening.name.class() == class)
    }
}

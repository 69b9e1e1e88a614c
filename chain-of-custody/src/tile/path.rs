//! Tile names, and which tiles a tree of a given size has.

use std::fmt;
use std::str::FromStr;

use super::{MAX_TILE_LEVEL, TILE_HEIGHT, TILE_WIDTH};
use crate::ids::TreeSize;
use crate::malformed::Malformed;

const TILE: &str = "tile path";
/// Longer names are refused before they are looked at.
const MAX_PATH_BYTES: usize = 96;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes of complete subtrees of 256^level leaves.
    Hashes { level: u8 },
    /// Entries, each behind its length.
    Entries,
}

/// The name of one tile: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    /// 1 to 256; 256 is a full tile.
    width: u16,
}

impl TilePath {
    /// A tile of hashes; refused where no ledger can have one.
    pub fn hashes(level: u8, index: u64, width: u16) -> Result<Self, Malformed> {
        if level > MAX_TILE_LEVEL {
            return Err(Malformed::new(TILE, "the level is too high"));
        }
        Self::checked(TileKind::Hashes { level }, index, width)
    }

    /// A bundle of entries.
    pub fn entries(index: u64, width: u16) -> Result<Self, Malformed> {
        Self::checked(TileKind::Entries, index, width)
    }

    fn checked(kind: TileKind, index: u64, width: u16) -> Result<Self, Malformed> {
        if width == 0 || u64::from(width) > TILE_WIDTH {
            return Err(Malformed::new(TILE, "the width is not between 1 and 256"));
        }
        let path = Self { kind, index, width };
        let leaves_shift = u32::from(path.level() + 1) * u32::from(TILE_HEIGHT);
        if index > u64::MAX.checked_shr(leaves_shift).unwrap_or(0) {
            return Err(Malformed::new(TILE, "the index is too large"));
        }
        Ok(path)
    }

    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Which tile of its level it is, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds.
    pub fn width(&self) -> u16 {
        self.width
    }

    pub fn is_full(&self) -> bool {
        u64::from(self.width) == TILE_WIDTH
    }

    /// The full tile that replaces this one in time.
    pub fn full(&self) -> Self {
        Self { width: TILE_WIDTH as u16, ..*self }
    }

    fn level(&self) -> u8 {
        match self.kind {
            TileKind::Hashes { level } => level,
            TileKind::Entries => 0,
        }
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        let (last, leading) = groups.split_first().expect("there is always a last group");
        leading.iter().rev().try_for_each(|group| write!(f, "x{group:03}/"))?;
        write!(f, "{last:03}")?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for TilePath {
    type Err = Malformed;

    /// Reads the one spelling that `Display` writes.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.len() > MAX_PATH_BYTES {
            return Err(Malformed::new(TILE, "it is too long"));
        }
        let rest = text
            .strip_prefix("tile/")
            .ok_or(Malformed::new(TILE, "it does not start with tile/"))?;
        let (kind, rest) = rest.split_once('/').ok_or(Malformed::new(TILE, "it has no index"))?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, parse_width(width)?),
            None => (rest, TILE_WIDTH as u16),
        };
        let index = parse_index(index)?;
        let path = match kind {
            "entries" => Self::entries(index, width)?,
            level => Self::hashes(parse_level(level)?, index, width)?,
        };
        // One tile, one spelling: leading zeroes and empty groups do not read back as they were written.
        if path.to_string() == text {
            Ok(path)
        } else {
            Err(Malformed::new(TILE, "it is not in its one spelling"))
        }
    }
}

fn parse_level(text: &str) -> Result<u8, Malformed> {
    text.parse().map_err(|_| Malformed::new(TILE, "the level is no number"))
}

fn parse_width(text: &str) -> Result<u16, Malformed> {
    match text.parse() {
        Ok(width) if u64::from(width) < TILE_WIDTH => Ok(width),
        _ => Err(Malformed::new(TILE, "the width of a partial tile is not between 1 and 255")),
    }
}

fn parse_index(text: &str) -> Result<u64, Malformed> {
    let bad = Malformed::new(TILE, "the index is not groups of three digits");
    let (leading, last) = text.rsplit_once('/').map_or((None, text), |(l, last)| (Some(l), last));
    let leading = leading
        .into_iter()
        .flat_map(|groups| groups.split('/'))
        .map(|group| group.strip_prefix('x'));
    leading.chain([Some(last)]).try_fold(0u64, |index, group| {
        let digits =
            group.filter(|g| g.len() == 3 && g.bytes().all(|b| b.is_ascii_digit())).ok_or(bad)?;
        let group: u64 = digits.parse().map_err(|_| bad)?;
        index.checked_mul(1000).and_then(|i| i.checked_add(group)).ok_or(bad)
    })
}

/// The tiles of hashes to write when the tree grows from `old` to `new`: those that became full, and the partial
/// ones of the new size; lower levels first. Empty unless it grows.
pub fn new_tiles(old: TreeSize, new: TreeSize) -> Vec<TilePath> {
    (0..=MAX_TILE_LEVEL)
        .flat_map(|level| grown(TileKind::Hashes { level }, level, old, new))
        .collect()
}

/// The entry bundles to write when the tree grows from `old` to `new`.
pub fn new_bundles(old: TreeSize, new: TreeSize) -> Vec<TilePath> {
    grown(TileKind::Entries, 0, old, new).collect()
}

fn grown(
    kind: TileKind,
    level: u8,
    old: TreeSize,
    new: TreeSize,
) -> impl Iterator<Item = TilePath> {
    let shift = u32::from(level) * u32::from(TILE_HEIGHT);
    let (old, new) = (old.0 >> shift, new.0 >> shift);
    let full = (old / TILE_WIDTH..new / TILE_WIDTH).map(move |index| TilePath {
        kind,
        index,
        width: TILE_WIDTH as u16,
    });
    let partial = (old < new && new % TILE_WIDTH != 0).then_some(TilePath {
        kind,
        index: new / TILE_WIDTH,
        width: (new % TILE_WIDTH) as u16,
    });
    full.chain(partial)
}

/// The width that tile `index` of `level` has in a tree of `size` leaves; none where there is no such tile.
pub(super) fn width_at(level: u8, index: u64, size: TreeSize) -> Option<u16> {
    let hashes = size.0.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT))?;
    let width = hashes.saturating_sub(index.checked_mul(TILE_WIDTH)?).min(TILE_WIDTH);
    (width > 0).then_some(width as u16)
}

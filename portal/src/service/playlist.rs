//! Playlists (RFC 8216) of viewing copies, for players that would rather ask for seconds than for a file.
//!
//! Nothing is cut or stored for them: a viewing copy is a fragmented MP4 with an index in front (`sidx`), and a playlist is
//! that index in other words. The index was written by the worker, so it is read as if somebody else had.

use std::fmt::Write as _;

use serde_json::Value;

/// The head of a viewing copy is one frame of the worker's protocol.
pub(super) const MAX_HEAD_BYTES: u64 = 1 << 20;
/// Kind and length of a box.
const HEADER_BYTES: usize = 8;

/// Where everything is in a viewing copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// What a player needs before any of it.
    head_bytes: usize,
    /// Where the first piece begins.
    begin: u64,
    ticks_per_second: u32,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    bytes: u32,
    ticks: u32,
}

impl Index {
    /// Reads it from the beginning of a viewing copy of `size_bytes`; none unless it leads to exactly all of it.
    pub(super) fn read(head: &[u8], size_bytes: u64) -> Option<Self> {
        let mut at = 0;
        loop {
            let length = usize::try_from(number(head, at)?).ok()?;
            let boxed = head.get(at..at.checked_add(length)?)?;
            match boxed.get(4..HEADER_BYTES)? {
                b"sidx" => return Self::of(at, boxed, size_bytes),
                b"ftyp" | b"moov" => at += length,
                _ => return None,
            }
        }
    }

    /// ISO/IEC 14496-12, 8.16.3, version 1, as our worker writes it.
    fn of(at: usize, sidx: &[u8], size_bytes: u64) -> Option<Self> {
        let ticks_per_second = number(sidx, 16).filter(|ticks| *ticks > 0)?;
        let is_ours = sidx.get(8) == Some(&1) && sidx.get(28..36)? == [0; 8];
        let count = number(sidx, 36)? & 0xffff;
        let piece = |line: usize| {
            let bytes = number(sidx, 40 + 12 * line).filter(|bytes| bytes >> 31 == 0)?;
            Some(Piece { bytes, ticks: number(sidx, 44 + 12 * line)? })
        };
        let pieces: Vec<Piece> = (0..count as usize).map(piece).collect::<Option<_>>()?;
        let begin = (at + sidx.len()) as u64;
        let end = pieces.iter().fold(begin, |end, piece| end + u64::from(piece.bytes));
        let index = Self { head_bytes: at, begin, ticks_per_second, pieces };
        (is_ours && !index.pieces.is_empty() && end == size_bytes).then_some(index)
    }

    /// The playlist of the file called `name`.
    pub(super) fn playlist(&self, name: &str) -> String {
        let longest = self.pieces.iter().map(|piece| piece.ticks).max().unwrap_or(0);
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-PLAYLIST-TYPE:VOD\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"{name}\",BYTERANGE=\"{}@0\"\n",
            longest.div_ceil(self.ticks_per_second).max(1),
            self.head_bytes
        );
        let mut at = self.begin;
        for piece in &self.pieces {
            let seconds = f64::from(piece.ticks) / f64::from(self.ticks_per_second);
            let bytes = piece.bytes;
            write!(text, "#EXTINF:{seconds:.5},\n#EXT-X-BYTERANGE:{bytes}@{at}\n{name}\n")
                .expect("text takes text");
            at += u64::from(bytes);
        }
        text + "#EXT-X-ENDLIST\n"
    }

    /// The most that comes in a second, and the mean, in bits.
    fn bit_rates(&self) -> (u64, u64) {
        let of = |bytes: u64, ticks: u64| {
            let bits = u128::from(bytes) * 8 * u128::from(self.ticks_per_second);
            u64::try_from(bits.div_ceil(u128::from(ticks.max(1)))).unwrap_or(u64::MAX)
        };
        let lasting = self.pieces.iter().filter(|piece| piece.ticks > 0);
        let most = lasting.map(|piece| of(piece.bytes.into(), piece.ticks.into())).max();
        let sum = |of: fn(&Piece) -> u32| self.pieces.iter().map(|p| u64::from(of(p))).sum();
        let mean = of(sum(|p| p.bytes), sum(|p| p.ticks));
        (most.unwrap_or(mean), mean)
    }

    /// The line of a list of playlists that is about this one. `recipe` is that of its `item.derived`.
    pub(super) fn variant(&self, name: &str, recipe: &Value) -> String {
        let (most, mean) = self.bit_rates();
        let size = size(recipe).map(|(w, h)| format!(",RESOLUTION={w}x{h}")).unwrap_or_default();
        format!("#EXT-X-STREAM-INF:BANDWIDTH={most},AVERAGE-BANDWIDTH={mean}{size}\n{name}\n")
    }
}

/// The list of playlists, given the line of each.
pub(super) fn list(variants: &[String]) -> String {
    format!("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n{}", variants.concat())
}

/// Of the picture, as the worker says it made it.
fn size(recipe: &Value) -> Option<(u32, u32)> {
    let how = recipe["made-with"]["codecs"]["video"].as_str()?;
    let size = how.split(' ').find_map(|word| word.strip_prefix("size="))?;
    let (width, height) = size.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    fn numbers(all: &[u32]) -> Vec<u8> {
        all.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    /// Two pieces of 100 and 300 bytes, of two seconds and one.
    fn head() -> Vec<u8> {
        let about = [0x0100_0000, 1, 1000, 0, 0, 0, 0, 2];
        let lines = [100, 2000, 0x9000_0000, 300, 1000, 0x9000_0000];
        let sidx = boxed(b"sidx", &numbers(&[&about[..], &lines].concat()));
        [boxed(b"ftyp", b"isom"), boxed(b"moov", &[7; 20]), sidx].concat()
    }

    #[test]
    fn an_index_leads_to_all_of_the_file_or_is_none() {
        let head = head();
        let size = head.len() as u64 + 400;
        let index = Index::read(&head, size).unwrap();
        assert_eq!((index.head_bytes, index.begin), (40, head.len() as u64));
        assert_eq!(index.bit_rates(), (2400, 1067));
        let playlist = index.playlist("proxy.mp4");
        for line in [
            "#EXT-X-TARGETDURATION:2",
            "#EXT-X-MAP:URI=\"proxy.mp4\",BYTERANGE=\"40@0\"",
            "#EXTINF:2.00000,\n#EXT-X-BYTERANGE:100@104\nproxy.mp4",
            "#EXTINF:1.00000,\n#EXT-X-BYTERANGE:300@204\nproxy.mp4",
        ] {
            assert!(playlist.contains(&format!("{line}\n")), "{line}: {playlist}");
        }
        for wrong in [0, size - 1, size + 1] {
            assert_eq!(Index::read(&head, wrong), None, "{wrong}");
        }
        for end in 0..head.len() {
            assert_eq!(Index::read(&head[..end], size), None, "{end}");
        }
        // Another version, a place further on, no clock, an index of indexes, a box that has no length.
        for (at, byte) in [(48, 0), (75, 1), (58, 0), (80, 0x80), (3, 0)] {
            let mut other = head.clone();
            other[at] = byte;
            if at == 58 {
                other[59] = 0;
            }
            assert_eq!(Index::read(&other, size), None, "{at}");
        }
    }
}

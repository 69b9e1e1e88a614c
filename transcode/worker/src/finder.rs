//! Where a packet lies in the original: what a demuxer says of it is where to look, and only equal bytes are believed.

use std::io::{Read, Seek, SeekFrom};

use ffmpeg_next::Packet;

use crate::channel::RangeReader;

/// What comes between the place that a demuxer names (a block, a tag) and the packet: its header, with the sizes of packets that share it.
const MOST_BETWEEN_BYTES: usize = 128;

/// Finds packets of one stream, in the order in which they are read.
pub(crate) struct Finder {
    reader: RangeReader,
    window: Vec<u8>,
    /// Between the place named last and its packet.
    between: usize,
    /// The place named last, and where what was found there ends: several may share a place.
    last: Option<(u64, u64)>,
}

impl Finder {
    pub(crate) fn new(reader: RangeReader) -> Self {
        Self { reader, window: Vec::new(), between: 0, last: None }
    }

    /// Where the bytes of `packet` lie in one run; `None` where they lie elsewhere, or in no such run: taken apart, compressed, or put together
    /// by the demuxer.
    pub(crate) fn find(&mut self, packet: &Packet) -> Option<u64> {
        let (data, named) = (packet.data()?, u64::try_from(packet.position()).ok()?);
        let begin = match self.last {
            Some((same, end)) if same == named => end,
            _ => named,
        };
        self.look_at(begin, data.len() + MOST_BETWEEN_BYTES)?;
        let is_at = |at: &usize| self.window.get(*at..at + data.len()) == Some(data);
        let usual = Some(self.between).filter(is_at);
        let between = usual.or_else(|| (0..=MOST_BETWEEN_BYTES).find(is_at))?;
        let place = begin + between as u64;
        self.between = between;
        self.last = Some((named, place + data.len() as u64));
        Some(place)
    }

    /// Up to so many bytes.
    fn look_at(&mut self, begin: u64, most: usize) -> Option<()> {
        let there = self.reader.size_bytes().checked_sub(begin)?;
        self.window.resize(usize::try_from(there).map_or(most, |there| there.min(most)), 0);
        self.reader.seek(SeekFrom::Start(begin)).ok()?;
        self.reader.read_exact(&mut self.window).ok()
    }
}

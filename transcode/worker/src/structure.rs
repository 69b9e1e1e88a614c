//! How a container lays out its file, read without libav: what it declares beyond the end of the file, and whether
//! its index is there. libav opens a cut file without a word; this says how much is gone.

use crate::channel::RangeReader;

/// Boxes or chunks looked at before giving up.
const MAX_BOXES: usize = 200_000;
/// A last Ogg page is looked for in this many bytes (a page has at most 65,307).
const OGG_TAIL_BYTES: u64 = 128 << 10;

/// What the file's own bookkeeping says.
#[derive(Debug, Default)]
pub(crate) struct Structure {
    pub(crate) family: Family,
    pub(crate) brand: Option<String>,
    /// Bytes declared beyond the end of the file; `None` where the container does not say.
    pub(crate) missing_bytes: Option<u64>,
    pub(crate) has_index: bool,
    pub(crate) fragmented: bool,
    pub(crate) media_bytes: u64,
}

/// Families whose bookkeeping is understood here.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Mp4,
    Riff,
    Ogg,
    #[default]
    Other,
}

/// Reads the bookkeeping of `reader`.
pub(crate) fn inspect(reader: &mut RangeReader) -> Structure {
    match reader.exact_at::<12>(0) {
        Some(start) if &start[..4] == b"RIFF" => riff(reader),
        Some(start) if &start[..4] == b"OggS" => ogg(reader),
        Some(start) if is_mp4_box(&start[4..8]) => mp4(reader),
        _ => Structure::default(),
    }
}

fn is_mp4_box(kind: &[u8]) -> bool {
    const FIRST: [&[u8; 4]; 8] =
        [b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"];
    FIRST.iter().any(|first| kind == *first)
}

/// ISO/IEC 14496-12, section 4.2: size and type, 64-bit size where the first is 1, to the end of file where it is 0.
fn mp4(reader: &mut RangeReader) -> Structure {
    let end_of_file = reader.size_bytes();
    let mut found = Structure { family: Family::Mp4, missing_bytes: Some(0), ..Default::default() };
    let mut offset = 0;
    for _ in 0..MAX_BOXES {
        let Some(header) = reader.exact_at::<8>(offset) else { break };
        let (size, kind) = header.split_at(4);
        let short = u32::from_be_bytes([size[0], size[1], size[2], size[3]]);
        let declared = match short {
            0 => end_of_file - offset,
            1 => reader.exact_at::<8>(offset + 8).map_or(0, u64::from_be_bytes),
            short => short.into(),
        };
        if declared < 8 {
            break;
        }
        note_box(&mut found, reader, kind, offset, declared);
        let end = offset.saturating_add(declared);
        if end > end_of_file {
            found.missing_bytes = Some(end - end_of_file);
            break;
        }
        offset = end;
    }
    found
}

fn note_box(
    found: &mut Structure,
    reader: &mut RangeReader,
    kind: &[u8],
    offset: u64,
    declared: u64,
) {
    let whole = offset.saturating_add(declared) <= reader.size_bytes();
    match kind {
        b"ftyp" => {
            let brand = reader.exact_at::<4>(offset + 8);
            found.brand = brand.and_then(|b| String::from_utf8(b.to_vec()).ok());
        }
        b"moov" if whole => {
            found.has_index = true;
        }
        b"moof" => found.fragmented = true,
        b"mdat" => {
            let held = declared.min(reader.size_bytes() - offset);
            found.media_bytes = found.media_bytes.saturating_add(held);
        }
        _ => {}
    }
}

/// RIFF: "RIFF", size of what follows, form. Files over 1 GiB have further RIFF chunks (OpenDML).
fn riff(reader: &mut RangeReader) -> Structure {
    let end_of_file = reader.size_bytes();
    let mut found =
        Structure { family: Family::Riff, missing_bytes: Some(0), ..Default::default() };
    let mut offset = 0;
    for _ in 0..MAX_BOXES {
        let Some(header) = reader.exact_at::<8>(offset) else { break };
        if &header[..4] != b"RIFF" {
            break;
        }
        let declared = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        // A recorder that never came back to write the size leaves 0 or all ones: it declares nothing.
        if declared == 0 || declared == u32::MAX {
            found.missing_bytes = None;
            break;
        }
        let end = offset + 8 + u64::from(declared) + u64::from(declared % 2);
        if end > end_of_file {
            // A missing last padding byte is not a missing part.
            let missing = end - end_of_file;
            found.missing_bytes = Some(if missing == 1 { 0 } else { missing });
            break;
        }
        offset = end;
    }
    found
}

/// RFC 3533: the last page of a stream has the end-of-stream flag.
fn ogg(reader: &mut RangeReader) -> Structure {
    use std::io::{Read, Seek, SeekFrom};
    const END_OF_STREAM: u8 = 0x04;
    let mut found = Structure { family: Family::Ogg, ..Default::default() };
    let start = reader.size_bytes().saturating_sub(OGG_TAIL_BYTES);
    let mut tail = Vec::new();
    if reader.seek(SeekFrom::Start(start)).is_err() || reader.read_to_end(&mut tail).is_err() {
        return found;
    }
    let last = tail.windows(6).rposition(|window| &window[..5] == b"OggS\0");
    found.has_index = last.is_some_and(|at| tail[at + 5] & END_OF_STREAM != 0);
    found
}

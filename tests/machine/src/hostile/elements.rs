//! Where the pieces of a container lie, and where each says how long it is. Only as much as it takes to lie about it.

use std::ops::Range;

/// A piece of a file.
#[derive(Debug, Clone)]
pub(super) struct Element {
    pub(super) all: Range<usize>,
    /// What it is called.
    pub(super) kind: Range<usize>,
    pub(super) length: Option<Length>,
    /// Where its content begins.
    pub(super) body: usize,
}

/// A number that says how long a piece is.
#[derive(Debug, Clone)]
pub(super) struct Length {
    pub(super) at: Range<usize>,
    pub(super) order: Order,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Big,
    Little,
    /// EBML: the leading zeros of the first byte say how many bytes there are.
    Ebml,
}

/// Enough for every base; a file that repeats itself has no more than these.
const MOST: usize = 20_000;
/// Deeper than any base; a file that nests itself is not followed further.
const DEEPEST: usize = 100;

/// The pieces of `file`, outer ones before those inside. In what is no known container, blocks.
pub(super) fn of(file: &[u8]) -> Vec<Element> {
    let mut found = Vec::new();
    let whole = 0..file.len();
    match file {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => boxes(file, whole, 0, &mut found),
        [_, _, _, _, b'm' | b'w', b'o' | b'i' | b'd', b'o' | b'd' | b'a', _, ..] => {
            boxes(file, whole, 0, &mut found);
        }
        [0x1a, 0x45, 0xdf, 0xa3, ..] => ebml(file, whole, 0, &mut found),
        [b'R', b'I', b'F', b'F', ..] => chunks(file, whole, Order::Little, 0, &mut found),
        [b'F', b'O', b'R', b'M', ..] => chunks(file, whole, Order::Big, 0, &mut found),
        [0x47, ..] => packets(file, 188, 4, &mut found),
        [b'D', b'K', b'I', b'F', ..] => ivf(file, &mut found),
        [b'O', b'g', b'g', b'S', ..] => marked(file, b"OggS", &mut found, |at| {
            (at + 5..at + 6, Some(little(at + 26..at + 27)), at + 27)
        }),
        [b'D', b'H', b'A', b'V', ..] => marked(file, b"DHAV", &mut found, |at| {
            (at + 4..at + 5, Some(little(at + 12..at + 16)), at + 24)
        }),
        [b'F', b'L', b'V', ..] => tags(file, &mut found),
        [0x30, 0x26, 0xb2, 0x75, ..] => objects(file, 0, &mut found),
        [0x89, b'P', b'N', b'G', ..] => png(file, &mut found),
        [0xff, 0xd8, ..] => marked(file, b"\xff", &mut found, |at| {
            (at + 1..at + 2, Some(big(at + 2..at + 4)), at + 4)
        }),
        [0x06, 0x0e, 0x2b, 0x34, ..] => marked(file, b"\x06\x0e\x2b\x34", &mut found, |at| {
            (at + 4..at + 16, Some(big(at + 17..at + 20)), at + 20)
        }),
        [0, 0, 1, ..] | [0, 0, 0, 1, ..] => marked(file, b"\0\0\x01", &mut found, |at| {
            (at + 3..at + 4, Some(big(at + 4..at + 6)), at + 6)
        }),
        _ => packets(file, 256, 4, &mut found),
    }
    found.retain(|one| {
        let ends = [one.kind.end, one.body, one.length.as_ref().map_or(0, |length| length.at.end)];
        ends.into_iter().all(|end| end <= one.all.end) && one.all.end <= file.len()
    });
    found
}

/// The number at `at`, as far as it fits.
pub(super) fn number(file: &[u8], length: &Length) -> u64 {
    let bytes = &file[length.at.clone()];
    let value = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    match length.order {
        Order::Big => value(bytes),
        Order::Little => value(&bytes.iter().rev().copied().collect::<Vec<_>>()),
        Order::Ebml => value(bytes) & ebml_mask(bytes.len()),
    }
}

/// Writes a number where one stands, cut to its width.
pub(super) fn write(file: &mut [u8], length: &Length, value: u64) {
    let width = length.at.len();
    let bytes = &mut file[length.at.clone()];
    let value = match length.order {
        Order::Ebml => value & ebml_mask(width) | (ebml_mask(width) + 1),
        _ => value,
    };
    for (place, byte) in bytes.iter_mut().rev().enumerate() {
        *byte = value.checked_shr(8 * place as u32).unwrap_or(0) as u8;
    }
    if length.order == Order::Little {
        bytes.reverse();
    }
}

fn ebml_mask(width: usize) -> u64 {
    (1 << (7 * width.clamp(1, 8))) - 1
}

fn big(at: Range<usize>) -> Length {
    Length { at, order: Order::Big }
}

fn little(at: Range<usize>) -> Length {
    Length { at, order: Order::Little }
}

/// ISO/IEC 14496-12, section 4.2.
fn boxes(file: &[u8], within: Range<usize>, deep: usize, found: &mut Vec<Element>) {
    const HOLD_OTHERS: &[&[u8]] = &[
        b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta", b"moof", b"traf",
        b"mvex", b"mfra", b"gmhd",
    ];
    let mut at = within.start;
    while at + 8 <= within.end && deep < DEEPEST && found.len() < MOST {
        let length = big(at..at + 4);
        let size = usize::try_from(number(file, &length)).unwrap_or(0);
        let end = at.saturating_add(size);
        if size < 8 || end > within.end {
            break;
        }
        let kind = &file[at + 4..at + 8];
        let body = at + 8;
        found.push(Element { all: at..end, kind: at + 4..at + 8, length: Some(length), body });
        if HOLD_OTHERS.contains(&kind) {
            boxes(file, body..end, deep + 1, found);
        } else if (kind == b"stsd" || kind == b"dref") && body + 8 < end {
            boxes(file, body + 8..end, deep + 1, found);
        }
        at = end;
    }
}

/// RFC 8794.
fn ebml(file: &[u8], within: Range<usize>, deep: usize, found: &mut Vec<Element>) {
    const HOLD_OTHERS: &[&[u8]] = &[
        &[0x1a, 0x45, 0xdf, 0xa3],
        &[0x18, 0x53, 0x80, 0x67],
        &[0x15, 0x49, 0xa9, 0x66],
        &[0x16, 0x54, 0xae, 0x6b],
        &[0x1f, 0x43, 0xb6, 0x75],
        &[0x1c, 0x53, 0xbb, 0x6b],
        &[0x11, 0x4d, 0x9b, 0x74],
        &[0x12, 0x54, 0xc3, 0x67],
        &[0x4d, 0xbb],
        &[0xae],
        &[0xe0],
        &[0xe1],
        &[0xa0],
        &[0xbb],
        &[0xb7],
    ];
    let width = |at: usize| file.get(at).map_or(9, |first| first.leading_zeros() as usize + 1);
    let mut at = within.start;
    while at < within.end && deep < DEEPEST && found.len() < MOST {
        let size_at = at + width(at);
        let body = size_at + width(size_at);
        if body > within.end || body - size_at > 8 {
            break;
        }
        let length = Length { at: size_at..body, order: Order::Ebml };
        let size = number(file, &length);
        // All ones: to the end of what holds it.
        let unknown = size == ebml_mask(length.at.len());
        let size = if unknown { within.end - body } else { usize::try_from(size).unwrap_or(0) };
        let end = body.saturating_add(size);
        if end > within.end {
            break;
        }
        found.push(Element { all: at..end, kind: at..size_at, length: Some(length), body });
        if HOLD_OTHERS.contains(&&file[at..size_at]) {
            ebml(file, body..end, deep + 1, found);
        }
        at = end;
    }
}

/// RIFF, and IFF with its numbers the other way round.
fn chunks(file: &[u8], within: Range<usize>, order: Order, deep: usize, found: &mut Vec<Element>) {
    const HOLD_OTHERS: &[&[u8]] = &[b"RIFF", b"LIST", b"FORM"];
    let mut at = within.start;
    while at + 8 <= within.end && deep < DEEPEST && found.len() < MOST {
        let length = Length { at: at + 4..at + 8, order };
        let size = usize::try_from(number(file, &length)).unwrap_or(usize::MAX);
        let body = at + 8;
        let end = body.saturating_add(size);
        if end > within.end {
            break;
        }
        found.push(Element { all: at..end, kind: at..at + 4, length: Some(length), body });
        if HOLD_OTHERS.contains(&&file[at..at + 4]) && body + 4 <= end {
            chunks(file, body + 4..end, order, deep + 1, found);
        }
        at = end + size % 2;
    }
}

/// Of one length, which none of them says.
fn packets(file: &[u8], bytes: usize, head: usize, found: &mut Vec<Element>) {
    for at in (0..file.len()).step_by(bytes).take(MOST) {
        let all = at..file.len().min(at + bytes);
        found.push(Element { all, kind: at..at + head, length: None, body: at + head });
    }
}

/// What begins with a mark and ends with the next one. `parts` says of a place: kind, length, content.
fn marked(
    file: &[u8],
    mark: &[u8],
    found: &mut Vec<Element>,
    parts: impl Fn(usize) -> (Range<usize>, Option<Length>, usize),
) {
    let starts = file.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark);
    let mut starts: Vec<usize> = starts.map(|(at, _)| at).take(MOST).collect();
    starts.push(file.len());
    for pair in starts.windows(2) {
        let (kind, length, body) = parts(pair[0]);
        found.push(Element { all: pair[0]..pair[1], kind, length, body });
    }
}

/// Frames behind a header of 32 bytes.
fn ivf(file: &[u8], found: &mut Vec<Element>) {
    let header = little(6..8);
    found.push(Element { all: 0..32.min(file.len()), kind: 8..12, length: Some(header), body: 12 });
    let mut at = 32;
    while at + 12 <= file.len() && found.len() < MOST {
        let length = little(at..at + 4);
        let end = at + 12 + usize::try_from(number(file, &length)).unwrap_or(0);
        found.push(Element {
            all: at..end,
            kind: at + 4..at + 8,
            length: Some(length),
            body: at + 12,
        });
        at = end;
    }
}

/// Flash: tags behind a header of 13 bytes, each followed by its size.
fn tags(file: &[u8], found: &mut Vec<Element>) {
    let mut at = 13;
    while at + 15 <= file.len() && found.len() < MOST {
        let length = big(at + 1..at + 4);
        let end = at + 15 + usize::try_from(number(file, &length)).unwrap_or(0);
        found.push(Element { all: at..end, kind: at..at + 1, length: Some(length), body: at + 11 });
        at = end;
    }
}

/// ASF: a GUID and a length that counts both; the header holds others.
fn objects(file: &[u8], from: usize, found: &mut Vec<Element>) {
    const HEADER: [u8; 4] = [0x30, 0x26, 0xb2, 0x75];
    let mut at = from;
    while at + 24 <= file.len() && found.len() < MOST {
        let length = little(at + 16..at + 24);
        let size = usize::try_from(number(file, &length)).unwrap_or(0);
        if size < 24 || at.saturating_add(size) > file.len() {
            break;
        }
        let all = at..at + size;
        found.push(Element { all, kind: at..at + 16, length: Some(length), body: at + 24 });
        // Of the header, what it holds is looked at as if it came after its own first bytes.
        at += if file[at..at + 4] == HEADER { 30 } else { size };
    }
}

fn png(file: &[u8], found: &mut Vec<Element>) {
    let mut at = 8;
    while at + 12 <= file.len() && found.len() < MOST {
        let length = big(at..at + 4);
        let end = at + 12 + usize::try_from(number(file, &length)).unwrap_or(0);
        found.push(Element {
            all: at..end,
            kind: at + 4..at + 8,
            length: Some(length),
            body: at + 8,
        });
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::bases;

    /// The clips of every container come apart into what they are made of.
    #[test]
    fn each_container_is_known() {
        for base in bases::all() {
            let found = of(&base.bytes);
            let is_stream = ["wav", "mp3", "aac", "flac", "aiff", "dv", "jpeg"];
            let least = if is_stream.iter().any(|name| base.name.contains(name)) { 2 } else { 4 };
            assert!(found.len() >= least, "{}: {found:?}", base.name);
            let end = found.iter().map(|one| one.all.end).max().unwrap_or(0);
            let left = base.bytes.len() - end;
            assert!(left < 32, "{}: {left} bytes of {} are nobody's", base.name, base.bytes.len());
        }
    }

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for (order, width) in [(Order::Big, 3), (Order::Little, 4), (Order::Ebml, 2)] {
            let mut file = vec![0xff; 8];
            let length = Length { at: 2..2 + width, order };
            write(&mut file, &length, 0x1234);
            assert_eq!(number(&file, &length), 0x1234, "{order:?}");
            assert_eq!((file[1], file[2 + width]), (0xff, 0xff), "{order:?}");
        }
    }
}

//! What no bit flip comes to by itself: pictures larger than memory, thousands of streams, no time at all, two formats
//! in one file, little that unpacks into much.

use super::bases::Base;
use super::elements::{self, Element, Length, Order};
use super::lies::{repeat, replace};
use crate::seeded::Seeded;

/// What bombs unpack into.
const UNPACKED_BYTES: [usize; 3] = [1 << 20, 64 << 20, 1 << 30];

/// One of them, and how it was made.
pub(super) fn one(bases: &[Base], seeded: &mut Seeded) -> (String, Vec<u8>) {
    let oddity = *seeded.one_of(&[
        huge,
        huge,
        many_streams,
        no_time,
        two_in_one,
        half_and_half,
        picture_bomb,
        index_bomb,
        endless_table,
        deep,
        short,
    ]);
    oddity(bases, seeded)
}

/// A base that has pieces of this kind, and where they are.
fn with<'b>(bases: &'b [Base], kinds: &[&[u8]], seeded: &mut Seeded) -> (&'b Base, Vec<Element>) {
    let found = bases.iter().filter_map(|base| {
        let named = |one: &Element| kinds.contains(&&base.bytes[one.kind.clone()]);
        let found: Vec<Element> = elements::of(&base.bytes).into_iter().filter(named).collect();
        (!found.is_empty()).then_some((base, found))
    });
    let found: Vec<_> = found.collect();
    seeded.one_of(&found).clone()
}

/// A picture that says that it is as large as its format can say.
fn huge(bases: &[Base], seeded: &mut Seeded) -> (String, Vec<u8>) {
    // Kind, where in the piece its width and height are, how long each is.
    const SIZES: [(&[u8], [usize; 2], usize, Order); 9] = [
        (b"tkhd", [84, 88], 4, Order::Big),
        (b"avc1", [32, 34], 2, Order::Big),
        (b"jpeg", [32, 34], 2, Order::Big),
        (b"strf", [12, 16], 4, Order::Little),
        (b"IHDR", [8, 12], 4, Order::Big),
        (b"VP80", [12, 14], 2, Order::Little),
        (&[0xc0], [5, 7], 2, Order::Big),
        (&[0xb3], [4, 5], 2, Order::Big),
        (&[0xe0], [2, 4], 2, Order::Big),
    ];
    let (kind, places, width, order) = *seeded.one_of(&SIZES);
    let (base, found) = with(bases, &[kind], seeded);
    let mut file = base.bytes.clone();
    let large = *seeded.one_of(&[0xffff, 0x4000, 0x7fff_ffff, 0xffff_ffff]);
    for one in &found {
        for place in places.map(|place| one.all.start + place) {
            if place + width <= one.all.end {
                elements::write(&mut file, &Length { at: place..place + width, order }, large);
            }
        }
    }
    (format!("{}, {large} wide and high", base.name), file)
}

fn many_streams(bases: &[Base], seeded: &mut Seeded) -> (String, Vec<u8>) {
    let (base, found) = with(bases, &[b"trak", &[0xae], b"strh"], seeded);
    let times = *seeded.one_of(&[40, 3000]);
    let mut file = base.bytes.clone();
    repeat(&mut file, &elements::of(&base.bytes), seeded.one_of(&found), times);
    (format!("{}, {times} streams more", base.name), file)
}

/// Clocks that do not tick, and recordings that last no time.
fn no_time(bases: &[Base], seeded: &mut Seeded) -> (String, Vec<u8>) {
    let kinds: [&[u8]; 9] = [
        b"mvhd",
        b"mdhd",
        b"tkhd",
        b"stts",
        b"elst",
        b"strh",
        b"avih",
        &[0x2a, 0xd7, 0xb1],
        &[0x44, 0x89],
    ];
    let (base, found) = with(bases, &kinds, seeded);
    let mut file = base.bytes.clone();
    for one in found {
        // After what says which stream it is of.
        let from = one.all.end.min(one.body + if one.all.len() > 40 { 12 } else { 0 });
        file[from..one.all.end.min(from + 16)].fill(0);
    }
    (format!("{}, no time", base.name), file)
}

fn two_in_one(bases: &[Base], seeded: &mut Seeded) -> (String, Vec<u8>) {
    let (one, other) = (seeded.one_of(bases), seeded.one_of(bases));
    let name = format!("{} and {}", one.name, other.name);
    (name, [&one.bytes[..], &other.bytes].concat())
}

fn half_and_half(bases: &[Base], seeded: &mut Seeded) -> (String, Vec<u8>) {
    let (one, other) = (seeded.one_of(bases), seeded.one_of(bases));
    let (end, start) = (seeded.index(one.bytes.len()), seeded.index(other.bytes.len()));
    let name = format!("{} that becomes {}", one.name, other.name);
    (name, [&one.bytes[..end], &other.bytes[start..]].concat())
}

/// A picture of nothing, packed.
fn picture_bomb(_: &[Base], seeded: &mut Seeded) -> (String, Vec<u8>) {
    let unpacked = *seeded.one_of(&UNPACKED_BYTES);
    // Grey, one byte a point, and one more for each line.
    let width = *seeded.one_of(&[1023, 16_383]);
    let height = unpacked / (width + 1);
    let number = |value: usize| u32::try_from(value).expect("it fits a picture").to_be_bytes();
    // The checksums are wrong, which nobody minds.
    let chunk = |kind: &[u8], body: &[u8]| [&number(body.len())[..], kind, body, &[0; 4]].concat();
    let header = [&number(width)[..], &number(height), &[8, 0, 0, 0, 0]].concat();
    let parts = [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"IDAT", &zeros_packed(unpacked)),
        chunk(b"IEND", &[]),
    ];
    (format!("picture of {unpacked} bytes, packed"), parts.concat())
}

/// An index of nothing, packed.
fn index_bomb(_: &[Base], seeded: &mut Seeded) -> (String, Vec<u8>) {
    let unpacked = *seeded.one_of(&UNPACKED_BYTES);
    let number = |value: usize| u32::try_from(value).expect("a short file").to_be_bytes();
    let entry = |kind: &[u8], body: &[u8]| [&number(body.len() + 8)[..], kind, body].concat();
    let packed = [&number(unpacked)[..], &zeros_packed(unpacked)].concat();
    let inside = [entry(b"dcom", b"zlib"), entry(b"cmvd", &packed)].concat();
    let index = entry(b"moov", &entry(b"cmov", &inside));
    let file = [entry(b"ftyp", b"qt  \0\0\0\0"), entry(b"mdat", &[0; 64]), index].concat();
    (format!("index of {unpacked} bytes, packed"), file)
}

/// A few bytes that stand for thousands of millions of samples.
fn endless_table(bases: &[Base], seeded: &mut Seeded) -> (String, Vec<u8>) {
    let (base, found) = with(bases, &[b"stsz"], seeded);
    let mut file = base.bytes.clone();
    let many = *seeded.one_of(&[u64::from(u32::MAX), 1 << 28, 1 << 20]);
    for sizes in found.iter().rev() {
        let all = elements::of(&file);
        // Each a byte long, so that no list of sizes follows.
        let body = [[0; 4], [0, 0, 0, 1], (many as u32).to_be_bytes()].concat();
        replace(&mut file, &all, sizes, sizes.body..sizes.all.end, &body);
        elements::write(&mut file, sizes.length.as_ref().expect("a box has one"), 20);
    }
    for one in elements::of(&file) {
        // One run of so many samples, each a tick long; in one chunk.
        let at = match &file[one.kind.clone()] {
            b"stts" => one.body + 8,
            b"stsc" => one.body + 12,
            _ => continue,
        };
        if at + 4 <= one.all.end {
            elements::write(&mut file, &Length { at: at..at + 4, order: Order::Big }, many);
        }
    }
    (format!("{}, {many} samples", base.name), file)
}

/// Boxes, elements or chunks within each other as deep as there is room.
fn deep(_: &[Base], seeded: &mut Seeded) -> (String, Vec<u8>) {
    const DEEP: usize = 60_000;
    let level = |level: usize| u32::try_from(level).expect("a short file");
    let (name, head, inside): (&str, &[u8], Vec<u8>) = match seeded.below(3) {
        0 => {
            let kind = **seeded.one_of(&[b"moov", b"udta", b"meta", b"trak"]);
            let boxes =
                (1..=DEEP).rev().flat_map(|at| [&level(at * 8).to_be_bytes()[..], &kind].concat());
            ("boxes", b"\0\0\0\x10ftypqt  \0\0\0\0", boxes.collect())
        }
        1 => {
            // Of unknown length, so each holds the rest.
            let one = *seeded.one_of(&[
                &[0x1f, 0x43, 0xb6, 0x75, 0xff][..],
                &[0xa0, 0xff],
                &[0xb7, 0xff],
            ]);
            let head: &[u8] = b"\x1a\x45\xdf\xa3\x84\x42\x82\x81w\x18\x53\x80\x67\xff";
            ("elements", head, one.repeat(DEEP))
        }
        _ => {
            let lists = (1..=DEEP)
                .rev()
                .flat_map(|at| [b"LIST", &level(at * 12 - 8).to_le_bytes()[..], b"hdrl"].concat());
            ("lists", b"RIFF\xff\xff\xff\x7fAVI ", lists.collect())
        }
    };
    (format!("{DEEP} {name} deep"), [head, &inside].concat())
}

/// The first bytes of something, and no more.
fn short(bases: &[Base], seeded: &mut Seeded) -> (String, Vec<u8>) {
    let base = seeded.one_of(bases);
    let bytes = seeded.index(64);
    (format!("{}, {bytes} bytes of it", base.name), base.bytes[..bytes].to_vec())
}

/// A zlib stream (RFC 1950) of this many zeros, some 160 times shorter: one literal, then copies of 258 bytes from one
/// byte back, in the fixed code of RFC 1951.
fn zeros_packed(count: usize) -> Vec<u8> {
    const LITERAL_ZERO: (u32, usize) = (0b0011_0000, 8);
    const COPY_258: (u32, usize) = (0b1100_0101, 8);
    const ONE_BACK: (u32, usize) = (0, 5);
    const END: (u32, usize) = (0, 7);
    let mut bits = Bits::default();
    // The last block, in the fixed code; its numbers have their lowest bit first, codes their highest.
    for code in [(1, 1), (1, 1), (0, 1)] {
        bits.push(code);
    }
    let (copies, literals) = ((count - 1) / 258, (count - 1) % 258 + 1);
    for _ in 0..literals {
        bits.push(LITERAL_ZERO);
    }
    for _ in 0..copies {
        bits.push(COPY_258);
        bits.push(ONE_BACK);
    }
    bits.push(END);
    // Adler-32 of zeros: the first sum stays 1, the second counts them.
    let sum = u32::try_from(count % 65_521).expect("below the prime") << 16 | 1;
    [&[0x78, 0x01], &bits.bytes[..], &sum.to_be_bytes()].concat()
}

/// Bits, filled into bytes from the lowest.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn push(&mut self, (code, width): (u32, usize)) {
        for place in (0..width).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (code >> place & 1) as u8;
            *self.bytes.last_mut().expect("one was just pushed") |= bit << (self.used % 8);
            self.used += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::through;
    use std::process::Command;

    /// Another's zlib unpacks it.
    #[test]
    fn a_bomb_unpacks_into_what_it_says() {
        const UNPACK: &str =
            "import sys,zlib; sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read()))";
        for count in [1, 258, 259, 100_000] {
            let packed = zeros_packed(count);
            let mut python = Command::new("python3");
            assert_eq!(through(python.args(["-c", UNPACK]), &packed), vec![0; count]);
        }
        assert!(zeros_packed(1 << 20).len() < (1 << 20) / 150);
    }

    /// Each finds a clip that it can be made of.
    #[test]
    fn every_oddity_can_be_made() {
        let bases = crate::hostile::bases::all();
        let mut seeded = Seeded::new(3);
        let made: std::collections::BTreeSet<String> = (0..400)
            .map(|_| one(&bases, &mut seeded).0)
            .map(|what| what.rsplit(", ").next().unwrap_or_default().to_owned())
            .collect();
        for what in
            ["packed", "no time", "3000 streams more", "4294967295 samples", "60000 boxes deep"]
        {
            assert!(made.contains(what), "{what} is not in {made:?}");
        }
    }
}

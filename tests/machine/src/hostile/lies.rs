//! Containers whose structure lies: pieces that say they are longer, are something else, are missing, stand twice, in
//! another order or inside each other.

#![allow(clippy::ptr_arg, reason = "all lies have one shape, and some change the length")]

use std::ops::Range;

use super::elements::{self, Element, Length, Order};
use crate::seeded::Seeded;

/// No lie makes a file longer than this.
const LONGEST_BYTES: usize = 1 << 20;
/// Numbers at which arithmetic goes wrong.
const NUMBERS: [u64; 12] = [
    0,
    1,
    7,
    8,
    0x7f,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

type Lie = fn(&mut Vec<u8>, &[Element], &mut Seeded);

const LIES: [(&str, Lie); 11] = [
    ("length", length),
    ("length", length),
    ("count", count),
    ("count", count),
    ("kind", kind),
    ("dropped", dropped),
    ("repeated", repeated),
    ("order", order),
    ("nested", nested),
    ("filled", filled),
    ("cut", cut),
];

/// One to four lies about `file`, and which.
pub(super) fn tell(file: &[u8], seeded: &mut Seeded) -> (String, Vec<u8>) {
    let (mut file, mut told) = (file.to_vec(), Vec::new());
    for _ in 0..=seeded.below(4) {
        let elements = elements::of(&file);
        if elements.is_empty() {
            break;
        }
        let (name, lie) = *seeded.one_of(&LIES);
        lie(&mut file, &elements, seeded);
        told.push(name);
    }
    (told.join(" "), file)
}

fn length(file: &mut Vec<u8>, elements: &[Element], seeded: &mut Seeded) {
    let with_one: Vec<&Length> = elements.iter().filter_map(|one| one.length.as_ref()).collect();
    let Some(length) = (!with_one.is_empty()).then(|| *seeded.one_of(&with_one)) else { return };
    let now = elements::number(file, length);
    let near = [now.wrapping_sub(1), now + 1, now / 2, now.saturating_mul(2)];
    let value = if seeded.below(2) == 0 { *seeded.one_of(&near) } else { *seeded.one_of(&NUMBERS) };
    elements::write(file, length, value);
}

/// A number in the first bytes of a piece: that is where counts, sizes of pictures and clocks stand.
fn count(file: &mut Vec<u8>, elements: &[Element], seeded: &mut Seeded) {
    const LOOKED_AT: usize = 96;
    let one = seeded.one_of(elements);
    let body = one.body..one.all.end.min(one.body + LOOKED_AT);
    let width = *seeded.one_of(&[1, 2, 4, 8]);
    if body.len() < width {
        return;
    }
    let at = body.start + seeded.index(body.len() - width + 1);
    let order = *seeded.one_of(&[Order::Big, Order::Little]);
    elements::write(file, &Length { at: at..at + width, order }, *seeded.one_of(&NUMBERS));
}

fn kind(file: &mut Vec<u8>, elements: &[Element], seeded: &mut Seeded) {
    let (one, other) = (seeded.one_of(elements), seeded.one_of(elements));
    let new = match one.kind.len() == other.kind.len() && seeded.below(4) > 0 {
        true => file[other.kind.clone()].to_vec(),
        false => seeded.bytes(one.kind.len()),
    };
    file[one.kind.clone()].copy_from_slice(&new);
}

fn dropped(file: &mut Vec<u8>, elements: &[Element], seeded: &mut Seeded) {
    let one = seeded.one_of(elements);
    replace(file, elements, one, one.all.clone(), &[]);
}

/// Once more, a few times, or thousands of times.
fn repeated(file: &mut Vec<u8>, elements: &[Element], seeded: &mut Seeded) {
    let one = seeded.one_of(elements);
    let times = *seeded.one_of(&[1, 2, 40, 3000]);
    repeat(file, elements, one, times);
}

/// The piece `times` more behind itself, as far as there is room; what holds it says so.
pub(super) fn repeat(file: &mut Vec<u8>, elements: &[Element], one: &Element, times: usize) {
    let copy = file[one.all.clone()].to_vec();
    let room = LONGEST_BYTES.saturating_sub(file.len()) / copy.len().max(1);
    replace(file, elements, one, one.all.end..one.all.end, &copy.repeat(times.min(room)));
}

fn order(file: &mut Vec<u8>, elements: &[Element], seeded: &mut Seeded) {
    let one = seeded.one_of(elements).all.clone();
    let other = seeded.one_of(elements).all.clone();
    let (first, second) = if one.start < other.start { (one, other) } else { (other, one) };
    if first.end <= second.start {
        let swapped = [&file[second.clone()], &file[first.end..second.start], &file[first.clone()]];
        let swapped = swapped.concat();
        file.splice(first.start..second.end, swapped);
    }
}

/// Inside itself, up to thousands of times, each around the next and as long as that takes.
fn nested(file: &mut Vec<u8>, elements: &[Element], seeded: &mut Seeded) {
    let one = seeded.one_of(elements);
    let deep = *seeded.one_of(&[1, 8, 200, 20_000]);
    nest(file, elements, one, deep);
}

fn nest(file: &mut Vec<u8>, elements: &[Element], one: &Element, deep: usize) {
    let head = file[one.all.start..one.body].to_vec();
    let room = LONGEST_BYTES.saturating_sub(file.len()) / head.len().max(1);
    let length = one.length.clone().map(|Length { at, order }| {
        let at = at.start - one.all.start..at.end - one.all.start;
        (elements::number(file, &one.length.clone().expect("it has one")), Length { at, order })
    });
    let around = (1..=deep.min(room)).rev().flat_map(|level| {
        let mut head = head.clone();
        if let Some((inner, length)) = &length {
            let deeper = (level * head.len()) as u64;
            elements::write(&mut head, length, inner + deeper);
        }
        head
    });
    let around: Vec<u8> = around.collect();
    replace(file, elements, one, one.all.start..one.all.start, &around);
}

fn filled(file: &mut Vec<u8>, elements: &[Element], seeded: &mut Seeded) {
    let body = seeded.one_of(elements);
    let body = body.body..body.all.end;
    let new = match seeded.below(3) {
        0 => vec![0; body.len()],
        1 => vec![0xff; body.len()],
        _ => seeded.bytes(body.len()),
    };
    file[body].copy_from_slice(&new);
}

/// The file ends within a piece.
fn cut(file: &mut Vec<u8>, elements: &[Element], seeded: &mut Seeded) {
    let one = seeded.one_of(elements);
    file.truncate(one.all.start + seeded.index(one.all.len() + 1));
}

/// Other bytes in or beside `one`; every piece around it that says its length says the new one.
pub(super) fn replace(
    file: &mut Vec<u8>,
    elements: &[Element],
    one: &Element,
    place: Range<usize>,
    new: &[u8],
) {
    let holds = |other: &&Element| other.body <= one.all.start && one.all.end <= other.all.end;
    for length in elements.iter().filter(holds).filter_map(|other| other.length.as_ref()) {
        let now = elements::number(file, length) + new.len() as u64;
        elements::write(file, length, now.saturating_sub(place.len() as u64));
    }
    file.splice(place, new.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `moov` that holds `trak` that holds `free`.
    const FILE: &[u8] = b"\0\0\0\x08ftyp\0\0\0\x18moov\0\0\0\x10trak\0\0\0\x08free\0\0\0\x08mdat";

    #[test]
    fn what_holds_a_repeated_piece_says_its_new_length() {
        let mut file = FILE.to_vec();
        let elements = elements::of(&file);
        let trak = elements.iter().find(|one| &file[one.kind.clone()] == b"trak").expect("it");
        repeat(&mut file, &elements, &trak.clone(), 2);
        let found = elements::of(&file);
        let kinds: Vec<&[u8]> = found.iter().map(|one| &file[one.kind.clone()]).collect();
        let expected: [&[u8]; 9] =
            [b"ftyp", b"moov", b"trak", b"free", b"trak", b"free", b"trak", b"free", b"mdat"];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_nested_piece_is_as_long_as_what_it_holds() {
        let mut file = FILE.to_vec();
        let elements = elements::of(&file);
        let trak = elements.iter().find(|one| &file[one.kind.clone()] == b"trak").expect("it");
        nest(&mut file, &elements, &trak.clone(), 3);
        let found = elements::of(&file);
        let lengths: Vec<usize> = found.iter().map(|one| one.all.len()).collect();
        assert_eq!(lengths, [8, 48, 40, 32, 24, 16, 8, 8]);
    }
}

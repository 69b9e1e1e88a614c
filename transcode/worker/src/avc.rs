//! H.264 as MP4 and Matroska keep it (ISO/IEC 14496-15): what decoders need before all else stands once, apart from the pictures, and
//! units have their length before them. Foreign bytes: nothing here trusts a length.

use crate::nal::start_code;

/// Why an original cannot be played behind a front.
pub(crate) type Why = &'static str;

/// One coded picture of a stream may be longer than this in no camera.
const MAX_RECORD_BYTES: usize = 64 << 10;
/// Kinds of units (ITU-T H.264, table 7-1).
const SLICE: u8 = 1;
const SLICE_OF_IDR: u8 = 5;
const SEQUENCE_SET: u8 = 7;
const PICTURE_SET: u8 = 8;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// What a container says of the pictures of a stream (avcC).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Avc {
    record: Vec<u8>,
    length_bytes: usize,
    /// Sequence and picture parameter sets, as they lie in the record.
    sets: Vec<Vec<u8>>,
}

impl Avc {
    pub(crate) fn read(record: &[u8]) -> Result<Self, Why> {
        if matches!(record, [] | [0, ..]) {
            return Err("the container does not say apart how its pictures are to be decoded");
        }
        Self::parse(record)
            .ok_or("what the container says of its pictures (avcC) is not of its form")
    }

    fn parse(record: &[u8]) -> Option<Self> {
        let (head, mut rest) = record.split_first_chunk::<5>()?;
        let mut sets = Vec::new();
        // One sequence set: with a second, the pictures might become other ones in the middle.
        for mask in [0x1f, 0xff] {
            let (count, later) = rest.split_first()?;
            rest = later;
            let count = count & mask;
            if count == 0 || (mask == 0x1f && count != 1) {
                return None;
            }
            for _ in 0..count {
                let (length, later) = rest.split_first_chunk::<2>()?;
                let (set, later) = later.split_at_checked(u16::from_be_bytes(*length).into())?;
                sets.push(set.to_vec());
                rest = later;
            }
        }
        let [version, profile, _, level, lengths] = *head;
        let sequence = sets.first()?;
        let agrees = sequence.get(1) == Some(&profile) && sequence.get(3) == Some(&level);
        let is_sound = version == 1 && agrees && record.len() <= MAX_RECORD_BYTES;
        let length_bytes = usize::from(lengths & 3) + 1;
        is_sound.then(|| Self { record: record.to_vec(), length_bytes, sets })
    }

    /// As an MP4 keeps it.
    pub(crate) fn record(&self) -> &[u8] {
        &self.record
    }

    /// Whether a packet is one picture, whole, that the record is enough to decode.
    pub(crate) fn check(&self, packet: &[u8]) -> Result<(), Why> {
        let (mut rest, mut pictures) = (packet, 0);
        while !rest.is_empty() {
            let unit;
            (unit, rest) = self.unit(rest).ok_or("a coded picture does not fill its place")?;
            match kind(unit) {
                // Of its number of the first macroblock, coded as one bit where it is 0.
                SLICE | SLICE_OF_IDR => {
                    pictures += u32::from(unit.get(1).is_some_and(|b| b >> 7 == 1));
                }
                SEQUENCE_SET | PICTURE_SET if !self.sets.iter().any(|set| set == unit) => {
                    return Err("what is needed to decode the pictures changes in the middle");
                }
                _ => {}
            }
        }
        if pictures == 1 { Ok(()) } else { Err("what should be one coded picture is not one") }
    }

    /// What of a packet is the coded picture itself, with start codes before each unit (ITU-T H.264, annex B); and whether everything before
    /// it is forgotten, in which case what decoders need comes first. Nothing where no slice is in it, the packet is not whole, or a slice
    /// would be read as more than one with start codes.
    pub(crate) fn bare(&self, packet: &[u8]) -> Option<(Vec<u8>, bool)> {
        let (mut rest, mut slices) = (packet, Vec::with_capacity(packet.len()));
        let mut begins = None;
        while !rest.is_empty() {
            let unit;
            (unit, rest) = self.unit(rest)?;
            if !matches!(kind(unit), SLICE | SLICE_OF_IDR) {
                continue;
            }
            if start_code(unit, 0).is_some() || unit.ends_with(&[0]) {
                return None;
            }
            begins.get_or_insert(kind(unit) == SLICE_OF_IDR);
            slices.extend_from_slice(&START_CODE);
            slices.extend_from_slice(unit);
        }
        let sets = self.sets.iter().filter(|_| begins == Some(true));
        let mut bare: Vec<u8> =
            sets.flat_map(|set| START_CODE.iter().chain(set)).copied().collect();
        bare.append(&mut slices);
        Some((bare, begins?))
    }

    /// Whether a packet brings other sets than the record has.
    pub(crate) fn changes_in(&self, packet: &[u8]) -> bool {
        let mut rest = packet;
        while let Some((unit, later)) = self.unit(rest) {
            let is_set = matches!(kind(unit), SEQUENCE_SET | PICTURE_SET);
            if is_set && !self.sets.iter().any(|set| set == unit) {
                return true;
            }
            rest = later;
        }
        false
    }

    /// How long all sets are together.
    pub(crate) fn sets_bytes(&self) -> usize {
        self.sets.iter().map(Vec::len).sum()
    }

    fn unit<'p>(&self, rest: &'p [u8]) -> Option<(&'p [u8], &'p [u8])> {
        let (length, rest) = rest.split_at_checked(self.length_bytes)?;
        let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        rest.split_at_checked(length).filter(|(unit, _)| !unit.is_empty())
    }
}

/// Of what kind a unit is, which is not empty.
fn kind(unit: &[u8]) -> u8 {
    unit[0] & 0x1f
}

/// The parameter sets among what an encoder says before all else, with their start codes.
pub(crate) fn sets(units: &[u8]) -> Vec<u8> {
    let mut sets = Vec::new();
    let mut at = start_code(units, 0);
    while let Some(begin) = at {
        let next = start_code(units, begin + 3);
        let unit = &units[begin + 3..next.unwrap_or(units.len())];
        // A start code may have a zero more, which then stands behind the unit before it.
        let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if matches!(unit.first().map(|first| first & 0x1f), Some(SEQUENCE_SET | PICTURE_SET)) {
            sets.extend([&START_CODE, &unit[..end]].concat());
        }
        at = next;
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEQUENCE: [u8; 5] = [0x67, 100, 0, 30, 0xac];
    const PICTURE: [u8; 3] = [0x68, 0xee, 0x3c];

    fn record() -> Vec<u8> {
        let sets = [&[0xe1, 0, 5][..], &SEQUENCE, &[1, 0, 3], &PICTURE];
        [&[1, 100, 0, 30, 0xff][..], &sets.concat()].concat()
    }

    fn packet(units: &[&[u8]]) -> Vec<u8> {
        let unit = |unit: &&[u8]| [&(unit.len() as u32).to_be_bytes()[..], unit].concat();
        units.iter().flat_map(unit).collect()
    }

    #[test]
    fn a_record_is_read_whole_or_not_at_all() {
        let record = record();
        let avc = Avc::read(&record).unwrap();
        assert_eq!((avc.length_bytes, avc.sets.len()), (4, 2));
        for end in 0..record.len() {
            assert!(Avc::read(&record[..end]).is_err(), "{end}");
        }
        // Another version, another profile or level than its set's, two sequence sets, no picture set, start codes.
        for (at, byte) in [(0, 2), (1, 66), (3, 31), (5, 0xe2), (13, 0), (0, 0)] {
            let mut other = record.clone();
            other[at] = byte;
            assert!(Avc::read(&other).is_err(), "{at}");
        }
    }

    #[test]
    fn only_the_picture_goes_along() {
        let avc = Avc::read(&record()).unwrap();
        let with_codes = |units: &[&[u8]]| -> Vec<u8> {
            units.iter().flat_map(|unit| [&START_CODE, *unit].concat()).collect()
        };
        let (first, later) = ([0x65, 0x88, 1], [0x41, 0x88, 1]);
        let begins = packet(&[&[9, 0xf0], &SEQUENCE, &[6, 5, 1, 7], &first, &[12, 0xff]]);
        let bare = with_codes(&[&SEQUENCE, &PICTURE, &first]);
        assert_eq!(avc.bare(&begins), Some((bare, true)));
        let goes_on = packet(&[&[6, 5, 1, 7], &later, &later]);
        assert_eq!(avc.bare(&goes_on), Some((with_codes(&[&later, &later]), false)));
        assert_eq!(avc.bare(&packet(&[&[6, 5, 1, 7]])), None);
        assert_eq!(avc.bare(&goes_on[..goes_on.len() - 1]), None);
        for smuggled in [&[0x41, 0x88, 0, 0, 1, 6, 5][..], &[0x41, 0x88, 0]] {
            assert_eq!(avc.bare(&packet(&[smuggled])), None);
        }
        assert!(!avc.changes_in(&begins) && avc.changes_in(&packet(&[&later, &[0x68, 1]])));
        let said = with_codes(&[&SEQUENCE, &PICTURE, &[6, 5, 1, 7]]);
        assert_eq!(sets(&said), with_codes(&[&SEQUENCE, &PICTURE]));
    }

    #[test]
    fn one_picture_fills_a_packet() {
        let avc = Avc::read(&record()).unwrap();
        let (first, later) = ([0x65, 0x88, 1], [0x65, 0x48, 1]);
        let good = packet(&[&SEQUENCE, &PICTURE, &[6, 1], &first, &later]);
        assert_eq!(avc.check(&good), Ok(()));
        for end in 0..good.len() {
            let is_whole = packet(&[&SEQUENCE, &PICTURE, &[6, 1], &first]).len() == end;
            assert_eq!(avc.check(&good[..end]).is_ok(), is_whole, "{end}");
        }
        let other = [0x67, 100, 0, 30, 0xad];
        for bad in [
            packet(&[&other, &first]),
            packet(&[&first, &first]),
            packet(&[&[6, 1]]),
            packet(&[&first, &[]]),
            [&packet(&[&first])[..], &[0]].concat(),
            [&[0, 0, 0, 1][..], &first].concat(),
        ] {
            assert!(avc.check(&bad).is_err(), "{bad:?}");
        }
    }
}

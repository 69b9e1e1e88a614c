//! Signatures that a camera puts into the stream of pictures itself: looked for, never checked.
//!
//! H.264 (ITU-T H.264, 7.3.1, annex B, D.1.7) and HEVC (H.265, the same) carry them as "supplemental enhancement information" of
//! type *user data unregistered*, told apart by 16 bytes. Nothing here allocates, and each byte is looked at once.

/// Axis' signed-video-framework.
const AXIS: [u8; 16] = *b"Signed Video...0";
/// ONVIF Media Signing: 005bc93f-2d71-5e95-ada4-796f90877a6f.
const ONVIF: [u8; 16] = [
    0x00, 0x5b, 0xc9, 0x3f, 0x2d, 0x71, 0x5e, 0x95, 0xad, 0xa4, 0x79, 0x6f, 0x90, 0x87, 0x7a, 0x6f,
];
const USER_DATA_UNREGISTERED: usize = 5;
const NAME_BYTES: usize = 16;

/// How the units of a stream are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    H264,
    Hevc,
}

/// How units are told apart in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// Three bytes before each (annex B): MPEG-TS, AVI, bare streams.
    StartCodes,
    /// A length of so many bytes before each (ISO/IEC 14496-15): MP4, Matroska.
    Lengths(usize),
}

/// The signatures found in one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signatures {
    codec: Codec,
    framing: Framing,
    pub(crate) axis: u64,
    pub(crate) onvif: u64,
}

impl Signatures {
    /// None yet. `configuration` is what the container says of the stream (avcC, hvcC), or what came before the pictures, or empty.
    pub(crate) fn new(codec: Codec, configuration: &[u8]) -> Self {
        Self { codec, framing: Framing::of(codec, configuration), axis: 0, onvif: 0 }
    }

    /// Looks at the next packet.
    pub(crate) fn look(&mut self, packet: &[u8]) {
        match self.framing {
            Framing::StartCodes => self.look_between_start_codes(packet),
            Framing::Lengths(bytes) => self.look_by_length(packet, bytes),
        }
    }

    fn look_between_start_codes(&mut self, packet: &[u8]) {
        let mut at = start_code(packet, 0);
        while let Some(begin) = at {
            let next = start_code(packet, begin + 3);
            self.unit(&packet[begin + 3..next.unwrap_or(packet.len())]);
            at = next;
        }
    }

    fn look_by_length(&mut self, mut rest: &[u8], length_bytes: usize) {
        while let Some((length, later)) = rest.split_at_checked(length_bytes) {
            let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
            let (unit, later) = later.split_at(length.min(later.len()));
            self.unit(unit);
            rest = later;
        }
    }

    fn unit(&mut self, unit: &[u8]) {
        let information = match (self.codec, unit) {
            (Codec::H264, [header, body @ ..]) if header & 0x1f == 6 => body,
            (Codec::Hevc, [header, _, body @ ..]) if matches!(header >> 1 & 0x3f, 39 | 40) => body,
            _ => return,
        };
        let mut bytes = Unescaped { bytes: information.iter(), zeros: 0 };
        while let Some(()) = self.message(&mut bytes) {}
    }

    fn message(&mut self, bytes: &mut Unescaped<'_>) -> Option<()> {
        let (kind, length) = (bytes.number()?, bytes.number()?);
        let mut rest = length;
        if kind == USER_DATA_UNREGISTERED && length >= NAME_BYTES {
            let mut name = [0; NAME_BYTES];
            for byte in &mut name {
                *byte = bytes.next()?;
            }
            self.axis += u64::from(name == AXIS);
            self.onvif += u64::from(name == ONVIF);
            rest -= NAME_BYTES;
        }
        match rest {
            0 => Some(()),
            rest => bytes.nth(rest - 1).map(drop),
        }
    }
}

impl Framing {
    /// Configuration records begin with their version, 1 (HEVC's also 0, and then not like a start code).
    fn of(codec: Codec, configuration: &[u8]) -> Self {
        let at = match codec {
            Codec::H264 => 4,
            Codec::Hevc => 21,
        };
        match (configuration, configuration.get(at)) {
            ([0, 0, 0 | 1, ..], _) | (_, None) => Self::StartCodes,
            (_, Some(lengths)) => Self::Lengths(usize::from(lengths & 3) + 1),
        }
    }
}

/// Where `00 00 01` comes next.
pub(crate) fn start_code(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += match packet.get(at..at + 3)? {
            [0, 0, 1] => return Some(at),
            [_, _, 2..=255] => 3,
            [_, 1..=255, _] => 2,
            _ => 1,
        };
    }
}

/// The bytes of a unit without those that only keep start codes out of it: the 3 of each `00 00 03`.
struct Unescaped<'u> {
    bytes: std::slice::Iter<'u, u8>,
    zeros: u32,
}

impl Unescaped<'_> {
    /// Types and lengths of messages: as many times 255 as there are such bytes, and the one after them.
    fn number(&mut self) -> Option<usize> {
        let mut sum = 0usize;
        loop {
            match self.next()? {
                255 => sum = sum.saturating_add(255),
                last => return Some(sum.saturating_add(last.into())),
            }
        }
    }
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let mut byte = *self.bytes.next()?;
        if self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            byte = *self.bytes.next()?;
        }
        self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of type 5: long enough that its length takes two bytes.
    fn message(name: [u8; 16]) -> Vec<u8> {
        [&[5, 255, 45][..], &name, &[9; 284]].concat()
    }

    /// H.264 SEI with two messages, the first of another type, escaped as an encoder would.
    fn unit(name: [u8; 16]) -> Vec<u8> {
        let plain = [&[1, 3, 0, 0, 1][..], &message(name), &[0x80]].concat();
        let (mut escaped, mut zeros) = (vec![6], 0);
        for byte in plain {
            if zeros == 2 && byte <= 3 {
                escaped.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            escaped.push(byte);
        }
        escaped
    }

    fn with_start_codes(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect()
    }

    fn with_lengths(units: &[&[u8]]) -> Vec<u8> {
        let length = |unit: &[u8]| (unit.len() as u16).to_be_bytes();
        units.iter().flat_map(|unit| [&length(unit)[..], unit].concat()).collect()
    }

    #[test]
    fn both_names_are_found_in_both_framings() {
        let slice = [0x65, 0, 0, 3, 1, 5, 255];
        let (axis, onvif, other) = (unit(AXIS), unit(ONVIF), unit([0; 16]));
        let units = [&axis[..], &slice, &onvif, &other, &slice, &axis];
        let avcc = [1, 100, 0, 30, 0xfd, 0xe1];
        for (configuration, packet) in
            [(&avcc[..], with_lengths(&units)), (&[], with_start_codes(&units))]
        {
            let mut found = Signatures::new(Codec::H264, configuration);
            found.look(&packet);
            assert_eq!((found.axis, found.onvif), (2, 1), "{:?}", found.framing);
        }
    }

    #[test]
    fn units_that_end_anywhere_are_no_harm() {
        let packet = with_start_codes(&[&unit(AXIS)]);
        for end in 0..packet.len() {
            for codec in [Codec::H264, Codec::Hevc] {
                let configuration = [1; 22];
                Signatures::new(codec, &[]).look(&packet[..end]);
                Signatures::new(codec, &configuration).look(&packet[..end]);
            }
        }
    }
}

//! Google Tink's streaming format AES256-GCM-HKDF-1MB (docs/formats/objects-at-rest.md), read by any Tink library.
//!
//! The invariant of the sealing side: one nonce, one plaintext. A segment is sealed once under its number and its
//! last-or-not; whoever has to write other bytes at that place takes another key.

use std::borrow::Cow;

use chain_of_custody::digest::GROUP_BYTES;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::error::Damage;
use super::kek::{ObjectKey, fill_random};
use super::name::ObjectName;

/// A segment of ciphertext; only the last is shorter.
pub(crate) const SEGMENT_BYTES: usize = 1 << 20;
/// What AES-GCM adds to a segment.
pub(crate) const TAG_BYTES: usize = 16;
/// Length byte, salt, nonce prefix: stands before the first segment and counts towards it.
pub(crate) const HEADER_BYTES: usize = 1 + SALT_BYTES + PREFIX_BYTES;
const SALT_BYTES: usize = 32;
const PREFIX_BYTES: usize = 7;
const FIRST_PLAIN: u64 = (SEGMENT_BYTES - HEADER_BYTES - TAG_BYTES) as u64;
const PLAIN: u64 = (SEGMENT_BYTES - TAG_BYTES) as u64;

/// What a stream is for: its associated data, so that no stream can stand in for one of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose<'a> {
    /// The bytes of a part of an object.
    Object,
    /// The group values of an object.
    Outboard,
    /// The small object of this name: it opens under no other, whatever key lies beside it.
    Small(&'a ObjectName),
    /// The unsealed end of an upload, with its hash state.
    Tail,
    /// The last segment of a part that is being closed at a durable offset.
    Closing,
    /// Group values of an upload under way.
    Groups,
}

impl Purpose<'_> {
    fn associated_data(self) -> Cow<'static, str> {
        match self {
            Self::Object => "exhibit/object/v1".into(),
            Self::Outboard => "exhibit/outboard/v1".into(),
            Self::Small(name) => format!("exhibit/small/v1 {name}").into(),
            Self::Tail => "exhibit/tail/v1".into(),
            Self::Closing => "exhibit/closing/v1".into(),
            Self::Groups => "exhibit/groups/v1".into(),
        }
    }
}

/// Whether a segment ends its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    More,
    Last,
}

/// The public beginning of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header(pub(crate) [u8; HEADER_BYTES]);

impl Header {
    pub(crate) fn random() -> Self {
        let mut bytes = [0; HEADER_BYTES];
        fill_random(&mut bytes[1..]);
        bytes[0] = HEADER_BYTES as u8;
        Self(bytes)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let bytes = *bytes.first_chunk::<HEADER_BYTES>().ok_or(Damage::Header)?;
        if usize::from(bytes[0]) == HEADER_BYTES { Ok(Self(bytes)) } else { Err(Damage::Header) }
    }

    fn salt(&self) -> &[u8] {
        &self.0[1..=SALT_BYTES]
    }

    fn prefix(&self) -> &[u8] {
        &self.0[1 + SALT_BYTES..]
    }
}

/// The cipher of one stream.
#[derive(Debug)]
pub(crate) struct Stream {
    key: LessSafeKey,
    header: Header,
}

impl Stream {
    /// The stream of `header` under an object's key.
    pub(crate) fn new(key: &ObjectKey, header: Header, purpose: Purpose<'_>) -> Self {
        let mut derived = Zeroizing::new([0; 32]);
        hkdf::Hkdf::<sha2::Sha256>::new(Some(header.salt()), key.as_bytes())
            .expand(purpose.associated_data().as_bytes(), derived.as_mut_slice())
            .expect("HKDF-SHA256 gives 32 bytes");
        let key =
            UnboundKey::new(&AES_256_GCM, derived.as_slice()).expect("32 bytes are an AES-256 key");
        Self { key: LessSafeKey::new(key), header }
    }

    /// Seals a segment in place; gives the tag that stands behind it.
    pub(crate) fn seal(&self, index: u32, end: End, segment: &mut [u8]) -> [u8; TAG_BYTES] {
        debug_assert!(segment.len() + TAG_BYTES <= SEGMENT_BYTES);
        let nonce = self.nonce(index, end);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), segment)
            .expect("a segment is within AES-GCM's limit");
        tag.as_ref().try_into().expect("AES-GCM's tag has 16 bytes")
    }

    /// Opens a segment in place (without the header); gives the number of plaintext bytes at its beginning.
    pub(crate) fn open(&self, index: u32, end: End, segment: &mut [u8]) -> Result<usize, Damage> {
        let plain = self.key.open_in_place(self.nonce(index, end), Aad::empty(), segment);
        plain.map(|plain| plain.len()).map_err(|_| Damage::Segment { index })
    }

    /// Nonce prefix ‖ segment number (u32 big-endian) ‖ 1 for the last.
    fn nonce(&self, index: u32, end: End) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..PREFIX_BYTES].copy_from_slice(self.header.prefix());
        nonce[PREFIX_BYTES..11].copy_from_slice(&index.to_be_bytes());
        nonce[11] = u8::from(end == End::Last);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Where plaintext and ciphertext of a stream of `size_bytes` lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) size_bytes: u64,
}

impl Layout {
    /// That of the outboard of an object of `size_bytes`: 32 bytes for each group.
    pub(crate) fn of_outboard(size_bytes: u64) -> Self {
        let groups = size_bytes.div_ceil(GROUP_BYTES as u64).max(1);
        Self { size_bytes: groups * 32 }
    }

    /// How many segments there are; the empty stream has one.
    pub(crate) fn segments(self) -> u32 {
        let more = self.size_bytes.saturating_sub(FIRST_PLAIN).div_ceil(PLAIN);
        u32::try_from(1 + more).expect("an object is smaller than 4 PiB")
    }

    pub(crate) fn ciphertext_bytes(self) -> u64 {
        self.size_bytes + HEADER_BYTES as u64 + u64::from(self.segments()) * TAG_BYTES as u64
    }

    /// Whether a segment is the last of this stream.
    pub(crate) fn end(self, index: u32) -> End {
        if index + 1 == self.segments() { End::Last } else { End::More }
    }

    /// The bytes of the file that hold segment `index`, without the header.
    pub(crate) fn ciphertext_of(self, index: u32) -> std::ops::Range<u64> {
        let header = if index == 0 { HEADER_BYTES as u64 } else { 0 };
        let start = u64::from(index) * SEGMENT_BYTES as u64;
        start + header..self.ciphertext_bytes().min(start + SEGMENT_BYTES as u64)
    }

    /// The segment that holds plaintext byte `offset`.
    pub(crate) fn segment_at(offset: u64) -> u32 {
        let segment = offset.checked_sub(FIRST_PLAIN).map_or(0, |rest| 1 + rest / PLAIN);
        u32::try_from(segment).expect("an object is smaller than 4 PiB")
    }

    /// The first plaintext byte of segment `index`.
    pub(crate) fn plain_start(index: u32) -> u64 {
        index.checked_sub(1).map_or(0, |before| FIRST_PLAIN + u64::from(before) * PLAIN)
    }
}

/// A whole stream in memory, under a salt of its own.
pub(crate) fn seal_all(key: &ObjectKey, purpose: Purpose<'_>, plain: &[u8]) -> Vec<u8> {
    let layout = Layout { size_bytes: plain.len() as u64 };
    let header = Header::random();
    let stream = Stream::new(key, header, purpose);
    let mut sealed = header.0.to_vec();
    for index in 0..layout.segments() {
        let start = Layout::plain_start(index) as usize;
        let next = plain.len().min(Layout::plain_start(index + 1) as usize);
        let at = sealed.len();
        sealed.extend_from_slice(&plain[start..next]);
        let tag = stream.seal(index, layout.end(index), &mut sealed[at..]);
        sealed.extend_from_slice(&tag);
    }
    sealed
}

/// The plaintext of a whole stream in memory.
pub(crate) fn open_all(
    key: &ObjectKey,
    purpose: Purpose<'_>,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Damage> {
    let stream = Stream::new(key, Header::parse(sealed)?, purpose);
    let last = (sealed.len() - 1) / SEGMENT_BYTES;
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
    for (index, segment) in sealed.chunks(SEGMENT_BYTES).enumerate() {
        let from = if index == 0 { HEADER_BYTES } else { 0 };
        let mut segment = segment[from..].to_vec();
        let end = if index == last { End::Last } else { End::More };
        let index = u32::try_from(index).map_err(|_| Damage::Form)?;
        let length = stream.open(index, end, &mut segment)?;
        plain.extend_from_slice(&segment[..length]);
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> ObjectName {
        "openings/l/000".parse().unwrap()
    }

    fn sizes() -> Vec<u64> {
        let mut sizes = vec![0, 1, 1000];
        for index in 1..4 {
            let edge = Layout::plain_start(index);
            sizes.extend([edge - 1, edge, edge + 1]);
        }
        sizes
    }

    #[test]
    fn three_million_bytes_become_what_tink_makes_of_them() {
        assert_eq!(Layout { size_bytes: 3_000_000 }.ciphertext_bytes(), 3_000_088);
        assert_eq!(Layout { size_bytes: 0 }.ciphertext_bytes(), 56);
    }

    #[test]
    fn layout_round_trips_at_every_edge() {
        let key = ObjectKey::random();
        for size in sizes() {
            let layout = Layout { size_bytes: size };
            let plain: Vec<u8> = (0..size).map(|i| (i % 253) as u8).collect();
            let sealed = seal_all(&key, Purpose::Small(&name()), &plain);
            assert_eq!(sealed.len() as u64, layout.ciphertext_bytes(), "size {size}");
            assert_eq!(*open_all(&key, Purpose::Small(&name()), &sealed).unwrap(), plain);
            let last = layout.segments() - 1;
            assert_eq!(layout.ciphertext_of(last).end, sealed.len() as u64);
            if size > 0 {
                assert_eq!(Layout::segment_at(size - 1), last, "size {size}");
                assert!(Layout::plain_start(last) < size);
            }
        }
    }

    #[test]
    fn streams_cut_swapped_flipped_or_of_another_kind_do_not_open() {
        let key = ObjectKey::random();
        let plain = vec![5; 2 * SEGMENT_BYTES + 100];
        let sealed = seal_all(&key, Purpose::Small(&name()), &plain);
        let open = |bytes: &[u8]| open_all(&key, Purpose::Small(&name()), bytes);
        assert!(open_all(&key, Purpose::Outboard, &sealed).is_err(), "another purpose");
        let other = "openings/l/001".parse().unwrap();
        assert!(open_all(&key, Purpose::Small(&other), &sealed).is_err(), "another name");
        assert!(
            open_all(&ObjectKey::random(), Purpose::Small(&name()), &sealed).is_err(),
            "another key"
        );
        assert!(open(&sealed[..2 * SEGMENT_BYTES]).is_err(), "cut between segments");
        assert!(open(&sealed[..sealed.len() - 1]).is_err(), "last byte gone");
        assert!(open(&sealed[..HEADER_BYTES - 1]).is_err(), "cut in the header");
        assert!(open(&[]).is_err(), "empty");
        let mut swapped = sealed.clone();
        let (first, second) = swapped.split_at_mut(2 * SEGMENT_BYTES);
        first[SEGMENT_BYTES..SEGMENT_BYTES + 50].swap_with_slice(&mut second[..50]);
        assert!(open(&swapped).is_err(), "bytes of two segments swapped");
        for at in [0, 1, 33, HEADER_BYTES, SEGMENT_BYTES - 1, SEGMENT_BYTES, sealed.len() - 1] {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(open(&flipped).is_err(), "byte {at}");
        }
    }
}

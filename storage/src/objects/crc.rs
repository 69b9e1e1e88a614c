//! CRC-64/NVME, the checksum that S3 speaks too: of files as they lie, so that nobody needs a key to compare them.

use crc_fast::{CrcAlgorithm, Digest};
use serde::{Deserialize, Serialize};

/// CRC-64/NVME, the checksum that S3 speaks too; written as 16 hexadecimal characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Crc64(pub u64);

impl Crc64 {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes))
    }

    /// The checksum of bytes that this is the checksum of, followed by `length_bytes` with the checksum `next`.
    #[must_use]
    pub(crate) fn followed_by(self, next: Self, length_bytes: u64) -> Self {
        Self(crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, self.0, next.0, length_bytes))
    }
}

/// The checksum of bytes that come one piece after another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunningCrc(Digest);

impl RunningCrc {
    /// Goes on after bytes whose checksum was `crc`; the default one is that of no bytes.
    pub(crate) fn after(crc: Crc64) -> Self {
        // The algorithm's state is the checksum before its last step, which inverts every bit.
        Self(Digest::new_with_init_state(CrcAlgorithm::Crc64Nvme, !crc.0))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all so far.
    pub(crate) fn value(&self) -> Crc64 {
        Crc64(self.0.finalize())
    }
}

impl Serialize for Crc64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Crc64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value =
            u64::from_str_radix(&text, 16).ok().filter(|value| format!("{value:016x}") == text);
        value
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("not 16 lower-case hexadecimal characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_checksum_goes_on_after_a_kept_one() {
        let (a, b) = (b"some bytes", b"and more");
        let mut crc = RunningCrc::after(Crc64::of(a));
        crc.update(b);
        assert_eq!(crc.value(), Crc64::of(b"some bytesand more"));
        assert_eq!(RunningCrc::after(Crc64::default()).value(), Crc64::of(b""));
    }

    #[test]
    fn checksums_of_two_pieces_make_that_of_both() {
        for (a, b) in [(&b"some bytes"[..], &b"and more"[..]), (b"", b"all"), (b"all", b"")] {
            let both = Crc64::of(a).followed_by(Crc64::of(b), b.len() as u64);
            assert_eq!(both, Crc64::of(&[a, b].concat()));
        }
    }
}

//! The digest of one PATCH (tus extension Checksum), computed while its bytes come in.

use sha1::Digest as _;

use super::headers;
use crate::receive::Checksum;

enum State {
    Sha1(sha1::Sha1, [u8; 20]),
    Sha256(sha2::Sha256, [u8; 32]),
}

/// A digest under way and what it must be.
pub(super) struct Expected(State);

impl Expected {
    pub(super) fn of(checksum: headers::Checksum) -> Box<Self> {
        Box::new(Self(match checksum {
            headers::Checksum::Sha1(digest) => State::Sha1(sha1::Sha1::new(), digest),
            headers::Checksum::Sha256(digest) => State::Sha256(sha2::Sha256::new(), digest),
        }))
    }
}

impl Checksum for Expected {
    fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha1(hasher, _) => hasher.update(bytes),
            State::Sha256(hasher, _) => hasher.update(bytes),
        }
    }

    fn matches(&mut self) -> bool {
        match &mut self.0 {
            State::Sha1(hasher, expected) => {
                hasher.finalize_reset().as_slice() == expected.as_slice()
            }
            State::Sha256(hasher, expected) => {
                hasher.finalize_reset().as_slice() == expected.as_slice()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha1_and_sha256_as_published() {
        let sha1: [u8; 20] =
            hex::decode("a9993e364706816aba3e25717850c26c9cd0d89d").unwrap().try_into().unwrap();
        let sha256 = chain_of_custody::digest::Sha256::of(b"abc").0;
        for checksum in [headers::Checksum::Sha1(sha1), headers::Checksum::Sha256(sha256)] {
            let mut good = Expected::of(checksum.clone());
            good.update(b"a");
            good.update(b"bc");
            assert!(good.matches());
            let mut bad = Expected::of(checksum);
            bad.update(b"abd");
            assert!(!bad.matches());
        }
    }
}

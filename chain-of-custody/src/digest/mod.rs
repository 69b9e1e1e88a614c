//! Digests of bytes as received: SHA-256 (as `sha256sum` prints it) and BLAKE3 (as `b3sum` prints it).
//!
//! What lives here: the digests themselves, [`ContentHasher`] that computes both in one pass and can be put aside and
//! taken up again, and the [`Outboard`] by which any 64 KiB group is checked without the rest of the file.
//!
//! What does not: where the bytes come from, where states and outboards are kept.
//!
//! The one invariant to keep: however the bytes were cut, and however often the pass was put aside, the digests and the
//! chaining values are those of the whole.

mod hasher;
mod outboard;
mod tree;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use hasher::{BadHashState, ContentHasher, HashState, TreeHasher};
pub use outboard::{Outboard, OutboardError, VerifiedOutboard};
pub use tree::{GROUP_BYTES, GroupCv, groups_of};

/// Text that is not a digest: wrong algorithm, length or alphabet (lower-case hex).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {0} digest (64 lower-case hexadecimal characters)")]
pub struct BadDigest(&'static str);

/// 64 lower-case hexadecimal characters.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8; 32]) -> fmt::Result {
    let mut text = [0; 64];
    hex::encode_to_slice(bytes, &mut text).map_err(|_| fmt::Error)?;
    f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $algorithm:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The algorithm's name before the colon.
            pub const ALGORITHM: &'static str = $algorithm;

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        /// 64 lower-case hexadecimal characters.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{self}", Self::ALGORITHM)
            }
        }

        impl FromStr for $name {
            type Err = BadDigest;

            fn from_str(text: &str) -> Result<Self, BadDigest> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| BadDigest($algorithm))?;
                let digest = Self(bytes);
                (digest.to_string() == text).then_some(digest).ok_or(BadDigest($algorithm))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digest!(/// SHA-256 (FIPS 180-4).
    Sha256, "sha256");
digest!(/// BLAKE3, 32 bytes of output.
    Blake3, "blake3");

impl Sha256 {
    /// The digest of `bytes` that are in memory already.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl Blake3 {
    /// The digest of `bytes` that are in memory already.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// Both digests of the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digests {
    pub sha256: Sha256,
    pub blake3: Blake3,
}

impl Digests {
    /// Both digests of `bytes` that are in memory already.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256::of(bytes), blake3: Blake3::of(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_the_ordinary_tools_do() {
        let d = Digests::of(b"");
        assert_eq!(
            d.sha256.to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            d.blake3.to_string(),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        assert!(d.sha256.to_string().to_uppercase().parse::<Sha256>().is_err());
    }
}

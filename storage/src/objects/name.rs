//! Names in the object store: paths of plain characters that cannot leave it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::StoreError;

/// The name of an object, as in `originals/0193a7c2-…` or `ledger/ledger.essex.example/tile/0/x001/067`.
///
/// Segments of `[A-Za-z0-9._+-]` that do not begin with a dot, joined by `/`. `keys` and `uploads` are the store's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(String);

impl ObjectName {
    /// The longest name.
    pub const MAX_BYTES: usize = 480;
    const OWN_FOLDERS: [&'static str; 2] = ["keys", "uploads"];

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file of part `at` of the object of this name: the first has the object's own, the others `.part-0002` and so
    /// on behind it.
    ///
    /// # Errors
    /// When that is longer than names may be.
    pub fn part(&self, at: usize) -> Result<Self, StoreError> {
        if at == 0 { Ok(self.clone()) } else { format!("{}.part-{:04}", self.0, at + 1).parse() }
    }

    /// The name under which its key lies. A bundle of openings has one key at every width: that of the full one, which
    /// `….p/<width>` is the beginning of.
    pub(crate) fn of_key(name: &str) -> &str {
        let width = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        name.rsplit_once(".p/").map_or(name, |(full, rest)| if width(rest) { full } else { name })
    }

    /// Whether it is of an original, which can never be made again.
    pub(crate) fn is_original(&self) -> bool {
        self.0.starts_with("originals/")
    }

    /// The file with the outboard of the object of this name.
    ///
    /// # Errors
    /// When that is longer than names may be.
    pub(crate) fn outboard(&self) -> Result<Self, StoreError> {
        format!("{}.obao", self.0).parse()
    }
}

impl FromStr for ObjectName {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
        let segment = |s: &str| !s.is_empty() && !s.starts_with('.') && s.bytes().all(plain);
        let own = text.split('/').next().is_some_and(|s| Self::OWN_FOLDERS.contains(&s));
        let good = text.len() <= Self::MAX_BYTES && !own && text.split('/').all(segment);
        good.then(|| Self(text.to_owned()))
            .ok_or_else(|| StoreError::BadName { name: text.chars().take(80).collect() })
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ObjectName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ObjectName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_has_one_key_at_every_width() {
        for (name, key) in [
            ("openings/l/x001/067.p/5", "openings/l/x001/067"),
            ("openings/l/x001/067", "openings/l/x001/067"),
            ("originals/a", "originals/a"),
            ("derivatives/i/a.p/b5", "derivatives/i/a.p/b5"),
            ("derivatives/i/a.p/", "derivatives/i/a.p/"),
        ] {
            assert_eq!(ObjectName::of_key(name), key);
        }
    }

    #[test]
    fn no_name_leaves_the_store() {
        for good in ["originals/a", "derivatives/i/r/proxy.mp4", "ledger/l.x/tile/0/x001/067.p/5"] {
            assert_eq!(good.parse::<ObjectName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "../a",
            "a/../b",
            "a/.hidden",
            "a b",
            "a\\b",
            "keys/a",
            "uploads/x",
            "uploads",
            "a\0",
            "é",
            &"a".repeat(481),
        ] {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad:?}");
        }
    }
}

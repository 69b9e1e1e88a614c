//! The outboard: one chaining value per 64 KiB group, by which any range is checked alone (docs/formats/outboard.md).

use super::Blake3;
use super::tree::{GROUP_BYTES, GroupCv, Place, Stack, group_value, groups_of};

/// Why an outboard or a group does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutboardError {
    #[error("the outboard has {found} values; a file of this size has {expected}")]
    Count { found: u64, expected: u64 },
    #[error("the outboard is not that of the recorded BLAKE3 digest")]
    Root,
    #[error("group {index} differs from what was recorded")]
    Group { index: u64 },
    #[error("group {index} has {found} bytes; there it has {expected}")]
    Length { index: u64, found: u64, expected: u64 },
}

/// The values of all groups of a file, not yet held against its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outboard {
    size_bytes: u64,
    values: Vec<GroupCv>,
}

impl Outboard {
    /// The values of a file of `size_bytes`, in order.
    ///
    /// # Errors
    /// [`OutboardError::Count`] when it is not one per group.
    pub fn new(size_bytes: u64, values: Vec<GroupCv>) -> Result<Self, OutboardError> {
        let (found, expected) = (values.len() as u64, groups_of(size_bytes));
        if found != expected {
            return Err(OutboardError::Count { found, expected });
        }
        Ok(Self { size_bytes, values })
    }

    /// From the flat form: 32 bytes per group.
    ///
    /// # Errors
    /// [`OutboardError::Count`] when the length does not fit the size.
    pub fn from_bytes(size_bytes: u64, bytes: &[u8]) -> Result<Self, OutboardError> {
        let (values, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() {
            let (found, expected) = (values.len() as u64 + 1, groups_of(size_bytes));
            return Err(OutboardError::Count { found, expected });
        }
        Self::new(size_bytes, values.iter().map(|value| GroupCv(*value)).collect())
    }

    /// The flat form: 32 bytes per group, in order.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|value| value.0).collect()
    }

    /// The size of the file it belongs to.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The BLAKE3 digest that these values add up to.
    pub fn root(&self) -> Blake3 {
        let (last, before) = self.values.split_last().expect("every file has at least one group");
        let mut stack = Stack::default();
        before.iter().for_each(|value| stack.push(value.0, 1));
        Blake3(stack.fold(last.0, Place::Root).unwrap_or(last.0))
    }

    /// Holds the values against the digest; only then may they vouch for bytes.
    ///
    /// # Errors
    /// [`OutboardError::Root`] when they add up to another digest.
    pub fn verify(self, blake3: &Blake3) -> Result<VerifiedOutboard, OutboardError> {
        if self.root() == *blake3 { Ok(VerifiedOutboard(self)) } else { Err(OutboardError::Root) }
    }
}

/// An outboard that adds up to the recorded digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedOutboard(Outboard);

impl VerifiedOutboard {
    /// The size of the file it belongs to.
    pub fn size_bytes(&self) -> u64 {
        self.0.size_bytes
    }

    /// The values themselves.
    pub fn outboard(&self) -> &Outboard {
        &self.0
    }

    /// Checks the bytes of group `index` (all of that group).
    ///
    /// # Errors
    /// [`OutboardError::Group`] when they differ from the file's, [`OutboardError::Length`] when there are more or
    /// fewer than the group has, or no such group.
    pub fn verify_group(&self, index: u64, bytes: &[u8]) -> Result<(), OutboardError> {
        let start = index.saturating_mul(GROUP_BYTES as u64);
        let expected = self.0.size_bytes.saturating_sub(start).min(GROUP_BYTES as u64);
        let (found, count) = (bytes.len() as u64, self.0.values.len());
        let value = usize::try_from(index).ok().and_then(|index| self.0.values.get(index));
        let Some(value) = value.filter(|_| found == expected) else {
            return Err(OutboardError::Length { index, found, expected });
        };
        let place = if count == 1 { Place::Root } else { Place::Inner };
        let same = group_value(index, bytes, place) == *value;
        same.then_some(()).ok_or(OutboardError::Group { index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ContentHasher;

    fn file(size: usize) -> (Vec<u8>, VerifiedOutboard) {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let mut hasher = ContentHasher::new();
        let mut values = hasher.update(&bytes);
        values.push(hasher.finish().1);
        let outboard = Outboard::new(size as u64, values).unwrap();
        let outboard = outboard.verify(&Blake3::of(&bytes)).unwrap();
        (bytes, outboard)
    }

    #[test]
    fn each_group_is_proved_alone_and_no_other_passes() {
        for size in [0, 1, GROUP_BYTES, GROUP_BYTES + 1, 5 * GROUP_BYTES + 77] {
            let (bytes, outboard) = file(size);
            for index in 0..groups_of(size as u64) {
                let start = index as usize * GROUP_BYTES;
                let group = &bytes[start..size.min(start + GROUP_BYTES)];
                outboard.verify_group(index, group).unwrap();
                let mut flipped = group.to_vec();
                let Some(middle) = flipped.get_mut(group.len() / 2) else { continue };
                *middle ^= 1;
                let differs = Err(OutboardError::Group { index });
                assert_eq!(outboard.verify_group(index, &flipped), differs);
                assert!(outboard.verify_group(index, &group[1..]).is_err());
                assert!(outboard.verify_group(index + 1, group).is_err());
            }
        }
    }

    #[test]
    fn groups_do_not_change_places() {
        let (bytes, outboard) = file(4 * GROUP_BYTES);
        let second = &bytes[GROUP_BYTES..2 * GROUP_BYTES];
        assert_eq!(outboard.verify_group(2, second), Err(OutboardError::Group { index: 2 }));
    }

    #[test]
    fn values_that_do_not_add_up() {
        let (bytes, outboard) = file(3 * GROUP_BYTES);
        let (size, root, flat) = (bytes.len() as u64, Blake3::of(&bytes), outboard.0.to_bytes());
        assert_eq!(Outboard::from_bytes(size, &flat).unwrap(), outboard.0);
        let mut flipped = flat.clone();
        flipped[40] ^= 1;
        let flipped = Outboard::from_bytes(size, &flipped).unwrap();
        assert_eq!(flipped.verify(&root), Err(OutboardError::Root));
        for bad in [&flat[..64], &flat[..95]] {
            let count = Outboard::from_bytes(size, bad);
            assert!(matches!(count, Err(OutboardError::Count { expected: 3, .. })), "{count:?}");
        }
        assert!(Outboard::from_bytes(size + 1, &flat).is_err(), "one byte more is a group more");
    }
}

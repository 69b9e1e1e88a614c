//! What is kept beside an upload at a durable offset: the hash state there, and the bytes that are in no sealed piece yet.

use std::path::Path;

use chain_of_custody::digest::HashState;
use tokio::sync::OwnedSemaphorePermit;
use zeroize::Zeroizing;

use super::error::{Damage, StoreError};
use super::kek::ObjectKey;
use super::tink::{self, Purpose};

/// Both, in plaintext.
pub(crate) struct Tail {
    pub(crate) hash_state: HashState,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// Leave to have it in memory, where that is given to few at once.
    pub(crate) leave: Option<OwnedSemaphorePermit>,
}

impl Tail {
    /// Length of the hash state (u32 little-endian) ‖ hash state ‖ bytes, which may come in pieces.
    pub(crate) fn encode<'a>(
        hash_state: &HashState,
        bytes: impl Iterator<Item = &'a [u8]>,
    ) -> Zeroizing<Vec<u8>> {
        let state = hash_state.as_bytes();
        let length = u32::try_from(state.len()).expect("a hash state is a few KiB").to_le_bytes();
        let pieces: Vec<&[u8]> = bytes.collect();
        let whole = length.len() + state.len() + pieces.iter().map(|p| p.len()).sum::<usize>();
        // Of its whole size from the beginning: growing would leave copies behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(whole));
        plain.extend_from_slice(&length);
        plain.extend_from_slice(state);
        pieces.iter().for_each(|piece| plain.extend_from_slice(piece));
        plain
    }

    /// Opens what was kept at `path` for an upload of `size_bytes`, of which `before` lie in sealed pieces.
    pub(crate) fn open(
        path: &Path,
        key: &ObjectKey,
        sealed: &[u8],
        before: u64,
        size_bytes: u64,
    ) -> Result<Self, StoreError> {
        let plain = tink::open_all(key, Purpose::Tail, sealed);
        let plain = plain.map_err(|what| StoreError::damaged(path, what))?;
        Self::decode(&plain)
            .filter(|tail| before + tail.bytes.len() as u64 == size_bytes)
            .filter(|tail| tail.hash_state.size_bytes() == size_bytes)
            .ok_or_else(|| StoreError::damaged(path, Damage::Form))
    }

    fn decode(plain: &[u8]) -> Option<Self> {
        let (length, rest) = plain.split_first_chunk::<4>()?;
        let (state, bytes) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let hash_state = HashState::from_bytes(state.to_vec()).ok()?;
        Some(Self { hash_state, bytes: Zeroizing::new(bytes.to_vec()), leave: None })
    }
}

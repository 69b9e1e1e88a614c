//! Object keys, and the force's key that wraps them.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::Digest as _;
use zeroize::Zeroizing;

/// Fills with random bytes of the operating system.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    SystemRandom::new()
        .fill(bytes)
        .expect("the kernel gives random bytes once it is seeded, which it is");
}

/// The random key of one part or small object.
#[derive(Clone)]
pub(crate) struct ObjectKey(Zeroizing<[u8; 32]>);

impl ObjectKey {
    pub(crate) fn random() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        fill_random(key.as_mut_slice());
        Self(key)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Keys that this process has made durable, so that what shares one need not read, unwrap and sync it each time.
#[derive(Debug, Default)]
pub(crate) struct KnownKeys(Mutex<HashMap<PathBuf, ObjectKey>>);

/// After so many it begins anew: only the last bundles of a ledger are written again and again.
const MAX_KNOWN_KEYS: usize = 64;

impl KnownKeys {
    /// The key in this file, if this process knows that it is durable there.
    pub(crate) fn get(&self, path: &Path) -> Option<ObjectKey> {
        self.lock().get(path).cloned()
    }

    pub(crate) fn learn(&self, path: PathBuf, key: ObjectKey) {
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN_KEYS {
            known.clear();
        }
        known.insert(path, key);
    }

    pub(crate) fn forget(&self, path: &Path) {
        self.lock().remove(path);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, ObjectKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The force's key (key-encrypting key): wraps every object's key, encrypts nothing else.
#[derive(Clone)]
pub struct Kek {
    id: String,
    key: Zeroizing<[u8; 32]>,
}

impl Kek {
    /// The bytes of associated data of every wrapped key.
    const PURPOSE: &'static [u8] = b"exhibit/object-key/v1";
    const FIRST_LINE: &'static str = "exhibit object key v1";

    /// The key of these bytes; its id is the first 8 bytes of SHA-256("exhibit/kek-id/v1" ‖ 0x00 ‖ key), in hex.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        let hash =
            sha2::Sha256::new().chain_update(b"exhibit/kek-id/v1\0").chain_update(key.as_slice());
        let id = hex::encode(&hash.finalize()[..8]);
        Self { id, key }
    }

    /// Which key this is, without saying anything of it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The text of a key file (docs/formats/objects-at-rest.md).
    pub(crate) fn wrap(&self, key: &ObjectKey) -> String {
        let mut nonce = [0; NONCE_LEN];
        fill_random(&mut nonce);
        let mut sealed = Zeroizing::new(key.as_bytes().to_vec());
        let tag = self
            .cipher()
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(Self::PURPOSE),
                &mut sealed,
            )
            .expect("32 bytes are within AES-GCM's limit");
        let wrapped = STANDARD.encode([&nonce, sealed.as_slice(), tag.as_ref()].concat());
        format!("{}\nkek {}\nwrapped {wrapped}\n", Self::FIRST_LINE, self.id)
    }

    /// Opens what [`Self::wrap`] wrote; `None` when this is not the key, or the text is damaged.
    pub(crate) fn unwrap(&self, text: &str) -> Option<ObjectKey> {
        let rest = text
            .strip_prefix(Self::FIRST_LINE)?
            .strip_prefix("\nkek ")?
            .strip_prefix(self.id.as_str())?;
        let wrapped = STANDARD.decode(rest.strip_prefix("\nwrapped ")?.strip_suffix('\n')?).ok()?;
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let key = self.cipher().open_in_place(nonce, Aad::from(Self::PURPOSE), &mut sealed).ok()?;
        Some(ObjectKey(Zeroizing::new((&*key).try_into().ok()?)))
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, self.key.as_slice())
            .expect("32 bytes are an AES-256 key");
        LessSafeKey::new(key)
    }
}

/// Says nothing of the key.
impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectKey")
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_unwraps_and_only_what_it_wrapped() {
        let kek = Kek::new(Zeroizing::new([7; 32]));
        let key = ObjectKey::random();
        let text = kek.wrap(&key);
        assert_eq!(kek.unwrap(&text).unwrap().as_bytes(), key.as_bytes());
        assert!(Kek::new(Zeroizing::new([8; 32])).unwrap(&text).is_none());
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 2;
            let Ok(damaged) = String::from_utf8(damaged) else { continue };
            assert!(kek.unwrap(&damaged).is_none(), "byte {at}");
        }
    }
}

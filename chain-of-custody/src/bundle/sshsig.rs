//! SSH signatures (OpenSSH PROTOCOL.sshsig) by Ed25519 keys, so that `ssh-keygen -Y verify` checks a bundle without
//! any program of ours; and the `allowed_signers` line that it wants beside them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha512};

use crate::malformed::Malformed;
use crate::note::{KeyName, KeyType, SIGNATURE_BYTES, Signer, SignerUnavailable, VerifierKey};

/// What the signature is for: one made for anything else never counts.
pub const NAMESPACE: &str = "exhibit-bundle";

const FORMAT: &str = "SSH signature";
const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
const HASH: &str = "sha512";
const KEY_TYPE: &str = "ssh-ed25519";
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// ssh-keygen breaks the armour here.
const LINE_CHARS: usize = 70;
/// An Ed25519 signature of this form has some 300 bytes of armour.
const MAX_ARMOUR_BYTES: usize = 4096;

/// A signature file as it came: nothing checked but its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSignature {
    public_key: [u8; 32],
    signature: [u8; SIGNATURE_BYTES],
}

impl SshSignature {
    /// Signs `message` for the namespace [`NAMESPACE`].
    ///
    /// # Errors
    /// [`SignerUnavailable`]: nothing was signed.
    pub fn sign(message: &[u8], signer: &dyn Signer) -> Result<Self, SignerUnavailable> {
        let signature = signer.sign(&signed_data(message))?;
        Ok(Self { public_key: *signer.vkey().public_key(), signature })
    }

    /// The key that the file says signed it.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// Whether the key named in the file really signed `message`. Says nothing about whose key it is.
    pub fn fits(&self, message: &[u8]) -> bool {
        let name = KeyName::new("sshsig").expect("a fixed name is valid");
        VerifierKey::new(name, KeyType::Ed25519, &self.public_key)
            .is_ok_and(|key| key.verifies(&signed_data(message), &self.signature))
    }

    /// The armoured file.
    pub fn to_armour(&self) -> String {
        let mut blob = MAGIC.to_vec();
        blob.extend_from_slice(&VERSION.to_be_bytes());
        put_string(&mut blob, &key_blob(&self.public_key));
        put_string(&mut blob, NAMESPACE.as_bytes());
        put_string(&mut blob, b"");
        put_string(&mut blob, HASH.as_bytes());
        let mut signature = Vec::new();
        put_string(&mut signature, KEY_TYPE.as_bytes());
        put_string(&mut signature, &self.signature);
        put_string(&mut blob, &signature);
        let text = BASE64.encode(blob);
        let lines: Vec<&str> = (0..text.len())
            .step_by(LINE_CHARS)
            .map(|at| &text[at..text.len().min(at + LINE_CHARS)])
            .collect();
        format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
    }

    /// Reads an armoured file. Strict: Ed25519, SHA-512, our namespace, nothing after it.
    ///
    /// # Errors
    /// [`Malformed`] with the reason.
    pub fn parse(armour: &[u8]) -> Result<Self, Malformed> {
        let bad = |reason| Malformed::new(FORMAT, reason);
        if armour.len() > MAX_ARMOUR_BYTES {
            return Err(bad("it is too long"));
        }
        let text = std::str::from_utf8(armour).map_err(|_| bad("it is not text"))?;
        let inner = text.strip_prefix(BEGIN).and_then(|rest| rest.trim_end().strip_suffix(END));
        let joined: String =
            inner.ok_or_else(|| bad("no armour around it"))?.split_whitespace().collect();
        let blob = BASE64.decode(joined).map_err(|_| bad("it is not base64"))?;
        Self::parse_blob(&blob)
    }

    fn parse_blob(blob: &[u8]) -> Result<Self, Malformed> {
        let bad = |reason| Malformed::new(FORMAT, reason);
        let rest = blob.strip_prefix(MAGIC).ok_or_else(|| bad("it does not begin with SSHSIG"))?;
        let (version, mut rest) =
            rest.split_first_chunk::<4>().ok_or_else(|| bad("it is cut off"))?;
        if u32::from_be_bytes(*version) != VERSION {
            return Err(bad("its version is not 1"));
        }
        let mut next = || take_string(&mut rest).ok_or_else(|| bad("it is cut off"));
        let (key, namespace, reserved, hash, signature) =
            (next()?, next()?, next()?, next()?, next()?);
        if namespace != NAMESPACE.as_bytes() {
            return Err(bad("it was made for something else than a bundle"));
        }
        if hash != HASH.as_bytes() || !reserved.is_empty() || !rest.is_empty() {
            return Err(bad("it is not in the one form that bundles have"));
        }
        let public_key = typed(key).ok_or_else(|| bad("its key is not an Ed25519 key"))?;
        let signature =
            typed(signature).ok_or_else(|| bad("its signature is not an Ed25519 signature"))?;
        Ok(Self { public_key, signature })
    }
}

/// One line for `ssh-keygen -Y verify -f allowed_signers`, limited to [`NAMESPACE`].
pub fn allowed_signer(principal: &str, public_key: &[u8; 32]) -> String {
    let key = BASE64.encode(key_blob(public_key));
    format!("{principal} namespaces=\"{NAMESPACE}\" {KEY_TYPE} {key}\n")
}

/// What is really signed: the namespace and the SHA-512 of the message, never the message itself.
fn signed_data(message: &[u8]) -> Vec<u8> {
    let mut data = MAGIC.to_vec();
    put_string(&mut data, NAMESPACE.as_bytes());
    put_string(&mut data, b"");
    put_string(&mut data, HASH.as_bytes());
    put_string(&mut data, &Sha512::digest(message));
    data
}

fn key_blob(public_key: &[u8; 32]) -> Vec<u8> {
    let mut blob = Vec::new();
    put_string(&mut blob, KEY_TYPE.as_bytes());
    put_string(&mut blob, public_key);
    blob
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("only short strings are written here");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (string, tail) = tail.split_at_checked(length)?;
    *rest = tail;
    Some(string)
}

/// The `N` bytes of an `ssh-ed25519` key or signature.
fn typed<const N: usize>(mut blob: &[u8]) -> Option<[u8; N]> {
    let kind = take_string(&mut blob)?;
    let bytes = take_string(&mut blob)?;
    (kind == KEY_TYPE.as_bytes() && blob.is_empty()).then(|| bytes.try_into().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::SigningKey;
    use proptest::prelude::*;

    fn signed() -> (SshSignature, &'static [u8]) {
        let key = SigningKey::from_seed("bundle.example", [7; 32]).unwrap();
        (SshSignature::sign(b"the list", &key).unwrap(), b"the list")
    }

    #[test]
    fn fits_its_message_and_no_other() {
        let (signature, message) = signed();
        let read = SshSignature::parse(signature.to_armour().as_bytes()).unwrap();
        assert!(read == signature && read.fits(message));
        assert!(!read.fits(b"another list"));
    }

    #[test]
    fn any_flipped_byte_is_malformed_or_does_not_fit() {
        let (signature, message) = signed();
        let armour = signature.to_armour();
        for at in 0..armour.len() {
            let mut bytes = armour.clone().into_bytes();
            bytes[at] ^= 1;
            let accepted = SshSignature::parse(&bytes).is_ok_and(|s| s.fits(message));
            // Whitespace between base64 lines carries nothing.
            assert!(!accepted || armour.as_bytes()[at].is_ascii_whitespace(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(blob in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = SshSignature::parse(&blob);
            let _ = SshSignature::parse_blob(&[MAGIC, &VERSION.to_be_bytes(), &blob].concat());
        }
    }
}

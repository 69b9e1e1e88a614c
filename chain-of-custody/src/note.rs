//! C2SP signed notes (c2sp.org/signed-note v1.0.0): keys, signing, parsing, verifying.
//!
//! Here: the envelope that every statement of ours and every checkpoint travels in. Not here: what the text
//! means (`checkpoint`, `heads`, `receipt`, `manifest`) and who is trusted (`policy`).
//! Invariant: a text is handed out as verified only if a key that the caller trusts signed exactly these bytes;
//! a trusted key whose signature fails rejects the whole note. Specified in `docs/formats/signed-notes.md`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _};
use sha2::{Digest as _, Sha256};

use crate::malformed::Malformed;

/// Signature lines read from one note. The specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 16;
/// Bytes of one signed note, as in Go's `sumdb/note`.
pub const MAX_NOTE_BYTES: usize = 1_000_000;
/// Bytes of a text to sign: leaves room for sixteen signatures.
pub const MAX_TEXT_BYTES: usize = MAX_NOTE_BYTES - 64 * 1024;
/// Bytes of a key name.
pub const MAX_KEY_NAME_BYTES: usize = 255;
/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes of one decoded signature line; an ML-DSA-44 cosignature (2,432 bytes) of somebody else still fits.
const MAX_SIGNATURE_LINE_BYTES: usize = 8 * 1024;

const NOTE: &str = "signed note";
const VKEY: &str = "verifier key";
/// Em dash and space: how a signature line starts.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// Why a note was not accepted. Each variant is something else that a caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a note of this form: refuse it.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// No trusted key signed it: nothing is known about the text, good or bad.
    #[error("no signature by a trusted key")]
    NoTrustedSignature,
    /// A trusted key is named, and its signature does not fit the text: the note is not what was signed.
    #[error("the signature of {key} does not fit the text")]
    BadSignature { key: KeyName },
    /// The signer's key is of a kind that may not sign this.
    #[error("the key {key} may not sign this kind of note")]
    WrongKeyType { key: KeyName },
    /// The signer could not sign now: try again later.
    #[error(transparent)]
    SignerUnavailable(#[from] SignerUnavailable),
}

/// A signer that cannot sign now (locked, unplugged, out of reach). Nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signing key is unavailable: {reason}")]
pub struct SignerUnavailable {
    pub reason: String,
}

/// Where signatures come from: a key in memory, a file, a token.
pub trait Signer {
    /// The key name that stands in the signature line.
    fn name(&self) -> &str;
    /// The public half, as verifiers know it.
    fn vkey(&self) -> VerifierKey;
    /// Signs `message` with Ed25519. Deterministic: a repeated call gives the same bytes.
    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignerUnavailable>;
}

/// A name in a signature line: not empty, no Unicode space, no plus, no control character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    pub fn new(name: &str) -> Result<Self, Malformed> {
        let bad = |c: char| c.is_whitespace() || c == '+' || c.is_control();
        if name.is_empty() {
            return Err(Malformed::new("key name", "it is empty"));
        }
        if name.len() > MAX_KEY_NAME_BYTES {
            return Err(Malformed::new("key name", "it is too long"));
        }
        if name.contains(bad) {
            return Err(Malformed::new(
                "key name",
                "it holds a space, a plus or a control character",
            ));
        }
        Ok(Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyName({})", self.0)
    }
}

/// The first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key): says which key to try, proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    fn compute(name: &KeyName, key_type: KeyType, public: &[u8]) -> Self {
        let digest = Sha256::new()
            .chain_update(name.as_str())
            .chain_update([b'\n', key_type.byte()])
            .chain_update(public)
            .finalize();
        Self([digest[0], digest[1], digest[2], digest[3]])
    }

    pub fn bytes(self) -> [u8; 4] {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The signature types we can check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// 0x01: Ed25519 over the note text. Statements and checkpoints.
    Ed25519,
    /// 0x04: Ed25519 cosignature with a time. Checkpoints only.
    CosignatureV1,
}

impl KeyType {
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::CosignatureV1),
            0x06 => Err(Malformed::new(VKEY, "ML-DSA-44 keys are not supported yet")),
            _ => Err(Malformed::new(VKEY, "the signature type is unknown")),
        }
    }
}

/// A public key as people exchange it: `name+hex(key id)+base64(type ‖ public key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    id: KeyId,
    key_type: KeyType,
    public: ed25519_dalek::VerifyingKey,
}

impl VerifierKey {
    /// A key from its parts. Keys of small order are refused: they accept signatures of nobody.
    pub fn new(name: KeyName, key_type: KeyType, public: &[u8; 32]) -> Result<Self, Malformed> {
        let public = ed25519_dalek::VerifyingKey::from_bytes(public)
            .map_err(|_| Malformed::new(VKEY, "the public key is no point of the curve"))?;
        if public.is_weak() {
            return Err(Malformed::new(VKEY, "the public key is of small order"));
        }
        let id = KeyId::compute(&name, key_type, public.as_bytes());
        Ok(Self { name, id, key_type, public })
    }

    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Malformed::new(VKEY, "it is not name+id+key"));
        };
        let name = KeyName::new(name)?;
        let key = decode_base64(key).ok_or(Malformed::new(VKEY, "the key is not base64"))?;
        let (&type_byte, public) =
            key.split_first().ok_or(Malformed::new(VKEY, "the key is empty"))?;
        let key_type = KeyType::from_byte(type_byte)?;
        let public =
            public.try_into().map_err(|_| Malformed::new(VKEY, "the key has the wrong length"))?;
        let key = Self::new(name, key_type, public)?;
        if key.id.to_string() != id {
            return Err(Malformed::new(VKEY, "the key id does not belong to the key"));
        }
        Ok(key)
    }

    pub fn name(&self) -> &KeyName {
        &self.name
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    pub fn public_key(&self) -> &[u8; 32] {
        self.public.as_bytes()
    }

    /// Whether `signature` is this key's over `message`. Strict: no malleable form is accepted.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|s| self.public.verify_strict(message, &s).is_ok())
    }

    /// Whether a signature line claims to be by this key.
    pub(crate) fn is_named_by(&self, line: &SignatureLine) -> bool {
        self.name == line.name && self.id == line.key_id
    }
}

impl FromStr for VerifierKey {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.key_type.byte()];
        key.extend_from_slice(self.public.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.id, BASE64.encode(key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

/// An Ed25519 key in memory. Wiped when dropped; never printed.
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    vkey: VerifierKey,
}

impl SigningKey {
    /// The key of a statement or log (type 0x01) from its 32 random bytes.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, Malformed> {
        Self::of_type(name, seed, KeyType::Ed25519)
    }

    /// The key of a log witness (type 0x04).
    pub fn for_cosignatures(name: &str, seed: [u8; 32]) -> Result<Self, Malformed> {
        Self::of_type(name, seed, KeyType::CosignatureV1)
    }

    fn of_type(name: &str, seed: [u8; 32], key_type: KeyType) -> Result<Self, Malformed> {
        let key = ed25519_dalek::SigningKey::from_bytes(&seed);
        let vkey = VerifierKey::new(KeyName::new(name)?, key_type, key.verifying_key().as_bytes())?;
        Ok(Self { key, vkey })
    }
}

impl Signer for SigningKey {
    fn name(&self) -> &str {
        self.vkey.name.as_str()
    }

    fn vkey(&self) -> VerifierKey {
        self.vkey.clone()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignerUnavailable> {
        Ok(self.key.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, secret)", self.vkey)
    }
}

/// One `— name base64(key id ‖ signature)` line, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine {
    pub name: KeyName,
    pub key_id: KeyId,
    /// What follows the key id; its form depends on the key's type.
    pub signature: Vec<u8>,
}

impl SignatureLine {
    /// Reads one line without its newline.
    pub fn parse(line: &str) -> Result<Self, Malformed> {
        let rest = line.strip_prefix(SIGNATURE_PREFIX).ok_or(Malformed::new(
            NOTE,
            "a signature line does not start with an em dash and a space",
        ))?;
        let (name, signature) = rest
            .split_once(' ')
            .ok_or(Malformed::new(NOTE, "a signature line has no signature"))?;
        let bytes =
            decode_base64(signature).ok_or(Malformed::new(NOTE, "a signature is not base64"))?;
        if bytes.len() > MAX_SIGNATURE_LINE_BYTES {
            return Err(Malformed::new(NOTE, "a signature is too long"));
        }
        let (id, signature) = bytes
            .split_first_chunk::<4>()
            .ok_or(Malformed::new(NOTE, "a signature is too short"))?;
        if signature.is_empty() {
            return Err(Malformed::new(NOTE, "a signature is too short"));
        }
        Ok(Self { name: KeyName::new(name)?, key_id: KeyId(*id), signature: signature.to_vec() })
    }

    pub(crate) fn by(key: &VerifierKey, signature: Vec<u8>) -> Self {
        Self { name: key.name.clone(), key_id: key.id, signature }
    }
}

impl fmt::Display for SignatureLine {
    /// The line without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.0.as_slice(), &self.signature].concat();
        write!(f, "{SIGNATURE_PREFIX}{} {}", self.name, BASE64.encode(bytes))
    }
}

/// A note as it travels: text and signature lines, nothing checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<SignatureLine>,
}

impl SignedNote {
    /// Signs `text` (which ends in a newline) with each signer in turn.
    pub fn sign(text: &str, signers: &[&dyn Signer]) -> Result<Self, NoteError> {
        check_text(text)?;
        if signers.is_empty() || signers.len() > MAX_SIGNATURES {
            return Err(Malformed::new(NOTE, "a note has between 1 and 16 signatures").into());
        }
        let mut signatures = Vec::with_capacity(signers.len());
        for signer in signers {
            let key = signer.vkey();
            if key.key_type != KeyType::Ed25519 {
                return Err(NoteError::WrongKeyType { key: key.name });
            }
            signatures.push(SignatureLine::by(&key, signer.sign(text.as_bytes())?.to_vec()));
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Reads a note. Says nothing about who signed it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(Malformed::new(NOTE, "it is too long"));
        }
        let note =
            std::str::from_utf8(bytes).map_err(|_| Malformed::new(NOTE, "it is not UTF-8"))?;
        check_controls(note)?;
        let split = note
            .rfind("\n\n")
            .ok_or(Malformed::new(NOTE, "no empty line before the signatures"))?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        let lines =
            lines.strip_suffix('\n').ok_or(Malformed::new(NOTE, "the last line has no newline"))?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(Malformed::new(NOTE, "too many signatures"));
        }
        let signatures = lines.split('\n').map(SignatureLine::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The text with its last newline. Not to be believed before `verify`.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// Checks the note against the keys the caller trusts (type 0x01; keys of other types are passed over).
    pub fn verify(&self, trusted: &[VerifierKey]) -> Result<Verified<'_>, NoteError> {
        let mut signed_by = Vec::new();
        for line in &self.signatures {
            let known =
                |key: &&VerifierKey| key.key_type == KeyType::Ed25519 && key.is_named_by(line);
            for key in trusted.iter().filter(known) {
                if !key.verifies(self.text.as_bytes(), &line.signature) {
                    return Err(NoteError::BadSignature { key: key.name.clone() });
                }
                if !signed_by.contains(key) {
                    signed_by.push(key.clone());
                }
            }
        }
        if signed_by.is_empty() {
            return Err(NoteError::NoTrustedSignature);
        }
        Ok(Verified { text: &self.text, signed_by })
    }

    pub(crate) fn remove_signatures(&mut self, unwanted: impl Fn(&SignatureLine) -> bool) {
        self.signatures.retain(|line| !unwanted(line));
    }

    pub(crate) fn push_signature(&mut self, line: SignatureLine) -> Result<(), Malformed> {
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(Malformed::new(NOTE, "too many signatures"));
        }
        self.signatures.push(line);
        Ok(())
    }
}

impl FromStr for SignedNote {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str("\n")?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A text that at least one trusted key signed, and that no trusted key signed wrongly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<'a> {
    pub text: &'a str,
    /// The trusted keys that signed, each once.
    pub signed_by: Vec<VerifierKey>,
}

fn check_text(text: &str) -> Result<(), Malformed> {
    check_controls(text)?;
    if !text.ends_with('\n') {
        return Err(Malformed::new(NOTE, "the text does not end in a newline"));
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(Malformed::new(NOTE, "it is too long"));
    }
    Ok(())
}

fn check_controls(text: &str) -> Result<(), Malformed> {
    if text.bytes().any(|b| b < 0x20 && b != b'\n') {
        return Err(Malformed::new(NOTE, "it holds a control character"));
    }
    Ok(())
}

/// Standard base64 with padding, one encoding per value.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

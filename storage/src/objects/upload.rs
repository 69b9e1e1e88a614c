//! What is kept of an upload between its bytes: small, serialisable, without footage and without open keys.

use chain_of_custody::digest::{Blake3, Outboard};
use chain_of_custody::ids::UploadId;
use serde::{Deserialize, Serialize};

use super::crc::Crc64;
use super::name::ObjectName;
use super::tink::{Header, Layout};

/// An upload at a durable offset. Keep it with the offset; [`super::ObjectStore::resume`] takes the last state that
/// was returned, or the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriterState(pub(crate) State);

/// By where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "version")]
pub(crate) enum State {
    #[serde(rename = "exhibit/writer-state/v1")]
    Folder(FolderState),
}

/// An upload in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FolderState {
    pub(crate) upload: UploadId,
    /// Bytes that are durable.
    pub(crate) size_bytes: u64,
    /// Parts that were closed before the one being written.
    pub(crate) closed: Vec<SealedPart>,
    pub(crate) part: OpenPart,
    pub(crate) tail: TailRef,
    pub(crate) groups: GroupsRef,
    pub(crate) reread: Reread,
}

/// Whether the bytes of an upload will be read again once they are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reread {
    /// Not before somebody asks for the item: the page cache is left alone.
    NotSoon,
    /// They are a piece of a larger whole whose digest needs them again: they stay in the page cache while there is room.
    Soon,
}

impl From<FolderState> for WriterState {
    fn from(state: FolderState) -> Self {
        Self(State::Folder(state))
    }
}

impl WriterState {
    /// The upload it belongs to.
    pub fn upload(&self) -> UploadId {
        match &self.0 {
            State::Folder(state) => state.upload,
        }
    }

    /// How many bytes are durable.
    pub fn size_bytes(&self) -> u64 {
        match &self.0 {
            State::Folder(state) => state.size_bytes,
        }
    }
}

/// The part being written: whole segments so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenPart {
    pub(crate) number: u32,
    #[serde(with = "hex_header")]
    pub(crate) header: Header,
    pub(crate) segments: u32,
    /// Checksums of all of them but the last, and of all: closing a part replaces the last one.
    pub(crate) crc_before_last: Crc64,
    pub(crate) crc: Crc64,
}

/// The side file with the bytes after the last whole segment, and the hash state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TailRef {
    pub(crate) slot: Slot,
    pub(crate) file_bytes: u64,
    pub(crate) crc: Crc64,
}

/// Two side files take turns, so that the last durable one is never overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Slot {
    TailA,
    TailB,
}

impl Slot {
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::TailA => "tail-a",
            Self::TailB => "tail-b",
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::TailA => Self::TailB,
            Self::TailB => Self::TailA,
        }
    }
}

/// How much of the side file with the group values counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct GroupsRef {
    pub(crate) values: u64,
    pub(crate) file_bytes: u64,
}

/// A finished stream in the upload's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedPart {
    pub(crate) upload: UploadId,
    pub(crate) number: u32,
    pub(crate) size_bytes: u64,
    pub(crate) crc64nvme: Crc64,
}

/// All bytes of an upload, durable and read back, not yet an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedUpload {
    pub(crate) parts: Vec<SealedPart>,
    pub(crate) size_bytes: u64,
    /// Known to the process that sealed or composed it; another computes it again from the bytes.
    #[serde(skip)]
    pub(crate) outboard: Option<Outboard>,
}

impl SealedUpload {
    /// The size of the plaintext.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

/// An object at rest, as `item.received` records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredObject {
    pub name: ObjectName,
    pub parts: Vec<StoredPart>,
    pub size_bytes: u64,
    pub blake3: Blake3,
}

/// One encrypted file of an object; its key is `keys/<file>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPart {
    pub file: ObjectName,
    /// Of the plaintext.
    pub size_bytes: u64,
    /// Of the whole file, which is ciphertext.
    pub crc64nvme: Crc64,
}

impl StoredPart {
    pub(crate) fn layout(&self) -> Layout {
        Layout { size_bytes: self.size_bytes }
    }
}

mod hex_header {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::Header;

    pub(super) fn serialize<S: Serializer>(
        header: &Header,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(header.0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Header, D::Error> {
        let bytes = hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        Header::parse(&bytes).map_err(D::Error::custom)
    }
}

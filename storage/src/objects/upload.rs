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
    #[serde(rename = "exhibit/writer-state/bucket/v1")]
    Bucket(BucketState),
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

/// An upload in a bucket: whole pieces are in the store, in an upload in parts; what came after them is in a small object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketState {
    pub(crate) upload: UploadId,
    /// What it is going to be.
    pub(crate) name: ObjectName,
    /// Bytes that are durable.
    pub(crate) size_bytes: u64,
    /// Parts that were closed before the one being written.
    pub(crate) closed: Vec<SealedPart>,
    pub(crate) part: OpenPieces,
    /// The small object with the hash state and the bytes after the last whole piece.
    pub(crate) tail: String,
    /// Group values that are kept.
    pub(crate) groups: u64,
}

/// A part being written to a bucket: whole pieces so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenPieces {
    pub(crate) number: u32,
    #[serde(with = "hex_header")]
    pub(crate) header: Header,
    /// The store's name for the upload in parts, once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) in_parts: Option<String>,
    /// The store's tag of each: a piece that was sent twice may be there twice.
    pub(crate) pieces: Vec<String>,
    /// Of them together.
    pub(crate) crc: Crc64,
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

impl From<BucketState> for WriterState {
    fn from(state: BucketState) -> Self {
        Self(State::Bucket(state))
    }
}

impl WriterState {
    /// The upload it belongs to.
    pub fn upload(&self) -> UploadId {
        match &self.0 {
            State::Folder(state) => state.upload,
            State::Bucket(state) => state.upload,
        }
    }

    /// How many bytes are durable.
    pub fn size_bytes(&self) -> u64 {
        match &self.0 {
            State::Folder(state) => state.size_bytes,
            State::Bucket(state) => state.size_bytes,
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

/// A finished stream of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedPart {
    pub(crate) upload: UploadId,
    pub(crate) number: u32,
    pub(crate) size_bytes: u64,
    pub(crate) crc64nvme: Crc64,
    /// Where it is in a bucket, which knows no renaming. In a folder it lies in the upload's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) in_bucket: Option<InBucket>,
}

impl SealedPart {
    pub(crate) fn in_folder(
        upload: UploadId,
        number: u32,
        size_bytes: u64,
        crc64nvme: Crc64,
    ) -> Self {
        Self { upload, number, size_bytes, crc64nvme, in_bucket: None }
    }
}

/// A finished stream in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InBucket {
    pub(crate) file: ObjectName,
    pub(crate) state: PieceState,
}

/// Whether the pieces are an object of the store's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PieceState {
    /// An upload in parts, and the tags of its pieces.
    InParts {
        id: String,
        pieces: Vec<String>,
    },
    Completed {
        version: Option<String>,
    },
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
    /// In a bucket that keeps versions: the one that was written. Every read names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
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

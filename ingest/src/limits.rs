//! Every limit and interval of the way in, with its name. What a limit refuses names it in the problem document.

use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

/// What one socket frame is gathered into before it is hashed and stored: large enough for BLAKE3 to use all lanes,
/// small enough for 64 uploads at once to fit in memory.
pub const BATCH_BYTES: usize = 256 * 1024;

/// How much of one long PATCH may be lost to a kill: so often what arrived is made durable on the way.
pub const PERSIST_EVERY_BYTES: u64 = 64 * MIB;

/// What the operator may set. The defaults suit one machine with one disk.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest item, in bytes (`Tus-Max-Size`).
    pub item_size_bytes: u64,
    /// The longest `Upload-Metadata` header, in bytes.
    pub metadata_bytes: usize,
    /// The longest dock manifest (the whole signed note), in bytes.
    pub manifest_bytes: usize,
    /// The largest PATCH that carries `Upload-Checksum`: such a PATCH counts whole or not at all.
    pub checksum_patch_bytes: u64,
    /// The most partial uploads in one concatenation.
    pub concatenated_uploads: usize,
    /// The most unfinished uploads of one device.
    pub open_uploads_per_device: u64,
    /// The most unfinished uploads of all devices.
    pub open_uploads: u64,
    /// The most requests that move bytes at the same moment; the next is told to come back.
    pub transfers: usize,
    /// Space that uploads never take from the store's disk: the ledger and the database need it to go on.
    pub free_space_kept_bytes: u64,
    /// An unfinished upload that nobody touches for so long is abandoned.
    pub upload_ttl: Duration,
    /// So long a finished upload still answers HEAD with its item and receipt.
    pub finished_ttl: Duration,
    /// A transfer without a single byte for so long has lost its other side.
    pub idle: Duration,
    /// Refusals of one kind within this time become one entry.
    pub refusal_window: Duration,
    /// The most kinds of refusal told apart within one window.
    pub refusal_kinds: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            item_size_bytes: TIB,
            metadata_bytes: 4 * KIB as usize,
            manifest_bytes: 8 * KIB as usize,
            checksum_patch_bytes: 64 * MIB,
            concatenated_uploads: 128,
            open_uploads_per_device: 256,
            open_uploads: 4096,
            transfers: 128,
            free_space_kept_bytes: GIB,
            upload_ttl: Duration::from_secs(7 * 24 * 3600),
            finished_ttl: Duration::from_secs(7 * 24 * 3600),
            idle: Duration::from_secs(60),
            refusal_window: Duration::from_secs(30),
            refusal_kinds: 64,
        }
    }
}

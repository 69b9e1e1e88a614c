//! Where ranges come from and where outputs go: the two seams of the supervisor.
//!
//! In production the source is an original in the object store, every range checked against its digest tree, and the
//! sink is an object being written. Tests use bytes in memory, and sources that fail.

use std::future::Future;
use std::io;
use std::ops::Range;

use bytes::Bytes;

/// An original, read by ranges.
pub trait RangeSource: Send + Sync {
    /// Length of the original in bytes.
    fn size_bytes(&self) -> u64;

    /// The bytes of `range`, all of them and verified, or an error; never fewer. The supervisor only asks for
    /// ranges inside the original and of at most [`crate::protocol::MAX_CHUNK_BYTES`].
    fn read(&self, range: Range<u64>) -> impl Future<Output = io::Result<Bytes>> + Send;
}

/// Where one output of a job goes, in order. What was written counts only once the job has finished.
pub trait OutputSink: Send {
    /// Takes the next bytes; returning means that more may come.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = io::Result<()>> + Send;

    /// Takes what comes before everything that was written, once, after the last of it; at most
    /// [`crate::protocol::MAX_CHUNK_BYTES`]. Only for a recipe whose [`crate::protocol::Recipe::head_comes_last`].
    fn head(&mut self, bytes: Bytes) -> impl Future<Output = io::Result<()>> + Send;

    /// Hears how much of the original the worker has read, in thousandths, as it says.
    fn progress(&mut self, _permille: u16) {}
}

impl<S: OutputSink> OutputSink for &mut S {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        (**self).write(bytes).await
    }

    async fn head(&mut self, bytes: Bytes) -> io::Result<()> {
        (**self).head(bytes).await
    }

    fn progress(&mut self, permille: u16) {
        (**self).progress(permille);
    }
}

impl RangeSource for Bytes {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        Ok(self.slice(range.start as usize..range.end as usize))
    }
}

impl OutputSink for Vec<u8> {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.extend_from_slice(&bytes);
        Ok(())
    }

    async fn head(&mut self, bytes: Bytes) -> io::Result<()> {
        self.splice(..0, bytes);
        Ok(())
    }
}

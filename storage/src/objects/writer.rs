//! Writing the bytes of one upload: encrypted as they come, durable at any offset asked for.

use bytes::Bytes;
use chain_of_custody::digest::{GroupCv, HashState};
use chain_of_custody::ids::UploadId;

use super::bucket::BucketWriter;
use super::error::StoreError;
use super::folder::FolderWriter;
use super::upload::{SealedUpload, WriterState};

/// The writer of one upload. There is one at a time per upload; after any error, or when a call was cancelled, it is
/// done for: take the upload up again with [`super::ObjectStore::resume`].
#[derive(Debug)]
pub struct ObjectWriter {
    medium: Medium,
    usable: bool,
}

/// By where it writes to. What a bucket does is many layers deep, and boxed for the compiler.
#[derive(Debug)]
enum Medium {
    Folder(Box<FolderWriter>),
    Bucket(Box<BucketWriter>),
}

impl From<BucketWriter> for ObjectWriter {
    fn from(writer: BucketWriter) -> Self {
        Self { medium: Medium::Bucket(Box::new(writer)), usable: true }
    }
}

impl From<FolderWriter> for ObjectWriter {
    fn from(writer: FolderWriter) -> Self {
        Self { medium: Medium::Folder(Box::new(writer)), usable: true }
    }
}

impl ObjectWriter {
    /// The upload it writes.
    pub fn upload(&self) -> UploadId {
        match &self.medium {
            Medium::Folder(writer) => writer.upload(),
            Medium::Bucket(writer) => writer.upload(),
        }
    }

    /// Bytes taken so far, durable or not.
    pub fn size_bytes(&self) -> u64 {
        match &self.medium {
            Medium::Folder(writer) => writer.size_bytes(),
            Medium::Bucket(writer) => writer.size_bytes(),
        }
    }

    /// Takes more bytes. Returns when they are taken, which is before they are durable; waits while enough is on its way
    /// to where it will rest, so that memory stays bounded.
    ///
    /// # Errors
    /// [`StoreError::Full`], or a fatal failure of the device, of these bytes or of earlier ones.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.take_back(&bytes).await
    }

    /// The same with bytes that are somebody else's: those that were kept with a durable state.
    pub(crate) async fn take_back(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.begin_step()?;
        match &mut self.medium {
            Medium::Folder(writer) => writer.write(bytes).await?,
            Medium::Bucket(writer) => Box::pin(writer.write(bytes)).await?,
        }
        self.end_step()
    }

    /// Takes the chaining values of complete groups, in order, as [`chain_of_custody::digest::ContentHasher`] gives
    /// them; before [`Self::seal`] that of the last group too. Whoever leaves them out pays one reading more in
    /// [`super::ObjectStore::complete`].
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn append_groups(&mut self, values: &[GroupCv]) -> Result<(), StoreError> {
        self.begin_step()?;
        match &mut self.medium {
            Medium::Folder(writer) => writer.append_groups(values).await?,
            Medium::Bucket(writer) => Box::pin(writer.append_groups(values)).await?,
        }
        self.end_step()
    }

    /// Makes every byte taken so far durable and compared with what was taken, the last one included, together with the
    /// hash state at that offset. What this returns resumes exactly here, on a process that knows nothing else.
    ///
    /// # Errors
    /// As [`Self::write`]; nothing may be acknowledged then.
    ///
    /// # Panics
    /// When `hash_state` is not that of the bytes taken: a fault of ours that must not reach the device.
    pub async fn persist(&mut self, hash_state: &HashState) -> Result<WriterState, StoreError> {
        assert_eq!(
            hash_state.size_bytes(),
            self.size_bytes(),
            "the hash state is that of the bytes taken"
        );
        self.begin_step()?;
        let state = match &mut self.medium {
            Medium::Folder(writer) => writer.persist(hash_state).await?.into(),
            Medium::Bucket(writer) => Box::pin(writer.persist(hash_state)).await?.into(),
        };
        self.end_step()?;
        Ok(state)
    }

    /// Whether it has memory that others may be waiting for. Whoever sends slowly had better be asked to come again.
    pub fn is_in_the_way(&self) -> bool {
        match &self.medium {
            Medium::Folder(_) => false,
            Medium::Bucket(writer) => writer.is_in_the_way(),
        }
    }

    /// Ends the upload: everything is durable and compared when this returns.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn seal(mut self) -> Result<SealedUpload, StoreError> {
        self.begin_step()?;
        match self.medium {
            Medium::Folder(writer) => writer.seal().await,
            Medium::Bucket(writer) => Box::pin(writer.seal()).await,
        }
    }

    /// Ends the upload as [`Self::seal`] does, with `head` before everything that was taken: a part of its own, so that
    /// nothing is written twice. [`super::ObjectStore::compose`] tells the digests of the whole.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn seal_behind(mut self, head: Bytes) -> Result<SealedUpload, StoreError> {
        self.begin_step()?;
        match self.medium {
            Medium::Folder(writer) => writer.seal_behind(head).await,
            Medium::Bucket(writer) => Box::pin(writer.seal_behind(head)).await,
        }
    }

    /// Gives the upload up: its key and its bytes go.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub async fn discard(self) -> Result<(), StoreError> {
        match self.medium {
            Medium::Folder(writer) => writer.discard().await,
            Medium::Bucket(writer) => Box::pin(writer.discard()).await,
        }
    }

    /// Until [`Self::end_step`] the writer counts as failed, so that an error or a cancelled call leaves it so.
    fn begin_step(&mut self) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.usable, false) { Ok(()) } else { Err(StoreError::Stopped) }
    }

    #[allow(clippy::unnecessary_wraps, reason = "the last line of every step")]
    fn end_step(&mut self) -> Result<(), StoreError> {
        self.usable = true;
        Ok(())
    }
}

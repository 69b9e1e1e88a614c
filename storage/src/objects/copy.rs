//! Whole objects between two stores under one force's key, and looking whether one is there: backup, restore, scrub.
//!
//! The one invariant to keep: a copied object has its name only when every byte of it was compared with what the ledger
//! recorded, on the device of the copy.

use futures_util::TryStreamExt as _;

use super::error::StoreError;
use super::store::ObjectStore;
use super::upload::StoredObject;

/// What copying an object did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// So many bytes of files were written.
    Now { file_bytes: u64 },
    /// All its files were there before.
    Before,
}

impl ObjectStore {
    /// Brings `object` over from another store under the same force's key: compared with the recorded checksums while it
    /// is read, synced, and read back from this store's device. Create-only; what an earlier call finished is left as it
    /// is, what it left unfinished is finished.
    ///
    /// # Errors
    /// Those of reading `from`, as [`Self::open_object`]; [`StoreError::Full`] and device failures of this store.
    pub async fn copy_object(
        &self,
        from: &Self,
        object: &StoredObject,
    ) -> Result<Copied, StoreError> {
        let (from, object) = (from.clone(), object.clone());
        self.run(move |medium| medium.bring_over(from.medium.as_ref(), &object)).await
    }

    /// Brings a good copy of a damaged or missing object over from another store under the same force's key. What is here of
    /// it is moved to `aside/`, once the copy was read whole; then every byte is compared and read again.
    ///
    /// # Errors
    /// Those of reading `from`: nothing was changed then. [`StoreError::AlreadyExists`] when something of it was moved aside
    /// before; [`StoreError::Away`] when a lock holds what is damaged.
    pub async fn mend(&self, from: &Self, object: &StoredObject) -> Result<(), StoreError> {
        from.read_through(object).await?;
        let mut files = vec![object.name.outboard()?];
        files.extend(object.parts.iter().map(|part| part.file.clone()));
        self.set_aside(files).await?;
        self.copy_object(from, object).await?;
        self.read_through(object).await
    }

    /// Whether all files of `object` are there with the lengths they should have: a look, not a reading.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::KeyGone`], [`StoreError::Damaged`].
    pub async fn glance(&self, object: &StoredObject) -> Result<(), StoreError> {
        let object = object.clone();
        self.run(move |medium| medium.glance(&object)).await
    }

    /// The same for many, one result each.
    ///
    /// # Errors
    /// When the runtime is going down.
    pub async fn glance_at_all(
        &self,
        objects: Vec<StoredObject>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.run(move |medium| Ok(objects.iter().map(|object| medium.glance(object)).collect()))
            .await
    }

    /// Every byte of `object`, through authentication and tree.
    ///
    /// # Errors
    /// As [`Self::open_object`] and [`super::VerifiedObject::read`].
    pub async fn read_through(&self, object: &StoredObject) -> Result<(), StoreError> {
        let opened = self.open_object(object).await?;
        opened.stream(0..opened.size_bytes())?.try_for_each(|_| async { Ok(()) }).await
    }
}

//! Bundles made for download: by `bundle`, into a folder of our own, and gone from it after a while.
//!
//! A bundle is not encrypted, since it is made to be given away. It lies in the outbox (mode 0700) for as long as it can be
//! downloaded, by whoever made it alone; the record of the hand-over stays.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chain_of_custody::ids::{CaseId, EventId, ItemId};
use chain_of_custody::time::Timestamp;
use storage::records::MadeBundle;

use super::{BundleView, RequestKey, Service, ServiceError};
use crate::access::{Attempt, Malformed, Person};
use crate::bundle::{
    Authorisation, BundleError, BundleRequest, MAX_ITEMS, MAX_TEXT_CHARS, Output, Purpose,
    RequestedItem,
};

/// How long a bundle can be downloaded after it was made.
pub const BUNDLE_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Bundles that are made at once, for all people together.
pub const MAX_BUNDLES_AT_ONCE: usize = 2;

/// A bundle that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleOrder {
    /// The case it is for: names the bundle, and gives the items' exhibit references. Must be theirs.
    pub case: Option<CaseId>,
    /// Which items; with a case, none means all of the case that this person may see.
    pub items: Vec<OrderedItem>,
    pub purpose: Purpose,
    pub recipient: String,
    /// Who authorises what needs it, and why: for items that are restricted, sensitive or in quarantine, and for
    /// `completeness`.
    pub authorised: Option<Authorisation>,
    /// With a statement that these are all entries of these items.
    pub completeness: bool,
    /// With the programs that made its derivatives.
    pub programs: bool,
}

/// One item of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedItem {
    pub item: ItemId,
    /// Exhibit reference; the case's when none is given.
    pub reference: Option<String>,
    pub description: Option<String>,
}

/// Makes the outbox if need be, readable to this process alone.
pub(super) fn prepare(outbox: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(outbox)?;
    std::fs::set_permissions(outbox, Permissions::from_mode(0o700))
}

impl Service {
    /// What this person made and can download still, the newest first.
    ///
    /// # Errors
    /// [`ServiceError::NotForRole`] and others.
    pub async fn bundles(&self, person: &Person) -> Result<Vec<BundleView>, ServiceError> {
        self.investigators_only(person).await?;
        self.clear_outbox().await?;
        Ok(self.records().made_bundles(person.user).await?.iter().map(view).collect())
    }

    /// Makes a bundle; the hand-over is recorded and published before its first byte is written. The same key again
    /// gives the same bundle.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] when any item or the case is not theirs; [`ServiceError::NeedsAuthorisation`]; others.
    pub async fn create_bundle(
        &self,
        person: &Person,
        order: &BundleOrder,
        key: &RequestKey,
    ) -> Result<BundleView, ServiceError> {
        self.investigators_only(person).await?;
        let event = key.event(person, "bundle.exported");
        let request = self.request_of(person, order, event).await?;
        let _one_of_few = Arc::clone(&self.inner.making).try_acquire_owned().map_err(|_| {
            let retry_after = Duration::from_secs(10);
            ServiceError::Busy { limit: "bundles_at_once", retry_after }
        })?;
        self.clear_outbox().await?;
        if let Some(made) = self.records().made_bundle(event).await? {
            return Ok(view(&made));
        }
        // A file without its row is of a run that was cut off between the two.
        remove(&self.file_of(event)).map_err(|e| write_error(&e))?;
        let created = self.parts().maker.create(&request).await.map_err(refused)?;
        let size_bytes =
            tokio::fs::metadata(&created.path).await.map_err(|e| write_error(&e))?.len();
        let made = MadeBundle {
            event,
            user: person.user,
            leaf_index: created.export,
            name: created.name,
            case: order.case,
            size_bytes,
            made_at: self.parts().clock.now(),
        };
        self.records().add_made_bundle(&made).await?;
        Ok(view(&made))
    }

    /// The file of a bundle that this person made: opened, with what describes it.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for what is not theirs or is gone; others.
    pub async fn bundle_file(
        &self,
        person: &Person,
        bundle: EventId,
    ) -> Result<(BundleView, tokio::fs::File), ServiceError> {
        self.clear_outbox().await?;
        let made = self.records().made_bundle(bundle).await?;
        let Some(made) = made.filter(|made| made.user == person.user) else {
            return Err(self.not_found(person, Attempt::Unknown).await);
        };
        // What they made yesterday they may not see any more today.
        self.investigators_only(person).await?;
        let file = tokio::fs::File::open(self.file_of(bundle)).await;
        Ok((view(&made), file.map_err(|e| write_error(&e))?))
    }

    /// Removes bundles whose time is over, and what a run that was cut off left behind, as soon as it is as old.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn clear_outbox(&self) -> Result<(), ServiceError> {
        let until = self.parts().clock.now().unix_millis() - BUNDLE_KEPT.as_millis() as i64;
        let until = Timestamp::from_unix_millis(until).map_err(ServiceError::internal)?;
        for event in self.records().forget_made_bundles(until).await? {
            remove(&self.file_of(event)).map_err(|e| write_error(&e))?;
        }
        remove_older(&self.parts().outbox, BUNDLE_KEPT).map_err(|e| write_error(&e))
    }

    fn file_of(&self, event: EventId) -> PathBuf {
        self.parts().outbox.join(format!("{event}.zip"))
    }

    async fn request_of(
        &self,
        person: &Person,
        order: &BundleOrder,
        event: EventId,
    ) -> Result<BundleRequest, ServiceError> {
        let (mut items, mut case_reference) = (order.items.clone(), None);
        if let Some(case) = order.case {
            case_reference = Some(self.case_of_theirs(person, case).await?.reference);
            let linked = self.records().case_items(person.user, case).await?;
            if items.is_empty() {
                let all = linked.iter().map(|linked| linked.record.item);
                items.extend(all.map(|item| OrderedItem {
                    item,
                    reference: None,
                    description: None,
                }));
            }
            for asked in items.iter_mut().filter(|asked| asked.reference.is_none()) {
                let found = linked.iter().find(|linked| linked.record.item == asked.item);
                asked.reference =
                    found.map(|l| l.exhibit_reference.clone()).filter(|r| !r.is_empty());
            }
        }
        if items.is_empty() || items.len() > MAX_ITEMS {
            return Err(Malformed::new("items", format!("1 to {MAX_ITEMS} items")).into());
        }
        for asked in &items {
            self.item_of_theirs(person, asked.item).await?;
        }
        let requested = |asked: OrderedItem| RequestedItem {
            item: asked.item,
            reference: asked.reference,
            description: asked.description,
        };
        Ok(BundleRequest {
            event,
            items: items.into_iter().map(requested).collect(),
            purpose: order.purpose,
            recipient: order.recipient.clone(),
            by: person.actor(),
            authorised: order.authorised.clone(),
            completeness: order.completeness,
            programs: order.programs,
            case_reference,
            output: Output::Zip(self.file_of(event)),
        })
    }
}

fn view(made: &MadeBundle) -> BundleView {
    let kept_until = made.made_at.unix_millis() + BUNDLE_KEPT.as_millis() as i64;
    BundleView {
        bundle: made.event,
        leaf_index: made.leaf_index,
        name: made.name.clone(),
        case: made.case,
        size_bytes: made.size_bytes,
        made_at: made.made_at,
        kept_until: Timestamp::from_unix_millis(kept_until).unwrap_or(made.made_at),
    }
}

fn refused(error: BundleError) -> ServiceError {
    match error {
        BundleError::Request(why) => Malformed::new("bundle", why).into(),
        BundleError::TooLong { field } => {
            Malformed::new(field, format!("at most {MAX_TEXT_CHARS} characters")).into()
        }
        BundleError::NoSuchItem(_) => ServiceError::NotFound,
        BundleError::NeedsAuthorisation(reasons) => ServiceError::NeedsAuthorisation(reasons),
        BundleError::Ledger(error) => error.into(),
        BundleError::Write(error) => write_error(&error),
        BundleError::Store(error) => error.into(),
        other => ServiceError::internal(other),
    }
}

fn write_error(error: &std::io::Error) -> ServiceError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ServiceError::Full,
        _ => ServiceError::internal(error),
    }
}

/// What is gone is gone.
/// Removes the files in `folder` that nobody has written to for so long, by the clock that dates files.
fn remove_older(folder: &Path, age: Duration) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // One that is gone by now was removed by somebody else's look.
        let modified = entry.metadata().and_then(|found| found.modified());
        if modified.is_ok_and(|at| at.elapsed().is_ok_and(|passed| passed > age)) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

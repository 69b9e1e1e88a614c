//! What is asked for, out of records and store: each item with its original and derivatives, opened and checked.

use chain_of_custody::bundle::{BundleItem, DerivativeFile, PayloadFile, layout};
use chain_of_custody::digest::{ContentHasher, Digests, Sha256};
use chain_of_custody::event::field;
use futures_util::TryStreamExt as _;
use serde_json::Value;
use storage::objects::{ObjectStore, StoredObject, VerifiedObject};
use storage::records::{DerivativeView, ItemRecord, Records};

use super::disclose::allows;
use super::plan::{derivative_path, original_path};
use super::request::{BundleError, BundleRequest, Purpose, RequestedItem};
use crate::kinds::FRONT;

/// An item with everything that may go with it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) asked: RequestedItem,
    pub(super) record: ItemRecord,
    pub(super) path: String,
    pub(super) original: VerifiedObject,
    pub(super) derivatives: Vec<HeldDerivative>,
    /// The full-quality file is what browsers play: there is no other viewing copy.
    pub(super) original_plays: bool,
    /// What the probe found, when it could read the file.
    pub(super) media: Option<Value>,
}

/// A derivative that goes along.
#[derive(Debug)]
pub(super) struct HeldDerivative {
    pub(super) view: DerivativeView,
    pub(super) path: String,
    pub(super) object: VerifiedObject,
    /// Of a front: digests of it with the whole original behind it, which is what browsers play.
    pub(super) joined: Option<Digests>,
}

/// The records of all items, in the order asked for.
pub(super) async fn records(
    records: &Records,
    request: &BundleRequest,
) -> Result<Vec<ItemRecord>, BundleError> {
    let mut found = Vec::with_capacity(request.items.len());
    for asked in &request.items {
        let record = records.item(asked.item).await?;
        found.push(record.ok_or(BundleError::NoSuchItem(asked.item))?);
    }
    Ok(found)
}

/// Opens what may leave. Nothing is read yet but keys and group values.
pub(super) async fn open(
    records: &Records,
    objects: &ObjectStore,
    request: &BundleRequest,
    found: Vec<ItemRecord>,
) -> Result<Vec<Held>, BundleError> {
    let mut held = Vec::with_capacity(found.len());
    for (at, (asked, record)) in request.items.iter().zip(found).enumerate() {
        let derivatives = records.derivatives(record.item).await?;
        held.push(open_one(objects, request.purpose, at + 1, asked, record, derivatives).await?);
    }
    Ok(held)
}

async fn open_one(
    objects: &ObjectStore,
    purpose: Purpose,
    number: usize,
    asked: &RequestedItem,
    record: ItemRecord,
    views: Vec<DerivativeView>,
) -> Result<Held, BundleError> {
    let original = open_object(objects, &record.object).await?;
    let is_original = |view: &DerivativeView| view.digests == record.digests;
    let media: Option<Value> = DerivativeView::newest_probe(&views)
        .and_then(|view| serde_json::from_str(&view.media).ok());
    let found_plays = media.as_ref().and_then(|media| media["browser"]["plays"].as_bool());
    let original_plays = found_plays == Some(true);
    let mut derivatives = Vec::new();
    for view in views.iter().filter(|view| goes_along(purpose, &view.kind) && !is_original(view)) {
        let path = derivative_path(number, view, derivatives.len() + 1);
        let object = open_object(objects, &view.object).await?;
        let joined = match view.kind.as_str() {
            FRONT => Some(digests_of(&[&object, &original]).await?),
            _ => None,
        };
        derivatives.push(HeldDerivative { view: view.clone(), path, object, joined });
    }
    let path = original_path(number, &record.name, allows(purpose, field::NAME));
    Ok(Held { asked: asked.clone(), record, path, original, derivatives, original_plays, media })
}

/// What is looked at goes along. What is there for programs stays inside the force: what a probe found may say where somebody
/// was.
fn goes_along(purpose: Purpose, kind: &str) -> bool {
    matches!(kind, "proxy" | "poster" | FRONT) || purpose == Purpose::Internal
}

/// Of one behind the other. The ledger has those of each alone.
async fn digests_of(objects: &[&VerifiedObject]) -> Result<Digests, BundleError> {
    let mut hasher = ContentHasher::new();
    for object in objects {
        let mut pieces = std::pin::pin!(object.stream(0..object.size_bytes())?);
        while let Some(piece) = pieces.try_next().await? {
            hasher.update(&piece);
        }
    }
    Ok(hasher.finish().0)
}

async fn open_object(objects: &ObjectStore, object: &str) -> Result<VerifiedObject, BundleError> {
    let stored: StoredObject = serde_json::from_str(object)
        .map_err(|error| BundleError::Record(format!("a stored object: {error}")))?;
    Ok(objects.open_object(&stored).await?)
}

impl HeldDerivative {
    /// The digest of the program that made it, where its recipe names one.
    pub(super) fn program(&self) -> Option<Sha256> {
        let recipe: Value = serde_json::from_str(&self.view.recipe).ok()?;
        recipe["program-sha256"].as_str()?.parse().ok()
    }
}

impl Held {
    /// This item's line in the bundle's list.
    pub(super) fn bundle_item(&self) -> BundleItem {
        let derivative = |d: &HeldDerivative| DerivativeFile {
            entry: d.view.leaf_index,
            path: d.path.clone(),
            is_before_original: d.joined.is_some(),
        };
        BundleItem {
            item: self.record.item,
            entry: self.record.leaf_index,
            path: self.path.clone(),
            derivatives: self.derivatives.iter().map(derivative).collect(),
        }
    }

    /// Its files with the digests that the ledger has, or that follow from what it has: known before a byte is written.
    pub(super) fn payload(&self) -> Vec<PayloadFile> {
        let file = |path: &str, size_bytes: u64, digests: Digests| PayloadFile {
            path: path.to_owned(),
            size_bytes,
            digests,
        };
        let original = file(&self.path, self.record.size_bytes, self.record.digests);
        let derivatives = self.derivatives.iter().map(|d| match d.joined {
            Some(joined) => file(&d.path, d.view.size_bytes + self.record.size_bytes, joined),
            None => file(&d.path, d.view.size_bytes, d.view.digests),
        });
        std::iter::once(original).chain(derivatives).collect()
    }

    /// Every file to be copied, and what it is, one behind the other.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&str, Vec<&VerifiedObject>)> {
        let derivatives = self.derivatives.iter().map(|d| {
            let original = d.joined.map(|_| &self.original);
            (d.path.as_str(), [&d.object].into_iter().chain(original).collect())
        });
        std::iter::once((self.path.as_str(), vec![&self.original])).chain(derivatives)
    }

    /// The path of the first derivative of a kind.
    pub(super) fn derivative(&self, kind: &str) -> Option<String> {
        self.derivatives.iter().find(|d| d.view.kind == kind).map(|d| d.path.clone())
    }
}

/// Two items never share a path, whatever their names.
pub(super) fn check_paths(payload: &[PayloadFile]) -> Result<(), BundleError> {
    let mut seen = std::collections::BTreeSet::new();
    let unique = |file: &PayloadFile| seen.insert(file.path.to_ascii_lowercase());
    let good = payload.iter().all(|file| layout::check_path(&file.path).is_ok());
    let unique = payload.iter().all(unique);
    (good && unique)
        .then_some(())
        .ok_or_else(|| BundleError::Record("two files with one path".to_owned()))
}

//! Bytes: posters, proxies, originals, receipts. Every byte is checked against the tree as it is read.

use std::ops::Range;

use bytes::Bytes;
use chain_of_custody::ids::ItemId;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use storage::objects::{StoreError, StoredObject, VerifiedObject};
use storage::records::DerivativeView;

use super::playlist::{self, Index};
use super::{Service, ServiceError, Sheet, Track, place, small};
use crate::access::{Attempt, Person};
use crate::kinds::{self, FRONT};

/// Something to be played, shown or saved, opened and not read yet.
#[derive(Debug, Clone)]
pub struct Media {
    /// Never guessed from what a device sent: a fixed type per kind.
    pub content_type: &'static str,
    pub size_bytes: u64,
    /// SHA-256 of all of it, lower-case hex; of an original behind its front, of one and the other. It never changes, so it is the entity tag.
    pub tag: String,
    /// What a browser may call the file, in ASCII; set when it is to be saved and not shown.
    pub save_as: Option<String>,
    /// What comes first, where it is stored by itself.
    front: Option<VerifiedObject>,
    object: VerifiedObject,
}

/// Which statement about an item's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// The proof: a `.tlog-proof`.
    Proof,
    /// The signed note for people.
    Text,
}

/// Which viewing copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    Usual,
    /// For poor lines.
    Small,
}

/// Which part of an original somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// How long it is and what it is called (HEAD): a look.
    Look,
    /// From its beginning: a download of its own.
    Begin,
    /// From somewhere behind its beginning: the same download, if one was recorded within [`super::VIEWING`].
    GoOn,
}

impl Copy {
    /// As derivatives are called.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Usual => "proxy",
            Self::Small => small::KIND,
        }
    }
}

impl Media {
    /// The bytes of a range, each piece checked before it is given; an error ends the stream.
    ///
    /// # Errors
    /// [`StoreError::Range`] at once for one outside it.
    pub fn stream(
        &self,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, StoreError>> + Send + use<>, StoreError> {
        let front_bytes = self.front.as_ref().map_or(0, VerifiedObject::size_bytes);
        let of_front = range.start.min(front_bytes)..range.end.min(front_bytes);
        let rest =
            range.start.max(front_bytes) - front_bytes..range.end.max(front_bytes) - front_bytes;
        let front = self.front.as_ref().map(|front| front.stream(of_front)).transpose()?;
        let front = futures_util::stream::iter(front).flatten();
        Ok(front.chain(self.object.stream(rest)?).inspect_err(|error| {
            tracing::error!(%error, "what is stored is not what was recorded");
        }))
    }
}

impl Service {
    /// An item's poster. Rests on the `list.viewed` of the page that named the item, or opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn poster(&self, person: &Person, item: ItemId) -> Result<Media, ServiceError> {
        self.derivative_where(person, item, |view| view.kind == "poster").await
    }

    /// What a browser plays of an item: its viewing copy, or else the original, behind its front or as it came. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn proxy(&self, person: &Person, item: ItemId) -> Result<Media, ServiceError> {
        let record = self.item_of_theirs(person, item).await?;
        let derivatives = self.records().derivatives(item).await?;
        if derivatives.iter().any(|view| view.kind == "proxy") {
            return self.derivative_where(person, item, |view| view.kind == "proxy").await;
        }
        let front = derivatives.iter().rev().find(|view| view.kind == FRONT);
        let as_it_came =
            || DerivativeView::newest_probe(&derivatives).and_then(|view| plays_as(&view.media));
        let Some(content_type) = front.map(|_| "video/mp4").or_else(as_it_came) else {
            return Err(self.not_found(person, Attempt::Item(item)).await);
        };
        let object = self.open(&record.object).await?;
        self.record_viewing(person, item).await?;
        let (mut size_bytes, mut tag) = (record.size_bytes, record.digests.sha256.to_string());
        let mut opened = None;
        if let Some(front) = front {
            size_bytes += front.size_bytes;
            tag = format!("{}-{tag}", front.digests.sha256);
            opened = Some(self.open(&front.object).await?);
        }
        Ok(Media { content_type, size_bytes, tag, save_as: None, front: opened, object })
    }

    /// An item's smaller viewing copy, for poor lines. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn small_proxy(&self, person: &Person, item: ItemId) -> Result<Media, ServiceError> {
        self.derivative_where(person, item, |view| view.kind == small::KIND).await
    }

    /// The playlist of a viewing copy, which lies beside it. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn playlist(
        &self,
        person: &Person,
        item: ItemId,
        copy: Copy,
    ) -> Result<String, ServiceError> {
        let found = self.indexed(person, item, &[copy]).await?;
        match found.first() {
            Some((_, index)) => Ok(index.playlist(&format!("{}.mp4", copy.kind()))),
            None => Err(self.not_found(person, Attempt::Item(item)).await),
        }
    }

    /// The list of playlists of the viewing copies that there are. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn playlists(&self, person: &Person, item: ItemId) -> Result<String, ServiceError> {
        let found = self.indexed(person, item, &[Copy::Usual, Copy::Small]).await?;
        if found.is_empty() {
            return Err(self.not_found(person, Attempt::Item(item)).await);
        }
        let variant = |(view, index): &(DerivativeView, Index)| {
            let recipe = serde_json::from_str(&view.recipe).unwrap_or_default();
            index.variant(&format!("{}.m3u8", view.kind), &recipe)
        };
        Ok(playlist::list(&found.iter().map(variant).collect::<Vec<_>>()))
    }

    /// Those of the viewing copies that are there and begin with an index. A viewing session is opened if there is one.
    async fn indexed(
        &self,
        person: &Person,
        item: ItemId,
        copies: &[Copy],
    ) -> Result<Vec<(DerivativeView, Index)>, ServiceError> {
        self.item_of_theirs(person, item).await?;
        let derivatives = self.records().derivatives(item).await?;
        let mut found = Vec::new();
        for copy in copies {
            let view = derivatives.iter().rev().find(|view| view.kind == copy.kind());
            let Some(view) = view else { continue };
            let object = self.open(&view.object).await?;
            let head = object.read(0..view.size_bytes.min(playlist::MAX_HEAD_BYTES)).await?;
            let index = Index::read(&head, view.size_bytes);
            found.extend(index.map(|index| (view.clone(), index)));
        }
        if !found.is_empty() {
            self.record_viewing(person, item).await?;
        }
        Ok(found)
    }

    /// Where the device says that it was, for a page. Empty where nothing says it. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn places(&self, person: &Person, item: ItemId) -> Result<Vec<Track>, ServiceError> {
        self.item_of_theirs(person, item).await?;
        let derivatives = self.records().derivatives(item).await?;
        let view = derivatives.iter().rev().find(|view| view.kind == "location");
        let Some(view) = view.filter(|view| view.size_bytes <= place::MAX_BYTES) else {
            return Ok(Vec::new());
        };
        let geojson = self.open(&view.object).await?.read(0..view.size_bytes).await?;
        self.record_viewing(person, item).await?;
        Ok(place::read(&geojson).unwrap_or_default())
    }

    /// The same as a file to save. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn location(&self, person: &Person, item: ItemId) -> Result<Media, ServiceError> {
        let media = self.derivative_where(person, item, |view| view.kind == "location").await?;
        Ok(Media { save_as: Some("location.geojson".to_owned()), ..media })
    }

    /// An item's sheet of thumbnails. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn thumbnails(&self, person: &Person, item: ItemId) -> Result<Media, ServiceError> {
        self.derivative_where(person, item, |view| view.kind == "thumbnails").await
    }

    /// How that sheet is laid out. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn sheet(&self, person: &Person, item: ItemId) -> Result<Sheet, ServiceError> {
        self.item_of_theirs(person, item).await?;
        let derivatives = self.records().derivatives(item).await?;
        let mut sheets = derivatives.iter().filter(|view| view.kind == "thumbnails");
        let recipe = sheets.next().and_then(|view| serde_json::from_str(&view.recipe).ok());
        let Some(sheet) = recipe.as_ref().and_then(Sheet::of) else {
            return Err(self.not_found(person, Attempt::Item(item)).await);
        };
        self.record_viewing(person, item).await?;
        Ok(sheet)
    }

    /// The derivative of an item by its recipe. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn derivative(
        &self,
        person: &Person,
        item: ItemId,
        recipe_id: &str,
    ) -> Result<Media, ServiceError> {
        self.derivative_where(person, item, |view| view.recipe_id == recipe_id).await
    }

    /// An item's original, as received: an `item.downloaded`, recorded before the first byte.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn original(
        &self,
        person: &Person,
        item: ItemId,
        fetch: Fetch,
    ) -> Result<Media, ServiceError> {
        let record = self.item_of_theirs(person, item).await?;
        let object = self.open(&record.object).await?;
        self.record_fetch(person, item, fetch).await?;
        Ok(Media {
            content_type: "application/octet-stream",
            size_bytes: record.size_bytes,
            tag: record.digests.sha256.to_string(),
            front: None,
            save_as: Some(chain_of_custody::bundle::layout::safe_name(&record.name, 80)),
            object,
        })
    }

    /// The receipt for an item, made again from the ledger. Opens a viewing session.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn receipt(
        &self,
        person: &Person,
        item: ItemId,
        statement: Statement,
    ) -> Result<String, ServiceError> {
        let record = self.item_of_theirs(person, item).await?;
        self.record_viewing(person, item).await?;
        let placed = self.parts().ledger.placed(record.leaf_index).await?;
        self.parts().receipts.statement(&placed, statement).map_err(ServiceError::Internal)
    }

    async fn derivative_where(
        &self,
        person: &Person,
        item: ItemId,
        which: impl Fn(&DerivativeView) -> bool,
    ) -> Result<Media, ServiceError> {
        self.item_of_theirs(person, item).await?;
        let derivatives = self.records().derivatives(item).await?;
        let Some(view) = derivatives.iter().rev().find(|view| which(view)) else {
            return Err(self.not_found(person, Attempt::Item(item)).await);
        };
        let object = self.open(&view.object).await?;
        if !(view.kind == "poster" && self.was_listed(person, item)) {
            self.record_viewing(person, item).await?;
        }
        let content_type = kinds::file_type(view).1;
        let (size_bytes, tag) = (view.size_bytes, view.digests.sha256.to_string());
        Ok(Media { content_type, size_bytes, tag, save_as: None, front: None, object })
    }

    async fn open(&self, object: &str) -> Result<VerifiedObject, ServiceError> {
        let stored: StoredObject = serde_json::from_str(object).map_err(ServiceError::internal)?;
        Ok(self.parts().objects.open_object(&stored).await?)
    }
}

/// As what a browser plays the original, given what the probe found: a type of our own list.
fn plays_as(media: &str) -> Option<&'static str> {
    let media: serde_json::Value = serde_json::from_str(media).ok()?;
    (media["browser"]["plays"] == true).then_some(())?;
    match media["container"].as_str()? {
        "jpeg_pipe" => Some("image/jpeg"),
        "png_pipe" => Some("image/png"),
        _ => Some("video/mp4"),
    }
}

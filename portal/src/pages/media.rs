//! Footage for the player, posters for lists, originals and receipts to save.

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use chain_of_custody::ids::ItemId;
use serde::Deserialize;

use super::Pages;
use super::problem::Problem;
use super::visit::{Answer, Named, Visitor, named};
use crate::door;
use crate::service::{Copy, Media, Statement};

/// Somebody asks for bytes of an item.
pub(super) struct Asked {
    pages: Pages,
    visitor: Visitor,
    item: ItemId,
    method: Method,
    headers: HeaderMap,
}

impl FromRequestParts<Pages> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, Problem> {
        let visitor = Visitor::from_request_parts(parts, pages).await?;
        let Named(item) = Named::from_request_parts(parts, pages).await?;
        let (method, headers) = (parts.method.clone(), parts.headers.clone());
        Ok(Self { pages: pages.clone(), visitor, item, method, headers })
    }
}

impl Asked {
    fn answer(&self, media: Media) -> Answer {
        Ok(door::bytes(&media, &self.method, &self.headers))
    }
}

pub(super) async fn proxy(asked: Asked) -> Answer {
    asked.answer(asked.pages.service.proxy(asked.visitor.person(), asked.item).await?)
}

pub(super) async fn small_proxy(asked: Asked) -> Answer {
    asked.answer(asked.pages.service.small_proxy(asked.visitor.person(), asked.item).await?)
}

pub(super) async fn playlist(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
) -> Answer {
    let playlist = pages.service.playlist(visitor.person(), item, Copy::Usual).await?;
    Ok(as_playlist(playlist))
}

pub(super) async fn small_playlist(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
) -> Answer {
    let playlist = pages.service.playlist(visitor.person(), item, Copy::Small).await?;
    Ok(as_playlist(playlist))
}

/// The playlists of all viewing copies: a player takes the one that its line carries.
pub(super) async fn playlists(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
) -> Answer {
    Ok(as_playlist(pages.service.playlists(visitor.person(), item).await?))
}

fn as_playlist(text: String) -> Response {
    let kind = HeaderValue::from_static("application/vnd.apple.mpegurl");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, door::NOT_STORED)], text)
        .into_response()
}

pub(super) async fn location(asked: Asked) -> Answer {
    asked.answer(asked.pages.service.location(asked.visitor.person(), asked.item).await?)
}

pub(super) async fn poster(asked: Asked) -> Answer {
    asked.answer(asked.pages.service.poster(asked.visitor.person(), asked.item).await?)
}

pub(super) async fn thumbnails(asked: Asked) -> Answer {
    asked.answer(asked.pages.service.thumbnails(asked.visitor.person(), asked.item).await?)
}

/// Where each picture is on the sheet, for players.
pub(super) async fn thumbnails_vtt(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
) -> Answer {
    let sheet = pages.service.sheet(visitor.person(), item).await?;
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/vtt")),
        (header::CACHE_CONTROL, door::NOT_STORED),
    ];
    Ok((fields, sheet.vtt("thumbnails")).into_response())
}

/// Any derivative, by its recipe.
pub(super) async fn derivative(
    State(pages): State<Pages>,
    visitor: Visitor,
    Path((item, recipe)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let item: ItemId = named(&pages, &visitor, &item).await?;
    let media = pages.service.derivative(visitor.person(), item, &recipe).await?;
    Ok(door::bytes(&media, &method, &headers))
}

pub(super) async fn original(asked: Asked) -> Answer {
    let fetch = door::fetch(&asked.method, &asked.headers);
    let person = asked.visitor.person();
    asked.answer(asked.pages.service.original(person, asked.item, fetch).await?)
}

#[derive(Debug, Deserialize)]
pub(super) struct ReceiptForm {
    /// `text` for people; the proof otherwise.
    #[serde(default)]
    form: String,
}

/// The receipt, as a file.
pub(super) async fn receipt(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    Query(query): Query<ReceiptForm>,
) -> Answer {
    let (statement, extension) = match query.form.as_str() {
        "text" => (Statement::Text, "txt"),
        _ => (Statement::Proof, "tlog-proof"),
    };
    let receipt = pages.service.receipt(visitor.person(), item, statement).await?;
    let save_as = format!("attachment; filename=\"receipt-{item}.{extension}\"");
    let said = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, save_as),
    ];
    Ok((said, receipt).into_response())
}

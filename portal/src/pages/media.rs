//! Footage for the player, posters for lists, originals and receipts to save.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use chain_of_custody::ids::ItemId;
use serde::Deserialize;

use super::Pages;
use super::visit::{Answer, Named, Visitor, named};
use crate::door;
use crate::service::{Copy, Statement};

pub(super) async fn proxy(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let media = pages.service.proxy(visitor.person(), item).await?;
    Ok(door::bytes(&media, &method, &headers))
}

pub(super) async fn small_proxy(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let media = pages.service.small_proxy(visitor.person(), item).await?;
    Ok(door::bytes(&media, &method, &headers))
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

pub(super) async fn location(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let media = pages.service.location(visitor.person(), item).await?;
    Ok(door::bytes(&media, &method, &headers))
}

pub(super) async fn poster(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let media = pages.service.poster(visitor.person(), item).await?;
    Ok(door::bytes(&media, &method, &headers))
}

pub(super) async fn thumbnails(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let media = pages.service.thumbnails(visitor.person(), item).await?;
    Ok(door::bytes(&media, &method, &headers))
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

pub(super) async fn original(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let fetch = door::fetch(&method, &headers);
    let media = pages.service.original(visitor.person(), item, fetch).await?;
    Ok(door::bytes(&media, &method, &headers))
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

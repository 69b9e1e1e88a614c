//! Pages for people, rendered here: they work without a script, with a keyboard and with a screen reader.
//!
//! Here: templates' data, forms, words, styles. Not here: who may see what, and what is recorded before it is shown
//! (`service`): a page asks the service and shows what it answers.
//! Invariant: a page loads nothing from elsewhere, is kept by nobody, and shows what people typed as text.

mod assets;
mod bundles;
mod case;
mod cases;
mod forms;
mod frame;
mod item;
mod items;
mod media;
mod operator;
mod place;
mod problem;
mod safety;
mod sign_in;
mod visit;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

use crate::service::Service;

/// The largest form: a bundle of 250 items, each with a reference and a description.
const MAX_FORM_BYTES: usize = 2 * 1024 * 1024;

/// What the pages are made of. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pages {
    pub service: Service,
    /// The force's name, on every page.
    pub force: String,
    /// Whether browsers reach this server through TLS alone: then cookies never travel without it.
    pub tls: bool,
}

/// Every page, its footage and its styles. Whatever no route takes gets a page that says so.
pub fn routes(pages: Pages) -> Router {
    Router::new()
        .route("/", get(items::home))
        .route("/items/{item}", get(item::page))
        .route("/items/{item}/cases", post(item::link))
        .route("/items/{item}/small-copy", post(item::small_copy))
        .route("/items/{item}/restrict", post(item::restrict))
        .route("/items/{item}/free", post(item::end_restriction))
        .route("/items/{item}/viewers", post(item::name_viewer))
        .route("/items/{item}/viewers/remove", post(item::withdraw_viewer))
        .route("/items/{item}/receipt", get(media::receipt))
        .route("/cases", get(cases::page).post(cases::open))
        .route("/cases/{case}", get(case::page))
        .route("/cases/{case}/items/remove", post(case::unlink))
        .route("/cases/{case}/members", post(case::add_member))
        .route("/cases/{case}/members/remove", post(case::remove_member))
        .route("/cases/{case}/bundles", get(bundles::form).post(bundles::make))
        .route("/bundles/{bundle}", get(bundles::download))
        .route("/media/{item}/proxy", get(media::proxy))
        .route("/media/{item}/proxy.mp4", get(media::proxy))
        .route("/media/{item}/proxy.m3u8", get(media::playlist))
        .route("/media/{item}/proxy-small.mp4", get(media::small_proxy))
        .route("/media/{item}/proxy-small.m3u8", get(media::small_playlist))
        .route("/media/{item}/playlists.m3u8", get(media::playlists))
        .route("/media/{item}/location", get(media::location))
        .route("/media/{item}/poster", get(media::poster))
        .route("/media/{item}/thumbnails", get(media::thumbnails))
        .route("/media/{item}/thumbnails.vtt", get(media::thumbnails_vtt))
        .route("/media/{item}/derivatives/{recipe}", get(media::derivative))
        .route("/media/{item}/original", get(media::original))
        .route("/people", get(operator::people).post(operator::add))
        .route("/people/link", post(operator::link))
        .route("/people/end", post(operator::end))
        .route("/devices", get(operator::devices).post(operator::enrol))
        .route("/devices/token", post(operator::rotate))
        .route("/devices/revoke", post(operator::revoke))
        .route("/sign-in/{token}", get(sign_in::page).post(sign_in::redeem))
        .route("/sign-out", post(sign_in::sign_out))
        .fallback(problem::no_such_page)
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(from_fn_with_state(pages.clone(), visit::recognise))
        .layer(from_fn(safety::say))
        .with_state(pages)
        .merge(assets::routes())
}

//! Styles and icon, carried inside the program. A file's name changes with its content, so a browser may keep it for good.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chain_of_custody::digest::Digests;

const STYLES: &[u8] = include_bytes!("../../web/dist/exhibit.css");
const STYLES_GZIP: &[u8] = include_bytes!("../../web/dist/exhibit.css.gz");
const ICON: &[u8] = include_bytes!("../../web/icons/exhibit.svg");
/// Hexadecimal digits of the content's SHA-256 in a name.
const NAME_DIGITS: usize = 16;
/// What has this name never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

static STYLES_NAME: LazyLock<String> = LazyLock::new(|| name("exhibit", STYLES, "css"));
static ICON_NAME: LazyLock<String> = LazyLock::new(|| name("icon", ICON, "svg"));

/// Where the styles are: `/assets/exhibit-….css`.
pub(super) fn styles_path() -> String {
    format!("/assets/{}", *STYLES_NAME)
}

/// Where the icon is: `/assets/icon-….svg`.
pub(super) fn icon_path() -> String {
    format!("/assets/{}", *ICON_NAME)
}

/// `/assets/…`, for anybody: it says nothing about what is held.
pub(super) fn routes() -> Router {
    Router::new().route("/assets/{name}", get(asset))
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let (kind, plain, gzip) = if name == *STYLES_NAME {
        ("text/css; charset=utf-8", STYLES, Some(STYLES_GZIP))
    } else if name == *ICON_NAME {
        ("image/svg+xml", ICON, None)
    } else {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    };
    let small = gzip.filter(|_| takes_gzip(&headers));
    let mut response = small.unwrap_or(plain).into_response();
    let said = response.headers_mut();
    said.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    said.insert(header::CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
    said.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    said.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if small.is_some() {
        said.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let mut codings = accepted.unwrap_or_default().split(',').map(str::trim);
    codings.any(|coding| coding == "gzip" || coding.starts_with("gzip;q=1"))
}

fn name(stem: &str, content: &[u8], extension: &str) -> String {
    let digest = Digests::of(content).sha256.to_string();
    format!("{stem}-{}.{extension}", &digest[..NAME_DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may not be in the styles of a service that is not GOV.UK's: its typeface, its crown, anything from elsewhere.
    #[test]
    fn styles_are_ours_and_load_nothing() {
        let styles = String::from_utf8_lossy(STYLES);
        for absent in ["GDS Transport", "url(", "@import", "@font-face"] {
            assert!(!styles.contains(absent), "{absent} is in the styles");
        }
        assert!(styles.contains(".govuk-button") && styles.contains(".x-item"));
    }

    #[tokio::test]
    async fn names_follow_content_and_small_is_asked_for() {
        let mut headers = HeaderMap::new();
        let plain = asset(Path(STYLES_NAME.clone()), headers.clone()).await;
        assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, br"));
        let small = asset(Path(STYLES_NAME.clone()), headers.clone()).await;
        assert_eq!(small.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(small.headers()[header::CACHE_CONTROL], IMMUTABLE);
        let other = asset(Path("exhibit-0000000000000000.css".into()), headers).await;
        assert_eq!(other.status(), StatusCode::NOT_FOUND);
    }
}

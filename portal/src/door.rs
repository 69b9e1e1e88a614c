//! What both doors need of HTTP: the session's cookie and bearer token, where a request came from, and bytes by range.

use std::net::SocketAddr;
use std::ops::Range;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::access::SESSION_LIFE;
use crate::service::{Fetch, Media};

/// The name of the session's cookie.
pub const COOKIE: &str = "exhibit-session";
/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 256;
/// What somebody was shown stays with them alone, and in no cache.
pub const NOT_STORED: HeaderValue = HeaderValue::from_static("private, no-store");

/// The session's token from the cookie.
pub fn cookie_token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|text| text.split(';')).filter_map(|p| p.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, token)| token).filter(fits)
}

/// The token from `Authorization: Bearer …`.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    Some(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer")).filter(fits)
}

fn fits(token: &&str) -> bool {
    !token.is_empty() && token.len() <= MAX_TOKEN_BYTES
}

/// The cookie of a session that has begun. `secure` where TLS is in front.
pub fn set_cookie(token: &str, secure: bool) -> HeaderValue {
    cookie(token, SESSION_LIFE.as_secs(), secure)
}

/// The cookie that ends a session in the browser.
pub fn clear_cookie(secure: bool) -> HeaderValue {
    cookie("", 0, secure)
}

fn cookie(token: &str, max_age_s: u64, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={token}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).expect("tokens are hexadecimal digits")
}

/// Where a request came from, without port; behind a proxy that is the proxy.
pub fn address(extensions: &Extensions) -> String {
    let info = extensions.get::<ConnectInfo<SocketAddr>>();
    info.map_or_else(|| "-".to_owned(), |info| info.0.ip().to_string())
}

/// Which part of an original a request asks for, as far as that decides what is recorded.
pub fn fetch(method: &Method, headers: &HeaderMap) -> Fetch {
    if method == Method::HEAD {
        return Fetch::Look;
    }
    match headers.get(header::RANGE).and_then(|value| parse(value.to_str().ok()?)) {
        Some(Asked::From { first: 1.., .. } | Asked::Last(_)) => Fetch::GoOn,
        _ => Fetch::Begin,
    }
}

/// The bytes that a request asks for: whole, one range (206), or none of them (416, HEAD). Several ranges at once are
/// answered with the whole, as RFC 9110 allows.
pub fn bytes(media: &Media, method: &Method, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", media.tag);
    let range = match asked(headers, &tag, media.size_bytes) {
        Ok(range) => range,
        Err(NotSatisfiable) => return not_satisfiable(media.size_bytes),
    };
    let (status, bytes) = match &range {
        Some(range) => (StatusCode::PARTIAL_CONTENT, range.clone()),
        None => (StatusCode::OK, 0..media.size_bytes),
    };
    let length = bytes.end - bytes.start;
    let body = match method {
        &Method::HEAD => Body::empty(),
        _ => match media.stream(bytes) {
            Ok(stream) => Body::from_stream(stream),
            Err(_) => return not_satisfiable(media.size_bytes),
        },
    };
    let mut reply = (status, body).into_response();
    let fields = reply.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media.content_type));
    fields.insert(header::CONTENT_LENGTH, length.into());
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::CACHE_CONTROL, NOT_STORED);
    insert(fields, header::ETAG, &tag);
    if let Some(range) = range {
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, media.size_bytes);
        insert(fields, header::CONTENT_RANGE, &text);
    }
    if let Some(name) = &media.save_as {
        insert(fields, header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""));
    }
    reply
}

fn insert(fields: &mut HeaderMap, name: header::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        fields.insert(name, value);
    }
}

fn not_satisfiable(size_bytes: u64) -> Response {
    let mut reply = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    insert(reply.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size_bytes}"));
    reply.headers_mut().insert(header::CACHE_CONTROL, NOT_STORED);
    reply
}

struct NotSatisfiable;

/// One range as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    From { first: u64, last: Option<u64> },
    Last(u64),
}

/// The range that is to be answered; none for the whole. With `If-Range`, only if it is still the same bytes.
fn asked(
    headers: &HeaderMap,
    tag: &str,
    size_bytes: u64,
) -> Result<Option<Range<u64>>, NotSatisfiable> {
    let same = headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == tag.as_bytes());
    let text = headers.get(header::RANGE).filter(|_| same).and_then(|value| value.to_str().ok());
    let Some(asked) = text.and_then(parse) else { return Ok(None) };
    let range = match asked {
        Asked::From { first, last } => {
            first..last.map_or(size_bytes, |last| last.saturating_add(1)).min(size_bytes)
        }
        Asked::Last(count) => size_bytes.saturating_sub(count)..size_bytes,
    };
    if range.start < range.end { Ok(Some(range)) } else { Err(NotSatisfiable) }
}

/// `bytes=first-last`, `bytes=first-` or `bytes=-count`; none for anything else, which is then ignored.
fn parse(text: &str) -> Option<Asked> {
    let (unit, spec) = text.split_once('=')?;
    let (first, last) = spec.trim().split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let asked = match (first, last) {
        ("", count) => Asked::Last(number(count)?),
        (first, "") => Asked::From { first: number(first)?, last: None },
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::From { first, last: Some(last) })?
        }
    };
    unit.trim().eq_ignore_ascii_case("bytes").then_some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn tokens_are_found_among_others() {
        let cookies = headers(&[(header::COOKIE, "a=b; exhibit-session=abc; c=d")]);
        assert_eq!(cookie_token(&cookies), Some("abc"));
        assert_eq!(cookie_token(&headers(&[(header::COOKIE, "xexhibit-session=abc")])), None);
        assert_eq!(bearer_token(&headers(&[(header::AUTHORIZATION, "bearer  abc")])), Some("abc"));
        assert_eq!(bearer_token(&headers(&[(header::AUTHORIZATION, "Basic abc")])), None);
        let cookie = set_cookie("ab", true);
        for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Max-Age=43200"] {
            assert!(cookie.to_str().unwrap().contains(part), "{part}");
        }
        assert!(!set_cookie("ab", false).to_str().unwrap().contains("Secure"));
    }

    #[test]
    fn a_range_is_what_rfc_9110_says() {
        let of = |text: &str| asked(&headers(&[(header::RANGE, text)]), "\"t\"", 100);
        for (text, range) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-", 0..100),
            ("bytes=99-200", 99..100),
            ("bytes=-1", 99..100),
            ("bytes=-200", 0..100),
            ("BYTES=5-9", 5..10),
            ("bytes=0-18446744073709551615", 0..100),
            ("bytes=0-99999999999999999999999", 0..100),
        ] {
            assert_eq!(of(text).ok().flatten(), Some(range), "{text}");
        }
        for ignored in [
            "bytes=1-0",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes",
            "bytes=-",
            "bytes=+1-2",
        ] {
            assert!(matches!(of(ignored), Ok(None)), "{ignored}");
        }
        for beyond in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999-"] {
            assert!(of(beyond).is_err(), "{beyond}");
        }
        let with = |tag: &str| {
            let both = headers(&[(header::RANGE, "bytes=0-1"), (header::IF_RANGE, tag)]);
            asked(&both, "\"t\"", 100).ok().flatten()
        };
        assert_eq!(with("\"t\""), Some(0..2));
        assert_eq!(with("\"other\""), None);
        assert_eq!(with("W/\"t\""), None, "a weak tag never matches");
    }

    #[test]
    fn what_begins_is_a_download_and_what_goes_on_is_not_another() {
        let of = |text: &str| fetch(&Method::GET, &headers(&[(header::RANGE, text)]));
        assert_eq!(fetch(&Method::GET, &HeaderMap::new()), Fetch::Begin);
        assert_eq!(fetch(&Method::HEAD, &HeaderMap::new()), Fetch::Look);
        assert_eq!(of("bytes=0-"), Fetch::Begin);
        assert_eq!(of("bytes=0-1,2-3"), Fetch::Begin);
        assert_eq!(of("bytes=1-"), Fetch::GoOn);
        assert_eq!(of("bytes=-5"), Fetch::GoOn);
    }
}

//! What a request brings: who asks, names in its address, its parameters, its body, its idempotency key. Whatever is
//! wrong with one of them is a problem document.

use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use serde::de::DeserializeOwned;

use super::Api;
use super::problem::Problem;
use crate::access::{Person, Session};
use crate::door;
use crate::service::RequestKey;

/// The largest body: a bundle of as many items as one may have, described at length.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// What makes a repeat harmless.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) Session);

impl Caller {
    pub(super) fn person(&self) -> &Person {
        &self.0.person
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let (bearer, cookie) = tokens(&parts.headers);
        let access = api.service.access();
        let session = match bearer.or(cookie) {
            Some(token) => access.session(token).await?,
            None => None,
        };
        let Some(session) = session else {
            access.count_unknown(&door::address(&parts.extensions))?;
            return Err(Problem::unauthorised());
        };
        access.count_request(&session.person)?;
        if !parts.method.is_safe() && bearer.is_none() {
            return Err(Problem::needs_bearer());
        }
        Ok(Self(session))
    }
}

fn tokens(headers: &HeaderMap) -> (Option<&str>, Option<&str>) {
    (door::bearer_token(headers), door::cookie_token(headers))
}

/// A name in the address, as it was sent; empty when it is no text.
#[derive(Debug, Clone)]
pub(super) struct Named(pub(super) String);

impl FromRequestParts<Api> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, api).await;
        Ok(Self(path.map(|Path(text)| text).unwrap_or_default()))
    }
}

/// Two of them.
#[derive(Debug, Clone)]
pub(super) struct NamedTwice(pub(super) String, pub(super) String);

impl FromRequestParts<Api> for NamedTwice {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, api).await;
        let (one, other) = path.map(|Path(names)| names).unwrap_or_default();
        Ok(Self(one, other))
    }
}

/// The parameters after the question mark.
#[derive(Debug, Clone)]
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, api).await;
        let Query(found) =
            query.map_err(|why: QueryRejection| Problem::malformed("query", why.body_text()))?;
        Ok(Self(found))
    }
}

/// The body, as JSON.
#[derive(Debug, Clone)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Problem::media_type());
        }
        let bytes =
            axum::body::Bytes::from_request(request, api).await.map_err(|why| match why {
                BytesRejection::FailedToBufferBody(ref cause)
                    if cause.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE =>
                {
                    Problem::too_large("body", MAX_BODY_BYTES)
                }
                _ => Problem::malformed("body", "it broke off"),
            })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|why| Problem::malformed("body", why))
    }
}

/// `Idempotency-Key`: chosen anew for each act; the same again repeats nothing.
#[derive(Debug, Clone)]
pub(super) struct Key(pub(super) RequestKey);

impl FromRequestParts<Api> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let text = parts.headers.get(IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok());
        Ok(Self(RequestKey::new(text.unwrap_or_default())?))
    }
}

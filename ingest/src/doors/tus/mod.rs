//! tus 1.0 at `/tus` (tus.io/protocols/resumable-upload): core, creation, creation-with-upload, creation-defer-length,
//! expiration, checksum, termination, concatenation.
//!
//! What lives here: the protocol. What does not: bytes, digests, receipts (`receive`).
//!
//! The one invariant to keep: what a reply says of an offset is what `receive` said, and it says nothing of bytes that
//! are not durable, nor of an end that has no receipt.

mod body;
mod checksum;
mod headers;
mod metadata;
mod reply;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use chain_of_custody::ids::UploadId;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use storage::records::UploadShape;

use super::auth::authenticate;
use super::device::plain;
use crate::problem::Problem;
use crate::receive::{Append, Begin, Receiver, Source, Status};
use body::Incoming;
use checksum::Expected;
use headers::{Concat, DeclaredLength};
use reply::Reply;

/// Where uploads are.
pub const PATH: &str = "/tus";
const DOOR: &str = "tus";

/// The routes of the tus door.
pub fn router(receiver: Receiver) -> Router {
    Router::new()
        .route(PATH, any(collection))
        .route(&format!("{PATH}/"), any(collection))
        .route(&format!("{PATH}/{{upload}}"), any(one))
        .route(&format!("{PATH}/{{upload}}/progress"), get(progress))
        .with_state(receiver)
}

/// A request to the door, once it is known who knocks.
struct Knock {
    receiver: Receiver,
    source: Source,
    parts: Parts,
    body: Incoming,
}

async fn collection(State(receiver): State<Receiver>, request: Request) -> Response {
    let reply = match method(&request) {
        Ok(Method::OPTIONS) => Ok(Reply::capabilities(receiver.limits())),
        Ok(Method::POST) => match Knock::open(receiver, request).await {
            Ok(knock) => knock.create().await,
            Err(problem) => Err(problem),
        },
        Ok(_) => Err(Problem::method()),
        Err(problem) => Err(problem),
    };
    finish(reply)
}

async fn one(
    State(receiver): State<Receiver>,
    Path(upload): Path<String>,
    request: Request,
) -> Response {
    let reply = match method(&request) {
        Ok(Method::OPTIONS) => Ok(Reply::capabilities(receiver.limits())),
        Ok(method @ (Method::HEAD | Method::PATCH | Method::DELETE)) => {
            match Knock::open(receiver, request).await {
                Ok(knock) => knock.about(&upload, &method).await,
                Err(problem) => Err(problem),
            }
        }
        Ok(_) => Err(Problem::method()),
        Err(problem) => Err(problem),
    };
    finish(reply)
}

/// Not tus: the signed note for the bytes held so far.
async fn progress(
    State(receiver): State<Receiver>,
    Path(upload): Path<String>,
    parts: Parts,
) -> Result<Response, Problem> {
    let source = authenticate(&receiver, &parts.headers, &parts.extensions, DOOR).await?;
    let upload = upload.parse().map_err(|_| Problem::not_found())?;
    Ok(plain(receiver.progress(&source, upload).await?))
}

/// Some networks let only GET and POST through.
fn method(request: &Request) -> Result<Method, Problem> {
    let asked = headers::text(request.headers(), headers::METHOD_OVERRIDE)?;
    match asked {
        Some(text) if request.method() == Method::POST => {
            text.parse().map_err(|_| Problem::malformed(headers::METHOD_OVERRIDE, "not a method"))
        }
        _ => Ok(request.method().clone()),
    }
}

/// Every reply of a tus server says that it is one.
fn finish(reply: Result<Reply, Problem>) -> Response {
    let mut response = reply.map_or_else(IntoResponse::into_response, IntoResponse::into_response);
    let (name, version) = (headers::TUS_RESUMABLE, headers::TUS_VERSION);
    response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(version));
    response
}

impl Knock {
    async fn open(receiver: Receiver, request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = Incoming::new(body);
        headers::tus_version(&parts.headers)?;
        let source = authenticate(&receiver, &parts.headers, &parts.extensions, DOOR).await?;
        Ok(Self { receiver, source, parts, body })
    }

    async fn create(self) -> Result<Reply, Problem> {
        let begin = self.new_upload()?;
        let limits = self.receiver.limits();
        let manifest = headers::manifest(&self.parts.headers, limits.manifest_bytes)?;
        let bytes_follow = headers::carries_bytes(&self.parts.headers)?;
        if bytes_follow && begin.shape == UploadShape::Final {
            return Err(Problem::forbidden(
                "final-upload",
                "a concatenation takes no bytes of its own",
            ));
        }
        let checked = self.check_bytes()?;
        let empty = begin.length_bytes == Some(0) || begin.shape == UploadShape::Final;
        let (now, later) = if empty { (manifest, None) } else { (None, manifest) };
        let mut status = self.receiver.begin(&self.source, begin, now).await?;
        if bytes_follow && status.ending.is_none() {
            let upload = status.upload;
            let append = checked.into_append(0, later, None, self.body);
            match self.receiver.append(&self.source, upload, append).await {
                Ok(after) => status = after,
                // The upload exists: its address is what lets the client go on.
                Err(error) => {
                    let location = format!("{PATH}/{upload}");
                    let value =
                        HeaderValue::from_str(&location).map_err(|_| Problem::internal())?;
                    return Err(Problem::from(error).with(header::LOCATION, value));
                }
            }
        }
        Ok(Reply::new(StatusCode::CREATED).location(&status).standing(&status))
    }

    fn new_upload(&self) -> Result<Begin, Problem> {
        let all = &self.parts.headers;
        let limits = self.receiver.limits();
        let metadata = headers::text(all, headers::UPLOAD_METADATA)?.unwrap_or_default();
        let claims = metadata::parse(metadata, limits.metadata_bytes)?;
        let (shape, parts) = match headers::concat(all, limits.concatenated_uploads)? {
            None => (UploadShape::Whole, Vec::new()),
            Some(Concat::Partial) => (UploadShape::Partial, Vec::new()),
            Some(Concat::Final(parts)) => (UploadShape::Final, parts),
        };
        let length_bytes = match shape {
            UploadShape::Final if all.contains_key(headers::UPLOAD_LENGTH) => {
                let why = "a concatenation is as long as its parts";
                return Err(Problem::malformed(headers::UPLOAD_LENGTH, why));
            }
            UploadShape::Final => None,
            _ => match headers::declared_length(all)? {
                DeclaredLength::Bytes(bytes) => Some(bytes),
                DeclaredLength::Deferred => None,
            },
        };
        Ok(Begin { shape, length_bytes, claims, metadata: metadata.to_owned(), parts })
    }

    async fn about(self, upload: &str, method: &Method) -> Result<Reply, Problem> {
        let upload: UploadId = upload.parse().map_err(|_| Problem::not_found())?;
        match *method {
            Method::HEAD => {
                let status = self.receiver.look(&self.source, upload).await?;
                Ok(Reply::new(StatusCode::OK).everything(&status))
            }
            Method::PATCH => {
                let status = self.patch(upload).await?;
                Ok(Reply::new(StatusCode::NO_CONTENT).standing(&status))
            }
            _ => {
                self.receiver.end(&self.source, upload).await?;
                Ok(Reply::new(StatusCode::NO_CONTENT))
            }
        }
    }

    async fn patch(self, upload: UploadId) -> Result<Status, Problem> {
        let all = &self.parts.headers;
        if !headers::carries_bytes(all)? {
            return Err(Problem::media_type());
        }
        let offset = headers::number(all, headers::UPLOAD_OFFSET)?
            .ok_or_else(|| Problem::malformed(headers::UPLOAD_OFFSET, "missing"))?;
        let length = headers::number(all, headers::UPLOAD_LENGTH)?;
        let manifest = headers::manifest(all, self.receiver.limits().manifest_bytes)?;
        let append = self.check_bytes()?.into_append(offset, manifest, length, self.body);
        Ok(self.receiver.append(&self.source, upload, append).await?)
    }

    /// What the headers say of the bytes that follow.
    fn check_bytes(&self) -> Result<Announced, Problem> {
        let all = &self.parts.headers;
        let body_bytes = headers::number(all, header::CONTENT_LENGTH.as_str())?;
        let checksum = headers::checksum(all)?;
        let most = self.receiver.limits().checksum_patch_bytes;
        if checksum.is_some() && body_bytes.is_some_and(|bytes| bytes > most) {
            return Err(Problem::too_large("checksum_patch_bytes", most));
        }
        let most_bytes = if checksum.is_some() { most } else { u64::MAX };
        Ok(Announced { body_bytes, checksum, most_bytes })
    }
}

struct Announced {
    body_bytes: Option<u64>,
    checksum: Option<headers::Checksum>,
    most_bytes: u64,
}

impl Announced {
    fn into_append(
        self,
        offset_bytes: u64,
        manifest: Option<String>,
        length_bytes: Option<u64>,
        body: Incoming,
    ) -> Append {
        Append {
            offset_bytes,
            body_bytes: self.body_bytes,
            most_bytes: self.most_bytes,
            length_bytes,
            checksum: self.checksum.map(|checksum| Expected::of(checksum) as _),
            manifest,
            body: Box::pin(body),
        }
    }
}

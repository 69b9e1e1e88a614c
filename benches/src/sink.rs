//! An S3 store that keeps no part of an upload: what is measured beside it is whoever writes to it.
//!
//! What lives here: what our server and its peers ask of a bucket, path style, any name of a bucket: versions, conditions,
//! uploads in parts and CRC-64/NVME, which is compared. What does not: locks, and it says so; signatures, which nobody looks
//! at. Bodies of clients that put their own chunks into them (aws-chunked) are counted as long as they say.
//!
//! The one invariant to keep: it answers what a store would, so that nobody who is measured takes a way that is cheaper.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::serve::ListenerExt as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use crc_fast::CrcAlgorithm::Crc64Nvme;
use futures_util::StreamExt as _;

const CRC_HEADER: &str = "x-amz-checksum-crc64nvme";
const VERSION_HEADER: &str = "x-amz-version-id";
/// What a client wants to find again beside an object.
const METADATA_PREFIX: &str = "x-amz-meta-";

/// Answers on `address` until somebody ends this process.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let listener = listener.tap_io(|stream| {
            let _as_it_was = stream.set_nodelay(true);
        });
        let routes = Router::new()
            .route("/{bucket}", get(list))
            .route("/{bucket}/", get(list))
            .route("/{bucket}/{*key}", any(object))
            .with_state(Shelf::default());
        Ok(axum::serve(listener, routes).await?)
    })
}

/// All that is there.
#[derive(Debug, Clone, Default)]
struct Shelf(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    /// By bucket and key; of one key the newest last.
    objects: BTreeMap<String, Vec<Version>>,
    uploads: HashMap<String, Upload>,
    /// Versions, tags and uploads are numbered.
    numbers: u64,
}

#[derive(Debug, Clone)]
struct Version {
    number: u64,
    received: Received,
    metadata: HeaderMap,
    is_marker: bool,
}

/// An upload in parts.
#[derive(Debug)]
struct Upload {
    name: String,
    metadata: HeaderMap,
    parts: BTreeMap<u32, Received>,
}

/// A body.
#[derive(Debug, Clone, Default)]
struct Received {
    /// None where it was a part of an upload, or of several.
    bytes: Option<Bytes>,
    length: u64,
    /// None where the bytes were not read as they are.
    crc: Option<u64>,
}

/// An answer that is no.
#[derive(Debug)]
struct Refusal(StatusCode, &'static str);

const NO_KEY: Refusal = Refusal(StatusCode::NOT_FOUND, "NoSuchKey");
const NO_UPLOAD: Refusal = Refusal(StatusCode::NOT_FOUND, "NoSuchUpload");
const NOT_OFFERED: Refusal = Refusal(StatusCode::NOT_IMPLEMENTED, "NotImplemented");
const OTHER_BYTES: Refusal = Refusal(StatusCode::BAD_REQUEST, "BadDigest");
const CUT: Refusal = Refusal(StatusCode::BAD_REQUEST, "IncompleteBody");
const TAKEN: Refusal = Refusal(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, code) = self;
        (status, xml("Error", &format!("<Code>{code}</Code>"))).into_response()
    }
}

type Answer = Result<Response, Refusal>;
type Asked = HashMap<String, String>;

fn xml(root: &str, inner: &str) -> impl IntoResponse + use<> {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>{inner}</{root}>");
    ([(header::CONTENT_TYPE, "application/xml")], text)
}

async fn list(
    State(shelf): State<Shelf>,
    Path(bucket): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let (contents, below) = (shelf.lock(), format!("{bucket}/"));
    let prefix = format!("{below}{}", asked.get("prefix").map_or("", String::as_str));
    let key = |name: &str| name.strip_prefix(&below).unwrap_or(name).to_owned();
    if asked.contains_key("uploads") {
        xml("ListMultipartUploadsResult", &contents.list_uploads(&prefix, key)).into_response()
    } else if asked.contains_key("versions") {
        xml("ListVersionsResult", &contents.list_versions(&prefix, key)).into_response()
    } else {
        xml("ListBucketResult", &contents.list_newest(&prefix, key)).into_response()
    }
}

async fn object(
    State(shelf): State<Shelf>,
    Path((bucket, key)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Answer {
    let (head, body) = request.into_parts();
    let name = format!("{bucket}/{key}");
    let is_kept = head.method == "PUT" && !asked.contains_key("uploadId");
    let received = receive(&head.headers, body, is_kept).await?;
    if head.method == "PUT" {
        received.fits(&head.headers)?;
    }
    let upload = asked.get("uploadId");
    let mut contents = shelf.lock();
    match (head.method.as_str(), upload) {
        ("PUT", Some(id)) => contents.put_part(id, &asked, received),
        ("GET", Some(id)) => contents.list_parts(id),
        ("POST", Some(id)) => contents.complete(id, &head),
        ("DELETE", Some(id)) => contents.abort(id),
        ("POST", None) if asked.contains_key("uploads") => Ok(contents.begin(name, &head)),
        ("PUT", None) if !wants_a_lock(&asked, &head) => contents.put(name, &head, received),
        ("GET" | "HEAD", None) => contents.get(&name, &asked, &head),
        ("DELETE", None) => Ok(contents.delete(name, asked.get("versionId"))),
        _ => Err(NOT_OFFERED),
    }
}

fn wants_a_lock(asked: &Asked, head: &request::Parts) -> bool {
    asked.contains_key("retention")
        || asked.contains_key("legal-hold")
        || head.headers.contains_key("x-amz-object-lock-mode")
}

/// Reads a body to its end.
async fn receive(headers: &HeaderMap, body: Body, is_kept: bool) -> Result<Received, Refusal> {
    let said = text(headers, "x-amz-decoded-content-length").and_then(|said| said.parse().ok());
    let (mut kept, mut length) = (BytesMut::new(), 0);
    let mut digest = crc_fast::Digest::new(Crc64Nvme);
    let mut stream = body.into_data_stream();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|_| CUT)?;
        length += bytes.len() as u64;
        digest.update(&bytes);
        if is_kept {
            kept.extend_from_slice(&bytes);
        }
    }
    if let Some(length) = said {
        return Ok(Received { bytes: None, length, crc: None });
    }
    let bytes = is_kept.then(|| kept.freeze());
    Ok(Received { bytes, length, crc: Some(digest.finalize()) })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn metadata(head: &request::Parts) -> HeaderMap {
    let of_clients =
        head.headers.iter().filter(|(name, _)| name.as_str().starts_with(METADATA_PREFIX));
    of_clients.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Base64 of eight bytes, the highest first.
fn checksum_text(crc: u64) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Received {
    /// Whether the checksum is of these bytes, where there is one.
    fn fits(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some((expected, crc)) = text(headers, CRC_HEADER).zip(self.crc) else { return Ok(()) };
        (expected == checksum_text(crc)).then_some(()).ok_or(OTHER_BYTES)
    }
}

impl Version {
    fn id(&self) -> String {
        format!("v{}", self.number)
    }

    fn tag(&self) -> String {
        format!("\"{:032x}\"", self.number)
    }
}

impl Contents {
    fn next(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// What a reader without a version sees.
    fn newest(&self, name: &str) -> Option<&Version> {
        self.objects.get(name)?.last().filter(|version| !version.is_marker)
    }

    /// Whether the conditions of a writing hold.
    fn allows(&self, name: &str, head: &request::Parts) -> Result<(), Refusal> {
        let newest = self.newest(name);
        let nothing = text(&head.headers, "if-none-match").is_none_or(|_| newest.is_none());
        let same = text(&head.headers, "if-match")
            .is_none_or(|tag| newest.is_some_and(|newest| newest.tag() == tag));
        (nothing && same).then_some(()).ok_or(TAKEN)
    }

    fn add(&mut self, name: String, received: Received, metadata: HeaderMap) -> Version {
        let version = Version { number: self.next(), received, metadata, is_marker: false };
        self.objects.entry(name).or_default().push(version.clone());
        version
    }

    fn put(&mut self, name: String, head: &request::Parts, received: Received) -> Answer {
        self.allows(&name, head)?;
        let version = self.add(name, received, metadata(head));
        let headers = [(VERSION_HEADER, version.id()), ("etag", version.tag())];
        Ok(headers.into_response())
    }

    fn get(&self, name: &str, asked: &Asked, head: &request::Parts) -> Answer {
        let version = match asked.get("versionId") {
            None => self.newest(name),
            Some(id) => self.objects.get(name).and_then(|all| all.iter().find(|v| v.id() == *id)),
        };
        let version = version.ok_or(NO_KEY)?;
        let headers = [(VERSION_HEADER, version.id()), ("etag", version.tag())];
        let described = (headers, version.metadata.clone());
        if head.method == "HEAD" {
            let length = [(header::CONTENT_LENGTH, version.received.length.to_string())];
            return Ok(match version.received.crc {
                Some(crc) => {
                    (described, length, [(CRC_HEADER, checksum_text(crc))]).into_response()
                }
                None => (described, length).into_response(),
            });
        }
        let bytes = version.received.bytes.clone().ok_or(NO_KEY)?;
        match text(&head.headers, "range").and_then(|range| slice(&bytes, range)) {
            Some((part, said)) => {
                let said = [(header::CONTENT_RANGE, said)];
                Ok((StatusCode::PARTIAL_CONTENT, described, said, part).into_response())
            }
            None => Ok((described, bytes).into_response()),
        }
    }

    /// Removes a version, or puts a marker over what is there.
    fn delete(&mut self, name: String, version: Option<&String>) -> Response {
        match version {
            Some(id) => {
                self.objects.entry(name).or_default().retain(|version| version.id() != *id);
            }
            None => {
                let (number, received) = (self.next(), Received::default());
                let marker =
                    Version { number, received, metadata: HeaderMap::new(), is_marker: true };
                self.objects.entry(name).or_default().push(marker);
            }
        }
        StatusCode::NO_CONTENT.into_response()
    }

    fn begin(&mut self, name: String, head: &request::Parts) -> Response {
        let id = format!("u{}", self.next());
        let inner = format!("<UploadId>{id}</UploadId>");
        let upload = Upload { name, metadata: metadata(head), parts: BTreeMap::new() };
        self.uploads.insert(id, upload);
        xml("InitiateMultipartUploadResult", &inner).into_response()
    }

    fn put_part(&mut self, id: &str, asked: &Asked, received: Received) -> Answer {
        let number = asked.get("partNumber").and_then(|number| number.parse().ok());
        let parts = &mut self.uploads.get_mut(id).ok_or(NO_UPLOAD)?.parts;
        let number = number.ok_or(NOT_OFFERED)?;
        parts.insert(number, received);
        Ok([("etag", format!("\"{number:032x}\""))].into_response())
    }

    fn list_parts(&self, id: &str) -> Answer {
        let mut inner = "<IsTruncated>false</IsTruncated>".to_owned();
        for (number, part) in &self.uploads.get(id).ok_or(NO_UPLOAD)?.parts {
            let _ = write!(
                inner,
                "<Part><PartNumber>{number}</PartNumber><ETag>\"{number:032x}\"</ETag><Size>{}</Size></Part>",
                part.length
            );
        }
        Ok(xml("ListPartsResult", &inner).into_response())
    }

    /// Makes an object of all parts.
    fn complete(&mut self, id: &str, head: &request::Parts) -> Answer {
        let Upload { name, metadata, parts } = self.uploads.get(id).ok_or(NO_UPLOAD)?;
        self.allows(name, head)?;
        let received =
            parts.values().fold(Received { crc: Some(0), ..Received::default() }, joined);
        received.fits(&head.headers)?;
        let (name, metadata) = (name.clone(), metadata.clone());
        self.uploads.remove(id);
        let version = self.add(name, received, metadata);
        let inner = format!("<ETag>{}</ETag>", version.tag());
        let body = xml("CompleteMultipartUploadResult", &inner);
        Ok(([(VERSION_HEADER, version.id())], body).into_response())
    }

    fn abort(&mut self, id: &str) -> Answer {
        self.uploads.remove(id).ok_or(NO_UPLOAD)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    fn below<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a Vec<Version>)> {
        let from = self.objects.range(prefix.to_owned()..);
        from.take_while(move |(name, _)| name.starts_with(prefix))
    }

    fn list_newest(&self, prefix: &str, key: impl Fn(&str) -> String) -> String {
        let mut inner = "<IsTruncated>false</IsTruncated>".to_owned();
        for name in self.below(prefix).map(|(name, _)| name) {
            let Some(newest) = self.newest(name) else { continue };
            let (key, length) = (key(name), newest.received.length);
            let _ = write!(inner, "<Contents><Key>{key}</Key><Size>{length}</Size></Contents>");
        }
        inner
    }

    fn list_versions(&self, prefix: &str, key: impl Fn(&str) -> String) -> String {
        let mut inner = "<IsTruncated>false</IsTruncated>".to_owned();
        for (name, versions) in self.below(prefix) {
            for version in versions.iter().rev() {
                let element = if version.is_marker { "DeleteMarker" } else { "Version" };
                let (key, id, length) = (key(name), version.id(), version.received.length);
                let _ = write!(
                    inner,
                    "<{element}><Key>{key}</Key><VersionId>{id}</VersionId><Size>{length}</Size></{element}>"
                );
            }
        }
        inner
    }

    fn list_uploads(&self, prefix: &str, key: impl Fn(&str) -> String) -> String {
        let mut inner = "<IsTruncated>false</IsTruncated>".to_owned();
        for (id, upload) in self.uploads.iter().filter(|(_, u)| u.name.starts_with(prefix)) {
            let key = key(&upload.name);
            let _ = write!(inner, "<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>");
        }
        inner
    }
}

/// Two bodies as one, without their bytes.
fn joined(first: Received, next: &Received) -> Received {
    let crc = first.crc.zip(next.crc);
    let crc = crc.map(|(a, b)| crc_fast::checksum_combine(Crc64Nvme, a, b, next.length));
    Received { bytes: None, length: first.length + next.length, crc }
}

/// What `bytes=FIRST-LAST` asks for, and how an answer says it.
fn slice(bytes: &Bytes, range: &str) -> Option<(Bytes, String)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    let last = last.min(bytes.len().checked_sub(1)?);
    let said = format!("bytes {first}-{last}/{}", bytes.len());
    (first <= last).then(|| (bytes.slice(first..=last), said))
}

//! A tus 1.0 client that does one step at a time and stops where a story wants it to.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Client, Method, Response};

/// A server that is being killed answers with nothing at all; nobody waits for it longer than this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A device's connection to the tus door of one server process.
#[derive(Clone, Debug)]
pub struct Tus {
    http: Client,
    server: Arc<str>,
    token: Arc<str>,
}

/// An upload's path at its server, the same after a restart on another port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload(String);

/// Where an upload stands, as the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub offset: u64,
    /// Set when the upload has become an item.
    pub finished: Option<Finished>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub item: String,
    /// The path of its receipt.
    pub receipt: String,
}

impl Upload {
    /// As in a request's first line.
    pub fn path(&self) -> &str {
        &self.0
    }
}

impl Tus {
    pub fn new(server: &str, token: &str) -> Self {
        ingest::agent::choose_tls();
        let http = Client::builder().timeout(REQUEST_TIMEOUT).build();
        Tus {
            http: http.expect("a client without TLS needs nothing"),
            server: server.into(),
            token: token.into(),
        }
    }

    /// POST: a new upload of so many bytes.
    pub async fn create(&self, length: u64, name: &str) -> Result<Upload> {
        let reply = self
            .request(Method::POST, "/tus")
            .header("Upload-Length", length)
            .header("Upload-Metadata", format!("filename {}", STANDARD.encode(name)))
            .send()
            .await?;
        let reply = expect(reply, 201).await?;
        let location = reply.headers().get(LOCATION).context("no Location")?.to_str()?;
        // A whole address or a path, as the server likes.
        let path = match location.split_once("://") {
            Some((_, rest)) => &rest[rest.find('/').context("a Location without a path")?..],
            None => location,
        };
        Ok(Upload(path.to_owned()))
    }

    /// HEAD: where the upload stands.
    pub async fn standing(&self, upload: &Upload) -> Result<Standing> {
        let reply = self.request(Method::HEAD, &upload.0).send().await?;
        if reply.status() != 200 && reply.status() != 204 {
            bail!("HEAD: {}", reply.status());
        }
        standing(reply.headers())
    }

    /// PATCH: these bytes at this offset.
    pub async fn append(&self, upload: &Upload, offset: u64, bytes: Bytes) -> Result<Standing> {
        let reply = self
            .request(Method::PATCH, &upload.0)
            .header("Upload-Offset", offset)
            .header(CONTENT_TYPE, "application/offset+octet-stream")
            .body(bytes)
            .send()
            .await?;
        standing(expect(reply, 204).await?.headers())
    }

    /// A whole upload, `chunk` bytes at a time, without a retry.
    pub async fn upload(&self, name: &str, bytes: &Bytes, chunk: usize) -> Result<Finished> {
        let upload = self.create(bytes.len() as u64, name).await?;
        let mut offset = 0;
        loop {
            let end = bytes.len().min(offset + chunk);
            let standing = self.append(&upload, offset as u64, bytes.slice(offset..end)).await?;
            offset = usize::try_from(standing.offset)?;
            match standing.finished {
                Some(finished) => return Ok(finished),
                None if offset == bytes.len() => bail!("all is sent, and there is no item"),
                None => {}
            }
        }
    }

    /// GET of a path with the device's token.
    pub async fn get(&self, path: &str) -> Result<(u16, Bytes)> {
        let reply = self.request(Method::GET, path).send().await?;
        Ok((reply.status().as_u16(), reply.bytes().await?))
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.server))
            .header("Tus-Resumable", "1.0.0")
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
    }
}

fn standing(headers: &HeaderMap) -> Result<Standing> {
    let text = |name: &str| -> Result<Option<String>> {
        let value = headers.get(name).map(|value| value.to_str()).transpose()?;
        Ok(value.map(str::to_owned))
    };
    let offset = text("Upload-Offset")?.context("no Upload-Offset")?.parse()?;
    let finished = match (text("Exhibit-Item")?, text("Exhibit-Receipt")?) {
        (Some(item), Some(receipt)) => Some(Finished { item, receipt }),
        (None, None) => None,
        half => bail!("an item without a receipt or the reverse: {half:?}"),
    };
    Ok(Standing { offset, finished })
}

async fn expect(reply: Response, status: u16) -> Result<Response> {
    if reply.status() == status {
        return Ok(reply);
    }
    bail!("{} in place of {status}: {}", reply.status(), reply.text().await?)
}

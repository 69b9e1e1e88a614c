//! The server as the agent sees it: tus 1.0 (tus.io/protocols/resumable-upload) and a few addresses of the API.
//!
//! Here: one request each, and what its reply means. Not here: when to ask again (`retry`), what to send (`upload`).
//! Invariants: the token goes to the configured server and nowhere else (no redirects, no other host's `Location`);
//! no request waits for ever; nothing a server says reaches a terminal without being made printable.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chain_of_custody::ids::{DeviceId, ItemId};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method};
use reqwest::{Body, RequestBuilder, Response, Url};

use super::config::{PlainHttp, PushConfig};
use super::error::AgentError;
use super::retry::Trouble;
use super::tls;

/// Receipts, policies and problem documents are smaller.
const MAX_REPLY_BYTES: usize = 4 * 1024 * 1024;
/// How much of a server's own words is passed on.
const MAX_REASON_CHARS: usize = 300;
/// Establishing a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// A file of this many bytes or fewer is a policy, key or receipt of ours; the protocol version of every request.
const TUS: (&str, &str) = ("tus-resumable", "1.0.0");
const OFFSET_MEDIA_TYPE: &str = "application/offset+octet-stream";

/// An upload's address: a path on the configured server.
pub(super) type UploadPath = String;

/// What the server says about an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    /// Bytes held durably.
    pub(super) offset: u64,
    /// There once the upload is finished, and only then.
    pub(super) finished: Option<Finished>,
}

/// The item an upload became, and where its receipt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) item: ItemId,
    /// A path on the configured server.
    pub(super) receipt: String,
}

/// When something last moved on a connection.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<Instant>>);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Something moved just now.
    pub(super) fn touch(&self) {
        *self.0.lock().expect("nothing panics while holding it") = Instant::now();
    }

    /// Ends when nothing has moved for `idle`.
    async fn stalled(&self, idle: Duration) {
        loop {
            let last = *self.0.lock().expect("nothing panics while holding it");
            let left = idle.saturating_sub(last.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// A client of one server.
#[derive(Debug)]
pub(super) struct Server {
    http: reqwest::Client,
    base: Url,
    idle: Duration,
}

impl Server {
    pub(super) fn new(config: &PushConfig) -> Result<Self, AgentError> {
        let base = base_url(config)?;
        let setting = |setting| {
            move |e: &dyn std::fmt::Display| AgentError::Setting { setting, reason: e.to_string() }
        };
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", config.token.secret()))
            .map_err(|e| setting("token")(&e))?;
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(TUS.0, HeaderValue::from_static(TUS.1));
        tls::choose_tls();
        let http = tls::trusting(reqwest::Client::builder(), config.ca_file.as_deref())?
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT.min(config.idle))
            // The kernel notices a line on which nothing is confirmed any more.
            .tcp_user_timeout(config.idle)
            .build()
            .map_err(|e| setting("server")(&e))?;
        Ok(Self { http, base, idle: config.idle })
    }

    /// Registers our public key; a repeated call changes nothing. Gives our device id where the server says it.
    pub(super) async fn register_key(&self, vkey: &str) -> Result<Option<DeviceId>, Trouble> {
        let request = self
            .request(Method::PUT, "/api/v1/device/key")?
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(vkey.to_owned());
        let reply = self.send(request, &Activity::new()).await?;
        // Here a conflict is final: another key is registered for this device.
        if reply.status().as_u16() == 409 {
            let reason =
                format!("another key is registered for this device; {}", reason(reply).await);
            return Err(Trouble::Refused { status: 409, reason });
        }
        let body = self.body(self.success(reply).await?).await?;
        let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        Ok(json.and_then(|json| json.get("device")?.as_str()?.parse().ok()))
    }

    /// Begins an upload. An empty file is finished by this, so its manifest goes with it.
    pub(super) async fn create(
        &self,
        size_bytes: u64,
        metadata: &str,
        manifest: Option<&str>,
    ) -> Result<(UploadPath, At), Trouble> {
        let request = self
            .request(Method::POST, "/tus")?
            .header("upload-length", size_bytes)
            .header("upload-metadata", metadata)
            .header(CONTENT_LENGTH, 0);
        let request = with_manifest(request, manifest);
        let reply = self.success(self.send(request, &Activity::new()).await?).await?;
        let status = reply.status().as_u16();
        let location = reply.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let upload = self.local_path(location.ok_or(Trouble::Faulty { status })?)?;
        let finished = self.finished(reply.headers())?;
        Ok((upload, At { offset: 0, finished }))
    }

    /// Where an upload stands.
    pub(super) async fn at(&self, upload: &str) -> Result<At, Trouble> {
        let request = self.request(Method::HEAD, upload)?;
        self.at_of(self.success(self.send(request, &Activity::new()).await?).await?)
    }

    /// Sends `length` bytes from `offset` on. `activity` is touched by whoever feeds the body.
    pub(super) async fn patch(
        &self,
        upload: &str,
        offset: u64,
        (length, body): (u64, Body),
        manifest: Option<&str>,
        activity: &Activity,
    ) -> Result<At, Trouble> {
        let request = self
            .request(Method::PATCH, upload)?
            .header("upload-offset", offset)
            .header(CONTENT_TYPE, OFFSET_MEDIA_TYPE)
            .header(CONTENT_LENGTH, length)
            .body(body);
        let request = with_manifest(request, manifest);
        self.at_of(self.success(self.send(request, activity).await?).await?)
    }

    /// The server's statement of what it holds of an unfinished upload.
    pub(super) async fn progress_receipt(&self, upload: &str) -> Result<Vec<u8>, Trouble> {
        self.get(&format!("{upload}/progress")).await
    }

    /// Any small document of this server.
    pub(super) async fn get(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        let request = self.request(Method::GET, path)?;
        let reply = self.send(request, &Activity::new()).await?;
        self.body(self.success(reply).await?).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Trouble> {
        let url = self.base.join(path).map_err(|_| nonsense("an address that is none"))?;
        Ok(self.http.request(method, url))
    }

    async fn send(
        &self,
        request: RequestBuilder,
        activity: &Activity,
    ) -> Result<Response, Trouble> {
        activity.touch();
        tokio::select! {
            reply = request.send() => reply.map_err(|error| {
                let trouble = tls::distrust(&error);
                tracing::debug!(error = %error.without_url(), "a request failed");
                trouble.unwrap_or(Trouble::Broken)
            }),
            () = activity.stalled(self.idle) => Err(Trouble::Stalled),
        }
    }

    async fn success(&self, reply: Response) -> Result<Response, Trouble> {
        let status = reply.status();
        if status.is_success() {
            return Ok(reply);
        }
        let retry_after = reply.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let trouble = Trouble::from_status(status.as_u16(), retry_after, String::new);
        Err(match trouble {
            Trouble::Refused { status, reason: said } => {
                let own = tokio::time::timeout(self.idle, reason(reply)).await.unwrap_or_default();
                Trouble::Refused { status, reason: if said.is_empty() { own } else { said } }
            }
            other => other,
        })
    }

    async fn body(&self, mut reply: Response) -> Result<Vec<u8>, Trouble> {
        let mut body = Vec::new();
        loop {
            let chunk = tokio::time::timeout(self.idle, reply.chunk()).await;
            match chunk.map_err(|_| Trouble::Stalled)?.map_err(|_| Trouble::Broken)? {
                None => return Ok(body),
                Some(chunk) if body.len() + chunk.len() > MAX_REPLY_BYTES => {
                    return Err(nonsense("a document that is too long"));
                }
                Some(chunk) => body.extend_from_slice(&chunk),
            }
        }
    }

    fn at_of(&self, reply: Response) -> Result<At, Trouble> {
        let offset = reply.headers().get("upload-offset").and_then(|value| value.to_str().ok());
        let offset = offset.and_then(|text| text.parse().ok());
        let status = reply.status().as_u16();
        let offset = offset.ok_or(Trouble::Faulty { status })?;
        Ok(At { offset, finished: self.finished(reply.headers())? })
    }

    fn finished(&self, headers: &HeaderMap) -> Result<Option<Finished>, Trouble> {
        let text = |name| headers.get(name).map(HeaderValue::to_str).and_then(Result::ok);
        let (Some(item), Some(receipt)) = (text("exhibit-item"), text("exhibit-receipt")) else {
            return Ok(None);
        };
        let item = item.parse().map_err(|_| nonsense("an item without an id"))?;
        Ok(Some(Finished { item, receipt: self.local_path(receipt)? }))
    }

    /// The path of an address that must be on the configured server.
    fn local_path(&self, address: &str) -> Result<String, Trouble> {
        let url = self.base.join(address).map_err(|_| nonsense("an address that is none"))?;
        if url.origin() != self.base.origin() {
            return Err(nonsense("an address on another server"));
        }
        Ok(url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path())))
    }
}

/// `Upload-Metadata` from pairs of key and value (tus 1.0, Creation).
pub(super) fn metadata<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pair = |(key, value): (&str, String)| format!("{key} {}", BASE64.encode(value));
    pairs.into_iter().map(pair).collect::<Vec<_>>().join(",")
}

fn with_manifest(request: RequestBuilder, manifest: Option<&str>) -> RequestBuilder {
    match manifest {
        Some(note) => request.header("exhibit-manifest", BASE64.encode(note)),
        None => request,
    }
}

fn base_url(config: &PushConfig) -> Result<Url, AgentError> {
    let bad = |reason: String| AgentError::Setting { setting: "server", reason };
    let url = Url::parse(&config.server).map_err(|e| bad(e.to_string()))?;
    let host = url.host_str().ok_or_else(|| bad("it names no host".into()))?;
    let loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback || config.plain_http == PlainHttp::Anywhere => Ok(url),
        "http" => Err(bad("http:// would send footage and token unencrypted to another machine; \
                use https://"
            .into())),
        other => Err(bad(format!("'{other}://' is not supported"))),
    }
}

/// A reply that a server of ours does not give: not tried again and again.
fn nonsense(what: &str) -> Trouble {
    Trouble::Refused { status: 200, reason: format!("the server answers with {what}") }
}

/// What a problem document (RFC 9457) says, in one printable line.
async fn reason(mut reply: Response) -> String {
    let fallback = reply.status().canonical_reason().unwrap_or("no reason given").to_owned();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = reply.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_REPLY_BYTES {
            return fallback;
        }
    }
    let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let said = json.and_then(|json| {
        let text = |key| json.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
        text("detail").or_else(|| text("title"))
    });
    printable(&said.unwrap_or(fallback))
}

/// Control characters and the like must not reach a terminal.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(MAX_REASON_CHARS).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::Token;

    fn server(url: &str) -> Result<Server, AgentError> {
        Server::new(&PushConfig::new(url, Token::new("secret").unwrap(), "/nowhere"))
    }

    #[test]
    fn the_token_goes_to_the_configured_server_only() {
        let server = server("http://127.0.0.1:8080").unwrap();
        for good in ["/tus/1", "http://127.0.0.1:8080/tus/1"] {
            assert_eq!(server.local_path(good).unwrap(), "/tus/1");
        }
        assert_eq!(server.local_path("/r?entry=7").unwrap(), "/r?entry=7");
        for bad in ["http://evil.example/tus/1", "//evil.example/x", "https://127.0.0.1:8080/x"] {
            assert!(matches!(server.local_path(bad), Err(Trouble::Refused { .. })), "{bad}");
        }
    }

    #[test]
    fn nothing_goes_unencrypted_to_another_machine_unless_told() {
        for url in
            ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://a.example"]
        {
            assert!(server(url).is_ok(), "{url}");
        }
        for url in ["http://10.0.0.1", "http://127.0.0.1.evil.example", "ftp://x", "nonsense"] {
            assert!(matches!(server(url), Err(AgentError::Setting { .. })), "{url}");
        }
    }

    #[test]
    fn the_token_is_never_printed() {
        let config = PushConfig::new("http://127.0.0.1:1", Token::new("secret").unwrap(), "/x");
        let server = Server::new(&config).unwrap();
        assert!(!format!("{config:?}{server:?}").contains("secret"));
    }

    #[test]
    fn what_a_server_says_cannot_drive_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}

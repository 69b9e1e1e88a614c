//! A whole site on a temporary folder, with its door on a real listener: real store, real database, real ledger.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chain_of_custody::checkpoint::Origin;
use chain_of_custody::claim::ClockState;
use chain_of_custody::digest::Digests;
use chain_of_custody::ids::DeviceId;
use chain_of_custody::note::{Signer as _, SigningKey};
use chain_of_custody::policy::Policy;
use chain_of_custody::receipt::{Receipt, VerifiedReceipt};
use chain_of_custody::time::Timestamp;
use ingest::devices::{self, Enrolled};
use ingest::limits::Limits;
use ingest::receive::{Parts, Receiver, Site, Swept};
use reqwest::{Method, RequestBuilder, Response};
use storage::clock::{Clock, SystemClock};
use storage::ledger::{AuditResult, Ledger, LedgerOptions};
use storage::objects::{Kek, ObjectStore, StoredObject};
use storage::records::{ByteAccount, Records};
use zeroize::Zeroizing;

pub(crate) const ORIGIN: &str = "ledger.test.example";

/// The machine's clock, and how far a test has moved it.
#[derive(Debug, Default)]
pub(crate) struct MovableClock {
    ahead_ms: AtomicI64,
}

impl MovableClock {
    pub(crate) fn advance(&self, by: std::time::Duration) {
        self.ahead_ms.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for MovableClock {
    fn now(&self) -> Timestamp {
        let now = SystemClock.now().unix_millis() + self.ahead_ms.load(Ordering::SeqCst);
        Timestamp::from_unix_millis(now).unwrap()
    }
}

pub(crate) struct World {
    pub(crate) receiver: Receiver,
    pub(crate) objects: ObjectStore,
    pub(crate) clock: Arc<MovableClock>,
    pub(crate) base: String,
    /// What recovery did when it was opened.
    pub(crate) recovered: Swept,
    server: tokio::task::JoinHandle<()>,
}

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, [seed; 32]).unwrap()
}

/// Small limits where a test would else need gigabytes.
pub(crate) fn limits() -> Limits {
    Limits {
        item_size_bytes: 64 << 20,
        checksum_patch_bytes: 4 << 20,
        free_space_kept_bytes: 0,
        open_uploads_per_device: 8,
        ..Limits::default()
    }
}

impl World {
    pub(crate) async fn open(folder: &Path, limits: Limits) -> Self {
        let mut world = Self::open_as_found(folder, limits).await;
        world.recovered = world.receiver.recover().await.unwrap();
        world
    }

    /// Opens without recovery: what the last run left half-finished is as when a recovery could not finish it.
    pub(crate) async fn open_as_found(folder: &Path, limits: Limits) -> Self {
        ingest::agent::choose_tls();
        let records = Records::sqlite(&folder.join("records.sqlite"), ORIGIN).await.unwrap();
        let kek = Kek::new(Zeroizing::new([9; 32]));
        let objects = ObjectStore::open(&folder.join("objects"), kek).unwrap();
        let clock = Arc::new(MovableClock::default());
        let log = key(ORIGIN, 1);
        let policy = Policy::of_log(&log.vkey()).unwrap();
        let options = LedgerOptions {
            rotations: Vec::new(),
            origin: Origin::new(ORIGIN).unwrap(),
            signer: Arc::new(log),
            clock: clock.clone(),
        };
        let ledger = Ledger::open(records.clone(), objects.clone(), options).await.unwrap();
        let receiver = Receiver::new(Parts {
            records,
            objects: objects.clone(),
            ledger,
            clock: clock.clone(),
            receipt_signer: Arc::new(key("receipt.test.example", 2)),
            policy,
            site: Site { copies: 1, clock: ClockState::Unchecked },
            limits,
        })
        .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let routes = ingest::doors::router(receiver.clone());
        let server = tokio::spawn(async move {
            let service = routes.into_make_service_with_connect_info::<std::net::SocketAddr>();
            axum::serve(listener, service).await.unwrap();
        });
        Self { receiver, objects, clock, base, recovered: Swept::default(), server }
    }

    /// Ends as a stop does.
    pub(crate) async fn close(self) {
        self.receiver.stop().await;
        self.server.abort();
        self.receiver.ledger().close().await;
        self.receiver.records().close().await;
    }

    pub(crate) async fn enrol(&self, name: &str) -> Client {
        Client::of(&self.base, &devices::enrol(&self.receiver, name, "os-user:test").await.unwrap())
    }

    pub(crate) async fn account(&self, client: &Client) -> ByteAccount {
        let account = self.receiver.records().byte_account(Some(client.device)).await.unwrap();
        assert!(account.balances(), "{account:?}");
        account
    }

    /// Everything that holds after every test: the ledger audits clean, each item reads back, nothing lies about.
    pub(crate) async fn verify(&self) {
        let audit = self.receiver.ledger().audit().await.unwrap();
        assert_eq!(audit.result, AuditResult::Match, "{audit:?}");
        let items = self.receiver.records().search(&Default::default()).await.unwrap();
        for item in &items {
            let object: StoredObject = serde_json::from_str(&item.object).unwrap();
            let bytes = self.read(&object).await;
            assert_eq!(Digests::of(&bytes), item.digests, "item {} reads back", item.item);
        }
        let originals = self.objects.scan("originals").await.unwrap();
        let objects: Vec<_> = originals
            .iter()
            .filter(|found| !found.name.as_str().contains('.'))
            .map(|found| found.name.as_str().trim_start_matches("originals/").to_owned())
            .collect();
        let mut known: Vec<_> = items.iter().map(|item| item.item.to_string()).collect();
        known.sort();
        assert_eq!(objects, known, "objects without an item, or items without an object");
    }

    pub(crate) async fn read(&self, object: &StoredObject) -> Vec<u8> {
        let opened = self.objects.open_object(object).await.unwrap();
        let mut bytes = Vec::new();
        let step = 1 << 20;
        let mut at = 0;
        while at < object.size_bytes {
            let end = object.size_bytes.min(at + step);
            bytes.extend_from_slice(&opened.read(at..end).await.unwrap());
            at = end;
        }
        bytes
    }

    /// How often events of this kind stand in the ledger.
    pub(crate) async fn events(&self, kind: &str) -> usize {
        self.openings(kind).await.len()
    }

    /// The openings of every entry of this kind.
    pub(crate) async fn openings(
        &self,
        kind: &str,
    ) -> Vec<std::collections::BTreeMap<String, String>> {
        let mut found = Vec::new();
        let size = self.receiver.ledger().latest().unverified().size;
        for index in 0..size.0 {
            let placed = self
                .receiver
                .ledger()
                .placed(chain_of_custody::ids::LeafIndex(index))
                .await
                .unwrap();
            let entry = chain_of_custody::entry::Entry::parse(&placed.entry).unwrap();
            if entry.kind.as_str() == kind {
                let pairs = placed.openings.into_iter();
                found.push(pairs.map(|o| (o.name.to_string(), o.value)).collect());
            }
        }
        found
    }

    pub(crate) fn policy(&self) -> &Policy {
        self.receiver.policy()
    }
}

/// A device with its token.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) token: String,
    pub(crate) device: DeviceId,
}

impl Client {
    pub(crate) fn of(base: &str, enrolled: &Enrolled) -> Self {
        let token = enrolled.token.reveal().to_owned();
        Self { http: reqwest::Client::new(), base: base.to_owned(), token, device: enrolled.device }
    }

    /// The same device at the same site, opened again.
    pub(crate) fn at(&self, world: &World) -> Self {
        Self { base: world.base.clone(), http: reqwest::Client::new(), ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.http.request(method, url).bearer_auth(&self.token).header("tus-resumable", "1.0.0")
    }

    pub(crate) fn post(&self) -> RequestBuilder {
        self.request(Method::POST, "/tus")
    }

    pub(crate) fn patch(
        &self,
        path: &str,
        offset: u64,
        bytes: impl Into<reqwest::Body>,
    ) -> RequestBuilder {
        self.request(Method::PATCH, path)
            .header("content-type", "application/offset+octet-stream")
            .header("upload-offset", offset)
            .body(bytes)
    }

    pub(crate) async fn head(&self, path: &str) -> Response {
        self.request(Method::HEAD, path).send().await.unwrap()
    }

    pub(crate) async fn offset(&self, path: &str) -> u64 {
        number(&self.head(path).await, "upload-offset")
    }

    pub(crate) async fn create(&self, length: u64, metadata: &str) -> String {
        let request = self.post().header("upload-length", length);
        let reply = request.header("upload-metadata", metadata).send().await.unwrap();
        assert_eq!(reply.status(), 201, "{reply:?}");
        header(&reply, "location")
    }

    /// A whole upload in one PATCH; gives the finishing reply.
    pub(crate) async fn send(&self, bytes: &[u8], metadata: &str) -> Response {
        let path = self.create(bytes.len() as u64, metadata).await;
        let reply = self.patch(&path, 0, bytes.to_vec()).send().await.unwrap();
        assert_eq!(reply.status(), 204, "{reply:?}");
        reply
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// The receipt that a finishing reply names, checked as a dock agent checks it.
    pub(crate) async fn receipt(&self, world: &World, reply: &Response) -> VerifiedReceipt {
        let text = self.get(&header(reply, "exhibit-receipt")).await;
        assert_eq!(text.status(), 200, "{text:?}");
        let text = text.text().await.unwrap();
        Receipt::parse(text.as_bytes()).unwrap().verify(world.policy()).unwrap()
    }
}

pub(crate) fn header(reply: &Response, name: &str) -> String {
    let value = reply.headers().get(name).unwrap_or_else(|| panic!("no {name} in {reply:?}"));
    value.to_str().unwrap().to_owned()
}

pub(crate) fn number(reply: &Response, name: &str) -> u64 {
    header(reply, name).parse().unwrap()
}

/// Bytes that repeat nowhere within a test.
pub(crate) fn footage(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// `Upload-Metadata` of pairs.
pub(crate) fn metadata(pairs: &[(&str, &str)]) -> String {
    use base64::Engine as _;
    let encode = |value: &str| base64::engine::general_purpose::STANDARD.encode(value);
    pairs
        .iter()
        .map(|(key, value)| format!("{key} {}", encode(value)))
        .collect::<Vec<_>>()
        .join(",")
}

//! A house with people in it, asked over HTTP as a program would.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use chain_of_custody::checkpoint::Origin;
use chain_of_custody::command::Command;
use chain_of_custody::digest::{ContentHasher, Digests};
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{DeviceId, EventId, ItemId, LeafIndex, UploadId};
use chain_of_custody::note::{Signer as _, SigningKey};
use chain_of_custody::policy::Policy;
use chain_of_custody::time::Timestamp;
use futures_util::future::BoxFuture;
use portal::access::{Access, Link, Person, Role};
use portal::bundle::{Force, Maker};
use portal::pages::Pages;
use portal::service::{DeviceError, Devices, Enrolled, Parts, Receipts, Service, Statement};
use serde_json::{Value, json};
use storage::clock::Clock;
use storage::ledger::{Ledger, LedgerOptions, Placed};
use storage::objects::{Kek, ObjectStore, StoredObject};
use storage::records::{EventRecord, NewJob, Records};
use tower::ServiceExt as _;
use uuid::Uuid;
use zeroize::Zeroizing;

const ORIGIN: &str = "ledger.essex.example";

/// A clock that tests put forward.
#[derive(Debug, Clone)]
pub(crate) struct TestClock(Arc<Mutex<i64>>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(*self.0.lock().unwrap()).unwrap()
    }
}

impl TestClock {
    pub(crate) fn forward(&self, seconds: i64) {
        *self.0.lock().unwrap() += seconds * 1000;
    }
}

/// The proof alone: the signed text needs the way in.
struct ProofsOnly;

impl Receipts for ProofsOnly {
    fn statement(&self, placed: &Placed, _: Statement) -> Result<String, String> {
        Ok(placed.receipt().unwrap().to_string())
    }
}

/// Entries as the way in writes them; no token opens anything here.
struct DevicesOf(Ledger);

impl DevicesOf {
    async fn enter(&self, command: Command, device: DeviceId) -> Result<Enrolled, DeviceError> {
        self.0.submit(command).await.map_err(|e| DeviceError::Internal(e.to_string()))?;
        Ok(Enrolled { device, token: format!("token-{}", Uuid::new_v4()) })
    }
}

impl Devices for DevicesOf {
    fn enrol<'a>(
        &'a self,
        event: EventId,
        name: &'a str,
        by: &'a str,
    ) -> BoxFuture<'a, Result<Enrolled, DeviceError>> {
        let device = DeviceId::from_uuid(Uuid::now_v7());
        let command = Command::new(EventKind::DeviceEnrolled, event)
            .touching(device)
            .field(field::NAME, name, salt())
            .field(field::BY, by, salt());
        Box::pin(self.enter(command, device))
    }

    fn rotate<'a>(
        &'a self,
        event: EventId,
        device: DeviceId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<Enrolled, DeviceError>> {
        let command = Command::new(EventKind::AccessChanged, event)
            .touching(device)
            .field(field::REASON_CODE, "token-rotated", salt())
            .field(field::BY, by, salt());
        Box::pin(async move {
            let known = self.0.records().device(device).await.unwrap();
            known.filter(|device| device.is_active()).ok_or(DeviceError::NotFound)?;
            self.enter(command, device).await
        })
    }

    fn revoke<'a>(
        &'a self,
        device: DeviceId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<(), DeviceError>> {
        let event = EventId::from_uuid(Uuid::now_v7());
        let command = Command::new(EventKind::DeviceRevoked, event).touching(device).field(
            field::BY,
            by,
            salt(),
        );
        Box::pin(async move {
            self.0.records().device(device).await.unwrap().ok_or(DeviceError::NotFound)?;
            self.enter(command, device).await.map(drop)
        })
    }
}

pub(crate) struct House {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) service: Service,
    pub(crate) ledger: Ledger,
    pub(crate) objects: ObjectStore,
    pub(crate) clock: TestClock,
    pub(crate) router: Router,
    pub(crate) policy: Policy,
}

/// Somebody who is signed in.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) token: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The code in a problem's type.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let value = self.json();
        assert_eq!(value["status"], self.status.as_u16());
        value["type"].as_str().unwrap().strip_prefix("urn:exhibit:problem:").unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::sqlite(&folder.path().join("records.sqlite"), ORIGIN).await.unwrap();
        let kek = Kek::new(Zeroizing::new([5; 32]));
        let objects = ObjectStore::open(&folder.path().join("objects"), kek).unwrap();
        let log_key = SigningKey::from_seed(ORIGIN, [1; 32]).unwrap();
        let policy = Policy::of_log(&log_key.vkey()).unwrap();
        let clock = TestClock(Arc::new(Mutex::new(1_790_000_000_000)));
        let options = LedgerOptions {
            rotations: Vec::new(),
            origin: Origin::new(ORIGIN).unwrap(),
            signer: Arc::new(log_key),
            clock: Arc::new(clock.clone()),
        };
        let ledger = Ledger::open(records, objects.clone(), options).await.unwrap();
        let maker = Maker {
            ledger: ledger.clone(),
            objects: objects.clone(),
            bundle_key: Arc::new(SigningKey::from_seed("bundle.essex.example", [2; 32]).unwrap()),
            policy: policy.clone(),
            force: Force { name: "Essex Police".into(), contact: "101".into() },
            clock: Arc::new(clock.clone()),
        };
        let parts = Parts {
            access: Access::new(ledger.clone(), Arc::new(clock.clone())),
            ledger: ledger.clone(),
            objects: objects.clone(),
            clock: Arc::new(clock.clone()),
            maker,
            outbox: folder.path().join("outbox"),
            receipts: Arc::new(ProofsOnly),
            devices: Arc::new(DevicesOf(ledger.clone())),
            small_copy: |item| NewJob {
                item,
                recipe_id: "small".to_owned(),
                kind: "proxy-small".to_owned(),
                recipe: "{}".to_owned(),
                asked: None,
            },
        };
        let service = Service::new(parts).unwrap();
        let devices = Router::new().fallback(|| async { (StatusCode::UNAUTHORIZED, "a device?") });
        let force = "Essex Police".to_owned();
        let pages = Pages { service: service.clone(), force, tls: true };
        let router =
            portal::api::routes(service.clone(), devices).merge(portal::pages::routes(pages));
        Self { folder, service, ledger, objects, clock, router, policy }
    }

    pub(crate) async fn link(&self, name: &str, number: &str, role: Role) -> (Person, Link) {
        self.service.access().add_user(name, number, role, "os-user:root").await.unwrap()
    }

    /// Somebody new, signed in.
    pub(crate) async fn person(&self, number: &str, role: Role) -> Signed {
        let (_, link) = self.link(&format!("Person {number}"), number, role).await;
        let signed = self.service.access().redeem(link.reveal(), "-").await.unwrap();
        Signed { token: signed.reveal().to_owned() }
    }

    pub(crate) async fn investigator(&self, number: &str) -> Signed {
        self.person(number, Role::Investigator).await
    }

    pub(crate) async fn store(&self, name: &str, bytes: &[u8]) -> StoredObject {
        let upload = UploadId::from_uuid(Uuid::now_v7());
        let mut writer = self.objects.begin(upload, name.parse().unwrap()).await.unwrap();
        let mut hasher = ContentHasher::new();
        writer.append_groups(&hasher.update(bytes)).await.unwrap();
        writer.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        let (digests, last) = hasher.finish();
        writer.append_groups(&[last]).await.unwrap();
        let sealed = writer.seal().await.unwrap();
        self.objects.complete(sealed, name.parse().unwrap(), digests.blake3).await.unwrap()
    }

    pub(crate) async fn receive(&self, name: &str, bytes: &[u8]) -> ItemId {
        self.receive_as(name, bytes, false).await
    }

    pub(crate) async fn receive_as(&self, name: &str, bytes: &[u8], restricted: bool) -> ItemId {
        let item = ItemId::from_uuid(Uuid::now_v7());
        let object = self.store(&format!("originals/{item}"), bytes).await;
        let command = self
            .made(EventKind::ItemReceived, item, bytes, &object)
            .field(field::STATE, "stored", salt())
            .field(field::DEVICE, "-", salt())
            .field(field::READ_BY, "console", salt())
            .field(field::CAMERA_SIGNATURE, "absent", salt())
            .field(field::CLOCK, "unchecked", salt())
            .field(field::COPIES, "1", salt())
            .field(field::RESTRICTED, restricted.to_string(), salt())
            .field(field::DISCLOSURE_STATUS, "unassessed", salt())
            .field(field::NAME, name, salt());
        self.ledger.submit(command).await.unwrap();
        item
    }

    pub(crate) async fn derive(&self, item: ItemId, kind: &str, bytes: &[u8]) {
        self.derive_with(item, kind, bytes, "{}", "{\"duration-us\":62000000}").await;
    }

    /// The same, with this said of how it was made and what it is.
    pub(crate) async fn derive_with(
        &self,
        item: ItemId,
        kind: &str,
        bytes: &[u8],
        recipe: &str,
        media: &str,
    ) {
        let object = self.store(&format!("derivatives/{item}/{kind}"), bytes).await;
        let command = self
            .made(EventKind::ItemDerived, item, bytes, &object)
            .field(field::KIND, kind, salt())
            .field(field::RECIPE, recipe, salt())
            .field(field::RECIPE_ID, Digests::of(kind.as_bytes()).sha256.to_string(), salt())
            .field(field::MEDIA, media, salt());
        self.ledger.submit(command).await.unwrap();
    }

    fn made(&self, kind: EventKind, item: ItemId, bytes: &[u8], object: &StoredObject) -> Command {
        let digests = Digests::of(bytes);
        Command::new(kind, EventId::from_uuid(Uuid::now_v7()))
            .touching(item)
            .field(field::SHA256, digests.sha256.to_string(), salt())
            .field(field::BLAKE3, digests.blake3.to_string(), salt())
            .field(field::SIZE_BYTES, bytes.len().to_string(), salt())
            .field(field::OBJECT, serde_json::to_string(object).unwrap(), salt())
            .field(field::BY, "os-user:root", salt())
    }

    /// Opens a case over the API.
    pub(crate) async fn case(&self, who: &Signed, reference: &str) -> String {
        let body = json!({"reference": reference, "title": "A case"});
        let reply = self.post(who, "/api/v1/cases", body).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        reply.json()["case"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn link_item(&self, who: &Signed, case: &str, item: ItemId) {
        let body = json!({"item": item.to_string(), "exhibit_reference": "JSM/1"});
        let reply = self.post(who, &format!("/api/v1/cases/{case}/items"), body).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    }

    pub(crate) async fn get(&self, who: &Signed, path: &str) -> Reply {
        self.ask(Method::GET, path, Some(&who.token), &[], None).await
    }

    /// With a fresh idempotency key.
    pub(crate) async fn post(&self, who: &Signed, path: &str, body: Value) -> Reply {
        let key = Uuid::new_v4().to_string();
        self.post_again(who, path, body, &key).await
    }

    pub(crate) async fn post_again(
        &self,
        who: &Signed,
        path: &str,
        body: Value,
        key: &str,
    ) -> Reply {
        let headers = [("idempotency-key", key)];
        self.ask(Method::POST, path, Some(&who.token), &headers, Some(body)).await
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let reply = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = reply.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// Entries of a kind, in the database, published or not.
    pub(crate) async fn entries(&self, kind: EventKind) -> Vec<EventRecord> {
        let records = self.ledger.records();
        let mut found = Vec::new();
        for index in 0..records.size().await.unwrap().0 {
            let event = records.event_at(LeafIndex(index)).await.unwrap().unwrap();
            if event.kind == kind.as_str() {
                found.push(event);
            }
        }
        found
    }

    /// What happened since the ledger had so many entries.
    pub(crate) async fn entries_behind(&self, size: u64) -> Vec<String> {
        let records = self.ledger.records();
        let mut kinds = Vec::new();
        for index in size..records.size().await.unwrap().0 {
            kinds.push(records.event_at(LeafIndex(index)).await.unwrap().unwrap().kind);
        }
        kinds
    }

    pub(crate) async fn count(&self, kind: EventKind) -> usize {
        self.entries(kind).await.len()
    }

    /// From now on no entry can be written, as on a disk that is full; reading goes on.
    pub(crate) async fn stop_writing(&self) {
        let text = "CREATE TRIGGER full BEFORE INSERT ON entries \
            BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END";
        sqlx::raw_sql(text).execute(self.ledger.records().pool()).await.unwrap();
    }

    pub(crate) async fn go_on_writing(&self) {
        sqlx::raw_sql("DROP TRIGGER full").execute(self.ledger.records().pool()).await.unwrap();
    }
}

pub(crate) fn salt() -> Salt {
    let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
    let mut salt = [0; 32];
    salt[..16].copy_from_slice(a.as_bytes());
    salt[16..].copy_from_slice(b.as_bytes());
    Salt(salt)
}

pub(crate) fn footage(bytes: usize) -> Vec<u8> {
    let mut state = bytes as u64 | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

//! A real server for tests of the dock agent: records, store, ledger and doors in a folder, on a port of this machine.
//!
//! It has a runtime of its own, so that it can be killed between any two of its steps and started again on the same
//! folder. Somebody may stand between its doors and the client and meddle.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use chain_of_custody::checkpoint::Origin;
use chain_of_custody::claim::ClockState;
use chain_of_custody::digest::Sha256;
use chain_of_custody::event::EventKind;
use chain_of_custody::ids::DeviceId;
use chain_of_custody::note::{Signer as _, SigningKey};
use chain_of_custody::policy::Policy;
use ingest::devices;
use ingest::limits::Limits;
use ingest::receive::{Parts, Receiver, Site as SiteFacts};
use storage::clock::SystemClock;
use storage::ledger::{AuditResult, Ledger, LedgerOptions};
use storage::objects::{Kek, ObjectStore};
use storage::records::{Records, Search};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

pub(crate) const ORIGIN: &str = "ledger.test";

/// What somebody between the doors and the agent does.
#[derive(Debug, Default)]
pub(crate) enum Meddling {
    #[default]
    Nothing,
    /// The next so many requests below a path are told to come back in a second.
    Busy(&'static str, AtomicU32),
    /// One bit of each body that carries a manifest is another.
    FlipsABit,
    /// Every receipt is this one.
    GivesReceipt(Vec<u8>),
    /// New uploads are said to be on another server.
    SendsElsewhere,
    /// The reply to the next so many finishing requests is lost.
    LosesReplies(AtomicU32),
}

/// The force's server on its folder.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    running: Option<Running>,
}

struct Running {
    runtime: Runtime,
    receiver: Receiver,
    address: SocketAddr,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_meddled_with(Meddling::Nothing).await
    }

    pub(crate) async fn start_meddled_with(meddling: Meddling) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let running = Some(open(folder.path(), meddling).await);
        Self { folder, running }
    }

    /// Ends every task where it stands.
    pub(crate) fn kill(&mut self) {
        let Running { runtime, receiver, .. } = self.running.take().unwrap();
        drop(receiver);
        runtime.shutdown_background();
    }

    /// Starts again on the same folder, on another port.
    pub(crate) async fn start_again(&mut self, meddling: Meddling) {
        self.running = Some(open(self.folder.path(), meddling).await);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running().address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) async fn enrol(&self) -> (DeviceId, String) {
        let enrolled = devices::enrol(self.receiver(), "dock-1", "os-user:test").await.unwrap();
        (enrolled.device, enrolled.token.reveal().to_owned())
    }

    pub(crate) fn receiver(&self) -> &Receiver {
        &self.running().receiver
    }

    /// The ledger audits clean, and these files, and no others, were received, each once.
    pub(crate) async fn holds_exactly(&self, contents: &[&[u8]]) {
        let audit = self.receiver().ledger().audit().await.unwrap();
        assert_eq!(audit.result, AuditResult::Match, "{audit:?}");
        let records = self.receiver().records();
        for bytes in contents {
            let items = records.items_by_sha256(Sha256::of(bytes)).await.unwrap();
            assert_eq!(items.len(), 1, "{} bytes", bytes.len());
            assert_eq!(items[0].state, "stored");
            let events = records.events_of(&items[0].item.into()).await.unwrap();
            let received =
                events.iter().filter(|e| e.kind == EventKind::ItemReceived.as_str()).count();
            assert_eq!(received, 1, "{} bytes", bytes.len());
        }
        let all = records.search(&Search { limit: 1000, ..Search::default() }).await.unwrap();
        assert_eq!(all.len(), contents.len());
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
    }
}

/// The policy that trusts the log of [`Site`], as a file.
pub(crate) fn policy_file(folder: &Path, seed: u8) -> PathBuf {
    let path = folder.join(format!("policy-{seed}"));
    std::fs::write(&path, policy(seed).as_bytes()).unwrap();
    path
}

fn policy(seed: u8) -> Policy {
    Policy::of_log(&SigningKey::from_seed(ORIGIN, [seed; 32]).unwrap().vkey()).unwrap()
}

async fn open(folder: &Path, meddling: Meddling) -> Running {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = folder.to_owned();
    let opened = runtime.spawn(async move {
        let receiver = open_receiver(&folder).await;
        receiver.recover().await.unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let meddle = from_fn_with_state(Arc::new(meddling), meddle);
        let app = ingest::doors::router(receiver.clone()).layer(meddle);
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (receiver, address)
    });
    let (receiver, address) = opened.await.unwrap();
    Running { runtime, receiver, address }
}

async fn open_receiver(folder: &Path) -> Receiver {
    let records = Records::sqlite(&folder.join("records.sqlite"), "test").await.unwrap();
    let kek = Kek::new(Zeroizing::new([5; 32]));
    let objects = ObjectStore::open(&folder.join("objects"), kek).unwrap();
    let clock = Arc::new(SystemClock);
    let options = LedgerOptions {
        rotations: Vec::new(),
        origin: Origin::new(ORIGIN).unwrap(),
        signer: Arc::new(SigningKey::from_seed(ORIGIN, [7; 32]).unwrap()),
        clock: clock.clone(),
    };
    let ledger = Ledger::open(records.clone(), objects.clone(), options).await.unwrap();
    Receiver::new(Parts {
        records,
        objects,
        ledger,
        clock,
        receipt_signer: Arc::new(SigningKey::from_seed("receipts.test", [8; 32]).unwrap()),
        policy: policy(7),
        site: SiteFacts { copies: 1, clock: ClockState::Unchecked },
        limits: Limits { free_space_kept_bytes: 0, ..Limits::default() },
    })
    .unwrap()
}

async fn meddle(State(how): State<Arc<Meddling>>, request: Request, next: Next) -> Response {
    let finishing = request.headers().contains_key("exhibit-manifest");
    let is_receipt = request.uri().path().ends_with("/receipt");
    match &*how {
        Meddling::Busy(below, left)
            if request.uri().path().starts_with(below) && take_one(left) =>
        {
            (axum::http::StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response()
        }
        Meddling::FlipsABit if finishing => next.run(with_a_bit_flipped(request).await).await,
        Meddling::GivesReceipt(receipt) if is_receipt => receipt.clone().into_response(),
        Meddling::SendsElsewhere => {
            let mut reply = next.run(request).await;
            if reply.headers().contains_key("location") {
                let elsewhere = "http://127.0.0.2:9/tus/1".parse().unwrap();
                reply.headers_mut().insert("location", elsewhere);
            }
            reply
        }
        Meddling::LosesReplies(left) if finishing => {
            let reply = next.run(request).await;
            if take_one(left) {
                return axum::http::StatusCode::BAD_GATEWAY.into_response();
            }
            reply
        }
        _ => next.run(request).await,
    }
}

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
}

async fn with_a_bit_flipped(request: Request) -> Request {
    let (parts, body) = request.into_parts();
    let mut bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    bytes[0] ^= 1;
    Request::from_parts(parts, Body::from(bytes))
}

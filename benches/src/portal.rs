//! What a page of items and an item's page cost the server with many items: the API's own router, asked in this process,
//! so that no network is in it. The floor is one durable commit and one row read: no page that is recorded is quicker.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use chain_of_custody::command::Command;
use chain_of_custody::digest::Digests;
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, access, field};
use chain_of_custody::ids::{CaseId, DeviceId, EventId, ItemId};
use chain_of_custody::note::{Signer as _, SigningKey};
use chain_of_custody::policy::Policy;
use futures_util::future::{BoxFuture, try_join_all};
use portal::access::{Access, Role};
use portal::bundle::{Force, Maker};
use portal::service::{DeviceError, Devices, Enrolled, Parts, Receipts, Service, Statement};
use storage::clock::SystemClock;
use storage::ledger::{Ledger, LedgerOptions, Placed};
use storage::objects::{Kek, ObjectStore};
use storage::records::Records;
use tower::ServiceExt as _;

const ORIGIN: &str = "ledger.bench";
const IN_FLIGHT: usize = 1_024;
/// Every second item is in one of so many cases; whoever asks works on every tenth of them.
const CASES: usize = 500;
const ASKED: usize = 200;
const AIM_MS: f64 = 50.0;

/// No receipts are asked for here.
struct NoReceipts;

impl Receipts for NoReceipts {
    fn statement(&self, _: &Placed, _: Statement) -> Result<String, String> {
        Err("not measured".to_owned())
    }
}

struct NoDevices;

impl Devices for NoDevices {
    fn enrol<'a>(
        &'a self,
        _: EventId,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Enrolled, DeviceError>> {
        Box::pin(async { Err(DeviceError::NotFound) })
    }

    fn rotate<'a>(
        &'a self,
        _: EventId,
        _: DeviceId,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Enrolled, DeviceError>> {
        Box::pin(async { Err(DeviceError::NotFound) })
    }

    fn revoke<'a>(&'a self, _: DeviceId, _: &'a str) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(async { Err(DeviceError::NotFound) })
    }
}

/// A house with many items, and somebody in it.
struct House {
    ledger: Ledger,
    router: Router,
    token: String,
    items: Vec<ItemId>,
}

/// Fills a ledger with `count` items, then asks for lists, searches and items; prints the 95th percentiles.
pub(crate) fn run(scratch: &Path, count: usize) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = tempfile::tempdir_in(scratch)?;
    runtime.block_on(async {
        let house = House::open(folder.path(), count).await?;
        println!(
            "\nPortal (cargo run --release -p benches -- portal --items {count}; p95 of {ASKED})"
        );
        let floor = percentile(house.floor().await?);
        println!("floor: one entry committed              {floor:>9.2} ms");
        let list = |n: usize| format!("/api/v1/items?after={}", house.position(n));
        house.measure("list of 50 items", floor, list).await?;
        house
            .measure("search that finds many", floor, |_| "/api/v1/items?text=video".into())
            .await?;
        house
            .measure("search that finds one", floor, |n| {
                format!("/api/v1/items?text=video_{:06}", house.position(n))
            })
            .await?;
        house
            .measure("search that finds none", floor, |n| format!("/api/v1/items?text=none{n}"))
            .await?;
        house.measure("item", floor, |n| format!("/api/v1/items/{}", house.item(n))).await?;
        house.measure("item again", floor, |n| format!("/api/v1/items/{}", house.item(n))).await?;
        house.ledger.close().await;
        Ok(())
    })
}

impl House {
    async fn open(folder: &Path, count: usize) -> Result<Self> {
        let signer = SigningKey::from_seed(ORIGIN, [1; 32])?;
        let policy = Policy::of_log(&signer.vkey())?;
        let options = LedgerOptions {
            rotations: Vec::new(),
            origin: ORIGIN.parse()?,
            signer: Arc::new(signer),
            clock: Arc::new(SystemClock),
        };
        let objects = ObjectStore::open(&folder.join("objects"), Kek::new([1; 32].into()))?;
        let records = Records::sqlite(&folder.join("records.sqlite"), ORIGIN).await?;
        let ledger = Ledger::open(records, objects.clone(), options).await?;
        let access = Access::new(ledger.clone(), Arc::new(SystemClock));
        let maker = Maker {
            ledger: ledger.clone(),
            objects: objects.clone(),
            bundle_key: Arc::new(SigningKey::from_seed("bundle.bench", [2; 32])?),
            policy,
            force: Force { name: "Bench".into(), contact: "-".into() },
            clock: Arc::new(SystemClock),
        };
        let parts = Parts {
            access: access.clone(),
            ledger: ledger.clone(),
            objects,
            clock: Arc::new(SystemClock),
            maker,
            outbox: folder.join("outbox"),
            receipts: Arc::new(NoReceipts),
            devices: Arc::new(NoDevices),
            small_copy: transcode::jobs::small_copy,
        };
        let router = portal::api::routes(Service::new(parts)?, Router::new());
        let (person, link) = access.add_user("Bench", "1", Role::Investigator, "-").await?;
        let token = access.redeem(link.reveal(), "-").await?.reveal().to_owned();
        let house = Self { ledger, router, token, items: (0..count).map(|_| id()).collect() };
        house.fill(&person.user.to_string()).await?;
        Ok(house)
    }

    async fn fill(&self, user: &str) -> Result<()> {
        let cases: Vec<CaseId> =
            (0..CASES).map(|_| CaseId::from_uuid(uuid::Uuid::now_v7())).collect();
        let opened = cases.iter().enumerate().map(|(n, case)| {
            let case = Command::new(EventKind::CaseOpened, event()).touching(*case);
            let member = if n % 10 == 0 { user } else { "" };
            case.field(field::TITLE, "A case", salt()).field(field::USER, member, salt())
        });
        self.submit(opened.collect()).await?;
        for (chunk, items) in self.items.chunks(IN_FLIGHT / 4).enumerate() {
            let from = chunk * (IN_FLIGHT / 4);
            self.submit(
                items.iter().enumerate().map(|(n, item)| received(from + n, *item)).collect(),
            )
            .await?;
            let made = items
                .iter()
                .flat_map(|item| ["probe", "proxy", "poster"].map(|k| derived(*item, k)));
            self.submit(made.collect()).await?;
            let linked = items.iter().enumerate().filter(|(n, _)| n % 2 == 1).map(|(n, item)| {
                let case = cases[(from + n) / 2 % CASES];
                Command::new(EventKind::ItemLinked, event()).touching(*item).touching(case)
            });
            self.submit(linked.collect()).await?;
        }
        Ok(())
    }

    async fn submit(&self, commands: Vec<Command>) -> Result<()> {
        try_join_all(commands.into_iter().map(|command| self.ledger.submit(command))).await?;
        Ok(())
    }

    /// One entry, committed in the database.
    async fn floor(&self) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(ASKED);
        for _ in 0..ASKED {
            let command = Command::new(EventKind::ListViewed, event()).field(
                field::REASON_CODE,
                access::SIGNED_IN,
                salt(),
            );
            let begun = Instant::now();
            self.ledger.record(command).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    }

    /// Positions and items all over the ledger, always the same ones.
    fn position(&self, n: usize) -> usize {
        n * 7_919 % self.items.len()
    }

    fn item(&self, n: usize) -> ItemId {
        // Even ones are in no case, so that whoever asks may see them.
        self.items[self.position(n) / 2 * 2]
    }

    async fn measure(&self, what: &str, floor: f64, path: impl Fn(usize) -> String) -> Result<()> {
        let mut times = Vec::with_capacity(ASKED);
        for n in 0..ASKED {
            let asked =
                Request::get(path(n)).header("authorization", format!("Bearer {}", self.token));
            let asked = asked.body(Body::empty())?;
            let begun = Instant::now();
            let reply = self.router.clone().oneshot(asked).await.context("it never fails")?;
            let status = reply.status();
            axum::body::to_bytes(reply.into_body(), usize::MAX).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            ensure!(status == 200, "{} answered {status}", path(n));
        }
        let p95 = percentile(times);
        println!("{what:<38}  {p95:>9.2} ms  {:>6.1} floors (aim ≤ {AIM_MS} ms)", p95 / floor);
        Ok(())
    }
}

fn received(n: usize, item: ItemId) -> Command {
    let digests = Digests::of(&n.to_le_bytes());
    Command::new(EventKind::ItemReceived, event())
        .touching(item)
        .field(field::STATE, "stored", salt())
        .field(field::NAME, format!("Video_{n:06}.mp4"), salt())
        .field(field::SIZE_BYTES, "734003200", salt())
        .field(field::SHA256, digests.sha256.to_string(), salt())
        .field(field::BLAKE3, digests.blake3.to_string(), salt())
        .field(field::OBJECT, "{}", salt())
        .field(field::CAMERA, format!("CAM-{}", n % 200), salt())
        .field(field::BY, "the dock", salt())
}

fn derived(item: ItemId, kind: &str) -> Command {
    let digests = Digests::of(kind.as_bytes());
    Command::new(EventKind::ItemDerived, event())
        .touching(item)
        .field(field::KIND, kind, salt())
        .field(field::RECIPE_ID, digests.sha256.to_string(), salt())
        .field(field::RECIPE, "{}", salt())
        .field(field::SIZE_BYTES, "12", salt())
        .field(field::SHA256, digests.sha256.to_string(), salt())
        .field(field::BLAKE3, digests.blake3.to_string(), salt())
        .field(field::OBJECT, "{}", salt())
        .field(field::MEDIA, "{\"duration-us\":62000000}", salt())
}

fn id() -> ItemId {
    ItemId::from_uuid(uuid::Uuid::now_v7())
}

fn event() -> EventId {
    EventId::from_uuid(uuid::Uuid::now_v7())
}

fn salt() -> Salt {
    Salt(rand::random())
}

/// The 95th percentile.
fn percentile(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() * 95 / 100]
}

//! An opened data folder: keys, records, objects, ledger and the way in, wired together.
//!
//! The invariant to keep: it exists only in the process that holds the folder's lock.

pub(crate) mod alone;
mod answers;
mod bundles;
mod derive;
pub(crate) mod escrow;
mod holds;
pub(crate) mod keep;
pub(crate) mod keys;
mod log_witnesses;
pub(crate) mod objects;
pub(crate) mod open;
mod people;
pub(crate) mod portal;
mod reading;
mod reproduce;
pub(crate) mod rotation;
mod scrub;
mod settings;
mod stamps;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::portal::bundle::Maker;
use ::portal::pages::Pages;
use ::portal::service::Service;
use axum::Router;
use chain_of_custody::ids::{DeviceId, TreeSize};
use chain_of_custody::policy::Policy;
use ingest::receive::{Claims, Receiver, Source};
use serde_json::{Value, json};
use storage::clock::Clock;
use storage::ledger::Ledger;
use storage::objects::ObjectStore;
use storage::records::Records;
use transcode::jobs::{JobOptions, Jobs};
use transcode::supervise::{Allowance, Supervisor};

use self::keys::RoleKeys;
pub(crate) use self::log_witnesses::Recovery;
use self::open::failed;
pub(crate) use self::rotation::Asked as Rotate;
use crate::config::{Config, SMALL_COPY_ALWAYS};
use crate::control::{Actor, DataLock, Failure, ProgressSender, Request};
use crate::http::Readiness;

/// An opened data folder. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    parts: Arc<Parts>,
}

struct Parts {
    config: Config,
    clock: Arc<dyn Clock>,
    keys: RoleKeys,
    policy: Policy,
    records: Records,
    objects: ObjectStore,
    ledger: Ledger,
    receiver: Receiver,
    maker: Maker,
    service: Service,
    /// The data folder.
    data: PathBuf,
    /// `exhibit.toml` as it was when this began, for backups.
    settings: String,
    /// Held while a scrub runs.
    scrubbing: tokio::sync::Mutex<()>,
    _lock: DataLock,
}

impl App {
    /// Every route of the server.
    pub(crate) fn routes(&self, readiness: Readiness) -> Router {
        let public = ::portal::public::Public {
            ledger: self.parts.ledger.clone(),
            ready: Arc::new(move || readiness.is_ready()),
        };
        let (ways_in, receipts) = ingest::doors::apart(self.parts.receiver.clone());
        ::portal::public::routes(public)
            .merge(ways_in)
            .merge(::portal::api::routes(self.parts.service.clone(), receipts))
            .merge(::portal::pages::routes(self.pages()))
            .merge(self.metrics())
    }

    fn pages(&self) -> Pages {
        let Config { force, server, .. } = &self.parts.config;
        let service = self.parts.service.clone();
        Pages { service, force: force.name.clone(), tls: server.behind_proxy }
    }

    /// Resolves when the ledger can write no more in this process.
    pub(crate) async fn ledger_stopped(&self) {
        self.parts.ledger.stopped().await;
    }

    /// Why the ledger can write no more, if so.
    pub(crate) fn ledger_stop_reason(&self) -> Option<String> {
        self.parts.ledger.stop_reason()
    }

    /// Ends uploads that nobody touches, from time to time, until the app is closed.
    pub(crate) fn start_sweeping(&self) {
        self.parts.receiver.run_sweeper();
    }

    /// Has the store's locks follow links and holds, until the app is closed.
    pub(crate) fn start_locking(&self) {
        let Parts { ledger, objects, config, .. } = &*self.parts;
        if config.storage.is_s3() && config.storage.lock_days > 0 {
            let linked_s = i64::from(config.storage.linked_lock_days) * 24 * 3600;
            tokio::spawn(storage::locks::follow(ledger.clone(), objects.clone(), linked_s));
        }
    }

    /// Workers, confined as is configured.
    fn supervisor(&self) -> Result<Supervisor, Failure> {
        let located = Supervisor::locate(Allowance::default()).map_err(|e| {
            failed("transcode", &e)
                .advice("install exhibit-transcode beside exhibit, or name it in EXHIBIT_TRANSCODE")
        });
        Ok(located?.without(self.parts.config.transcode.walls()))
    }

    /// Makes derivatives of what the ledger says was received, until the handle is stopped.
    pub(crate) async fn start_derivatives(&self) -> Result<Jobs, Failure> {
        let supervisor = self.supervisor()?;
        let config = &self.parts.config;
        let free_space_kept_bytes = config.limits.free_bytes;
        let mut options = JobOptions { free_space_kept_bytes, ..JobOptions::default() };
        options.small_copies = config.transcode.small_copy == SMALL_COPY_ALWAYS;
        if config.transcode.jobs > 0 {
            options.parallel = config.transcode.jobs as usize;
        }
        let Parts { ledger, objects, clock, .. } = &*self.parts;
        Jobs::start(ledger.clone(), objects.clone(), supervisor, Arc::clone(clock), options)
            .await
            .map_err(|e| failed("transcode", &e))
    }

    /// Carries out what somebody at this machine asked for.
    pub(crate) async fn handle(
        &self,
        request: Request,
        actor: Actor,
        progress: ProgressSender,
    ) -> Result<Value, Failure> {
        match request {
            Request::DeviceEnrol { name } => self.enrol(&name, &actor).await,
            Request::DeviceList => self.devices().await,
            Request::DeviceRevoke { device } => self.revoke(&device, &actor).await,
            Request::Ingest { path, name, restricted } => {
                self.ingest(&path, name, restricted, &actor, progress).await
            }
            Request::Show { item } => self.show(&item).await,
            Request::Derive(asked) => self.derive(asked, &actor, progress).await,
            Request::Cancel { item } => self.cancel(&item, &actor).await,
            Request::Reproduce { item, kind } => self.reproduce(&item, kind.as_deref()).await,
            Request::Search { text, device, limit, after } => {
                self.search(text, device, limit, after).await
            }
            Request::BundleCreate(bundle) => self.create_bundle(bundle, &actor).await,
            Request::LedgerCheckpoint => Ok(log_witnesses::checkpoint(&self.parts.ledger)),
            Request::LedgerAudit => self.audit().await,
            Request::LedgerStamp => self.stamp(actor.as_str()).await,
            Request::LedgerExport { output } => self.export(&output).await,
            Request::LedgerProve { index } => self.prove(index).await,
            Request::KeysPublish => Ok(self.published_policy()),
            Request::People(request) => self.people(request, &actor).await,
            Request::Keeping(request) => self.keeping(request, &actor).await,
            Request::Live => Ok(serde_json::to_value(self.live()).expect("it is plain data")),
            Request::Backup { to, read_again, anew } => {
                self.backup(&to, read_again, anew, progress).await
            }
            Request::BackupRead { folder, entries, faults } => {
                self.note_backup(&folder, TreeSize(entries), faults, true).await
            }
            Request::Scrub(asked) => self.scrub(&actor, &asked, progress).await,
        }
    }

    async fn enrol(&self, name: &str, actor: &Actor) -> Result<Value, Failure> {
        let enrolled = self.parts.service.console(actor.as_str()).enrol_device(name).await;
        let enrolled = enrolled.map_err(|e| failed("device", &e))?;
        Ok(json!({"device": enrolled.device.to_string(), "token": enrolled.token}))
    }

    async fn devices(&self) -> Result<Value, Failure> {
        let devices = self.parts.records.devices().await.map_err(|e| failed("records", &e))?;
        Ok(json!({"devices": devices.iter().map(answers::device).collect::<Vec<_>>()}))
    }

    async fn revoke(&self, device: &str, actor: &Actor) -> Result<Value, Failure> {
        let device: DeviceId = device.parse().map_err(|e| failed("usage", &e))?;
        let revoked = ingest::devices::revoke(&self.parts.receiver, device, actor.as_str()).await;
        revoked.map_err(|e| failed("device", &e))?;
        Ok(json!({"device": device.to_string(), "state": "revoked"}))
    }

    async fn ingest(
        &self,
        path: &Path,
        name: Option<String>,
        restricted: bool,
        actor: &Actor,
        progress: ProgressSender,
    ) -> Result<Value, Failure> {
        let (reader, own_name) = reading::open(path, progress).await?;
        let name = Some(name.unwrap_or(own_name));
        let claims = Claims { name, restricted, ..Claims::default() };
        let source = Source::workstation(actor.name());
        let received = self.parts.receiver.receive_stream(&source, claims, reader).await;
        let received = received.map_err(|e| failed("ingest", &e))?;
        let mut answer = self.show(&received.ending.item.to_string()).await?;
        answer["new"] = json!(received.is_new());
        Ok(answer)
    }

    async fn audit(&self) -> Result<Value, Failure> {
        let audit = self.parts.ledger.audit().await.map_err(|e| failed("ledger", &e))?;
        Ok(answers::audit(&audit))
    }

    async fn export(&self, output: &Path) -> Result<Value, Failure> {
        if !self.parts.config.ledger.timestamp_authorities.is_empty()
            && let Err(failure) = self.stamp("exhibit").await
        {
            // An authority that is away holds no export back; the stamps there are go along.
            tracing::error!("the checkpoint was not time-stamped: {}", failure.message);
        }
        self.export_stamps(output).await?;
        let size = self.parts.ledger.export(output).await.map_err(|e| failed("ledger", &e))?;
        Ok(json!({"size": size.0, "output": output.display().to_string()}))
    }

    async fn prove(&self, index: u64) -> Result<Value, Failure> {
        let index = chain_of_custody::ids::LeafIndex(index);
        let placed = self.parts.ledger.placed(index).await.map_err(|e| failed("ledger", &e))?;
        let receipt = placed.receipt().map_err(|e| failed("ledger", &e))?;
        Ok(json!({"leaf_index": index.0, "proof": receipt.to_string()}))
    }

    /// The log's verifier key.
    pub(crate) fn log_key(&self) -> String {
        self.parts.keys.log.vkey().to_string()
    }

    /// The policy that readers trust, and its fingerprint.
    pub(crate) fn published_policy(&self) -> Value {
        let policy = &self.parts.policy;
        json!({
            "policy": String::from_utf8_lossy(policy.as_bytes()),
            "fingerprint": policy.fingerprint().to_string(),
        })
    }
}

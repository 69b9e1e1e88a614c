//! Opening a data folder: keys, store, records, ledger with its recovery, then the way in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chain_of_custody::checkpoint::Origin;
use chain_of_custody::claim::ClockState;
use chain_of_custody::command::Command;
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{EventId, SubjectId, SubjectKind};
use chain_of_custody::note::VerifierKey;
use chain_of_custody::policy::Policy;
use chain_of_custody::rotation::KeyRole;
use ingest::limits::Limits;
use ingest::receive::{self, Receiver, Site};
use portal::bundle::Maker;
use storage::clock::{Clock, SystemClock};
use storage::ledger::{Ledger, LedgerOptions};
use storage::records::Records;

use super::keys::{RoleKeys, SharedSigner, keys_setting};
use super::log_witnesses::{self, Recovery};
use super::{App, Parts, objects, rotation, settings};
use crate::config::{self, Config, WITHOUT_WALLS};
use crate::control::{DataLock, Failure};
use crate::keeping::restored::Restored;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl App {
    /// Opens what `lock` stands for, finishing first what a crash left unfinished.
    pub(crate) async fn open(
        data: &Path,
        config: &Config,
        lock: DataLock,
    ) -> Result<Self, Failure> {
        Self::open_recovering(data, config, lock, None).await
    }

    /// The same for a person who says that a larger ledger is known outside.
    pub(crate) async fn open_recovering(
        data: &Path,
        config: &Config,
        lock: DataLock,
        recovery: Option<&Recovery>,
    ) -> Result<Self, Failure> {
        if let Some(restored) = Restored::read(data)? {
            let confirmed = recovery.is_some_and(|recovery| recovery.known.0 >= restored.entries);
            confirmed.then_some(()).ok_or_else(|| restored.refusal())?;
        }
        let origin = origin(&config.force.ledger)?;
        let key_folder = data.join("keys");
        let mut keys = RoleKeys::open(&key_folder, &config.keys, &origin)?;
        let records = open_records(data, &config.storage, &origin).await?;
        if rotation::settle(&key_folder, config, origin.as_str(), &records).await? {
            keys = RoleKeys::open(&key_folder, &config.keys, &origin)?;
        }
        if keys.unencrypted {
            tracing::warn!(
                "the keys lie unencrypted on this disk: set keys.passphrase_file or keys.passphrase_credential"
            );
        }
        let (objects, without) = objects::open(data, &config.storage, keys.kek.clone()).await?;
        let rotations = rotation::kept(&key_folder)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let options = LedgerOptions {
            origin: origin.clone(),
            signer: Arc::clone(&keys.log),
            rotations: rotations.iter().map(|(rotation, _)| rotation.clone()).collect(),
            clock: Arc::clone(&clock),
        };
        let (witnesses, witness_keys) = log_witnesses::configured(&config.ledger, recovery)?;
        let ledger = Ledger::open_witnessed(records.clone(), objects.clone(), options, witnesses)
            .await
            .map_err(|e| log_witnesses::not_opened(&e))?;
        rotation::enter_missing(&ledger, &rotations, &keys).await?;
        publish_keys(&ledger, &keys).await?;
        settings::record(&ledger, objects::WITHOUT, &without).await?;
        settings::record(&ledger, WITHOUT_WALLS, &config.transcode.without).await?;
        let taken_up = transcode::jobs::take_up(&records, &*clock).await;
        taken_up.map_err(|e| failed("records", &e))?;
        storage::failpoint::hit("rotation.published");
        let quorum = config.ledger.quorum as usize;
        let policy = Policy::of_force(&keys.log.vkey(), &witness_keys, quorum)
            .map_err(|e| failed("policy", &e))?;
        let receiver = Receiver::new(receive::Parts {
            records: records.clone(),
            objects: objects.clone(),
            ledger: ledger.clone(),
            clock: Arc::clone(&clock),
            receipt_signer: Arc::clone(&keys.receipt),
            policy: policy.clone(),
            site: Site { copies: config.storage.copies.into(), clock: ClockState::Unchecked },
            limits: limits(&config.limits),
        })
        .map_err(|e| failed("ingest", &e))?;
        let swept = receiver.recover().await.map_err(|e| failed("ingest", &e))?;
        tracing::info!(?swept, "recovered");
        let maker = Maker {
            ledger: ledger.clone(),
            objects: objects.clone(),
            bundle_key: Arc::clone(&keys.bundle),
            policy: policy.clone(),
            force: portal::bundle::Force {
                name: config.force.name.clone(),
                contact: config.force.contact.clone(),
            },
            clock: Arc::clone(&clock),
        };
        let service = super::portal::open(data, &receiver, &maker)?;
        let parts = Parts {
            config: config.clone(),
            clock,
            keys,
            policy,
            records,
            objects,
            ledger,
            receiver,
            maker,
            service,
            data: data.to_owned(),
            settings: std::fs::read_to_string(data.join(config::FILE_NAME)).unwrap_or_default(),
            scrubbing: tokio::sync::Mutex::new(()),
            _lock: lock,
        };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// Ends what is under way; what was acknowledged is durable already.
    pub(crate) async fn close(&self) {
        self.parts.receiver.stop().await;
        self.parts.service.access().flush_refusals().await;
        self.parts.ledger.close().await;
        self.parts.records.close().await;
    }
}

pub(crate) fn origin(text: &str) -> Result<Origin, Failure> {
    Origin::new(text).map_err(|e| {
        Failure::new("configuration", format!("setting force.ledger: {e}"))
            .advice("for example: ledger.essex.example")
    })
}

pub(crate) async fn open_records(
    data: &Path,
    config: &config::Storage,
    origin: &Origin,
) -> Result<Records, Failure> {
    let records = match config.database.as_str() {
        "" => Records::sqlite(&data.join("records.sqlite"), origin.as_str()).await,
        url => Records::connect(url, origin.as_str()).await,
    };
    records.map_err(|e| failed("records", &e))
}

fn limits(config: &config::Limits) -> Limits {
    Limits {
        item_size_bytes: config.item_bytes,
        open_uploads_per_device: config.open_uploads_per_device.into(),
        open_uploads: config.open_uploads.into(),
        free_space_kept_bytes: config.free_bytes,
        upload_ttl: DAY * config.upload_days,
        ..Limits::default()
    }
}

/// The receipt key is trusted only once it is published, and a log key that took another's place signs its first
/// checkpoint over its own; the bundle key comes with the first bundle. That keys lie in plain text is said at the same
/// time as the first receipt key.
async fn publish_keys(ledger: &Ledger, keys: &RoleKeys) -> Result<(), Failure> {
    let published = ledger.records().published_keys().await.map_err(|e| failed("records", &e))?;
    for (role, signer) in [(KeyRole::Log, &keys.log), (KeyRole::Receipt, &keys.receipt)] {
        let vkey = signer.vkey().to_string();
        if published.iter().any(|key| key.vkey == vkey) {
            continue;
        }
        let is_first = !published.iter().any(|key| key.role == role.as_str());
        if keys.unencrypted && is_first {
            submit(ledger, keys_unencrypted(signer)).await?;
        }
        submit(ledger, key_published(role, signer)).await?;
    }
    Ok(())
}

async fn submit(ledger: &Ledger, command: Command) -> Result<(), Failure> {
    ledger.submit(command).await.map(drop).map_err(|e| failed("ledger", &e))
}

fn key_published(role: KeyRole, signer: &SharedSigner) -> Command {
    Command::new(EventKind::KeyPublished, new_event())
        .touching(key_subject(&signer.vkey()))
        .public("role", role.as_str())
        .public("key", signer.vkey().to_string())
        .field(field::BY, "exhibit", random_salt())
}

fn keys_unencrypted(signer: &SharedSigner) -> Command {
    keys_setting(EventKind::ConfigurationLowered, signer)
        .field(field::REASON_CODE, "no-passphrase-configured", random_salt())
        .field(field::BY, "exhibit", random_salt())
}

/// A key as a subject: the hexadecimal key id of its verifier key.
pub(super) fn key_subject(key: &VerifierKey) -> SubjectId {
    SubjectId::new(SubjectKind::Key, &key.id().to_string()).expect("a key id is hexadecimal")
}

pub(super) fn new_event() -> EventId {
    EventId::from_uuid(uuid::Uuid::now_v7())
}

pub(super) fn random_salt() -> Salt {
    Salt(rand::random())
}

/// An error of a room, as a person reads it.
pub(crate) fn failed(room: &str, error: &dyn std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    Failure::new(room, text)
}

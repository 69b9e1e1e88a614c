//! A log witness: a process of its own, for somebody outside the force, that cosigns only one history of a ledger.
//!
//! What lives here: its store, its two routes, its start. What does not: any decision
//! (`chain_of_custody::log_witness`), and the ledger that asks it (`app`, `storage::ledger`).
//!
//! The one invariant to keep: what was cosigned last is durable in the store before the cosignature leaves, in one step
//! with the decision; a store that cannot be written ends the process.

mod doors;
mod store;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::log_witness::{AddCheckpoint, Refused, decide};
use chain_of_custody::note::{KeyType, SignatureLine, Signer as _, SigningKey, VerifierKey};
use storage::clock::{Clock, SystemClock};
use storage::keys::Protection;

pub(crate) use store::RefusedRequest;

use crate::config;
use crate::control::Failure;
use crate::{http, terminal};
use store::Store;

/// Logs that one log witness may watch.
const MAX_LOGS: usize = 1_024;
/// How long a stop waits for requests that are under way.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What a log witness is started with.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) store: PathBuf,
    /// Its name, at the first start; later starts may repeat it.
    pub(crate) name: Option<String>,
    pub(crate) protection: Protection,
    /// The keys of the logs that it watches; each key's name is its ledger's origin.
    pub(crate) logs: Vec<VerifierKey>,
    pub(crate) listen: String,
    pub(crate) behind_proxy: bool,
}

/// The key, the store and whom it watches.
pub(crate) struct LogWitness {
    key: SigningKey,
    logs: Vec<VerifierKey>,
    store: Mutex<Store>,
    clock: Arc<dyn Clock>,
}

/// What became of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotCosigned {
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store failed: whether the checkpoint is kept is not known, so nothing may be cosigned any more.
    #[error("the store cannot be written: {0}")]
    Store(#[from] std::io::Error),
    #[error("the key cannot sign: {0}")]
    Key(#[from] chain_of_custody::note::NoteError),
}

impl LogWitness {
    /// Opens the store, making key and store at the first start.
    pub(crate) fn open(options: &Options) -> Result<Self, Failure> {
        let logs = check_logs(&options.logs)?;
        let (store, key) =
            Store::open(&options.store, options.name.as_deref(), &options.protection)?;
        Ok(Self { key, logs, store: Mutex::new(store), clock: Arc::new(SystemClock) })
    }

    pub(crate) fn vkey(&self) -> VerifierKey {
        self.key.vkey()
    }

    /// Decides about a request and keeps what it cosigns. One at a time: check and store are one step.
    pub(crate) fn add_checkpoint(&self, body: &[u8]) -> Result<SignatureLine, NotCosigned> {
        let request = AddCheckpoint::parse(body).map_err(Refused::from)?;
        let origin = &request.checkpoint.unverified().origin;
        let of_origin = |key: &&VerifierKey| key.name().as_str() == origin.as_str();
        let trusted: Vec<VerifierKey> = self.logs.iter().filter(of_origin).cloned().collect();
        let mut store = self.store.lock().expect("nothing panics while it holds the store");
        store.check()?;
        let held = store.held(origin);
        let now_unix_s = self.clock.now().unix_millis().max(0).unsigned_abs() / 1000;
        if let Err(refused) = decide(&request, &trusted, held.map(SignedCheckpoint::unverified)) {
            if refused.is_evidence() {
                tracing::error!(%origin, "refused, and kept as evidence: {refused}");
                store.keep_refused(now_unix_s, body, origin)?;
            }
            return Err(refused.into());
        }
        let mut cosigned = request.checkpoint.bare();
        let line = cosigned.cosign(&self.key, now_unix_s)?;
        cosigned.set_cosignature(line.clone()).map_err(Refused::from)?;
        store.keep(cosigned)?;
        Ok(line)
    }

    /// The checkpoint cosigned last, by the SHA-256 of its origin in hexadecimal.
    fn latest(&self, origin_sha256: &str) -> Option<String> {
        let store = self.store.lock().expect("nothing panics while it holds the store");
        store.held_by_digest(origin_sha256).map(ToString::to_string)
    }
}

/// The requests that a log witness refused as evidence, oldest first; also while it runs.
pub(crate) fn refused(folder: &std::path::Path) -> Result<Vec<RefusedRequest>, Failure> {
    store::refused(folder)
}

/// Runs until SIGTERM or SIGINT, or until the store cannot be written.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let address = config::Server {
        listen: options.listen.clone(),
        behind_proxy: options.behind_proxy,
        ..config::Server::default()
    };
    let witness = Arc::new(LogWitness::open(&options)?);
    let listener = http::bind(&address).await?;
    let local = listener.local_addr().map_err(|e| Failure::new("listen-address", e.to_string()))?;
    let (routes, broken) = doors::routes(Arc::clone(&witness));
    let url = format!("http://{local}");
    let _announced = store::Announced::write(&options.store, &url)?;
    terminal::line(&format!("log witness {}", witness.vkey()));
    terminal::note(&format!("listening on {url}"));
    let stop = async {
        tokio::select! {
            () = http::asked_to_stop() => {}
            () = broken.cancelled() => {}
        }
    };
    http::serve(listener, http::with_common_layers(routes), stop, STOP_PATIENCE).await;
    if broken.is_cancelled() {
        return Err(Failure::new("log-witness", "the store could not be written: see the log")
            .advice("nothing was cosigned that is not kept; make room, then start it again"));
    }
    Ok(())
}

fn check_logs(logs: &[VerifierKey]) -> Result<Vec<VerifierKey>, Failure> {
    if logs.len() > MAX_LOGS {
        return Err(Failure::new("usage", format!("more than {MAX_LOGS} logs")));
    }
    match logs.iter().find(|key| key.key_type() != KeyType::Ed25519) {
        Some(key) => Err(Failure::new("usage", format!("{key} is not the key of a log"))
            .advice("`exhibit keys publish` on the ledger's machine prints it after the word log")),
        None => Ok(logs.to_vec()),
    }
}

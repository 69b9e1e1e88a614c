//! The dock agent: reads clips from a camera's storage, sends them through the tus door, and answers "can I go?".
//!
//! What lives here: reading each clip once while hashing ([`push`] and `upload`), the journal and key that survive
//! any crash (`journal`, `state`), the tus client (`server`), when to try again (`retry`), the check of every receipt
//! (`check`), and the words at the end (`report`). What does not: drawing (an [`Observer`] is told), deciding what is
//! evidence, deleting. Nothing on the camera's side is ever written or removed.
//!
//! The one invariant to keep (I7): a clip is called safe only when a receipt, verified here against the pinned policy
//! and our own digests, is on this machine's disk, and the file is still what was read.

pub mod breaking_line;
mod check;
mod config;
mod durable;
mod error;
mod journal;
mod observe;
mod reading;
mod report;
pub mod retry;
mod server;
mod state;
mod tls;
mod upload;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use chain_of_custody::ids::DeviceId;
use chain_of_custody::note::Signer as _;
use chain_of_custody::policy::Policy;
use chain_of_custody::rotation::{MAX_ROTATIONS, Rotation, Succession};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::OnceCell;

use journal::{Journal, Record};
use retry::{Next, Retry, Trouble};
use server::Server;
use state::StateFolder;

pub use check::{Expected, Proven, Unproven, check_receipt};
pub use config::{
    IDLE, MAX_FILES, MAX_UPLOADS_AT_ONCE, PATIENCE, PlainHttp, PushConfig, Source, Token,
    UPLOADS_AT_ONCE,
};
pub use error::AgentError;
pub use journal::Claims;
pub use observe::{ClipEvent, Notice, Observer};
pub use report::{ClipReport, Counts, Problem, PushReport, Safe, Standing};
pub use tls::choose_tls;

/// Where a server shows its policy file, and below which it shows the notes of log keys that were replaced.
const POLICY: &str = "/api/v1/policy";
const ROTATIONS: &str = "/ledger/rotation";

/// Brings in `files`, several at once, and reports how each stands. A file given twice counts once.
///
/// Dropping the future stops at once; the next push goes on from what the journal and the server hold.
///
/// # Errors
/// [`AgentError`] when the agent cannot tell: its folder, its journal or its policy is not usable.
pub async fn push(
    config: &PushConfig,
    files: Vec<Source>,
    observer: &dyn Observer,
) -> Result<PushReport, AgentError> {
    config.check()?;
    let files = each_once(files)?;
    let agent = Agent::start(config, observer).await?;
    let bring_in = |(place, source): (usize, Source)| {
        let agent = &agent;
        async move { upload::bring_in(agent, &source).await.map(|report| (place, report)) }
    };
    let mut clips: Vec<_> = futures_util::stream::iter(files.into_iter().enumerate())
        .map(bring_in)
        .buffer_unordered(config.uploads_at_once)
        .try_collect()
        .await?;
    clips.sort_by_key(|(place, _)| *place);
    Ok(PushReport { clips: clips.into_iter().map(|(_, report)| report).collect() })
}

/// What all clips of a push share.
struct Agent<'a> {
    config: &'a PushConfig,
    observer: &'a dyn Observer,
    server: Server,
    state: Arc<StateFolder>,
    journal: Arc<Mutex<Journal>>,
    policy: Policy,
    /// Ourselves, as configured, pinned, or named by the server when it took our key.
    device: Mutex<Option<DeviceId>>,
    registered: OnceCell<()>,
}

impl<'a> Agent<'a> {
    async fn start(config: &'a PushConfig, observer: &'a dyn Observer) -> Result<Self, AgentError> {
        let server = Server::new(config)?;
        let root = config.state_dir.clone();
        let (state, journal) = blocking(move || StateFolder::open(&root)).await?;
        let rotations = rotations(config, &server, &state).await?;
        let policy = pinned_policy(config, &state, &server, &rotations, observer).await?;
        let device = pinned_device(config, &state)?;
        Ok(Self {
            config,
            observer,
            server,
            state: Arc::new(state),
            journal: Arc::new(Mutex::new(journal)),
            policy,
            device: Mutex::new(device),
            registered: OnceCell::new(),
        })
    }

    /// Makes our key known to the server, once per push; a repeated registration changes nothing.
    async fn register(&self) -> Result<(), Trouble> {
        let register = async || {
            let vkey = self.state.key().vkey().to_string();
            if let Some(device) = self.server.register_key(&vkey).await? {
                self.device().get_or_insert(device);
            }
            Ok(())
        };
        self.registered.get_or_try_init(register).await.copied()
    }

    /// Writes one step; it is on the disk when this returns.
    async fn record(&self, record: Record) -> Result<(), AgentError> {
        self.with_journal(move |journal| journal.append(record)).await
    }

    async fn with_journal<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Journal) -> Result<T, AgentError> + Send + 'static,
    ) -> Result<T, AgentError> {
        let journal = Arc::clone(&self.journal);
        blocking(move || act(&mut journal.lock().expect("the journal does not panic"))).await
    }

    /// Keeps files in the folder.
    async fn with_state<T: Send + 'static>(
        &self,
        act: impl FnOnce(&StateFolder) -> Result<T, AgentError> + Send + 'static,
    ) -> Result<T, AgentError> {
        let state = Arc::clone(&self.state);
        blocking(move || state.one_at_a_time(act)).await
    }

    fn device(&self) -> std::sync::MutexGuard<'_, Option<DeviceId>> {
        self.device.lock().expect("nothing panics while holding it")
    }
}

/// Runs what waits for a disk or hashes where it holds up nobody.
async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(act).await.expect("no such task panics or is cancelled")
}

/// Every file once, by what it is, not by how it was spelt. What cannot be found keeps its name and is reported.
fn each_once(files: Vec<Source>) -> Result<Vec<Source>, AgentError> {
    if files.len() > MAX_FILES {
        let reason = format!("at most {MAX_FILES} in one push");
        return Err(AgentError::Setting { setting: "files", reason });
    }
    let mut seen = BTreeSet::new();
    let real = |source: &Source| source.path.canonicalize().unwrap_or_else(|_| source.path.clone());
    Ok(files.into_iter().filter(|source| seen.insert(real(source))).collect())
}

/// What the server shows of log keys that were replaced, when there is a policy here to be led on from.
///
/// A server that is away shows nothing: receipts under another key then prove nothing to this run. One that is busy is
/// given the time it asks for.
async fn rotations(
    config: &PushConfig,
    server: &Server,
    state: &StateFolder,
) -> Result<Succession, AgentError> {
    let busy = |trouble: &Trouble| matches!(trouble, Trouble::Busy { .. });
    let mut found = Vec::new();
    let led_from = config.policy.is_some() || state.pinned_policy()?.is_some();
    while led_from && found.len() < MAX_ROTATIONS {
        let path = format!("{ROTATIONS}/{}", found.len());
        let Ok(note) = ask(config, server, &path, busy).await else { break };
        match Rotation::read(&note) {
            Ok(rotation) => found.push(rotation),
            Err(error) => {
                tracing::error!("a note about a replaced key does not hold: {error}");
                break;
            }
        }
    }
    Ok(Succession::of(found))
}

/// A file's policy, or the pinned one, or the server's on first use: then it is pinned. A pinned one is led on by notes
/// that its key and the next one signed, and by nothing else.
async fn pinned_policy(
    config: &PushConfig,
    state: &StateFolder,
    server: &Server,
    rotations: &Succession,
    observer: &dyn Observer,
) -> Result<Policy, AgentError> {
    let pinned = match state.pinned_policy()? {
        Some(pinned) => Some(led_on(pinned, rotations, state, observer)?),
        None => None,
    };
    let given = config.policy.as_deref().map(|path| {
        let bytes = std::fs::read(path)
            .map_err(|source| AgentError::State { path: path.to_owned(), source })?;
        Policy::parse(&bytes).map_err(|e| AgentError::NoPolicy { reason: e.to_string() })
    });
    let given = given.transpose()?.map(|given| given.after(rotations));
    let policy = match (given, pinned) {
        (Some(given), Some(pinned)) if given != pinned => {
            let (given, pinned) = (given.fingerprint(), pinned.fingerprint());
            return Err(AgentError::PolicyDiffers { given, pinned });
        }
        (_, Some(pinned)) => pinned,
        (Some(given), None) => {
            state.pin_policy(&given)?;
            given
        }
        (None, None) => {
            let fetched = fetch_policy(config, server).await?;
            state.pin_policy(&fetched)?;
            observer.notice(&Notice::PolicyPinned { fingerprint: fetched.fingerprint() });
            return Ok(fetched);
        }
    };
    observer.notice(&Notice::PolicyInUse { fingerprint: policy.fingerprint() });
    Ok(policy)
}

/// The pinned policy with the log's key that is in use now; pinned, if it is another.
fn led_on(
    pinned: Policy,
    rotations: &Succession,
    state: &StateFolder,
    observer: &dyn Observer,
) -> Result<Policy, AgentError> {
    let now = pinned.after(rotations);
    if now != pinned {
        state.pin_policy(&now)?;
        observer.notice(&Notice::KeyReplaced { fingerprint: now.fingerprint() });
    }
    Ok(now)
}

async fn fetch_policy(config: &PushConfig, server: &Server) -> Result<Policy, AgentError> {
    let no = |reason: String| AgentError::NoPolicy { reason };
    let bytes = ask(config, server, POLICY, |_| true).await.map_err(|e| no(e.to_string()))?;
    Policy::parse(&bytes).map_err(|e| no(e.to_string()))
}

/// Asks for a small file, again after a trouble that `passes`, as long as patience lasts and nobody stops us.
async fn ask(
    config: &PushConfig,
    server: &Server,
    path: &str,
    passes: impl Fn(&Trouble) -> bool,
) -> Result<Vec<u8>, Trouble> {
    let mut retry = Retry::new(config.patience);
    let since = Instant::now();
    loop {
        let trouble = match server.get(path).await {
            Err(trouble) if passes(&trouble) => trouble,
            answered => return answered,
        };
        let Next::Retry(wait) = retry.after(&trouble, since.elapsed(), rand::random()) else {
            return Err(trouble);
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = config.stop.cancelled() => return Err(trouble),
        }
    }
}

fn pinned_device(config: &PushConfig, state: &StateFolder) -> Result<Option<DeviceId>, AgentError> {
    let pinned = state.pinned_device()?;
    match (config.device, pinned) {
        (Some(given), Some(pinned)) if given != pinned => {
            let reason = format!("this folder belongs to device {pinned}");
            Err(AgentError::Setting { setting: "device", reason })
        }
        (Some(given), None) => state.pin_device(given).map(|()| Some(given)),
        (_, pinned) => Ok(pinned),
    }
}

//! What the agent is told, and what it does when it is told nothing.

use std::path::PathBuf;
use std::time::Duration;

use chain_of_custody::ids::DeviceId;
use tokio_util::sync::CancellationToken;

use super::error::AgentError;
use super::journal::Claims;

/// Uploads at once by default: enough to fill a line while one of them waits for a disk.
pub const UPLOADS_AT_ONCE: usize = 4;
/// The most uploads at once anybody may ask for.
pub const MAX_UPLOADS_AT_ONCE: usize = 64;
/// The most files in one push.
pub const MAX_FILES: usize = 100_000;
/// A connection on which nothing moves for so long is given up and made anew.
pub const IDLE: Duration = Duration::from_secs(60);
/// A clip that has not moved for so long is left for the next run.
pub const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// How and where to push.
#[derive(Debug, Clone)]
pub struct PushConfig {
    /// The server, as `https://host` or `http://host:port`; paths of the doors are added to it.
    pub server: String,
    /// The device's token, from its enrolment.
    pub token: Token,
    /// The device's id, from its enrolment. Without it, the first that the server names is remembered and held to.
    pub device: Option<DeviceId>,
    /// Where this agent keeps its key, its journal and its receipts. One agent per folder, one folder per server.
    pub state_dir: PathBuf,
    /// The policy file to trust. Without it, the server's is pinned at first use.
    pub policy: Option<PathBuf>,
    /// Certificates (PEM) that alone vouch for an `https://` server. Without it, those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Uploads at once, 1 to [`MAX_UPLOADS_AT_ONCE`].
    pub uploads_at_once: usize,
    /// See [`IDLE`].
    pub idle: Duration,
    /// See [`PATIENCE`].
    pub patience: Duration,
    /// Whether footage and token may cross a network unencrypted.
    pub plain_http: PlainHttp,
    /// Cancel it to stop: what is not finished waits for the next run.
    pub stop: CancellationToken,
}

impl PushConfig {
    /// Pushes to `server` with the defaults.
    pub fn new(server: impl Into<String>, token: Token, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            server: server.into(),
            token,
            device: None,
            state_dir: state_dir.into(),
            policy: None,
            ca_file: None,
            uploads_at_once: UPLOADS_AT_ONCE,
            idle: IDLE,
            patience: PATIENCE,
            plain_http: PlainHttp::LoopbackOnly,
            stop: CancellationToken::new(),
        }
    }

    pub(super) fn check(&self) -> Result<(), AgentError> {
        if !(1..=MAX_UPLOADS_AT_ONCE).contains(&self.uploads_at_once) {
            let reason = format!("between 1 and {MAX_UPLOADS_AT_ONCE}");
            return Err(AgentError::Setting { setting: "uploads-at-once", reason });
        }
        if self.idle.is_zero() {
            let reason = "longer than nothing".to_owned();
            return Err(AgentError::Setting { setting: "idle", reason });
        }
        Ok(())
    }
}

/// Where `http://` without TLS is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    /// On this machine only.
    LoopbackOnly,
    /// The network between is trusted by name (a tunnel, a cable).
    Anywhere,
}

/// A bearer token; never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// # Errors
    /// [`AgentError::Setting`] when it cannot stand in a header.
    pub fn new(text: impl Into<String>) -> Result<Self, AgentError> {
        let text = text.into();
        let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let reason = || "it is empty or holds other than visible ASCII characters".to_owned();
        good.then_some(Self(text))
            .ok_or_else(|| AgentError::Setting { setting: "token", reason: reason() })
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// One file to push, with what is claimed about it.
#[derive(Debug, Clone)]
pub struct Source {
    pub path: PathBuf,
    pub claims: Claims,
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self { path, claims: Claims::default() }
    }
}

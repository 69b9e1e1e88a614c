//! The demo runs the same programs a user runs, as processes of their own.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::control::Failure;

const START_PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// This program, run again with other arguments.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    exhibit: PathBuf,
    pub(super) data: PathBuf,
}

impl Programs {
    pub(super) fn new(data: &Path) -> Result<Self, Failure> {
        let exhibit = std::env::current_exe().map_err(|e| broken("finding this program", &e))?;
        Ok(Self { exhibit, data: data.to_owned() })
    }

    /// A command of `exhibit` on the demo's data folder.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.plain(args);
        if !matches!(args.first(), Some(&"dock" | &"verify")) {
            command.arg("--data").arg(&self.data);
        }
        command
    }

    /// A command of `exhibit` that is about no data folder.
    pub(super) fn plain(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.exhibit);
        command.args(args).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command that answers in JSON; an exit code other than 0 is an answer too.
    pub(super) async fn json(&self, args: &[&str]) -> Result<(ExitStatus, Value), Failure> {
        let mut command = self.command(args);
        let output = command.arg("--json").output().await.map_err(|e| broken(args[0], &e))?;
        let value = serde_json::from_slice(&output.stdout).map_err(|_| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            Failure::new("demo", format!("exhibit {}: {}", args.join(" "), stderr.trim()))
        })?;
        Ok((output.status, value))
    }

    /// Like [`Self::json`], for commands that must succeed.
    pub(super) async fn expect(&self, args: &[&str]) -> Result<Value, Failure> {
        let (status, value) = self.json(args).await?;
        if status.success() {
            return Ok(value);
        }
        Err(Failure::new("demo", format!("exhibit {} failed: {value}", args.join(" "))))
    }

    /// Starts the server and waits until it is ready.
    pub(super) async fn serve(
        &self,
        listen: &str,
    ) -> Result<(Child, std::net::SocketAddr), Failure> {
        let file = self.data.join("listening");
        let _ = std::fs::remove_file(&file);
        let log = std::fs::File::create(self.data.with_extension("server.log"))
            .map_err(|e| broken("the server's log", &e))?;
        let mut command = self.command(&["serve", "--listen", listen]);
        let child = command.stderr(log).spawn().map_err(|e| broken("serve", &e))?;
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            if let Some(address) = address_in(&file) {
                return Ok((child, address));
            }
            if Instant::now() > deadline {
                return Err(Failure::new("demo", "the server did not become ready"));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn address_in(file: &Path) -> Option<std::net::SocketAddr> {
    std::fs::read_to_string(file).ok()?.trim().strip_prefix("http://")?.parse().ok()
}

/// A step that could not be taken for a reason outside the demo.
pub(super) fn broken(what: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::new("demo", format!("{what}: {why}"))
}

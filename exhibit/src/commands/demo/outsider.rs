//! Somebody outside the force: a log witness as a process of its own, with its own key and store.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::Child;

use super::programs::{Programs, broken};
use crate::control::Failure;

/// How long it may take to listen.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A running log witness; ended when dropped.
pub(super) struct Outsider {
    _process: Child,
    pub(super) url: String,
    /// What the ledger's configuration says of it.
    pub(super) setting: String,
}

/// Starts a log witness that watches the log of `policy`, with its store in `store`.
pub(super) async fn start(
    programs: &Programs,
    store: &Path,
    policy: &Value,
) -> Result<Outsider, Failure> {
    let policy = policy["policy"].as_str().unwrap_or_default();
    let log = policy.lines().find_map(|line| line.strip_prefix("log ")).unwrap_or_default();
    let mut command = programs.plain(&["ledger", "witness", "--name", "witness.demo.invalid"]);
    command.args(["--listen", "127.0.0.1:0", "--log", log, "--store"]).arg(store);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let process = command.spawn().map_err(|e| broken("the log witness", &e))?;
    let read = |name: &str| std::fs::read_to_string(store.join(name)).unwrap_or_default();
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let (url, key) = (read("listening").trim().to_owned(), read("vkey").trim().to_owned());
        if !url.is_empty() {
            return Ok(Outsider { _process: process, setting: format!("{key} {url}"), url });
        }
        if Instant::now() > deadline {
            return Err(Failure::new("demo", "the log witness did not start"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

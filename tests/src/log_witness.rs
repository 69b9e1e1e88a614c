//! `exhibit ledger witness` as a process, with its store and its key.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use test_machine::bound;

use crate::programs::{Answer, program};
use crate::{Workspace, audit};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running log witness. Dropped, it is killed.
#[derive(Debug)]
pub struct LogWitness {
    process: Child,
    store: PathBuf,
    url: String,
}

impl LogWitness {
    /// Starts one that watches the story's ledger, with a store outside the data folder, and waits until it listens.
    pub fn start(workspace: &Workspace) -> Self {
        let log = log_key(workspace);
        Self::listen(workspace, &workspace.path("log-witness"), &log, "127.0.0.1:0", &[])
    }

    /// Kills it and starts it again at the same address.
    pub fn restarted(self, workspace: &Workspace) -> Self {
        let log = log_key(workspace);
        self.restarted_with(workspace, &log, &[])
    }

    /// The same, told of the log's key and more.
    pub fn restarted_with(mut self, workspace: &Workspace, log: &str, more: &[&str]) -> Self {
        self.kill();
        let (store, address) = (self.store.clone(), self.url.replace("http://", ""));
        Self::listen(workspace, &store, log, &address, more)
    }

    fn listen(
        workspace: &Workspace,
        store: &Path,
        log: &str,
        address: &str,
        more: &[&str],
    ) -> Self {
        let address_file = store.join("listening");
        let _ = fs::remove_file(&address_file);
        let output = workspace.path("log-witness.log");
        let output = File::options().create(true).append(true).open(output).expect("a log");
        let mut command = bound::command(program("exhibit"), "KILL", None);
        command.args(["ledger", "witness", "--name", "witness.example", "--listen", address]);
        command.arg("--store").arg(store).args(["--log", log]).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let mut process = bound::spawn(command).expect("the log witness starts");
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let url = fs::read_to_string(&address_file).unwrap_or_default().trim().to_owned();
            if !url.is_empty() {
                return Self { process, store: store.to_owned(), url };
            }
            assert!(process.try_wait().expect("our child").is_none(), "the log witness ended");
            assert!(Instant::now() < deadline, "the log witness does not listen");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn store(&self) -> &Path {
        &self.store
    }

    /// What a server is told so as to ask it, one of one.
    pub fn settings(&self) -> [(&'static str, String); 2] {
        let vkey = fs::read_to_string(self.store.join("vkey")).expect("its key");
        settings(vkey.trim(), &self.url)
    }

    pub fn kill(&mut self) {
        self.process.kill().expect("SIGKILL is sent");
        self.process.wait().expect("it ends");
    }

    /// `exhibit ledger witness --refused --json`.
    pub fn refused(&self) -> Answer {
        let mut command = Command::new(program("exhibit"));
        command.args(["ledger", "witness", "--refused", "--json", "--store"]).arg(&self.store);
        Answer::of(&mut command)
    }
}

impl Drop for LogWitness {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a server is told so as to ask one log witness, one of one.
pub(crate) fn settings(vkey: &str, url: &str) -> [(&'static str, String); 2] {
    let witness = format!("{vkey} {url}");
    [("EXHIBIT__LEDGER__WITNESSES", witness), ("EXHIBIT__LEDGER__QUORUM", "1".to_owned())]
}

/// The verifier key of the story's log, from its policy file.
pub fn log_key(workspace: &Workspace) -> String {
    workspace.found();
    let policy = audit::policy_of(workspace);
    let line = policy.lines().find_map(|line| line.strip_prefix("log "));
    line.expect("a policy names its log").to_owned()
}

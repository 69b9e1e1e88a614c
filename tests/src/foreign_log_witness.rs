//! A log witness that is not ours as a process: PyPI aics-witness, as `scripts/setup test` installs it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use test_machine::bound;

use crate::Workspace;
use crate::log_witness::{log_key, settings};
use crate::programs::{Answer, repository};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const PROGRAM: &str = ".tools/log-witness/bin/aics-witness";

/// A running foreign log witness. Dropped, it is killed.
#[derive(Debug)]
pub struct ForeignLogWitness {
    process: Child,
    folder: PathBuf,
    key: String,
    url: String,
}

impl ForeignLogWitness {
    /// Makes one under `name` that watches the story's ledger, and waits until it listens.
    pub fn start(workspace: &Workspace, name: &str) -> Self {
        let folder = workspace.path("foreign-log-witness");
        fs::create_dir(&folder).expect("a folder for it");
        let key = aics(&folder, &["init", "--name", name]).ok().text().trim().to_owned();
        let log = log_key(workspace);
        let origin = log.split('+').next().expect("a key begins with its name");
        aics(&folder, &["add-log", "--origin", origin, "--vkey", &log]).ok();
        let (process, url) = listen(&folder, "127.0.0.1:0");
        Self { process, folder, key, url }
    }

    /// Kills it; started again it listens at the same address.
    pub fn restarted(mut self) -> Self {
        self.kill();
        let (process, url) = listen(&self.folder, &self.url.replace("http://", ""));
        Self { process, url, folder: self.folder.clone(), key: self.key.clone() }
    }

    /// What a server is told so as to ask it, one of one.
    pub fn settings(&self) -> [(&'static str, String); 2] {
        settings(&self.key, &self.url)
    }

    pub fn kill(&mut self) {
        self.process.kill().expect("SIGKILL is sent");
        self.process.wait().expect("it ends");
    }

    /// The requests that it refused and kept, as it tells them.
    pub fn evidence(&self) -> Vec<Value> {
        let said = aics(&self.folder, &["evidence"]).ok().json();
        said.as_array().unwrap_or_else(|| panic!("{said}")).clone()
    }
}

impl Drop for ForeignLogWitness {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn listen(folder: &PathBuf, address: &str) -> (Child, String) {
    let path = folder.join("log");
    let log = File::create(&path).expect("a log");
    let mut command = bound::command(program(), "KILL", None);
    command.args(["serve", "--listen", address, "--config", "witness.json"]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut process = bound::spawn(command).expect("the foreign log witness starts");
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let said = fs::read_to_string(&path).expect("its log");
        if let Some((_, rest)) = said.split_once("listening on ") {
            let url = rest.split_whitespace().next().expect("an address");
            return (process, url.to_owned());
        }
        assert!(process.try_wait().expect("our child").is_none(), "it ended: {said}");
        assert!(Instant::now() < deadline, "it does not listen: {said}");
        thread::sleep(POLL_INTERVAL);
    }
}

fn aics(folder: &PathBuf, words: &[&str]) -> Answer {
    let mut command = Command::new(program());
    command.args(words).args(["--config", "witness.json"]).current_dir(folder);
    Answer::of(&mut command)
}

fn program() -> PathBuf {
    let program = repository().join(PROGRAM);
    assert!(
        program.exists(),
        "{PROGRAM} is missing: scripts/setup test installs it, and says why if it cannot"
    );
    program
}

//! `exhibit serve` as a process: started, watched, stopped and killed by its id.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use test_machine::bound;

use crate::{Workspace, programs};

/// Recovery after a kill is included.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    process: Child,
    url: String,
    log: PathBuf,
}

impl Server {
    /// Starts a server on the story's data folder and a free port, and waits until it is ready.
    pub fn start(workspace: &Workspace) -> Self {
        Self::start_with(workspace, &[])
    }

    /// The same with environment variables: fail points, settings.
    pub fn start_with(workspace: &Workspace, environment: &[(&str, &str)]) -> Self {
        Self::try_start(workspace, environment)
            .unwrap_or_else(|(status, log)| panic!("it ended: {status}\n{log}"))
    }

    /// The same; a server that ends before it is ready is an answer, with its log.
    pub fn try_start(
        workspace: &Workspace,
        environment: &[(&str, &str)],
    ) -> Result<Self, (ExitStatus, String)> {
        let address_file = workspace.in_data("listening");
        let _ = fs::remove_file(&address_file);
        let log = workspace.path("server.log");
        let mut process = spawn(workspace, environment, &log);
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = process.try_wait().expect("the server is our child") {
                return Err((status, read(&log)));
            }
            let url = fs::read_to_string(&address_file).unwrap_or_default().trim().to_owned();
            if !url.is_empty() && get(&url, "/readyz").is_some_and(|(status, _)| status == 200) {
                return Ok(Server { process, url, log });
            }
            if Instant::now() > deadline {
                let _ = process.kill();
                panic!("the server was not ready within {START_TIMEOUT:?}\n{}", read(&log));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Everything that this story's servers have logged.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// `GET path` without credentials: status and body. None if nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, Vec<u8>)> {
        get(&self.url, path)
    }

    /// Whether it still runs; a fail point ends it by itself.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("the server is our child").is_none()
    }

    /// kill -9, as a power cut is for a process.
    pub fn kill(mut self) {
        self.process.kill().expect("SIGKILL is sent");
        self.process.wait().expect("it ends");
    }

    /// SIGTERM: it ends in order, and says so with its exit code.
    pub fn stop(self) -> ExitStatus {
        self.ask_to_stop();
        self.wait()
    }

    /// SIGTERM alone.
    pub fn ask_to_stop(&self) {
        let pid = Pid::from_child(&self.process);
        rustix::process::kill_process(pid, Signal::TERM).expect("SIGTERM is sent");
    }

    /// Waits until it has ended by itself.
    pub fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = self.process.try_wait().expect("the server is our child") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it did not stop within {STOP_TIMEOUT:?}\n{}",
                self.log()
            );
            thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(workspace: &Workspace, environment: &[(&str, &str)], log: &PathBuf) -> Child {
    let log = File::options().create(true).append(true).open(log).expect("a log");
    let mut command = bound::command(programs::program("exhibit"), "KILL", None);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(workspace.data())
        .envs(workspace.environment.iter().cloned())
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log);
    bound::spawn(command).expect("the server starts")
}

fn read(log: &PathBuf) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}

/// The smallest HTTP client there is: one request, read to the end.
fn get(url: &str, path: &str) -> Option<(u16, Vec<u8>)> {
    let address = url.strip_prefix("http://")?;
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end_of_head = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let status = std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
    Some((status, answer.split_off(end_of_head + 4)))
}

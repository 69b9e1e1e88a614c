//! Programs that do not outlive the test process that started them, however it ends.

use std::ffi::OsStr;
use std::process::{Child, Command};
use std::sync::{Mutex, mpsc};
use std::thread;

use anyhow::{Context, Result, anyhow};

/// A command that the kernel will end with `signal` when this process is gone; as another user if one is given.
///
/// Arguments, environment and streams are the caller's to add; then [`spawn`] it.
pub fn command(program: impl AsRef<OsStr>, signal: &str, uid_gid: Option<(u32, u32)>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal]);
    if let Some((uid, gid)) = uid_gid {
        command.args([format!("--reuid={uid}"), format!("--regid={gid}")]).arg("--clear-groups");
    }
    command.arg(program);
    command
}

/// Spawns from a thread that lives as long as the process.
///
/// The parent death signal fires when the *thread* that forked ends, and each test runs in a thread of its own.
pub fn spawn(mut command: Command) -> Result<Child> {
    type Job = Box<dyn FnOnce() + Send>;
    static SPAWNER: Mutex<Option<mpsc::Sender<Job>>> = Mutex::new(None);
    let (reply, child) = mpsc::channel();
    let job: Job = Box::new(move || {
        // The receiver is gone only when its test has already failed.
        let _ = reply.send(command.spawn());
    });
    {
        let mut spawner =
            SPAWNER.lock().map_err(|_| anyhow!("the spawning thread's lock is poisoned"))?;
        let jobs = spawner.get_or_insert_with(|| {
            let (jobs, waiting) = mpsc::channel::<Job>();
            thread::spawn(move || waiting.into_iter().for_each(|job| job()));
            jobs
        });
        jobs.send(job).map_err(|_| anyhow!("the spawning thread ended"))?;
    }
    child.recv().context("the spawning thread ended")?.context("setpriv (util-linux) starts it")
}

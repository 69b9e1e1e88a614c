//! A real PostgreSQL: Debian's server in a temporary folder, reached through a Unix socket.
//!
//! Invariant: a server never outlives the test process that started it. It is ended by its process id when
//! its [`Postgres`] is dropped, and by the kernel (parent death signal) when the process dies first.
//!
//! ```no_run
//! use test_machine::postgres::{Postgres, fresh_database};
//! let url = fresh_database().expect("a database");         // one server per test process, one database per test
//! let mut own = Postgres::start().expect("a server");      // a server of one's own, to kill and restart
//! own.kill().expect("killed");
//! own.restart().expect("recovered");
//! ```

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::bound;

/// How long a server may take to answer after its start; recovery after a kill is included.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may take to end after SIGINT (a fast shutdown).
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Followed by the process id of the test, so that a later run knows which folders nobody uses any more.
const FOLDER_PREFIX: &str = "exhibit-postgres-";
const SUPERUSER: &str = "exhibit";

/// The URL of a new empty database on the server that this test process shares.
///
/// The first call starts the server (one to two seconds); it ends with the process.
pub fn fresh_database() -> Result<String> {
    static SHARED: Mutex<Option<Postgres>> = Mutex::new(None);
    let mut shared = SHARED
        .lock()
        .map_err(|_| anyhow!("an earlier test panicked while it held the shared server"))?;
    if shared.is_none() {
        *shared = Some(Postgres::start()?);
    }
    match shared.as_mut() {
        Some(server) => server.create_database(),
        None => bail!("the shared server was not kept"),
    }
}

/// A PostgreSQL server of one's own.
#[derive(Debug)]
pub struct Postgres {
    programs: Programs,
    folder: TempDir,
    postmaster: Option<Child>,
    databases_made: u32,
}

impl Postgres {
    /// Makes a cluster in a temporary folder and starts it, durable as installed (`fsync=on`).
    pub fn start() -> Result<Self> {
        let programs = Programs::find()?;
        remove_what_dead_processes_left();
        let folder = tempfile::Builder::new()
            .prefix(&format!("{FOLDER_PREFIX}{}-", std::process::id()))
            .tempdir()
            .context("a folder for PostgreSQL")?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        if let Some(account) = programs.account {
            chown(folder.path(), Some(account.uid), Some(account.gid))?;
        }
        programs.init(&folder.path().join("data"))?;
        let mut server = Postgres { programs, folder, postmaster: None, databases_made: 0 };
        server.launch()?;
        Ok(server)
    }

    /// The URL of a database on this server, for sqlx (`Any` too).
    pub fn url(&self, database: &str) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{SUPERUSER}@localhost/{database}?host={socket}")
    }

    /// Makes an empty database and returns its URL.
    pub fn create_database(&mut self) -> Result<String> {
        self.databases_made += 1;
        let name = format!("test_{}", self.databases_made);
        self.programs.run(
            self.programs.command("createdb").arg("--host").arg(self.folder.path()).args([
                "--username",
                SUPERUSER,
                &name,
            ]),
        )?;
        Ok(self.url(&name))
    }

    /// The process id of the server, for a test that stops it (SIGSTOP) or watches it.
    pub fn pid(&self) -> Option<u32> {
        self.postmaster.as_ref().map(Child::id)
    }

    /// Ends the server at once, as a crash would (SIGKILL); committed work stays on disk.
    pub fn kill(&mut self) -> Result<()> {
        self.end(Signal::KILL)
    }

    /// Ends the server in order; connections are cut (SIGINT, a fast shutdown).
    pub fn stop(&mut self) -> Result<()> {
        self.end(Signal::INT)
    }

    /// Starts the same cluster again after [`Postgres::kill`] or [`Postgres::stop`].
    pub fn restart(&mut self) -> Result<()> {
        if self.postmaster.is_some() {
            self.stop()?;
        }
        self.launch()
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        let Some(mut postmaster) = self.postmaster.take() else {
            return Ok(());
        };
        send(&postmaster, signal)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while postmaster.try_wait()?.is_none() {
            if Instant::now() > deadline {
                postmaster.kill()?;
                postmaster.wait()?;
                bail!("PostgreSQL did not end within {STOP_TIMEOUT:?}; it was killed");
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let log_path = self.folder.path().join("log");
        let log = File::options().create(true).append(true).open(&log_path)?;
        let mut command = self.programs.server_command();
        command
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .arg("-k")
            .arg(self.folder.path())
            .args(["-c", "listen_addresses="])
            .args(["-c", "max_connections=200"])
            .args(["-c", "shared_buffers=32MB"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.postmaster = Some(bound::spawn(command)?);
        self.wait_until_ready().with_context(|| fs::read_to_string(&log_path).unwrap_or_default())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(postmaster) = self.postmaster.as_mut()
                && let Some(status) = postmaster.try_wait()?
            {
                self.postmaster = None;
                bail!("PostgreSQL ended at its start: {status}");
            }
            let answers = self
                .programs
                .command("pg_isready")
                .arg("--quiet")
                .arg("--host")
                .arg(self.folder.path())
                .args(["--username", SUPERUSER, "--dbname", "postgres"])
                .status()?;
            if answers.success() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("PostgreSQL did not answer within {START_TIMEOUT:?}");
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Nothing is left to be kept, so the quickest orderly end will do (it also frees its shared memory).
        let _ = self.end(Signal::QUIT);
    }
}

/// Removes the folders of test processes that are gone: the shared server is never dropped, only killed.
fn remove_what_dead_processes_left() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(FOLDER_PREFIX)?.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok());
        if let Some(pid) = owner
            && !Path::new("/proc").join(pid.to_string()).exists()
        {
            // Another test may be removing it just now; what stays is found by the next run.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn send(child: &Child, signal: Signal) -> Result<()> {
    let pid = Pid::from_child(child);
    rustix::process::kill_process(pid, signal).with_context(|| format!("signal to {pid:?}"))
}

/// The account that the server runs as when the tests run as root, which PostgreSQL refuses to serve.
#[derive(Clone, Copy, Debug)]
struct Account {
    uid: u32,
    gid: u32,
}

#[derive(Debug)]
struct Programs {
    folder: PathBuf,
    account: Option<Account>,
}

impl Programs {
    fn find() -> Result<Self> {
        let folder = newest_installed(Path::new("/usr/lib/postgresql"))
            .context("PostgreSQL's server is not installed: run scripts/setup test")?;
        let account =
            if rustix::process::geteuid().is_root() { Some(unprivileged_account()?) } else { None };
        Ok(Programs { folder, account })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join(program));
        command.current_dir("/").env_remove("LC_ALL").env("LANG", "C.UTF-8");
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    fn server_command(&self) -> Command {
        let account = self.account.map(|account| (account.uid, account.gid));
        // SIGQUIT: at once, but its shared memory is freed.
        let mut command = bound::command(self.folder.join("postgres"), "QUIT", account);
        command.current_dir("/");
        command
    }

    fn init(&self, data: &Path) -> Result<()> {
        self.run(
            self.command("initdb")
                .arg("--pgdata")
                .arg(data)
                .args(["--username", SUPERUSER, "--auth", "trust", "--no-sync"])
                .args(["--encoding", "UTF8", "--locale", "C"]),
        )
    }

    fn run(&self, command: &mut Command) -> Result<()> {
        let output = command.output().with_context(|| format!("{command:?}"))?;
        if !output.status.success() {
            bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

/// The folder of programs of the newest version, e.g. `/usr/lib/postgresql/15/bin`.
fn newest_installed(root: &Path) -> Result<PathBuf> {
    let mut versions = Vec::new();
    for version in fs::read_dir(root)? {
        let version = version?;
        let bin = version.path().join("bin");
        if bin.join("initdb").exists()
            && let Some(number) = version.file_name().to_str().and_then(|n| n.parse::<u32>().ok())
        {
            versions.push((number, bin));
        }
    }
    versions
        .into_iter()
        .max_by_key(|(number, _)| *number)
        .map(|(_, bin)| bin)
        .context("no version with initdb")
}

fn unprivileged_account() -> Result<Account> {
    let accounts = fs::read_to_string("/etc/passwd")?;
    for name in ["postgres", "nobody"] {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name));
        let mut numbers = line.into_iter().flat_map(|line| line.split(':').skip(2));
        if let (Some(uid), Some(gid)) = (numbers.next(), numbers.next()) {
            return Ok(Account { uid: uid.parse()?, gid: gid.parse()? });
        }
    }
    bail!("no account `postgres` or `nobody`: PostgreSQL refuses to run as root")
}

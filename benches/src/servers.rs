//! The servers that are measured: ours and the peers, each a process of its own on loopback.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::Endpoint;

const START_PATIENCE: Duration = Duration::from_secs(30);

/// Where peers are and where to write.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) tools: PathBuf,
    pub(crate) scratch: PathBuf,
    pub(crate) rounds: usize,
}

/// A server that runs until dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) endpoint: Endpoint,
    pub(crate) folder: PathBuf,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Exhibit,
    TusNode,
    Rustus,
    TusS3,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exhibit => "exhibit",
            Self::TusNode => "@tus/server + file-store",
            Self::Rustus => "rustus",
            Self::TusS3 => "@tus/server + s3-store",
        }
    }
}

/// Variables of a process.
pub(crate) type Environment = Vec<(&'static str, String)>;

/// Starts a server on a fresh folder.
pub(crate) fn start(kind: Kind, place: &Place) -> Result<Server> {
    start_in(kind, place, &Environment::new())
}

/// The same, in an environment that says where its store is.
pub(crate) fn start_in(kind: Kind, place: &Place, environment: &Environment) -> Result<Server> {
    let folder =
        std::path::absolute(place.scratch.join(format!("{kind:?}-{}", std::process::id())))?;
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let address = free_address()?;
    let mut command = match kind {
        Kind::Exhibit => exhibit(&folder, address)?,
        Kind::TusNode => tus_node(place, &folder, address)?,
        Kind::Rustus => rustus(place, &folder, address)?,
        Kind::TusS3 => tus_s3(place, &folder, address)?,
    };
    command.envs(environment.iter().cloned());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child =
        child.with_context(|| format!("starting {}: run scripts/setup bench", kind.name()))?;
    let path = if kind == Kind::Rustus { "/files" } else { "/tus" }.to_owned();
    let mut server =
        Server { child, endpoint: Endpoint { address, path, token: String::new() }, folder };
    wait_until_open(&mut server.child, address)?;
    if kind == Kind::Exhibit {
        server.endpoint.token = enrol(&server.folder, environment)?;
    }
    Ok(server)
}

/// One of our programs, which lie beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name(name);
    if beside.exists() {
        return Ok(beside);
    }
    bail!("{} is missing: cargo build --release --bins", beside.display())
}

fn exhibit(folder: &Path, address: SocketAddr) -> Result<Command> {
    let mut command = Command::new(program("exhibit")?);
    command.args(["serve", "--listen", &address.to_string(), "--data"]).arg(folder);
    // Derivatives have a bench of their own; these bytes are no footage.
    command.env("EXHIBIT__LOG__FILTER", "warn");
    Ok(command)
}

fn enrol(folder: &Path, environment: &Environment) -> Result<String> {
    let mut command = Command::new(program("exhibit")?);
    let output = command
        .args(["device", "enrol", "--name", "bench", "--json", "--data"])
        .arg(folder)
        .envs(environment.iter().cloned())
        .output()?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(answer["token"].as_str().context("no token")?.to_owned())
}

fn tus_node(place: &Place, folder: &Path, address: SocketAddr) -> Result<Command> {
    let mut command = Command::new("node");
    command.arg("benches/peers/tus-node.mjs").arg(folder).arg(address.port().to_string());
    command.env("EXHIBIT_NPM", std::path::absolute(place.tools.join("npm"))?);
    Ok(command)
}

fn tus_s3(place: &Place, folder: &Path, address: SocketAddr) -> Result<Command> {
    let mut command = Command::new("node");
    command.arg("benches/peers/tus-s3.mjs").arg(address.port().to_string());
    command.env("EXHIBIT_NPM", std::path::absolute(place.tools.join("npm"))?);
    // Each part lies here until it is sent.
    command.env("TMPDIR", folder);
    Ok(command)
}

fn rustus(place: &Place, folder: &Path, address: SocketAddr) -> Result<Command> {
    let mut command = Command::new(place.tools.join("cargo/bin/rustus"));
    command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
    // It refuses bodies over 256 KiB unless told.
    command.args(["--max-body-size", "67108864", "--storage", "file-storage"]);
    command.arg("--data-dir").arg(folder.join("data")).arg("--info-dir").arg(folder.join("info"));
    Ok(command)
}

pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

pub(crate) fn wait_until_open(server: &mut Child, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + START_PATIENCE;
    while TcpStream::connect(address).is_err() {
        if let Some(status) = server.try_wait()? {
            bail!("the server ended at once with {status}");
        }
        if Instant::now() > deadline {
            bail!("the server did not open its port");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

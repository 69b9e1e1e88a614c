//! S3 servers that are not ours, on free ports of this machine, each in a temporary folder.
//!
//! [`Store::seaweed`] is a real store: it keeps versions, locks and conditions. [`Store::moto`] is made for tests of
//! applications: it takes many headers that it does not act upon, which is what a store looks like that must not be
//! trusted with evidence.
//!
//! Invariant: a server ends by its process id when its [`Store`] is dropped, and with the test process in any case.

use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::bound;

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Below those that the kernel gives to whoever opens a connection: one of those may be taken between a look at it and the server's start.
const PORTS: Range<u16> = 20_000..32_000;
/// Each try starts a Python.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// What it is asked with until it answers, and what every test is allowed to do there.
pub const ACCESS_KEY: &str = "testkey";
pub const SECRET_KEY: &str = "testsecret0123456789";

/// Makes a bucket, now or at an earlier start, and puts something into it.
const WRITES: &str = "
import contextlib
with contextlib.suppress(s3.exceptions.BucketAlreadyExists, s3.exceptions.BucketAlreadyOwnedByYou):
    s3.create_bucket(Bucket=sys.argv[2])
s3.put_object(Bucket=sys.argv[2], Key='ready', Body=b'ready')
";

/// A store that runs.
#[derive(Debug)]
pub struct Store {
    folder: TempDir,
    server: Child,
    launch: Launch,
    endpoint: String,
}

/// How a server is started, and started again.
#[derive(Debug)]
struct Launch {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    port: u16,
}

impl Store {
    /// A bucket with versions and Object Lock in the shared store.
    pub const SHARED_BUCKET: &str = "shared";

    /// The SeaweedFS that the tests of this process share, with [`Self::SHARED_BUCKET`] in it. It ends with the last of
    /// those who hold it.
    pub fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Store>> = Mutex::new(Weak::new());
        Self::share(&SHARED, Self::seaweed, true)
    }

    /// The same with moto, where the bucket has neither.
    pub fn shared_moto() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Store>> = Mutex::new(Weak::new());
        Self::share(&SHARED, Self::moto, false)
    }

    fn share(
        shared: &Mutex<Weak<Self>>,
        start: impl FnOnce() -> Result<Self>,
        with_lock: bool,
    ) -> Result<Arc<Self>> {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = shared.upgrade() {
            return Ok(store);
        }
        let store = Arc::new(start()?);
        store.make_bucket(Self::SHARED_BUCKET, with_lock)?;
        *shared = Arc::downgrade(&store);
        Ok(store)
    }

    /// SeaweedFS, without the ways in that know no locks.
    pub fn seaweed() -> Result<Self> {
        Self::seaweed_with(&[])
    }

    /// The same with its data in `disk`, which may get full.
    pub fn seaweed_on(disk: &Path) -> Result<Self> {
        // It looks whether there is room again once a minute, and stops writing while there is still a little.
        Self::seaweed_with(&[
            format!("-dir={}", disk.display()),
            "-volume.minFreeSpace=2MiB".into(),
        ])
    }

    fn seaweed_with(more: &[String]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("exhibit-s3-").tempdir()?;
        let identities = format!(
            "{{\"identities\":[{{\"name\":\"tests\",\"credentials\":[{{\"accessKey\":\"{ACCESS_KEY}\",\
             \"secretKey\":\"{SECRET_KEY}\"}}],\"actions\":[\"Admin\",\"Read\",\"Write\",\"List\",\"Tagging\"]}}]}}"
        );
        let (settings, data) = (folder.path().join("s3.json"), folder.path().join("data"));
        fs::write(&settings, identities)?;
        fs::create_dir(&data)?;
        let ports = free_ports::<8>()?;
        let fixed = [
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3",
            "-master.telemetry=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-filer.disableHttp=true",
            "-master.volumeSizeLimitMB=64",
            // Enough for what a hundred kills leave behind.
            "-volume.max=1000",
            "-volume.preStopSeconds=0",
        ];
        let mut arguments: Vec<String> = fixed.map(str::to_owned).into();
        let named = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc"];
        let named =
            named.into_iter().chain(["filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"]);
        for (name, port) in named.zip(ports) {
            arguments.push(format!("-{name}={port}"));
        }
        arguments.push(format!("-dir={}", data.display()));
        arguments.push(format!("-s3.config={}", settings.display()));
        arguments.extend_from_slice(more);
        let environment = vec![("WEED_S3_SSE_KEK", "7".repeat(64))];
        let program = tool("weed")?;
        Self::start(folder, Launch { program, arguments, environment, port: ports[6] })
    }

    /// moto's server.
    pub fn moto() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("exhibit-s3-").tempdir()?;
        let [port] = free_ports::<1>()?;
        let arguments = ["-H", "127.0.0.1", "-p"].map(str::to_owned).into_iter();
        let arguments = arguments.chain([port.to_string()]).collect();
        let program = tool("moto_server")?;
        Self::start(folder, Launch { program, arguments, environment: Vec::new(), port })
    }

    fn start(folder: TempDir, launch: Launch) -> Result<Self> {
        let server = launch.spawn(folder.path())?;
        let endpoint = format!("http://127.0.0.1:{}", launch.port);
        let mut store = Self { folder, server, launch, endpoint };
        store.wait_until_ready().with_context(|| store.log())?;
        Ok(store)
    }

    /// kill -9: what it acknowledged is on its disk.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()?;
        self.server.wait()?;
        Ok(())
    }

    /// Starts a server that was killed again, on the same data and port.
    pub fn restart(&mut self) -> Result<()> {
        self.server = self.launch.spawn(self.folder.path())?;
        self.wait_until_ready().with_context(|| self.log())
    }

    /// `http://host:port`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Makes a bucket, with versions and Object Lock or with neither, as boto3 does it.
    pub fn make_bucket(&self, name: &str, with_lock: bool) -> Result<()> {
        let script = "s3.create_bucket(Bucket=sys.argv[2], ObjectLockEnabledForBucket=sys.argv[3] == 'lock')";
        self.boto3(script, &[name, if with_lock { "lock" } else { "none" }]).map(drop)
    }

    /// Runs `script` with boto3's client as `s3` and the arguments from `sys.argv[2]` on; gives what it prints. A client
    /// that is not ours, with all the rights there are.
    pub fn boto3(&self, script: &str, arguments: &[&str]) -> Result<String> {
        let script = format!(
            "import boto3, json, sys\n\
             s3 = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1')\n{script}\n"
        );
        let ran = Command::new(tool("python")?)
            .args(["-c", &script, &self.endpoint])
            .args(arguments)
            .envs([("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)])
            .env("AWS_MAX_ATTEMPTS", "1")
            .output()?;
        ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Until a bucket can be listed: its parts come up one after the other.
    fn wait_until_ready(&mut self) -> Result<()> {
        let port = self.launch.port;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.server.try_wait()? {
                bail!("the S3 server ended at its start: {status}");
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok()
                && self.boto3(WRITES, &["until-ready"]).is_ok()
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the S3 server did not answer within {START_TIMEOUT:?}");
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Launch {
    fn spawn(&self, folder: &Path) -> Result<Child> {
        let log = File::options().create(true).append(true).open(folder.join("log"))?;
        let mut command = bound::command(&self.program, "KILL", None);
        command.args(&self.arguments).envs(self.environment.iter().cloned()).current_dir(folder);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        bound::spawn(command)
    }
}

impl Drop for Store {
    /// At once: nothing of it is kept, and in order SeaweedFS takes up to 16 s.
    fn drop(&mut self) {
        let _ended_already = self.server.kill();
        let _ended_already = self.server.wait();
    }
}

/// Ports that nobody listened on a moment ago, all different: from somewhere in [`PORTS`] on, so that two who look at once hardly meet.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let somewhere = RandomState::new().hash_one(()) as usize % PORTS.len();
    let from_there = PORTS.skip(somewhere).chain(PORTS.take(somewhere));
    let held = from_there.filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let held: Vec<_> = held.take(N).collect();
    let ports =
        held.iter().map(|held| Ok(held.local_addr()?.port())).collect::<Result<Vec<_>>>()?;
    ports.try_into().ok().context("no free ports")
}

fn tool(name: &str) -> Result<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = repository.join(".tools/s3/bin").join(name);
    path.exists().then_some(path).with_context(|| format!("no {name}: run scripts/setup test"))
}

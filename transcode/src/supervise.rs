//! Runs one worker process for one job: what is made of one original.
//!
//! The worker parses what a suspect may have made, so it is treated as if it had been taken over: every length it
//! announces is checked before room is made, ranges outside the original are refused, outputs are bounded by the size
//! of the original, time is limited, and any breach ends it. It is killed when the job's future is dropped.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chain_of_custody::digest::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::failure::{Failure, Limit, clean_message};
use crate::program::Program;
use crate::protocol::{
    Confinement, Ended, Frame, FrameError, HEADER_BYTES, Header, INITIAL_CREDIT_BYTES, Job, Limits,
    OriginalDigests, PROTOCOL_VERSION, Recipe, Report, Wall, WorkerFailure,
};
use crate::source::{OutputSink, RangeSource};

/// Name of the worker program, looked for beside the running program.
pub const WORKER_PROGRAM: &str = "exhibit-transcode";
/// Environment variable that names the worker program instead.
pub const WORKER_VARIABLE: &str = "EXHIBIT_TRANSCODE";
/// How long a worker that has said its last word may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// A worker at work asks for a range or sends output every few seconds; on a crowded machine, every few minutes.
const IDLE_TIME: Duration = Duration::from_secs(600);
/// What a worker's priority is lowered by (nice).
const NICENESS: i32 = 10;

/// What a worker may use up. Beyond these it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub worker: Limits,
    pub wall_time: Duration,
    /// A worker that sends no whole frame for so long, or takes none of ours, hangs.
    pub idle_time: Duration,
    /// Output may be this many times the size of the original …
    pub output_per_input: u64,
    /// … but a small original may always give this much.
    pub output_floor_bytes: u64,
    /// Bytes read may be this many times the size of the original (plus the floor): no endless re-reading.
    pub read_per_input: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            worker: Limits { memory_bytes: 2 << 30, cpu_seconds: 4 * 3600 },
            wall_time: Duration::from_secs(6 * 3600),
            idle_time: IDLE_TIME,
            output_per_input: 8,
            output_floor_bytes: 64 << 20,
            read_per_input: 16,
        }
    }
}

/// Starts workers and holds them to the protocol.
#[derive(Debug, Clone)]
pub struct Supervisor {
    program: Program,
    allowance: Allowance,
    without: Vec<Wall>,
}

/// One output of a job: how it is made, and where it goes.
#[derive(Debug)]
pub struct Wanted<S> {
    pub recipe: Recipe,
    /// What was written to it counts only where the recipe was made.
    pub sink: S,
}

/// What a finished job says about itself. The outputs' bytes went to the sinks.
#[derive(Debug)]
pub struct Finished {
    /// For each recipe, in the order asked: the worker's account, naming tool, libraries and codecs. Well-formed and
    /// bounded, not trusted.
    pub ended: Vec<Result<Report, Failure>>,
    pub confinement: Confinement,
    /// Of the worker program, as it lay there before and after it was started; `None` where it was exchanged meanwhile.
    pub program: Option<Sha256>,
}

impl Supervisor {
    /// Uses the worker named by `EXHIBIT_TRANSCODE`, or the one beside the running program.
    pub fn locate(allowance: Allowance) -> Result<Self, Failure> {
        let named = std::env::var_os(WORKER_VARIABLE).map(PathBuf::from);
        let beside = || {
            let own = std::env::current_exe().ok()?;
            Some(own.parent()?.join(WORKER_PROGRAM))
        };
        let program = named.or_else(beside).unwrap_or_else(|| WORKER_PROGRAM.into());
        if program.is_file() {
            Ok(Self::new(program, allowance))
        } else {
            Err(Failure::Start {
                program: program.display().to_string(),
                error: Arc::new(std::io::ErrorKind::NotFound.into()),
            })
        }
    }

    /// Uses this worker program.
    pub fn new(program: impl Into<PathBuf>, allowance: Allowance) -> Self {
        Self { program: Program::new(program.into()), allowance, without: Vec::new() }
    }

    /// Lets workers begin where these walls of their floor cannot be laid.
    #[must_use]
    pub fn without(self, walls: Vec<Wall>) -> Self {
        Self { without: walls, ..self }
    }

    /// The worker program.
    pub fn program(&self) -> &Path {
        &self.program.path
    }

    /// The bytes of the worker program, if it is the one with this digest.
    pub(crate) async fn program_bytes(&self, digest: Sha256) -> Option<Vec<u8>> {
        self.program.bytes(digest).await
    }

    /// Makes derivatives of one original, which is read and decoded once for all of them. Dropping the future kills the
    /// worker; so does every failure.
    ///
    /// # Errors
    /// Where nothing came of any of them.
    pub async fn run<S: OutputSink>(
        &self,
        original: OriginalDigests,
        source: &impl RangeSource,
        wanted: &mut [Wanted<S>],
    ) -> Result<Finished, Failure> {
        let before = self.program.digest().await;
        let (child, socket) = self.start()?;
        let program = before.filter(|_| self.program.is_unchanged());
        let mut worker = Worker { child };
        let recipes = wanted.iter().map(|one| one.recipe.clone()).collect();
        let job = self.job(recipes, source.size_bytes(), original);
        let mut session = Session::new(socket, wanted, source.size_bytes(), self);
        let wall = self.allowance.wall_time;
        let outcome = tokio::time::timeout(wall, session.talk(job, source)).await;
        drop(session);
        match outcome {
            Err(_) => Err(Failure::LimitReached { limit: Limit::WallSeconds(wall.as_secs()) }),
            Ok(Ok((ended, confinement))) => {
                worker.farewell().await;
                Ok(Finished { ended, confinement, program })
            }
            Ok(Err(Stopped::Failure(failure))) => Err(failure),
            Ok(Err(Stopped::Gone)) => Err(self.explain(worker.gone().await)),
        }
    }

    /// Has a worker confine itself, and ends it: what it did to itself, or what it lacks.
    ///
    /// # Errors
    /// [`Failure::Declined`] where the floor cannot be laid.
    pub async fn confinement(&self) -> Result<Confinement, Failure> {
        let (child, socket) = self.start()?;
        let mut worker = Worker { child };
        let nothing = OriginalDigests { sha256: String::new(), blake3: String::new() };
        let job = self.job(vec![Recipe::Probe(Default::default())], 0, nothing);
        let mut session = Session::<Vec<u8>>::new(socket, &mut [], 0, self);
        match session.begin(&job).await {
            Ok(confinement) => Ok(confinement),
            Err(Stopped::Failure(failure)) => Err(failure),
            Err(Stopped::Gone) => Err(self.explain(worker.gone().await)),
        }
    }

    fn job(&self, recipes: Vec<Recipe>, size_bytes: u64, original: OriginalDigests) -> Frame {
        let (limits, without) = (self.allowance.worker, self.without.clone());
        Frame::Job(Box::new(Job { recipes, size_bytes, original, limits, without }))
    }

    /// Starts the worker with one end of a socket pair as its standard input and nothing else of ours.
    fn start(&self) -> Result<(Child, UnixStream), Failure> {
        let attempt = || {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let ours = UnixStream::from_std(ours)?;
            let child = Command::new(&self.program.path)
                .env_clear()
                .current_dir("/")
                .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                // Its own group: a Ctrl-C at our terminal ends us, and we end it.
                .process_group(0)
                .kill_on_drop(true)
                .spawn()?;
            yield_to_ingest(&child);
            Ok((child, ours))
        };
        attempt().map_err(|error| Failure::Start {
            program: self.program.path.display().to_string(),
            error: Arc::new(error),
        })
    }

    fn explain(&self, status: Option<ExitStatus>) -> Failure {
        use std::os::unix::process::ExitStatusExt;
        let Some(status) = status else {
            return Failure::Misbehaved { what: "closed its connection and went on".into() };
        };
        match (status.signal(), status.code()) {
            (Some(signal), _) if signal == rustix::process::Signal::XCPU.as_raw() => {
                Failure::LimitReached {
                    limit: Limit::CpuSeconds(self.allowance.worker.cpu_seconds),
                }
            }
            (Some(signal), _) => Failure::Crashed { how: format!("signal {signal}") },
            (None, code) => Failure::Crashed { how: format!("exit code {}", code.unwrap_or(-1)) },
        }
    }
}

/// Somebody waits for a receipt and nobody for a derivative: workers take the processor time that is left. One that has
/// ended already needs none.
fn yield_to_ingest(child: &Child) {
    let pid = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    if let Err(error) = rustix::process::setpriority_process(pid, NICENESS) {
        tracing::debug!(%error, "a worker runs at the server's own priority");
    }
}

/// The process, ended with its whole group when dropped.
struct Worker {
    child: Child,
}

impl Worker {
    /// After its last word: it ends by itself soon, or it is ended; either way the outcome stands.
    async fn farewell(&mut self) {
        let _ = tokio::time::timeout(FAREWELL, self.child.wait()).await;
    }

    /// After its connection closed without a last word: how it ended.
    async fn gone(&mut self) -> Option<ExitStatus> {
        let ended = tokio::time::timeout(FAREWELL, self.child.wait()).await;
        ended.ok()?.ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The id is there only until the child has been waited for, so it cannot be somebody else's by now.
        let group = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// Why the conversation ended without a result.
enum Stopped {
    Failure(Failure),
    /// The connection closed: how the process ended says why.
    Gone,
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// What a conversation came to: what became of each recipe, and what the worker did to itself.
type Outcome = (Vec<Result<Report, Failure>>, Confinement);

/// What comes before an output, once the output is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    None,
    Due,
    Here,
}

/// One output on its way.
struct Output<'w, S> {
    name: &'static str,
    /// Whether one is due: nothing of the output comes after it, and it is not whole without it.
    head: Head,
    bytes: u64,
    sink: &'w mut S,
}

/// The conversation with one worker and what it has used up so far.
struct Session<'w, S> {
    socket: UnixStream,
    idle_time: Duration,
    outputs: Vec<Output<'w, S>>,
    size_bytes: u64,
    may_be_missing: &'w [Wall],
    credit_bytes: u64,
    output_bytes: u64,
    output_limit: u64,
    read_bytes: u64,
    read_limit: u64,
}

impl<'w, S: OutputSink> Session<'w, S> {
    fn new(
        socket: UnixStream,
        wanted: &'w mut [Wanted<S>],
        size_bytes: u64,
        supervisor: &'w Supervisor,
    ) -> Self {
        let allowance = &supervisor.allowance;
        let times =
            |factor: u64| size_bytes.saturating_mul(factor).max(allowance.output_floor_bytes);
        let output = |Wanted { recipe, sink }: &'w mut Wanted<S>| Output {
            name: recipe.output_name(),
            head: if recipe.head_comes_last() { Head::Due } else { Head::None },
            bytes: 0,
            sink,
        };
        Self {
            socket,
            idle_time: allowance.idle_time,
            outputs: wanted.iter_mut().map(output).collect(),
            size_bytes,
            may_be_missing: &supervisor.without,
            credit_bytes: INITIAL_CREDIT_BYTES,
            output_bytes: 0,
            output_limit: times(allowance.output_per_input),
            read_bytes: 0,
            read_limit: times(allowance.read_per_input),
        }
    }

    async fn talk(&mut self, job: Frame, source: &impl RangeSource) -> Result<Outcome, Stopped> {
        let confinement = self.begin(&job).await?;
        loop {
            match self.receive().await? {
                Frame::Range { offset, len } => self.range(source, offset, len).await?,
                Frame::Output { name, data } => self.output(&name, data).await?,
                Frame::Head { name, data } => self.head(&name, data).await?,
                Frame::Progress { permille } => {
                    let permille = permille.min(1000);
                    self.outputs.iter_mut().for_each(|output| output.sink.progress(permille));
                }
                Frame::Done(ended) => return Ok((self.done(ended)?, confinement)),
                Frame::Failed(failure) => return Err(declined(failure).into()),
                Frame::Ready(_) => return Err(misbehaved("said twice that it was ready").into()),
                Frame::Job(_) | Frame::Bytes { .. } | Frame::Credit { .. } => {
                    return Err(misbehaved("sent a frame that is ours to send").into());
                }
            }
        }
    }

    /// Sends the job, and hears what the worker did to itself.
    async fn begin(&mut self, job: &Frame) -> Result<Confinement, Stopped> {
        self.send(job).await?;
        let confinement = match self.receive().await? {
            Frame::Ready(confinement) => confinement,
            Frame::Failed(failure) => return Err(declined(failure).into()),
            _ => return Err(misbehaved("spoke before it was confined").into()),
        };
        if confinement.protocol != PROTOCOL_VERSION {
            return Err(misbehaved("speaks another version of the protocol").into());
        }
        if confinement.without.iter().any(|wall| !self.may_be_missing.contains(wall)) {
            return Err(misbehaved("went on without a part of its confinement").into());
        }
        Ok(confinement)
    }

    async fn range(
        &mut self,
        source: &impl RangeSource,
        offset: u64,
        len: u32,
    ) -> Result<(), Stopped> {
        let end = offset
            .checked_add(len.into())
            .filter(|end| *end <= self.size_bytes)
            .ok_or_else(|| misbehaved("asked for a range outside the original"))?;
        self.read_bytes += u64::from(len);
        if self.read_bytes > self.read_limit {
            return Err(Failure::LimitReached { limit: Limit::ReadBytes(self.read_limit) }.into());
        }
        let data =
            source.read(offset..end).await.map_err(|error| Failure::Source(Arc::new(error)))?;
        if data.len() as u64 != u64::from(len) {
            let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(Failure::Source(Arc::new(error)).into());
        }
        let data = data.to_vec();
        self.send(&Frame::Bytes { offset, data }).await
    }

    async fn output(&mut self, name: &str, data: Vec<u8>) -> Result<(), Stopped> {
        let named = self.outputs.iter_mut().find(|output| output.name == name);
        let output = named
            .filter(|output| output.head != Head::Here)
            .ok_or_else(|| misbehaved("sent an output nobody asked for"))?;
        let bytes = data.len() as u64;
        self.credit_bytes = self
            .credit_bytes
            .checked_sub(bytes)
            .ok_or_else(|| misbehaved("sent more output than it had credit for"))?;
        output.bytes += bytes;
        self.output_bytes += bytes;
        if self.output_bytes > self.output_limit {
            return Err(
                Failure::LimitReached { limit: Limit::OutputBytes(self.output_limit) }.into()
            );
        }
        output.sink.write(Bytes::from(data)).await.map_err(Failure::of_sink)?;
        self.credit_bytes += bytes;
        self.send(&Frame::Credit { bytes }).await
    }

    async fn head(&mut self, name: &str, data: Vec<u8>) -> Result<(), Stopped> {
        let named = self.outputs.iter_mut().find(|output| output.name == name);
        let output = named
            .filter(|output| output.head == Head::Due && output.bytes > 0)
            .ok_or_else(|| misbehaved("sent a head nobody asked for"))?;
        output.head = Head::Here;
        output.bytes += data.len() as u64;
        self.output_bytes += data.len() as u64;
        Ok(output.sink.head(Bytes::from(data)).await.map_err(Failure::of_sink)?)
    }

    fn done(&self, ended: Vec<Ended>) -> Result<Vec<Result<Report, Failure>>, Failure> {
        if ended.len() != self.outputs.len() {
            return Err(misbehaved("its account does not fit what was asked for"));
        }
        let ended = ended.into_iter().zip(&self.outputs);
        let ended = ended.map(|(ended, output)| match ended {
            Ended::Failed(failure) => Ok(Err(declined(failure))),
            Ended::Made(_) if output.bytes == 0 || output.head == Head::Due => {
                Err(misbehaved("its account does not fit what it sent"))
            }
            Ended::Made(report) => Ok(Ok(report)),
        });
        ended.collect()
    }

    async fn send(&mut self, frame: &Frame) -> Result<(), Stopped> {
        let bytes =
            frame.encode().map_err(|error| Failure::Misbehaved { what: error.to_string() })?;
        // A worker that stopped listening may have said why before: what it sent is read first, then its end is seen.
        let written = tokio::time::timeout(self.idle_time, self.socket.write_all(&bytes)).await;
        Ok(written.map(drop).map_err(|_| hangs(self.idle_time))?)
    }

    async fn receive(&mut self) -> Result<Frame, Stopped> {
        let idle_time = self.idle_time;
        let frame = tokio::time::timeout(idle_time, self.whole_frame()).await;
        frame.map_err(|_| hangs(idle_time))?
    }

    async fn whole_frame(&mut self) -> Result<Frame, Stopped> {
        let mut header = [0; HEADER_BYTES];
        self.fill(&mut header).await?;
        let header = Header::parse(&header).map_err(broken)?;
        let mut payload = vec![0; header.payload_bytes as usize];
        self.fill(&mut payload).await?;
        Ok(Frame::decode(header.kind, &payload).map_err(broken)?)
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Stopped> {
        match self.socket.read_exact(buffer).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Stopped::Gone),
        }
    }
}

fn hangs(idle_time: Duration) -> Failure {
    Failure::LimitReached { limit: Limit::IdleSeconds(idle_time.as_secs()) }
}

fn broken(error: FrameError) -> Failure {
    misbehaved(&error.to_string())
}

fn misbehaved(what: &str) -> Failure {
    Failure::Misbehaved { what: what.into() }
}

fn declined(failure: WorkerFailure) -> Failure {
    Failure::Declined { code: failure.code, message: clean_message(&failure.message) }
}

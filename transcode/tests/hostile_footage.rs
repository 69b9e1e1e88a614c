//! Footage that somebody made to do harm stays harmless: each ends in derivatives or in a reason, within its limits, and
//! nothing that it names is opened or connected.
//!
//! A thousand inputs by default; ten thousand with EXHIBIT_SOAK=1. EXHIBIT_SEED makes others, EXHIBIT_INPUTS=FIRST..END tries
//! some of them; EXHIBIT_INPUT=NUMBER tries one again, and leaves it in the temporary folder.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![allow(clippy::print_stdout, reason = "what failed is tried again from what it printed")]

mod support;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use support::watched::{Seen, Watched};
use support::*;
use test_machine::hostile::{Canary, Input, Maker};
use transcode::protocol::{
    JoinedParameters, Limits, MAX_MESSAGE_CHARS, Probe, ProxyRangeParameters, Range, Recipe,
};
use transcode::recipe;
use transcode::supervise::{Allowance, Wanted};
use transcode::{Failure, Supervisor};

const INPUTS: u64 = 1_000;
const INPUTS_IN_A_SOAK: u64 = 10_000;
const SEED: u64 = 20_261_130;
/// Beyond all limits of a job: who waits this long, waits for a supervisor that hangs.
const PATIENCE: Duration = Duration::from_secs(600);
/// What libraries ask for whatever they read, and do without: the state of a descriptor that is closed (Rust, in programs for
/// tests), the time zone, tables of character sets, the number of processors, threads the new way.
const DONE_WITHOUT: &[&str] = &[
    "fcntl(0, F_GETFD)",
    "openat(AT_FDCWD, \"/etc/localtime\"",
    "openat(AT_FDCWD, \"/usr/lib/",
    "openat(AT_FDCWD, \"/sys/devices/system/cpu",
    "clone3(",
];

/// Memory as on a server, and less of the rest, so that what would go on for hours ends.
fn limits() -> Allowance {
    Allowance {
        worker: Limits { cpu_seconds: 20, ..Allowance::default().worker },
        wall_time: Duration::from_secs(300),
        idle_time: Duration::from_secs(180),
        ..Allowance::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_input_ends_in_derivatives_or_a_reason() {
    let number = |name: &str| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let soak = env::var("EXHIBIT_SOAK").is_ok_and(|value| value == "1");
    let inputs = if soak { INPUTS_IN_A_SOAK } else { INPUTS };
    let seed = number("EXHIBIT_SEED").unwrap_or(SEED);
    println!("{inputs} inputs, EXHIBIT_SEED={seed}");
    let canary = Canary::new();
    let maker = Maker::new(seed, &canary);
    let numbers = match number("EXHIBIT_INPUT") {
        Some(one) => {
            keep(&maker.input(one));
            one..one + 1
        }
        None => some_of(inputs),
    };
    let trial = Arc::new(Trial::new(maker, canary, numbers));
    let lanes = std::thread::available_parallelism().map_or(2, usize::from);
    let lanes: Vec<_> = (0..lanes).map(|_| tokio::spawn(Arc::clone(&trial).work())).collect();
    for lane in lanes {
        lane.await.unwrap();
    }
    let trial = Arc::into_inner(trial).unwrap();
    let tally = trial.tally.into_inner().unwrap();
    println!("{tally}");
    assert_eq!(tally.wrongs, [""; 0]);
}

/// All, or those between two numbers.
fn some_of(inputs: u64) -> std::ops::Range<u64> {
    let named = env::var("EXHIBIT_INPUTS").unwrap_or_default();
    match named.split_once("..") {
        Some((first, end)) => first.parse().unwrap()..end.parse().unwrap(),
        None => 0..inputs,
    }
}

fn keep(input: &Input) {
    let path = env::temp_dir().join(format!("hostile-{}", input.number));
    std::fs::write(&path, &input.bytes).unwrap();
    println!("{}: {}", path.display(), input.what);
}

/// Inputs, who takes the next one, and what became of those before.
struct Trial {
    maker: Maker,
    canary: Canary,
    next: AtomicU64,
    end: u64,
    tally: Mutex<Tally>,
}

impl Trial {
    fn new(maker: Maker, canary: Canary, numbers: std::ops::Range<u64>) -> Self {
        let next = AtomicU64::new(numbers.start);
        Self { maker, canary, next, end: numbers.end, tally: Mutex::default() }
    }

    async fn work(self: Arc<Self>) {
        let lane = Lane::new(worker());
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.end {
                return;
            }
            // Making it waits for another program.
            let input = tokio::task::block_in_place(|| self.maker.input(number));
            if number > 0 && number.is_multiple_of(1000) {
                println!("up to {number}:\n{}", self.tally.lock().unwrap());
            }
            self.one(&lane, input).await;
        }
    }

    /// What a server would make of one input: first a probe, then what follows from it.
    async fn one(&self, lane: &Lane, input: Input) {
        let original = Bytes::from(input.bytes.clone());
        let probed = lane.job(vec![recipe::first()], &original, &input).await;
        let probe = probed.made(0).map(Probe::parse);
        if probe.as_ref().is_some_and(Option::is_none) {
            self.wrong(&input, "what it calls a probe is none");
        }
        self.note(&input, "probe", probed);
        let probe = probe.flatten();
        let media = probe.as_ref().map(recipe::media_text);
        let mut next = media.map(|media| recipe::after(&media)).unwrap_or_default();
        next.iter_mut().for_each(in_one);
        if !next.is_empty() {
            let job = lane.job(next, &original, &input).await;
            self.note(&input, "all that follows", job);
        }
        if probe.as_ref().is_some_and(Probe::has_video) {
            let job = lane.job(vec![from_one_second()], &original, &input).await;
            self.note(&input, "a range", job);
        }
        // A worker that was taken over may call it a range that it made.
        if probe.is_some_and(|probe| probe.container.starts_with("mov")) && original.len() > 8 {
            let job = lane.job(vec![joined(&original)], &original, &input).await;
            self.note(&input, "joined", job);
        }
        for heard in self.canary.heard() {
            self.wrong(&input, &format!("the canary: {heard}"));
        }
    }

    fn note(&self, input: &Input, stage: &'static str, job: Job) {
        for wrong in job.wrongs(input.bytes.len() as u64) {
            self.wrong(input, &wrong);
        }
        if let Some(why) = job.why_to_look() {
            println!("{}: {stage}: {why}", named(input));
        }
        self.tally.lock().unwrap().add(input, stage, job);
    }

    /// The rest is tried all the same.
    fn wrong(&self, input: &Input, what: &str) {
        println!("WRONG: {}: {what}", named(input));
        self.tally.lock().unwrap().wrongs.push(format!("{}: {what}", named(input)));
    }
}

fn in_one(recipe: &mut Recipe) {
    if let Recipe::Proxy(parameters) = recipe {
        parameters.ranges_from_90k.clear();
    }
}

/// A range that begins where there may be nothing, by an index that may be none.
fn from_one_second() -> Recipe {
    let range = Range::Pictures { from_90k: Some(90_000), to_90k: None };
    Recipe::ProxyRange(ProxyRangeParameters { copy: Default::default(), range })
}

/// All of it for the pictures, its last bytes for the sound.
fn joined(original: &Bytes) -> Recipe {
    let ranges_bytes = vec![original.len() as u64 - 8, 8];
    Recipe::Joined(JoinedParameters { ranges_bytes })
}

fn named(input: &Input) -> String {
    format!("EXHIBIT_INPUT={} ({}, {} bytes)", input.number, input.what, input.bytes.len())
}

/// A supervisor whose workers are under a watch, one at a time.
struct Lane {
    watched: Watched,
    supervisor: Supervisor,
}

/// A recipe, and what became of it.
type Each = (Recipe, Result<Vec<u8>, Failure>);

/// What became of a job.
struct Job {
    took: Duration,
    seen: Seen,
    written_bytes: u64,
    /// Of each recipe, in order; of all in one where the job itself came to nothing.
    ended: Result<Vec<Each>, Failure>,
}

impl Lane {
    fn new(worker: &std::path::Path) -> Self {
        let watched = Watched::new(worker, "exhibit-transcode");
        let supervisor = Supervisor::new(watched.program(), limits());
        Self { watched, supervisor }
    }

    async fn job(&self, recipes: Vec<Recipe>, original: &Bytes, input: &Input) -> Job {
        let mut wanted: Vec<_> =
            recipes.into_iter().map(|recipe| Wanted { recipe, sink: Vec::new() }).collect();
        let began = Instant::now();
        let run = self.supervisor.run(digests(), original, &mut wanted);
        let outcome = tokio::time::timeout(PATIENCE, run).await;
        let outcome = outcome.unwrap_or_else(|_| panic!("{}: it hangs", named(input)));
        let took = began.elapsed();
        let written_bytes = wanted.iter().map(|one| one.sink.len() as u64).sum();
        let ended = outcome.map(|finished| {
            let ended = finished.ended.into_iter().zip(wanted);
            ended.map(|(ended, one)| (one.recipe, ended.map(|_| one.sink))).collect()
        });
        Job { took, seen: self.watched.seen(), written_bytes, ended }
    }
}

impl Job {
    /// What must not be, whatever came.
    fn wrongs(&self, size_bytes: u64) -> Vec<String> {
        let mut wrongs = Vec::new();
        for failure in self.failures() {
            let said = failure.to_string();
            let is_clean = !said.is_empty()
                && said.chars().count() <= MAX_MESSAGE_CHARS
                && !said.chars().any(char::is_control);
            // A decoder that crashes is contained; a panic, or a broken protocol, would be our own.
            let is_ours =
                matches!(failure, Failure::Misbehaved { .. }) || said.contains("exit code");
            if !failure.is_about_the_footage() || !is_clean || is_ours {
                wrongs.push(format!("{failure:?}: {said:?}, {:?}", self.seen.refused));
            }
        }
        wrongs.extend(self.seen.given.iter().map(|given| format!("the kernel gave it {given}")));
        let asked = self.seen.refused.iter().filter(|asked| !is_done_without(asked));
        wrongs.extend(asked.map(|asked| format!("it asked for {asked}")));
        let allowed = limits();
        let most = allowed.output_floor_bytes.max(size_bytes * allowed.output_per_input);
        if self.written_bytes > most {
            wrongs.push(format!("{} bytes of output", self.written_bytes));
        }
        if let Some((memory_bytes, _)) =
            self.seen.used.filter(|used| used.0 > allowed.worker.memory_bytes)
        {
            wrongs.push(format!("{memory_bytes} bytes of memory"));
        }
        wrongs
    }

    fn failures(&self) -> Vec<&Failure> {
        match &self.ended {
            Err(failure) => vec![failure],
            Ok(ended) => ended.iter().filter_map(|(_, one)| one.as_ref().err()).collect(),
        }
    }

    fn made(&self, index: usize) -> Option<&[u8]> {
        self.ended.as_ref().ok().and_then(|ended| ended[index].1.as_deref().ok())
    }

    /// What is contained, and yet worth a look.
    fn why_to_look(&self) -> Option<String> {
        let is_odd = |failure: &&&Failure| {
            ["crashed", "limit-reached", "internal"].contains(&failure.code())
        };
        self.failures().iter().find(is_odd).map(ToString::to_string)
    }
}

fn is_done_without(asked: &str) -> bool {
    // The last call of one that was ended may be written down in part.
    DONE_WITHOUT.iter().any(|known| asked.starts_with(known) || known.starts_with(asked))
}

/// Endings in numbers.
#[derive(Default)]
struct Tally {
    wrongs: Vec<String>,
    jobs: BTreeMap<(&'static str, String), u64>,
    derivatives: BTreeMap<(&'static str, String), u64>,
    asked: BTreeMap<String, u64>,
    inputs_with_a_crash: std::collections::BTreeSet<u64>,
    longest: Most,
    most_cpu: Most,
    most_memory: Most,
    cpu_seconds: f64,
}

/// The largest of something, and which input it was.
#[derive(Default)]
struct Most(f64, String);

impl Most {
    fn at_least(&mut self, value: f64, input: &Input) {
        if value > self.0 {
            *self = Self(value, format!("input {}, {}", input.number, input.what));
        }
    }
}

impl Tally {
    fn add(&mut self, input: &Input, stage: &'static str, job: Job) {
        self.longest.at_least(job.took.as_secs_f64(), input);
        if let Some((memory, cpu)) = job.seen.used {
            self.most_memory.at_least(memory as f64 / f64::from(1 << 20), input);
            self.most_cpu.at_least(cpu, input);
            self.cpu_seconds += cpu;
        }
        for asked in &job.seen.refused {
            let asked = asked.split(" = ").next().unwrap_or_default();
            *self.asked.entry(asked.to_owned()).or_default() += 1;
        }
        if matches!(job.ended, Err(Failure::Crashed { .. })) {
            self.inputs_with_a_crash.insert(input.number);
        }
        let together = match &job.ended {
            Err(failure) => ending(failure),
            Ok(ended) if ended.iter().all(|(_, one)| one.is_ok()) => "made".into(),
            Ok(ended) if ended.iter().all(|(_, one)| one.is_err()) => ended
                .first()
                .and_then(|(_, one)| one.as_ref().err())
                .map(ending)
                .unwrap_or_default(),
            Ok(_) => "made in part".into(),
        };
        *self.jobs.entry((stage, together)).or_default() += 1;
        for (recipe, one) in job.ended.into_iter().flatten() {
            let ended = one.as_ref().err().map_or_else(|| "made".into(), ending);
            *self.derivatives.entry((recipe.kind(), ended)).or_default() += 1;
        }
    }
}

fn ending(failure: &Failure) -> String {
    match failure {
        Failure::Crashed { how } => format!("crashed, {how}"),
        Failure::LimitReached { limit } => format!("limit-reached, {limit}"),
        other => other.code().to_owned(),
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for ((stage, ending), count) in &self.jobs {
            writeln!(text, "job        {stage:<17} {ending:<40} {count}")?;
        }
        for ((kind, ending), count) in &self.derivatives {
            writeln!(text, "derivative {kind:<17} {ending:<40} {count}")?;
        }
        for (asked, count) in &self.asked {
            writeln!(text, "refused    {count:>7} times {asked}")?;
        }
        writeln!(text, "inputs at which a worker crashed: {}", self.inputs_with_a_crash.len())?;
        writeln!(text, "longest job {:.1} s ({})", self.longest.0, self.longest.1)?;
        writeln!(text, "most processor time {:.1} s ({})", self.most_cpu.0, self.most_cpu.1)?;
        writeln!(text, "most memory {:.0} MiB ({})", self.most_memory.0, self.most_memory.1)?;
        writeln!(text, "processor time together {:.0} s, watching included", self.cpu_seconds)?;
        f.write_str(&text)
    }
}

/// Every way of naming something, as it is. The same baits are followed by Debian's ffmpeg where it is told that it may
/// (`test_machine::hostile`), so that silence says something.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_footage_names_is_opened_or_connected() {
    let canary = Canary::new();
    let maker = Maker::new(SEED, &canary);
    let lane = Lane::new(worker());
    let name = canary.folder().file_name().unwrap().to_str().unwrap().to_owned();
    for (what, bytes) in maker.baits() {
        let input = Input { number: 0, what: what.to_owned(), bytes: bytes.to_vec() };
        let original = Bytes::from(input.bytes.clone());
        // As if the probe had found everything in it.
        let job = lane.job(recipe::standard(), &original, &input).await;
        assert_eq!(job.wrongs(original.len() as u64), [""; 0], "{what}");
        assert!(!job.seen.refused.iter().any(|asked| asked.contains(&name)), "{what}");
        for text in ["HLS", "concatenation", "DASH", "SDP"] {
            if what.starts_with(text) {
                let each = job.ended.as_ref().expect("each says why");
                let is_refused = |one: &Result<_, Failure>| {
                    one.as_ref().is_err_and(|failure| failure.code() == "format-refused")
                };
                assert!(each.iter().all(|(_, one)| is_refused(one)), "{what}: {each:?}");
            }
        }
        if what.starts_with("mp4 by") || what.starts_with("mov by") {
            let shows = job.made(1).is_some() || job.made(2).is_some();
            assert!(!shows, "{what}: there is a picture");
        }
        assert_eq!(canary.heard(), [""; 0], "{what}");
    }
}

/// The watch itself: what a worker asks for that was taken over is seen, and told from what it is given.
#[tokio::test]
async fn whoever_asks_is_seen() {
    for (deed, call) in [
        ("opens", "openat("),
        ("makes-a-socket", "socket("),
        ("executes", "execve("),
        ("removes", "unlink("),
        ("signals", "kill("),
        ("forks", "clone("),
    ] {
        let watched = Watched::new(taken_over_worker(), deed);
        let supervisor = Supervisor::new(watched.program(), limits());
        let original = Bytes::from_static(b"footage");
        let outcome = run_one(&supervisor, recipe::first(), &original, &mut Vec::new()).await;
        assert!(outcome.is_err(), "{deed}");
        let seen = watched.seen();
        assert!(seen.refused.iter().any(|asked| asked.starts_with(call)), "{deed}: {seen:?}");
        assert_eq!(seen.given, [""; 0], "{deed}");
    }
}

//! A worker that has been taken over: whatever it does, the supervisor ends it with a typed reason, bounded.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use support::*;
use transcode::protocol::Recipe;
use transcode::source::OutputSink;
use transcode::supervise::Allowance;
use transcode::{Failure, Supervisor};

/// The hostile program under the name of its deed.
fn hostile(deed: &str, folder: &Path) -> PathBuf {
    let named = folder.join(deed);
    std::os::unix::fs::symlink(hostile_worker(), &named).unwrap();
    named
}

async fn supervise(deed: &str) -> (Result<Finished, Failure>, Vec<u8>) {
    supervise_with(short(), deed).await
}

fn short() -> Allowance {
    Allowance {
        wall_time: Duration::from_secs(3),
        output_floor_bytes: 6 << 20,
        ..Allowance::default()
    }
}

async fn supervise_with(allowance: Allowance, deed: &str) -> (Result<Finished, Failure>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new(hostile(deed, folder.path()), allowance);
    let original = Bytes::from(vec![0; 100_000]);
    let mut output = Vec::new();
    let probe = Recipe::Probe(Default::default());
    let outcome = run_one(&supervisor, probe, &original, &mut output).await;
    assert_nobody_left(&folder.path().join(deed)).await;
    (outcome, output)
}

/// No process started as `program` is there any more.
async fn assert_nobody_left(program: &Path) {
    let start = Instant::now();
    while pids(program).next().is_some() {
        assert!(start.elapsed() < Duration::from_secs(10), "{} lives on", program.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_breach_of_the_protocol_ends_the_worker() {
    for (deed, said) in [
        ("asks-beyond-the-end", "range outside the original"),
        ("asks-at-the-end-of-numbers", "range outside the original"),
        ("asks-for-too-much", "malformed Range frame"),
        ("announces-four-gigabytes", "longer than the limit"),
        ("speaks-another-language", "not a frame"),
        ("speaks-another-version", "another version of the protocol"),
        ("leaves-a-wall-out", "without a part of its confinement"),
        ("is-ready-twice", "said twice that it was ready"),
        ("speaks-before-it-is-ready", "before it was confined"),
        ("sends-what-nobody-asked-for", "an output nobody asked for"),
        ("sends-a-head-nobody-asked-for", "a head nobody asked for"),
        ("boasts", "does not fit what it sent"),
        ("gives-an-account-too-many", "does not fit what was asked for"),
        ("closes-and-stays", "closed its connection"),
    ] {
        let (outcome, output) = supervise(deed).await;
        let failure = outcome.expect_err(deed);
        assert_eq!(failure.code(), "misbehaved", "{deed}: {failure:?}");
        assert!(failure.to_string().contains(said), "{deed}: {failure}");
        assert!(failure.is_about_the_footage() && !failure.is_worth_another_attempt());
        assert!(output.is_empty(), "{deed}");
    }
}

#[tokio::test]
async fn what_a_worker_uses_up_is_bounded() {
    let (outcome, output) = supervise("floods").await;
    assert_eq!(outcome.unwrap_err().to_string(), "stopped at the limit: 6291456 bytes of output");
    assert!(output.len() <= 6 << 20);
    let (outcome, _) = supervise("reads-for-ever").await;
    let said = outcome.unwrap_err().to_string();
    assert!(said.contains("bytes read from the original"), "{said}");
    let (outcome, _) = supervise("is-silent").await;
    assert_eq!(outcome.unwrap_err().to_string(), "stopped at the limit: wall time of 3 s");
}

/// Long before the wall time: no whole frame, or nobody who takes ours.
#[tokio::test]
async fn a_worker_that_hangs_is_ended() {
    let idle = Allowance { idle_time: Duration::from_secs(1), ..short() };
    for deed in ["is-silent", "listens-to-nothing", "dribbles"] {
        let (outcome, _) = supervise_with(idle, deed).await;
        let failure = outcome.unwrap_err();
        assert_eq!(failure.to_string(), "stopped at the limit: 1 s without a word", "{deed}");
        assert_eq!(failure.code(), "limit-reached");
    }
    // One that goes on, slowly, has until the wall time.
    let (outcome, _) = supervise_with(idle, "takes-its-time").await;
    assert_eq!(outcome.unwrap_err().to_string(), "stopped at the limit: wall time of 3 s");
}

#[tokio::test]
async fn what_a_worker_says_is_cleaned() {
    let (outcome, _) = supervise("slanders").await;
    let Err(Failure::Declined { message, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(message.chars().count() <= transcode::protocol::MAX_MESSAGE_CHARS);
    assert!(!message.chars().any(|c| c.is_control() || c == '\u{202e}'));
}

#[tokio::test]
async fn a_worker_that_ends_is_a_crash() {
    let (outcome, _) = supervise("ends").await;
    let failure = outcome.unwrap_err();
    assert!(failure.to_string().contains("exit code 7"), "{failure}");
    assert!(failure.is_worth_another_attempt());
}

/// The real program under a name of its own, so that its processes can be told from others.
struct Real {
    program: PathBuf,
    original: Bytes,
    _folder: tempfile::TempDir,
}

impl Real {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("exhibit-transcode");
        std::os::unix::fs::symlink(worker(), &program).unwrap();
        Self { program, original: footage(CCTV), _folder: folder }
    }

    async fn makes_a_proxy(&self, output: &mut Vec<u8>) -> Result<Finished, Failure> {
        let proxy = Recipe::Proxy(Default::default());
        let supervisor = Supervisor::new(&self.program, allowance());
        run_one(&supervisor, proxy, &self.original, output).await
    }
}

/// The real one, killed from outside in the middle of its work.
#[tokio::test]
async fn a_worker_killed_in_the_middle_is_a_crash() {
    let real = Real::new();
    let (program, mut output) = (&real.program, Vec::new());
    let run = real.makes_a_proxy(&mut output);
    let (outcome, ()) = tokio::join!(run, async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(kill(program) > 0, "it was still at work");
    });
    let failure = outcome.unwrap_err();
    assert!(failure.to_string().contains("signal 9"), "{failure:?}");
    assert!(failure.is_worth_another_attempt());
}

/// Dropping the job ends its worker.
#[tokio::test]
async fn a_dropped_job_leaves_no_worker() {
    let real = Real::new();
    let (program, mut output) = (&real.program, Vec::new());
    let run = real.makes_a_proxy(&mut output);
    let cut_off = tokio::time::timeout(Duration::from_millis(400), run).await;
    assert!(cut_off.is_err(), "it was still at work");
    assert_nobody_left(program).await;
}

/// What the worker has taken from itself, as the kernel tells it.
#[tokio::test]
async fn the_worker_at_work_is_confined() {
    let real = Real::new();
    let (program, mut output) = (&real.program, Vec::new());
    let run = real.makes_a_proxy(&mut output);
    let look = async {
        let process = at_work(program).await;
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap();
        let limits = read("limits");
        // What it may now, and what it could give itself again.
        let limit = |name: &str| {
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            let both = line[name.len()..].split_whitespace().take(2);
            both.map(|limit| limit.parse().unwrap_or(u64::MAX)).collect::<Vec<_>>()
        };
        for name in ["open files", "file size", "core file size", "locked memory"] {
            assert_eq!(limit(&format!("Max {name}")), [0, 0], "{name}");
        }
        assert_eq!(limit("Max address space"), [2 << 30, 2 << 30]);
        assert_eq!(limit("Max cpu time"), [4 * 3600, 4 * 3600 + 2]);
        let status = read("status");
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        assert_eq!(value("NoNewPrivs:"), "1");
        assert_eq!(value("Seccomp:"), "2", "a list of system calls");
        assert_eq!(value("CapEff:"), "0000000000000000");
        assert_eq!(value("CapPrm:"), "0000000000000000");
        for name in ["user", "net", "ipc", "uts"] {
            let of =
                |process: &str| std::fs::read_link(format!("/proc/{process}/ns/{name}")).unwrap();
            assert_ne!(of(&process.to_string()), of("self"), "a namespace of its own: {name}");
        }
        let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
        assert_eq!(open, 3, "the socket and two times nothing");
        assert_eq!(read("environ").trim_end_matches('\0'), "");
    };
    tokio::pin!(run);
    tokio::select! {
        outcome = &mut run => panic!("too quick: {outcome:?}"),
        () = look => {}
    }
}

/// Started by somebody who leaves more open than our server does.
#[tokio::test]
async fn a_worker_keeps_nothing_that_it_was_given_besides() {
    use std::os::unix::fs::PermissionsExt;
    let real = Real::new();
    let careless = real.program.with_file_name("careless");
    let text = format!("#!/bin/sh\nexec 7</etc/hostname\nexec {}\n", real.program.display());
    std::fs::write(&careless, text).unwrap();
    std::fs::set_permissions(&careless, std::fs::Permissions::from_mode(0o755)).unwrap();
    let supervisor = Supervisor::new(&careless, allowance());
    let (proxy, mut output) = (Recipe::Proxy(Default::default()), Vec::new());
    let run = run_one(&supervisor, proxy, &real.original, &mut output);
    tokio::select! {
        outcome = run => panic!("too quick: {outcome:?}"),
        process = at_work(&real.program) => {
            let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
            assert_eq!(open, 3, "the socket and two times nothing");
        }
    }
}

/// Once it has laid the list of system calls, which is the last thing before the first byte of footage.
async fn at_work(program: &Path) -> i32 {
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let Some(process) = pids(program).next() else { continue };
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        if seccomp.is_some_and(|seccomp| seccomp.trim() == "2") {
            return process;
        }
    }
}

fn kill(program: &Path) -> usize {
    let kill = |process| {
        let process = rustix::process::Pid::from_raw(process).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL)
    };
    pids(program).filter(|process| kill(*process).is_ok()).count()
}

/// A store that is full.
struct Full;

impl OutputSink for Full {
    async fn write(&mut self, _: Bytes) -> std::io::Result<()> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    async fn head(&mut self, _: Bytes) -> std::io::Result<()> {
        Err(std::io::ErrorKind::StorageFull.into())
    }
}

#[tokio::test]
async fn a_full_store_is_a_failure_of_its_own_and_not_the_footages() {
    let probe = Recipe::Probe(Default::default());
    let supervisor = Supervisor::new(worker(), allowance());
    let outcome = run_one(&supervisor, probe, &footage(WEBCAM), &mut Full).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.code(), "no-room");
    assert!(!failure.is_about_the_footage());
}

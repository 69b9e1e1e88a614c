//! What code can do that has taken over the worker: the real confinement, then one deed each.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use support::*;
use transcode::protocol::{Limits, Recipe, Wall};
use transcode::supervise::Allowance;
use transcode::{Failure, Supervisor};

/// What came of a deed, in the worker's own words.
async fn deed(name: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("log.key"), "secret").unwrap();
    let program = folder.path().join(name);
    std::os::unix::fs::symlink(taken_over_worker(), &program).unwrap();
    last_word(&program).await
}

async fn last_word(program: &Path) -> String {
    let failure = failure(program, allowance()).await;
    let Failure::Declined { message, .. } = failure else { panic!("{failure:?}") };
    message
}

async fn failure(program: &Path, allowance: Allowance) -> Failure {
    let original = Bytes::from_static(b"footage");
    let probe = Recipe::Probe(Default::default());
    let supervisor = Supervisor::new(program, allowance);
    run_one(&supervisor, probe, &original, &mut Vec::new()).await.unwrap_err()
}

/// Also with a descriptor given up, so that its number is free.
#[tokio::test]
async fn it_can_open_nothing() {
    for name in ["opens", "connects", "makes-a-pipe", "makes-a-socket", "removes", "renames"] {
        assert_refused(name).await;
    }
    for name in ["connects-by-tcp", "connects-what-it-has"] {
        assert_refused(name).await;
    }
}

/// The server runs under the same account, and is its parent.
#[tokio::test]
async fn it_reaches_no_other_process() {
    for name in ["signals", "signals-a-thread", "holds-a-process", "traces", "reads-the-server"] {
        assert_refused(name).await;
    }
    assert_refused("limits-the-server").await;
}

#[tokio::test]
async fn it_starts_nothing_and_makes_no_code() {
    for name in ["executes", "forks", "makes-code", "asks-the-kernel"] {
        assert_refused(name).await;
    }
}

async fn assert_refused(name: &str) {
    let said = deed(name).await;
    assert!(said.contains("Operation not permitted"), "{name}: {said}");
}

/// Each wall has its own way of saying no, so that it is seen to stand without the others; and without any, nobody says it.
#[tokio::test]
async fn each_wall_stands_alone() {
    const SECCOMP: &str = "Operation not permitted";
    const LANDLOCK: &str = "Permission denied";
    const DESCRIPTORS: &str = "Too many open files";
    for (deed, said_by) in [
        ("nothing.opens", "done"),
        ("seccomp.opens", SECCOMP),
        ("landlock.opens", LANDLOCK),
        ("descriptors.opens", DESCRIPTORS),
        ("nothing.removes", "done"),
        ("seccomp.removes", SECCOMP),
        ("landlock.removes", LANDLOCK),
        ("nothing.renames", "done"),
        ("seccomp.renames", SECCOMP),
        ("landlock.renames", LANDLOCK),
        ("nothing.makes-a-socket", "done"),
        ("seccomp.makes-a-socket", SECCOMP),
        ("descriptors.makes-a-socket", DESCRIPTORS),
        ("nothing.connects-by-tcp", "Connection refused"),
        ("seccomp.connects-by-tcp", SECCOMP),
        ("namespaces.connects-by-tcp", "Network is unreachable"),
        ("nothing.signals", "done"),
        ("seccomp.signals", SECCOMP),
        ("nothing.forks", "done"),
        ("seccomp.forks", SECCOMP),
        ("nothing.makes-code", "done"),
        ("seccomp.makes-code", SECCOMP),
        ("nothing.takes-memory", "done"),
        ("memory.takes-memory", "Cannot allocate memory"),
    ] {
        let said = self::deed(deed).await;
        assert!(said.contains(said_by), "{deed}: {said}");
    }
}

/// 64 GiB, at once or bit by bit.
#[tokio::test]
async fn it_takes_no_more_memory_than_it_may() {
    assert!(deed("takes-memory").await.contains("Cannot allocate memory"));
    let pieces = deed("takes-memory-in-pieces").await;
    let taken_mib: u64 = pieces.strip_suffix(" MiB").unwrap().parse().unwrap();
    let most_mib = allowance().worker.memory_bytes >> 20;
    assert!(taken_mib > 0 && taken_mib < most_mib, "{taken_mib} of {most_mib} MiB");
}

/// The signal that its processor time is over can be ignored; the one that comes two seconds later cannot.
#[tokio::test]
async fn it_works_no_longer_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("burns");
    std::os::unix::fs::symlink(taken_over_worker(), &program).unwrap();
    let limits = Limits { cpu_seconds: 1, ..allowance().worker };
    let failure = failure(&program, Allowance { worker: limits, ..allowance() }).await;
    assert!(failure.to_string().contains("signal 9"), "{failure:?}");
}

/// A floor with a hole is none: nothing is read, and the reason names what is missing.
#[tokio::test]
async fn without_a_part_of_the_floor_it_reads_nothing() {
    for (name, missing) in [("without-landlock", "Landlock"), ("without-seccomp", "seccomp")] {
        let said = deed(name).await;
        assert!(said.contains("could not be confined") && said.contains(missing), "{name}: {said}");
    }
}

/// Somebody may say by name that Landlock is not to be had: then the rest stands, and the worker says that it is all there is.
#[tokio::test]
async fn what_is_lowered_by_name_is_all_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let lowered = |name: &str| {
        let program = folder.path().join(name);
        std::os::unix::fs::symlink(taken_over_worker(), &program).unwrap();
        Supervisor::new(program, allowance()).without(vec![Wall::Landlock])
    };
    let lacking = lowered("without-landlock");
    let refused = Supervisor::new(lacking.program(), allowance()).confinement().await.unwrap_err();
    assert!(refused.to_string().contains("Landlock"), "{refused}");
    assert_eq!(lacking.confinement().await.unwrap().without, [Wall::Landlock]);
    let laid = lowered("opens").confinement().await.unwrap();
    assert!(laid.without.is_empty(), "what can be laid is laid");
    let refused = lowered("without-seccomp").confinement().await.unwrap_err();
    assert!(refused.to_string().contains("seccomp"), "{refused}");
    let opens = lowered("without-landlock.opens").confinement().await;
    assert!(opens.is_ok());
}

/// Nobody of the same account may look into it, or have a core of it: the kernel gives what it says of it to root.
#[tokio::test]
async fn its_memory_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let program = match rustix::process::getuid().is_root() {
        true => as_nobody(taken_over_worker(), "waits", folder.path()),
        false => folder.path().join("waits"),
    };
    if program.ends_with("waits") {
        std::os::unix::fs::symlink(taken_over_worker(), &program).unwrap();
    }
    let waits = folder.path().join("waits");
    tokio::select! {
        said = last_word(&program) => panic!("it ended: {said}"),
        () = undumpable(&waits) => {}
    }
}

async fn undumpable(program: &Path) {
    for _ in 0..500 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let Some(process) = pids(program).next() else { continue };
        let owner =
            |name: &str| std::fs::metadata(format!("/proc/{process}/{name}")).unwrap().uid();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let runs_as_root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
        if !runs_as_root && status.contains("Seccomp:\t2") && owner("environ") == 0 {
            return;
        }
    }
    panic!("whoever runs under its account may look into it");
}

/// As an ordinary account the worker has few threads and processes; root is exempt, and the worker says so.
#[tokio::test]
async fn it_multiplies_only_where_it_says_that_it_may() {
    if rustix::process::getuid().is_root() {
        assert_eq!(deed("multiplies").await, "200 threads, limited: false");
        let folder = tempfile::tempdir().unwrap();
        let program = as_nobody(taken_over_worker(), "multiplies", folder.path());
        assert_eq!(last_word(&program).await, "15 threads, limited: true");
    } else {
        assert_eq!(deed("multiplies").await, "15 threads, limited: true");
    }
}

/// The real one under an ordinary account: what it makes needs no more threads than it may have.
#[tokio::test]
async fn an_ordinary_account_makes_viewing_copies() {
    let folder = tempfile::tempdir().unwrap();
    let program = match rustix::process::getuid().is_root() {
        true => as_nobody(worker(), "exhibit-transcode", folder.path()),
        false => worker().to_owned(),
    };
    let supervisor = Supervisor::new(program, allowance());
    let mut made = Vec::new();
    for path in [CCTV.to_owned(), format!("{HELLO}.avi")] {
        made.clear();
        let proxy = Recipe::Proxy(Default::default());
        let original = footage(&path);
        let run = run_one(&supervisor, proxy, &original, &mut made);
        let finished = run.await.unwrap();
        assert!(finished.confinement.threads_limited, "{path}: {:?}", finished.confinement);
        assert_eq!(complaints(&made), "", "{path}");
    }
}

/// Whoever starts it leaves a secret in its environment, as our server does not.
#[tokio::test]
async fn it_has_no_environment() {
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("tells-its-environment");
    std::os::unix::fs::symlink(taken_over_worker(), &named).unwrap();
    let text = format!("export SECRET=taken\nexec {}", named.display());
    let said = last_word(&script(folder.path(), &text)).await;
    assert_eq!(said, "[]");
}

/// A script that starts `program`, under another name, as an account without rights.
fn as_nobody(program: &Path, name: &str, folder: &Path) -> PathBuf {
    let named = folder.join(name);
    std::os::unix::fs::symlink(program, &named).unwrap();
    let account = "--reuid=65534 --regid=65534 --clear-groups";
    script(folder, &format!("exec setpriv {account} {}", named.display()))
}

fn script(folder: &Path, text: &str) -> PathBuf {
    let script = folder.join("starts-it");
    std::fs::write(&script, format!("#!/bin/sh\n{text}\n")).unwrap();
    let mode = || std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode()).unwrap();
    std::fs::set_permissions(folder, mode()).unwrap();
    script
}

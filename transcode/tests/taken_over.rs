//! What code can do that has taken over the worker: the real confinement, then one deed each.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::path::Path;

use bytes::Bytes;
use support::*;
use transcode::protocol::{OriginalDigests, Recipe};
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
    let digests = OriginalDigests { sha256: "-".into(), blake3: "-".into() };
    let original = Bytes::from_static(b"footage");
    let probe = Recipe::Probe(Default::default());
    let supervisor = Supervisor::new(program, allowance());
    let outcome = supervisor.run(probe, digests, &original, &mut Vec::new()).await;
    let Err(Failure::Declined { message, .. }) = outcome else { panic!("{outcome:?}") };
    message
}

/// Also with a descriptor given up, so that its number is free.
#[tokio::test]
async fn it_can_open_nothing() {
    for name in ["opens", "connects", "makes-a-pipe"] {
        let said = deed(name).await;
        assert!(said.contains("Too many open files"), "{name}: {said}");
    }
}

/// Nobody of the same account may look into it, or have a core of it.
#[tokio::test]
async fn its_memory_is_its_own() {
    assert_eq!(deed("is-readable").await, "dumpable 0");
}

//! The Debian package in a small Debian of its own, with systemd: installed, started, used, upgraded, removed.
//!
//! That Debian has nothing but what debootstrap puts there, so what the package says it depends on must be enough, and its
//! units run as they are. What happens in there is told in `tests/package/story`; how it starts and that nothing of it stays
//! behind, in `tests/package/in-a-root`. Both need root.

use std::fs;
use std::path::Path;
use std::process::Command;

use test_machine::root;
use tests::footage;
use tests::programs::{Answer, program, repository};

#[test]
fn it_installs_runs_upgrades_and_removes_cleanly() {
    root::needed_to("start a Debian of its own");
    let archive = repository().join(".tools/debian-root.tar.zst");
    assert!(archive.exists(), "{} is missing: run scripts/setup test", archive.display());
    let given = tempfile::tempdir().expect("a folder");
    for version in ["0.9.1", "0.9.2"] {
        package(version, given.path());
    }
    fs::copy(footage::speech("avi"), given.path().join("clip.avi")).expect("copied");
    let officer = age::x25519::Identity::generate().to_public().to_string();
    fs::write(given.path().join("recipient"), officer).expect("written");

    let tests = repository().join("tests/package");
    let told = Answer::of(
        Command::new(tests.join("in-a-root"))
            .args([&archive, &tests.join("story")])
            .arg(given.path()),
    );
    told.ok();
}

/// The programs as they are, packed as this version.
fn package(version: &str, into: &Path) {
    Answer::of(
        Command::new(repository().join("scripts/deb"))
            .arg(program("exhibit").parent().expect("a folder"))
            .arg(into)
            .arg(version),
    )
    .ok();
}

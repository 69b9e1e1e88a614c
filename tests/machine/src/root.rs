//! Tests that only root can run: they run, or they fail and say so.

use std::thread;

/// Ends the test unless it runs as root, and says what it needs root for and how to leave it out.
///
/// Never silently: a test that returns early counts as passed, and nobody learns that nothing was tested.
///
/// # Panics
/// When the effective user is not root.
#[track_caller]
pub fn needed_to(what: &str) {
    if rustix::process::geteuid().is_root() {
        return;
    }
    // The test harness names each test's thread after it.
    panic!("{}", way_out(what, thread::current().name().unwrap_or("its name")));
}

fn way_out(what: &str, test: &str) -> String {
    format!("to {what} this test must run as root; to leave it out: cargo test … -- --skip {test}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_names_the_test() {
        let said = way_out("mount a disk", "full::a_disk_that_fills_up");
        assert!(
            said.contains("to mount a disk") && said.ends_with("--skip full::a_disk_that_fills_up")
        );
    }
}

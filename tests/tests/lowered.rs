//! A machine that cannot confine the program that reads footage: nothing is read there, and what somebody takes as it is, is said.

use serde_json::Value;
use tests::programs::program;
use tests::{Workspace, audit, footage};

/// A program that starts the worker where the kernel has no Landlock.
const WITHOUT_LANDLOCK: &str = r#"#!/usr/bin/python3
import ctypes, os, struct
CREATE_RULESET, ENOSYS = 444, 38
# Loads the number of the call; that one answers ENOSYS, all others go on.
program = b"".join(struct.pack("HBBI", *line) for line in [
    (0x20, 0, 0, 0), (0x15, 0, 1, CREATE_RULESET), (0x06, 0, 0, 0x00050000 | ENOSYS), (0x06, 0, 0, 0x7FFF0000)])
libc = ctypes.CDLL(None, use_errno=True)
held = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(held)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter) == 0
os.execv("WORKER", ["exhibit-transcode"])
"#;

#[test]
fn a_wall_is_done_without_only_where_somebody_names_it_and_the_ledger_says_so() {
    let mut workspace = Workspace::new();
    let clip = footage::speech("avi").display().to_string();
    let taken = workspace.exhibit(&["ingest", &clip]).ok().json();
    let item = taken["item"].as_str().expect("an id").to_owned();
    let script = workspace.path("worker");
    let worker = program("exhibit-transcode").display().to_string();
    std::fs::write(&script, WITHOUT_LANDLOCK.replace("WORKER", &worker)).expect("written");
    let may_run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, may_run).expect("chmod");
    workspace.set("EXHIBIT_TRANSCODE", &script.display().to_string());

    let poster = ["derive", &item, "--derivative", "poster", "--reason", "for a test"];
    let refused = workspace.exhibit(&poster);
    assert_ne!(refused.code, Some(0), "{}", refused.text());
    assert_eq!(derivatives(&workspace, &item), 0, "nothing was read");
    let said = fault(&workspace, "worker-unconfined").expect("the doctor finds it");
    let fix = said["fix"].as_str().expect("a fix");
    assert!(said["what"].to_string().contains("Landlock"), "{said}");
    assert!(fix.contains(r#"transcode.without = ["landlock"]"#), "{said}");
    // The keys are unencrypted, which is one already.
    assert_eq!(entries(&workspace), (1, 0));

    workspace.set("EXHIBIT__TRANSCODE__WITHOUT", "seccomp");
    let unknown = workspace.exhibit(&["status"]);
    assert!(unknown.stderr.contains("no wall 'seccomp'"), "{}", unknown.stderr);

    workspace.set("EXHIBIT__TRANSCODE__WITHOUT", "landlock");
    workspace.exhibit(&poster).ok();
    assert!(derivatives(&workspace, &item) > 0);
    let said = fault(&workspace, "worker-lowered").expect("the doctor goes on saying it");
    assert_eq!(said["level"], "warning", "{said}");
    assert!(fault(&workspace, "worker-unconfined").is_none());
    workspace.exhibit(&["hold", "list"]);
    assert_eq!(entries(&workspace), (2, 0), "once");

    workspace.environment.retain(|(name, _)| name.starts_with("EXHIBIT_") && !name.contains("__"));
    workspace.exhibit(&["ingest", &clip]).ok();
    assert_eq!(entries(&workspace), (2, 1));
    workspace.environment.clear();
    assert!(fault(&workspace, "worker-unconfined").is_none(), "this machine lays all of it");
}

fn derivatives(workspace: &Workspace, item: &str) -> usize {
    let shown = workspace.show(item).ok().json();
    shown["derivatives"].as_array().expect("a list").len()
}

/// How often something was lowered, and raised again.
fn entries(workspace: &Workspace) -> (usize, usize) {
    let count = |kind: &str| audit::entries_of_kind(workspace, kind);
    (count("configuration.lowered"), count("configuration.raised"))
}

fn fault(workspace: &Workspace, code: &str) -> Option<Value> {
    let said = workspace.exhibit(&["doctor"]).json();
    said["faults"].as_array().expect("a list").iter().find(|fault| fault["code"] == code).cloned()
}

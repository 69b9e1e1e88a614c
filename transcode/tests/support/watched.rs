//! A worker whose calls to the kernel are written down by strace, by a program beside it (`worker/examples/watched.rs`).

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

/// One program under a watch. One job at a time.
pub(crate) struct Watched {
    folder: TempDir,
    program: PathBuf,
}

/// What one job did.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What it asked the kernel for after it had confined itself, and was refused.
    pub(crate) refused: Vec<String>,
    /// The same, and was given.
    pub(crate) given: Vec<String>,
    /// Most memory at once, and processor time; nothing of one that was ended by force.
    pub(crate) used: Option<(u64, f64)>,
}

impl Watched {
    /// `worker`, under `name`.
    pub(crate) fn new(worker: &Path, name: &str) -> Self {
        test_machine::root::needed_to("see what a worker asks the kernel for");
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(format!("watched-{name}"));
        std::os::unix::fs::symlink(watching_program(), &program).unwrap();
        std::os::unix::fs::symlink(worker, folder.path().join(name)).unwrap();
        Self { folder, program }
    }

    /// What a supervisor starts.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// What the last job did; then it is forgotten.
    ///
    /// # Panics
    /// Where it did not confine itself, though it had time to.
    pub(crate) fn seen(&self) -> Seen {
        let read = |name: &str| {
            let path = self.folder.path().join(name);
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let _ = std::fs::remove_file(&path);
            text
        };
        let (trace, usage) = (read("trace"), read("usage"));
        let used = usage
            .split_once(' ')
            .map(|(memory, cpu)| (memory.parse().unwrap(), cpu.parse().unwrap()));
        let lines: Vec<&str> = trace.lines().collect();
        // The list of system calls is laid last, in two steps.
        let confined =
            lines.iter().rposition(|line| line.contains("seccomp(SECCOMP_SET_MODE_FILTER"));
        let confined = confined.unwrap_or_else(|| panic!("it never confined itself:\n{trace}"));
        let mut seen = Seen { used, ..Seen::default() };
        for line in &lines[confined + 1..] {
            let call =
                line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().to_owned();
            // Decoders and encoders have threads; a process would have no such flag.
            if call.contains("CLONE_THREAD") || call.starts_with("<... clone resumed>") {
                continue;
            }
            // One that was ended in the middle of a call has no answer to it.
            match call.split_once(" = ") {
                Some((_, answer)) if !answer.starts_with("-1 E") => seen.given.push(call),
                _ => seen.refused.push(call),
            }
        }
        seen
    }
}

fn watching_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let package = ["--package", "exhibit-transcode", "--example", "watched"];
    PROGRAM.get_or_init(|| super::built(&package, "examples/watched"))
}

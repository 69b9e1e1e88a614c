//! The programs as cargo builds them, and one run of one of them.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Names a folder of programs to test in place of those that cargo builds, e.g. `target/release`.
const PROGRAMS_ENV: &str = "EXHIBIT_PROGRAMS";

/// The path of `exhibit`, `exhibit-verify` or `exhibit-transcode`.
///
/// The first call of a test process brings them up to date: cargo builds a program by itself only for the tests of
/// its own package.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let path = FOLDER.get_or_init(built).join(name);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

fn built() -> PathBuf {
    if let Some(folder) = env::var_os(PROGRAMS_ENV) {
        return PathBuf::from(folder);
    }
    let test = env::current_exe().expect("the test's own path");
    // target/<profile>/deps/<test>
    let folder = test.ancestors().nth(2).expect("the profile's folder").to_owned();
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--locked", "--offline", "--workspace", "--bins"])
        .current_dir(repository())
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the programs do not build");
    folder
}

/// The repository's root.
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ lies in the repository")
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Answer {
    /// Runs the command to its end, with nothing on its standard input.
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output();
        let Output { status, stdout, stderr } =
            output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Answer {
            code: status.code(),
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// This answer, which must be one of success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.text(), self.stderr);
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in {:?}; it said {}", self.text(), self.stderr))
    }
}

/// `exhibit ARGUMENTS --data DATA --json`.
pub fn exhibit<S: AsRef<OsStr>>(data: &Path, arguments: &[S]) -> Answer {
    exhibit_in(data, arguments, &[])
}

/// The same, with this in its environment besides.
pub fn exhibit_in<S: AsRef<OsStr>>(
    data: &Path,
    arguments: &[S],
    environment: &[(String, String)],
) -> Answer {
    let mut command = Command::new(program("exhibit"));
    command.args(arguments).arg("--data").arg(data).arg("--json");
    Answer::of(command.envs(environment.iter().cloned()))
}

//! What surrounds the server fails or is hostile: other programs of its account, the power, the disk under the database.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tests::Workspace;
use tests::programs::program;

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
/// An account without rights, for tests that run as root.
const NOBODY: u32 = 65534;

/// Keys are in its memory: no other program of the same account may look into it.
#[test]
fn the_servers_memory_is_its_own() {
    let workspace = Workspace::new();
    fs::create_dir(workspace.data()).expect("a data folder");
    give_to_the_account(&workspace.path("."));
    give_to_the_account(&workspace.data());
    let mut open = Ended(as_the_account("sleep").arg("600").spawn().expect("another program"));
    let mut serve = as_the_account(program("exhibit"));
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(workspace.data());
    let mut server = Ended(serve.spawn().expect("the server starts"));
    wait_for(|| workspace.in_data("listening").exists());
    for name in ["environ", "maps", "auxv"] {
        assert!(is_readable(&mut open, name), "{name}: an ordinary program's can be read");
        assert!(!is_readable(&mut server, name), "{name}: the server's can be read");
    }
}

/// A program that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_readable(process: &mut Ended, name: &str) -> bool {
    let path = format!("/proc/{}/{name}", process.0.id());
    // Opening is what is refused.
    let mut open = as_the_account("sh");
    open.args(["-c", "exec < \"$0\"", &path]).stderr(Stdio::null());
    open.status().expect("a shell").success()
}

/// A command under an account that is not root.
fn as_the_account(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if !rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let account = NOBODY.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig=KILL", "--clear-groups"]);
    command.args([format!("--reuid={account}"), format!("--regid={account}")]).arg(program);
    command
}

fn give_to_the_account(path: &Path) {
    if rustix::process::getuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("root may");
    }
}

fn wait_for(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it does not come");
        thread::sleep(PAUSE);
    }
}

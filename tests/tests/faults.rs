//! What surrounds the server fails or is hostile: other programs of its account, the power, the disk under the database.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use test_machine::root;
use tests::persistent::{Sent, everything_is_there};
use tests::programs::program;
use tests::seeded::Seeded;
use tests::tus::{Finished, Tus, Upload};
use tests::workspace::Device;
use tests::{Answer, Server, Workspace, audit};

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

// --- The power ----------------------------------------------------------------------------------------------------

const MIB: usize = 1 << 20;

/// The power goes at moments right after an acknowledgement. What a disk holds then is what was forced onto it: here the
/// file under a loop-mounted file system, without anything that the kernel still keeps in memory.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_on_the_disk_when_the_power_goes() {
    let workspace = Workspace::new();
    let disk = Disk::make(&workspace);
    let server = Server::start_with(&workspace, ON_A_SMALL_DISK);
    let device = workspace.enrol("a device without power");
    let tus = Tus::new(server.url(), &device.token);
    let clip = |seed: u64| Bytes::from(Seeded::new(seed).bytes(2 * MIB + 77));
    let mut sent = Vec::new();
    let mut cuts = Vec::new();

    for seed in 1..=2 {
        let bytes = clip(seed);
        let upload = tus.create(bytes.len() as u64, "clip").await.expect("it is created");
        tus.append(&upload, 0, bytes.slice(..MIB + 5)).await.expect("it is acknowledged");
        cuts.push(Cut::now(&server, &disk, &sent, Some((&upload, MIB as u64 + 5))));
        let rest = bytes.slice(MIB + 5..);
        let end = tus.append(&upload, MIB as u64 + 5, rest).await.expect("it is acknowledged");
        sent.push((bytes, end.finished.expect("the last byte's answer has an item")));
        cuts.push(Cut::now(&server, &disk, &sent, None));
    }
    server.kill();
    drop(disk);
    for cut in cuts {
        cut.check(&device).await;
    }
}

/// Less is kept free than where there is room.
const ON_A_SMALL_DISK: &[(&str, &str)] = &[("EXHIBIT__LIMITS__FREE_BYTES", "0")];

/// A disk of its own under the data folder. Unmounted when dropped.
struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    fn make(workspace: &Workspace) -> Self {
        root::needed_to("mount a disk");
        let image = workspace.path("image");
        let file = fs::File::create(&image).expect("an image");
        file.set_len(96 << 20).expect("an image");
        Answer::of(Command::new("mkfs.ext4").arg("-q").arg(&image)).ok();
        Self::mount(workspace, image)
    }

    /// Nothing is written back by itself in the time of a test: only what is asked for.
    fn mount(workspace: &Workspace, image: PathBuf) -> Self {
        let mounted = workspace.data();
        fs::create_dir(&mounted).expect("a folder to mount on");
        let mut mount = Command::new("mount");
        Answer::of(mount.args(["-o", "loop,commit=900"]).arg(&image).arg(&mounted)).ok();
        Self { image, mounted }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a file that is still open must not keep the mount for ever.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
    }
}

/// The disk as it was, and what had been acknowledged by then.
struct Cut {
    workspace: Workspace,
    image: PathBuf,
    sent: Vec<(Bytes, Finished)>,
    on_its_way: Option<(Upload, u64)>,
}

impl Cut {
    /// The server stands still while the disk is copied.
    fn now(
        server: &Server,
        disk: &Disk,
        sent: &[(Bytes, Finished)],
        on_its_way: Option<(&Upload, u64)>,
    ) -> Self {
        let workspace = Workspace::new();
        let image = workspace.path("image");
        let process = Pid::from_raw(server.pid().cast_signed()).expect("a process");
        kill_process(process, Signal::STOP).expect("our child");
        let copy = |to: &Path| {
            Answer::of(Command::new("cp").arg("--sparse=always").args([&disk.image, to])).ok();
        };
        // What was under way in the kernel has ended when two copies are the same.
        wait_for(|| {
            copy(&image);
            Answer::of(Command::new("cmp").args([&disk.image, &image])).code == Some(0)
        });
        kill_process(process, Signal::CONT).expect("our child");
        let on_its_way = on_its_way.map(|(upload, offset)| (upload.clone(), offset));
        Self { workspace, image, sent: sent.to_vec(), on_its_way }
    }

    /// The power is back.
    async fn check(self, device: &Device) {
        let disk = Disk::mount(&self.workspace, self.image);
        let server = Server::start_with(&self.workspace, ON_A_SMALL_DISK);
        let tus = Tus::new(server.url(), &device.token);
        if let Some((upload, acknowledged)) = self.on_its_way {
            let standing = tus.standing(&upload).await.expect("the upload is known");
            assert!(standing.offset >= acknowledged, "{standing:?} of {acknowledged}");
        }
        let finished = self.sent.into_iter();
        let sent: Vec<_> = finished.map(|(bytes, finished)| Sent { bytes, finished }).collect();
        if sent.is_empty() {
            audit::ledger_is_clean(&self.workspace);
        } else {
            everything_is_there(&self.workspace, &server, device, &sent).await;
        }
        server.kill();
        drop(disk);
    }
}

// --- The process sleeps -------------------------------------------------------------------------------------------

/// A server that is stopped keeps its folder: nobody else can become its writer, and it goes on when it wakes.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_sleeps_keeps_its_folder() {
    let workspace = Workspace::new();
    let server = Server::start(&workspace);
    let device = workspace.enrol("a device");
    let process = Pid::from_raw(server.pid().cast_signed()).expect("a process");
    kill_process(process, Signal::STOP).expect("our child");
    let (status, log) = Server::try_start(&workspace, &[]).expect_err("the folder is held");
    assert!(!status.success() && log.contains("another process holds"), "{log}");
    kill_process(process, Signal::CONT).expect("our child");
    let bytes = Bytes::from(Seeded::new(1).bytes(MIB));
    let finished = Tus::new(server.url(), &device.token).upload("clip", &bytes, MIB).await;
    let sent = [Sent { bytes, finished: finished.expect("it goes on") }];
    everything_is_there(&workspace, &server, &device, &sent).await;
}

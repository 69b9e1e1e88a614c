//! The worker after a decoder has been taken over, for the tests: confined by the same code as the real one, it then
//! does what the name it is started under says, and tells in its last word what came of it. As `WALL.DEED` it has that one
//! wall only, so that each is seen to stand by itself; as `nothing.DEED` none, so that the deed is seen to be one.

#[path = "../src/confine/mod.rs"]
mod confine;

use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use transcode_protocol::{
    Confinement, FailureCode, Frame, HEADER_BYTES, Header, Limits, PROTOCOL_VERSION, WorkerFailure,
};

/// More threads than any decoder and encoder start together.
const MANY_THREADS: usize = 200;
const FOREVER: Duration = Duration::from_secs(3600);
const SIXTY_FOUR_GIB: usize = 64 << 30;
const PIECE_BYTES: usize = 16 << 20;
/// The discard port, where a machine that can be reached says so.
const NOBODY_LISTENS: (&str, u16) = ("127.0.0.1", 9);
/// The descriptor that is given up to have a free number below the limit.
const GIVEN_UP: i32 = 1;
const SOCKET: i32 = 0;

fn main() {
    let own = std::env::args().next().unwrap_or_default();
    let own = Path::new(&own);
    let deed = own.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // SAFETY: only asks. Later it may not even ask.
    let server = unsafe { libc::getppid() };
    // SAFETY: descriptor 0 is the socket, open from start to end.
    let mut socket = ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(0) });
    let Some(Frame::Job(job)) = receive(&mut socket) else { return };
    prepare(deed);
    let (wall, deed) = deed.split_once('.').map_or((None, deed), |(wall, deed)| (Some(wall), deed));
    let confined = match wall {
        None => confine::confine(&job.limits, &job.without),
        Some(wall) => only(wall, &job.limits),
    };
    let last_word = match confined {
        Ok(confinement) => {
            let limited = confinement.threads_limited;
            send(&mut socket, &Frame::Ready(confinement));
            // SAFETY: nothing in this program uses the descriptor.
            unsafe { libc::close(GIVEN_UP) };
            attempt(deed, &own.with_file_name("log.key"), server, limited)
        }
        Err(reason) => reason,
    };
    let failure = WorkerFailure { code: FailureCode::Internal, message: last_word };
    send(&mut socket, &Frame::Failed(failure));
}

/// One wall of those that [`confine::confine`] lays.
fn only(wall: &str, limits: &Limits) -> Result<Confinement, String> {
    let limit = |resource, to| confine::limit_to(resource, to).map_err(|error| error.to_string());
    match wall {
        "landlock" => confine::surroundings::forbid()?,
        "seccomp" => confine::calls::allow_few()?,
        "namespaces" => drop(confine::separate()),
        "descriptors" => limit(libc::RLIMIT_NOFILE, 0)?,
        "memory" => limit(libc::RLIMIT_AS, limits.memory_bytes)?,
        _ => {}
    }
    Ok(Confinement {
        protocol: PROTOCOL_VERSION,
        own_user_namespace: false,
        own_network_namespace: false,
        threads_limited: false,
        without: Vec::new(),
    })
}

/// A kernel on which a part of the floor is not to be had.
fn prepare(deed: &str) {
    match deed {
        "without-landlock" => refuse(libc::SYS_landlock_create_ruleset),
        "without-seccomp" => refuse(libc::SYS_seccomp),
        _ => {}
    }
}

fn refuse(call: libc::c_long) {
    let refused = SeccompAction::Errno(libc::ENOSYS as u32);
    let target = std::env::consts::ARCH.try_into().expect("an architecture it knows");
    let rules = [(call, Vec::new())].into();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, target);
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("one rule");
    seccompiler::apply_filter(&program).expect("a filter");
}

fn attempt(deed: &str, key: &Path, server: i32, threads_limited: bool) -> String {
    match deed {
        "opens" => said(std::fs::File::open(key)),
        "connects" => said(UnixStream::connect(key)),
        "connects-by-tcp" => said(TcpStream::connect(NOBODY_LISTENS)),
        "tells-its-environment" => format!("{:?}", std::env::vars_os().collect::<Vec<_>>()),
        "takes-memory" => said(take(SIXTY_FOUR_GIB)),
        "takes-memory-in-pieces" => format!("{} MiB", take_in_pieces() >> 20),
        "burns" => burn(),
        "makes-a-pipe" => said(io::pipe()),
        "removes" => said(std::fs::remove_file(key)),
        "renames" => said(std::fs::rename(key, key.with_extension("gone"))),
        "multiplies" => format!("{} threads, limited: {threads_limited}", multiply()),
        "waits" => loop {
            std::thread::sleep(FOREVER);
        },
        _ => call(deed, server),
    }
}

/// Deeds that are one system call. What they point at is there and is theirs.
fn call(deed: &str, server: i32) -> String {
    const NONE: libc::c_long = 0;
    let path = c"/bin/true".as_ptr();
    let arguments = [path, std::ptr::null()];
    let mut taken = [0u8; 8];
    let taken_in = libc::iovec { iov_base: taken.as_mut_ptr().cast(), iov_len: taken.len() };
    let address =
        libc::sockaddr { sa_family: libc::AF_UNIX as libc::sa_family_t, sa_data: [0; 14] };
    let size = std::mem::size_of_val(&address);
    let executable = libc::PROT_READ | libc::PROT_EXEC;
    let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: every pointer is to something of this function; a process that should come of it ends at once.
    let result = unsafe {
        match deed {
            "signals" => libc::syscall(libc::SYS_kill, server, NONE),
            "signals-a-thread" => libc::syscall(libc::SYS_tgkill, server, server, NONE),
            "holds-a-process" => libc::syscall(libc::SYS_pidfd_open, server, NONE),
            "traces" => libc::syscall(libc::SYS_ptrace, libc::PTRACE_SEIZE, server, NONE, NONE),
            "reads-the-server" => {
                libc::syscall(libc::SYS_process_vm_readv, server, &taken_in, 1, &taken_in, 1, NONE)
            }
            "limits-the-server" => {
                libc::syscall(libc::SYS_prlimit64, server, libc::RLIMIT_NOFILE, NONE, NONE)
            }
            "executes" => libc::syscall(libc::SYS_execve, path, arguments.as_ptr(), &arguments[1]),
            "forks" => ended(libc::syscall(libc::SYS_clone, libc::SIGCHLD, NONE, NONE, NONE, NONE)),
            "connects-what-it-has" => libc::syscall(libc::SYS_connect, SOCKET, &address, size),
            "makes-a-socket" => {
                libc::syscall(libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0)
            }
            "makes-code" => {
                libc::syscall(libc::SYS_mmap, NONE, 4096, executable, anonymous, -1, NONE)
            }
            "asks-the-kernel" => libc::syscall(libc::SYS_io_uring_setup, 8, &mut [0u8; 120]),
            _ => return "an unknown deed".to_owned(),
        }
    };
    said(if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) })
}

/// The child of a fork goes no further.
fn ended(process: libc::c_long) -> libc::c_long {
    if process == 0 {
        std::process::exit(0);
    }
    process
}

/// Memory that is there as soon as it is written to.
fn take(bytes: usize) -> io::Result<()> {
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a mapping of its own, where the kernel likes.
    let taken = unsafe {
        libc::mmap(std::ptr::null_mut(), bytes, access, kind | libc::MAP_NORESERVE, -1, 0)
    };
    if taken == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// As much as it gets, up to 64 GiB.
fn take_in_pieces() -> usize {
    let pieces = (0..SIXTY_FOUR_GIB / PIECE_BYTES).take_while(|_| take(PIECE_BYTES).is_ok());
    pieces.count() * PIECE_BYTES
}

/// Works for ever, and listens to nobody who says that it is enough.
fn burn() -> ! {
    // SAFETY: a signal of its own that it takes no notice of.
    unsafe { libc::signal(libc::SIGXCPU, libc::SIG_IGN) };
    loop {
        std::hint::spin_loop();
    }
}

fn said<T>(result: io::Result<T>) -> String {
    result.map_or_else(|error| error.to_string(), |_| "done".to_owned())
}

/// How many threads it can have besides its first.
fn multiply() -> usize {
    let sleep = || std::thread::sleep(FOREVER);
    let more = || std::thread::Builder::new().stack_size(64 << 10).spawn(sleep);
    (0..MANY_THREADS).map_while(|_| more().ok()).count()
}

fn send(socket: &mut UnixStream, frame: &Frame) {
    let _ = socket.write_all(&frame.encode().expect("a short frame"));
}

fn receive(socket: &mut UnixStream) -> Option<Frame> {
    let mut header = [0; HEADER_BYTES];
    socket.read_exact(&mut header).ok()?;
    let header = Header::parse(&header).ok()?;
    let mut payload = vec![0; header.payload_bytes as usize];
    socket.read_exact(&mut payload).ok()?;
    Frame::decode(header.kind, &payload).ok()
}

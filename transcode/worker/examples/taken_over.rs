//! The worker after a decoder has been taken over, for the tests: confined by the same code as the real one, it then
//! does what the name it is started under says, and tells in its last word what came of it.

#[path = "../src/confine.rs"]
mod confine;

use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use transcode_protocol::{FailureCode, Frame, HEADER_BYTES, Header, WorkerFailure};

/// More threads than any decoder and encoder start together.
const MANY_THREADS: usize = 200;
const FOREVER: Duration = Duration::from_secs(3600);
/// The descriptor that is given up to have a free number below the limit.
const GIVEN_UP: i32 = 1;

fn main() {
    let own = std::env::args().next().unwrap_or_default();
    let own = Path::new(&own);
    let deed = own.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // SAFETY: descriptor 0 is the socket, open from start to end.
    let mut socket = ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(0) });
    let Some(Frame::Job(job)) = receive(&mut socket) else { return };
    let last_word = match confine::confine(&job.limits) {
        Ok(confinement) => {
            let limited = confinement.threads_limited;
            send(&mut socket, &Frame::Ready(confinement));
            // SAFETY: nothing in this program uses the descriptor.
            unsafe { libc::close(GIVEN_UP) };
            attempt(deed, &own.with_file_name("log.key"), limited)
        }
        Err(reason) => format!("unconfined: {reason}"),
    };
    let failure = WorkerFailure { code: FailureCode::Internal, message: last_word };
    send(&mut socket, &Frame::Failed(failure));
}

fn attempt(deed: &str, key: &Path, threads_limited: bool) -> String {
    match deed {
        "opens" => said(std::fs::File::open(key)),
        "connects" => said(UnixStream::connect(key)),
        "makes-a-pipe" => said(io::pipe()),
        "is-readable" => dumpable(),
        "multiplies" => format!("{} threads, limited: {threads_limited}", multiply()),
        _ => "an unknown deed".to_owned(),
    }
}

fn said<T>(result: io::Result<T>) -> String {
    result.map_or_else(|error| error.to_string(), |_| "done".to_owned())
}

fn dumpable() -> String {
    // SAFETY: only asks.
    format!("dumpable {}", unsafe { libc::prctl(libc::PR_GET_DUMPABLE) })
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

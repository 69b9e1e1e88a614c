//! A worker that has been taken over, for the tests of the supervisor. The name it is started under says what it does.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use transcode::protocol::{
    Confinement, Ended, FailureCode, Frame, HEADER_BYTES, Header, INITIAL_CREDIT_BYTES, MadeWith,
    PROTOCOL_VERSION, Report, Wall, WorkerFailure,
};

/// Less than the idle limit of the tests.
const A_LITTLE: Duration = Duration::from_millis(400);
const FOREVER: Duration = Duration::from_secs(3600);

fn main() {
    let own = std::env::args().next().unwrap_or_default();
    let deed = own.rsplit('/').next().unwrap_or_default().to_owned();
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().expect("standard input is open");
    let mut socket = UnixStream::from(stdin);
    let size_bytes = match receive(&mut socket) {
        Some(Frame::Job(job)) => job.size_bytes,
        _ => return,
    };
    match deed.as_str() {
        "speaks-before-it-is-ready" => {}
        "speaks-another-version" => send(&mut socket, &ready(PROTOCOL_VERSION + 1)),
        "leaves-a-wall-out" => send(&mut socket, &without_a_wall()),
        _ => send(&mut socket, &ready(PROTOCOL_VERSION)),
    }
    misbehave(&deed, &mut socket, size_bytes);
    // Whatever the server says now, this one stays.
    std::thread::sleep(FOREVER);
}

fn misbehave(deed: &str, socket: &mut UnixStream, size_bytes: u64) {
    let output =
        |name: &str, bytes: usize| Frame::Output { name: name.into(), data: vec![1; bytes] };
    match deed {
        "asks-beyond-the-end" => send(socket, &Frame::Range { offset: size_bytes - 1, len: 2 }),
        "asks-at-the-end-of-numbers" => send(socket, &Frame::Range { offset: u64::MAX, len: 2 }),
        "asks-for-too-much" => raw(socket, 0x12, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 1]),
        "announces-four-gigabytes" => {
            let _ = socket.write_all(&[b'E', b'X', PROTOCOL_VERSION, 0x13, 0xff, 0xff, 0xff, 0xff]);
        }
        "speaks-another-language" => {
            let _ = socket.write_all(b"GET / HTTP/1.1\r\n\r\n");
        }
        "is-ready-twice" => send(socket, &ready(PROTOCOL_VERSION)),
        "speaks-before-it-is-ready" => send(socket, &output("probe.json", 1)),
        "sends-what-nobody-asked-for" => send(socket, &output("../../etc/passwd", 1)),
        "sends-a-head-nobody-asked-for" => {
            send(socket, &Frame::Head { name: "probe.json".into(), data: vec![1] })
        }
        "spends-credit-it-has-not" => {
            for _ in 0..=INITIAL_CREDIT_BYTES >> 20 {
                raw(socket, 0x13, &[&b"\x0aprobe.json"[..], &vec![1; 1 << 20]].concat());
            }
        }
        "floods" => loop {
            send(socket, &output("probe.json", 256 << 10));
            receive(socket);
        },
        "reads-for-ever" => loop {
            send(socket, &Frame::Range { offset: 0, len: 1 << 10 });
            receive(socket);
        },
        "listens-to-nothing" => loop {
            send(socket, &Frame::Range { offset: 0, len: 100_000 });
        },
        "dribbles" => {
            for byte in [b'E', b'X', PROTOCOL_VERSION, 0x14, 0, 0, 0, 2] {
                let _ = socket.write_all(&[byte]);
                std::thread::sleep(A_LITTLE);
            }
        }
        "takes-its-time" => loop {
            send(socket, &Frame::Progress { permille: 1 });
            std::thread::sleep(A_LITTLE);
        },
        "boasts" => send(socket, &Frame::Done(vec![made()])),
        "gives-an-account-too-many" => send(socket, &Frame::Done(vec![made(), made()])),
        "closes-and-stays" => {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        "slanders" => {
            let message = format!("\u{1b}[2Jfine\u{202e}\n{}", "x".repeat(100_000));
            let failure = WorkerFailure { code: FailureCode::Unreadable, message };
            send(socket, &Frame::Failed(failure));
        }
        "ends" => std::process::exit(7),
        _ => {}
    }
}

fn ready(protocol: u8) -> Frame {
    Frame::Ready(Confinement {
        protocol,
        own_user_namespace: true,
        own_network_namespace: true,
        threads_limited: true,
        without: Vec::new(),
    })
}

fn without_a_wall() -> Frame {
    let Frame::Ready(confinement) = ready(PROTOCOL_VERSION) else { unreachable!() };
    Frame::Ready(Confinement { without: vec![Wall::Landlock], ..confinement })
}

fn made() -> Ended {
    let made_with = MadeWith {
        program: "exhibit-transcode".into(),
        version: "0".into(),
        libraries: Default::default(),
        codecs: Default::default(),
        threads: 1,
    };
    Ended::Made(Report { made_with, notes: Vec::new() })
}

fn send(socket: &mut UnixStream, frame: &Frame) {
    let bytes = frame.encode().expect("within the limits");
    if socket.write_all(&bytes).is_err() {
        std::thread::sleep(FOREVER);
    }
}

fn raw(socket: &mut UnixStream, kind: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let header = [b'E', b'X', PROTOCOL_VERSION, kind, length[0], length[1], length[2], length[3]];
    let _ = socket.write_all(&header).and_then(|()| socket.write_all(payload));
}

fn receive(socket: &mut UnixStream) -> Option<Frame> {
    let mut header = [0; HEADER_BYTES];
    socket.read_exact(&mut header).ok()?;
    let header = Header::parse(&header).ok()?;
    let mut payload = vec![0; header.payload_bytes as usize];
    socket.read_exact(&mut payload).ok()?;
    Frame::decode(header.kind, &payload).ok()
}

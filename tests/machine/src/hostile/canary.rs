//! What nobody may touch: files of a name that nothing else has, and doors that nobody has a reason to knock at. Hostile
//! footage names them; whoever follows such a name is heard.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::inotify;
use tempfile::TempDir;

/// The files: a clip, and what goes with the ways of naming one.
const FILES: [&str; 6] =
    ["clip.ts", "clip.mp4", "frame001.jpg", "words.srt", "words.sub", "key.bin"];

/// Files that are watched and sockets that are listened on, as long as it lives.
#[derive(Debug)]
pub struct Canary {
    folder: TempDir,
    watch: OwnedFd,
    tcp: TcpListener,
    udp: UdpSocket,
    unix: UnixListener,
}

impl Canary {
    /// Puts files and sockets up and begins to watch.
    ///
    /// # Panics
    /// Where that cannot be done: then nothing would be heard.
    #[allow(clippy::new_without_default, reason = "opening sockets is not a default")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("canary-").tempdir().expect("a folder");
        let unix = UnixListener::bind(folder.path().join("socket")).expect("a socket");
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC);
        let watch = watch.expect("inotify");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        for listener in [tcp.set_nonblocking(true), udp.set_nonblocking(true)] {
            listener.expect("a socket that does not wait");
        }
        unix.set_nonblocking(true).expect("a socket that does not wait");
        let canary = Self { folder, watch, tcp, udp, unix };
        for name in FILES {
            std::fs::write(canary.file(name), "there is something in it").expect("a file");
        }
        let touched = inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS;
        let changed =
            inotify::WatchFlags::CREATE | inotify::WatchFlags::DELETE | inotify::WatchFlags::MODIFY;
        inotify::add_watch(&canary.watch, canary.folder.path(), touched | changed)
            .expect("a watch");
        canary
    }

    /// The folder that everything lies in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of one of [`FILES`], or of one that is not there.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Something that can be played, in place of what lies there: whoever follows a name then goes all the way.
    pub fn fill(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.file(name), bytes).expect("a file");
        let _ = self.heard();
    }

    /// The TCP port on 127.0.0.1.
    pub fn tcp_port(&self) -> u16 {
        self.tcp.local_addr().expect("it has one").port()
    }

    /// The UDP port on 127.0.0.1.
    pub fn udp_port(&self) -> u16 {
        self.udp.local_addr().expect("it has one").port()
    }

    /// What it heard since it was last asked; nothing is silence.
    pub fn heard(&self) -> Vec<String> {
        let mut heard = self.touched();
        if let Some(what) = came("TCP", self.tcp.accept()) {
            heard.push(what);
        }
        if let Some(what) = came("UDP", self.udp.recv_from(&mut [0; 64])) {
            heard.push(what);
        }
        if let Some(what) = came("the socket", self.unix.accept()) {
            heard.push(what);
        }
        heard
    }

    fn touched(&self) -> Vec<String> {
        let mut room = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.watch, &mut room);
        let mut touched = Vec::new();
        while let Ok(event) = events.next() {
            touched.push(format!(
                "{:?}: {:?}",
                event.file_name().unwrap_or_default(),
                event.events()
            ));
        }
        touched
    }
}

fn came<T>(door: &str, came: std::io::Result<T>) -> Option<String> {
    match came {
        Ok(_) => Some(format!("somebody was at {door}")),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => Some(format!("{door}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    #[test]
    fn it_sings() {
        let canary = Canary::new();
        assert_eq!(canary.heard(), [""; 0]);
        drop(File::open(canary.file("clip.ts")).expect("it is there"));
        assert!(canary.heard().concat().contains("clip.ts"));
        drop(TcpStream::connect(("127.0.0.1", canary.tcp_port())).expect("it listens"));
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        sender.send_to(b"x", ("127.0.0.1", canary.udp_port())).expect("it is sent");
        drop(UnixStream::connect(canary.file("socket")).expect("it listens"));
        let heard = canary.heard().concat();
        for door in ["TCP", "UDP", "the socket"] {
            assert!(heard.contains(door), "{door}: {heard}");
        }
        assert_eq!(canary.heard(), [""; 0]);
    }
}

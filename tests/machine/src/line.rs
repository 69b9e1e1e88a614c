//! A line to a server, as a TCP proxy on a port of its own: it carries, is cut, loses answers, is slow or damages what it
//! carries, when told to.
//!
//! ```no_run
//! use test_machine::line::{Line, Trouble};
//! let line = Line::to("127.0.0.1:8333").expect("a line");
//! line.set(Trouble::LosesAnswers { one_in: 3 });
//! ```

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// Nobody is reached, and what was under way is cut.
    Cut,
    /// Requests arrive and are carried out; one answer in so many never comes.
    LosesAnswers {
        one_in: u64,
    },
    /// One answer in so many says that the server fails, whatever it did.
    Fails {
        one_in: u64,
    },
    /// One answer in so many ends in its middle.
    CutsAnswers {
        one_in: u64,
    },
    /// One answer in so many with a body of some size has a byte that is another.
    DamagesAnswers {
        one_in: u64,
    },
    /// Every piece that comes back takes this long.
    Slow(Duration),
}

/// Pieces shorter than this are the heads of answers, and are left as they are.
const A_BODY_BYTES: usize = 4096;

const FAILURE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A line; it ends when it is dropped.
#[derive(Debug)]
pub struct Line {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: String,
    trouble: Mutex<Trouble>,
    answers: AtomicU64,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Line {
    /// A line to `server`, which is `host:port`.
    pub fn to(server: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            trouble: Mutex::new(Trouble::None),
            answers: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Ok(Self { address, shared })
    }

    /// `host:port` of this end.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on; answers are counted from here.
    pub fn set(&self, trouble: Trouble) {
        *lock(&self.shared.trouble) = trouble;
        self.shared.answers.store(0, Ordering::SeqCst);
        if trouble == Trouble::Cut {
            self.shared.cut_all();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.cut_all();
        // Wakes the thread that accepts.
        let _nobody_listens = TcpStream::connect(&self.address);
    }
}

impl Shared {
    fn trouble(&self) -> Trouble {
        *lock(&self.trouble)
    }

    fn cut_all(&self) {
        for stream in lock(&self.open).drain(..) {
            let _closed_already = stream.shutdown(Shutdown::Both);
        }
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            if self.trouble() == Trouble::Cut {
                continue;
            }
            let Ok(server) = TcpStream::connect(&self.server) else { continue };
            // A client whose line fails to be set up sees it closed.
            let _closed = self.carry(client, server);
        }
    }

    fn carry(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        lock(&self.open).extend([client.try_clone()?, server.try_clone()?]);
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let _either_end_closed = io::copy(&mut from, &mut to);
            let _closed_already = to.shutdown(Shutdown::Write);
        });
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let _either_end_closed = shared.answer(&server, &client);
            let _closed_already = client.shutdown(Shutdown::Both);
            let _closed_already = server.shutdown(Shutdown::Both);
        });
        Ok(())
    }

    /// Whether this answer is the one in so many.
    fn is_chosen(&self, trouble: Trouble) -> bool {
        let (Trouble::LosesAnswers { one_in }
        | Trouble::Fails { one_in }
        | Trouble::CutsAnswers { one_in }
        | Trouble::DamagesAnswers { one_in }) = trouble
        else {
            return false;
        };
        (self.answers.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(one_in)
    }

    /// Carries what the server says, with the trouble of the moment.
    fn answer(&self, mut server: &TcpStream, mut client: &TcpStream) -> io::Result<()> {
        let (mut piece, mut chosen) = (vec![0; 256 * 1024], false);
        loop {
            let got = server.read(&mut piece)?;
            if got == 0 {
                return Ok(());
            }
            let trouble = self.trouble();
            if piece.starts_with(b"HTTP/") {
                chosen = self.is_chosen(trouble);
            }
            match trouble {
                Trouble::Cut => return Ok(()),
                Trouble::Slow(pause) => thread::sleep(pause),
                Trouble::LosesAnswers { .. } if chosen => return Ok(()),
                Trouble::Fails { .. } if chosen => return client.write_all(FAILURE),
                Trouble::CutsAnswers { .. } if chosen && got >= A_BODY_BYTES => {
                    return client.write_all(&piece[..got / 2]);
                }
                Trouble::DamagesAnswers { .. } if chosen && got >= A_BODY_BYTES => {
                    piece[got - 100] ^= 1;
                }
                _ => {}
            }
            client.write_all(&piece[..got])?;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

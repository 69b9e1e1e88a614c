//! A line that breaks: for rehearsals and tests of the dock agent, never between a dock and its server.
//!
//! Here: a TCP relay on this machine that cuts or freezes its connections after a random, seeded number of bytes, in
//! either direction. Invariant: it never alters a byte; what it passes on is a beginning of what it got.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Bytes passed on at a time.
const RELAY_BYTES: usize = 32 * 1024;
/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 256;

/// How a line misbehaves.
#[derive(Debug, Clone)]
pub struct Faults {
    /// The same seed breaks the same way for the same connections.
    pub seed: u64,
    /// A connection breaks after so many bytes, both directions together.
    pub after_bytes: Range<u64>,
    /// So many connections break; those after them hold.
    pub breaks: u32,
    /// One in so many breaks is a freeze: nothing moves any more, and nobody is told. 0: none.
    pub freeze_one_in: u32,
    /// How long a freeze lasts before the connection ends after all.
    pub freeze: Duration,
}

/// A relay to one server, until it is dropped.
#[derive(Debug)]
pub struct BreakingLine {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Ends all connections when dropped.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    faults: Faults,
    chance: Mutex<StdRng>,
    server: Mutex<SocketAddr>,
    broken: AtomicU32,
}

/// What one connection will do.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Hold,
    Cut { after_bytes: u64 },
    Freeze { after_bytes: u64 },
}

impl BreakingLine {
    /// Listens on a free port of this machine and relays to `server`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(server: SocketAddr, faults: Faults) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            chance: Mutex::new(StdRng::seed_from_u64(faults.seed)),
            faults,
            server: Mutex::new(server),
            broken: AtomicU32::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _tasks: tasks })
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has broken.
    pub fn broken(&self) -> u32 {
        self.shared.broken.load(Ordering::Relaxed)
    }

    /// Relays new connections to another address: the server was started again.
    pub async fn relay_to(&self, server: SocketAddr) {
        *self.shared.server.lock().await = server;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        let Ok((client, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move { relay(client, &shared).await });
    }
}

async fn relay(client: TcpStream, shared: &Shared) {
    let address = *shared.server.lock().await;
    // A server that is down looks like a connection that ends at once.
    let Ok(server) = TcpStream::connect(address).await else { return };
    let (mut client, mut server) = (client, server);
    let (after_bytes, freezes) = match shared.fate().await {
        Fate::Hold => (u64::MAX, false),
        Fate::Cut { after_bytes } => (after_bytes, false),
        Fate::Freeze { after_bytes } => (after_bytes, true),
    };
    if pass_on(&mut client, &mut server, after_bytes).await {
        shared.broken.fetch_add(1, Ordering::Relaxed);
        if freezes {
            tokio::time::sleep(shared.faults.freeze).await;
        }
    }
}

impl Shared {
    async fn fate(&self) -> Fate {
        if self.broken.load(Ordering::Relaxed) >= self.faults.breaks {
            return Fate::Hold;
        }
        let mut chance = self.chance.lock().await;
        let after_bytes = chance.random_range(self.faults.after_bytes.clone());
        let one_in = self.faults.freeze_one_in;
        if one_in > 0 && chance.random_range(0..one_in) == 0 {
            Fate::Freeze { after_bytes }
        } else {
            Fate::Cut { after_bytes }
        }
    }
}

/// Relays until either side ends or `after_bytes` have passed; says whether the line broke.
async fn pass_on(client: &mut TcpStream, server: &mut TcpStream, after_bytes: u64) -> bool {
    let (mut up, mut down) = (vec![0; RELAY_BYTES], vec![0; RELAY_BYTES]);
    let mut left = after_bytes;
    loop {
        let passed = tokio::select! {
            read = client.read(&mut up) => pass(read, &up, server, &mut left).await,
            read = server.read(&mut down) => pass(read, &down, client, &mut left).await,
        };
        if left == 0 || !passed {
            return left == 0;
        }
    }
}

/// Hands on what was read, as far as the line holds; false when a side has ended.
async fn pass(read: io::Result<usize>, from: &[u8], to: &mut TcpStream, left: &mut u64) -> bool {
    let Ok(length @ 1..) = read else { return false };
    let holds = usize::try_from(*left).unwrap_or(usize::MAX).min(length);
    *left -= holds as u64;
    to.write_all(&from[..holds]).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything a client could send before the line broke, as the server got it.
    async fn what_arrives(faults: Faults, sent: &[u8]) -> (Vec<u8>, u32) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let line = BreakingLine::start(listener.local_addr().unwrap(), faults).await.unwrap();
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut got = Vec::new();
            let _ = connection.read_to_end(&mut got).await;
            got
        });
        let mut client = TcpStream::connect(line.address()).await.unwrap();
        let _ = client.write_all(sent).await;
        let _ = client.shutdown().await;
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        (server.await.unwrap(), line.broken())
    }

    fn faults(after_bytes: Range<u64>, breaks: u32) -> Faults {
        Faults { seed: 1, after_bytes, breaks, freeze_one_in: 0, freeze: Duration::ZERO }
    }

    #[tokio::test]
    async fn breaks_where_it_was_told_and_alters_nothing() {
        let sent: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
        let (got, broken) = what_arrives(faults(70_000..70_001, 1), &sent).await;
        assert_eq!((got.len(), broken), (70_000, 1));
        assert_eq!(got, sent[..70_000]);
    }

    #[tokio::test]
    async fn holds_once_its_breaks_are_used_up() {
        let (got, broken) = what_arrives(faults(1..2, 0), &[7; 100_000]).await;
        assert_eq!((got.len(), broken), (100_000, 0));
    }
}

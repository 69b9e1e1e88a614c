//! A client that does not give up: it goes on after every break, and holds the server to what it has acknowledged.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::seeded::Seeded;
use crate::tus::{Finished, Standing, Tus, Upload};
use crate::workspace::Device;
use crate::{Server, Workspace, audit};

/// No request of these stories carries more.
const LARGEST_CHUNK_BYTES: u64 = 1 << 20;

/// A file that has become an item.
#[derive(Debug)]
pub struct Sent {
    pub bytes: Bytes,
    pub finished: Finished,
}

/// A file on its way, through as many servers as it takes.
pub struct InFlight {
    name: String,
    bytes: Bytes,
    upload: Option<Upload>,
    /// What the server has said it holds: it may never say less.
    acknowledged: u64,
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({} of {} bytes, {:?})",
            self.name,
            self.acknowledged,
            self.bytes.len(),
            self.upload
        )
    }
}

impl InFlight {
    pub fn new(name: String, bytes: Bytes) -> Self {
        InFlight { name, bytes, upload: None, acknowledged: 0 }
    }

    /// Sends until the upload is an item; an error when the server is gone, after which it may be called again.
    pub async fn go_on(&mut self, tus: &Tus, seeded: &mut Seeded) -> Result<Finished> {
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => {
                self.upload.insert(tus.create(self.bytes.len() as u64, &self.name).await?).clone()
            }
        };
        let mut standing = tus.standing(&upload).await?;
        loop {
            self.hold_to_its_word(&standing);
            if let Some(finished) = standing.finished {
                return Ok(finished);
            }
            let offset = usize::try_from(standing.offset)?;
            let size = 1 + usize::try_from(seeded.below(LARGEST_CHUNK_BYTES))?;
            let chunk = self.bytes.slice(offset..self.bytes.len().min(offset + size));
            standing = tus.append(&upload, standing.offset, chunk).await?;
            ensure!(standing.offset > offset as u64, "{self:?}: no progress");
        }
    }

    /// The bytes, and what became of them.
    pub fn sent(self, finished: Finished) -> Sent {
        Sent { bytes: self.bytes, finished }
    }

    /// Nothing acknowledged is lost, and no finished offset is shown before there is a receipt.
    fn hold_to_its_word(&mut self, standing: &Standing) {
        let Standing { offset, finished } = standing;
        assert!(*offset >= self.acknowledged, "{self:?}: only {offset} are left");
        assert!(finished.is_some() || *offset < self.bytes.len() as u64, "{self:?}: no receipt");
        self.acknowledged = *offset;
    }
}

/// Clients that send one file after another, each request to whichever server there is.
#[derive(Debug)]
pub struct Surge {
    clients: JoinSet<Vec<Sent>>,
    servers: watch::Sender<Vec<String>>,
    enough: watch::Sender<bool>,
}

/// Between two tries when nobody answers.
const PAUSE: Duration = Duration::from_millis(25);
/// One client's patience with one file, all restarts included.
const FILE_TIMEOUT: Duration = Duration::from_secs(240);

impl Surge {
    /// Begins, without any server yet. The same seed sends the same files.
    pub fn begin(device: &Device, clients: u64, largest_file_bytes: u64, seed: u64) -> Self {
        let (servers, urls) = watch::channel(Vec::new());
        let (enough, done) = watch::channel(false);
        let mut surge = Self { clients: JoinSet::new(), servers, enough };
        for number in 0..clients {
            let client = Client {
                device: device.clone(),
                number,
                largest_file_bytes,
                urls: urls.clone(),
                enough: done.clone(),
                seeded: Seeded::new(seed ^ (number << 32)),
            };
            surge.clients.spawn(client.send_files());
        }
        surge
    }

    /// These are the servers from now on.
    pub fn send_to<'a>(&self, servers: impl IntoIterator<Item = &'a Server>) {
        let urls = servers.into_iter().map(|server| server.url().to_owned()).collect();
        self.servers.send_replace(urls);
    }

    /// Waits until each client has finished the file in its hand.
    pub async fn end(mut self) -> Vec<Sent> {
        self.enough.send_replace(true);
        let mut sent = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            sent.extend(client.expect("no client panics"));
        }
        sent
    }
}

struct Client {
    device: Device,
    number: u64,
    largest_file_bytes: u64,
    urls: watch::Receiver<Vec<String>>,
    enough: watch::Receiver<bool>,
    seeded: Seeded,
}

impl Client {
    async fn send_files(mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        while !*self.enough.borrow() {
            let size = 1 + self.seeded.below(self.largest_file_bytes);
            let bytes = self.seeded.bytes(usize::try_from(size).expect("a small file"));
            let name = format!("client {} file {}.bin", self.number, sent.len());
            let mut file = InFlight::new(name, Bytes::from(bytes));
            let finished = self.finish(&mut file).await;
            sent.push(file.sent(finished));
        }
        sent
    }

    async fn finish(&mut self, file: &mut InFlight) -> Finished {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < FILE_TIMEOUT, "{file:?} is not finished");
            let urls = self.urls.borrow().clone();
            if !urls.is_empty() {
                let url = &urls[self.seeded.below(urls.len() as u64) as usize];
                let tus = Tus::new(url, &self.device.token);
                if let Ok(finished) = file.go_on(&tus, &mut self.seeded).await {
                    return finished;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// After every fault: all that was sent is there once, with its receipt; the ledger audits clean; all bytes read back.
pub async fn everything_is_there(
    workspace: &Workspace,
    server: &Server,
    device: &Device,
    sent: &[Sent],
) {
    assert!(!sent.is_empty());
    let tus = Tus::new(server.url(), &device.token);
    for file in sent {
        let item = audit::is_stored_once(workspace, &file.bytes);
        assert_eq!(item["item"], file.finished.item.as_str());
        let (status, receipt) = tus.get(&file.finished.receipt).await.expect("the server answers");
        assert_eq!(status, 200);
        assert!(receipt.starts_with(b"c2sp.org/tlog-proof@v1\n"), "{receipt:?}");
    }
    audit::items_are(workspace, sent.len());
    audit::ledger_is_clean(workspace);
    let items: Vec<_> =
        sent.iter().map(|file| (file.finished.item.as_str(), &file.bytes)).collect();
    for some in items.chunks(ITEMS_IN_A_BUNDLE) {
        audit::bytes_read_back(workspace, some);
    }
}

/// A bundle takes no more.
const ITEMS_IN_A_BUNDLE: usize = 250;

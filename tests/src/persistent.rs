//! A client that does not give up: it goes on after every break, and holds the server to what it has acknowledged.

use std::fmt;

use anyhow::{Result, ensure};
use bytes::Bytes;

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

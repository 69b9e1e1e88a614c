//! Looking at a data folder from outside: its database read-only, its files, and the running server if there is one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chain_of_custody::checkpoint::{Origin, SignedCheckpoint};
use serde::{Deserialize, Serialize};
use storage::clock::{Clock, SystemClock};
use storage::objects::ObjectStore;
use storage::records::Records;

use super::restored::Restored;
use crate::app;
use crate::config::Config;
use crate::control::{self, Failure, Request};

/// A server that does not say how it is within this time hangs.
const LIVE_WAIT: Duration = Duration::from_secs(5);

/// What only the running process knows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Live {
    /// Why the ledger writes no more, if so.
    pub(crate) stopped: Option<String>,
    pub(crate) resident_bytes: u64,
    pub(crate) version: String,
    /// The log witness's newest cosignature, seconds since 1970; none while there is none.
    pub(crate) cosigned_unix_s: Option<i64>,
    /// What is wrong with log witnesses, each with its name.
    pub(crate) log_witness_troubles: Vec<String>,
    /// Log witnesses that are configured.
    pub(crate) log_witnesses: u64,
}

/// Whether a process holds the folder, and what it says.
#[derive(Debug)]
pub(crate) enum Server {
    /// Nobody holds the folder.
    Down,
    /// Somebody does and does not answer.
    Silent(Failure),
    Up(Live),
}

/// One look at a data folder.
pub(crate) struct Look {
    pub(crate) data: PathBuf,
    pub(crate) config: Config,
    pub(crate) server: Server,
    /// The database, or why it cannot be read; none where it is not there.
    pub(crate) records: Option<Result<Records, String>>,
    /// The object store, to look at: without the key that opens what is in it. Or why it cannot be reached.
    pub(crate) objects: Result<ObjectStore, String>,
    /// The checkpoint in the object store.
    pub(crate) published: Option<SignedCheckpoint>,
    pub(crate) restored: Option<Restored>,
    pub(crate) now_ms: i64,
}

impl Look {
    /// Looks from another process.
    pub(crate) async fn from_outside(data: &Path, config: &Config) -> Self {
        let server = ask_server(data).await;
        let records = open_records(data, config).await;
        let objects = app::objects::look_at(data, &config.storage).await;
        Self::with(data, config, server, records, objects.map_err(|e| e.to_string())).await
    }

    /// Looks from the server itself.
    pub(crate) async fn from_inside(
        data: &Path,
        config: &Config,
        live: Live,
        records: Records,
        objects: ObjectStore,
    ) -> Self {
        Self::with(data, config, Server::Up(live), Some(Ok(records)), Ok(objects)).await
    }

    async fn with(
        data: &Path,
        config: &Config,
        server: Server,
        records: Option<Result<Records, String>>,
        objects: Result<ObjectStore, String>,
    ) -> Self {
        let published = match &objects {
            Ok(objects) => published_in(objects, &config.force.ledger).await,
            Err(_) => None,
        };
        Self {
            data: data.to_owned(),
            config: config.clone(),
            server,
            records,
            objects,
            published,
            restored: Restored::read(data).ok().flatten(),
            now_ms: SystemClock.now().unix_millis(),
        }
    }

    /// The database, where it can be read.
    pub(crate) fn records(&self) -> Option<&Records> {
        self.records.as_ref()?.as_ref().ok()
    }

    /// What the running server says.
    pub(crate) fn live(&self) -> Option<&Live> {
        match &self.server {
            Server::Up(live) => Some(live),
            _ => None,
        }
    }

    /// Free bytes on the disk of the objects, for ordinary users. None of a store that is not a disk.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        if self.config.storage.is_s3() {
            return None;
        }
        let stat = rustix::fs::statvfs(&self.data).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

async fn published_in(objects: &ObjectStore, origin: &str) -> Option<SignedCheckpoint> {
    let origin = origin.parse::<Origin>().ok()?;
    let bytes = objects.get(&format!("ledger/{origin}/checkpoint")).await.ok()?;
    SignedCheckpoint::parse(&bytes).ok()
}

async fn open_records(data: &Path, config: &Config) -> Option<Result<Records, String>> {
    let force = &config.force.ledger;
    let opened = match config.storage.database.as_str() {
        "" => {
            let path = data.join("records.sqlite");
            if !path.exists() {
                return None;
            }
            Records::read_only(&path, force).await
        }
        url => Records::as_it_is(url, force).await,
    };
    Some(opened.map_err(|e| e.to_string()))
}

async fn ask_server(data: &Path) -> Server {
    if !control::is_held(data) {
        return Server::Down;
    }
    let asked = control::ask(data, Request::Live, LIVE_WAIT).await;
    let parsed = asked.and_then(|answer| {
        serde_json::from_value(answer).map_err(|e| Failure::new("server", e.to_string()))
    });
    match parsed {
        Ok(live) => Server::Up(live),
        Err(failure) => Server::Silent(failure),
    }
}

//! What is done while no server runs, on any machine.

use std::path::Path;

use storage::records::{LEASE, Records, RecordsError};

use super::open::{failed, open_records, origin};
use crate::config::Config;
use crate::control::Failure;

/// Refuses while another server, of those that share the database, has the ledger open: one of them holds the lease.
pub(crate) async fn refuse_other_servers(records: &Records) -> Result<(), Failure> {
    let cannot = |e: RecordsError| failed("records", &e);
    if records.lease_holder().await.map_err(cannot)?.is_some() {
        // One that was killed holds it for a moment longer.
        tokio::time::sleep(2 * LEASE).await;
    }
    let Some(holder) = records.lease_holder().await.map_err(cannot)? else { return Ok(()) };
    let what = format!("another server has this ledger open: {holder}");
    Err(Failure::new("ledger", what).advice("stop all servers and workers first"))
}

/// The same before a folder is opened.
pub(crate) async fn refuse_other_servers_of(data: &Path, config: &Config) -> Result<(), Failure> {
    let origin = origin(&config.force.ledger)?;
    let records = open_records(data, &config.storage, &origin).await?;
    let refused = refuse_other_servers(&records).await;
    records.close().await;
    refused
}

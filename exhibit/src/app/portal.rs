//! The portal's service over an opened data folder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chain_of_custody::ids::{DeviceId, EventId};
use futures_util::future::BoxFuture;
use ingest::devices;
use ingest::receive::{ReceiveError, Receiver};
use portal::access::Access;
use portal::bundle::Maker;
use portal::service::{DeviceError, Devices, Enrolled, Parts, Receipts, Service, Statement};
use storage::ledger::Placed;

use super::App;
use crate::control::Failure;

/// Bundles made for download lie here, below the data folder.
pub(crate) const OUTBOX: &str = "outbox";
/// How often bundles whose time is over are looked for. They are not encrypted: nobody need come for them to go.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// What the API and the pages are thin doors to.
pub(super) fn open(data: &Path, receiver: &Receiver, maker: &Maker) -> Result<Service, Failure> {
    let outbox = data.join(OUTBOX);
    let parts = Parts {
        access: Access::new(maker.ledger.clone(), Arc::clone(&maker.clock)),
        ledger: maker.ledger.clone(),
        objects: maker.objects.clone(),
        clock: Arc::clone(&maker.clock),
        maker: maker.clone(),
        outbox: outbox.clone(),
        receipts: Arc::new(ReceiptsOf(receiver.clone())),
        devices: Arc::new(DevicesOf(receiver.clone())),
        small_copy: transcode::jobs::small_copy,
    };
    Service::new(parts)
        .map_err(|e| Failure::new("data-folder", format!("{}: {e}", outbox.display())))
}

/// The way in keeps the tokens of devices.
struct DevicesOf(Receiver);

impl Devices for DevicesOf {
    fn enrol<'a>(
        &'a self,
        event: EventId,
        name: &'a str,
        by: &'a str,
    ) -> BoxFuture<'a, Result<Enrolled, DeviceError>> {
        Box::pin(async move { given(devices::enrol_as(&self.0, event, name, by).await) })
    }

    fn rotate<'a>(
        &'a self,
        event: EventId,
        device: DeviceId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<Enrolled, DeviceError>> {
        Box::pin(async move { given(devices::rotate_as(&self.0, event, device, by).await) })
    }

    fn revoke<'a>(
        &'a self,
        device: DeviceId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(async move { devices::revoke(&self.0, device, by).await.map_err(of_device) })
    }
}

fn given(enrolled: Result<devices::Enrolled, ReceiveError>) -> Result<Enrolled, DeviceError> {
    let devices::Enrolled { device, token } = enrolled.map_err(of_device)?;
    Ok(Enrolled { device, token: token.reveal().to_owned() })
}

fn of_device(error: ReceiveError) -> DeviceError {
    match error {
        ReceiveError::NotFound => DeviceError::NotFound,
        ReceiveError::Busy { .. } | ReceiveError::LedgerStopped(_) => DeviceError::Unavailable,
        other => DeviceError::Internal(other.to_string()),
    }
}

impl App {
    /// Clears the outbox now and every hour, until the process ends.
    pub(crate) fn start_clearing_outbox(&self) {
        let app = self.clone();
        tokio::spawn(async move {
            loop {
                if let Err(error) = app.parts.service.clear_outbox().await {
                    tracing::error!(%error, "bundles whose time is over are not all gone");
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
    }
}

/// The way in signs receipts; people get the same statements as devices.
struct ReceiptsOf(Receiver);

impl Receipts for ReceiptsOf {
    fn statement(&self, placed: &Placed, statement: Statement) -> Result<String, String> {
        let statement = match statement {
            Statement::Proof => ingest::receive::Statement::Proof,
            Statement::Text => ingest::receive::Statement::Text,
        };
        self.0.statement_for(placed, statement).map_err(|e| e.to_string())
    }
}

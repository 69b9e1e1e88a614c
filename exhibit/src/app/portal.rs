//! The portal's service over an opened data folder.

use std::path::Path;
use std::sync::Arc;

use ingest::receive::Receiver;
use portal::access::Access;
use portal::bundle::Maker;
use portal::service::{Parts, Receipts, Service, Statement};
use storage::ledger::Placed;

use crate::control::Failure;

/// Bundles made for download lie here, below the data folder.
const OUTBOX: &str = "outbox";

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
    };
    Service::new(parts)
        .map_err(|e| Failure::new("data-folder", format!("{}: {e}", outbox.display())))
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

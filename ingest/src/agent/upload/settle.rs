//! The end of a clip's way: the receipt fetched, checked, kept; or why there is none.

use chain_of_custody::ids::ItemId;

use super::{Journey, Stop, problem};
use crate::agent::AgentError;
use crate::agent::check::{Expected, Proven, Unproven, check_receipt};
use crate::agent::journal::Ending;
use crate::agent::reading::ReadError;
use crate::agent::report::{Problem, Safe, Standing};
use crate::agent::retry::Trouble;
use crate::agent::server::{Finished, printable};

impl Journey<'_> {
    /// Fetches the receipt, checks it, keeps it.
    pub(super) async fn settle(&mut self, finished: Finished) -> Result<Standing, Stop> {
        // In an earlier run, perhaps: the file must still be what was read then.
        self.read_to_end().await?;
        let Some(expected) = self.expected(finished.item).await? else {
            let check = "the upload was finished without a manifest of ours".to_owned();
            return Ok(self.unproven(check).await?);
        };
        let proof = self.document(&finished.receipt).await?;
        let proven = match check_receipt(&proof, &self.agent.policy, &expected) {
            Ok(proven) => proven,
            Err(Unproven::Quarantined { reason }) => {
                let reason = printable(&reason);
                self.end(Ending::Quarantined { reason: reason.clone() }).await?;
                return Ok(problem(Problem::Quarantined { reason }));
            }
            Err(unproven) => return Ok(self.unproven(printable(&unproven.to_string())).await?),
        };
        // For people only; the proof is enough without it.
        let text = self.agent.server.get(&beside(&finished.receipt)).await.ok();
        let receipt = self.keep(&proven, proof, text).await?;
        Ok(self.safe(proven, &receipt))
    }

    /// Receipt first, then the journal's word for it.
    async fn keep(
        &mut self,
        proven: &Proven,
        proof: Vec<u8>,
        text: Option<Vec<u8>>,
    ) -> Result<String, AgentError> {
        let Proven { item, entry, duplicate, device, .. } = *proven;
        let first_sight = self.agent.device().replace(device).is_none();
        let kept = self.agent.with_state(move |state| {
            if first_sight || state.pinned_device()?.is_none() {
                state.pin_device(device)?;
            }
            state.keep_receipt(item, entry, &proof, text.as_deref())
        });
        let receipt = kept.await?;
        self.end(Ending::Safe { item, entry, duplicate, receipt: receipt.clone() }).await?;
        Ok(receipt)
    }

    pub(super) fn safe(&self, proven: Proven, receipt: &str) -> Standing {
        Standing::Safe(Safe {
            item: proven.item,
            entry: proven.entry,
            duplicate: proven.duplicate,
            copies: proven.copies,
            receipt: self.agent.state.receipt_path(receipt),
            rests_on: proven.rests_on,
        })
    }

    /// What a receipt is held against; nothing if no manifest of ours was ever made.
    pub(super) async fn expected(&self, item: ItemId) -> Result<Option<Expected>, AgentError> {
        let seq = self.seq;
        let manifested = self
            .agent
            .with_journal(move |journal| Ok(journal.clip(seq).and_then(|clip| clip.manifested)));
        let device = *self.agent.device();
        Ok(manifested.await?.map(|(digests, manifest_sha256)| Expected {
            size_bytes: self.size_bytes,
            digests,
            manifest_sha256,
            item,
            device,
        }))
    }

    /// A small document of an item that is there: "unknown" is the server's fault here, not a lost upload.
    async fn document(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        self.agent.server.get(path).await.map_err(|trouble| match trouble {
            Trouble::Gone => Trouble::Faulty { status: 404 },
            other => other,
        })
    }

    async fn unproven(&self, check: String) -> Result<Standing, AgentError> {
        tracing::error!(agent_seq = %self.seq, %check, "a receipt proves nothing");
        self.end(Ending::Unproven { check: check.clone() }).await?;
        Ok(problem(Problem::Unproven { check }))
    }

    pub(super) async fn unreadable(&self, error: ReadError) -> Result<Standing, AgentError> {
        Ok(problem(match error {
            // It may be readable next time: the clip stays open.
            ReadError::Io(error) => Problem::Unreadable { reason: error.to_string() },
            ReadError::Changed(reason) => {
                let reason = reason.to_owned();
                self.end(Ending::Changed { reason: reason.clone() }).await?;
                Problem::Changed { reason }
            }
        }))
    }
}

/// `…/receipt?entry=7` → `…/receipt.txt?entry=7`
fn beside(receipt: &str) -> String {
    match receipt.split_once('?') {
        Some((path, query)) => format!("{path}.txt?{query}"),
        None => format!("{receipt}.txt"),
    }
}

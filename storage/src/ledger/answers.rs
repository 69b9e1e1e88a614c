//! What those hear who wait for a command, here and at other servers.

use std::sync::Arc;

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::ids::LeafIndex;
use chain_of_custody::sequencer::{Decision, Effect, Grown, Ticket};
use tokio::sync::oneshot;

use super::task::{Reply, Task};
use super::{LedgerError, Placed, Recorded, SubmitError};
use crate::records::{CommandRow, Ring};

impl Task {
    /// Tells the waiters.
    pub(super) fn tell(&mut self, effect: Effect) {
        match effect {
            Effect::Answer { decisions, grown, checkpoint } => {
                self.expected = decisions.len() + self.machine.waiting();
                for (ticket, decision) in decisions {
                    self.answer(ticket, decision, grown.as_deref(), checkpoint.as_ref());
                }
            }
            Effect::Committed { decisions } => self.answer_recorded(decisions),
            Effect::GiveUp { tickets, reason } => {
                tracing::error!(commands = tickets.len(), "nothing was written: {reason}");
                self.answer_all(tickets, &reason);
            }
            Effect::TurnAway(ticket) => self.refuse(ticket, SubmitError::Busy),
            Effect::Stop { tickets, reason } => {
                self.stopped.send_if_modified(|stopped| {
                    let first = stopped.is_none();
                    if first {
                        tracing::error!("the ledger stopped: {reason}");
                        *stopped = Some(reason.clone());
                    }
                    first
                });
                // Else another server answers.
                if self.lease.is_none() || self.failed_for_good {
                    self.answer_all(tickets, &reason);
                }
            }
            other => unreachable!("a durable effect is executed, not told: {other:?}"),
        }
    }

    /// Those who wait for the database only.
    fn answer_recorded(&mut self, decisions: Vec<(Ticket, Decision)>) {
        for (ticket, decision) in decisions {
            let reply = self.waiters.get(&ticket).map(|waiter| &waiter.reply);
            if matches!(reply, Some(Reply::Recorded(_))) {
                self.answer(ticket, decision, None, None);
            }
        }
    }

    fn answer(
        &mut self,
        ticket: Ticket,
        decision: Decision,
        grown: Option<&Grown>,
        checkpoint: Option<&SignedCheckpoint>,
    ) {
        let (index, repeated) = match decision {
            Decision::Refused(refusal) => return self.refuse(ticket, refusal.into()),
            Decision::Placed(leaf_index) => (leaf_index, false),
            Decision::Repeated(leaf_index) => (leaf_index, true),
        };
        let Some(waiter) = self.waiters.remove(&ticket) else { return };
        let reply = match waiter.reply {
            Reply::Row(_) => return,
            Reply::Placed(reply) => reply,
            Reply::Recorded(reply) => {
                return drop(reply.send(Ok(Recorded { leaf_index: index, repeated })));
            }
        };
        match grown.zip(checkpoint).and_then(|(g, c)| placed(g, c, index, repeated)) {
            // Whoever asked may have left; what was done stands all the same.
            Some(placed) => drop(reply.send(Ok(placed))),
            None => self.answer_from_store(reply, index),
        }
    }

    /// An entry of an earlier batch: read beside the next one.
    fn answer_from_store(
        &self,
        reply: oneshot::Sender<Result<Placed, SubmitError>>,
        index: LeafIndex,
    ) {
        let Some(showing) = &self.showing else { return };
        let reader = showing.reader.clone();
        tokio::spawn(async move {
            let stopped = |e: LedgerError| SubmitError::Stopped { reason: e.to_string() };
            // Whoever asked may have left.
            let _ = reply.send(reader.placed(index).await.map_err(stopped));
        });
    }

    fn answer_all(&mut self, tickets: Vec<Ticket>, reason: &str) {
        for ticket in tickets {
            self.refuse(ticket, SubmitError::Stopped { reason: reason.to_owned() });
        }
    }

    fn refuse(&mut self, ticket: Ticket, error: SubmitError) {
        if let Some(waiter) = self.waiters.remove(&ticket) {
            waiter.reply.refuse(error);
        }
    }

    /// Which of a batch's commands stand in the table, and where.
    pub(super) fn rows(&self, tickets: &[Ticket]) -> Vec<(usize, CommandRow)> {
        let row = |(at, ticket)| match &self.waiters.get(ticket)?.reply {
            Reply::Row(row) => Some((at, row.clone())),
            Reply::Placed(_) | Reply::Recorded(_) => None,
        };
        tickets.iter().enumerate().filter_map(row).collect()
    }

    /// Those who wait at other servers are told like those who wait here.
    pub(super) async fn give_up_rows(&self, tickets: &[Ticket], reason: &str) {
        let rows: Vec<_> = self.rows(tickets).into_iter().map(|(_, row)| row).collect();
        if let Err(error) = self.records.give_up_commands(&rows, reason).await {
            tracing::warn!("other servers are not told what was given up: {error}");
        }
    }

    /// Beside the next batch: nobody here waits for it, and whoever misses it looks by itself.
    pub(super) fn tell_other_servers(&self) {
        if self.lease.is_some() {
            let records = self.records.clone();
            tokio::spawn(async move {
                if let Err(error) = records.ring_now(Ring::Published).await {
                    tracing::warn!("other servers are not told what is published: {error}");
                }
            });
        }
    }
}

fn placed(
    grown: &Grown,
    checkpoint: &SignedCheckpoint,
    index: LeafIndex,
    repeated: bool,
) -> Option<Placed> {
    let entry: &Arc<_> = grown.entry(index)?;
    Some(Placed {
        leaf_index: index,
        entry: entry.bytes.clone(),
        openings: entry.openings.clone(),
        proof: grown.prove(index)?,
        checkpoint: checkpoint.clone(),
        repeated,
    })
}

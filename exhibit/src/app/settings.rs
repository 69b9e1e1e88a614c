//! Settings by which less is kept than evidence should rest on: each is an entry, and so is its end.

use chain_of_custody::command::Command;
use chain_of_custody::event::{EventKind, field};
use storage::ledger::Ledger;

use super::open::{failed, new_event, random_salt};
use crate::control::Failure;

/// Records what `setting` names, where the ledger's last word on it is another.
pub(super) async fn record(
    ledger: &Ledger,
    setting: &'static str,
    names: &[String],
) -> Result<(), Failure> {
    let names = names.join(" ");
    if last_recorded(ledger, setting).await? == names {
        return Ok(());
    }
    let kind = if names.is_empty() {
        EventKind::ConfigurationRaised
    } else {
        tracing::warn!("{setting} is set, less is kept: {names}");
        EventKind::ConfigurationLowered
    };
    let changed = Command::new(kind, new_event())
        .field(field::SETTING, setting, random_salt())
        .field(field::REASON_CODE, &names, random_salt())
        .field(field::BY, "exhibit", random_salt());
    ledger.submit(changed).await.map(drop).map_err(|e| failed("ledger", &e))
}

async fn last_recorded(ledger: &Ledger, setting: &str) -> Result<String, Failure> {
    let records = ledger.records();
    let broken = |e| failed("records", &e);
    let mut indices = Vec::new();
    for kind in [EventKind::ConfigurationLowered, EventKind::ConfigurationRaised] {
        let entries = records.entries_of(kind).await.map_err(broken)?;
        indices.extend(entries.into_iter().map(|(index, _)| index));
    }
    indices.sort_unstable();
    for index in indices.into_iter().rev() {
        let event = records.event_at(index).await.map_err(broken)?;
        if let Some(event) = event.filter(|event| event.opened(field::SETTING) == Some(setting)) {
            return Ok(event.opened(field::REASON_CODE).unwrap_or_default().to_owned());
        }
    }
    Ok(String::new())
}

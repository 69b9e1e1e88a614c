//! The doctor: a table of checks, each a small function that looks and says what is wrong and how to mend it.
//!
//! The one invariant to keep: it changes nothing, and says nothing about a healthy system.

mod bucket;
mod files;
mod ledger;
mod system;
mod worker;

use serde::Serialize;

use super::look::Look;
use super::measures::{Level, Measured};

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// A stable word for programs.
    pub(crate) code: &'static str,
    pub(crate) level: Level,
    pub(crate) what: String,
    /// How to mend it.
    pub(crate) fix: String,
}

impl Fault {
    fn warning(code: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code, level: Level::Warning, what: what.into(), fix: fix.into() }
    }

    fn critical(code: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code, level: Level::Critical, what: what.into(), fix: fix.into() }
    }
}

/// Checks that need only the folder and the configuration.
const OF_FILES: &[fn(&Look) -> Vec<Fault>] = &[
    files::data_folder_is_private,
    files::keys_folder_is_private,
    files::key_files_are_private,
    files::key_files_are_all_there,
    files::no_keys_half_made,
    files::passphrase_file_is_usable,
    files::keys_are_as_configured,
    files::passphrase_opens_the_keys,
    files::configuration_is_not_for_everybody,
    files::one_owner,
    files::no_copy_of_the_database_is_left,
    files::no_temporary_files_are_left,
    files::nothing_was_set_aside,
    files::outbox_is_private,
    files::no_bundle_is_forgotten,
    system::configuration_names_this_ledger,
    system::lock_holder_answers,
    system::no_dead_socket,
    system::socket_is_private,
    system::address_is_safe,
    system::disk_has_room,
    system::clock_is_not_behind,
    system::head_is_confirmed,
    system::log_witnesses_answer,
];

/// What is wrong, the worst first.
pub(crate) async fn examine(look: &Look, measured: &[Measured]) -> Vec<Fault> {
    let mut faults: Vec<Fault> = OF_FILES.iter().flat_map(|check| check(look)).collect();
    faults.extend(ledger::database(look).await);
    faults.extend(ledger::head(look).await);
    faults.extend(bucket::keeps_its_promises(look).await);
    faults.extend(worker::confines_itself(look).await);
    faults.extend(ledger::tiles(look).await);
    faults.extend(ledger::objects(look).await);
    faults.extend(ledger::uploads(look).await);
    faults.extend(ledger::devices(look).await);
    faults.extend(ledger::backups(look).await);
    faults.extend(alarms(look, measured));
    faults.sort_by_key(|fault| std::cmp::Reverse(fault.level));
    faults
}

/// What `status` alarms about, unless a check of its own says it better.
fn alarms(look: &Look, measured: &[Measured]) -> Vec<Fault> {
    const SAID_BETTER: &[&str] =
        &["exhibit_keys_encrypted", "exhibit_head_unconfirmed", "exhibit_docks_not_seen"];
    // A server that was stopped on purpose is no fault; one that does not answer is found by its lock.
    let stopped = look.live().is_none();
    let alarming = measured.iter().filter(|m| m.level > Level::Ok);
    alarming
        .filter(|m| !SAID_BETTER.contains(&m.name))
        .filter(|m| !stopped || m.name != "exhibit_up")
        .map(|m| Fault {
            code: m.name.strip_prefix("exhibit_").unwrap_or(m.name),
            level: m.level,
            what: format!("{}: {}", m.title, m.words),
            fix: m.next.unwrap_or_default().to_owned(),
        })
        .collect()
}

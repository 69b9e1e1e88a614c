//! `exhibit keys new` and `keys recover`: the keys of a force, and their escrow.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use storage::keys::{KeyError, create_with_escrow, recover_from_escrow};

use crate::app::escrow::{EscrowFile, escrow_failure};
use crate::app::keys::{RoleKeys, protection};
use crate::app::open::{failed, origin};
use crate::cli::Keys;
use crate::config::Config;
use crate::control::{DataLock, Failure};
use crate::terminal::{self, line};

pub(super) fn run(
    command: &Keys,
    data: &Path,
    config: &Config,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let _lock = DataLock::take(data)?
        .ok_or_else(|| Failure::new("data-folder", "another process holds this data folder"))?;
    let protection = protection(&config.keys).map_err(|e| key_failure(&e))?;
    let folder = data.join("keys");
    let said = match command {
        Keys::New { escrow, output } => {
            let file = EscrowFile::new(output)?;
            file.write(create_with_escrow(&folder, &protection, escrow))?;
            format!(
                "the escrow is {}: keep it away from this machine and its backups",
                output.display()
            )
        }
        Keys::Recover { from, identity } => {
            recover_from_escrow(&folder, &protection, from, identity)
                .map_err(|e| escrow_failure(&e))?;
            "the keys are back".to_owned()
        }
        Keys::Publish { .. } | Keys::Rotate(_) | Keys::Protect => {
            unreachable!("these need the ledger")
        }
    };
    let keys = RoleKeys::open(&folder, &config.keys, &origin(&config.force.ledger)?)?;
    let vkey = keys.log.vkey().to_string();
    if as_json {
        terminal::answer(&json!({"log_key": vkey, "encrypted": !keys.unencrypted}));
    } else {
        line(&said);
        line(&format!("log key {vkey}"));
        if keys.unencrypted {
            line(
                "The keys lie in plain text here: set keys.passphrase_file first, and they are encrypted when made.",
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn key_failure(error: &KeyError) -> Failure {
    failed("keys", error).advice("settings: keys.passphrase_file, keys.passphrase_credential")
}

//! `exhibit keys new` and `keys recover`: the keys of a force, and their escrow.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use storage::keys::{EscrowError, KeyError, create_with_escrow, recover_from_escrow};

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
            // Its place first: keys are made only when their escrow can be written.
            let mut file = new_file(output)?;
            let sealed = create_with_escrow(&folder, &protection, escrow);
            let written = sealed.map_err(|e| escrow_failure(&e)).and_then(|sealed| {
                let written = file.write_all(&sealed).and_then(|()| file.sync_all());
                written.map_err(|e| cannot(output, &e))
            });
            if written.is_err() {
                let _nothing_is_in_it = std::fs::remove_file(output);
            }
            written?;
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
        Keys::Publish { .. } => unreachable!("the folder's holder answers that"),
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

fn new_file(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path).map_err(|e| cannot(path, &e))
}

fn cannot(path: &Path, why: &std::io::Error) -> Failure {
    Failure::new("escrow", format!("{}: {why}", path.display()))
        .advice("name a new file in a folder that you may write")
}

fn escrow_failure(error: &EscrowError) -> Failure {
    let failure = failed("escrow", error);
    match error {
        EscrowError::Recipient { .. } => failure
            .advice("each person makes one with: age-keygen -o NAME.key; it prints the recipient"),
        EscrowError::Identity { .. } | EscrowError::NotOurs { .. } => failure.advice(
            "the file that age-keygen wrote, of somebody the escrow was made for (docs/keys.md)",
        ),
        EscrowError::KeysThere { .. } | EscrowError::Content { .. } | EscrowError::Key(_) => {
            failure
        }
    }
}

fn key_failure(error: &KeyError) -> Failure {
    failed("keys", error).advice("settings: keys.passphrase_file, keys.passphrase_credential")
}

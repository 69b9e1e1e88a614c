//! `exhibit keys protect`: keys in plain text are put under the configured passphrase.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use storage::keys::{KEY_FILES, Protection, protect};

use super::rotate::lock;
use crate::app::App;
use crate::app::keys::protection;
use crate::app::open::failed;
use crate::config::Config;
use crate::control::{Actor, Failure};
use crate::terminal::{self, line};

/// Each file in turn, then the entry; a repeat goes on where a kill ended it.
pub(super) async fn run(data: &Path, config: &Config, as_json: bool) -> Result<ExitCode, Failure> {
    let Protection::Passphrase(passphrase) =
        protection(&config.keys).map_err(|e| failed("keys", &e))?
    else {
        return Err(Failure::new("configuration", "no passphrase is configured for the keys")
            .advice("set keys.passphrase_file or keys.passphrase_credential first"));
    };
    let (lock, folder) = (lock(data)?, data.join("keys"));
    let mut changed = Vec::new();
    for file in KEY_FILES {
        if protect(&folder, file, &passphrase).map_err(|e| failed("keys", &e))? {
            changed.push(file);
        }
        storage::failpoint::hit("keys.protected-one");
    }
    let app = App::open(data, config, lock).await?;
    let recorded = app.record_protection(&Actor::at_this_console()).await;
    app.close().await;
    let leaf_index = recorded?;
    if as_json {
        terminal::answer(&json!({"encrypted": changed, "leaf_index": leaf_index}));
        return Ok(ExitCode::SUCCESS);
    }
    line(&match changed.len() {
        0 => "Every key was under the passphrase already.".to_owned(),
        count => format!("{count} keys are under the passphrase now."),
    });
    if !changed.is_empty() {
        line(
            "The plain files were written over, which not every file system and disk does in place: copies, snapshots and spare blocks may still hold them. A disk that had keys in plain text counts as one that holds them (docs/keys.md).",
        );
    }
    Ok(ExitCode::SUCCESS)
}

//! `exhibit doctor`: what is wrong, each with its fix.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::commands::no_data_folder;
use crate::config::Config;
use crate::control::Failure;
use crate::keeping::{Level, Look, doctor, measure};
use crate::terminal::{self, line};

pub(super) async fn run(data: &Path, config: &Config, as_json: bool) -> Result<ExitCode, Failure> {
    if !data.is_dir() {
        return Err(no_data_folder(data));
    }
    let look = Look::from_outside(data, config).await;
    // A database that cannot be asked is found by a check of its own.
    let measured = measure(&look).await.unwrap_or_default();
    let faults = doctor::examine(&look, &measured).await;
    if as_json {
        terminal::answer(&json!({"healthy": faults.is_empty(), "faults": faults}));
    } else {
        for fault in &faults {
            let mark = if fault.level == Level::Critical { "‼" } else { "!" };
            line(&format!("{mark} {}: {}", fault.code, fault.what));
            line(&format!("    → {}", fault.fix));
        }
        line(&match faults.len() {
            0 => "nothing is wrong".to_owned(),
            n => format!("{n} found; nothing was changed"),
        });
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

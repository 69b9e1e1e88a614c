//! `exhibit ledger witness`: what is typed, and what is listed.

use std::path::PathBuf;
use std::process::ExitCode;

use chain_of_custody::note::VerifierKey;
use chain_of_custody::rotation::{Rotation, Succession};
use serde_json::json;
use storage::keys::{Passphrase, Protection};

use crate::cli::LogWitness;
use crate::control::Failure;
use crate::log_witness::{self, Options};
use crate::{config, logging, terminal};

/// Runs a log witness, or lists what it refused.
pub(super) async fn run(args: &LogWitness, as_json: bool) -> Result<ExitCode, Failure> {
    if args.refused {
        return list(args, as_json);
    }
    logging::start(&config::Log::default())?;
    log_witness::run(options(args)?).await?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: &LogWitness) -> Result<Options, Failure> {
    let key = |text: &String| {
        VerifierKey::parse(text).map_err(|e| Failure::new("usage", format!("--log {text}: {e}")))
    };
    let protection = match &args.passphrase_file {
        None => Protection::Unencrypted,
        Some(file) => Passphrase::from_file(file)
            .map(Protection::Passphrase)
            .map_err(|e| Failure::new("keys", e.to_string()))?,
    };
    Ok(Options {
        store: args.store.clone(),
        name: args.name.clone(),
        protection,
        logs: in_use(args.logs.iter().map(key).collect::<Result<_, _>>()?, &args.rotations)?,
        listen: args.listen.clone(),
        behind_proxy: args.behind_proxy,
    })
}

/// The keys that those of `logs` were replaced by, as far as notes say; a key that was replaced is trusted no more.
fn in_use(logs: Vec<VerifierKey>, notes: &[PathBuf]) -> Result<Vec<VerifierKey>, Failure> {
    let read = |path: &PathBuf| {
        let wrong = |e: &dyn std::fmt::Display| {
            Failure::new("usage", format!("--rotation {}: {e}", path.display()))
        };
        let note = std::fs::read(path).map_err(|e| wrong(&e))?;
        Rotation::read(&note).map_err(|e| wrong(&e))
    };
    let notes: Vec<Rotation> = notes.iter().map(read).collect::<Result<_, _>>()?;
    let succession = Succession::of(notes.clone());
    let led: Vec<VerifierKey> = logs
        .iter()
        .map(|key| succession.after(key).last().map_or(key, |last| &last.new).clone())
        .collect();
    let leads_on = |note: &&Rotation| {
        led.iter().any(|key| *key == note.new || succession.before(key).contains(&note.new))
    };
    match notes.iter().find(|note| !leads_on(note)) {
        None => Ok(led),
        Some(note) => {
            let text = format!("a note is about the key {}, which no --log leads to", note.old);
            Err(Failure::new("usage", text).advice("--log names the key from before the note"))
        }
    }
}

fn list(args: &LogWitness, as_json: bool) -> Result<ExitCode, Failure> {
    let refused = log_witness::refused(&args.store)?;
    if as_json {
        terminal::answer(&json!({"refused": refused}));
    } else {
        for request in &refused {
            terminal::line(&format!(
                "{}  refused {}  held {}",
                request.time_unix_s,
                request.request.display(),
                request.held.display()
            ));
        }
        terminal::line(&format!("{} refused as evidence", refused.len()));
    }
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

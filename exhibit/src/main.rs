//! The `exhibit` program: commands, configuration and the wiring of the rooms.
//!
//! What lives here: what people type, what they read on a terminal, which parts run in which process. What does not:
//! any rule about evidence. Those are in `chain-of-custody`, `storage`, `ingest`, `transcode` and `portal`.

mod app;
mod cli;
mod commands;
mod config;
mod control;
mod http;
mod keeping;
mod log_witness;
mod logging;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

fn main() -> ExitCode {
    // `exhibit verify …` is exhibit-verify: its own arguments, its own exit codes.
    let mut words = std::env::args_os();
    let program = words.next();
    if program.is_some() && words.next().is_some_and(|word| word == "verify") {
        return exhibit_verify::main_with(std::iter::once("exhibit verify".into()).chain(words));
    }
    // Before any key or token is read: nothing that runs under the same account may trace this process, read its memory
    // or find a core of it.
    ingest::agent::choose_tls();
    let closed = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let cli = cli::Cli::parse();
    let json = cli.json;
    let closed = closed.map_err(|error| {
        let what = format!("this program's memory cannot be closed to others: {error}");
        control::Failure::new("memory-not-closed", what)
    });
    match closed.and_then(|()| commands::run(cli)) {
        Ok(code) => code,
        Err(failure) => {
            terminal::failure(&failure, json);
            ExitCode::FAILURE
        }
    }
}

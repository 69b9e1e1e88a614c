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
mod logging;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // `exhibit verify …` is exhibit-verify: its own arguments, its own exit codes.
    let mut words = std::env::args_os();
    let program = words.next();
    if program.is_some() && words.next().is_some_and(|word| word == "verify") {
        return exhibit_verify::main_with(std::iter::once("exhibit verify".into()).chain(words));
    }
    let cli = cli::Cli::parse();
    let json = cli.json;
    match commands::run(cli) {
        Ok(code) => code,
        Err(failure) => {
            terminal::failure(&failure, json);
            ExitCode::FAILURE
        }
    }
}

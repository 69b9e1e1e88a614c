//! What the program says of itself: man pages, completions, alert rules, the dashboard.

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;

use super::Keep;
use crate::cli::Cli;
use crate::keeping::{alerts, dashboard};
use crate::terminal;

pub(super) fn print(command: &Keep) -> ExitCode {
    match command {
        Keep::Man { folder } => match man_pages(folder) {
            Ok(pages) => terminal::note(&format!("{pages} pages written to {}", folder.display())),
            Err(error) => {
                terminal::note(&format!("exhibit: {}: {error}", folder.display()));
                return ExitCode::FAILURE;
            }
        },
        Keep::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "exhibit", &mut text);
            terminal::exact(&String::from_utf8_lossy(&text));
        }
        Keep::Status { dashboard: true, .. } => terminal::exact(&dashboard::dashboard()),
        _ => terminal::exact(&alerts::rules()),
    }
    ExitCode::SUCCESS
}

/// One page for the program and one for each command and its parts: exhibit-ledger-audit.1.
fn man_pages(folder: &Path) -> std::io::Result<usize> {
    std::fs::create_dir_all(folder)?;
    let mut program = Cli::command();
    program.build();
    let mut pages = 0;
    write_pages(&program, folder, &mut pages)?;
    Ok(pages)
}

fn write_pages(command: &clap::Command, folder: &Path, pages: &mut usize) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut page)?;
    std::fs::write(folder.join(format!("{name}.1")), page)?;
    *pages += 1;
    let parts = command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help");
    for part in parts {
        write_pages(part, folder, pages)?;
    }
    Ok(())
}

//! The stand-alone checker: reads a folder, a ZIP, a single receipt or a ledger's files, hashes what it finds, and prints the report.
//!
//! Here: files, ZIPs, hashing and words. Not here: any decision. What a finding means and what counts as a match is
//! `chain_of_custody::bundle`, a pure function that somebody else may call with the same facts.
//! Invariant: nothing in a bundle is ever executed, followed, unpacked or written; it is read, hashed and compared.

mod args;
mod folder;
mod gather;
mod hash;
mod ledger;
mod limits;
mod locate;
mod print;
mod zip;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chain_of_custody::bundle::{self, ReceiptFile, Trust};
use chain_of_custody::policy::Fingerprint;
use chain_of_custody::report::Report;
use clap::Parser as _;

pub use args::VerifyArgs;

/// The exit code of a wrong command line: `EX_USAGE` of sysexits.h.
pub const USAGE: u8 = 64;

/// What stops a check before it has begun. Shown to whoever typed the command.
#[derive(Debug)]
struct Usage(String);

/// The whole program, from its command line to its exit code.
pub fn main_with(command_line: impl IntoIterator<Item = OsString>) -> ExitCode {
    match args::CommandLine::try_parse_from(command_line) {
        Ok(line) => run(&line.verify),
        Err(error) => {
            // Help and version are asked for, not mistakes. A closed pipe must not turn into a panic.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { USAGE } else { 0 })
        }
    }
}

/// Checks what `args` name and prints the report; also `exhibit verify`.
pub fn run(args: &VerifyArgs) -> ExitCode {
    match check(args) {
        Ok(report) => {
            let text =
                if args.json { print::json(&report) } else { print::text(&report, args.explain) };
            match io::stdout().write_all(text.as_bytes()) {
                Ok(()) => ExitCode::from(report.result.exit_code()),
                // Nobody read the report: say so by the code that means nothing was shown.
                Err(_) => ExitCode::from(chain_of_custody::report::Outcome::CannotTell.exit_code()),
            }
        }
        Err(Usage(message)) => {
            let _ = writeln!(io::stderr(), "exhibit-verify: {message}");
            ExitCode::from(USAGE)
        }
    }
}

/// The report itself, for programs that show it their own way.
///
/// # Errors
/// A sentence for whoever gave the arguments.
pub fn report(args: &VerifyArgs) -> Result<Report, String> {
    check(args).map_err(|Usage(message)| message)
}

fn check(args: &VerifyArgs) -> Result<Report, Usage> {
    let trust = trust(args)?;
    let path = &args.path;
    if args.ledger.is_some() && (path.is_dir() || zip::looks_like_one(path)) {
        let text = "--ledger goes with a receipt: a bundle carries what is needed of its ledger";
        return Err(Usage(text.to_owned()));
    }
    let slip = args.since.as_deref().map(read_slip).transpose()?;
    let slip = slip.as_deref();
    if path.is_dir() {
        return match slip {
            Some(slip) if ledger::looks_like_one(path) => ledger::check(path, slip, &trust),
            _ => Ok(check_bundle(folder::read(path), slip, &trust)),
        };
    }
    if !path.is_file() {
        return Err(Usage(format!("there is no file or folder {}", path.display())));
    }
    if zip::looks_like_one(path) {
        return Ok(check_bundle(zip::read(path), slip, &trust));
    }
    if slip.is_some() {
        let text = "--since needs a ledger as files, or a bundle: a receipt does not show what came before it";
        return Err(Usage(text.to_owned()));
    }
    check_receipt(args, &trust)
}

fn trust(args: &VerifyArgs) -> Result<Trust, Usage> {
    if let Some(path) = &args.policy {
        let bytes = limits::read_small(path).map_err(|error| {
            Usage(format!("cannot read the policy {}: {error}", path.display()))
        })?;
        return Ok(Trust::Policy(bytes));
    }
    let Some(text) = &args.fingerprint else { return Ok(Trust::Nothing) };
    let fingerprint: Fingerprint =
        text.parse().map_err(|error| Usage(format!("--fingerprint: {error}")))?;
    Ok(Trust::Fingerprint(fingerprint))
}

fn check_bundle(gathered: gather::Gathered, slip: Option<&[u8]>, trust: &Trust) -> Report {
    let facts = hash::facts(&gathered);
    bundle::check_since(&facts, trust, slip, &mut |suspect| {
        locate::first_difference(&gathered, suspect)
    })
}

fn read_slip(path: &Path) -> Result<Vec<u8>, Usage> {
    limits::read_small(path)
        .map_err(|error| Usage(format!("cannot read the slip {}: {error}", path.display())))
}

fn check_receipt(args: &VerifyArgs, trust: &Trust) -> Result<Report, Usage> {
    let cannot =
        |path: &Path, error: io::Error| Usage(format!("cannot read {}: {error}", path.display()));
    let path = &args.path;
    let bytes = limits::read_small(path).map_err(|error| cannot(path, error))?;
    let single = |file: &PathBuf| hash::single(file).map_err(|error| cannot(file, error));
    let fact = args.file.as_ref().map(single).transpose()?;
    let name = gather::shown(&path.to_string_lossy());
    let receipt = ReceiptFile { path: &name, bytes: &bytes, file: fact.as_ref() };
    match &args.ledger {
        None => Ok(bundle::check_receipt(&receipt, trust, None)),
        Some(later) => {
            ledger::with_later(later, |l| bundle::check_receipt(&receipt, trust, Some(l)))
        }
    }
}

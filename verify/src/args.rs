//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser};

const EXAMPLES: &str = "\
Examples:
  exhibit-verify bundle.zip --policy force-policy.txt
  exhibit-verify bundle-folder --fingerprint '1f2e3d4c-…'
  exhibit-verify receipt.tlog-proof --file clip.mp4 --policy force-policy.txt
  exhibit-verify old-receipt.tlog-proof --ledger ledger-folder --policy force-policy.txt
  exhibit-verify ledger-folder --since slip.txt --policy force-policy.txt

Exit codes: 0 match, 1 mismatch, 2 cannot tell, 64 wrong command line.
Get the policy or its fingerprint from the force itself, never from the bundle you check.";

/// `exhibit-verify …`
#[derive(Debug, Parser)]
#[command(name = "exhibit-verify", version, about = "Checks a bundle of evidence, or a receipt and its file", after_help = EXAMPLES)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) verify: VerifyArgs,
}

/// What to check, and against whom.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// A bundle (folder or ZIP), a receipt (.tlog-proof), or with --since a ledger as files
    pub path: PathBuf,
    /// The force's policy file, obtained apart from the bundle
    #[arg(long, value_name = "FILE", conflicts_with = "fingerprint")]
    pub policy: Option<PathBuf>,
    /// The force's fingerprint, obtained apart from the bundle: the bundle's own policy then counts if it has it
    #[arg(long, value_name = "TEXT")]
    pub fingerprint: Option<String>,
    /// With a receipt: the file it is for
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// A slip kept from earlier: whether the ledger here still begins with the entries it shows
    #[arg(long, value_name = "SLIP", conflicts_with = "file")]
    pub since: Option<PathBuf>,
    /// With a receipt from before the log's key was replaced: the ledger as files, or a bundle, from after it
    #[arg(long, value_name = "LEDGER", conflicts_with = "since")]
    pub ledger: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Say of each kind of check what it shows and what it does not
    #[arg(long)]
    pub explain: bool,
}

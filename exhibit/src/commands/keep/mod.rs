//! Commands for who keeps the system: status, doctor, backup and the way back, scrub, upgrade, man pages.

mod about;
mod backup;
mod doctor;
mod drill;
mod keys;
mod move_store;
mod protect;
mod rebuild_drill;
mod restore;
mod rotate;
mod status;
mod upgrade;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) use move_store::MigrateStorage;
pub(crate) use rotate::Rotate;

use clap::Subcommand;
use serde_json::Value;

use crate::config::Config;
use crate::control::{Failure, Request, ScrubRequest};
use crate::terminal;

/// What people type.
#[derive(Debug, Subcommand)]
pub(crate) enum Keep {
    /// How the system is, on one screen.
    #[command(
        after_help = "Exit codes, as monitoring plugins have them: 0 well, 1 warning, 2 critical, 3 not known.\n\nExample:\n  exhibit status --data /var/lib/exhibit"
    )]
    Status {
        /// Print the alert rules for Prometheus that go with it.
        #[arg(long)]
        alert_rules: bool,
        /// Print the dashboard for Grafana that goes with it.
        #[arg(long, conflicts_with = "alert_rules")]
        dashboard: bool,
    },
    /// Look for what is wrong, and say how to mend each.
    #[command(
        after_help = "Changes nothing. Exit codes: 0 nothing found, 1 something.\n\nExample:\n  exhibit doctor --data /var/lib/exhibit"
    )]
    Doctor,
    /// Copy everything that is new since the last backup, compared on the way. Never the keys.
    #[command(
        after_help = "Works while the server runs. The folder must be there: a disk that is not mounted must not be taken for an empty one.\n\nExample:\n  exhibit backup --data /var/lib/exhibit --to /mnt/backup/exhibit"
    )]
    Backup {
        /// The backup's folder: empty at first, the same one from then on.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Read every byte that is in the backup already, not only look for it.
        #[arg(long)]
        reread: bool,
        /// Begin anew in an empty folder that was backed up to before.
        #[arg(long)]
        anew: bool,
    },
    /// Make a new data folder from a backup. Its keys must be there already; see `exhibit keys recover`.
    #[command(
        after_help = "The restored ledger signs nothing before its head is confirmed: exhibit ledger recover.\n\nExample:\n  exhibit keys recover --data /srv/exhibit --from keys.age --identity officer.key\n  exhibit restore --data /srv/exhibit --from /mnt/backup/exhibit"
    )]
    Restore {
        /// The backup's folder.
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
    /// Prove that a backup can be restored, or without one, that the store alone gives the database again.
    #[command(
        after_help = "From a backup: restores it aside, reads all of it, compares, and throws it away. Uses the force's key to read, a throw-away key and ledger \
            name to sign: it cannot sign for the real ledger.\n\n\
            Without --from: makes the records again from the ledger in the store alone, folder or bucket, and compares them with the live database row by \
            row, as of one moment. Works while servers run, signs nothing and changes nothing.\n\n\
            Examples:\n  exhibit restore-drill --data /var/lib/exhibit --from /mnt/backup/exhibit --into /mnt/scratch\n  \
            exhibit restore-drill --data /var/lib/exhibit"
    )]
    RestoreDrill {
        /// The backup's folder; without it the store itself is drilled.
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
        /// A folder with room for all of it, or for the database; a temporary one otherwise.
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// An empty PostgreSQL database to make the records in; SQLite aside otherwise. It is yours to drop afterwards.
        #[arg(long, value_name = "URL", conflicts_with = "from")]
        database: Option<String>,
    },
    /// Bring all objects and the ledger to another place, a bucket or a folder, and say exactly what arrived.
    #[command(
        after_help = "The server is stopped meanwhile. Nothing at the old place is changed. Killed or cut off, the same command goes on, with another \
            --report.\n\n\
            The destination's credentials, where they are others: EXHIBIT_TO_AWS_ACCESS_KEY_ID and EXHIBIT_TO_AWS_SECRET_ACCESS_KEY.\n\n\
            Exit codes: 0 everything that the ledger names arrived, 1 something did not.\n\n\
            Examples:\n  exhibit migrate-storage --data /var/lib/exhibit --to bucket.toml --report moved.jsonl\n  \
            exhibit migrate-storage --data /var/lib/exhibit --to-folder /srv/objects --report moved.jsonl --read-again"
    )]
    MigrateStorage(MigrateStorage),
    /// Read everything that is held again, and list exactly what is missing or damaged.
    #[command(
        after_help = "Goes on where an interrupted one ended. Exit codes: 0 all is as it was received, 1 something is not.\n\n\
            Examples:\n  exhibit scrub --data /var/lib/exhibit\n  exhibit scrub --data /var/lib/exhibit --rate 20000000\n  \
            exhibit scrub --data /var/lib/exhibit --repair-from /mnt/backup/exhibit"
    )]
    Scrub {
        /// Do not rest between reads. Uploads come first otherwise.
        #[arg(long)]
        full_speed: bool,
        /// Read at most so many bytes a second, in place of resting: for a bucket that is paid for or shared.
        #[arg(long, value_name = "BYTES_PER_S", conflicts_with = "full_speed", value_parser = clap::value_parser!(u64).range(1..))]
        rate: Option<u64>,
        /// Bring what is missing or damaged back from this backup, where it holds a good copy.
        #[arg(long, value_name = "DIR")]
        repair_from: Option<PathBuf>,
    },
    /// Whether this version fits the data.
    #[command(subcommand)]
    Upgrade(Upgrade),
    /// Write the man pages.
    Man {
        /// The folder they go to.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Print what a shell needs to complete our commands.
    #[command(after_help = "Example:\n  exhibit completions bash > /etc/bash_completion.d/exhibit")]
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Upgrade {
    /// Try this version's migrations and formats on a copy of the database. Changes nothing.
    Check,
}

impl Keep {
    /// Whether it needs no data folder.
    pub(crate) fn is_about_this_program(&self) -> bool {
        matches!(
            self,
            Self::Man { .. }
                | Self::Completions { .. }
                | Self::Status { alert_rules: true, .. }
                | Self::Status { dashboard: true, .. }
        )
    }
}

impl Keep {
    /// Whether it is for folders with something missing, too, and says what.
    pub(super) fn needs_no_whole_folder(&self) -> bool {
        matches!(self, Self::Doctor | Self::Restore { .. } | Self::RestoreDrill { .. })
    }
}

/// Making keys, and bringing them back.
pub(crate) fn keys(
    command: &crate::cli::Keys,
    data: &Path,
    config: &Config,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    keys::run(command, data, config, as_json)
}

/// A new key in the place of one that signs.
pub(crate) async fn rotate(
    args: &Rotate,
    data: &Path,
    config: &Config,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    rotate::run(args, data, config, as_json).await
}

/// Keys in plain text come under the passphrase.
pub(crate) async fn protect(
    data: &Path,
    config: &Config,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    protect::run(data, config, as_json).await
}

/// Man pages, completions, alert rules.
pub(crate) fn about_this_program(command: &Keep) -> ExitCode {
    about::print(command)
}

/// The others.
pub(crate) async fn run(
    command: &Keep,
    data: &Path,
    config: &Config,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    match command {
        Keep::Status { .. } => status::run(data, config, as_json).await,
        Keep::Doctor => doctor::run(data, config, as_json).await,
        Keep::Backup { to, reread, anew } => {
            let request =
                Request::Backup { to: super::absolute(to)?, read_again: *reread, anew: *anew };
            let answer = ask(data, config, request, as_json).await?;
            Ok(backup::print(&answer, as_json))
        }
        Keep::Restore { from } => {
            restore::run(data, config, &super::absolute(from)?, as_json).await
        }
        Keep::RestoreDrill { from: Some(from), into, .. } => {
            drill::run(data, config, &super::absolute(from)?, into.as_deref(), as_json).await
        }
        Keep::RestoreDrill { from: None, into, database } => {
            let target =
                rebuild_drill::Target { into: into.as_deref(), database: database.as_deref() };
            rebuild_drill::run(data, config, &target, as_json).await
        }
        Keep::MigrateStorage(args) => move_store::run(args, data, config, as_json).await,
        Keep::Scrub { full_speed, rate, repair_from } => {
            let repair_from = repair_from.as_deref().map(super::absolute).transpose()?;
            let (full_speed, bytes_per_s) = (*full_speed, *rate);
            let request = Request::Scrub(ScrubRequest { full_speed, bytes_per_s, repair_from });
            let answer = ask(data, config, request, as_json).await?;
            Ok(backup::print_scrub(&answer, as_json))
        }
        Keep::Upgrade(Upgrade::Check) => upgrade::check(data, config, as_json).await,
        Keep::Man { .. } | Keep::Completions { .. } => Ok(about::print(command)),
    }
}

async fn ask(
    data: &Path,
    config: &Config,
    request: Request,
    quiet: bool,
) -> Result<Value, Failure> {
    let bar = terminal::Bar::counting(quiet);
    crate::control::perform(data, config, request, &mut |step| bar.show(&step)).await
}

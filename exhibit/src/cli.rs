//! What people type. Each command says what it does, with an example.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Digital evidence and body-worn-video ingest.
///
/// Hashes and signs footage as it arrives, stores it encrypted, and writes every act into an append-only ledger that
/// anyone can check offline.
#[derive(Debug, Parser)]
#[command(name = "exhibit", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// The data folder.
    #[arg(long, global = true, env = "EXHIBIT_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The configuration file, if it is not exhibit.toml in the data folder.
    #[arg(long, global = true, env = "EXHIBIT_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole job on this machine with real sample footage, from dock to checked bundle.
    #[command(after_help = "Example:\n  exhibit demo --keep /tmp/exhibit-demo")]
    Demo(Demo),
    /// Run the server.
    #[command(
        after_help = "Example:\n  exhibit serve --data /var/lib/exhibit --listen 127.0.0.1:8080"
    )]
    Serve(Serve),
    /// Make derivatives for servers on other machines: one of any number of workers on one database and one bucket.
    #[command(
        after_help = "Needs storage.database (PostgreSQL) and storage.kind = \"s3\", the keys of the force in its data folder, and a data folder \
            of its own. Ends in order on SIGTERM; jobs that it is at are another's a minute later.\n\n\
            Example:\n  exhibit work --data /var/lib/exhibit-worker"
    )]
    Work,
    /// Bring the schema of a PostgreSQL database to this version, while servers of the version before go on.
    #[command(
        after_help = "Servers of this version refuse an older schema, so that it is changed on purpose: run this once, then start them. \
            SQLite's schema follows at every start.\n\n\
            Example:\n  exhibit migrate --data /var/lib/exhibit"
    )]
    Migrate,
    /// The dock agent: send footage and keep receipts.
    #[command(subcommand)]
    Dock(Dock),
    /// Bring files in by hand, at the console.
    #[command(after_help = "Example:\n  exhibit ingest --data /var/lib/exhibit export.avi")]
    Ingest(Ingest),
    /// One item: digests, events, derivatives.
    #[command(after_help = "Example:\n  exhibit show --data /var/lib/exhibit sha256:9f86d081…")]
    Show(Show),
    /// Make an item's derivatives again, and compare: 0 where all are the same bytes (or, made with other libraries, the same
    /// pictures and sound), 1 where one is not, 2 where that cannot be told here.
    #[command(
        after_help = "Example:\n  exhibit reproduce --data /var/lib/exhibit 0193a7c2-… --derivative proxy"
    )]
    Reproduce(Reproduce),
    /// Cut a part out of a recording: from one picture that needs none before it to another, coded pictures as they are; or
    /// exactly.
    #[command(
        after_help = "Examples:\n  exhibit extract --data /var/lib/exhibit 0193a7c2-… --from 1:20 --to 2:05 --reason 'for interview'\n  \
            exhibit extract --data /var/lib/exhibit 0193a7c2-… --from 80.4 --to 81 --exact --reason 'press' -o clip.mp4"
    )]
    Extract(crate::commands::derive::Extract),
    /// Make a copy without what a list names: areas of the picture are covered, sound is silenced.
    #[command(
        after_help = "The list: {\"v\": 1, \"areas\": [{\"from_ms\": 0, \"to_ms\": 8000, \"x\": 400, \"y\": 120, \"width\": 200, \"height\": 160, \
            \"cover\": \"blur\"}], \"mutes\": [{\"from_ms\": 2000, \"to_ms\": 3500}]}; docs/formats/redaction-list.md says more.\n\n\
            Example:\n  exhibit redact --data /var/lib/exhibit 0193a7c2-… --list faces.json --reason 'bystanders' -o for-release.mp4"
    )]
    Redact(crate::commands::derive::Redact),
    /// Make what every item gets, as far as this one has not got it, or it failed.
    #[command(
        after_help = "Example:\n  exhibit derive --data /var/lib/exhibit 0193a7c2-… --derivative proxy --reason 'cancelled by mistake'"
    )]
    Derive(crate::commands::derive::Derive),
    /// Stop what is being made of an item, or waits to be.
    #[command(after_help = "Example:\n  exhibit cancel --data /var/lib/exhibit 0193a7c2-…")]
    Cancel(crate::commands::derive::Cancel),
    /// Find items.
    #[command(
        after_help = "Example:\n  exhibit search --data /var/lib/exhibit --device 0193a6ff-… --json"
    )]
    Search(Search),
    /// Bundles: self-contained exports that anybody can check.
    #[command(subcommand)]
    Bundle(Bundle),
    /// Check a bundle or receipt offline: the same as exhibit-verify. Write `exhibit verify` first, then its arguments.
    Verify,
    /// The ledger: its checkpoint, proofs, audit and export.
    #[command(subcommand)]
    Ledger(Ledger),
    /// Devices that may send footage.
    #[command(subcommand)]
    Device(Device),
    /// People who may sign in: each has an account of their own.
    #[command(subcommand)]
    User(crate::commands::people::User),
    /// Cases: who works on them, and what belongs to them.
    #[command(subcommand)]
    Case(crate::commands::people::Case),
    /// One item: who may see it.
    #[command(subcommand)]
    Item(crate::commands::people::Item),
    /// Orders that suspend disposal, on items and cases.
    #[command(subcommand)]
    Hold(crate::commands::holds::Hold),
    /// Until when items are kept.
    #[command(subcommand)]
    Retention(crate::commands::holds::Retention),
    /// The keys that others check against.
    #[command(subcommand)]
    Keys(Keys),
    /// Object stores that speak S3.
    #[command(subcommand)]
    Store(crate::commands::store::Store),
    /// Settings and what they do.
    #[command(subcommand)]
    Config(Config),
    /// Backup, restore, scrub, status, doctor: for who keeps the system.
    #[command(flatten)]
    Keep(crate::commands::keep::Keep),
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Where to work; a temporary folder otherwise.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Footage to use in place of the samples that `make setup` installs.
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address and port; overrides server.listen.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dock {
    /// Send clips; ends by answering "can I go?".
    #[command(
        after_help = "Example:\n  exhibit dock push --server http://127.0.0.1:8080 --token-file dock.token \\\n    --state /var/lib/dock --policy force.policy /media/camera/*.MP4\n\nExit codes: 0 every clip is safe, 1 some are not, 2 it could not be told."
    )]
    Push(Push),
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The server's address.
    #[arg(long, value_name = "URL", env = "EXHIBIT_SERVER")]
    pub(crate) server: String,
    /// The device's token; --token-file keeps it out of the process list.
    #[arg(long, value_name = "TOKEN", env = "EXHIBIT_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// A file that holds the token.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// The agent's folder: its key, journal and receipts.
    #[arg(long, value_name = "DIR", env = "EXHIBIT_DOCK_STATE", default_value = "exhibit-dock")]
    pub(crate) state: PathBuf,
    /// The force's policy file to pin; without it the first answer is pinned and its fingerprint shown.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Certificates (PEM) to trust for https:// in place of the system's: a force's own authority.
    #[arg(long, value_name = "FILE", env = "EXHIBIT_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// The camera's serial, when all files are one camera's.
    #[arg(long, value_name = "SERIAL")]
    pub(crate) camera: Option<String>,
    /// Uploads at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) parallel: u16,
    /// Clips to send.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Ingest {
    /// Files to bring in; each becomes an item. Of a folder, every file below it, named by its path there.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// The items may be privileged, intimate, covert or a third party's.
    #[arg(long)]
    pub(crate) restricted: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// An item's id, sha256:HEX or blake3:HEX.
    #[arg(value_name = "ITEM")]
    pub(crate) item: String,
}

#[derive(Debug, Args)]
pub(crate) struct Reproduce {
    /// An item's id, sha256:HEX or blake3:HEX.
    #[arg(value_name = "ITEM")]
    pub(crate) item: String,
    /// Only this kind, as `exhibit show` lists it: proxy, poster, thumbnails, …
    #[arg(long, value_name = "KIND")]
    pub(crate) derivative: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Words in the name.
    #[arg(value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// Only what this device sent.
    #[arg(long, value_name = "ID")]
    pub(crate) device: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Go on after this item, as the last page named it.
    #[arg(long, value_name = "ITEM")]
    pub(crate) after: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bundle {
    /// Make a bundle for somebody.
    #[command(
        after_help = "Example:\n  exhibit bundle create --data /var/lib/exhibit --item 0193a7c2-… --reference JSM/1 --for cps \\\n    --to 'CPS East' -o case-12-JSM-1.zip"
    )]
    Create(BundleCreate),
}

#[derive(Debug, Args)]
pub(crate) struct BundleCreate {
    /// An item to include; repeat for more.
    #[arg(long = "item", required = true, value_name = "ID")]
    pub(crate) items: Vec<String>,
    /// charging, cps, court, defence-served, defence-unused or internal.
    #[arg(long = "for", value_name = "PURPOSE")]
    pub(crate) purpose: String,
    /// To whom it goes.
    #[arg(long = "to", value_name = "RECIPIENT")]
    pub(crate) recipient: String,
    /// Who authorises the release of restricted, sensitive or quarantined material; recorded.
    #[arg(long, value_name = "NAME", requires = "reason")]
    pub(crate) authorised_by: Option<String>,
    /// Why they do; recorded.
    #[arg(long, value_name = "TEXT", requires = "authorised_by")]
    pub(crate) reason: Option<String>,
    /// The case's URN, for the bundle's name.
    #[arg(long = "case", value_name = "URN")]
    pub(crate) case_reference: Option<String>,
    /// The items' exhibit references, such as JSM/1, in the order of --item.
    #[arg(long = "reference", value_name = "REF")]
    pub(crate) references: Vec<String>,
    /// Say how many entries each item has, so that a gap would show. Authorised like a release: it also shows that
    /// other hand-overs took place, and the ids of the other items in them.
    #[arg(long)]
    pub(crate) complete: bool,
    /// Put in the programs that made the derivatives, so that somebody can make them again.
    #[arg(long)]
    pub(crate) programs: bool,
    /// Where it goes: a folder, or a ZIP when the name ends in .zip.
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// The signed checkpoint, as published.
    Checkpoint,
    /// Recompute everything from tiles, entries and database.
    Audit,
    /// Checkpoint, tiles and entries as files.
    #[command(
        after_help = "Example:\n  exhibit ledger export --data /var/lib/exhibit -o ledger-2026-11"
    )]
    Export {
        /// The folder to make.
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
    },
    /// An item's receipt, or the proof of one entry.
    Prove {
        /// The entry's position.
        #[arg(value_name = "INDEX")]
        index: u64,
    },
    /// Have the configured authorities time-stamp the checkpoint now (RFC 3161); the server does so daily.
    #[command(
        after_help = "Example:\n  exhibit ledger stamp --data /var/lib/exhibit\n\nSetting: ledger.timestamp_authorities. `exhibit ledger export` writes the stamps for openssl ts -verify."
    )]
    Stamp,
    /// One page with the checkpoint, as text and as a code, for somebody outside to keep.
    #[command(
        after_help = "Example:\n  exhibit ledger slip --data /var/lib/exhibit | lp\n\nLater: exhibit-verify LEDGER-FOLDER --since SLIP --policy POLICY"
    )]
    Slip,
    /// Confirm this ledger although a log witness knows a larger one, after a restore from which nothing newer is left.
    #[command(
        after_help = "Example:\n  exhibit ledger recover --data /var/lib/exhibit --size 4711 --reason 'disk lost, backup of Sunday restored'"
    )]
    Recover {
        /// The largest size known outside, as the refusal to start names it.
        #[arg(long, value_name = "N")]
        size: u64,
        /// Why; recorded.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Run a log witness: for somebody outside the force, on another machine; it cosigns only one history of a ledger.
    #[command(
        after_help = "Example:\n  exhibit ledger witness --store /var/lib/log-witness --name witness.example \\\n    --log 'ledger.essex.example+c6fae00a+AZfycR5v…' --listen 127.0.0.1:8090\n  exhibit ledger witness --store /var/lib/log-witness --refused"
    )]
    Witness(LogWitness),
}

#[derive(Debug, Args)]
pub(crate) struct LogWitness {
    /// Its folder: key, what it cosigned last, what it refused. Never inside a ledger's data folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// Its name, when it begins; stands in each cosignature.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The key of a log to watch, as the force's policy file has it after the word log; repeat for more.
    #[arg(long = "log", value_name = "VKEY")]
    pub(crate) logs: Vec<String>,
    /// A note that a log's key was replaced, as the force shows it under /ledger/rotation/; repeat for more. Then only the
    /// new key is trusted.
    #[arg(long = "rotation", value_name = "FILE")]
    pub(crate) rotations: Vec<PathBuf>,
    /// Address and port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    pub(crate) listen: String,
    /// A proxy in front speaks TLS; the address may leave loopback.
    #[arg(long)]
    pub(crate) behind_proxy: bool,
    /// A file with the passphrase that opens its key; without it the key lies unencrypted.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// List the requests that were refused as evidence, and end: 1 when there are any.
    #[arg(long)]
    pub(crate) refused: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Give a device an identity and a token; the token is shown once.
    #[command(
        after_help = "Example:\n  exhibit device enrol --data /var/lib/exhibit --name 'Dock 3, Harlow' --json"
    )]
    Enrol {
        /// What people call it.
        #[arg(long)]
        name: String,
    },
    /// Every device and its state.
    List,
    /// Refuse a device from now on.
    Revoke {
        /// The device's id.
        #[arg(value_name = "DEVICE")]
        device: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make the keys of a new force, and their escrow for the people named: it is written once.
    #[command(
        after_help = "Before the first start of the server. Each person makes a recipient with: age-keygen -o officer.key\n\nExample:\n  exhibit keys new --data /var/lib/exhibit --escrow age1… --escrow age1… -o force-keys.age"
    )]
    New {
        /// An age recipient (age1…) who can bring the keys back; repeat for more.
        #[arg(long = "escrow", required = true, value_name = "RECIPIENT")]
        escrow: Vec<String>,
        /// The escrow file to write. Print it, or keep it away from this machine and its backups.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Bring the keys back from their escrow.
    #[command(
        after_help = "Example:\n  exhibit keys recover --data /srv/exhibit --from force-keys.age --identity officer.key"
    )]
    Recover {
        /// The escrow file.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The age identity of one of its recipients (mode 0600).
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
    },
    /// Let a new key take the place of the log's, the receipts' or the bundles'. The server is stopped first.
    #[command(
        after_help = "The ledger records it, with a note signed by both keys; the old key is destroyed. What to tell whom: docs/keys.md.\n\nExample:\n  exhibit keys rotate log --data /var/lib/exhibit --reason 'an administrator left' --escrow age1… -o force-keys-2.age"
    )]
    Rotate(crate::commands::keep::Rotate),
    /// Put keys that lie in plain text under the configured passphrase. The server is stopped first.
    #[command(
        after_help = "Set keys.passphrase_file or keys.passphrase_credential before. Repeated, it goes on where it was cut off.\n\nExample:\n  exhibit keys protect --data /var/lib/exhibit"
    )]
    Protect,
    /// The policy file that verifiers trust; its fingerprint is what the force publishes.
    #[command(
        after_help = "Example:\n  exhibit keys publish --data /var/lib/exhibit > force.policy\n  exhibit keys publish --data /var/lib/exhibit --fingerprint"
    )]
    Publish {
        /// Print the policy's fingerprint in place of the policy.
        #[arg(long)]
        fingerprint: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Whether the configuration can be used, and what is in force.
    Check,
    /// Every setting, its value and what it does.
    Explain,
}

//! What things cost, beside peers in the same run: interleaved rounds, medians, ratios. Never a timed test: these
//! figures are for reading, and a gap under 15 % on a shared machine is no finding.
//!
//! Each bench prints the command that repeats it.
#![allow(clippy::print_stdout, reason = "a bench's output is its result")]

mod client;
mod derivatives;
mod ingest;
mod keeping;
mod ledger;
mod log_witness;
mod portal;
mod rebuild;
mod s3;
mod servers;
mod several;
mod simulate;
mod sink;
mod usage;
mod verify;
mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Measure Exhibit beside its peers")]
struct Args {
    #[command(subcommand)]
    bench: Option<Bench>,
    /// Where the peers are installed.
    #[arg(long, global = true, default_value = ".tools")]
    tools: PathBuf,
    /// Where to write; on the disk that is to be measured.
    #[arg(long, global = true, default_value = "target/bench")]
    scratch: PathBuf,
    /// Interleaved rounds; medians are printed. One more is run first and thrown away.
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Bytes in: server CPU-seconds and wall time per GiB, beside tus-node-server and rustus plus hashing tools.
    Ingest,
    /// Last byte to receipt, one upload after another.
    Latency,
    /// Many uploads at once: peak memory and bytes written per byte received.
    Many,
    /// Bytes into an S3 store, beside @tus/s3-store, and s5cmd plus openssl: a null sink, then a SeaweedFS.
    S3,
    /// The part of it that is many docks at once: peak memory.
    Docks,
    /// The null sink of these benches, which is a process of its own.
    #[command(hide = true)]
    Sink { address: SocketAddr },
    /// A minute of footage: CPU-seconds of its derivatives, beside the ffmpeg program.
    Derivatives,
    /// The worker by itself: a viewing copy's cost and quality, memory, start, two at once, two at one long recording.
    Worker,
    /// Joining partial uploads.
    Concatenate,
    /// Checking a bundle, beside openssl hashing the same files.
    Verify,
    /// Entries: 64 writers beside the bare floor, 1,024 in flight beside a hash chain in SQLite, the cost at size.
    Ledger {
        /// How far the ledger grows.
        #[arg(long, default_value_t = GROWN_ENTRIES)]
        entries: usize,
    },
    /// Entries on a PostgreSQL of its own: beside a hash chain by a trigger, in a bucket, through several servers, a takeover.
    Several,
    /// The records made again from the store alone, and compared row by row.
    Rebuild {
        /// How many entries there are.
        #[arg(long, default_value_t = GROWN_ENTRIES)]
        entries: usize,
    },
    /// Lists, searches and items over the API with many items: server time.
    Portal {
        /// How many items there are.
        #[arg(long, default_value_t = PORTAL_ITEMS)]
        items: usize,
    },
    /// A log witness's answers to a growing ledger.
    Witness,
    /// The memory of a server that nobody asks for anything.
    Idle,
    /// A backup of what has not changed since the last.
    Backup {
        /// How many items there are, each with two derivatives.
        #[arg(long, default_value_t = BACKUP_ITEMS)]
        items: usize,
    },
}

/// How far the ledger grows unless told; a million takes minutes.
const GROWN_ENTRIES: usize = 100_000;
/// How many items the portal is asked about unless told.
const PORTAL_ITEMS: usize = 100_000;
/// How many items are backed up unless told; storing them takes longest.
const BACKUP_ITEMS: usize = 20_000;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    std::fs::create_dir_all(&args.scratch)?;
    let place = servers::Place { tools: args.tools, scratch: args.scratch, rounds: args.rounds };
    match args.bench {
        Some(Bench::Ingest) => ingest::throughput(&place),
        Some(Bench::Latency) => ingest::latency(&place),
        Some(Bench::Many) => ingest::many(&place),
        Some(Bench::S3) => s3::run(&place),
        Some(Bench::Docks) => s3::memory(&place),
        Some(Bench::Sink { address }) => sink::serve(address),
        Some(Bench::Derivatives) => derivatives::run(&place),
        Some(Bench::Worker) => worker::run(&place),
        Some(Bench::Concatenate) => ingest::concatenation(&place),
        Some(Bench::Verify) => verify::verify(&place),
        Some(Bench::Ledger { entries }) => ledger::run(&place.scratch, place.rounds, entries),
        Some(Bench::Several) => several::run(&place.scratch, place.rounds),
        Some(Bench::Rebuild { entries }) => rebuild::run(&place.scratch, entries),
        Some(Bench::Portal { items }) => portal::run(&place.scratch, items),
        Some(Bench::Witness) => log_witness::run(&place),
        Some(Bench::Idle) => keeping::idle(&place),
        Some(Bench::Backup { items }) => keeping::unchanged(&place, items),
        None => {
            ingest::throughput(&place)?;
            ingest::latency(&place)?;
            ingest::many(&place)?;
            ingest::concatenation(&place)?;
            s3::run(&place)?;
            derivatives::run(&place)?;
            worker::run(&place)?;
            verify::verify(&place)?;
            ledger::run(&place.scratch, place.rounds, GROWN_ENTRIES)?;
            several::run(&place.scratch, place.rounds)?;
            rebuild::run(&place.scratch, GROWN_ENTRIES)?;
            portal::run(&place.scratch, PORTAL_ITEMS)?;
            log_witness::run(&place)?;
            keeping::idle(&place)?;
            keeping::unchanged(&place, BACKUP_ITEMS)
        }
    }
}

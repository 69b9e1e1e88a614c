//! `exhibit store probe`: what an S3 store really does, before anything is entrusted to it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use storage::s3::probe::{Finding, Outcome, probe};
use storage::s3::{Bucket, Place};

use crate::control::Failure;
use crate::terminal::{self, line};

/// What people type.
#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Find out which promises of S3 a store keeps: some accept locks and conditions and ignore them.
    #[command(
        after_help = "Writes objects of its own under exhibit-probe/ in the bucket and clears them away; one stays locked for half a \
            minute. Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the machine's role.\n\n\
            Exit codes: 0 evidence may rest on it, 1 it may not, 2 it could not be tried.\n\n\
            Example:\n  exhibit store probe --bucket evidence --endpoint https://s3.essex.example --path-style --ca force.pem"
    )]
    Probe(Probe),
}

#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// The bucket, made with versions and Object Lock switched on.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    bucket: String,
    /// The store's address; without it Amazon's.
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL_S3")]
    endpoint: Option<String>,
    /// The bucket's region, where the store has regions.
    #[arg(long, value_name = "REGION", env = "AWS_REGION")]
    region: Option<String>,
    /// Ask for https://host/bucket/… in place of https://bucket.host/…: what most stores of one's own want.
    #[arg(long)]
    path_style: bool,
    /// Certificates (PEM) to trust in place of the system's: a force's own authority.
    #[arg(long, value_name = "FILE", env = "EXHIBIT_CA")]
    ca: Option<PathBuf>,
}

/// How it ends when nothing could be tried.
const NOT_TRIED: u8 = 2;

pub(super) async fn run(command: &Store, as_json: bool) -> Result<ExitCode, Failure> {
    let Store::Probe(args) = command;
    let place = Place {
        bucket: args.bucket.clone(),
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        path_style: args.path_style,
        ca_file: args.ca.clone(),
        credentials: None,
    };
    let tried = async {
        let bucket = Bucket::connect(&place).await?;
        let tell = |finding: &Finding| (!as_json).then(|| line(&words(finding)));
        probe(&bucket, |finding| _ = tell(finding)).await
    };
    let report = match tried.await {
        Ok(report) => report,
        Err(error) => {
            terminal::failure(&Failure::new("store", error.to_string()), as_json);
            return Ok(ExitCode::from(NOT_TRIED));
        }
    };
    if as_json {
        let json = serde_json::to_value(&report);
        terminal::answer(&json.map_err(|e| Failure::new("store", e.to_string()))?);
    } else {
        match report.left_behind {
            0 => {}
            1 => line("one locked object of the probe stays; a later probe clears it away"),
            n => line(&format!("{n} locked objects of probes stay; a later one clears them away")),
        }
        line(if report.fit {
            "evidence may rest on this store"
        } else {
            "evidence may not rest on this store: a required promise does not hold"
        });
    }
    Ok(if report.fit { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line: what came of it, the promise, and what was seen.
fn words(finding: &Finding) -> String {
    let (mark, what) = match &finding.outcome {
        Outcome::Holds => return format!("holds        {}", finding.says),
        Outcome::NotOffered(what) => ("not offered", what),
        Outcome::Ignored(what) => ("IGNORED", what),
        Outcome::CannotTell(what) => ("cannot tell", what),
    };
    let need = if finding.required { "" } else { ", not required" };
    format!("{mark:<12} {}: {what}{need}", finding.says)
}

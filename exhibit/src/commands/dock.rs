//! `exhibit dock push`: the dock agent on a terminal.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use chain_of_custody::claim::Label;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use ingest::agent::{
    self, ClipEvent, Notice, Observer, PushConfig, PushReport, Source, Standing, Token,
};
use serde_json::{Value, json};

use crate::cli;
use crate::control::Failure;
use crate::terminal;

/// Sends the clips and answers "can I go?": 0 all safe, 1 some not, 2 it could not be told.
pub(super) async fn push(args: &cli::Push, as_json: bool) -> Result<ExitCode, Failure> {
    let config = configuration(args)?;
    let stop = config.stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    let bars = Bars::new(as_json);
    let report = agent::push(&config, sources(args)?, &bars).await;
    bars.clear();
    match report {
        Ok(report) => {
            if as_json {
                terminal::answer(&as_value(&report));
            } else {
                terminal::line(&report.to_string());
            }
            Ok(ExitCode::from(report.exit_code()))
        }
        Err(error) => {
            let failure = Failure::new("cannot-tell", error.to_string())
                .advice("no clip may be wiped on account of this run; run it again");
            terminal::failure(&failure, as_json);
            Ok(ExitCode::from(2))
        }
    }
}

fn configuration(args: &cli::Push) -> Result<PushConfig, Failure> {
    let token = match (&args.token, &args.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(file)) => read_token(file)?,
        (None, None) => {
            return Err(Failure::new("usage", "no device token given")
                .advice("add --token-file FILE, or set EXHIBIT_TOKEN"));
        }
    };
    let token = Token::new(token.trim()).map_err(|e| Failure::new("usage", e.to_string()))?;
    let mut config = PushConfig::new(args.server.clone(), token, &args.state);
    config.policy.clone_from(&args.policy);
    config.ca_file.clone_from(&args.ca);
    config.uploads_at_once = args.parallel.into();
    Ok(config)
}

fn read_token(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|e| Failure::new("usage", format!("{}: {e}", file.display())))
}

fn sources(args: &cli::Push) -> Result<Vec<Source>, Failure> {
    let camera = args.camera.as_deref().map(Label::new).transpose();
    let camera = camera.map_err(|e| Failure::new("usage", format!("--camera: {e}")))?;
    let source = |path: &PathBuf| {
        let mut source = Source::from(path.clone());
        source.claims.camera.clone_from(&camera);
        source
    };
    Ok(args.files.iter().map(source).collect())
}

fn as_value(report: &PushReport) -> Value {
    let clips: Vec<Value> = report
        .clips
        .iter()
        .map(|clip| {
            let mut value = json!({
                "path": clip.path.display().to_string(),
                "size_bytes": clip.size_bytes,
                "safe": matches!(clip.standing, Standing::Safe(_)),
                "standing": clip.standing.to_string(),
            });
            if let Standing::Safe(safe) = &clip.standing {
                value["item"] = json!(safe.item.to_string());
                value["leaf_index"] = json!(safe.entry.0);
                value["duplicate"] = json!(safe.duplicate);
                value["copies"] = json!(safe.copies);
                value["receipt"] = json!(safe.receipt.display().to_string());
                value["rests_on"] = json!(safe.rests_on);
            }
            value
        })
        .collect();
    let last = report.to_string().lines().last().unwrap_or_default().to_owned();
    json!({"can_i_go": last, "may_leave": report.may_leave(), "clips": clips})
}

/// A bar for each clip that is on its way.
struct Bars {
    all: MultiProgress,
    by_path: Mutex<HashMap<PathBuf, ProgressBar>>,
}

impl Bars {
    fn new(quiet: bool) -> Self {
        let target = match quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        Self { all: MultiProgress::with_draw_target(target), by_path: Mutex::default() }
    }

    fn bar(&self, path: &Path) -> ProgressBar {
        let mut bars = self.by_path.lock().expect("no bar's owner panics");
        let make = || {
            let bar = self.all.add(ProgressBar::no_length().with_style(terminal::bar_style()));
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            bar.with_message(terminal::visible(&name))
        };
        bars.entry(path.to_owned()).or_insert_with(make).clone()
    }

    fn say(&self, text: &str) {
        let _ = self.all.println(terminal::visible(text));
    }

    fn clear(&self) {
        let _ = self.all.clear();
    }
}

impl Observer for Bars {
    fn notice(&self, notice: &Notice) {
        match notice {
            Notice::PolicyPinned { fingerprint } => self.say(&format!(
                "The server's policy is trusted from now on. Compare its fingerprint with the force's published one:\n  {fingerprint}"
            )),
            Notice::KeyReplaced { fingerprint } => self.say(&format!(
                "The force has replaced its log key; a note signed by the pinned key and the new one says so. Compare the fingerprint with the published one:\n  {fingerprint}"
            )),
            Notice::PolicyInUse { .. } => {}
        }
    }

    fn clip(&self, path: &Path, event: &ClipEvent) {
        let bar = self.bar(path);
        match event {
            ClipEvent::Began { size_bytes } => bar.set_length(*size_bytes),
            ClipEvent::Resumed { offset }
            | ClipEvent::Sent { offset }
            | ClipEvent::Acknowledged { offset } => bar.set_position(*offset),
            ClipEvent::Retrying { reason, wait } => {
                self.say(&format!(
                    "{}: {reason}; again in {:.0} s",
                    path.display(),
                    wait.as_secs_f32()
                ));
            }
            ClipEvent::ChangedSinceBegun => {
                self.say(&format!("{}: changed since it was begun; sent anew", path.display()));
            }
            ClipEvent::ReadAgain { .. } | ClipEvent::ProgressReceipt { .. } => {}
            ClipEvent::Settled(standing) => {
                bar.finish_and_clear();
                self.say(&format!("{}: {standing}", path.display()));
            }
        }
    }
}

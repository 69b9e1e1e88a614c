//! `exhibit demo`: the whole job with real footage, through the same programs and doors a force uses. Each step's
//! outcome is checked; the demo fails when one is not as it should be.

mod footage;
mod forgery;
mod outsider;
mod portal;
mod programs;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ingest::agent::breaking_line::{BreakingLine, Faults};
use serde_json::{Value, json};

use self::programs::{Programs, broken};
use crate::cli;
use crate::control::Failure;
use crate::terminal;

/// Connections break after so many bytes, until enough have broken.
const BREAK_AFTER_BYTES: std::ops::Range<u64> = 20_000..2_000_000;
const BREAKS: u32 = 8;
/// The server is killed once so many have broken.
const KILL_AFTER_BREAKS: u32 = 4;
/// How long derivatives may take.
const DERIVATIVE_PATIENCE: Duration = Duration::from_secs(300);

/// Runs the demo in a temporary folder, or in `--keep DIR`. On a terminal the server stays up until Ctrl-C.
pub(super) async fn run(args: &cli::Demo, as_json: bool) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let place = Place::new(args.keep.as_deref())?;
    let mut story = Story { as_json, steps: Vec::new() };
    let files = footage::find(&args.files)?;
    let outcome = tell(&mut story, &place, &files).await;
    let seconds = started.elapsed().as_secs_f32();
    let outcome = match outcome {
        Ok(up) if !as_json && terminal::is_watched() => {
            story.say("told", &format!("{seconds:.1} s; every step was as it should be"));
            let stayed = portal::stay(&mut story, &up).await;
            stayed.and(stop(up.server).await)
        }
        Ok(up) => stop(up.server).await,
        Err(failure) => Err(failure),
    };
    if as_json {
        let ok = outcome.is_ok();
        terminal::answer(&json!({"ok": ok, "seconds": seconds, "steps": story.steps}));
    }
    outcome?;
    story.say("done", &format!("{seconds:.1} s; {}", place.afterwards()));
    Ok(ExitCode::SUCCESS)
}

/// Where the demo works.
struct Place {
    path: PathBuf,
    temporary: bool,
}

impl Place {
    fn new(keep: Option<&Path>) -> Result<Self, Failure> {
        let path = match keep {
            Some(folder) => folder.to_owned(),
            None => std::env::temp_dir().join(format!("exhibit-demo-{}", uuid::Uuid::now_v7())),
        };
        let path = std::path::absolute(path).map_err(|e| broken("the demo's folder", &e))?;
        std::fs::create_dir_all(&path).map_err(|e| broken(&path.display().to_string(), &e))?;
        let mut entries = std::fs::read_dir(&path).map_err(|e| broken("the demo's folder", &e))?;
        if entries.next().is_some() {
            let text = format!("{} is not empty", path.display());
            return Err(Failure::new("demo", text).advice("name a new folder with --keep"));
        }
        Ok(Self { path, temporary: keep.is_none() })
    }

    fn afterwards(&self) -> String {
        if self.temporary {
            "the folder is removed; run it with --keep DIR to look around".to_owned()
        } else {
            format!("everything is kept in {}", self.path.display())
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.path);
            let _ = std::fs::remove_file(self.path.with_extension("server.log"));
        }
    }
}

/// What the demo tells.
struct Story {
    as_json: bool,
    steps: Vec<Value>,
}

impl Story {
    fn say(&mut self, step: &str, text: &str) {
        self.steps.push(json!({"step": step, "text": text}));
        if !self.as_json {
            terminal::line(&format!("{step:<12}{text}"));
        }
    }

    /// Fails the demo unless `holds`.
    fn expect(&mut self, holds: bool, what: &str) -> Result<(), Failure> {
        holds
            .then_some(())
            .ok_or_else(|| Failure::new("demo", format!("not as it should be: {what}")))
    }
}

/// What runs when the story is told.
struct Up {
    programs: Programs,
    server: tokio::process::Child,
    address: std::net::SocketAddr,
    _outsider: outsider::Outsider,
}

async fn tell(story: &mut Story, place: &Place, files: &[PathBuf]) -> Result<Up, Failure> {
    let programs = Programs::new(&place.path.join("data"))?;
    std::fs::create_dir_all(&programs.data).map_err(|e| broken("the data folder", &e))?;
    write_configuration(&programs.data, "")?;
    let alone = programs.expect(&["keys", "publish"]).await?;
    let outsider = outsider::start(&programs, &place.path.join("log-witness"), &alone).await?;
    write_configuration(&programs.data, &outsider.setting)?;
    story.say("log witness", &format!("{}, a process with its own key and store", outsider.url));
    let (mut server, address) = programs.serve("127.0.0.1:0").await?;
    story.say("server", &format!("http://{address}, its keys unencrypted by name: a demo's"));

    let policy = place.path.join("force.policy");
    let published = programs.expect(&["keys", "publish"]).await?;
    std::fs::write(&policy, text(&published, "policy")).map_err(|e| broken("the policy", &e))?;
    let fingerprint = text(&published, "fingerprint");
    story.say("policy", &format!("fingerprint {fingerprint}, a quorum of 1 of 1 log witnesses"));

    let enrolled = programs.expect(&["device", "enrol", "--name", "Demo dock"]).await?;
    let token = place.path.join("dock.token");
    std::fs::write(&token, text(&enrolled, "token")).map_err(|e| broken("the token", &e))?;
    story.say("device", &format!("{} enrolled", text(&enrolled, "device")));

    let dock = place.path.join("dock");
    let sent = Sent { address, policy: &policy, token: &token, state: &dock, files };
    server = send(story, &programs, server, &sent).await?;

    let items = items(&programs, files.len(), story).await?;
    derivatives(&programs, &items, story).await?;
    bundle(&programs, &items, &policy, place, story).await?;

    let (status, audit) = programs.json(&["ledger", "audit"]).await?;
    story.expect(status.success() && text(&audit, "result") == "match", "the ledger's audit")?;
    story.say("audit", &format!("match: {} entries, root {}", audit["size"], text(&audit, "root")));
    Ok(Up { programs, server, address, _outsider: outsider })
}

fn write_configuration(data: &Path, log_witness: &str) -> Result<(), Failure> {
    let mut text = "[force]\nname = \"Demo Constabulary\"\nledger = \"ledger.demo.invalid\"\ncontact = \"the demo's evidence desk\"\n".to_owned();
    if !log_witness.is_empty() {
        text += &format!("[ledger]\nwitnesses = [\"{log_witness}\"]\nquorum = 1\n");
    }
    std::fs::write(data.join(crate::config::FILE_NAME), text)
        .map_err(|e| broken("exhibit.toml", &e))
}

struct Sent<'a> {
    address: std::net::SocketAddr,
    policy: &'a Path,
    token: &'a Path,
    state: &'a Path,
    files: &'a [PathBuf],
}

/// Docks all files over a line that breaks, to a server that is killed on the way.
async fn send(
    story: &mut Story,
    programs: &Programs,
    mut server: tokio::process::Child,
    sent: &Sent<'_>,
) -> Result<tokio::process::Child, Failure> {
    let faults = Faults {
        seed: 1,
        after_bytes: BREAK_AFTER_BYTES,
        breaks: BREAKS,
        freeze_one_in: 0,
        freeze: Duration::ZERO,
    };
    let line = BreakingLine::start(sent.address, faults)
        .await
        .map_err(|e| broken("the line that breaks", &e))?;
    let url = format!("http://{}", line.address());
    let mut push = programs.command(&["dock", "push", "--json", "--server", &url]);
    push.arg("--token-file").arg(sent.token).arg("--policy").arg(sent.policy);
    push.arg("--state").arg(sent.state).args(["--camera", "DEMO-0001"]).args(sent.files);
    let mut push = push
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .map_err(|e| broken("dock push", &e))?;
    let mut killed = false;
    while push.try_wait().map_err(|e| broken("dock push", &e))?.is_none() {
        if !killed && line.broken() >= KILL_AFTER_BREAKS {
            server.kill().await.map_err(|e| broken("killing the server", &e))?;
            server = programs.serve(&sent.address.to_string()).await?.0;
            killed = true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let output = push.wait_with_output().await.map_err(|e| broken("dock push", &e))?;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr);
    story.expect(output.status.success(), &format!("dock push: {report} {}", said.trim()))?;
    let kill =
        if killed { ", the server killed with kill -9 on the way and started again" } else { "" };
    story.say(
        "dock",
        &format!("{} clips over a line that broke {} times{kill}", sent.files.len(), line.broken()),
    );
    story.say("", text(&report, "can_i_go"));
    Ok(server)
}

/// The items the dock sent; one for each file.
async fn items(
    programs: &Programs,
    count: usize,
    story: &mut Story,
) -> Result<Vec<Value>, Failure> {
    let found = programs.expect(&["search"]).await?;
    let items = found["items"].as_array().cloned().unwrap_or_default();
    story.expect(items.len() == count, &format!("{} items for {count} files", items.len()))?;
    for item in &items {
        let bytes = item["size_bytes"].as_u64().unwrap_or(0);
        let line =
            format!("{} {:>10}  {}", text(item, "item"), terminal::size(bytes), text(item, "name"));
        story.say("item", &line);
    }
    Ok(items)
}

/// Waits until each item has its derivatives, or an event that says why not.
async fn derivatives(
    programs: &Programs,
    items: &[Value],
    story: &mut Story,
) -> Result<(), Failure> {
    let deadline = Instant::now() + DERIVATIVE_PATIENCE;
    let mut made = 0;
    let mut failed = 0;
    for item in items {
        loop {
            let shown = programs.expect(&["show", text(item, "item")]).await?;
            let kinds: Vec<&str> =
                list(&shown, "derivatives").iter().map(|d| text(d, "kind")).collect();
            let failures = list(&shown, "events")
                .iter()
                .filter(|e| text(e, "type") == "item.derivation-failed")
                .count();
            if list(&shown, "making").is_empty() {
                made += kinds.len();
                failed += failures;
                break;
            }
            story.expect(
                Instant::now() < deadline,
                &format!("derivatives of {}", text(item, "name")),
            )?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    story.say("transcode", &format!("{made} derivatives made, {failed} failed; each is an event"));
    Ok(())
}

async fn bundle(
    programs: &Programs,
    items: &[Value],
    policy: &Path,
    place: &Place,
    story: &mut Story,
) -> Result<(), Failure> {
    let genuine = place.path.join("bundle");
    let output = genuine.display().to_string();
    let mut args =
        vec!["bundle", "create", "--for", "cps", "--to", "Crown Prosecution Service (demo)"];
    args.extend(["--case", "DEMO-1", "-o", &output]);
    items.iter().for_each(|item| args.extend(["--item", text(item, "item")]));
    programs.expect(&args).await?;
    story.say("bundle", &format!("{} items for the Crown Prosecution Service (demo)", items.len()));

    let checked = verify(programs, &genuine, policy).await?;
    story.expect(checked.0 == Some(0), &format!("the genuine bundle: {}", checked.1))?;
    story.say("check", &format!("genuine bundle: {}", text(&checked.1, "result")));
    let rests_on: Vec<&str> =
        list(&checked.1, "rests_on").iter().filter_map(Value::as_str).collect();
    story.say("rests on", &rests_on.join("; "));

    let forged = place.path.join("forged");
    let victim = forgery::forge(&genuine, &forged).map_err(|e| broken("forging a copy", &e))?;
    let checked = verify(programs, &forged, policy).await?;
    story.expect(checked.0 == Some(1), &format!("the forged bundle: {}", checked.1))?;
    let name = victim.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let finding = list(&checked.1, "findings")
        .iter()
        .find(|f| text(f, "class") == "footage" && text(f, "path").ends_with(&name));
    story.expect(finding.is_some(), "the forged file named as footage that differs")?;
    let finding = finding.cloned().unwrap_or_default();
    story.say(
        "forgery",
        &format!("one bit changed in {name}, every list in the bundle made to agree"),
    );
    let message = text(&finding, "message");
    story.say("check", &format!("forged bundle: {}: {message}", text(&checked.1, "result")));
    Ok(())
}

async fn verify(
    programs: &Programs,
    bundle: &Path,
    policy: &Path,
) -> Result<(Option<i32>, Value), Failure> {
    let (bundle, policy) = (bundle.display().to_string(), policy.display().to_string());
    let (status, report) = programs.json(&["verify", &bundle, "--policy", &policy]).await?;
    Ok((status.code(), report))
}

async fn stop(mut server: tokio::process::Child) -> Result<(), Failure> {
    let pid = server.id().and_then(|id| rustix::process::Pid::from_raw(id as i32));
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let status = server.wait().await.map_err(|e| broken("stopping the server", &e))?;
    status.success().then_some(()).ok_or_else(|| broken("the server stopped with", &status))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

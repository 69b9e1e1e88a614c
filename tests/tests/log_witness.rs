//! Somebody outside vouches: the ledger and a log witness as two processes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::policy::Policy;
use serde_json::Value;
use tests::programs::program;
use tests::{Answer, LogWitness, Server, Workspace, audit};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_ledger_is_cosigned_through_an_outage_and_reports_say_by_whom() {
    let workspace = Workspace::new();
    let mut witness = LogWitness::start(&workspace);
    let server = start(&workspace, &witness);
    let policy = workspace.write("policy", audit::policy_of(&workspace).as_bytes());
    let trust = Policy::parse(&fs::read(&policy).expect("the policy")).expect("a policy");
    assert!(trust.to_string().contains("quorum log-witnesses"), "{trust}");

    let item = ingest(&workspace, "a.bin", 1);
    let proof = workspace.exhibit(&["ledger", "prove", "4"]).ok().json();
    let proof = proof["proof"].as_str().expect("a proof").to_owned();
    let receipt = chain_of_custody::receipt::Receipt::parse(proof.as_bytes()).expect("a receipt");
    receipt.verify(&trust).expect("the quorum is met at once");
    wait_until("the published checkpoint is cosigned", || {
        trust.accept(&published(&server)).is_ok()
    });
    let (code, report) = checked(&workspace, &item, &policy, "first");
    assert_eq!(code, Some(0), "{report}");
    let said = report["rests_on"].to_string();
    assert!(said.contains("1 of 1 log witnesses (witness.example)"), "{said}");
    let page = fs::read_to_string(workspace.path("first/READ-ME-FIRST.html")).expect("the page");
    assert!(page.contains("witness.example"), "the page says who confirmed it");

    witness.kill();
    let begun = Instant::now();
    let item = ingest(&workspace, "b.bin", 2);
    assert!(begun.elapsed() < PATIENCE / 3, "nothing is held back: {:?}", begun.elapsed());
    assert!(trust.accept(&published(&server)).is_err());
    assert!(trust.weigh(&published(&server)).expect("signed").rests_on.is_log_alone());
    let (code, report) = checked(&workspace, &item, &policy, "second");
    assert_eq!((code, finding(&report, "quorum-missing")), (Some(2), true), "{report}");
    let checkpoint = workspace.exhibit(&["ledger", "checkpoint"]).ok().json();
    assert!(checkpoint["log_witnesses"][0]["trouble"]["reason"].is_string(), "{checkpoint}");

    let witness = witness.restarted(&workspace);
    wait_until("it is caught up with", || trust.accept(&published(&server)).is_ok());
    let (code, report) = checked(&workspace, &item, &policy, "third");
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(witness.refused().ok().json()["refused"], Value::Array(Vec::new()));
    assert!(server.stop().success());
    audit::ledger_is_clean(&workspace);
}

#[test]
fn a_fork_with_the_true_key_is_refused_kept_as_evidence_and_reported() {
    let workspace = Workspace::new();
    let witness = LogWitness::start(&workspace);
    let server = start(&workspace, &witness);
    ingest(&workspace, "a.bin", 1);
    assert!(server.stop().success());
    // Everything goes elsewhere, the true key with it.
    let fork = Workspace::new();
    copy(&workspace.data(), &fork.data());
    let kept_early = slip(&fork, "early.slip");
    let server = start(&workspace, &witness);
    let policy = workspace.write("policy", audit::policy_of(&workspace).as_bytes());
    let trust = Policy::parse(&fs::read(policy).expect("the policy")).expect("a policy");
    for n in 2..5 {
        ingest(&workspace, "more.bin", n);
    }
    wait_until("the true history is cosigned", || trust.accept(&published(&server)).is_ok());

    let kept_late = slip(&workspace, "late.slip");
    assert!(server.stop().success());

    // A number said in advance, while nobody outside is asked, confirms nothing that is found later.
    let mut early = Command::new(program("exhibit"));
    early.args(["ledger", "recover", "--size", "1000000000", "--reason", "just in case", "--json"]);
    let early = Answer::of(early.arg("--data").arg(fork.data())).ok().json();
    assert_eq!(early["witnessed_size"], 0);

    let settings = witness.settings();
    let environment: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let (status, log) =
        Server::try_start(&fork, &environment).expect_err("the copy does not start");
    assert!(!status.success());
    let size = log.split_once("--size ").and_then(|(_, rest)| rest.split(' ').next());
    let known: u64 = size.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no size: {log}"));
    let recover = |size: u64, reason: &str| {
        let mut command = Command::new(program("exhibit"));
        command.args(["ledger", "recover", "--size", &size.to_string(), "--reason", reason]);
        Answer::of(command.arg("--data").arg(fork.data()).arg("--json").envs(environment.clone()))
    };
    assert_eq!(recover(known - 1, "too few").code, Some(1));
    let said = known + 1_000_000;
    let recovered = recover(said, "pretending that nothing is missing").ok().json();
    assert_eq!(recovered["known_size"], said, "the person's word stands in the entry");
    assert_eq!(
        recovered["witnessed_size"], known,
        "and opens no more doors than there is reason for"
    );

    let forked = Server::start_with(&fork, &environment);
    while published(&forked).unverified().size.0 <= known {
        let clip = fork.write("c.bin", &fork.items().len().to_be_bytes());
        fork.exhibit(&["ingest", &clip.display().to_string()]).ok();
    }
    // Longer than what is known outside by now, so that it starts; and asked at once.
    assert!(forked.stop().success());
    let forked = Server::start_with(&fork, &environment);
    wait_until("the refusal is kept as evidence", || witness.refused().code == Some(1));
    let refused = witness.refused().json();
    let kept = &refused["refused"][0];
    let request = fs::read_to_string(kept["request"].as_str().expect("a path")).expect("kept");
    let held = fs::read_to_string(kept["held"].as_str().expect("a path")).expect("kept");
    let request = chain_of_custody::log_witness::AddCheckpoint::parse(request.as_bytes());
    let forked_head = request.expect("byte for byte").checkpoint;
    let held: SignedCheckpoint = held.parse().expect("a checkpoint");
    for signed in [&forked_head, &held] {
        trust.weigh(signed).expect("the true key signed both sides of the contradiction");
    }
    wait_until("the forked server says so", || forked.log().contains("ANOTHER HISTORY"));
    let said = fork.exhibit(&["ledger", "checkpoint"]);
    assert_eq!(said.code, Some(1), "{}", said.text());
    assert_eq!(said.json()["log_witnesses"][0]["trouble"]["other_history"], true);
    assert!(trust.accept(&published(&forked)).is_err(), "the fork is never cosigned");
    // Whoever kept a slip needs no log witness to see it.
    let alone = chain_of_custody::policy::Policy::of_log(&trust.logs()[0].key).expect("a policy");
    let alone = workspace.write("alone.policy", alone.as_bytes());
    let (code, report) = since(&fork, &kept_late, &alone);
    assert_eq!((code, finding(&report, "slip-contradicted")), (Some(1), true), "{report}");
    assert_eq!(since(&fork, &kept_early, &alone).0, Some(0), "what both share is still there");
    for slip in [&kept_late, &kept_early] {
        let (code, report) = since(&workspace, slip, &alone);
        assert_eq!(code, Some(0), "{report}");
    }

    let server = start(&workspace, &witness);
    ingest(&workspace, "more.bin", 9);
    wait_until("the true one is cosigned", || trust.accept(&published(&server)).is_ok());
}

#[test]
fn a_log_witness_answers_by_the_protocol_and_remembers_through_kills() {
    let workspace = Workspace::new();
    let witness = LogWitness::start(&workspace);
    let server = start(&workspace, &witness);
    ingest(&workspace, "a.bin", 1);
    let cosigned = published(&server).unverified().size.0;
    assert!(server.stop().success());

    let witness = witness.restarted(&workspace);
    let checkpoint = workspace.exhibit(&["ledger", "checkpoint"]).ok().json();
    let checkpoint = checkpoint["checkpoint"].as_str().expect("a checkpoint").to_owned();
    let lines: Vec<&str> = checkpoint.lines().collect();
    let bare = format!("{}\n\n{}\n", lines[..3].join("\n"), lines[4]);
    let ask = |body: &str| post(&format!("{}/add-checkpoint", witness.url()), body);
    let (status, kind, body) = ask(&format!("old 0\n\n{bare}"));
    assert_eq!((status, body), (409, format!("{cosigned}\n")));
    assert_eq!(kind.as_deref(), Some("text/x.tlog.size"));
    let (status, _, body) = ask(&format!("old {cosigned}\n\n{bare}"));
    assert_eq!(status, 200);
    assert!(body.starts_with("— witness.example ") && body.ends_with('\n'), "{body}");
    assert_eq!(ask(&format!("old {}\n\n{bare}", cosigned + 1)).0, 400);
    assert_eq!(ask("old 0\n").0, 400);
    assert_eq!(ask(&format!("old 0\n\n{}", bare.replace(lines[0], "ledger.other.example"))).0, 404);
    assert_eq!(ask(&format!("old 0\n\n{}", bare.replacen(lines[1], "77777", 1))).0, 403);
    assert_eq!(ask(&"x".repeat(70_000)).0, 413);
    assert_eq!(witness.refused().code, Some(0), "nothing of this was signed by the log");
    let second = Command::new(program("exhibit"))
        .args(["ledger", "witness", "--listen", "127.0.0.1:0", "--store"])
        .arg(witness.store())
        .output()
        .expect("it runs");
    assert!(!second.status.success(), "one process at a time");
}

fn start(workspace: &Workspace, witness: &LogWitness) -> Server {
    let settings = witness.settings();
    let environment: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    Server::start_with(workspace, &environment)
}

/// Brings in some bytes that nobody has seen before; gives the item's id.
fn ingest(workspace: &Workspace, name: &str, seed: u8) -> String {
    let clip = workspace.write(name, &[seed; 70_000]);
    let taken = workspace.exhibit(&["ingest", &clip.display().to_string()]).ok().json();
    taken["item"].as_str().expect("an id").to_owned()
}

fn published(server: &Server) -> SignedCheckpoint {
    let (status, body) = server.get("/ledger/checkpoint").expect("an answer");
    assert_eq!(status, 200);
    SignedCheckpoint::parse(&body).expect("a checkpoint")
}

/// Makes a bundle folder and checks it.
fn checked(workspace: &Workspace, item: &str, policy: &Path, name: &str) -> (Option<i32>, Value) {
    let output = workspace.path(name).display().to_string();
    let made = ["bundle", "create", "--item", item, "--for", "cps", "--to", "CPS", "-o", &output];
    workspace.exhibit(&made).ok();
    let mut command = Command::new(program("exhibit-verify"));
    let report = Answer::of(command.args([&output, "--json", "--policy"]).arg(policy));
    (report.code, report.json())
}

/// The page that somebody outside keeps, from a terminal.
fn slip(workspace: &Workspace, name: &str) -> std::path::PathBuf {
    let mut command = Command::new(program("exhibit"));
    let page = Answer::of(command.args(["ledger", "slip", "--data"]).arg(workspace.data())).ok();
    assert!(page.text().contains("LEDGER SLIP") && page.text().contains('\u{2588}'));
    workspace.write(name, &page.stdout)
}

/// The ledger as files, held against a slip.
fn since(workspace: &Workspace, slip: &Path, policy: &Path) -> (Option<i32>, Value) {
    let folder = workspace.path("ledger-as-files");
    let _ = fs::remove_dir_all(&folder);
    workspace.exhibit(&["ledger", "export", "-o", &folder.display().to_string()]).ok();
    let mut command = Command::new(program("exhibit-verify"));
    command.arg(&folder).arg("--since").arg(slip).arg("--policy").arg(policy).arg("--json");
    let report = Answer::of(&mut command);
    (report.code, report.json())
}

fn finding(report: &Value, code: &str) -> bool {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().any(|finding| finding["code"] == code)
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success());
}

fn post(url: &str, body: &str) -> (u16, Option<String>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let answer = reqwest::Client::new().post(url).body(body.to_owned()).send().await;
        let answer = answer.expect("the log witness answers");
        let kind = answer.headers().get("content-type").and_then(|v| v.to_str().ok());
        let (status, kind) = (answer.status().as_u16(), kind.map(str::to_owned));
        (status, kind, answer.text().await.expect("a body"))
    })
}

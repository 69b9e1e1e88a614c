//! Somebody else's log witness, PyPI aics-witness: it takes our checkpoints, we take its cosignatures, and it refuses our fork.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::policy::Policy;
use chain_of_custody::receipt::Receipt;
use serde_json::Value;
use tests::foreign_log_witness::ForeignLogWitness;
use tests::programs::program;
use tests::{Answer, Server, Workspace, audit};

const NAME: &str = "foreign.example/w1";
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn it_cosigns_and_a_bundle_rests_on_it() {
    let workspace = Workspace::new();
    let mut witness = ForeignLogWitness::start(&workspace, NAME);
    let server = start(&workspace, &witness);
    let trust = workspace.write("policy", audit::policy_of(&workspace).as_bytes());
    let policy = Policy::parse(&fs::read(&trust).expect("the policy")).expect("a policy");
    assert!(policy.to_string().contains("quorum log-witnesses"), "{policy}");

    let item = ingest(&workspace, 1);
    let size = published(&server).unverified().size.0;
    let proof = workspace.exhibit(&["ledger", "prove", &(size - 1).to_string()]).ok().json();
    let receipt = Receipt::parse(proof["proof"].as_str().expect("a proof").as_bytes());
    receipt.expect("a receipt").verify(&policy).expect("cosigned before anybody was answered");
    wait_until("the published checkpoint is cosigned", || {
        policy.accept(&published(&server)).is_ok()
    });
    let (code, report) = checked(&workspace, &item, &trust, "first");
    assert_eq!(code, Some(0), "{report}");
    let said = report["rests_on"].to_string();
    assert!(said.contains(&format!("1 of 1 log witnesses ({NAME})")), "{said}");

    // It is away while the ledger grows; then it gets a proof from where it stood.
    witness.kill();
    let item = ingest(&workspace, 2);
    assert!(policy.accept(&published(&server)).is_err());
    let (code, report) = checked(&workspace, &item, &trust, "second");
    assert_eq!(code, Some(2), "without its cosignature nothing is claimed: {report}");
    let witness = witness.restarted();
    wait_until("it is caught up with", || policy.accept(&published(&server)).is_ok());

    // A server that starts knows nothing of where it stands, and is told (409).
    assert!(server.stop().success());
    let server = start(&workspace, &witness);
    let item = ingest(&workspace, 3);
    wait_until("it cosigns the newest", || policy.accept(&published(&server)).is_ok());
    let (code, report) = checked(&workspace, &item, &trust, "third");
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(witness.evidence(), Vec::<Value>::new());
    assert!(server.stop().success());
    audit::ledger_is_clean(&workspace);
}

#[test]
fn it_refuses_a_fork_and_the_server_says_so() {
    let workspace = Workspace::new();
    let witness = ForeignLogWitness::start(&workspace, NAME);
    let server = start(&workspace, &witness);
    ingest(&workspace, 1);
    assert!(server.stop().success());
    let fork = Workspace::new();
    let copied = Command::new("cp").arg("-a").args([workspace.data(), fork.data()]).status();
    assert!(copied.expect("cp runs").success());
    let server = start(&workspace, &witness);
    ingest(&workspace, 2);
    let trust = Policy::parse(audit::policy_of(&workspace).as_bytes()).expect("a policy");
    wait_until("the true history is cosigned", || trust.accept(&published(&server)).is_ok());
    assert!(server.stop().success());

    // The copy is behind what is known outside: it signs nothing.
    let settings = witness.settings();
    let environment = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (_, log) = Server::try_start(&fork, &environment).expect_err("it does not start");
    assert!(log.contains("ledger recover"), "{log}");

    // Made longer without asking anybody, it starts, and is refused.
    for seed in 10..16 {
        ingest(&fork, seed);
    }
    let forked = start(&fork, &witness);
    wait_until("the server says so", || forked.log().contains("ANOTHER HISTORY"));
    let said = fork.exhibit(&["ledger", "checkpoint"]);
    assert_eq!(said.code, Some(1), "{}", said.text());
    assert_eq!(said.json()["log_witnesses"][0]["trouble"]["other_history"], true);
    assert!(trust.accept(&published(&forked)).is_err(), "the fork is never cosigned");
    let kept = witness.evidence();
    assert!(!kept.is_empty(), "what the true key signed for the fork is kept");
}

fn start(workspace: &Workspace, witness: &ForeignLogWitness) -> Server {
    let settings = witness.settings();
    Server::start_with(workspace, &settings.each_ref().map(|(name, value)| (*name, value.as_str())))
}

/// Brings in some bytes that nobody has seen before; gives the item's id.
fn ingest(workspace: &Workspace, seed: u8) -> String {
    let clip = workspace.write(&format!("{seed}.bin"), &[seed; 70_000]);
    let taken = workspace.exhibit(&["ingest", &clip.display().to_string()]).ok().json();
    taken["item"].as_str().expect("an id").to_owned()
}

fn published(server: &Server) -> SignedCheckpoint {
    let (status, body) = server.get("/ledger/checkpoint").expect("an answer");
    assert_eq!(status, 200);
    SignedCheckpoint::parse(&body).expect("a checkpoint")
}

/// Makes a bundle folder and checks it with the stand-alone verifier.
fn checked(workspace: &Workspace, item: &str, policy: &Path, name: &str) -> (Option<i32>, Value) {
    let output = workspace.path(name).display().to_string();
    let made = ["bundle", "create", "--item", item, "--for", "cps", "--to", "CPS", "-o", &output];
    workspace.exhibit(&made).ok();
    let mut command = Command::new(program("exhibit-verify"));
    let report = Answer::of(command.args([&output, "--json", "--policy"]).arg(policy));
    (report.code, report.json())
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

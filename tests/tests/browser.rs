//! The portal as people use it: a real browser at the real server, with real footage from a real dock agent.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tests::programs::{program, repository};
use tests::tus::Tus;
use tests::{Answer, Server, Workspace, audit, footage};

/// Names a folder that gets a picture of every page, for people who look at them.
const PICTURES_ENV: &str = "EXHIBIT_PICTURES";
const FORCE: &str = "[force]\nname = \"Demo Constabulary\"\nledger = \"ledger.demo.invalid\"\ncontact = \"the evidence desk\"\n";
/// Text that turns around, breaks out of markup, or goes on and on.
const MARKUP: &str =
    "<img src=x onerror=alert(1)><b>bold</b> \"' &amp; {{7*7}} =1+1 \u{202e}gpj.elbisivni.avi";
const NAME_BYTES: usize = 1000;
const NOTHING: &str = "0193a7c2-0000-7000-8000-000000000001";

#[tokio::test(flavor = "multi_thread")]
async fn from_dock_to_checked_bundle_in_a_browser_while_an_operator_sees_no_footage() {
    let workspace = Workspace::new();
    std::fs::create_dir_all(workspace.data()).expect("the data folder");
    std::fs::write(workspace.in_data("exhibit.toml"), FORCE).expect("its configuration");
    let server = Server::start(&workspace);
    let hostile = send_hostile_names(&workspace, &server).await;
    let clips = [
        footage::prepared("bikes.mp4"),
        footage::speech("mp4"),
        footage::handheld(),
        footage::cctv(),
        footage::photograph(),
    ];
    let dock_token = dock(&workspace, &server, &clips);
    let quarantined = send_unsigned(&server, &dock_token).await;
    wait_for_derivatives(&workspace, &clips);

    hand_over(&workspace, &["movie-hello.mp4", "bikes.mp4"]);

    let link = |name, number, role| link_of(&workspace, &server, name, number, role);
    let expired = link("Late Larry", "88", "investigator");
    let given = json!({
        "url": server.url(),
        "folder": workspace.path(""),
        "pictures": std::env::var(PICTURES_ENV).ok(),
        "hostile": hostile,
        "nothing": NOTHING,
        "quarantined": quarantined,
        "links": {
            "investigator": link("Jane Smith", "1234", "investigator"),
            "expired": expired,
            "operator": link("Omar Khan", "9001", "operator"),
            "other": link("Olga Other", "78", "investigator"),
            "operators": [
                link("Ola Operator", "9002", "operator"),
                link("Pat Operator", "9003", "operator"),
            ],
            "keyboard": link("<b>Ann</b> O'Ther & Sons", "77", "investigator"),
        },
    });
    // Last: making another link forgets those that are over.
    expire(&workspace, &expired);
    let report = browse(&given);
    let wrong = report["wrong"].as_array().expect("a list of what was wrong");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(report["judged"].as_array().is_some_and(|pages| pages.len() >= 15), "{report}");

    let bundle = PathBuf::from(report["bundle"].as_str().expect("a bundle was downloaded"));
    check(&workspace, &bundle);
    let shown =
        workspace.show(item_named(&workspace, "movie-hello.mp4")["item"].as_str().expect("an id"));
    let shown = shown.ok().json();
    for (kind, times) in
        [("item.viewed", 1), ("item.linked", 2), ("item.unlinked", 1), ("bundle.exported", 2)]
    {
        assert_eq!(audit::count_of_events(&shown, kind), times, "{kind} in {shown}");
    }
    let users = workspace.exhibit(&["user", "list"]).ok().json().to_string();
    assert!(users.contains("Nia Newcomer"), "given an account in the browser: {users}");
    let devices = workspace.exhibit(&["device", "list"]).ok().json().to_string();
    assert!(devices.contains("Dock by the stairs"), "let in in the browser: {devices}");
    assert!(server.stop().success());
    audit::ledger_is_clean(&workspace);
}

/// A bundle as a folder, for the look at its own page.
fn hand_over(workspace: &Workspace, names: &[&str]) {
    let folder = workspace.path("for-the-court").display().to_string();
    let mut create =
        vec!["bundle", "create", "--for", "court", "--to", "Crown Court at Nottingham"];
    create.extend(["--case", "01AB1234526", "--reference", "JSM/1", "-o", &folder]);
    let items: Vec<_> = names.iter().map(|name| item_named(workspace, name)).collect();
    create.extend(items.iter().flat_map(|item| ["--item", item["item"].as_str().expect("an id")]));
    workspace.exhibit(&create).ok();
}

/// Runs `tests/browser/story.mjs`.
fn browse(given: &Value) -> Value {
    let mut node = Command::new("node");
    node.arg(repository().join("tests/browser/story.mjs"))
        .env("EXHIBIT_BROWSER_NPM", repository().join(".tools/browser"));
    Answer::of(node.arg(given.to_string())).ok().json()
}

fn check(workspace: &Workspace, bundle: &Path) {
    let policy = workspace.write("policy", audit::policy_of(workspace).as_bytes());
    let mut verifier = Command::new(program("exhibit-verify"));
    let report = Answer::of(verifier.arg(bundle).arg("--policy").arg(policy).arg("--json"));
    let result = (report.code, report.json()["result"].clone());
    assert_eq!(result, (Some(0), Value::from("match")), "{}", report.text());
}

/// Whose token it is, for what follows.
fn dock(workspace: &Workspace, server: &Server, files: &[PathBuf]) -> String {
    let device = workspace.enrol("Custody suite dock 2");
    let token = workspace.write("dock.token", device.token.as_bytes());
    let policy = workspace.write("dock.policy", audit::policy_of(workspace).as_bytes());
    let mut push = Command::new(program("exhibit"));
    push.args(["dock", "push", "--json", "--camera", "DEMO-0042", "--server", server.url()]);
    push.arg("--token-file").arg(token).arg("--policy").arg(policy);
    push.arg("--state").arg(workspace.path("dock")).args(files);
    Answer::of(&mut push).ok();
    device.token
}

/// What a device that signs sends without its signature goes into quarantine.
async fn send_unsigned(server: &Server, token: &str) -> String {
    let (tus, bytes) = (Tus::new(server.url(), token), bytes::Bytes::from_static(&[7; 5000]));
    let upload = tus.create(bytes.len() as u64, "unsigned.mp4").await.expect("an upload");
    let standing = tus.append(&upload, 0, bytes).await.expect("its bytes");
    standing.finished.expect("an item").item
}

/// As if a day had gone by: the time until which a link counts is put back where it is kept.
fn expire(workspace: &Workspace, link: &str) {
    let script = "import hashlib, sqlite3, sys\n\
        database = sqlite3.connect(sys.argv[1], timeout=30)\n\
        digest = hashlib.sha256(sys.argv[2].rsplit('/', 1)[1].encode()).hexdigest()\n\
        text = 'UPDATE sign_in_links SET expires_at_ms = 0 WHERE token_sha256 = ?'\n\
        assert database.execute(text, [digest]).rowcount == 1\n\
        database.commit()\n";
    let mut python = Command::new(repository().join(".tools/venv/bin/python"));
    let database = workspace.in_data("records.sqlite");
    Answer::of(python.args(["-c", script]).arg(database).arg(link)).ok();
}

/// Items whose names try to be more than names; they are no footage either.
async fn send_hostile_names(workspace: &Workspace, server: &Server) -> Vec<Value> {
    let device = workspace.enrol("<script>alert(1)</script> dock");
    let tus = Tus::new(server.url(), &device.token);
    let mut sent = Vec::new();
    for (label, name) in [("markup", MARKUP.to_owned()), ("long-name", "W".repeat(NAME_BYTES))] {
        let bytes = bytes::Bytes::from(label.repeat(1000));
        let upload = tus.create(bytes.len() as u64, &name).await.expect("an upload");
        let standing = tus.append(&upload, 0, bytes).await.expect("its bytes");
        let item = standing.finished.expect("an item").item;
        sent.push(json!({"label": label, "item": item, "name": name}));
    }
    sent
}

fn link_of(workspace: &Workspace, server: &Server, name: &str, number: &str, role: &str) -> String {
    let added = ["user", "add", "--name", name, "--number", number, "--role", role];
    let answer = workspace.exhibit(&added).ok().json();
    format!("{}{}", server.url(), answer["link"].as_str().expect("a link"))
}

fn item_named(workspace: &Workspace, name: &str) -> Value {
    let items = workspace.items();
    let found = items.into_iter().find(|item| item["name"] == name);
    found.unwrap_or_else(|| panic!("no item {name}"))
}

fn wait_for_derivatives(workspace: &Workspace, clips: &[PathBuf]) {
    for clip in clips {
        let name = clip.file_name().and_then(|name| name.to_str()).expect("a clip's name");
        let item = item_named(workspace, name)["item"].as_str().expect("an id").to_owned();
        let shown = workspace.settled(&item);
        assert!(shown["failures"].as_array().is_some_and(Vec::is_empty), "{shown}");
    }
}

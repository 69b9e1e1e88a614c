//! The API of the real server: people come in by a link, and somebody else's tool asks what its document does not say.

use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::programs::repository;
use tests::tus::Tus;
use tests::{Answer, Server, Workspace, footage};

/// Somebody who is signed in at a server.
struct Person {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Person {
    /// Signs in with the link that a command printed.
    async fn with_link(server: &Server, told: &Value) -> Self {
        let link = told["link"].as_str().expect("a link");
        let link = link.strip_prefix("/sign-in/").expect("the address of the page");
        let http = reqwest::Client::new();
        let asked =
            http.post(format!("{}/api/v1/session", server.url())).json(&json!({"link": link}));
        let reply = asked.send().await.expect("the server answers");
        assert_eq!(reply.status(), StatusCode::CREATED);
        let session: Value = reply.json().await.expect("a session");
        let token = session["token"].as_str().expect("a token").to_owned();
        Self { base: server.url().to_owned(), token, http }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Vec<u8>) {
        let mut asked = self.http.request(method, format!("{}{path}", self.base));
        asked = asked
            .bearer_auth(&self.token)
            .header("idempotency-key", uuid::Uuid::now_v7().to_string());
        if let Some(body) = body {
            asked = asked.json(&body);
        }
        let reply = asked.send().await.expect("the server answers");
        let status = reply.status().as_u16();
        (status, reply.bytes().await.expect("a whole answer").to_vec())
    }

    async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        self.ask(Method::GET, path, None).await
    }

    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}");
        serde_json::from_slice(&body).expect("JSON")
    }
}

fn add_user(workspace: &Workspace, number: &str, role: &str) -> Value {
    let name = format!("Person {number}");
    let typed = ["user", "add", "--name", &name, "--number", number, "--role", role];
    workspace.exhibit(&typed).ok().json()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn people_work_with_what_came_in_and_the_console_says_who() {
    let workspace = Workspace::new();
    let server = Server::start(&workspace);
    let clip = footage::speech("mp4");
    let restricted = workspace.write("restricted.bin", b"a statement in confidence");
    let item =
        text(&workspace.exhibit(&["ingest", &clip.display().to_string()]).ok().json()["item"])
            .to_owned();
    let secret = ["ingest", "--restricted", &restricted.display().to_string()].map(str::to_owned);
    let secret = text(&workspace.exhibit(&secret).ok().json()["item"]).to_owned();
    let jane = Person::with_link(&server, &add_user(&workspace, "1234", "investigator")).await;
    let john = Person::with_link(&server, &add_user(&workspace, "5678", "investigator")).await;
    let again = workspace
        .exhibit(&["user", "add", "--name", "X", "--number", "1234", "--role", "operator"]);
    assert_ne!(again.code, Some(0), "a number is one person's");

    let case = workspace.exhibit(&[
        "case",
        "new",
        "--reference",
        "01AB/1",
        "--title",
        "Harlow",
        "--member",
        "1234",
    ]);
    let case = text(&case.ok().json()["case"]).to_owned();
    workspace.exhibit(&["case", "add", "01AB/1", "--item", &item, "--reference", "JSM/1"]).ok();
    let allow = ["item", "allow", &secret, "--user", "1234", "--reason", "assesses it"];
    workspace.exhibit(&allow).ok();
    let listed = jane.json("/api/v1/items").await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");
    let found = jane.json(&format!("/api/v1/cases/{case}")).await;
    assert_eq!(
        (&found["items"][0]["item"], &found["items"][0]["exhibit_reference"]),
        (&json!(item), &json!("JSM/1"))
    );
    for path in [
        &format!("/api/v1/items/{item}"),
        &format!("/api/v1/items/{secret}"),
        &format!("/api/v1/cases/{case}"),
    ] {
        assert_eq!(john.get(path).await.0, 404, "{path}");
    }
    let (status, original) = jane.get(&format!("/api/v1/items/{item}/original")).await;
    assert!(status == 200 && original == std::fs::read(&clip).expect("the clip"));
    let known: Vec<_> = jane.json(&format!("/api/v1/items/{item}")).await["known"]
        .as_array()
        .expect("a list")
        .clone();
    assert!(known.iter().any(|known| known["about"] == "camera-signature"));

    let shown = workspace.show(&item).ok().json().to_string();
    for said in ["item.linked", "item.viewed", "item.downloaded", "user:1234"] {
        assert!(shown.contains(said), "{said} is not in {shown}");
    }
    assert!(!shown.contains("user:5678"));
    workspace
        .exhibit(&["item", "allow", &secret, "--user", "1234", "--reason", "done", "--withdraw"])
        .ok();
    assert_eq!(jane.get(&format!("/api/v1/items/{secret}")).await.0, 404);
    workspace.exhibit(&["user", "remove", "1234"]).ok();
    assert_eq!(jane.get("/api/v1/items").await.0, 401);
    let users = workspace.exhibit(&["user", "list"]).ok().json();
    assert_eq!(
        (&users["users"][0]["state"], &users["users"][1]["state"]),
        (&json!("removed"), &json!("active"))
    );
    assert_eq!(workspace.exhibit(&["case", "list"]).ok().json()["cases"][0]["reference"], "01AB/1");
    let audit = workspace.exhibit(&["ledger", "audit"]).ok().json();
    assert_eq!(audit["result"], "match");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_for_the_device_that_sent_and_for_whoever_may_see() {
    let workspace = Workspace::new();
    let server = Server::start(&workspace);
    let (sender, other) = (workspace.enrol("dock"), workspace.enrol("another dock"));
    let tus = Tus::new(server.url(), &sender.token);
    let bytes = bytes::Bytes::from(b"thirty bytes of nothing at all".repeat(30));
    let sent = tus.upload("clip.bin", &bytes, 500).await.expect("it is taken").item;
    let person = Person::with_link(&server, &add_user(&workspace, "1", "investigator")).await;
    for name in ["receipt", "receipt.txt"] {
        let path = format!("/api/v1/items/{sent}/{name}");
        let (status, mine) = person.get(&path).await;
        assert_eq!(status, 200);
        let (status, devices) = tus.get(&path).await.expect("the server answers");
        assert_eq!(status, 200, "{name}");
        let first = |bytes: &[u8]| bytes.split(|b| *b == b'\n').next().map(<[u8]>::to_vec);
        assert_eq!(first(&mine), first(&devices), "the same statement");
        let (status, _) = Tus::new(server.url(), &other.token).get(&path).await.expect("an answer");
        assert_eq!(status, 404);
        let (status, _) = Tus::new(server.url(), "nobody").get(&path).await.expect("an answer");
        assert_eq!(status, 401);
    }
}

/// PyPI schemathesis, as it comes: no request of its making ends in a server error, and each answer is as the document
/// says. Once with ids of its own making, once with ids of what is there.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_server_error_and_no_answer_that_the_document_does_not_say() {
    let workspace = Workspace::new();
    let server = Server::start(&workspace);
    let clip = workspace.write("clip.bin", &[7; 5_000]);
    let item = workspace.exhibit(&["ingest", &clip.display().to_string()]).ok().json();
    let person = Person::with_link(&server, &add_user(&workspace, "1", "investigator")).await;
    let body = json!({"reference": "01AB/1", "title": "Harlow"});
    let (status, case) = person.ask(Method::POST, "/api/v1/cases", Some(body)).await;
    assert_eq!(status, 201);
    let case: Value = serde_json::from_slice(&case).expect("a case");
    let theirs = workspace.write("none.toml", b"");
    let named = format!(
        "[parameters]\n\"path.item\" = {}\n\"path.case\" = {}\n",
        item["item"], case["case"]
    );
    let named = workspace.write("named.toml", named.as_bytes());
    for config in [theirs, named] {
        let document = format!("{}/api/openapi.json", server.url());
        let bearer = format!("Authorization: Bearer {}", person.token);
        let mut tool = Command::new(repository().join(".tools/venv/bin/schemathesis"));
        tool.current_dir(workspace.path(".")).arg("--config-file").arg(&config);
        tool.args(["--no-color", "run", &document, "--url", server.url(), "--header", &bearer]);
        // A session that ends in the middle would leave nothing to ask; what is said of it is tested elsewhere.
        tool.args(["--exclude-path-regex", "/session$", "--phases", "examples,coverage,fuzzing"]);
        tool.args(["--max-examples", "8", "--seed", "1", "--checks", CHECKS]);
        let answer = Answer::of(&mut tool);
        let said = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert_eq!(answer.code, Some(0), "{said}\n{}", answer.stderr);
        assert!(said.contains("Tested: "), "it asked nothing: {said}");
    }
    assert!(!server.log().contains("panicked"));
    let audit = workspace.exhibit(&["ledger", "audit"]).ok().json();
    assert_eq!(audit["result"], "match", "whatever it wrote, the ledger stands");
}

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_schema_conformance,response_headers_conformance";

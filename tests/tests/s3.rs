//! `exhibit store probe` beside stores that are not ours: what a real one keeps, what another only takes, and what people
//! are told when it cannot be tried.

use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;
use test_machine::s3::{ACCESS_KEY, SECRET_KEY, Store};
use tests::Answer;
use tests::programs::program;

fn probe(endpoint: &str, bucket: &str, secret: Option<&str>, json: bool) -> Answer {
    let json = json.then_some("--json");
    ask(endpoint, secret, ["--bucket", bucket].into_iter().chain(json))
}

/// As somebody types it, with these credentials and nothing of the machine's own.
fn ask<'a>(
    endpoint: &str,
    secret: Option<&str>,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Answer {
    let mut command = Command::new(program("exhibit"));
    command.args(["store", "probe", "--path-style", "--endpoint", endpoint]).args(arguments);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    if let Some(secret) = secret {
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", secret);
    }
    Answer::of(&mut command)
}

fn outcome(report: &Value, promise: &str) -> String {
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["promise"] == promise);
    let found = found.unwrap_or_else(|| panic!("nothing about {promise}: {report:#}"));
    found["outcome"].as_str().expect("an outcome").to_owned()
}

const ALL: [&str; 13] = [
    "clock",
    "read-back",
    "versions",
    "lock-against-delete",
    "lock-against-shortening",
    "lock-extends",
    "legal-hold",
    "create-only",
    "create-only-parts",
    "replace-only-what-was-seen",
    "checksum-of-put",
    "checksum-of-part",
    "checksum-of-whole",
];
/// What needs a bucket with versions and Object Lock.
const BY_THE_BUCKET: [&str; 5] =
    ["versions", "lock-against-delete", "lock-against-shortening", "lock-extends", "legal-hold"];

#[test]
fn a_real_store_keeps_its_promises_and_a_bucket_without_lock_is_not_fit() {
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("evidence", true).expect("a bucket");
    let fit = probe(store.endpoint(), "evidence", Some(SECRET_KEY), true);
    assert_eq!(fit.code, Some(0), "{}\n{}", fit.text(), fit.stderr);
    let report = fit.json();
    assert_eq!(report["fit"], true);
    for promise in ALL {
        assert_eq!(outcome(&report, promise), "holds", "{promise}: {report:#}");
    }
    // The object it locked stays, and the next probe is none the worse for it.
    assert_eq!(report["left_behind"], 1, "{report:#}");
    let again = probe(store.endpoint(), "evidence", Some(SECRET_KEY), false);
    assert_eq!(again.code, Some(0), "{}", again.text());
    assert!(again.text().contains("evidence may rest on this store"), "{}", again.text());
    assert_eq!(again.text().matches("holds ").count(), ALL.len(), "{}", again.text());

    store.make_bucket("plain", false).expect("a bucket");
    let unfit = probe(store.endpoint(), "plain", Some(SECRET_KEY), true);
    assert_eq!(unfit.code, Some(1), "{}", unfit.text());
    let report = unfit.json();
    assert_eq!(report["fit"], false);
    for promise in ALL {
        let expected = if BY_THE_BUCKET.contains(&promise) { "not-offered" } else { "holds" };
        assert_eq!(outcome(&report, promise), expected, "{promise}: {report:#}");
    }
}

/// moto takes a checksum and does not compare it, and shortens a lock. Whatever else it does, evidence may not rest on it.
#[test]
fn a_store_that_takes_headers_and_ignores_them_is_found_out() {
    let store = Store::moto().expect("moto starts");
    store.make_bucket("evidence", true).expect("a bucket");
    let unfit = probe(store.endpoint(), "evidence", Some(SECRET_KEY), true);
    assert_eq!(unfit.code, Some(1), "{}\n{}", unfit.text(), unfit.stderr);
    let report = unfit.json();
    assert_eq!(report["fit"], false);
    for promise in ["checksum-of-put", "checksum-of-part", "lock-against-shortening"] {
        assert_eq!(outcome(&report, promise), "ignored", "{report:#}");
    }
    let said = probe(store.endpoint(), "evidence", Some(SECRET_KEY), false).text();
    assert!(said.contains("IGNORED") && said.contains("evidence may not rest"), "{said}");
}

#[test]
fn who_cannot_try_is_told_what_to_change() {
    let store = Store::seaweed().expect("SeaweedFS starts");
    store.make_bucket("evidence", true).expect("a bucket");
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = format!("http://{}", nobody.local_addr().expect("an address"));
    drop(nobody);
    let cases = [
        (store.endpoint(), "evidence", Some("wrong"), "AWS_SECRET_ACCESS_KEY"),
        (store.endpoint(), "evidence", None, "no credentials"),
        (store.endpoint(), "evidense", Some(SECRET_KEY), "no such bucket"),
        (&*closed, "evidence", Some(SECRET_KEY), "is the endpoint right"),
    ];
    for (endpoint, bucket, secret, word) in cases {
        let answer = probe(endpoint, bucket, secret, true);
        assert_eq!(answer.code, Some(2), "{word}: {}\n{}", answer.text(), answer.stderr);
        let message = answer.json()["error"]["message"].to_string();
        assert!(message.contains(word), "{word}: {message}");
        assert!(answer.stderr.contains(word) && !answer.stderr.contains(SECRET_KEY));
    }
    let no_certificate = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let arguments = ["--bucket", "evidence", "--ca", no_certificate];
    let answer = ask(&closed, Some(SECRET_KEY), arguments);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.stderr.contains("no certificate in it"), "{answer:?}");
    let answer = ask(&closed, Some(SECRET_KEY), ["--bucket", ""]);
    assert!(answer.code != Some(0) && answer.stderr.contains("--bucket"), "{answer:?}");
}

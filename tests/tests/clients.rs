//! Clients that are not ours upload to the real server: npm tus-js-client and PyPI tuspy, as they come.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tests::programs::repository;
use tests::tus::Tus;
use tests::{Answer, Server, Workspace, audit, footage};

const CHUNK_BYTES: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_sends_a_whole_file_as_one_stream() {
    with_tus_js_client(&footage::prepared("shift.mp4"), json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_breaks_and_resumes_where_it_was() {
    let report = with_tus_js_client(
        &footage::prepared("shift.mp4"),
        json!({"chunkSize": CHUNK_BYTES, "breakAfterBytes": 5 * CHUNK_BYTES}),
    )
    .await;
    let resumed_at = report["offsetAtResume"].as_u64().expect("it asked where to go on");
    assert!(
        resumed_at >= 4 * CHUNK_BYTES,
        "acknowledged chunks were lost: it resumed at {resumed_at}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_sends_three_parts_at_once_and_has_them_joined() {
    with_tus_js_client(&footage::prepared("shift.mp4"), json!({"parallelUploads": 3})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_sends_a_stream_of_unknown_length() {
    let chunks = json!({"chunkSize": 2 * CHUNK_BYTES, "uploadLengthDeferred": true});
    with_tus_js_client(&footage::cctv(), chunks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_sends_data_with_the_creation() {
    let chunks = json!({"chunkSize": CHUNK_BYTES, "uploadDataDuringCreation": true});
    with_tus_js_client(&footage::prepared("bikes.mp4"), chunks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tuspy_sends_chunks_with_checksums() {
    with_tuspy(&footage::handheld(), json!({"chunk_size": CHUNK_BYTES})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tuspy_resumes_from_the_address_alone() {
    let wanted = json!({"chunk_size": CHUNK_BYTES, "break_after_chunks": 7});
    let report = with_tuspy(&footage::prepared("shift.mp4"), wanted).await;
    assert_eq!(report["offset_at_resume"].as_u64(), Some(7 * CHUNK_BYTES));
}

async fn with_tus_js_client(file: &Path, wanted: Value) -> Value {
    let mut node = Command::new("node");
    node.arg(repository().join("tests/peers/tus-upload.mjs"))
        .env("EXHIBIT_NPM", repository().join(".tools/npm"));
    upload_and_check(node, file, wanted).await
}

async fn with_tuspy(file: &Path, wanted: Value) -> Value {
    let mut python = Command::new(repository().join(".tools/venv/bin/python"));
    python.arg(repository().join("tests/peers/tus_upload.py"));
    upload_and_check(python, file, wanted).await
}

/// Runs the client against a server of its own; then the item must be there once, with a receipt.
async fn upload_and_check(mut client: Command, file: &Path, mut wanted: Value) -> Value {
    let workspace = Workspace::new();
    let server = Server::start(&workspace);
    let device = workspace.enrol("somebody else's client");
    wanted["endpoint"] = format!("{}/tus", server.url()).into();
    wanted["token"] = device.token.as_str().into();
    wanted["file"] = file.display().to_string().into();
    let report = Answer::of(client.arg(wanted.to_string())).ok().json();

    let bytes = std::fs::read(file).expect("footage");
    let item = audit::is_stored_once(&workspace, &bytes);
    assert_eq!(item["item"], report["item"], "the last reply names the item: {report}");
    assert_eq!(item["device"], device.id.as_str());
    let name = file.file_name().and_then(|name| name.to_str());
    assert_eq!(item["name"].as_str(), name);
    let receipt = report["receipt"].as_str().expect("the last reply names the receipt");
    let (status, body) =
        Tus::new(server.url(), &device.token).get(receipt).await.expect("the server answers");
    assert_eq!(status, 200, "{receipt}");
    assert!(body.starts_with(b"c2sp.org/tlog-proof@v1\n"));
    audit::items_are(&workspace, 1);
    audit::ledger_is_clean(&workspace);
    report
}

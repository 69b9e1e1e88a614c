//! The OpenAPI document, kept as a snapshot: what programs rely on changes on purpose only.

use axum::http::Method;

use crate::world::House;

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi.json");

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_the_one_that_was_agreed() {
    let house = House::new().await;
    let served = house.ask(Method::GET, "/api/openapi.json", None, &[], None).await;
    let served = String::from_utf8(served.body.to_vec()).unwrap();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(SNAPSHOT, &served).unwrap();
    }
    let kept = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    assert!(
        kept == served,
        "the API changed: run this test with UPDATE_SNAPSHOTS=1 and read the difference"
    );
}

#[test]
fn every_operation_says_who_may_and_how_it_refuses() {
    let document = serde_json::to_value(portal::api::document()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let signing_in = path == "/api/v1/session" && method == "post";
            assert_eq!(operation["security"].is_array(), !signing_in, "{method} {path}");
            for status in ["400", "401", "403", "404", "429", "503"] {
                let body = &operation["responses"][status]["content"]["application/problem+json"];
                let schema = &body["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{method} {path} {status}");
            }
            assert!(operation["summary"].is_string() || operation["description"].is_string());
        }
    }
}

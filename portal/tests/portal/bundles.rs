//! Bundles over the API.

use axum::http::StatusCode;
use chain_of_custody::event::EventKind;
use chain_of_custody::report::Outcome;
use exhibit_verify::VerifyArgs;
use portal::service::BUNDLE_KEPT;
use serde_json::json;

use crate::world::{House, footage};

#[tokio::test(flavor = "multi_thread")]
async fn a_case_becomes_a_bundle_that_the_checker_accepts() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let items = [
        house.receive("a.mp4", &footage(200_000)).await,
        house.receive("b.mp4", &footage(9)).await,
    ];
    let case = house.case(&who, "01AB/1234").await;
    for item in items {
        house.link_item(&who, &case, item).await;
    }
    let order = json!({"case": case, "purpose": "cps", "recipient": "CPS East"});
    let made = house.post_again(&who, "/api/v1/bundles", order.clone(), "k1").await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let again = house.post_again(&who, "/api/v1/bundles", order.clone(), "k1").await;
    assert_eq!(again.json(), made.json(), "a double submit is one hand-over");
    assert_eq!(house.count(EventKind::BundleExported).await, 1);
    let name = made.json()["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("01AB_1234-JSM_1-"), "{name}");
    let file = house.get(&who, made.header("location")).await;
    assert_eq!(file.status, StatusCode::OK);
    assert_eq!(file.header("content-length"), made.json()["size_bytes"].to_string());
    assert_eq!(file.header("content-disposition"), format!("attachment; filename=\"{name}.zip\""));
    let (zip, policy) = (house.folder.path().join("got.zip"), house.folder.path().join("policy"));
    std::fs::write(&zip, &file.body).unwrap();
    std::fs::write(&policy, house.policy.as_bytes()).unwrap();
    let args = VerifyArgs {
        path: zip,
        policy: Some(policy),
        fingerprint: None,
        file: None,
        json: true,
        explain: false,
        since: None,
        ledger: None,
    };
    let report = exhibit_verify::report(&args).unwrap();
    assert_eq!((report.result, &report.findings), (Outcome::Match, &vec![]));
    assert_eq!(report.files.len(), 2);
    let detail = house.get(&who, &format!("/api/v1/cases/{case}")).await.json();
    assert_eq!(detail["bundles"][0]["name"], name.as_str());
    house.clock.forward(BUNDLE_KEPT.as_secs() as i64);
    let who = {
        let (_, link) = house.service.access().link_for("1", "os-user:root").await.unwrap();
        let signed = house.service.access().redeem(link.reveal(), "-").await.unwrap();
        crate::world::Signed { token: signed.reveal().to_owned() }
    };
    assert_eq!(house.get(&who, made.header("location")).await.status, StatusCode::NOT_FOUND);
    let left = std::fs::read_dir(house.folder.path().join("outbox")).unwrap().count();
    assert_eq!(left, 0, "plain footage does not stay");
}

/// A run that was cut off leaves a file that no row names: it goes when a bundle of its age would.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_of_in_the_outbox_goes_when_it_is_as_old() {
    let house = House::new().await;
    let outbox = house.folder.path().join("outbox");
    for (name, age) in [("old.zip", BUNDLE_KEPT * 2), ("new.zip", BUNDLE_KEPT / 2)] {
        let path = outbox.join(name);
        std::fs::write(&path, "PK").unwrap();
        let file = std::fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
    }
    house.service.clear_outbox().await.unwrap();
    let left = std::fs::read_dir(&outbox).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["new.zip"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_nothing_or_of_what_is_wrong_is_refused_in_words() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let item = house.receive("a.mp4", &footage(9)).await.to_string();
    let case = house.case(&who, "01AB/1234").await;
    let one = json!([{"item": item}]);
    for (order, status, code) in [
        (json!({"case": case, "purpose": "cps", "recipient": "x"}), 400, "malformed"),
        (json!({"purpose": "cps", "recipient": "x"}), 400, "malformed"),
        (json!({"items": one, "purpose": "cps", "recipient": " "}), 400, "malformed"),
        (json!({"items": one, "purpose": "gift", "recipient": "x"}), 400, "malformed"),
        (
            json!({"items": one, "purpose": "cps", "recipient": "x".repeat(10_000)}),
            400,
            "malformed",
        ),
        (json!({"items": [one[0], one[0]], "purpose": "cps", "recipient": "x"}), 400, "malformed"),
        (
            json!({"items": one, "purpose": "cps", "recipient": "x", "completeness": true}),
            409,
            "needs-authorisation",
        ),
        (json!({"items": one, "purpose": "cps", "recipient": "x", "else": 1}), 400, "malformed"),
    ] {
        let reply = house.post(&who, "/api/v1/bundles", order.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (status, code), "{order}");
    }
    assert_eq!(house.count(EventKind::BundleExported).await, 0);
}

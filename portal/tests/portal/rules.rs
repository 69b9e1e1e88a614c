//! Who may see what, on every route (I15).

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::ItemId;
use portal::access::{MAX_REFUSALS_RECORDED_PER_MINUTE, Role};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{House, Reply, Signed, footage};

/// Every operation that the document names, as method and path.
fn operations() -> Vec<(Method, String)> {
    let document = serde_json::to_value(portal::api::document()).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if let Ok(method) = method.to_uppercase().parse::<Method>() {
                found.push((method, path.clone()));
            }
        }
    }
    assert!(found.len() > 20, "{found:?}");
    found
}

fn body_for(path: &str, item: &str) -> Option<Value> {
    match path {
        "/api/v1/cases" => Some(json!({"reference": "R", "title": "T"})),
        "/api/v1/cases/{case}/items" => Some(json!({"item": item})),
        "/api/v1/cases/{case}/members" => Some(json!({"number": "victim"})),
        "/api/v1/items/{item}/viewers" => Some(json!({"number": "victim", "reason": "r"})),
        "/api/v1/items/{item}/restriction" => Some(json!({"reason": "r"})),
        "/api/v1/users" => Some(json!({"name": "N", "number": "new", "role": "investigator"})),
        "/api/v1/devices" => Some(json!({"name": "Dock"})),
        "/api/v1/bundles" => {
            Some(json!({"items": [{"item": item}], "purpose": "internal", "recipient": "me"}))
        }
        _ => None,
    }
}

/// What operators alone do.
fn is_operators(path: &str) -> bool {
    ["/api/v1/users", "/api/v1/devices", "/api/v1/overview"].iter().any(|own| path.starts_with(own))
}

/// What is somebody's: an item in their case, and a bundle they made.
struct Theirs {
    item: ItemId,
    case: String,
    bundle: String,
    recipe: String,
}

async fn theirs(house: &House, owner: &Signed) -> Theirs {
    let item = house.receive("theirs.mp4", &footage(5_000)).await;
    house.derive(item, "proxy", &footage(900)).await;
    house.derive(item, "poster", &footage(300)).await;
    let case = house.case(owner, "01AB/1").await;
    house.link_item(owner, &case, item).await;
    let body = json!({"case": case, "purpose": "internal", "recipient": "me"});
    let made = house.post(owner, "/api/v1/bundles", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let bundle = made.json()["bundle"].as_str().unwrap().to_owned();
    let detail = house.get(owner, &format!("/api/v1/items/{item}")).await.json();
    let recipe = detail["derivatives"][0]["recipe_id"].as_str().unwrap().to_owned();
    Theirs { item, case, bundle, recipe }
}

async fn ask_with(
    house: &House,
    who: &Signed,
    method: &Method,
    path: &str,
    names: [&str; 4],
) -> Reply {
    let [item, case, bundle, recipe] = names;
    let filled = path
        .replace("{item}", item)
        .replace("{case}", case)
        .replace("{bundle}", bundle)
        .replace("{recipe}", recipe)
        .replace("{number}", "owner");
    let ends = ["/restriction", "/viewers/", "/members/", "/items/"];
    let ends = *method == Method::DELETE && ends.iter().any(|part| path.contains(part));
    let filled = if ends { format!("{filled}?reason=r") } else { filled };
    let key = Uuid::new_v4().to_string();
    let headers = [("idempotency-key", key.as_str())];
    house.ask(method.clone(), &filled, Some(&who.token), &headers, body_for(path, item)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_yours_is_not_there_on_any_route_and_the_attempt_is_an_event() {
    let house = House::new().await;
    let owner = house.investigator("owner").await;
    house.investigator("victim").await;
    let theirs = theirs(&house, &owner).await;
    let id = theirs.item.to_string();
    let nobodys = Uuid::now_v7().to_string();
    let mut tried = BTreeSet::new();
    for (method, path) in operations() {
        let named = path.contains('{') || (method == Method::POST && path.ends_with("/bundles"));
        if !named || is_operators(&path) {
            continue;
        }
        // Somebody new each time, so that nothing is only counted.
        let stranger = house.investigator(&format!("s{}", tried.len())).await;
        let refused = house.count(EventKind::AccessRefused).await;
        let real = [&*id, &theirs.case, &theirs.bundle, &theirs.recipe];
        let there = ask_with(&house, &stranger, &method, &path, real).await;
        assert_eq!(there.status, StatusCode::NOT_FOUND, "{method} {path} {there:?}");
        assert_eq!(house.count(EventKind::AccessRefused).await, refused + 1, "{method} {path}");
        let none = [&*nobodys, &nobodys, &nobodys, "none"];
        let not_there = ask_with(&house, &stranger, &method, &path, none).await;
        let garbage =
            ask_with(&house, &stranger, &method, &path, ["x", "%2e%2e", "%ff", "x"]).await;
        for other in [&not_there, &garbage] {
            // A body that names no id is malformed, whatever is there.
            if other.status != StatusCode::BAD_REQUEST {
                assert_eq!(
                    (other.status, &other.body),
                    (there.status, &there.body),
                    "{method} {path}"
                );
                assert_eq!(other.headers, there.headers, "{method} {path}");
            }
        }
        assert_eq!(
            house.count(EventKind::AccessRefused).await,
            refused + if garbage.status == StatusCode::BAD_REQUEST { 2 } else { 3 }
        );
        tried.insert(format!("{method} {path}"));
    }
    assert!(tried.len() >= 16, "{tried:?}");
    // The item's own record was touched by none of it, and yet it says who was refused.
    let events = house.get(&owner, &format!("/api/v1/items/{id}/events")).await.json();
    let by_strangers = events["events"].as_array().unwrap().iter();
    let by_strangers: Vec<_> =
        by_strangers.filter(|event| event["by"].as_str().unwrap().starts_with("user:s")).collect();
    assert!(by_strangers.len() >= 8, "{events}");
    assert!(by_strangers.iter().all(|event| event["type"] == "access.refused"), "{events}");
    let own = house.ledger.records().events_of(&theirs.item.into()).await.unwrap();
    assert!(own.iter().all(|event| !event.by.starts_with("user:s")));
    let entry = &house.entries(EventKind::AccessRefused).await[0];
    assert!(entry.opened(field::BY).unwrap().starts_with("user:s"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_no_footage_on_any_route() {
    let house = House::new().await;
    let owner = house.investigator("owner").await;
    house.investigator("victim").await;
    let theirs = theirs(&house, &owner).await;
    let free = house.receive("free.mp4", &footage(100)).await;
    house.derive(free, "poster", &footage(100)).await;
    let mut tried = 0;
    for (method, path) in operations() {
        if path.ends_with("/session") || is_operators(&path) {
            continue;
        }
        let operator = house.person(&format!("op{tried}"), Role::Operator).await;
        let refused = house.count(EventKind::AccessRefused).await;
        let names = [&*free.to_string(), &theirs.case, &theirs.bundle, &theirs.recipe];
        let reply = ask_with(&house, &operator, &method, &path, names).await;
        let expected =
            if path.contains('{') { StatusCode::NOT_FOUND } else { StatusCode::FORBIDDEN };
        assert_eq!(reply.status, expected, "{method} {path} {reply:?}");
        assert_eq!(house.count(EventKind::AccessRefused).await, refused + 1, "{method} {path}");
        tried += 1;
    }
    let operator = house.person("op", Role::Operator).await;
    let overview = house.get(&operator, "/api/v1/overview").await.json();
    assert_eq!((&overview["items"], &overview["faults"]), (&json!(2), &json!(0)));
    assert!(!overview.to_string().contains("mp4"));
    for (method, path) in operations().into_iter().filter(|(_, path)| is_operators(path)) {
        let names = ["x", "x", "x", "x"];
        let refused = house.count(EventKind::AccessRefused).await;
        let path = path.replace("{device}", "x");
        let reply = ask_with(&house, &owner, &method, &path, names).await;
        assert_eq!(reply.problem(), "role", "{method} {path}");
        assert_eq!(house.count(EventKind::AccessRefused).await, refused + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn linking_hides_an_item_from_others_and_unlinking_shows_it_again() {
    let house = House::new().await;
    let (one, two) = (house.investigator("1").await, house.investigator("2").await);
    let item = house.receive("a.mp4", &footage(100)).await;
    let path = format!("/api/v1/items/{item}");
    let seen = async |who: &Signed| {
        let listed = house.get(who, "/api/v1/items").await.json();
        let listed = listed["items"].as_array().unwrap().len();
        (listed, house.get(who, &path).await.status.as_u16())
    };
    assert_eq!((seen(&one).await, seen(&two).await), ((1, 200), (1, 200)), "in no case");
    let case = house.case(&one, "01AB/1").await;
    house.link_item(&one, &case, item).await;
    assert_eq!((seen(&one).await, seen(&two).await), ((1, 200), (0, 404)));
    let members = format!("/api/v1/cases/{case}/members");
    let added = house.post(&one, &members, json!({"number": "2"})).await;
    assert_eq!(added.status, StatusCode::NO_CONTENT);
    assert_eq!(seen(&two).await, (1, 200));
    let detail = house.get(&two, &format!("/api/v1/cases/{case}")).await.json();
    assert_eq!(detail["members"].as_array().unwrap().len(), 2);
    assert_eq!(detail["items"][0]["exhibit_reference"], "JSM/1");
    let gone = house
        .ask(Method::DELETE, &format!("{members}/1?reason=moved"), Some(&two.token), &[], None)
        .await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!((seen(&one).await, seen(&two).await), ((0, 404), (1, 200)));
    let last = house
        .ask(Method::DELETE, &format!("{members}/2?reason=moved"), Some(&two.token), &[], None)
        .await;
    assert_eq!(last.problem(), "last-member");
    let link = format!("/api/v1/cases/{case}/items/{item}?reason=wrong%20case");
    let unlinked = house.ask(Method::DELETE, &link, Some(&two.token), &[], None).await;
    assert_eq!(unlinked.status, StatusCode::NO_CONTENT);
    assert_eq!((seen(&one).await, seen(&two).await), ((1, 200), (1, 200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn restricted_items_are_for_named_viewers_and_their_posters_for_no_list() {
    let house = House::new().await;
    let (named, other) = (house.investigator("1").await, house.investigator("2").await);
    let item = house.receive_as("r.mp4", &footage(100), true).await;
    house.derive(item, "poster", &footage(50)).await;
    let path = format!("/api/v1/items/{item}");
    assert_eq!(house.get(&named, &path).await.status, StatusCode::NOT_FOUND);
    let console = house.service.console("os-user:root");
    console.allow_viewer(item, "1", "assesses it", true).await.unwrap();
    assert_eq!(house.get(&named, &path).await.status, StatusCode::OK);
    assert_eq!(house.get(&other, &path).await.status, StatusCode::NOT_FOUND);
    let list = house.get(&named, "/api/v1/items").await.json();
    assert_eq!(
        (&list["items"][0]["restricted"], &list["items"][0]["has_poster"]),
        (&json!(true), &json!(false))
    );
    assert!(
        house.get(&other, "/api/v1/items").await.json()["items"].as_array().unwrap().is_empty()
    );
    let body =
        json!({"items": [{"item": item.to_string()}], "purpose": "court", "recipient": "Court"});
    let refused = house.post(&named, "/api/v1/bundles", body).await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (StatusCode::CONFLICT, "needs-authorisation")
    );
    console.allow_viewer(item, "1", "has assessed it", false).await.unwrap();
    assert_eq!(house.get(&named, &path).await.status, StatusCode::NOT_FOUND);
    let told = house.entries(EventKind::AccessChanged).await;
    assert!(told.iter().any(|event| event.opened(field::REASON) == Some("assesses it")));
}

/// Whoever may see an item restricts it and names the others; the last one stays; every step says why.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_named_names_others_and_ends_the_restriction() {
    let house = House::new().await;
    let (one, two) = (house.investigator("1").await, house.investigator("2").await);
    house.person("op", Role::Operator).await;
    let item = house.receive("a.mp4", &footage(100)).await;
    let (path, viewers) =
        (format!("/api/v1/items/{item}"), format!("/api/v1/items/{item}/viewers"));
    let status = async |who: &Signed| house.get(who, &path).await.status.as_u16();
    let end = async |who: &Signed, path: &str| {
        house.ask(Method::DELETE, &format!("{path}?reason=done"), Some(&who.token), &[], None).await
    };
    let name = |number: &str| json!({"number": number, "reason": "assesses it"});
    assert_eq!(house.post(&one, &viewers, name("2")).await.problem(), "not-restricted");
    let restriction = format!("{path}/restriction");
    for _ in 0..2 {
        let reply =
            house.post_again(&one, &restriction, json!({"reason": "privileged"}), "key").await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(house.count(EventKind::ItemRestricted).await, 1, "sent twice, restricted once");
    assert_eq!((status(&one).await, status(&two).await), (200, 404));
    assert_eq!(house.post(&two, &viewers, name("2")).await.status, StatusCode::NOT_FOUND);
    for (number, field) in [("op", "number"), ("nobody", "number")] {
        assert_eq!(house.post(&one, &viewers, name(number)).await.json()["field"], field);
    }
    assert_eq!(end(&one, &format!("{viewers}/1")).await.problem(), "last-viewer");
    assert_eq!(house.post(&one, &viewers, name("2")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(status(&two).await, 200);
    let detail = house.get(&two, &path).await.json();
    assert_eq!(detail["viewers"].as_array().unwrap().len(), 2);
    assert_eq!(end(&two, &format!("{viewers}/1")).await.status, StatusCode::NO_CONTENT);
    assert_eq!((status(&one).await, status(&two).await), (404, 200));
    assert_eq!(end(&one, &restriction).await.status, StatusCode::NOT_FOUND);
    let unsaid = house.ask(Method::DELETE, &restriction, Some(&two.token), &[], None).await;
    assert_eq!(unsaid.problem(), "malformed", "no reason");
    assert_eq!(end(&two, &restriction).await.status, StatusCode::NO_CONTENT);
    assert_eq!((status(&one).await, status(&two).await), (200, 200));
    let told = house.get(&one, &format!("{path}/events")).await.json().to_string();
    for said in ["privileged", "assesses it", "no longer restricted: done", "was refused"] {
        assert!(told.contains(said), "{said}: {told}");
    }
}

/// Accounts and devices: once per request, shown once, never one's own.
#[tokio::test(flavor = "multi_thread")]
async fn operators_let_people_and_devices_in_and_out() {
    let house = House::new().await;
    let operator = house.person("9001", Role::Operator).await;
    let person = json!({"name": "Jane Smith", "number": "1234", "role": "investigator"});
    let once = house.post_again(&operator, "/api/v1/users", person.clone(), "key").await;
    let twice = house.post_again(&operator, "/api/v1/users", person.clone(), "key").await;
    assert_eq!((once.status, once.json()), (StatusCode::CREATED, twice.json()), "one link");
    let taken = house.post(&operator, "/api/v1/users", person).await;
    assert_eq!((taken.status, taken.problem().as_str()), (StatusCode::CONFLICT, "number-taken"));
    let redeem = async |reply: &Reply| {
        let link = reply.json()["link"].as_str().unwrap().to_owned();
        house.service.access().redeem(link.strip_prefix("/sign-in/").unwrap(), "-").await
    };
    let newer = house.post(&operator, "/api/v1/users/1234/links", Value::Null).await;
    assert!(redeem(&once).await.is_err(), "a newer link replaces it");
    let jane = Signed { token: redeem(&newer).await.unwrap().reveal().to_owned() };
    assert_eq!(house.get(&jane, "/api/v1/items").await.status, StatusCode::OK);
    let end = async |number: &str| {
        let path = format!("/api/v1/users/{number}");
        house.ask(Method::DELETE, &path, Some(&operator.token), &[], None).await
    };
    assert_eq!(end("9001").await.problem(), "own-account");
    assert_eq!(end("1234").await.status, StatusCode::NO_CONTENT);
    assert_eq!(end("1234").await.status, StatusCode::NO_CONTENT, "gone already");
    assert_eq!(end("nobody").await.problem(), "malformed");
    assert_eq!(house.get(&jane, "/api/v1/items").await.status, StatusCode::UNAUTHORIZED);
    let users = house.get(&operator, "/api/v1/users").await.json();
    assert!(users["users"][1]["removed_at"].is_string(), "{users}");
    assert!(!users.to_string().contains("sign-in"));

    let dock = || json!({"name": "Dock at Harlow"});
    let once = house.post_again(&operator, "/api/v1/devices", dock(), "dock").await;
    let twice = house.post_again(&operator, "/api/v1/devices", dock(), "dock").await;
    assert_eq!((once.status, once.json()), (StatusCode::CREATED, twice.json()), "one device");
    let device = once.json()["device"].as_str().unwrap().to_owned();
    let tokens = format!("/api/v1/devices/{device}/tokens");
    let rotated = house.post(&operator, &tokens, Value::Null).await;
    assert_ne!(rotated.json()["token"], once.json()["token"]);
    let path = format!("/api/v1/devices/{device}");
    let revoked = house.ask(Method::DELETE, &path, Some(&operator.token), &[], None).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    assert_eq!(house.post(&operator, &tokens, Value::Null).await.status, StatusCode::NOT_FOUND);
    let by: Vec<_> = house.entries(EventKind::DeviceEnrolled).await;
    assert_eq!((by.len(), by[0].opened(field::BY)), (1, Some("user:9001")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_attempts_is_counted_and_the_count_recorded() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let attempts = MAX_REFUSALS_RECORDED_PER_MINUTE + 15;
    for _ in 0..attempts {
        let path = format!("/api/v1/items/{}", Uuid::now_v7());
        assert_eq!(house.get(&who, &path).await.status, StatusCode::NOT_FOUND);
    }
    let own = house.count(EventKind::AccessRefused).await as u64;
    assert_eq!(own, MAX_REFUSALS_RECORDED_PER_MINUTE);
    house.service.access().flush_refusals().await;
    let entries = house.entries(EventKind::AccessRefused).await;
    let counts = entries.iter().map(|e| e.opened(field::COUNT).unwrap().parse::<u64>().unwrap());
    assert_eq!((entries.len() as u64, counts.sum::<u64>()), (own + 1, attempts));
}

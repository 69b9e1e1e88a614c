//! Markup, formulas, text that turns around, far too much of it, and everything twice.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chain_of_custody::event::EventKind;
use portal::access::Role;
use portal::api::MAX_BODY_BYTES;
use serde_json::{Value, json};

use crate::world::{House, Reply, footage};

/// What somebody types who wishes us ill, and it is text.
const TEXTS: [&str; 4] = [
    "<script>alert(1)</script>\"'&",
    "=cmd|' /C calc'!A0",
    "'; DROP TABLE cases; --",
    "${7*7} %s {{x}}",
];
/// What is refused: nobody sees it.
const INVISIBLE: [&str; 5] = ["a\u{202e}b", "a\nb", "a\0b", "\u{200b}", "   "];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_is_text_and_comes_back_as_it_was() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    for text in TEXTS {
        let body = json!({"reference": text, "title": text});
        let made = house.post(&who, "/api/v1/cases", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{text} {made:?}");
        assert_eq!(made.json()["title"], text);
        let item = house.receive(text, &footage(10)).await;
        let path = format!("/api/v1/cases/{}/items", made.json()["case"].as_str().unwrap());
        let body = json!({"item": item.to_string(), "exhibit_reference": text});
        assert_eq!(house.post(&who, &path, body).await.status, StatusCode::NO_CONTENT);
        let path = path.strip_suffix("/items").unwrap();
        let case = house.get(&who, path).await.json();
        assert_eq!(case["items"][0]["exhibit_reference"], text);
        assert_eq!(case["items"][0]["name"], text);
        let query = portal_query(text);
        let found = house.get(&who, &format!("/api/v1/items?text={query}")).await;
        assert_eq!(found.json()["items"].as_array().unwrap().len(), 1, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_sees_and_what_is_too_long_is_refused_by_field() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let case = house.case(&who, "01AB/1").await;
    let item = house.receive("a.mp4", &footage(10)).await.to_string();
    let long = "x".repeat(10_000);
    let before = house.ledger.records().size().await.unwrap();
    for text in INVISIBLE.into_iter().chain([long.as_str()]) {
        let cases = [
            ("/api/v1/cases".to_owned(), json!({"reference": text, "title": "t"}), "reference"),
            ("/api/v1/cases".to_owned(), json!({"reference": "r", "title": text}), "title"),
            (
                format!("/api/v1/cases/{case}/items"),
                json!({"item": item, "exhibit_reference": text}),
                "exhibit_reference",
            ),
            (format!("/api/v1/cases/{case}/members"), json!({"number": text}), "number"),
        ];
        for (path, body, field) in cases {
            if text.trim().is_empty() && field == "exhibit_reference" {
                continue; // The same as none.
            }
            let reply = house.post(&who, &path, body).await;
            assert_eq!(reply.problem(), "malformed", "{path} {text:?}");
            assert_eq!(reply.json()["field"], field);
            assert!(reply.body.len() < 1_000, "nothing is repeated");
        }
        if !text.trim().is_empty() {
            let reply =
                house.get(&who, &format!("/api/v1/items?text={}", portal_query(text))).await;
            assert_eq!(reply.json()["field"], "text", "{text:?}");
        }
        let added = house.service.access().add_user(text, "9", Role::Investigator, "-").await;
        assert!(added.is_err(), "{text:?}");
        let added = house.service.access().add_user("n", text, Role::Investigator, "-").await;
        assert!(added.is_err(), "{text:?}");
    }
    assert_eq!(house.ledger.records().size().await.unwrap(), before, "none of it is an entry");
}

/// Every text that the document lets a request send, and every parameter: too much of it is said to be too much, by its
/// name, and how much may be.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_characters_are_too_many_in_every_field_of_every_call() {
    let house = House::new().await;
    let (who, operator) = (house.investigator("1").await, house.person("2", Role::Operator).await);
    let item = house.receive("a.mp4", &footage(10)).await.to_string();
    let case = house.case(&who, "01AB/1").await;
    let restriction = format!("/api/v1/items/{item}/restriction");
    house.post(&who, &restriction, json!({"reason": "r"})).await;
    let body = |path: &str| match path {
        "/api/v1/cases" => json!({"reference": "r", "title": "t"}),
        "/api/v1/bundles" => {
            json!({"items": [{"item": item}], "purpose": "internal", "recipient": "me",
            "authorised": {"by": "b", "reason": "r"}})
        }
        "/api/v1/users" => json!({"name": "n", "number": "9", "role": "operator"}),
        _ => json!({"item": item, "number": "1", "reason": "r", "name": "n"}),
    };
    let document = serde_json::to_value(portal::api::document()).unwrap();
    let schema = |of: &Value| {
        let name = of["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        document["components"]["schemas"][name].clone()
    };
    let long = "x".repeat(10_000);
    let mut tried = 0;
    for (path, item_of_path) in document["paths"].as_object().unwrap() {
        for (method, operation) in item_of_path.as_object().unwrap() {
            let who = if operation["tags"][0] == "operators" { &operator } else { &who };
            let filled =
                path.replace("{item}", &item).replace("{case}", &case).replace("{number}", "1");
            let method: Method = method.to_uppercase().parse().unwrap();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let (name, most) = (&parameter["name"], &parameter["schema"]["maxLength"]);
                if parameter["in"] == "query" && most.is_number() {
                    let path = format!("{filled}?{}={long}", name.as_str().unwrap());
                    let reply = house.ask(method.clone(), &path, Some(&who.token), &[], None).await;
                    assert_too_many(&reply, name, most, &path);
                    tried += 1;
                }
            }
            let content = &operation["requestBody"]["content"]["application/json"]["schema"];
            if !content.is_object() {
                continue;
            }
            for (name, property) in schema(content)["properties"].as_object().unwrap() {
                let mut asked = body(path);
                let known = schema(content)["properties"].as_object().unwrap().clone();
                asked.as_object_mut().unwrap().retain(|name, _| known.contains_key(name));
                let most = &property["maxLength"];
                if most.is_number() {
                    asked[name] = long.as_str().into();
                    let reply = house.post(who, &filled, asked).await;
                    assert_too_many(&reply, &name.as_str().into(), most, path);
                    tried += 1;
                }
            }
        }
    }
    for (path, field) in [("/authorised/by", "authorised"), ("/authorised/reason", "authorised")] {
        let mut asked = body("/api/v1/bundles");
        *asked.pointer_mut(path).unwrap() = long.as_str().into();
        let reply = house.post(&who, "/api/v1/bundles", asked).await;
        assert!(
            reply.json()["detail"].as_str().unwrap().contains("500 characters"),
            "{field} {reply:?}"
        );
        tried += 1;
    }
    for field in ["reference", "description"] {
        let mut asked = body("/api/v1/bundles");
        asked["items"][0][field] = long.as_str().into();
        let reply = house.post(&who, "/api/v1/bundles", asked).await;
        assert!(
            reply.json()["detail"].as_str().unwrap().contains("500 characters"),
            "{field} {reply:?}"
        );
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
}

fn assert_too_many(reply: &Reply, field: &Value, most: &Value, path: &str) {
    assert_eq!(reply.problem(), "malformed", "{path} {field}");
    let told = reply.json();
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("{most} characters")), "{path} {field}: {detail}");
    assert_eq!(&told["field"], field, "{path}");
    assert!(reply.body.len() < 1_000, "nothing is repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_double_submit_is_one_act_and_another_request_is_no_repeat() {
    let house = House::new().await;
    let (who, other) = (house.investigator("1").await, house.investigator("2").await);
    let body = |reference: &str| json!({"reference": reference, "title": "t"});
    let both = futures_util::future::join(
        house.post_again(&who, "/api/v1/cases", body("R1"), "key"),
        house.post_again(&who, "/api/v1/cases", body("R1"), "key"),
    );
    let (one, two) = both.await;
    assert_eq!((one.status, one.json()), (StatusCode::CREATED, two.json()));
    assert_eq!(house.count(EventKind::CaseOpened).await, 1);
    let reused = house.post_again(&who, "/api/v1/cases", body("R2"), "key").await;
    assert_eq!((reused.status, reused.problem().as_str()), (StatusCode::CONFLICT, "key-reused"));
    let others = house.post_again(&other, "/api/v1/cases", body("R1"), "key").await;
    assert_ne!(others.json()["case"], one.json()["case"], "another's key is another key");
    let taken = house.post(&who, "/api/v1/cases", body("R1")).await;
    assert_eq!(taken.problem(), "reference-taken");
    let item = house.receive("a.mp4", &footage(10)).await.to_string();
    let path = format!("/api/v1/cases/{}/items", one.json()["case"].as_str().unwrap());
    for _ in 0..2 {
        let linked = house.post_again(&who, &path, json!({"item": item}), "link").await;
        assert_eq!(linked.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(house.count(EventKind::ItemLinked).await, 1);
    for key in ["", "a b", "é", &"k".repeat(129)] {
        let headers = [("idempotency-key", key)];
        let asked = Some(body("R3"));
        let reply =
            house.ask(Method::POST, "/api/v1/cases", Some(&who.token), &headers, asked).await;
        assert_eq!(reply.json()["field"], "idempotency-key", "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_none_are_refused_as_problems() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let post = |kind: &'static str, body: Vec<u8>| {
        Request::post("/api/v1/cases")
            .header("authorization", format!("Bearer {}", who.token))
            .header("idempotency-key", "k")
            .header("content-type", kind)
            .body(Body::from(body))
            .unwrap()
    };
    let deep = "[".repeat(100_000).into_bytes();
    for (request, status) in [
        (post("text/plain", b"{}".to_vec()), 415),
        (post("application/json", b"{".to_vec()), 400),
        (post("application/json", b"\xff\xfe".to_vec()), 400),
        (post("application/json", deep), 400),
        (post("application/json", b"{\"reference\":1,\"title\":\"t\"}".to_vec()), 400),
        (post("application/json; charset=utf-8", vec![b' '; MAX_BODY_BYTES + 1]), 413),
    ] {
        let reply = house.send(request).await;
        assert_eq!(reply.status.as_u16(), status, "{reply:?}");
        reply.problem();
    }
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "after=-1",
        "device=x",
        "from=now",
        "else=1",
        "text=a&text=b",
    ] {
        let reply = house.get(&who, &format!("/api/v1/items?{query}")).await;
        assert_eq!(
            (reply.status.as_u16(), reply.problem().as_str()),
            (400, "malformed"),
            "{query}"
        );
    }
    assert_eq!(house.get(&who, "/api/v1/else").await.problem(), "not-found");
    let method = house.ask(Method::PUT, "/api/v1/cases", Some(&who.token), &[], None).await;
    assert_eq!((method.status.as_u16(), method.problem().as_str()), (405, "method"));
    let bare = house.ask(Method::GET, "/api/v1/items", None, &[], None).await;
    assert_eq!(
        (bare.problem().as_str(), bare.header("www-authenticate")),
        ("not-signed-in", "Bearer")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_list_leave_nothing_out_and_repeat_nothing() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let mut items = Vec::new();
    for n in 0..7 {
        items.push(house.receive(&format!("clip {n}.mp4"), &footage(10)).await.to_string());
    }
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let next = if after.is_null() { String::new() } else { format!("&after={after}") };
        let page = house.get(&who, &format!("/api/v1/items?limit=3{next}")).await.json();
        let ids = page["items"].as_array().unwrap().iter();
        seen.extend(ids.map(|item| item["item"].as_str().unwrap().to_owned()));
        after = page["next_after"].clone();
        if after.is_null() {
            break;
        }
    }
    items.reverse();
    assert_eq!(seen, items);
    for beyond in ["9223372036854775807", "9223372036854775808", "18446744073709551615"] {
        let page = house.get(&who, &format!("/api/v1/items?after={beyond}")).await.json();
        assert_eq!(page["items"].as_array().unwrap().len(), 7, "behind the newest");
        let events = format!("/api/v1/items/{}/events?after={beyond}", items[0]);
        let page = house.get(&who, &events).await.json();
        assert!(page["events"].as_array().unwrap().is_empty());
    }
}

/// Percent-encoded.
fn portal_query(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

//! Pages: what every answer tells a browser, forms, and that what is not yours is not there on any of their routes.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chain_of_custody::event::EventKind;
use chain_of_custody::ids::{CaseId, ItemId};
use portal::access::{LINK_LIFE, Role};
use portal::door;
use serde_json::json;
use uuid::Uuid;

use crate::world::{House, Reply, Signed, footage};

/// A page as a browser asks for it: with its cookie.
async fn open(house: &House, who: Option<&Signed>, path: &str) -> Reply {
    let mut request = Request::get(path);
    if let Some(who) = who {
        request = request.header("cookie", format!("{}={}", door::COOKIE, who.token));
    }
    house.send(request.body(Body::empty()).unwrap()).await
}

async fn ranged(house: &House, who: &Signed, path: &str, range: &str) -> Reply {
    let request = Request::get(path)
        .header("cookie", format!("{}={}", door::COOKIE, who.token))
        .header("range", range);
    house.send(request.body(Body::empty()).unwrap()).await
}

async fn submit(house: &House, who: &Signed, path: &str, form: &str) -> Reply {
    let request = Request::post(path)
        .header("cookie", format!("{}={}", door::COOKIE, who.token))
        .header("content-type", "application/x-www-form-urlencoded");
    house.send(request.body(Body::from(form.to_owned())).unwrap()).await
}

/// The value of a hidden field.
fn hidden(page: &Reply, name: &str) -> String {
    let html = String::from_utf8_lossy(&page.body).into_owned();
    let begin = format!("name=\"{name}\" value=\"");
    let from = html.rfind(&begin).unwrap_or_else(|| panic!("no {name} in {html}")) + begin.len();
    html[from..].split('"').next().unwrap().to_owned()
}

/// Every address that names an item or a case.
fn routes_of(item: ItemId, case: &str) -> Vec<(Method, String)> {
    let item_routes = [
        format!("/items/{item}"),
        format!("/items/{item}/receipt"),
        format!("/media/{item}/proxy"),
        format!("/media/{item}/proxy-small.mp4"),
        format!("/media/{item}/proxy.m3u8"),
        format!("/media/{item}/proxy-small.m3u8"),
        format!("/media/{item}/playlists.m3u8"),
        format!("/media/{item}/location"),
        format!("/media/{item}/poster"),
        format!("/media/{item}/original"),
        format!("/cases/{case}"),
        format!("/cases/{case}/bundles"),
    ];
    let forms = [
        format!("/items/{item}/cases"),
        format!("/cases/{case}/items/remove"),
        format!("/cases/{case}/members"),
        format!("/cases/{case}/members/remove"),
        format!("/items/{item}/small-copy"),
        format!("/items/{item}/restrict"),
        format!("/items/{item}/free"),
        format!("/items/{item}/viewers"),
        format!("/items/{item}/viewers/remove"),
        format!("/cases/{case}/bundles"),
    ];
    let get = item_routes.into_iter().map(|path| (Method::GET, path));
    get.chain(forms.into_iter().map(|path| (Method::POST, path))).collect()
}

/// A viewing copy in small: its head, an index of one piece, that piece.
fn indexed() -> Vec<u8> {
    let numbers = |all: &[u32]| all.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>();
    let boxed = |kind: &[u8; 4], body: &[u8]| {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    };
    let sidx = numbers(&[0x0100_0000, 1, 1000, 0, 0, 0, 0, 1, 100, 2000, 0x9000_0000]);
    [boxed(b"ftyp", b"isom"), boxed(b"moov", &[7; 20]), boxed(b"sidx", &sidx), vec![9; 100]]
        .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let item = house.receive("a.mp4", &footage(3_000)).await;
    let item = format!("/items/{item}");
    for path in ["/", &item, "/cases", "/nothing", "/items/x", "/sign-in/x"] {
        for visitor in [Some(&who), None] {
            let reply = open(&house, visitor, path).await;
            let policy = reply.header("content-security-policy");
            assert!(
                policy.contains("default-src 'none'") && !policy.contains("script"),
                "{path}: {policy}"
            );
            assert_eq!(reply.header("cache-control"), "no-store", "{path}");
            assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
            let html = String::from_utf8(reply.body.to_vec()).unwrap();
            for absent in ["<script", "style=", " on", "http://", "https://"] {
                let tags = html.split('<').filter(|tag| !tag.starts_with('/'));
                let attributes = tags.filter_map(|tag| tag.split('>').next());
                assert!(
                    !attributes.clone().any(|tag| format!("<{tag}").contains(absent)),
                    "{path}: {absent}"
                );
            }
        }
    }
    assert_eq!(open(&house, None, "/").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_yours_is_not_there_on_any_page() {
    let house = House::new().await;
    let (owner, other) = (house.investigator("1").await, house.investigator("2").await);
    let operator = house.person("3", Role::Operator).await;
    let item = house.receive("secret.mp4", &footage(3_000)).await;
    for kind in ["proxy", "proxy-small"] {
        house.derive(item, kind, &indexed()).await;
    }
    house.derive(item, "poster", &footage(1_000)).await;
    house.derive(item, "location", br#"{"v":1,"features":[]}"#).await;
    let case = house.case(&owner, "01AB1").await;
    house.link_item(&owner, &case, item).await;
    let nothing = ItemId::from_uuid(Uuid::now_v7());
    let nowhere = Uuid::now_v7().to_string();
    for who in [&other, &operator] {
        let token = if std::ptr::eq(who, &other) {
            hidden(&open(&house, Some(who), "/cases").await, "form_token")
        } else {
            hidden(&open(&house, Some(who), "/").await, "form_token")
        };
        let form = format!(
            "form_token={token}&key=k&item={item}&case={case}&number=2&reason=r&purpose=cps&recipient=x"
        );
        for ((method, there), (_, absent)) in
            routes_of(item, &case).into_iter().zip(routes_of(nothing, &nowhere))
        {
            let mut replies = Vec::new();
            for path in [there.as_str(), absent.as_str()] {
                replies.push(match method {
                    Method::GET => open(&house, Some(who), path).await,
                    _ => submit(&house, who, path, &form).await,
                });
            }
            // Making things is refused to an operator by role, whatever the address names.
            let by_role =
                std::ptr::eq(who, &operator) && replies[0].status == StatusCode::FORBIDDEN;
            assert!(by_role || replies[0].status == StatusCode::NOT_FOUND, "{method} {there}");
            assert_eq!(replies[0].status, replies[1].status, "{method} {there}");
            assert_eq!(replies[0].body, replies[1].body, "{method} {there}");
        }
    }
    assert_eq!(house.count(EventKind::ItemViewed).await, 0);
    assert!(house.count(EventKind::AccessRefused).await >= 10, "attempts are events");
    let seen = open(&house, Some(&owner), &format!("/items/{item}")).await;
    assert!(String::from_utf8_lossy(&seen.body).contains("secret.mp4"));
    // To whoever may see it, all of it is there.
    for (method, path) in routes_of(item, &case) {
        if method == Method::GET {
            assert_eq!(open(&house, Some(&owner), &path).await.status, StatusCode::OK, "{path}");
        }
    }
}

/// One file to whoever plays it, however it is asked for, and still the two that were recorded.
#[tokio::test(flavor = "multi_thread")]
async fn an_original_is_played_behind_its_front() {
    let house = House::new().await;
    let person = house.investigator("1").await;
    // Each is longer than the pieces in which it is read.
    let (original, front) = (footage(300_000), footage(150_001));
    let item = house.receive("clip.mkv", &original).await;
    let recipe = r#"{"notes":["streams of sound left out: 1"]}"#;
    house.derive_with(item, "front", &front, recipe, "").await;
    let media = r#"{"browser":{"plays":false,"plays_behind_front":true},"container":"matroska"}"#;
    house.derive_with(item, "probe", &footage(200), "{}", media).await;
    let whole = [&front[..], &original].concat();
    let address = format!("/media/{item}/proxy");
    let seen = open(&house, Some(&person), &address).await;
    assert_eq!(seen.status, StatusCode::OK);
    assert!(seen.body == whole, "one behind the other");
    assert_eq!(house.count(EventKind::ItemViewed).await, 1, "as a viewing copy");
    let seam = front.len();
    let ends = [(0, 1), (seam - 1, seam), (seam - 1, seam + 1), (seam, seam + 1)];
    let far = [
        (0, seam),
        (seam, whole.len()),
        (seam - 70_000, seam + 70_000),
        (whole.len() - 1, whole.len()),
    ];
    for (from, to) in ends.into_iter().chain(far) {
        let range = format!("bytes={from}-{}", to - 1);
        let reply = ranged(&house, &person, &address, &range).await;
        assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(reply.body, whole[from..to], "{range}");
    }
    let beyond = ranged(&house, &person, &address, &format!("bytes={}-", whole.len())).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let page = open(&house, Some(&person), &format!("/items/{item}")).await;
    let page = String::from_utf8_lossy(&page.body);
    for expected in [
        "its own pictures, unaltered",
        "<li>Streams of sound left out: 1.</li>",
        "aria-label=\"Original\"",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
    // By its recipe it is what its entry has.
    let told = house.get(&person, &format!("/api/v1/items/{item}")).await.json();
    let all = told["derivatives"].as_array().unwrap();
    let made = all.iter().find(|made| made["kind"] == "front").unwrap();
    let alone = format!("/media/{item}/derivatives/{}", made["recipe_id"].as_str().unwrap());
    assert_eq!(open(&house, Some(&person), &alone).await.body, front);
}

/// Whoever watches a viewing copy reads what was done to it, and what the original lacks.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_to_a_viewing_copy_and_what_is_missing_is_said() {
    let house = House::new().await;
    let person = house.investigator("1").await;
    let item = house.receive("cut.ts", &footage(3_000)).await;
    let recipe = r#"{"notes":["12 pictures are interlaced and were made whole","<b>bold</b>"]}"#;
    house.derive_with(item, "proxy", &footage(2_000), recipe, "").await;
    let media = r#"{"coverage":{"reasons":["1.0 s of the declared 2.0 s have no packets"]}}"#;
    house.derive_with(item, "probe", &footage(200), "{}", media).await;
    let seen = open(&house, Some(&person), &format!("/items/{item}")).await;
    let page = String::from_utf8_lossy(&seen.body);
    for expected in [
        "<li>12 pictures are interlaced and were made whole.</li>",
        "&#60;b&#62;bold",
        "Part of the recording is missing: 1.0 s of the declared 2.0 s have no packets.",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
    let told = house.get(&person, &format!("/api/v1/items/{item}")).await.json();
    let notes = |d: &serde_json::Value| d["recipe"]["notes"].as_array().map(Vec::len);
    let derivatives = told["derivatives"].as_array().unwrap();
    assert!(derivatives.iter().any(|d| notes(d) == Some(2)), "{told}");
    let known = told["known"].as_array().unwrap();
    assert!(known.iter().any(|known| known["about"] == "footage"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_an_item_is_said_and_why_its_case_is_held_is_not() {
    let house = House::new().await;
    let owner = house.investigator("1").await;
    let item = house.receive("held.mp4", &footage(3_000)).await;
    let case = house.case(&owner, "01AB1").await;
    house.link_item(&owner, &case, item).await;
    let case: CaseId = case.parse().unwrap();
    let console = house.service.console("os-user:root");
    console.set_hold(&item.into(), "complaint 77").await.unwrap();
    console.set_hold(&case.into(), "an inquiry that nobody knows of").await.unwrap();
    console.review(item, "2031-05-03", "MoPI group 2").await.unwrap();
    let seen = open(&house, Some(&owner), &format!("/items/{item}")).await;
    let page = String::from_utf8_lossy(&seen.body);
    for expected in
        ["Hold", ": complaint 77.", "with a case that it is linked to", "kept until 3 May 2031"]
    {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
    assert!(!page.contains("inquiry") && !page.contains(">Also<"), "{page}");
    console.release_hold(&item.into(), "it was dismissed").await.unwrap();
    let seen = open(&house, Some(&owner), &format!("/items/{item}")).await;
    let page = String::from_utf8_lossy(&seen.body);
    assert!(!page.contains(": complaint 77."), "it is held no more: {page}");
    assert!(page.contains("it was dismissed"), "its events stay: {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_count_once_and_only_from_their_own_session() {
    let house = House::new().await;
    let (who, other) = (house.investigator("1").await, house.investigator("2").await);
    let page = open(&house, Some(&who), "/cases").await;
    let (token, key) = (hidden(&page, "form_token"), hidden(&page, "key"));
    let body =
        format!("form_token={token}&key={key}&reference=01AB1&title=A+%3Cb%3Ecase%3C%2Fb%3E");
    let forged = submit(&house, &other, "/cases", &body).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN, "another session's form");
    assert_eq!(house.count(EventKind::CaseOpened).await, 0);
    let (once, twice) =
        (submit(&house, &who, "/cases", &body).await, submit(&house, &who, "/cases", &body).await);
    assert_eq!(
        (once.status, once.header("location")),
        (StatusCode::SEE_OTHER, twice.header("location"))
    );
    assert_eq!(house.count(EventKind::CaseOpened).await, 1, "sent twice, opened once");
    let shown = open(&house, Some(&who), once.header("location")).await;
    let html = String::from_utf8_lossy(&shown.body).into_owned();
    assert!(!html.contains("<b>case") && html.contains("&#60;b&#62;case"), "{html}");
    let unreadable = submit(&house, &who, "/cases", "%FF=%FE&a").await;
    assert!(
        unreadable.status.is_client_error()
            && unreadable.header("content-type").starts_with("text/html")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_wrong_is_said_in_words() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let item = house.receive("secret.mp4", &footage(3_000)).await;
    let (_, link) = house.link("Jane <b>Smith</b>", "4", Role::Investigator).await;
    let page = open(&house, None, &link.path()).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!String::from_utf8_lossy(&page.body).contains("<b>Smith"));
    let pressed = |path: String| {
        let request = Request::post(path).body(Body::empty()).unwrap();
        house.send(request)
    };
    let signed_in = pressed(link.path()).await;
    let cookie = signed_in.header("set-cookie");
    assert_eq!(signed_in.status, StatusCode::SEE_OTHER);
    assert!(
        cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Strict")
            && cookie.contains("Secure")
    );
    assert_eq!(pressed(link.path()).await.status, StatusCode::GONE, "used");
    let (_, late) = house.link("Late", "5", Role::Investigator).await;
    assert_eq!(
        open(&house, None, &format!("/sign-in/{}", "0".repeat(64))).await.status,
        StatusCode::NOT_FOUND
    );
    house.stop_writing().await;
    let closed = open(&house, Some(&who), &format!("/items/{item}")).await;
    let words = String::from_utf8_lossy(&closed.body).into_owned();
    assert_eq!(closed.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(words.contains("What to do next") && !words.contains("secret.mp4"), "{words}");
    house.go_on_writing().await;
    house.clock.forward(LINK_LIFE.as_secs() as i64);
    let expired = open(&house, None, &late.path()).await;
    assert_eq!(expired.status, StatusCode::GONE);
    assert!(String::from_utf8_lossy(&expired.body).contains("has expired"));
}

/// A link and a token are shown once, to whoever made them; a form that is sent twice makes one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_once_is_shown_once() {
    let house = House::new().await;
    let (operator, other) =
        (house.person("1", Role::Operator).await, house.person("2", Role::Operator).await);
    let investigator = house.investigator("3").await;
    for (path, fields, secret) in [
        ("/people", "name=Jane&number=1234&role=investigator", "/sign-in/"),
        ("/devices", "name=Dock", "token-"),
    ] {
        let page = open(&house, Some(&operator), path).await;
        let (token, key) = (hidden(&page, "form_token"), hidden(&page, "key"));
        let form = format!("form_token={token}&key={key}&{fields}");
        let forged = submit(&house, &other, path, &form).await;
        assert_eq!(forged.status, StatusCode::FORBIDDEN, "{path}");
        let before = house.ledger.records().size().await.unwrap();
        let once = submit(&house, &operator, path, &form).await;
        let after = house.ledger.records().size().await.unwrap();
        let twice = submit(&house, &operator, path, &form).await;
        assert!(after > before && house.ledger.records().size().await.unwrap() == after);
        let (to, again) = (once.header("location"), twice.header("location"));
        assert!(to == again && !to.contains(secret), "{to}, {again}: nothing secret in it");
        let words = async |who: &Signed| {
            String::from_utf8(open(&house, Some(who), to).await.body.to_vec()).unwrap()
        };
        let has = |html: &str| html.split("x-digest").any(|part| part.contains(secret));
        assert!(!has(&words(&other).await), "{path}: another operator");
        assert!(has(&words(&operator).await), "{path}");
        assert!(!has(&words(&operator).await), "{path}: a second look");
        let late = submit(&house, &operator, path, &form).await;
        let late = String::from_utf8(late.body.to_vec()).unwrap();
        assert!(late.contains("shown once"), "{late}");
        assert_eq!(open(&house, Some(&investigator), path).await.status, StatusCode::FORBIDDEN);
    }
}

/// Whatever field of whatever form: too much of it is said to be too much, by its name, and how much may be.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_characters_are_too_many_in_every_field_of_every_form() {
    let house = House::new().await;
    let (who, operator) = (house.investigator("1").await, house.person("2", Role::Operator).await);
    house.investigator("3").await;
    let item = house.receive("a.mp4", &footage(100)).await;
    let free = house.receive("b.mp4", &footage(200)).await;
    let case = house.case(&who, "01AB1").await;
    house.link_item(&who, &case, item).await;
    let case_path = format!("/cases/{case}");
    let restrict = json!({"reason": "r"});
    house.post(&who, &format!("/api/v1/items/{item}/restriction"), restrict).await;
    let (long, item_path, free_path) =
        ("x".repeat(10_000), format!("/items/{item}"), format!("/items/{free}"));
    let tokens = [
        (&who, hidden(&open(&house, Some(&who), "/cases").await, "form_token")),
        (&operator, hidden(&open(&house, Some(&operator), "/people").await, "form_token")),
    ];
    let purpose = format!("purpose=internal&recipient=me&item={item}");
    for (at, path, rest, fields, most) in [
        (0, "/cases".to_owned(), "", &["reference"][..], 64),
        (0, "/cases".to_owned(), "reference=r", &["title"], 200),
        (0, format!("{free_path}/cases"), &*format!("case={case}"), &["exhibit_reference"], 64),
        (0, format!("{free_path}/restrict"), "", &["reason"], 500),
        (0, format!("{item_path}/viewers"), "reason=r", &["number"], 32),
        (0, format!("{item_path}/viewers"), "number=3", &["reason"], 500),
        (0, format!("{item_path}/viewers/remove"), "reason=r", &["number"], 32),
        (0, format!("{item_path}/viewers/remove"), "number=1", &["reason"], 500),
        (0, format!("{item_path}/free"), "", &["reason"], 500),
        (0, format!("{case_path}/members"), "", &["number"], 32),
        (0, format!("{case_path}/members/remove"), "reason=r", &["number"], 32),
        (0, format!("{case_path}/members/remove"), "number=1", &["reason"], 500),
        (0, format!("{case_path}/items/remove"), &*format!("item={item}"), &["reason"], 500),
        (
            0,
            format!("{case_path}/bundles"),
            &*purpose,
            &["recipient", "authorised_by", "reason"],
            500,
        ),
        (1, "/people".to_owned(), "number=9&role=operator", &["name"], 200),
        (1, "/people".to_owned(), "name=n&role=operator", &["number"], 32),
        (1, "/people/link".to_owned(), "", &["number"], 32),
        (1, "/people/end".to_owned(), "", &["number"], 32),
        (1, "/devices".to_owned(), "", &["name"], 200),
    ] {
        for field in fields {
            let before = house.ledger.records().size().await.unwrap();
            let (who, token) = &tokens[at];
            let rest: Vec<_> =
                rest.split('&').filter(|pair| !pair.starts_with(&format!("{field}="))).collect();
            let form = format!("form_token={token}&key=k&{}&{field}={long}", rest.join("&"));
            let reply = submit(&house, who, &path, &form).await;
            let html = String::from_utf8_lossy(&reply.body).into_owned();
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{path} {field}");
            let said = format!("{most} characters");
            assert!(html.contains(&said), "{path} {field} does not say '{said}': {html}");
            assert!(html.contains("There is a problem"), "{path} {field}");
            let entries = house.entries_behind(before.0).await;
            assert!(entries.iter().all(|kind| kind.ends_with(".viewed")), "{path}: {entries:?}");
        }
    }
    let searched = open(&house, Some(&who), &format!("/?text={long}")).await;
    assert_eq!(searched.status, StatusCode::BAD_REQUEST);
    assert!(String::from_utf8_lossy(&searched.body).contains("200 characters"));
}

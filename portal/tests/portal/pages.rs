//! Pages: what every answer tells a browser, forms, and that what is not yours is not there on any of their routes.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chain_of_custody::event::EventKind;
use chain_of_custody::ids::ItemId;
use portal::access::{LINK_LIFE, Role};
use portal::door;
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
        format!("/media/{item}/poster"),
        format!("/media/{item}/original"),
        format!("/cases/{case}"),
        format!("/cases/{case}/bundles"),
    ];
    let forms = [
        format!("/items/{item}/cases"),
        format!("/cases/{case}/items/remove"),
        format!("/cases/{case}/members"),
        format!("/cases/{case}/bundles"),
    ];
    let get = item_routes.into_iter().map(|path| (Method::GET, path));
    get.chain(forms.into_iter().map(|path| (Method::POST, path))).collect()
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
    house.derive(item, "proxy", &footage(2_000)).await;
    house.derive(item, "poster", &footage(1_000)).await;
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
            "form_token={token}&key=k&item={item}&case={case}&number=2&purpose=cps&recipient=x"
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

//! One-time links and sessions.

use axum::http::{Method, StatusCode};
use chain_of_custody::event::{EventKind, access, field};
use portal::access::{LINK_LIFE, Role, SESSION_IDLE, SESSION_LIFE, SignInError};
use portal::door;
use serde_json::json;

use crate::world::House;

const SESSION: &str = "/api/v1/session";

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_once_and_says_what_is_wrong_with_it() {
    let house = House::new().await;
    let (person, link) = house.link("Jane Smith", "1234", Role::Investigator).await;
    assert_eq!(link.path(), format!("/sign-in/{}", link.reveal()));
    assert!(!format!("{link:?}").contains(link.reveal()), "tokens are in no log");
    let access = house.service.access();
    for _ in 0..3 {
        let shown = access.look_at_link(link.reveal(), "-").await.unwrap();
        assert_eq!(shown, person, "a preview burns nothing");
    }
    let body = Some(json!({"link": link.reveal()}));
    let first = house.ask(Method::POST, SESSION, None, &[], body).await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    assert_eq!(
        (&first.json()["number"], &first.json()["role"]),
        (&json!("1234"), &json!("investigator"))
    );
    let token = first.json()["token"].as_str().unwrap().to_owned();
    let reply = house.ask(Method::GET, SESSION, Some(&token), &[], None).await;
    assert_eq!((reply.status, &reply.json()["name"]), (StatusCode::OK, &json!("Jane Smith")));
    let elsewhere = House::new().await;
    let reply = elsewhere.ask(Method::GET, SESSION, Some(&token), &[], None).await;
    assert_eq!(reply.problem(), "not-signed-in", "a session of another house");
}

#[tokio::test(flavor = "multi_thread")]
async fn used_expired_replaced_and_unknown_links_open_nothing() {
    let house = House::new().await;
    let (_, link) = house.link("Jane Smith", "1234", Role::Investigator).await;
    let access = house.service.access();
    access.redeem(link.reveal(), "-").await.unwrap();
    let again = access.redeem(link.reveal(), "-").await.unwrap_err();
    assert!(matches!(again, SignInError::Used), "{again}");
    let (_, second) = access.link_for("1234", "os-user:root").await.unwrap();
    let (_, third) = access.link_for("1234", "os-user:root").await.unwrap();
    let replaced = access.redeem(second.reveal(), "-").await.unwrap_err();
    assert!(matches!(replaced, SignInError::Unknown), "{replaced}");
    house.clock.forward(LINK_LIFE.as_secs() as i64);
    for wrong in [third.reveal(), "", "0", &"0".repeat(64), &"é".repeat(32), &"A".repeat(64)] {
        let body = Some(json!({"link": wrong}));
        let reply = house.ask(Method::POST, SESSION, None, &[], body).await;
        let expected = if wrong == third.reveal() { "link-expired" } else { "link-unknown" };
        assert_eq!((reply.status, reply.problem().as_str()), (StatusCode::FORBIDDEN, expected));
        assert!(wrong.len() < 2 || !String::from_utf8_lossy(&reply.body).contains(wrong));
    }
    let changes = house.entries(EventKind::AccessChanged).await;
    let codes: Vec<_> = changes.iter().filter_map(|e| e.opened(field::REASON_CODE)).collect();
    let (given, signed) = (access::LINK_GIVEN, access::SIGNED_IN);
    assert_eq!(codes, [access::USER_ADDED, given, signed, given, given], "each is an event");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_with_one_link_are_one_session() {
    let house = House::new().await;
    let (_, link) = house.link("Jane Smith", "1234", Role::Investigator).await;
    let access = house.service.access();
    let both = futures_util::future::join(
        access.redeem(link.reveal(), "-"),
        access.redeem(link.reveal(), "-"),
    );
    let (one, other) = both.await;
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_by_idleness_by_age_by_sign_out_and_with_the_account() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    // In use, it lasts as long as it may.
    let step = SESSION_IDLE.as_secs() as i64 - 1;
    for _ in 0..(SESSION_LIFE.as_secs() as i64 / step) {
        house.clock.forward(step);
        assert_eq!(house.get(&who, SESSION).await.status, StatusCode::OK);
    }
    house.clock.forward(step);
    assert_eq!(house.get(&who, SESSION).await.problem(), "not-signed-in", "after twelve hours");
    let idle = house.investigator("2").await;
    house.clock.forward(SESSION_IDLE.as_secs() as i64);
    assert_eq!(house.get(&idle, SESSION).await.status, StatusCode::UNAUTHORIZED);
    house.clock.forward(-10);
    assert_eq!(house.get(&idle, SESSION).await.status, StatusCode::UNAUTHORIZED, "it is gone");
    let out = house.investigator("3").await;
    let reply = house.ask(Method::DELETE, SESSION, Some(&out.token), &[], None).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(house.get(&out, SESSION).await.status, StatusCode::UNAUTHORIZED);
    let removed = house.investigator("4").await;
    let access = house.service.access();
    let (_, link) = access.link_for("4", "os-user:root").await.unwrap();
    access.remove_user("4", "os-user:root").await.unwrap();
    assert_eq!(house.get(&removed, SESSION).await.status, StatusCode::UNAUTHORIZED);
    assert!(matches!(access.redeem(link.reveal(), "-").await, Err(SignInError::Unknown)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_reads_and_changes_nothing() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let cookie = format!("a=b; {}={}", door::COOKIE, who.token);
    let headers = [("cookie", cookie.as_str()), ("idempotency-key", "k")];
    let reply = house.ask(Method::GET, "/api/v1/items", None, &headers, None).await;
    assert_eq!(reply.status, StatusCode::OK);
    let body = Some(json!({"reference": "1", "title": "t"}));
    let reply = house.ask(Method::POST, "/api/v1/cases", None, &headers, body).await;
    assert_eq!((reply.status, reply.problem().as_str()), (StatusCode::FORBIDDEN, "bearer-needed"));
    assert_eq!(house.count(EventKind::CaseOpened).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_tried_too_often_is_refused_by_name() {
    let house = House::new().await;
    let body = || Some(json!({"link": "0".repeat(64)}));
    let mut refused = None;
    for _ in 0..200 {
        let reply = house.ask(Method::POST, SESSION, None, &[], body()).await;
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("at some point it is enough");
    assert_eq!(refused.json()["field"], "sign_ins_per_address_and_minute");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_comes_from_a_page_of_its_session() {
    let house = House::new().await;
    let (one, other) = (house.investigator("1").await, house.investigator("2").await);
    let access = house.service.access();
    let session = access.session(&one.token).await.unwrap().unwrap();
    let foreign = access.session(&other.token).await.unwrap().unwrap();
    assert!(session.accepts_form(session.form_token()));
    assert!(!session.accepts_form(foreign.form_token()));
    assert!(!session.accepts_form("") && !session.form_token().contains(&one.token));
}

//! What is shown was recorded, durably, before its first byte (I13).

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chain_of_custody::digest::Sha256;
use chain_of_custody::event::{EventKind, field};
use serde_json::json;
use storage::clock::{Clock as _, SystemClock};
use storage::records::NewJob;
use tower::ServiceExt as _;

use crate::world::{House, footage};

#[tokio::test(flavor = "multi_thread")]
async fn one_entry_per_page_one_per_viewing_one_per_download() {
    let house = House::new().await;
    let (one, two) = (house.investigator("1").await, house.investigator("2").await);
    let item = house.receive("a.mp4", &footage(3_000)).await;
    house.derive(item, "proxy", &footage(2_000)).await;
    let paths =
        ["", "/events", "/derivatives", "/receipt"].map(|p| format!("/api/v1/items/{item}{p}"));
    let at_once = paths.iter().cycle().take(12).map(|path| house.get(&one, path));
    for reply in futures_util::future::join_all(at_once).await {
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    }
    let recipe = house.get(&one, &paths[0]).await.json()["derivatives"][0]["recipe_id"].clone();
    let proxy = format!("{}/{}", paths[2], recipe.as_str().unwrap());
    for range in ["bytes=0-99", "bytes=100-", "bytes=1999-"] {
        let reply =
            house.ask(Method::GET, &proxy, Some(&one.token), &[("range", range)], None).await;
        assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT);
    }
    assert_eq!(house.count(EventKind::ItemViewed).await, 1, "one person, one item, half an hour");
    house.get(&two, &paths[0]).await;
    assert_eq!(house.count(EventKind::ItemViewed).await, 2);
    house.get(&one, "/api/v1/items?text=a.mp4").await;
    house.get(&one, "/api/v1/items?text=nothing").await;
    let lists = house.entries(EventKind::ListViewed).await;
    assert_eq!(lists[0].opened(field::ITEMS), Some(format!("[\"{item}\"]").as_str()));
    assert_eq!(
        (lists[1].opened(field::QUERY), lists[1].opened(field::COUNT)),
        (Some("nothing"), Some("0"))
    );
    let original = format!("{}/original", paths[0]);
    for _ in 0..2 {
        assert_eq!(house.get(&one, &original).await.body, footage(3_000));
    }
    assert_eq!(house.count(EventKind::ItemDownloaded).await, 2);
    let later = [("range", "bytes=1000-")];
    house.ask(Method::GET, &original, Some(&one.token), &later, None).await;
    assert_eq!(
        house.count(EventKind::ItemDownloaded).await,
        2,
        "the same download, taken up again"
    );
    house.ask(Method::GET, &original, Some(&two.token), &later, None).await;
    assert_eq!(
        house.count(EventKind::ItemDownloaded).await,
        3,
        "of somebody who had not begun one"
    );
    let by = &house.entries(EventKind::ItemDownloaded).await[0];
    assert_eq!(by.opened(field::BY), Some("user:1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_in_the_database_before_the_first_byte() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let item = house.receive("a.mp4", &footage(3_000)).await;
    let path = format!("/api/v1/items/{item}/original");
    let request = Request::get(path).header("authorization", format!("Bearer {}", who.token));
    let reply = house.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    // The head is here, of the body nothing has been asked for.
    assert_eq!(house.count(EventKind::ItemDownloaded).await, 1);
    drop(reply);
    assert_eq!(house.count(EventKind::ItemDownloaded).await, 1, "whether they read on or not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_write_shows_nothing() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let bytes = footage(3_000);
    let item = house.receive("secret-name.mp4", &bytes).await;
    house.derive(item, "proxy", &bytes).await;
    house.derive(item, "poster", &bytes).await;
    let case = house.case(&who, "01AB/1").await;
    let other = house.receive("other.mp4", &footage(10)).await;
    house.link_item(&who, &case, other).await;
    house.stop_writing().await;
    let recipe = |kind: &str| Sha256::of(kind.as_bytes()).to_string();
    let item_path = format!("/api/v1/items/{item}");
    let paths = [
        "/api/v1/items".to_owned(),
        "/api/v1/items?text=secret".to_owned(),
        item_path.clone(),
        format!("{item_path}/events"),
        format!("{item_path}/receipt"),
        format!("{item_path}/receipt.txt"),
        format!("{item_path}/derivatives"),
        format!("{item_path}/derivatives/{}", recipe("proxy")),
        format!("{item_path}/derivatives/{}", recipe("poster")),
        format!("{item_path}/original"),
        format!("/api/v1/cases/{case}"),
        format!("/api/v1/items/{}", uuid::Uuid::now_v7()),
    ];
    for path in &paths {
        for range in [None, Some(("range", "bytes=5-9"))] {
            let headers: Vec<_> = range.into_iter().collect();
            let reply = house.ask(Method::GET, path, Some(&who.token), &headers, None).await;
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{path} {reply:?}");
            assert_eq!(reply.problem(), "cannot-record");
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(!text.contains("secret-name") && !text.contains("other.mp4"), "{path} {text}");
            assert!(!text.contains("disk is full"), "no reply tells about our insides: {text}");
        }
    }
    let order =
        json!({"items": [{"item": item.to_string()}], "purpose": "internal", "recipient": "me"});
    let refused = house.post(&who, "/api/v1/bundles", order.clone()).await;
    assert_eq!(refused.problem(), "cannot-record");
    let outbox = std::fs::read_dir(house.folder.path().join("outbox")).unwrap();
    assert_eq!(outbox.count(), 0);
    house.go_on_writing().await;
    for path in &paths[..11] {
        assert_eq!(house.get(&who, path).await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(house.post(&who, "/api/v1/bundles", order).await.status, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_never_served() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let bytes = footage(300_000);
    let item = house.receive("a.mp4", &bytes).await;
    let file = house.folder.path().join(format!("objects/originals/{item}"));
    let mut stored = std::fs::read(&file).unwrap();
    let middle = stored.len() / 2;
    stored[middle] ^= 1;
    std::fs::write(&file, stored).unwrap();
    let path = format!("/api/v1/items/{item}/original");
    let request = Request::get(path).header("authorization", format!("Bearer {}", who.token));
    let reply = house.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let read = axum::body::to_bytes(reply.into_body(), usize::MAX).await;
    assert!(read.is_err(), "the answer breaks off: it is not taken for whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_range_is_the_slice() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let bytes = footage(200_001);
    let item = house.receive("../../etc/\u{202e}\"passwd\r\nX: y.mp4", &bytes).await;
    let path = format!("/api/v1/items/{item}/original");
    let whole = house.get(&who, &path).await;
    assert_eq!((whole.status, whole.body.len()), (StatusCode::OK, bytes.len()));
    let name = whole.header("content-disposition");
    assert!(name.starts_with("attachment; filename=\"") && !name.contains(".."), "{name}");
    let tag = whole.header("etag").to_owned();
    for (range, slice) in [
        ("bytes=0-0", 0..1),
        ("bytes=65535-65536", 65_535..65_537),
        ("bytes=200000-", 200_000..200_001),
        ("bytes=-3", 199_998..200_001),
        ("bytes=100000-999999", 100_000..200_001),
    ] {
        let headers = [("range", range), ("if-range", &tag)];
        let reply = house.ask(Method::GET, &path, Some(&who.token), &headers, None).await;
        assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(reply.body, bytes[slice.clone()], "{range}");
        let says = format!("bytes {}-{}/200001", slice.start, slice.end - 1);
        assert_eq!(reply.header("content-range"), says);
    }
    let beyond = [("range", "bytes=200001-")];
    let reply = house.ask(Method::GET, &path, Some(&who.token), &beyond, None).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-range")), (416, "bytes */200001"));
    let stale = [("range", "bytes=0-0"), ("if-range", "\"other\"")];
    let reply = house.ask(Method::GET, &path, Some(&who.token), &stale, None).await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, bytes.len()));
    let downloads = house.count(EventKind::ItemDownloaded).await;
    let head = house.ask(Method::HEAD, &path, Some(&who.token), &[], None).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), "200001");
    assert_eq!(house.count(EventKind::ItemDownloaded).await, downloads, "nothing was downloaded");
}

/// What is made of an item that somebody looks at comes before what is made of older ones.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_at_is_made_first() {
    let house = House::new().await;
    let who = house.investigator("1").await;
    let items =
        [house.receive("a.avi", &footage(10)).await, house.receive("b.avi", &footage(10)).await];
    let records = house.ledger.records();
    let jobs = items.map(|item| NewJob {
        item,
        recipe_id: "r".to_owned(),
        kind: "probe".to_owned(),
        recipe: "{}".to_owned(),
        asked: None,
    });
    records.add_jobs(&jobs).await.unwrap();
    let shown = house.get(&who, &format!("/api/v1/items/{}", items[1])).await.json();
    assert_eq!(shown["making"], json!([{"kind": "probe", "permille": null}]));
    let claimed = records.claim_jobs("", SystemClock.now()).await.unwrap();
    assert_eq!(claimed[0].job.item, items[1]);
}

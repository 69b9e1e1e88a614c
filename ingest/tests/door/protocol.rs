//! tus 1.0 as a client meets it: offsets, lengths, checksums, expiry, limits, and lines that break.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chain_of_custody::digest::Digests;
use ingest::limits::Limits;
use reqwest::Method;
use sha1::Digest as _;
use tempfile::tempdir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{Client, World, footage, header, limits, metadata, number};

#[tokio::test(flavor = "multi_thread")]
async fn says_what_it_speaks() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let url = format!("{}/tus", world.base);
    let reply = reqwest::Client::new().request(Method::OPTIONS, url).send().await.unwrap();
    assert_eq!(reply.status(), 204);
    assert_eq!(header(&reply, "tus-version"), "1.0.0");
    assert_eq!(header(&reply, "tus-checksum-algorithm"), "sha1,sha256");
    for extension in [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "termination",
        "concatenation",
    ] {
        assert!(header(&reply, "tus-extension").split(',').any(|e| e == extension), "{extension}");
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_cut_gives_the_same_digests_and_a_receipt_that_verifies() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    let shapes: [&[usize]; 5] = [
        &[3_000_000],
        &[1; 5],
        &[65_536, 65_535, 1],
        &[1_048_576, 1_048_576, 3],
        &[300_000, 7, 900_001],
    ];
    for (seed, shape) in shapes.iter().enumerate() {
        let bytes = footage(seed as u64 + 1, shape.iter().sum());
        let path = client.create(bytes.len() as u64, &metadata(&[("filename", "a.mp4")])).await;
        let mut at = 0;
        let mut last = None;
        for cut in *shape {
            let part = bytes[at..at + cut].to_vec();
            let reply = client.patch(&path, at as u64, part).send().await.unwrap();
            assert_eq!(reply.status(), 204);
            at += cut;
            assert_eq!(number(&reply, "upload-offset"), at as u64);
            last = Some(reply);
        }
        let last = last.unwrap();
        let receipt = client.receipt(&world, &last).await;
        assert_eq!(receipt.digests(), Some(Digests::of(&bytes)), "{shape:?}");
        assert_eq!(receipt.size_bytes(), Some(bytes.len() as u64));
        for again in
            [client.head(&path).await, client.patch(&path, at as u64, "").send().await.unwrap()]
        {
            assert_eq!(header(&again, "exhibit-item"), header(&last, "exhibit-item"));
            assert_eq!(header(&again, "exhibit-receipt"), header(&last, "exhibit-receipt"));
        }
    }
    assert_eq!(
        world.account(&client).await.stored,
        shapes.iter().flat_map(|s| s.iter()).sum::<usize>() as u64
    );
    world.verify().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_twice_or_out_of_order_are_refused_with_the_offset() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    let bytes = footage(1, 10_000);
    let path = client.create(10_000, "").await;
    client.patch(&path, 0, bytes[..4000].to_vec()).send().await.unwrap();
    for (offset, part) in [(0, &bytes[..4000]), (2000, &bytes[2000..6000]), (6000, &bytes[6000..])]
    {
        let reply = client.patch(&path, offset, part.to_vec()).send().await.unwrap();
        assert_eq!(reply.status(), 409);
        assert_eq!(number(&reply, "upload-offset"), 4000);
        assert_eq!(header(&reply, "content-type"), "application/problem+json");
    }
    let more = client.patch(&path, 4000, footage(2, 6001)).send().await.unwrap();
    assert_eq!(more.status(), 413);
    // The same without saying beforehand how much comes.
    let frames = vec![Ok::<_, std::io::Error>(bytes[4000..].to_vec()), Ok(vec![1])];
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(frames));
    let more = client.patch(&path, 4000, stream).send().await.unwrap();
    assert_eq!(more.status(), 413);
    assert_eq!(client.offset(&path).await, 4000, "bytes beyond the end changed the offset");
    let last = client.patch(&path, 4000, bytes[4000..].to_vec()).send().await.unwrap();
    assert_eq!(client.receipt(&world, &last).await.digests(), Some(Digests::of(&bytes)));
    world.verify().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_checksum_changes_nothing() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    // Beyond two encrypted segments, so that some of the refused bytes reach the disk.
    let bytes = footage(1, 5_000_000);
    let path = client.create(bytes.len() as u64, "").await;
    let sha1 = |part: &[u8]| format!("sha1 {}", BASE64.encode(sha1::Sha1::digest(part)));
    let sha256 = |part: &[u8]| format!("sha256 {}", BASE64.encode(sha2::Sha256::digest(part)));
    let (first, second) = bytes.split_at(1_500_000);
    let send = |offset, part: &[u8], checksum: String| {
        client.patch(&path, offset, part.to_vec()).header("upload-checksum", checksum).send()
    };
    assert_eq!(send(0, first, sha1(first)).await.unwrap().status(), 204);
    for _ in 0..2 {
        let wrong = footage(9, second.len());
        let reply = send(1_500_000, &wrong, sha256(second)).await.unwrap();
        assert_eq!(reply.status(), 460);
        assert_eq!(number(&reply, "upload-offset"), 1_500_000);
        assert_eq!(client.offset(&path).await, 1_500_000);
    }
    let reply = send(1_500_000, second, "md5 AAAA".into()).await.unwrap();
    assert_eq!(reply.status(), 400);
    let last = send(1_500_000, second, sha256(second)).await.unwrap();
    assert_eq!(client.receipt(&world, &last).await.digests(), Some(Digests::of(&bytes)));
    let path = client.create(5 << 20, "").await;
    let part = footage(3, 5 << 20);
    let reply = client
        .patch(&path, 0, part.clone())
        .header("upload-checksum", sha1(&part))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 413, "above checksum_patch_bytes");
    world.verify().await;
    world.close().await;
}

/// Sends the head of a PATCH and part of its body by hand, and leaves the connection open.
async fn begin_patch(
    client: &Client,
    path: &str,
    offset: u64,
    announced: usize,
    body: &[u8],
    more: &str,
) -> tokio::net::TcpStream {
    let address = client.base.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n\
         Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\nContent-Length: {announced}\r\n{more}\r\n",
        client.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream
}

/// A body of unknown length for a finished upload, of which nothing ever comes.
async fn silent_patch(client: &Client, path: &str, offset: usize) -> tokio::net::TcpStream {
    let address = client.base.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n\
         Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        client.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_nothing_to_a_finished_upload_holds_nobody_up() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    let path = client.create(1000, "").await;
    client.patch(&path, 0, footage(1, 1000)).send().await.unwrap();
    let soon = Duration::from_secs(10);
    let _silent = silent_patch(&client, &path, 1000).await;
    let head = tokio::time::timeout(soon, client.head(&path)).await.expect("HEAD waits for ever");
    assert_eq!(head.status(), 200);
    let _silent = silent_patch(&client, &path, 1000).await;
    tokio::time::timeout(soon, world.receiver.stop()).await.expect("a stop waits for ever");
    world.close().await;

    let impatient = Limits { idle: Duration::from_millis(500), ..limits() };
    let world = World::open(folder.path(), impatient).await;
    let mut silent = silent_patch(&client.at(&world), &path, 1000).await;
    let mut reply = [0; 12];
    let read = tokio::time::timeout(soon, silent.read_exact(&mut reply)).await;
    read.expect("a line without a byte is kept for ever").unwrap();
    assert_eq!(&reply, b"HTTP/1.1 408");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_before_the_line_broke_is_kept() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    let bytes = footage(1, 3_000_000);
    let path = client.create(bytes.len() as u64, "").await;
    let stream = begin_patch(&client, &path, 0, bytes.len(), &bytes[..1_700_000], "").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let offset = client.offset(&path).await;
    assert_eq!(offset, 1_700_000);
    let last = client.patch(&path, offset, bytes[offset as usize..].to_vec()).send().await.unwrap();
    assert_eq!(client.receipt(&world, &last).await.digests(), Some(Digests::of(&bytes)));
    world.verify().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_request_ends_a_stale_one_at_once() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    let bytes = footage(1, 2_000_000);
    let path = client.create(bytes.len() as u64, "").await;
    let mut stale = begin_patch(&client, &path, 0, bytes.len(), &bytes[..700_000], "").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = std::time::Instant::now();
    let offset = client.offset(&path).await;
    assert!(asked.elapsed() < Duration::from_secs(2), "the stale request held the upload");
    assert_eq!(offset, 700_000, "what the stale request had sent is kept");
    let mut reply = vec![0; 12];
    stale.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"HTTP/1.1 408");
    let last = client.patch(&path, offset, bytes[700_000..].to_vec()).send().await.unwrap();
    assert_eq!(client.receipt(&world, &last).await.digests(), Some(Digests::of(&bytes)));
    // With a checksum, none of the stale request's bytes count.
    let path = client.create(bytes.len() as u64, "").await;
    let checksum = format!("Upload-Checksum: sha1 {}\r\n", BASE64.encode([0; 20]));
    let _stale = begin_patch(&client, &path, 0, bytes.len(), &bytes[..700_000], &checksum).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(client.offset(&path).await, 0);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_says_nothing_any_more_is_let_go() {
    let folder = tempdir().unwrap();
    let limits = Limits { idle: Duration::from_millis(400), transfers: 1, ..limits() };
    let world = World::open(folder.path(), limits).await;
    let client = world.enrol("dock").await;
    let (path, other) = (client.create(1000, "").await, client.create(10, "").await);
    let _stale = begin_patch(&client, &path, 0, 1000, &footage(1, 100), "").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let busy = client.patch(&other, 0, footage(2, 10)).send().await.unwrap();
    assert_eq!(busy.status(), 503);
    assert!(number(&busy, "retry-after") > 0);
    tokio::time::sleep(Duration::from_millis(2000)).await;
    let free = client.patch(&other, 0, footage(2, 10)).send().await.unwrap();
    assert_eq!(free.status(), 204, "a half-open connection held the only place");
    assert_eq!(client.offset(&path).await, 100);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_length_may_come_later_and_the_bytes_with_the_creation() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    let bytes = footage(1, 100_000);
    let reply = client.post().header("upload-defer-length", 1).send().await.unwrap();
    let path = header(&reply, "location");
    client.patch(&path, 0, bytes[..40_000].to_vec()).send().await.unwrap();
    assert_eq!(header(&client.head(&path).await, "upload-defer-length"), "1");
    let less =
        client.patch(&path, 40_000, "").header("upload-length", 39_999).send().await.unwrap();
    assert_eq!(less.status(), 400);
    let rest = bytes[40_000..].to_vec();
    let last =
        client.patch(&path, 40_000, rest).header("upload-length", 100_000).send().await.unwrap();
    assert_eq!(client.receipt(&world, &last).await.digests(), Some(Digests::of(&bytes)));

    let with_bytes = client
        .post()
        .header("upload-length", 100_000)
        .header("upload-metadata", metadata(&[("camera", "other")]))
        .header("content-type", "application/offset+octet-stream")
        .body(bytes.clone());
    let reply = with_bytes.send().await.unwrap();
    assert_eq!(reply.status(), 201);
    assert_eq!(number(&reply, "upload-offset"), 100_000);
    assert_eq!(client.receipt(&world, &reply).await.digests(), Some(Digests::of(&bytes)));

    let empty = client.post().header("upload-length", 0).send().await.unwrap();
    assert_eq!(empty.status(), 201);
    assert_eq!(client.receipt(&world, &empty).await.size_bytes(), Some(0));
    world.verify().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_a_problem_document_with_its_status() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    let path = client.create(10, "").await;
    let plain = |method: Method, path: &str| {
        client.http.request(method, format!("{}{path}", client.base)).bearer_auth(&client.token)
    };
    let bad_name = metadata(&[("captured", "yesterday")]);
    let cases = [
        ("no_tus_version", plain(Method::HEAD, &path), 412),
        ("unknown_upload", client.request(Method::HEAD, "/tus/nothing"), 404),
        ("get_gives_no_footage", client.request(Method::GET, &path), 405),
        ("no_length", client.post(), 400),
        ("length_not_a_number", client.post().header("upload-length", "-1"), 400),
        ("too_large", client.post().header("upload-length", (64 << 20) + 1), 413),
        (
            "bad_metadata",
            client.post().header("upload-length", 1).header("upload-metadata", bad_name),
            400,
        ),
        (
            "no_offset",
            client
                .request(Method::PATCH, &path)
                .header("content-type", "application/offset+octet-stream"),
            400,
        ),
        (
            "media_type",
            client
                .request(Method::PATCH, &path)
                .header("upload-offset", 0)
                .header("content-type", "text/plain"),
            415,
        ),
        (
            "no_token",
            client.http.post(format!("{}/tus", client.base)).header("tus-resumable", "1.0.0"),
            401,
        ),
        ("bad_manifest", client.patch(&path, 0, "").header("exhibit-manifest", "!!"), 400),
    ];
    for (name, request, status) in cases {
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status().as_u16(), status, "{name}");
        assert_eq!(header(&reply, "content-type"), "application/problem+json", "{name}");
    }
    let overridden = client.post();
    let url = format!("{}{path}", client.base);
    drop(overridden);
    let reply = client
        .http
        .post(url)
        .bearer_auth(&client.token)
        .header("tus-resumable", "1.0.0")
        .header("x-http-method-override", "PATCH")
        .header("upload-offset", 0)
        .header("content-type", "application/offset+octet-stream")
        .body(footage(1, 10))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 204, "PATCH by X-HTTP-Method-Override");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_full_flight_hears_why_it_is_refused() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path(), limits()).await;
    let client = world.enrol("dock").await;
    let path = client.create(12 << 20, "").await;
    let bytes = footage(1, 10 << 20);
    let mut stream = begin_patch(&client, &path, 1, bytes.len(), &bytes[..1 << 16], "").await;
    // The refusal is out by now; many clients go on sending and look for the answer only then.
    tokio::time::sleep(Duration::from_millis(300)).await;
    stream.write_all(&bytes[1 << 16..]).await.expect("the connection was reset");
    let mut reply = vec![0; 12];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"HTTP/1.1 409");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn space_kept_free_is_not_taken() {
    let folder = tempdir().unwrap();
    let world =
        World::open(folder.path(), Limits { free_space_kept_bytes: u64::MAX / 2, ..limits() })
            .await;
    let client = world.enrol("dock").await;
    assert_eq!(client.post().header("upload-length", 10).send().await.unwrap().status(), 507);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_so_many_open_uploads_and_what_it_ends_or_abandons_is_counted() {
    let folder = tempdir().unwrap();
    let ttl = Duration::from_secs(1);
    let world = World::open(folder.path(), Limits { upload_ttl: ttl, ..limits() }).await;
    let client = world.enrol("dock").await;
    let mut paths = Vec::new();
    for _ in 0..8 {
        paths.push(client.create(1000, "").await);
    }
    let ninth = client.post().header("upload-length", 10).send().await.unwrap();
    assert_eq!(ninth.status(), 503);
    assert!(ninth.text().await.unwrap().contains("open_uploads_per_device"));

    client.patch(&paths[0], 0, footage(1, 600)).send().await.unwrap();
    client.patch(&paths[1], 0, footage(2, 50)).send().await.unwrap();
    let ended = client.request(Method::DELETE, &paths[0]).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    assert_eq!(client.head(&paths[0]).await.status(), 410);
    assert_eq!(world.account(&client).await.abandoned, 600);
    assert_eq!(world.account(&client).await.in_flight, 50);

    tokio::time::sleep(ttl + Duration::from_millis(200)).await;
    assert_eq!(world.receiver.sweep().await.unwrap().abandoned, 7);
    // The six without a byte are no loss; one had bytes, and perhaps a progress receipt for them.
    let entries = world.openings("upload.abandoned").await;
    assert_eq!(entries.len(), 1);
    let upload = paths[1].rsplit('/').next().unwrap();
    let digests = Digests::of(&footage(2, 50));
    assert_eq!(entries[0]["upload"], upload);
    assert_eq!(entries[0]["size-bytes"], "50");
    assert_eq!(entries[0]["sha256"], digests.sha256.to_string());
    assert_eq!(entries[0]["device"], client.device.to_string());
    assert_eq!(client.head(&paths[1]).await.status(), 410);
    let account = world.account(&client).await;
    assert_eq!((account.begun, account.abandoned, account.in_flight), (650, 650, 0));
    assert!(world.objects.uploads().await.unwrap().is_empty(), "folders of abandoned uploads stay");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_abandons_nothing() {
    // Right after a start, and when the time that senders have after one is over.
    for ttl in [limits().upload_ttl, Duration::from_secs(1)] {
        let folder = tempdir().unwrap();
        let world = World::open(folder.path(), Limits { upload_ttl: ttl, ..limits() }).await;
        let client = world.enrol("dock").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let path = client.create(1000, "").await;
        client.patch(&path, 0, footage(1, 600)).send().await.unwrap();
        world.receiver.sweep().await.unwrap();
        world.clock.advance(ttl + Duration::from_secs(3600));
        for sweep in ["the first", "the second"] {
            let swept = world.receiver.sweep().await.unwrap();
            assert_eq!(swept.abandoned, 0, "{sweep} after the jump, {ttl:?}");
        }
        assert_eq!(client.offset(&path).await, 600);
        assert_eq!(world.events("upload.abandoned").await, 0);
        world.close().await;
    }
}

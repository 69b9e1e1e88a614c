//! Jobs through a real ledger, object store and worker: what is received gets its derivatives, once, whatever is
//! killed on the way.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/house.rs"]
mod house;
mod support;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use chain_of_custody::canonical;
use chain_of_custody::digest::Digests;
use chain_of_custody::event::{EventKind, field};
use house::*;
use storage::objects::ObjectStore;
use storage::records::{DerivativeView, ItemView, NewJob};
use support::*;
use transcode::Supervisor;
use transcode::jobs::{Answer, JobOptions};
use transcode::protocol::Span;
use transcode::recipe;
use transcode::reproduce::{Comparison, reproduce};
use transcode::supervise::Allowance;

on_both_databases!(
    what_is_received_gets_its_derivatives,
    what_plays_behind_a_front_gets_it_first_and_else_a_viewing_copy,
    recipes_of_other_versions_are_made_anew_or_left,
    small_copies_are_made_by_rule_or_when_asked_for,
    unreadable_items_stay_and_say_why,
    restricted_and_quarantined_items_get_nothing,
    a_worker_that_dies_once_is_tried_again_twice_is_a_failure,
    a_stop_at_any_moment_loses_and_doubles_nothing,
    a_missing_worker_blames_no_footage,
    derivatives_leave_the_space_kept_free,
    what_somebody_asks_for_is_made_at_once_and_says_who,
    what_is_cancelled_stops_says_so_and_can_be_asked_for_again,
    what_is_made_again_with_other_libraries_is_compared_by_what_it_shows,
    a_limit_that_several_reach_together_is_each_ones_own,
);

fn kinds(view: &ItemView) -> Vec<&str> {
    let mut kinds: Vec<_> = view.derivatives.iter().map(|d| d.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds
}

/// What is made of pictures and sound that no browser plays as they came, or of those that one does.
const ALL: [&str; 7] = ["frames", "poster", "probe", "proxy", "scenes", "thumbnails", "waveform"];
/// The phone says where it was, too.
const OF_THE_PHONE: [&str; 7] =
    ["frames", "location", "poster", "probe", "scenes", "thumbnails", "waveform"];

async fn what_is_received_gets_its_derivatives(home: Home) {
    let house = home.open().await;
    let avi = house.receive(&footage(&format!("{HELLO}.avi")), "stored", false).await;
    let phone = house.receive(&footage(PHONE), "stored", false).await;
    house.work(supervisor()).await;

    let view = house.view(avi).await;
    assert_eq!(kinds(&view), ALL);
    assert!(view.failures.is_empty());
    for derivative in &view.derivatives {
        let bytes = house.read(&derivative.object).await;
        assert_eq!(Digests::of(&bytes), derivative.digests, "{}", derivative.kind);
        assert_eq!(bytes.len() as u64, derivative.size_bytes);
        let recipe: serde_json::Value = serde_json::from_str(&derivative.recipe).unwrap();
        assert_eq!(recipe["asked"]["kind"], derivative.kind.as_str());
        assert_eq!(recipe["made-with"]["program"], "exhibit-transcode");
        assert_eq!(recipe["made-with"]["version"], env!("CARGO_PKG_VERSION"));
        assert!(recipe["made-with"]["libraries"]["libavcodec"].is_string(), "{recipe}");
        let entry = house.ledger.records().event_at(derivative.leaf_index).await.unwrap().unwrap();
        let original = view.record.digests.sha256.to_string();
        assert_eq!(entry.opened(field::ORIGINAL_SHA256), Some(&*original), "of which original");
        let asked = canonical::to_bytes(&recipe["asked"]).unwrap();
        let id = chain_of_custody::digest::Sha256::of(&asked).to_string();
        assert_eq!(derivative.recipe_id, id, "the id is the digest of what was asked for");
    }
    let proxy = view.derivatives.iter().find(|d| d.kind == "proxy").unwrap();
    let probed = ffprobe(&house.read(&proxy.object).await);
    assert!(stream(&probed, "audio").is_some());
    assert!((seconds(&probed["format"]["duration"]) - 8.36).abs() < 0.15);
    let probe = view.derivatives.iter().find(|d| d.kind == "probe").unwrap();
    assert!(probe.media.contains("\"codec\":\"h264\""));

    // A browser plays the phone's clip as it is: no viewing copy is made.
    let view = house.view(phone).await;
    assert_eq!(kinds(&view), OF_THE_PHONE);
    let probe = view.derivatives.iter().find(|d| d.kind == "probe").unwrap();
    assert!(!probe.media.contains("-15.8"), "no place where it could not be erased");
    assert!(!probe.media.contains("-15835500"));
    let files = ALL.len() + OF_THE_PHONE.len() + 1;
    assert_eq!(derivative_files(home.path()).len(), files, "of the viewing copy, head and body");

    // Starting again makes nothing again, not even without the working state.
    for forget in [false, true] {
        if forget {
            let pool = house.ledger.records().pool();
            for text in ["DELETE FROM jobs", "DELETE FROM followers"] {
                sqlx::query(text).execute(pool).await.unwrap();
            }
        }
        let size = house.ledger.latest().unverified().size;
        house.work(supervisor()).await;
        assert_eq!(house.ledger.latest().unverified().size, size, "forget: {forget}");
    }
    house.audits_clean().await;

    // Nor does a server that looked before another one entered it: what it made beside is nobody's, and goes.
    let (size, pool) = (house.ledger.latest().unverified().size, house.ledger.records().pool());
    for text in ["DELETE FROM jobs", "DELETE FROM followers", "DELETE FROM derivatives"] {
        sqlx::query(text).execute(pool).await.unwrap();
    }
    house.work(supervisor()).await;
    assert_eq!(
        house.count("jobs", "state = 'ended'").await,
        files as i64 - 1,
        "all were done again"
    );
    assert_eq!(house.ledger.latest().unverified().size, size, "each act is one entry");
    assert_eq!(derivative_files(home.path()).len(), files, "what no entry names is gone");
}

/// It can be watched before anything is decoded. Where no front comes of it after all, a viewing copy does.
async fn what_plays_behind_a_front_gets_it_first_and_else_a_viewing_copy(home: Home) {
    let house = home.open().await;
    let original =
        ffmpeg(&footage(&format!("{HELLO}.mp4")), &["-c:v", "copy", "-c:a", "pcm_s16le"], "mkv");
    let item = house.receive(&original, "stored", false).await;
    house.work(supervisor()).await;
    let view = house.view(item).await;
    let mut made: Vec<_> = view.derivatives.iter().map(|d| (d.leaf_index, &*d.kind)).collect();
    made.sort_unstable();
    assert_eq!(made[..2].iter().map(|(_, kind)| *kind).collect::<Vec<_>>(), ["probe", "front"]);
    assert!(!kinds(&view).contains(&"proxy") && kinds(&view).contains(&"poster"), "{made:?}");
    let front = view.derivatives.iter().find(|d| d.kind == "front").unwrap();
    let plays = [house.read(&front.object).await, original].concat();
    assert!((seconds(&ffprobe(&plays)["format"]["duration"]) - 8.36).abs() < 0.15);
    let compared =
        reproduce(&supervisor(), &house.objects, &view.record, &view.derivatives).await.unwrap();
    assert!(compared.iter().all(|one| one.result == Comparison::Match), "{compared:?}");

    // What a probe said that this program would not say.
    let avi = house.receive(&footage(&format!("{HELLO}.avi")), "stored", false).await;
    let record = house.view(avi).await.record;
    let media = r#"{"browser":{"plays_behind_front":true},"streams":[{"kind":"video"}]}"#;
    let probe = recipe::first();
    let fields = [
        (field::KIND, "probe".to_owned()),
        (field::RECIPE_ID, recipe::RecipeId::of(&probe).to_string()),
        (field::RECIPE, recipe::canonical_text(&probe)),
        (field::ORIGINAL_SHA256, record.digests.sha256.to_string()),
        (field::SHA256, record.digests.sha256.to_string()),
        (field::BLAKE3, record.digests.blake3.to_string()),
        (field::SIZE_BYTES, record.size_bytes.to_string()),
        (field::OBJECT, record.object.clone()),
        (field::MEDIA, media.to_owned()),
    ];
    house.submit(EventKind::ItemDerived, avi, &fields).await;
    house.work(supervisor()).await;
    let view = house.view(avi).await;
    let failed: Vec<_> = view.failures.iter().map(|f| (&*f.kind, &*f.reason_code)).collect();
    assert_eq!(failed, [("front", "nothing-to-make")]);
    assert!(kinds(&view).contains(&"proxy"), "{:?}", kinds(&view));
    house.audits_clean().await;
}

/// Of everything where that is the rule; else of what somebody asks it for, once however often they ask.
async fn small_copies_are_made_by_rule_or_when_asked_for(home: Home) {
    let house = home.open().await;
    let asked = house.receive(&footage(CCTV), "stored", false).await;
    house.work(supervisor()).await;
    let has_small = |view: &ItemView| kinds(view).contains(&"proxy-small");
    assert!(!has_small(&house.view(asked).await));
    for _ in 0..2 {
        let job = transcode::jobs::small_copy(asked);
        house.ledger.records().add_jobs(&[job]).await.unwrap();
        house.work(supervisor()).await;
    }
    let view = house.view(asked).await;
    let small: Vec<_> = view.derivatives.iter().filter(|d| d.kind == "proxy-small").collect();
    assert_eq!(small.len(), 1);
    let recipe: serde_json::Value = serde_json::from_str(&small[0].recipe).unwrap();
    let how = recipe["made-with"]["codecs"]["video"].as_str().unwrap();
    assert!(how.contains("size=480x360"), "{how}");

    let by_rule = house.receive(&footage(PHONE), "stored", false).await;
    let options = JobOptions { parallel: 1, free_space_kept_bytes: 0, small_copies: true };
    let jobs = house.jobs_with(supervisor(), options).await;
    jobs.idle().await.unwrap();
    jobs.stop().await;
    assert!(has_small(&house.view(by_rule).await));
    house.audits_clean().await;
}

/// Asked for by a program before this one, and by one after it.
async fn recipes_of_other_versions_are_made_anew_or_left(home: Home) {
    let house = home.open().await;
    let item = house.receive(&footage(CCTV), "stored", false).await;
    house.work(supervisor()).await;
    let records = house.ledger.records();
    let job = |kind: &str, version: u32| NewJob {
        item,
        recipe_id: format!("{kind} {version}"),
        kind: kind.to_owned(),
        recipe: format!(r#"{{"kind":"{kind}","version":{version},"of":"its own"}}"#),
        asked: None,
    };
    let proxies = "kind = 'proxy'";
    for text in [
        format!("DELETE FROM derivatives WHERE {proxies}"),
        format!("DELETE FROM jobs WHERE {proxies}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(records.pool()).await.unwrap();
    }
    records.add_jobs(&[job("proxy", 2)]).await.unwrap();
    house.work(supervisor()).await;
    assert_eq!(
        house.count("jobs", "kind = 'proxy' AND recipe_id LIKE '% 2' AND state = 'ended'").await,
        1
    );
    assert_eq!(
        house.count("jobs", "kind = 'proxy' AND state = 'ended'").await,
        2,
        "the one of today too"
    );

    // A probe that an older program asked for, and nothing else yet: all follows from the one of today.
    for text in ["DELETE FROM derivatives", "DELETE FROM jobs"] {
        sqlx::query(text).execute(records.pool()).await.unwrap();
    }
    let recipe = r#"{"kind":"probe","version":1}"#.to_owned();
    records.add_jobs(&[NewJob { recipe, ..job("probe", 1) }]).await.unwrap();
    house.work(supervisor()).await;
    assert_eq!(house.count("jobs", "kind = 'probe' AND state = 'ended'").await, 2);
    assert_eq!(house.count("jobs", "kind = 'frames' AND state = 'ended'").await, 1);

    records.add_jobs(&[job("hologram", 1)]).await.unwrap();
    let jobs = house.jobs(supervisor(), 1).await;
    let tried = "kind = 'hologram' AND state = 'waiting' AND troubles = 1";
    while house.count("jobs", tried).await == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let idle = tokio::time::timeout(Duration::from_secs(1), jobs.idle()).await;
    assert!(idle.is_err(), "it waits for a program that knows it");
    jobs.stop().await;
    assert!(house.view(item).await.failures.is_empty(), "the footage is not to blame");
}

async fn unreadable_items_stay_and_say_why(home: Home) {
    let house = home.open().await;
    let whole = footage(&format!("{HELLO}.mpeg"));
    let noise = house.receive(&Bytes::from(vec![0xa7; 100_000]), "stored", false).await;
    let empty = house.receive(&Bytes::new(), "stored", false).await;
    let playlist = Bytes::from_static(
        b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:1/a.ts\n",
    );
    let playlist = house.receive(&playlist, "stored", false).await;
    let good = house.receive(&whole, "stored", false).await;
    house.work(supervisor()).await;
    for (item, code) in [(noise, "unreadable"), (empty, "unreadable"), (playlist, "format-refused")]
    {
        let view = house.view(item).await;
        assert_eq!(view.record.state, "stored");
        assert!(view.derivatives.is_empty());
        let [failure] = &view.failures[..] else { panic!("{:?}", view.failures) };
        assert_eq!((failure.kind.as_str(), failure.reason_code.as_str()), ("probe", code));
        assert!(failure.reason.contains("file"), "{}", failure.reason);
        assert!(view.events.iter().any(|e| e.kind == "item.derivation-failed"));
    }
    assert_eq!(kinds(&house.view(good).await), ALL);
    house.audits_clean().await;
}

async fn restricted_and_quarantined_items_get_nothing(home: Home) {
    let house = home.open().await;
    let clip = footage(PHONE);
    let restricted = house.receive(&clip, "stored", true).await;
    let quarantined = house.receive(&clip, "quarantined", false).await;
    let later = house.receive(&clip, "stored", false).await;
    let on = [(field::RESTRICTED, "true".to_owned())];
    house.submit(EventKind::ItemRestricted, later, &on).await;
    house.work(supervisor()).await;
    for item in [restricted, quarantined, later] {
        let view = house.view(item).await;
        assert!(view.derivatives.is_empty() && view.failures.is_empty());
    }
    assert!(derivative_files(home.path()).is_empty());
    // Freed, it gets what the others got.
    let off = [(field::RESTRICTED, "false".to_owned())];
    house.submit(EventKind::ItemRestricted, later, &off).await;
    house.work(supervisor()).await;
    assert_eq!(kinds(&house.view(later).await), OF_THE_PHONE);
}

async fn a_worker_that_dies_once_is_tried_again_twice_is_a_failure(home: Home) {
    let scripts = folder();
    let house = home.open().await;
    let once = house.receive(&footage(PHONE), "stored", false).await;
    house.work(dies("1", scripts.path())).await;
    assert_eq!(kinds(&house.view(once).await), OF_THE_PHONE);
    assert!(house.view(once).await.failures.is_empty());

    std::fs::remove_file(scripts.path().join("count")).unwrap();
    let twice = house.receive(&footage(PHONE), "stored", false).await;
    house.work(dies("99", scripts.path())).await;
    let view = house.view(twice).await;
    assert!(view.derivatives.is_empty());
    assert_eq!(view.failures[0].reason_code, "crashed");
    assert!(view.failures[0].reason.contains("signal 9"), "{}", view.failures[0].reason);
    let tries = std::fs::read_to_string(scripts.path().join("count")).unwrap();
    assert_eq!(tries.trim(), "2");
}

/// The server side ends at any moment: its next start makes what is missing, once, and leaves nothing behind.
async fn a_stop_at_any_moment_loses_and_doubles_nothing(home: Home) {
    let mut house = home.open().await;
    let item = house.receive(&footage(&format!("{HELLO}.mpeg")), "stored", false).await;
    for stop_after_ms in [30, 120, 300, 700, 1500, 40, 90] {
        let jobs = house.jobs(supervisor(), 2).await;
        tokio::time::sleep(Duration::from_millis(stop_after_ms)).await;
        drop(jobs);
        // The ledger ends with its server: what had been submitted is in it or is not, before the next start.
        house.ledger.close().await;
        house = home.open().await;
    }
    house.work(supervisor()).await;
    let view = house.view(item).await;
    assert_eq!(kinds(&view), ALL);
    let derived = view.events.iter().filter(|e| e.kind == "item.derived").count();
    assert_eq!(derived, ALL.len(), "each once: {:?}", view.events);
    assert!(view.failures.is_empty(), "{:?}", view.failures);
    assert_eq!(
        derivative_files(home.path()).len(),
        ALL.len() + 1,
        "no attempt left anything behind"
    );
    assert!(house.objects.uploads().await.unwrap().is_empty());
    house.audits_clean().await;
}

/// A missing program is this machine's trouble: nothing is entered about the footage, and later it is made.
async fn a_missing_worker_blames_no_footage(home: Home) {
    let house = home.open().await;
    let item = house.receive(&footage(PHONE), "stored", false).await;
    let jobs = house.jobs(Supervisor::new("/nowhere/exhibit-transcode", allowance()), 1).await;
    let idle = tokio::time::timeout(Duration::from_secs(2), jobs.idle()).await;
    assert!(idle.is_err(), "the job waits");
    jobs.stop().await;
    let view = house.view(item).await;
    assert!(view.failures.is_empty() && view.derivatives.is_empty());
    house.work(supervisor()).await;
    assert_eq!(kinds(&house.view(item).await), OF_THE_PHONE);
}

/// The space kept free is the ledger's: a derivative that would take of it waits, and is made when there is room.
async fn derivatives_leave_the_space_kept_free(home: Home) {
    // A file system of its own kind, one at a time, so that others at work do not move the numbers much.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let data = tempfile::tempdir_in("/dev/shm").unwrap();
    let house = House::open(data.path(), &home.database).await;
    let item = house.receive(&footage(CCTV), "stored", false).await;
    for (room, program_kept, made) in
        [(0, false, &[][..]), (ROOM, false, &[]), (ROOM, true, &["probe"])]
    {
        if program_kept {
            house.ledger.keep_program(std::fs::read(worker()).unwrap()).await.unwrap();
        }
        let free = house.objects.free_bytes().unwrap();
        let free_space_kept_bytes = if room == 0 { u64::MAX } else { free - room };
        let options = JobOptions { parallel: 2, free_space_kept_bytes, ..Default::default() };
        let jobs = house.jobs_with(supervisor(), options).await;
        let least = least_free(&house.objects, room_is_short(&house, made.len() as i64)).await;
        jobs.stop().await;
        house.wait_no_longer().await;
        let view = house.view(item).await;
        assert_eq!(kinds(&view), made);
        assert!(view.failures.is_empty(), "the footage is not to blame: {:?}", view.failures);
        assert!(house.objects.uploads().await.unwrap().is_empty(), "nothing half-made stays");
        if room > 0 {
            assert!(
                least + TAKEN_BETWEEN >= free_space_kept_bytes,
                "{least} of {free_space_kept_bytes}"
            );
        }
    }
    house.work(supervisor()).await;
    let all_but_the_waveform = &ALL[..ALL.len() - 1];
    assert_eq!(kinds(&house.view(item).await), all_but_the_waveform, "it has no sound");
    house.audits_clean().await;
}

/// Less than the viewing copy of the clip or the kept worker program takes, more than the probe and records.
const ROOM: u64 = 4 << 20;
/// What was written between two looks at the room left, and what the records took meanwhile.
const TAKEN_BETWEEN: u64 = 256 << 10;

/// So many derivatives are there, and all jobs that are left wait after trouble.
async fn room_is_short(house: &House, made: i64) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let at_work = "state = 'running' OR (state = 'waiting' AND troubles = 0)";
        let waits = "state = 'waiting' AND troubles > 0";
        if house.count("jobs", waits).await > 0
            && house.count("jobs", at_work).await == 0
            && house.count("derivatives", "true").await == made
        {
            return;
        }
    }
}

/// The least room there was until `end`.
async fn least_free(objects: &ObjectStore, end: impl Future<Output = ()>) -> u64 {
    let mut least = u64::MAX;
    let look = async {
        loop {
            least = least.min(objects.free_bytes().unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let end = tokio::time::timeout(Duration::from_secs(60), end);
    tokio::select! { () = look => {}, ended = end => ended.expect("the job waits") }
    least
}

async fn what_somebody_asks_for_is_made_at_once_and_says_who(home: Home) {
    let house = home.open().await;
    let item = house.receive(&footage(CCTV), "stored", false).await;
    let part = |from_ms, to_ms| recipe::extract(Span { from_ms, to_ms }, true, "").unwrap();
    let Answer::Made(made) = house.ask(item, &part(1000, 2000), "os-user:alice").await else {
        panic!("it can be made")
    };
    assert_eq!(made.kind, "extract");
    let clip = house.read(&made.object).await;
    assert_eq!((Digests::of(&clip), picture_times(&clip).len()), (made.digests, 10));
    let again = house.ask(item, &part(1000, 2000), "os-user:bob").await;
    assert_eq!(again, Answer::Made(made.clone()), "it is there already");
    let entry = house.ledger.records().event_at(made.leaf_index).await.unwrap().unwrap();
    assert_eq!(entry.opened(field::BY), Some("os-user:alice"));
    assert_eq!(entry.opened(field::REASON), Some("for a test"));

    let beyond = part(7_200_000, 7_201_000);
    for count in 1..=2 {
        let Answer::Failed(failure) = house.ask(item, &beyond, "os-user:alice").await else {
            panic!("there is nothing")
        };
        assert_eq!(failure.reason_code, "nothing-to-make");
        let events = house.view(item).await.events;
        let failed = events.iter().filter(|event| event.kind == "item.derivation-failed").count();
        assert_eq!(failed, count, "each attempt that somebody asked for is an act");
    }
    let restricted = house.receive(&footage(CCTV), "stored", true).await;
    assert_eq!(house.ask(restricted, &part(0, 1000), "os-user:alice").await, Answer::NotAllowed);
    // Whoever runs jobs has nothing left to do for them, and makes the rest.
    house.work(supervisor()).await;
    assert_eq!(house.count("derivatives", "kind = 'extract'").await, 1);
    house.audits_clean().await;
}

async fn what_is_cancelled_stops_says_so_and_can_be_asked_for_again(home: Home) {
    let scripts = folder();
    let hangs = scripts.path().join("hangs");
    std::fs::write(&hangs, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&hangs, mode).unwrap();
    let house = home.open().await;
    let item = house.receive(&footage(CCTV), "stored", false).await;
    let jobs = house.jobs(Supervisor::new(&hangs, allowance()), 1).await;
    while house.count("jobs", "state = 'running'").await == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(house.ledger.records().cancel_jobs(item, "os-user:alice").await.unwrap(), 1);
    jobs.idle().await.unwrap();
    jobs.stop().await;
    let view = house.view(item).await;
    assert_eq!((view.failures[0].reason_code.as_str(), view.making.len()), ("cancelled", 0));
    let entry = house.ledger.records().event_at(view.failures[0].leaf_index).await.unwrap();
    assert_eq!(entry.unwrap().opened(field::BY), Some("os-user:alice"));
    assert_eq!(derivative_files(home.path()), Vec::<PathBuf>::new(), "nothing is left of it");

    assert!(matches!(house.ask(item, &recipe::first(), "os-user:bob").await, Answer::Made(_)));
    assert!(house.view(item).await.failures.is_empty(), "what was made has not failed");
    house.work(supervisor()).await;
    assert!(kinds(&house.view(item).await).contains(&"proxy"), "and the rest follows");
    house.audits_clean().await;
}

/// What differs is a name in the container; then pictures, then sound.
async fn what_is_made_again_with_other_libraries_is_compared_by_what_it_shows(home: Home) {
    let house = home.open().await;
    let original = filmed(
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x240:r=25:d=2",
            "-f",
            "lavfi",
            "-i",
            "sine=d=2",
            "-c:v",
            "mpeg4",
        ],
        "avi",
    );
    let item = house.receive(&original, "stored", false).await;
    house.work(supervisor()).await;
    let view = house.view(item).await;
    let proxy = view.derivatives.iter().find(|made| made.kind == "proxy").unwrap();
    let held = house.read(&proxy.object).await;
    let older = async |bytes: &Bytes| {
        let stored = house.receive(bytes, "stored", false).await;
        let object = house.view(stored).await.record.object;
        let recipe = proxy.recipe.replace("\"libavformat\":\"", "\"libavformat\":\"0");
        assert_ne!(recipe, proxy.recipe);
        let (size_bytes, digests) = (bytes.len() as u64, Digests::of(bytes));
        let older = [DerivativeView { object, recipe, size_bytes, digests, ..proxy.clone() }];
        let compared =
            reproduce(&supervisor(), &house.objects, &view.record, &older).await.unwrap();
        (compared[0].result, compared[0].reason.clone().unwrap_or_default())
    };
    assert_eq!(older(&held).await.0, Comparison::Match);
    // A later libavformat writes its own name, if nothing else.
    let name = held.windows(6).position(|bytes| bytes == b"Lavf59").unwrap();
    let other = [&held[..name], b"Lavf61", &held[name + 6..]].concat().into();
    let (result, reason) = older(&other).await;
    assert_eq!(result, Comparison::SamePictures, "{reason}");
    let (_, versions) = reason.rsplit_once("libavformat then 0").unwrap();
    let (then, now) = versions.split_once(", now ").unwrap();
    assert_eq!(then, now, "{reason}");
    let coarser = ffmpeg(&held, &["-c:v", "libx264", "-crf", "40", "-c:a", "copy"], "mp4");
    assert_eq!(older(&coarser).await.0, Comparison::CannotTell);
    let silent = ffmpeg(&held, &["-c:v", "copy", "-af", "volume=0", "-c:a", "aac"], "mp4");
    assert_eq!(older(&silent).await.0, Comparison::CannotTell);
}

async fn a_limit_that_several_reach_together_is_each_ones_own(home: Home) {
    let house = home.open().await;
    let item = house.receive(&footage(CCTV), "stored", false).await;
    // Enough for each small one, and for nobody's viewing copy.
    let tight = Allowance { output_floor_bytes: 300_000, output_per_input: 0, ..allowance() };
    house.work(Supervisor::new(worker(), tight)).await;
    let view = house.view(item).await;
    let failed: Vec<_> = view.failures.iter().map(|f| (&*f.kind, &*f.reason_code)).collect();
    assert_eq!(failed, [("proxy", "limit-reached")]);
    assert_eq!(kinds(&view), ["frames", "poster", "probe", "scenes", "thumbnails"]);
}
